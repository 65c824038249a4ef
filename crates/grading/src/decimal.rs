//! Numbers as programs print them: with an exponent.
//!
//! What does not live here: what they are worth ([`crate::grade`]).

/// The length of the exponent at the start of what follows a number: "e6", "E-3", "e+21"; 0 where there is none. Behind
/// a small "e" a sign needs two digits, as programs print them: "2e-3" is a difference with Euler's number.
pub(crate) fn exponent_length(text: &str) -> usize {
    let Some(tail) = text.strip_prefix(['e', 'E']) else { return 0 };
    let sign = usize::from(tail.starts_with(['+', '-']));
    let digits = tail[sign..].bytes().take_while(u8::is_ascii_digit).count();
    let least = if sign == 1 && text.starts_with('e') { 2 } else { 1 };
    let length = 1 + sign + digits;
    let ends = !text[length..].starts_with(|c: char| c.is_ascii_alphanumeric());
    if digits >= least && ends { length } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::exponent_length;

    #[test]
    fn exponents_are_those_of_programs() {
        for (text, want) in [
            ("e6", 2),
            ("E-3", 3),
            ("e+21 m", 4),
            ("e-07", 4),
            ("e-3", 0),
            ("e5f", 0),
            ("e", 0),
            ("ex", 0),
        ] {
            assert_eq!(exponent_length(text), want, "{text}");
        }
    }
}
