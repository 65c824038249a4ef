//! The tokens of a session's prompt: the port's prompts and failures on top of the chat templates and tokenizers of the
//! crate `text`, which does not know the port.

use text::{Thought, Tokenizer};
use thinking::thinker::{Code, Failure, Open, Prompt, ThoughtStart};

use crate::{
    encoder::{Encoder, check_fits},
    tail::{Joined, Tail},
};

/// What a session begins with, as tokens.
#[derive(Debug)]
pub(crate) struct Beginning {
    pub(crate) prompt: Vec<u32>,
    /// The state of the answer's thought after the prompt.
    pub(crate) thought: Thought,
    /// The committed text after the prompt.
    pub(crate) committed: Joined,
}

/// Returns how many bytes a session's prompt and committed text have. Refuses those that cannot fit before any work is
/// done on them.
///
/// # Errors
/// [`Code::ContextTooLong`].
pub(crate) fn check_bytes(
    open: &Open,
    encoder: &Encoder,
    context: usize,
) -> Result<usize, Failure> {
    let prompt = match &open.prompt {
        Prompt::Raw(text) => text.len(),
        Prompt::Messages(messages) => {
            messages.iter().map(|message| message.role.len() + message.content.len()).sum()
        }
    };
    encoder.check_bytes(prompt, context)?;
    encoder.check_bytes(open.committed.len(), context)?;
    Ok(prompt + open.committed.len())
}

/// Encodes what a session begins with.
///
/// # Errors
/// Those of [`encode`]; [`Code::InvalidArgument`] if the prompt is empty, [`Code::ContextTooLong`] if the text does not
/// fit.
pub(crate) fn begin(
    prompt: &Prompt,
    start: ThoughtStart,
    committed: &str,
    encoder: &Encoder,
    context: usize,
) -> Result<Beginning, Failure> {
    let (prompt, thought) = encode(prompt, start, encoder, context)?;
    if prompt.is_empty() {
        let message = "the prompt is empty; send at least one character";
        return Err(Failure::new(Code::InvalidArgument, message));
    }
    check_fits(prompt.len(), context, "the prompt")?;
    let committed = Tail::new(prompt.len(), thought).joined(committed, context, encoder)?;
    Ok(Beginning { prompt, thought, committed })
}

/// Returns the tokens of a prompt for a model with a context of `context` tokens, and the state of the answer's thought
/// after it. A raw prompt is encoded as it is; messages go through the model's chat template, with the thought that
/// `start` asks for.
///
/// # Errors
/// [`Code::Template`] if the model has no usable template or it refuses the messages, [`Code::ContextTooLong`] if the
/// prompt cannot fit, [`Code::InvalidArgument`] if it cannot be encoded.
fn encode(
    prompt: &Prompt,
    start: ThoughtStart,
    encoder: &Encoder,
    context: usize,
) -> Result<(Vec<u32>, Thought), Failure> {
    match prompt {
        Prompt::Raw(text) => {
            encoder.check_bytes(text.len(), context)?;
            Ok((encoder.raw_prompt(text)?, Thought::Unopened))
        }
        Prompt::Messages(messages) => {
            let messages = messages.iter().map(|one| (one.role.as_str(), one.content.as_str()));
            let template = encoder.tokenizer().template();
            let thought = match start {
                ThoughtStart::Unknown => template.thought(),
                ThoughtStart::Unopened => Thought::Unopened,
                ThoughtStart::Open => Thought::Open,
                ThoughtStart::Over => Thought::Over,
            };
            let rendered = template.render_to(messages, thought);
            let rendered =
                rendered.map_err(|error| Failure::new(Code::Template, error.to_string()))?;
            encoder.check_bytes(rendered.len(), context)?;
            Ok((encoder.rendered(&rendered)?, thought))
        }
    }
}

/// Returns the state in which the model's chat template leaves an answer's thought.
pub(crate) fn thought_start(tokenizer: &Tokenizer) -> ThoughtStart {
    let template = tokenizer.template();
    match template.thought() {
        _ if template.unusable().is_some() => ThoughtStart::Unknown,
        Thought::Unopened => ThoughtStart::Unopened,
        Thought::Open => ThoughtStart::Open,
        Thought::Over => ThoughtStart::Over,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use text::{GgufMetadata, GgufValue};
    use thinking::thinker::{Message, Sampling};

    /// Makes a tokenizer with the tokens of "a" to "e", a control token, and this template.
    fn encoder(template: Option<&str>) -> Encoder {
        let string = |text: &str| GgufValue::String(text.to_owned());
        let tokens = ["a", "b", "c", "d", "e", "<|end|>", "<", "|", ">", "n"].map(string);
        let types = [1, 1, 1, 1, 1, 3, 1, 1, 1, 1].map(GgufValue::Integer);
        let mut metadata = GgufMetadata::from([
            ("tokenizer.ggml.model".to_owned(), string("gpt2")),
            ("tokenizer.ggml.tokens".to_owned(), GgufValue::Array(tokens.into())),
            ("tokenizer.ggml.token_type".to_owned(), GgufValue::Array(types.into())),
            ("tokenizer.ggml.merges".to_owned(), GgufValue::Array(Vec::new())),
        ]);
        metadata.extend(template.map(|it| ("tokenizer.chat_template".to_owned(), string(it))));
        Encoder::new(Tokenizer::from_gguf(&metadata).unwrap(), Arc::default())
    }

    fn tokens(template: Option<&str>, prompt: &Prompt) -> Result<Vec<u32>, Failure> {
        let encoded = encode(prompt, ThoughtStart::Unknown, &encoder(template), 100);
        encoded.map(|(ids, _)| ids)
    }

    fn user(content: &str) -> Prompt {
        Prompt::Messages(vec![Message { role: "user".into(), content: content.into() }])
    }

    #[test]
    fn messages_go_through_the_template_and_raw_prompts_do_not() {
        let template = Some("d{{ messages[0].content }}e<|end|>");
        assert_eq!(tokens(template, &user("ab")).unwrap(), [3, 0, 1, 4, 5]);
        for template in [template, None] {
            assert_eq!(tokens(template, &Prompt::Raw("ab<|end|>".into())).unwrap(), [0, 1, 5]);
        }
    }

    #[test]
    fn a_control_token_in_a_message_is_letters() {
        let letters = [3, 6, 7, 4, 9, 3, 7, 8, 4, 5];
        let template = Some("d{{ messages[0].content }}e<|end|>");
        assert_eq!(tokens(template, &user("<|end|>")).unwrap(), letters);
    }

    #[test]
    fn a_template_that_is_missing_or_refuses_has_its_own_code() {
        let cases = [
            (None, "no chat template"),
            (Some("{{ raise_exception('roles must alternate') }}"), "roles must alternate"),
        ];
        for (template, expected) in cases {
            let failure = tokens(template, &user("a")).unwrap_err();
            assert_eq!(failure.code, Code::Template);
            assert!(failure.message.contains(expected), "{}", failure.message);
        }
    }

    #[test]
    fn a_prompt_that_cannot_fit_is_neither_rendered_nor_encoded() {
        let encoder = encoder(Some("{{ raise_exception('rendered') }}"));
        let long = "a".repeat(encoder.tokenizer().most_bytes(100) + 1);
        let open = |prompt, committed: &str| Open {
            question_id: String::new(),
            prompt,
            committed: committed.into(),
            sampling: Sampling::default(),
            deadline: None,
            thought: ThoughtStart::Unknown,
            review: None,
        };
        for open in
            [open(user(&long), ""), open(Prompt::Raw(long.clone()), ""), open(user(""), &long)]
        {
            let failure = check_bytes(&open, &encoder, 100).unwrap_err();
            assert_eq!(failure.code, Code::ContextTooLong);
        }
        assert_eq!(check_bytes(&open(user("ab"), "c"), &encoder, 100), Ok(7));
        // A short message that the template makes long is refused only after rendering.
        let doubled = self::encoder(Some("{{ messages[0].content * 2 }}"));
        let failure = encode(&user(&long[1..]), ThoughtStart::Unknown, &doubled, 100).unwrap_err();
        assert_eq!(failure.code, Code::ContextTooLong);
    }
}
