//! Values that are read from files, and read again when the files change: certificates, tokens, keys.
//!
//! A [`Reloaded`] always has a value. If a file's new contents cannot be used (half of a renewal, an expired
//! certificate, an empty file), that is logged once, and the previous value stays in use. Files are checked when the
//! value is read, though not often, and by [`keep_reading`] while nobody reads it. They are compared by their contents,
//! so a file that was replaced by a rename or behind a symbolic link counts as changed too.

use std::{
    fmt, fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{select, sync::Notify, time::Instant};

/// How often files are checked.
pub const LOOK_EVERY: Duration = Duration::from_secs(10);

/// A value that is read from files, and again when they change. Cheap to clone; clones share it.
pub struct Reloaded<T>(Arc<Source<T>>);

type Read<T> = Box<dyn Fn() -> Result<T, String> + Send + Sync>;

struct Source<T> {
    what: String,
    files: Vec<PathBuf>,
    /// Absent: the value never changes.
    read: Option<Read<T>>,
    state: Mutex<State<T>>,
}

struct State<T> {
    value: Arc<T>,
    /// The fingerprint of the files' contents at the last check.
    seen: u64,
    looked_at: Instant,
    /// Why the current contents of the files cannot be used.
    fault: Option<String>,
}

impl<T> Clone for Reloaded<T> {
    fn clone(&self) -> Self {
        Reloaded(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for Reloaded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloaded").field("what", &self.0.what).finish_non_exhaustive()
    }
}

impl<T> Reloaded<T> {
    /// Creates a value that never changes.
    pub fn fixed(value: T) -> Self {
        Reloaded::of(String::new(), Vec::new(), None, value)
    }

    /// Creates a value that was just read from these files. `read` reads it again, and `what` names it in the log.
    pub fn new<E: fmt::Display>(
        what: impl Into<String>,
        files: Vec<PathBuf>,
        value: T,
        read: impl Fn() -> Result<T, E> + Send + Sync + 'static,
    ) -> Self {
        let read = move || read().map_err(|why| why.to_string());
        Reloaded::of(what.into(), files, Some(Box::new(read)), value)
    }

    fn of(what: String, files: Vec<PathBuf>, read: Option<Read<T>>, value: T) -> Self {
        let seen = fingerprint(&files);
        let state = State { value: Arc::new(value), seen, looked_at: Instant::now(), fault: None };
        Reloaded(Arc::new(Source { what, files, read, state: Mutex::new(state) }))
    }

    /// Returns the current value. Checks the files first if the last check was long enough ago.
    pub fn current(&self) -> Arc<T> {
        let mut state = self.0.state();
        if state.looked_at.elapsed() >= LOOK_EVERY {
            self.0.look(&mut state, false);
        }
        Arc::clone(&state.value)
    }
}

impl<T> Source<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the files again if they changed. `is_asked`: the result was requested and is logged even if nothing
    /// changed.
    fn look(&self, state: &mut State<T>, is_asked: bool) {
        let Some(read) = &self.read else { return };
        let what = &self.what;
        state.looked_at = Instant::now();
        let seen = fingerprint(&self.files);
        if seen == state.seen {
            match (&state.fault, is_asked) {
                (_, false) => {}
                (None, true) => tracing::info!("{what}: nothing has changed"),
                (Some(why), true) => {
                    tracing::warn!("{what}: {why}; keeping what was read before");
                }
            }
            return;
        }
        state.seen = seen;
        match read() {
            Ok(value) => {
                state.value = Arc::new(value);
                state.fault = None;
                tracing::info!("{what}: reloaded");
            }
            Err(why) => {
                tracing::warn!("{what}: {why}; keeping what was read before");
                state.fault = Some(why);
            }
        }
    }
}

/// Anything that can be read again.
pub trait Reload: Send + Sync {
    /// Reads the files again if they changed, and logs the result.
    fn look_again(&self, is_asked: bool);
}

impl<T: Send + Sync> Reload for Reloaded<T> {
    fn look_again(&self, is_asked: bool) {
        let mut state = self.0.state();
        self.0.look(&mut state, is_asked);
    }
}

/// Checks files periodically, and at once when `now` is notified, for as long as it is polled.
pub async fn keep_reading(all: &[&dyn Reload], now: &Notify) {
    loop {
        let is_asked = select! {
            () = now.notified() => true,
            () = tokio::time::sleep(LOOK_EVERY) => false,
        };
        all.iter().for_each(|one| one.look_again(is_asked));
    }
}

/// Returns a value that changes when the files change. A file that cannot be read has a fingerprint too.
fn fingerprint(files: &[PathBuf]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for file in files {
        fs::read(file).map_err(|why| why.kind()).hash(&mut hasher);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// A number in a file.
    fn number(path: &Path) -> Reloaded<u32> {
        let file = path.to_owned();
        let read = move || fs::read_to_string(&file).unwrap_or_default().trim().parse::<u32>();
        let value = read().unwrap();
        Reloaded::new("the number", vec![path.to_owned()], value, read)
    }

    #[tokio::test(start_paused = true)]
    async fn a_changed_file_is_read_when_the_value_is_wanted_but_seldom() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("number");
        fs::write(&path, "1").unwrap();
        let number = number(&path);
        fs::write(&path, "2").unwrap();
        assert_eq!(*number.current(), 1, "it was just read");
        tokio::time::advance(LOOK_EVERY).await;
        assert_eq!(*number.clone().current(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_used_leaves_what_was_read_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("number");
        fs::write(&path, "1").unwrap();
        let number = number(&path);
        for (text, value) in [("none", 1), ("", 1), ("3", 3)] {
            fs::write(&path, text).unwrap();
            number.look_again(false);
            assert_eq!(*number.current(), value, "{text}");
            assert_eq!(number.0.state().fault.is_some(), value == 1, "{text}");
        }
        fs::remove_file(&path).unwrap();
        number.look_again(true);
        assert_eq!(*number.current(), 3);
        // Moved into its place.
        let other = folder.path().join("other");
        fs::write(&other, "4").unwrap();
        fs::rename(&other, &path).unwrap();
        number.look_again(false);
        assert_eq!((*number.current(), number.0.state().fault.is_some()), (4, false));
    }

    #[tokio::test(start_paused = true)]
    async fn files_are_read_while_nobody_wants_the_value_and_at_once_when_asked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("number");
        fs::write(&path, "1").unwrap();
        let (number, now) = (number(&path), Notify::new());
        let seen = |number: &Reloaded<u32>| *number.0.state().value;
        let all: [&dyn Reload; 2] = [&number, &Reloaded::fixed(7)];
        let mut reading = std::pin::pin!(keep_reading(&all, &now));
        fs::write(&path, "2").unwrap();
        let short = LOOK_EVERY / 2;
        assert!(tokio::time::timeout(short, reading.as_mut()).await.is_err());
        assert_eq!(seen(&number), 1);
        now.notify_one();
        assert!(tokio::time::timeout(short / 2, reading.as_mut()).await.is_err());
        assert_eq!(seen(&number), 2);
        fs::write(&path, "3").unwrap();
        assert!(tokio::time::timeout(2 * LOOK_EVERY, reading.as_mut()).await.is_err());
        assert_eq!(seen(&number), 3);
    }
}
