//! Numbers as programs print them, with an exponent or in plain digits.
//!
//! What does not live here: their values ([`crate::grade`]).

/// The largest exponent for which a number is written out.
const MAX_DIGITS: i64 = 10_000;

/// Returns the length of the exponent at the start of what follows a number: "e6", "E-3", "e+21"; 0 if there is none.
/// After a lower-case "e", a signed exponent needs two digits, as programs print them: "2e-3" is a difference with
/// Euler's number.
pub(crate) fn exponent_length(text: &str) -> usize {
    let Some(tail) = text.strip_prefix(['e', 'E']) else { return 0 };
    let sign = usize::from(tail.starts_with(['+', '-']));
    let digits = tail[sign..].bytes().take_while(u8::is_ascii_digit).count();
    let least = if sign == 1 && text.starts_with('e') { 2 } else { 1 };
    let length = 1 + sign + digits;
    let ends = !text[length..].starts_with(|c: char| c.is_ascii_alphanumeric());
    if digits >= least && ends { length } else { 0 }
}

/// Writes a JSON number in plain digits, exactly: 27.0 is 27 and 1e3 is 1000. A number that would get too long is
/// returned unchanged.
pub(crate) fn written_out(number: &str) -> String {
    let (mantissa, exponent) = match number.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse().unwrap_or(i64::MAX)),
        None => (number, 0),
    };
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if exponent.saturating_abs() > MAX_DIGITS {
        return number.to_owned();
    }
    let shift = usize::try_from(exponent.unsigned_abs()).unwrap_or(0);
    let zeros = "0".repeat(shift);
    // Pad with zeros on the side to which the point moves.
    let (whole, fraction) = if exponent >= 0 {
        let digits = format!("{fraction}{zeros}");
        (format!("{whole}{}", &digits[..shift]), digits[shift..].to_owned())
    } else {
        let digits = format!("{zeros}{whole}");
        let point = digits.len() - shift;
        (digits[..point].to_owned(), format!("{}{fraction}", &digits[point..]))
    };
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    match (whole, fraction) {
        ("", "") => "0".to_owned(),
        ("", fraction) => format!("{sign}0.{fraction}"),
        (whole, "") => format!("{sign}{whole}"),
        (whole, fraction) => format!("{sign}{whole}.{fraction}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{exponent_length, written_out};

    #[test]
    fn numbers_are_written_out_exactly() {
        for (number, want) in [
            ("27", "27"),
            ("27.0", "27"),
            ("-0.0", "0"),
            ("0.50", "0.5"),
            ("1e3", "1000"),
            ("1.25E+1", "12.5"),
            ("1.25e1", "12.5"),
            ("1e-7", "0.0000001"),
            ("-123.4e-2", "-1.234"),
            ("100e-2", "1"),
            ("1e21", "1000000000000000000000"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            ("0.1000000000000000055511151231257827", "0.1000000000000000055511151231257827"),
            ("1e99999", "1e99999"),
            ("1e99999999999999999999", "1e99999999999999999999"),
        ] {
            assert_eq!(written_out(number), want, "{number}");
        }
    }

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
