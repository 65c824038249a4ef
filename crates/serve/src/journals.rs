//! The journals of answers: one file each in a folder, the oldest of which give way. They hold what people asked.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use answer::{
    Node, Run,
    journal::{Header, JournalWriter},
};
use thinking::policy::PolicySpec;

/// What the names of our files begin and end with. No other file in the folder is touched.
const NAME: (&str, &str) = ("answer-", ".jsonl");

/// A folder of journals.
#[derive(Debug, Clone)]
pub struct JournalFolder {
    path: PathBuf,
    most: usize,
}

impl JournalFolder {
    /// Takes a folder, and makes it where it is not there. So many journals are kept.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(path: &Path, most: usize) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        Ok(JournalFolder { path: path.to_owned(), most })
    }

    /// Begins the journal of an answer. One that cannot be written is no reason not to answer.
    pub(crate) fn begin(&self, run: &Run, policy: &PolicySpec) -> Option<JournalWriter<File>> {
        let name = |node: &Node| node.name.clone();
        let small = run.small.iter().map(name).collect();
        let large = run.large.iter().map(name);
        let header = Header::new(&run.question, policy.clone(), run.settings, small, large);
        let (begin, end) = NAME;
        let path = self.path.join(format!("{begin}{}{end}", run.question.id));
        let made = JournalWriter::create(&path, &header);
        made.inspect_err(|why| tracing::warn!(%why, "an answer goes without its journal")).ok()
    }

    /// Takes the oldest journals away, where there are too many.
    pub(crate) fn prune(&self) {
        if let Err(why) = self.try_prune() {
            tracing::warn!(%why, "old journals cannot be taken away");
        }
    }

    fn try_prune(&self) -> io::Result<()> {
        let mut journals: Vec<(SystemTime, PathBuf)> = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name();
            let is_ours =
                name.to_str().is_some_and(|it| it.starts_with(NAME.0) && it.ends_with(NAME.1));
            // One that another process has just taken away is gone.
            if let (true, Ok(found)) = (is_ours, entry.metadata()) {
                journals.push((found.modified()?, entry.path()));
            }
        }
        journals.sort_unstable();
        let too_many = journals.len().saturating_sub(self.most);
        for (_, path) in journals.into_iter().take(too_many) {
            match fs::remove_file(path) {
                Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_journals_give_way_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let journals = JournalFolder::new(&folder.path().join("new"), 2).unwrap();
        let path = |name: &str| journals.path.join(name);
        for (second, name) in
            (1..).zip(["notes.jsonl", "answer-b.jsonl", "answer-c.jsonl", "answer-a.jsonl"])
        {
            let file = File::create(path(name)).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(second))
                .unwrap();
        }
        journals.prune();
        let there = |name| path(name).exists();
        assert!(there("notes.jsonl") && there("answer-c.jsonl") && there("answer-a.jsonl"));
        assert!(!there("answer-b.jsonl"));
    }
}
