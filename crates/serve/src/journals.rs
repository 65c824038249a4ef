//! The journals of answers: one file for each in a folder, the oldest of which are removed. They contain what people
//! asked.

use std::{
    collections::BTreeSet,
    fmt,
    fs::{self, File},
    io::{self, BufReader},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use answer::{
    Node, Run, Summary,
    file::is_being_written,
    journal::{Header, JournalError, JournalOutline, JournalReader, JournalWriter},
};
use thinking::policy::PolicySpec;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
    time::sleep,
};

/// How the names of journals begin and end. No other file in the folder is touched.
const NAME: (&str, &str) = ("answer-", ".jsonl");
/// How often expired journals are removed while no answers are written.
const LOOK: Duration = Duration::from_secs(60);
/// How many requests may read in a folder at a time.
const MOST_READING: usize = 2;

/// Which journals are kept: those within all limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalLimits {
    /// How many to keep.
    pub most: usize,
    /// How long one is kept after its last line.
    pub max_age: Option<Duration>,
    /// The maximum size of all of them together, in bytes.
    pub max_bytes: Option<u64>,
}

/// A folder of journals.
#[derive(Clone)]
pub struct JournalFolder {
    path: PathBuf,
    limits: JournalLimits,
    now: Arc<dyn Fn() -> SystemTime + Send + Sync>,
    reading: Arc<Semaphore>,
    /// Unusable files, so that each is logged once.
    useless: Arc<Mutex<BTreeSet<PathBuf>>>,
}

/// A journal that is read event by event.
pub(crate) type OpenJournal = JournalReader<BufReader<File>>;

/// A page of the answers in a folder, the last to end first.
#[derive(Debug)]
pub(crate) struct JournalPage {
    /// Each with its id.
    pub(crate) journals: Vec<(String, (Header, Box<Summary>))>,
    /// Whether there may be more after them.
    pub(crate) has_more: bool,
}

/// Why a journal cannot be read. One line.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FolderError {
    /// There is no complete journal of this answer.
    #[error(
        "there is no answer {0:?} here: list the answers with GET /v1/answers; old ones are removed"
    )]
    NotThere(String),
    /// It is damaged.
    #[error("answer {0}: {1}")]
    Unreadable(String, Box<JournalError>),
    /// The folder cannot be read.
    #[error("cannot read the journal folder: {0}; check that the server may read it")]
    Folder(#[from] io::Error),
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
    /// Opens a folder, and creates it if it is missing. From then on, journals beyond the limits are removed.
    ///
    /// When it cannot be created.
    pub fn new(path: &Path, limits: JournalLimits) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        #[expect(clippy::disallowed_methods, reason = "a file's age is told by the system's clock")]
        let now = Arc::new(SystemTime::now);
        let reading = Arc::new(Semaphore::new(MOST_READING));
        Ok(JournalFolder { path: path.to_owned(), limits, now, reading, useless: Arc::default() })
    }

    /// Removes journals when they get too old, for as long as it is polled, even if nothing is answered.
    pub(crate) async fn keep_within_limits(self) {
        let folder = Arc::new(self);
        loop {
            let folder = Arc::clone(&folder);
            let _ = spawn_blocking(move || folder.prune()).await;
            sleep(LOOK).await;
        }
    }

    /// Begins the journal of an answer. If it cannot be written, the question is answered without one.
    pub(crate) fn begin(&self, run: &Run, policy: &PolicySpec) -> Option<JournalWriter<File>> {
        let name = |node: &Node| node.name.clone();
        let small = run.small.nodes.iter().map(name).collect();
        let large = run.large.nodes.iter().map(name);
        let header = Header::new(&run.question, policy.clone(), run.settings, small, large);
        let path = self.path_of(&run.question.id);
        let made = JournalWriter::create(&path, &header);
        made.inspect_err(|why| tracing::warn!(%why, "an answer has no journal")).ok()
    }

    /// Removes the journals that are beyond the limits, the oldest first.
    pub(crate) fn prune(&self) {
        if let Err(why) = self.try_prune() {
            tracing::warn!(%why, "cannot remove old journals");
        }
    }

    fn try_prune(&self) -> io::Result<()> {
        let journals = self.files()?;
        let too_many = self.limits.beyond(&journals, (self.now)());
        for journal in journals.into_iter().take(too_many) {
            match fs::remove_file(journal.path) {
                Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
                _ => {}
            }
        }
        Ok(())
    }

    fn path_of(&self, id: &str) -> PathBuf {
        let (begin, end) = NAME;
        self.path.join(format!("{begin}{id}{end}"))
    }

    /// Returns the journals, the oldest first.
    fn files(&self) -> io::Result<Vec<JournalFile>> {
        let mut journals = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let path = entry.path();
            // Skip a file that another process has just removed.
            if let (Some(_), Ok(found)) = (id_of(&path), entry.metadata()) {
                let (written, bytes) = (found.modified()?, found.len());
                journals.push(JournalFile { written, path, bytes });
            }
        }
        journals.sort_unstable();
        Ok(journals)
    }

    /// Waits until another request may read.
    pub(crate) async fn reading_turn(&self) -> Option<OwnedSemaphorePermit> {
        // The semaphore is never closed.
        Arc::clone(&self.reading).acquire_owned().await.ok()
    }

    /// Returns up to `most` answers that have ended, the last to end first, starting after `after`.
    pub(crate) fn page(
        &self,
        after: Option<&str>,
        most: usize,
    ) -> Result<JournalPage, FolderError> {
        let files = self.files()?;
        let mut files = files.iter().rev();
        if let Some(after) = after {
            let path = self.path_of(after);
            let found = files.any(|file| file.path == path);
            if !found {
                return Err(FolderError::NotThere(after.to_owned()));
            }
        }
        let mut journals = Vec::new();
        while journals.len() < most {
            let Some(file) = files.next() else { break };
            if let (Some(id), Some(outline)) = (id_of(&file.path), self.outline(&file.path)) {
                journals.push((id.to_owned(), outline));
            }
        }
        Ok(JournalPage { journals, has_more: files.next().is_some() })
    }

    /// Returns a journal's header and summary, or `None` if its answer has not ended.
    fn outline(&self, path: &Path) -> Option<(Header, Box<Summary>)> {
        let name = path.display().to_string();
        // Skip a file that was just removed.
        let file = File::open(path).ok()?;
        let is_under_way = is_being_written(&file);
        match JournalOutline::read(file, &name) {
            Ok(JournalOutline { header, summary: Some(summary) }) => {
                return Some((header, summary));
            }
            _ if is_under_way => {}
            Ok(_) => self.tell_once(path, &"the answer in it was interrupted"),
            Err(why) => self.tell_once(path, &why),
        }
        None
    }

    fn tell_once(&self, path: &Path, why: &dyn fmt::Display) {
        let mut useless = self.useless.lock().unwrap_or_else(PoisonError::into_inner);
        if useless.insert(path.to_owned()) {
            tracing::warn!(journal = %path.display(), %why, "a journal is left out of the earlier answers");
        }
    }

    /// Opens the journal of an answer.
    pub(crate) fn open(&self, id: &str) -> Result<OpenJournal, FolderError> {
        let not_there = || FolderError::NotThere(id.chars().take(100).collect());
        // Ids have no other characters, so no path leads out of the folder.
        if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return Err(not_there());
        }
        let path = self.path_of(id);
        let file = File::open(&path).map_err(|_| not_there())?;
        JournalReader::new(BufReader::new(file), &path.display().to_string())
            .map_err(|why| FolderError::Unreadable(id.to_owned(), Box::new(why)))
    }
}

/// Returns the id of an answer, from the name of its journal.
fn id_of(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()?.strip_prefix(NAME.0)?.strip_suffix(NAME.1)
}

impl fmt::Debug for JournalFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let JournalFolder { path, limits, .. } = self;
        f.debug_struct("JournalFolder").field("path", path).field("limits", limits).finish()
    }
}

impl JournalLimits {
    /// Returns how many of these journals, the oldest first, are beyond the limits.
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

    /// Creates a folder with files of these names, times of their last lines (in seconds) and sizes.
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

        use answer::{Candidates, Question, Settings};
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
        let run = Run {
            question,
            small: Candidates::default(),
            large: Candidates::default(),
            policy,
            settings,
        };
        assert!(journals.begin(&run, &spec).is_some());
        let made = fs::metadata(journals.path.join("answer-q-0.jsonl")).unwrap();
        assert_eq!(made.permissions().mode() & 0o777, 0o600);
    }
}
