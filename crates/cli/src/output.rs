//! Writing to standard output.

use std::io;

use crate::exit::{CliError, Exit};

/// Turns the result of writing to standard output into the command's result. A reader that went away (`| head`) is not
/// an error.
///
/// # Errors
/// When it could not be written for another reason.
pub fn written(result: io::Result<()>) -> Result<(), CliError> {
    match result {
        Err(why) if why.kind() != io::ErrorKind::BrokenPipe => {
            Err(CliError::new(Exit::Internal, format!("cannot write standard output: {why}")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_reader_that_went_away_is_forgiven() {
        assert_eq!(written(Ok(())), Ok(()));
        assert_eq!(written(Err(io::ErrorKind::BrokenPipe.into())), Ok(()));
        let full = written(Err(io::ErrorKind::StorageFull.into())).unwrap_err();
        assert_eq!(full.exit, Exit::Internal);
    }
}
