//! The lines of a crate's errors, for the snapshots of its tests. No program links this.

use std::fmt::Display;

/// Returns the lines of an enum of errors, from one or more examples of every variant. A variant without an example
/// does not compile.
///
/// ```
/// use error_lines::error_lines;
///
/// enum OpenError {
///     Missing { path: String },
///     Busy(u32),
///     Closed,
/// }
///
/// # impl std::fmt::Display for OpenError {
/// #     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
/// #         match self {
/// #             OpenError::Missing { path } => write!(f, "no file {path}: check the path"),
/// #             OpenError::Busy(tasks) => write!(f, "{tasks} tasks are running; wait for them"),
/// #             OpenError::Closed => write!(f, "it is closed; open it"),
/// #         }
/// #     }
/// # }
/// let lines = error_lines!(OpenError { Missing { path: "a".to_owned() }, Busy(2), Closed });
/// assert_eq!(lines, "no file a: check the path\n2 tasks are running; wait for them\nit is closed; open it\n");
/// ```
#[macro_export]
macro_rules! error_lines {
    ($error:ident {
        $($variant:ident $(($($value:tt)*))? $({ $($fields:tt)* })?),+ $(,)?
    }) => {{
        // It has no wildcard, so that it names every variant.
        #[allow(unreachable_patterns, reason = "a variant may have several examples")]
        let _ = |error: &$error| match error {
            $($error::$variant { .. } => {})+
        };
        $crate::lines([$($error::$variant $(($($value)*))? $({ $($fields)* })?),+])
    }};
}

/// Returns the line of each error.
///
/// # Panics
/// If one is not a line for people.
pub fn lines<E: Display>(errors: impl IntoIterator<Item = E>) -> String {
    errors.into_iter().map(|error| line(&error.to_string())).collect()
}

fn line(text: &str) -> String {
    assert!(!text.contains('\n'), "this is more than one line: {text:?}");
    assert!(!text.ends_with('.'), "a message ends without a period: {text}");
    assert!(!text.contains("Os {"), "this is written for programmers: {text}");
    format!("{text}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "more than one line")]
    fn two_lines_are_refused() {
        lines(["a\nb"]);
    }

    #[test]
    #[should_panic(expected = "without a period")]
    fn a_period_is_refused() {
        lines(["no file a."]);
    }

    #[test]
    #[should_panic(expected = "for programmers")]
    fn what_debug_prints_is_refused() {
        let error = std::io::Error::from_raw_os_error(2);
        lines([format!("cannot read a: {error:?}")]);
    }
}
