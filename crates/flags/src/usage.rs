//! What is wrong with a command line, in one line.

/// Returns the message of a command line's parser in one line, with its tips and without the usage that follows.
pub fn usage_line(message: &str) -> String {
    let says = |part: &&str| !part.starts_with("Usage:") && !part.starts_with("For more");
    let parts = message.split("\n\n").map(str::trim).filter(|part| !part.is_empty()).filter(says);
    let words: Vec<String> =
        parts.map(|part| part.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    words.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_several_paragraphs_is_one_line() {
        let message = "error: the following required arguments were not provided:\n  --tls-key <FILE>\n\n\
                       Usage: node --tls-cert <FILE> --tls-key <FILE>\n\nFor more information, try '--help'.\n";
        let line = "error: the following required arguments were not provided: --tls-key <FILE>";
        assert_eq!(usage_line(message), line);
        let message =
            "error: unexpected argument '--x' found\n\n  tip: a similar argument exists: '--y'\n";
        assert_eq!(
            usage_line(message),
            "error: unexpected argument '--x' found; tip: a similar argument exists: '--y'"
        );
    }
}
