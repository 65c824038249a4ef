//! Guesses the intended model from a `--model` that is neither a path nor a name: a URL from a browser, or a name in
//! another program's notation.

use hub::ModelName;

/// Hosts whose URLs contain names of models.
const HOSTS: [&str; 3] = ["huggingface.co", "www.huggingface.co", "hf.co"];

/// Returns the intended flags, if they can be guessed.
pub(crate) fn flags(text: &str) -> Option<String> {
    let text = text.trim();
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (Some(scheme), rest),
        None => (None, text),
    };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let mut words = rest.split('/').filter(|word| !word.is_empty()).peekable();
    let is_host = words.peek().is_some_and(|host| HOSTS.contains(&host.to_lowercase().as_str()));
    if is_host {
        words.next();
    } else if scheme.is_some_and(|scheme| scheme != "hf") {
        return None;
    }
    let (owner, name) = (words.next()?, words.next()?);
    let (name, quant) = match name.split_once(':') {
        Some((name, quant)) => (name, Some(quant)),
        None => (name, None),
    };
    let mut rest: Vec<&str> = words.collect();
    let in_revision = matches!(rest.first(), Some(&("tree" | "blob" | "resolve" | "raw")));
    let revision = match rest.as_slice() {
        [_, revision, ..] if in_revision => format!("@{revision}"),
        _ => String::new(),
    };
    rest.drain(..if in_revision { rest.len().min(2) } else { 0 });
    let file = Some(rest.join("/")).filter(|file| file.to_ascii_lowercase().ends_with(".gguf"));
    let model: ModelName = format!("{owner}/{name}{revision}").parse().ok()?;
    Some(match (file, quant) {
        (Some(file), _) => format!("--model {model} --file {file}"),
        (None, Some(quant)) => {
            format!(
                "--model {model} --file NAME.gguf, with the file of {quant} as the repository calls it"
            )
        }
        (None, None) => format!("--model {model}"),
    })
}

#[cfg(test)]
mod tests {
    use super::flags;

    #[test]
    fn addresses_and_other_programs_names_are_told_apart() {
        for (text, meant) in [
            ("https://huggingface.co/Qwen/Q-GGUF", "--model Qwen/Q-GGUF"),
            ("https://huggingface.co/Qwen/Q-GGUF/", "--model Qwen/Q-GGUF"),
            ("http://hf.co/Qwen/Q?local-app=x", "--model Qwen/Q"),
            ("huggingface.co/Qwen/Q", "--model Qwen/Q"),
            ("hf://Qwen/Q", "--model Qwen/Q"),
            ("https://huggingface.co/Qwen/Q/tree/main", "--model Qwen/Q@main"),
            (
                "https://huggingface.co/Qwen/Q/blob/main/sub/q.gguf",
                "--model Qwen/Q@main --file sub/q.gguf",
            ),
            (
                "https://huggingface.co/Qwen/Q/resolve/v1/q.gguf?download=true",
                "--model Qwen/Q@v1 --file q.gguf",
            ),
            ("Qwen/Q/q.gguf", "--model Qwen/Q --file q.gguf"),
            ("Qwen/Q/", "--model Qwen/Q"),
        ] {
            assert_eq!(flags(text).as_deref(), Some(meant), "{text}");
        }
        for text in ["Qwen/Q:Q4_K_M", "hf.co/Qwen/Q:Q4_K_M"] {
            let meant = flags(text).unwrap();
            assert!(meant.starts_with("--model Qwen/Q --file NAME.gguf, "), "{meant}");
            assert!(meant.contains("Q4_K_M"), "{meant}");
        }
        for text in ["https://example.org/a/b", "s3://a/b", "a", "", "/", "a b/c", "../x"] {
            assert_eq!(flags(text), None, "{text}");
        }
    }
}
