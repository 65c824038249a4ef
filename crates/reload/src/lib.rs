//! Values that are read from files, and read again when the files change: certificates, tokens, keys.
//!
//! A [`Reloaded`] has a value at any time. What cannot be used (half of a renewal, an expired certificate, an empty
//! file) is told in a line of the log, once, and what was read before stays. Files are looked at when the value is
//! wanted, but seldom, and by [`keep_reading`] also while nobody wants it. They are compared by their bytes: a file
//! that is moved into the place of another, or behind a symbolic link, has changed too.

use std::{
    fmt, fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{select, sync::Notify, time::Instant};

/// How often files are looked at.
pub const LOOK_EVERY: Duration = Duration::from_secs(10);

/// A value that is read from files, and again when they change. Cheap to clone; clones share it.
pub struct Reloaded<T>(Arc<Source<T>>);

type Read<T> = Box<dyn Fn() -> Result<T, String> + Send + Sync>;

struct Source<T> {
    what: String,
    files: Vec<PathBuf>,
    /// Absent: it never changes.
    read: Option<Read<T>>,
    state: Mutex<State<T>>,
}

struct State<T> {
    value: Arc<T>,
    /// Of the files' bytes when they were looked at last.
    seen: u64,
    looked_at: Instant,
    /// Why what is in the files now cannot be used.
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
    /// A value that never changes.
    pub fn fixed(value: T) -> Self {
        Reloaded::of(String::new(), Vec::new(), None, value)
    }

    /// A value that was just read from these files, and how it is read again. `what` says in the log what it is.
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

    /// The value as it is now. Looks at the files where that was not done of late.
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

    /// Reads the files again where they changed. `is_asked`: somebody wants to know what came of it.
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
                    tracing::warn!("{what}: {why}; what was read before stays in use");
                }
            }
            return;
        }
        state.seen = seen;
        match read() {
            Ok(value) => {
                state.value = Arc::new(value);
                state.fault = None;
                tracing::info!("{what}: read again");
            }
            Err(why) => {
                tracing::warn!("{what}: {why}; what was read before stays in use");
                state.fault = Some(why);
            }
        }
    }
}

/// What can be read again, whatever it is.
pub trait Reload: Send + Sync {
    /// Reads the files again where they changed, and says in the log what came of it.
    fn look_again(&self, is_asked: bool);
}

impl<T: Send + Sync> Reload for Reloaded<T> {
    fn look_again(&self, is_asked: bool) {
        let mut state = self.0.state();
        self.0.look(&mut state, is_asked);
    }
}

/// Looks at files from time to time, and at once when `now` is notified, for as long as it is polled.
pub async fn keep_reading(all: &[&dyn Reload], now: &Notify) {
    loop {
        let is_asked = select! {
            () = now.notified() => true,
            () = tokio::time::sleep(LOOK_EVERY) => false,
        };
        all.iter().for_each(|one| one.look_again(is_asked));
    }
}

/// Tells whether files are as they were. One that cannot be read has a fingerprint too.
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
