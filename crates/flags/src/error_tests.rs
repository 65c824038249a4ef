//! The line of every error, as a snapshot. That of a wrong log filter is in `log`.

use error_lines::{error_lines, lines};

use crate::{BadDuration, BadLogFormat};

#[test]
fn values_that_are_not_valid() {
    let durations = error_lines!(BadDuration { NotATime, Zero });
    insta::assert_snapshot!(durations + &lines([BadLogFormat]));
}
