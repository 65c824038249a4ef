//! The line of every error, as a snapshot.

use error_lines::error_lines;

use crate::BadCollector;

#[test]
fn collectors_that_cannot_be_used() {
    insta::assert_snapshot!(error_lines!(BadCollector {
        NotBuilt,
        Address { address: "ftp://collector".into(), why: "it is not an http or https URL".into() },
    }));
}
