//! Braced groups in LaTeX.

/// Returns the content of a braced group at the start of the text, and its length in bytes including the braces.
pub(super) fn braced(text: &str) -> Option<(&str, usize)> {
    let open = text.len() - text.trim_start().len();
    if !text[open..].starts_with('{') {
        return None;
    }
    let mut depth = 0_usize;
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(open) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'{' => depth += 1,
            b'}' => {
                depth -= 1;
                if depth == 0 {
                    return Some((&text[open + 1..at], at + 1));
                }
            }
            _ => {}
        }
    }
    None
}
