//! A data set read from a file, with the name and checksum that a run's log records.

use std::path::Path;

use grading::dataset::{Dataset, DatasetError, Problem, bytes, parse};
use sha2::{Digest as _, Sha256};

/// A data set that was read from a file.
#[derive(Debug, Clone, PartialEq)]
pub struct DataFile {
    /// The file's name, as it was given.
    pub name: String,
    /// SHA-256 of its bytes, in hex.
    pub sha256: String,
    /// Its content.
    pub data: Dataset,
}

impl DataFile {
    /// Reads a data set. `skip_bad` leaves broken lines out.
    ///
    /// # Errors
    /// When it cannot be read, or a line is broken.
    pub fn read(path: &Path, skip_bad: bool) -> Result<DataFile, DatasetError> {
        let bytes = bytes(path)?;
        let name = path.display().to_string();
        let data = parse(&name, &bytes, skip_bad)?;
        let sha256 = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(DataFile { name, sha256, data })
    }

    /// Returns its first `limit` problems, or all of them.
    pub fn problems(&self, limit: Option<u64>) -> &[Problem] {
        let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
        &self.data.problems[..self.data.problems.len().min(limit)]
    }
}
