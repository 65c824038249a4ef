//! The journals of answers: one file each in a folder, the oldest of which give way. They hold what people asked.

use std::{
    fmt,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use answer::{
    Node, Run,
    journal::{Header, JournalWriter},
};
use thinking::policy::PolicySpec;
use tokio::{task::spawn_blocking, time::sleep};

/// What the names of our files begin and end with. No other file in the folder is touched.
const NAME: (&str, &str) = ("answer-", ".jsonl");
/// How often journals that are too old are looked for while nothing is answered.
const LOOK: Duration = Duration::from_secs(60);

/// Which journals are kept: those that all limits leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalLimits {
    /// The greatest number of them.
    pub most: usize,
    /// How long one is kept after its last line.
    pub max_age: Option<Duration>,
    /// The greatest size of all together.
    pub max_bytes: Option<u64>,
}

/// A folder of journals.
#[derive(Clone)]
pub struct JournalFolder {
    path: PathBuf,
    limits: JournalLimits,
    now: Arc<dyn Fn() -> SystemTime + Send + Sync>,
}

/// A journal in the folder.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct JournalFile {
    /// When its last line was written.
    written: SystemTime,
    path: PathBuf,
    bytes: u64,
}

impl JournalFolder {
    /// Takes a folder, and makes it where it is not there. Journals beyond the limits are taken away from then on.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(path: &Path, limits: JournalLimits) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        #[expect(clippy::disallowed_methods, reason = "a file's age is told by the system's clock")]
        let now = Arc::new(SystemTime::now);
        Ok(JournalFolder { path: path.to_owned(), limits, now })
    }

    /// Takes journals away that get too old, for as long as it is polled: also where nothing is answered.
    pub(crate) async fn keep_within_limits(self) {
        let folder = Arc::new(self);
        loop {
            let folder = Arc::clone(&folder);
            let _ = spawn_blocking(move || folder.prune()).await;
            sleep(LOOK).await;
        }
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

    /// Takes the journals away that are beyond the limits, the oldest first.
    pub(crate) fn prune(&self) {
        if let Err(why) = self.try_prune() {
            tracing::warn!(%why, "old journals cannot be taken away");
        }
    }

    fn try_prune(&self) -> io::Result<()> {
        let mut journals = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name();
            let is_ours =
                name.to_str().is_some_and(|it| it.starts_with(NAME.0) && it.ends_with(NAME.1));
            // One that another process has just taken away is gone.
            if let (true, Ok(found)) = (is_ours, entry.metadata()) {
                let (written, bytes) = (found.modified()?, found.len());
                journals.push(JournalFile { written, path: entry.path(), bytes });
            }
        }
        journals.sort_unstable();
        let too_many = self.limits.beyond(&journals, (self.now)());
        for journal in journals.into_iter().take(too_many) {
            match fs::remove_file(journal.path) {
                Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
                _ => {}
            }
        }
        Ok(())
    }
}

impl fmt::Debug for JournalFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let JournalFolder { path, limits, .. } = self;
        f.debug_struct("JournalFolder").field("path", path).field("limits", limits).finish()
    }
}

impl JournalLimits {
    /// How many of these journals, the oldest first, are beyond the limits.
    fn beyond(&self, journals: &[JournalFile], now: SystemTime) -> usize {
        let too_many = journals.len().saturating_sub(self.most);
        let is_old = |journal: &&JournalFile| {
            let age = now.duration_since(journal.written).unwrap_or_default();
            self.max_age.is_some_and(|most| age > most)
        };
        let too_old = journals.iter().take_while(is_old).count();
        let mut bytes: u64 = journals.iter().map(|journal| journal.bytes).sum();
        let is_too_much = |journal: &&JournalFile| {
            let is_too_much = self.max_bytes.is_some_and(|most| bytes > most);
            bytes -= journal.bytes;
            is_too_much
        };
        let too_much = journals.iter().take_while(is_too_much).count();
        too_many.max(too_old).max(too_much)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    const ALL: JournalLimits = JournalLimits { most: 1000, max_age: None, max_bytes: None };
    const HOUR: Duration = Duration::from_secs(3600);

    /// A folder with files of these names, seconds of their last lines and sizes.
    fn folder(
        limits: JournalLimits,
        files: &[(&str, u64, u64)],
    ) -> (tempfile::TempDir, JournalFolder) {
        let folder = tempfile::tempdir().unwrap();
        let journals = JournalFolder::new(&folder.path().join("new"), limits).unwrap();
        for (name, second, bytes) in files {
            let file = File::create(journals.path.join(name)).unwrap();
            file.set_len(*bytes).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(*second)).unwrap();
        }
        (folder, journals)
    }

    fn left(journals: &JournalFolder) -> Vec<String> {
        let entries = fs::read_dir(&journals.path).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn the_oldest_journals_give_way_and_nothing_else() {
        let files = [
            ("notes.jsonl", 1, 900),
            ("answer-b.jsonl", 2, 100),
            ("answer-c.jsonl", 3, 100),
            ("answer-a.jsonl", 4, 100),
        ];
        let age = |seconds| Some(Duration::from_secs(seconds));
        for (limits, kept) in [
            (ALL, 3),
            (JournalLimits { most: 2, ..ALL }, 2),
            (JournalLimits { max_bytes: Some(300), ..ALL }, 3),
            (JournalLimits { max_bytes: Some(299), ..ALL }, 2),
            (JournalLimits { max_bytes: Some(99), ..ALL }, 0),
            (JournalLimits { max_age: age(8), ..ALL }, 3),
            (JournalLimits { max_age: age(6), ..ALL }, 1),
            (JournalLimits { most: 2, max_age: age(8), max_bytes: Some(100) }, 1),
        ] {
            let (_folder, mut journals) = folder(limits, &files);
            journals.now = Arc::new(|| SystemTime::UNIX_EPOCH + Duration::from_secs(10));
            journals.prune();
            let names = ["answer-b.jsonl", "answer-c.jsonl", "answer-a.jsonl", "notes.jsonl"];
            let mut expected = names[3 - kept..].to_vec();
            expected.sort_unstable();
            assert_eq!(left(&journals), expected, "{limits:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_journal_gets_too_old_while_nothing_is_answered() {
        let limits = JournalLimits { max_age: Some(HOUR), ..ALL };
        let (_folder, mut journals) = folder(limits, &[("answer-a.jsonl", 0, 1)]);
        let begin = Instant::now();
        journals.now = Arc::new(move || SystemTime::UNIX_EPOCH + begin.elapsed());
        let looking = journals.clone().keep_within_limits();
        let kept = tokio::time::timeout(HOUR - LOOK, looking);
        assert!(kept.await.is_err() && left(&journals).len() == 1, "it is young enough");
        let looking = journals.clone().keep_within_limits();
        assert!(tokio::time::timeout(3 * LOOK, looking).await.is_err());
        assert_eq!(left(&journals), [""; 0]);
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_journal_may_be_read_by_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;

        use answer::{Question, Settings};
        use thinking::{
            beginning::AnswerBeginning,
            policy::{PolicyKind, Preset},
            stops::StopTexts,
            thinker::{Prompt, Sampling},
        };

        let (_folder, journals) = folder(ALL, &[]);
        let spec = PolicySpec::new(PolicyKind::SmallOnly, Preset::Reasoning);
        let question = Question {
            id: "q-0".to_owned(),
            prompt: Prompt::question("x".to_owned(), None),
            beginning: AnswerBeginning::default(),
            sampling: Sampling::default(),
            seed: 0,
            max_tokens: 1,
            stop: StopTexts::default(),
            deadline: None,
        };
        let policy = spec.build(0, 1).unwrap();
        let settings = Settings::default();
        let run = Run { question, small: Vec::new(), large: Vec::new(), policy, settings };
        assert!(journals.begin(&run, &spec).is_some());
        let made = fs::metadata(journals.path.join("answer-q-0.jsonl")).unwrap();
        assert_eq!(made.permissions().mode() & 0o777, 0o600);
    }
}
