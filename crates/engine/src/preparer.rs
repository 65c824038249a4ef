//! Turns text into tokens off the engine's thread: rendering a chat template and encoding a long text take as long as
//! many decode steps, and every session would wait for them.
//!
//! Sessions have two lanes with a thread each, one for short and one for long texts, so that a short question does not
//! wait for a whole book. Requests to the tokenizer have a lane of their own. A session has one job at a time, since
//! its commands are carried out in order, so a lane holds no more jobs than there are sessions; jobs of sessions that
//! have ended are dropped. Only a few requests to the tokenizer may wait; more are refused. The work in one job is
//! bounded by the model's context: the text's length in bytes is checked first, the template's steps are counted, and
//! encoding ends when the context is full.

use std::{
    collections::VecDeque,
    fmt, io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
};

use tokio::sync::oneshot;

use crate::encoder::Encoder;

/// Jobs over more bytes than this go to the lane of long ones.
const SHORT_BYTES: usize = 64 << 10;

/// How many requests to the tokenizer may wait.
const MOST_QUESTIONS: usize = 32;

/// The result of a job, or an error if the job panicked. Dropping it cancels the job.
pub(crate) type Pending<T> = oneshot::Receiver<T>;

/// The threads that turn text into tokens.
pub(crate) struct Preparer {
    encoder: Arc<Encoder>,
    short: Arc<Lane>,
    long: Arc<Lane>,
    questions: Arc<Lane>,
    threads: Vec<JoinHandle<()>>,
}

impl fmt::Debug for Preparer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Preparer").finish_non_exhaustive()
    }
}

/// A queue of jobs that run one after the other.
#[derive(Default)]
struct Lane {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Box<dyn Job>>,
    is_over: bool,
}

trait Job: Send {
    /// Returns whether anybody still waits for the result.
    fn is_wanted(&self) -> bool;
    fn run(self: Box<Self>, encoder: &Encoder);
}

struct Work<T, F> {
    reply: oneshot::Sender<T>,
    make: F,
}

impl<T: Send, F: FnOnce(&Encoder) -> T + Send> Job for Work<T, F> {
    fn is_wanted(&self) -> bool {
        !self.reply.is_closed()
    }

    fn run(self: Box<Self>, encoder: &Encoder) {
        let Work { reply, make } = *self;
        // Without a reply the session fails with an internal error.
        if let Ok(made) = catch_unwind(AssertUnwindSafe(|| make(encoder))) {
            // The session may have ended meanwhile.
            let _ = reply.send(made);
        }
    }
}

impl Preparer {
    /// Starts the threads.
    ///
    /// # Errors
    /// If the system refuses to start one.
    pub(crate) fn start(encoder: Arc<Encoder>) -> io::Result<Arc<Self>> {
        let mut preparer = Preparer::without_threads(encoder);
        for (name, lane) in [
            ("short", &preparer.short),
            ("long", &preparer.long),
            ("questions", &preparer.questions),
        ] {
            let (lane, encoder) = (Arc::clone(lane), Arc::clone(&preparer.encoder));
            let thread = std::thread::Builder::new().name(format!("prepare {name}"));
            preparer.threads.push(thread.spawn(move || lane.work(&encoder))?);
        }
        Ok(Arc::new(preparer))
    }

    /// Makes one whose jobs run only in [`Preparer::run_all`].
    pub(crate) fn without_threads(encoder: Arc<Encoder>) -> Self {
        Preparer {
            encoder,
            short: Arc::default(),
            long: Arc::default(),
            questions: Arc::default(),
            threads: Vec::new(),
        }
    }

    /// Queues a job over `bytes` bytes of text.
    pub(crate) fn prepare<T: Send + 'static>(
        &self,
        bytes: usize,
        make: impl FnOnce(&Encoder) -> T + Send + 'static,
    ) -> Pending<T> {
        let (reply, pending) = oneshot::channel();
        let lane = if bytes <= SHORT_BYTES { &self.short } else { &self.long };
        let mut queue = lane.lock();
        queue.jobs.retain(|job| job.is_wanted());
        queue.jobs.push_back(Box::new(Work { reply, make }));
        lane.changed.notify_one();
        pending
    }

    /// Queues a request to the tokenizer. Returns `None` if too many are waiting.
    pub(crate) fn ask<T: Send + 'static>(
        &self,
        make: impl FnOnce(&Encoder) -> T + Send + 'static,
    ) -> Option<Pending<T>> {
        let (reply, pending) = oneshot::channel();
        let mut queue = self.questions.lock();
        queue.jobs.retain(|job| job.is_wanted());
        if queue.jobs.len() >= MOST_QUESTIONS {
            return None;
        }
        queue.jobs.push_back(Box::new(Work { reply, make }));
        self.questions.changed.notify_one();
        Some(pending)
    }

    /// Runs all jobs that are queued.
    #[cfg(test)]
    pub(crate) fn run_all(&self) {
        for lane in [&self.short, &self.long, &self.questions] {
            let jobs = std::mem::take(&mut lane.lock().jobs);
            jobs.into_iter().for_each(|job| job.run(&self.encoder));
        }
    }
}

impl Drop for Preparer {
    fn drop(&mut self) {
        for lane in [&self.short, &self.long, &self.questions] {
            let mut queue = lane.lock();
            queue.is_over = true;
            queue.jobs.clear();
            lane.changed.notify_one();
        }
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread that prepares text panicked");
            }
        }
    }
}

impl Lane {
    /// Runs jobs until the preparer is dropped.
    fn work(&self, encoder: &Encoder) {
        loop {
            let mut queue = self.lock();
            let job = loop {
                if queue.is_over {
                    return;
                }
                match queue.jobs.pop_front() {
                    Some(job) => break job,
                    None => {
                        queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner)
                    }
                }
            };
            drop(queue);
            if job.is_wanted() {
                job.run(encoder);
            }
        }
    }

    /// Locks the queue. A poisoned lock is fine: nothing that holds it can panic halfway.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{atomic::AtomicU64, mpsc};

    use text::Tokenizer;

    use super::*;

    fn encoder() -> Arc<Encoder> {
        let path =
            concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/tiny-llama/tokenizer.json");
        let tokenizer = Tokenizer::from_json(path.as_ref()).unwrap();
        Arc::new(Encoder::new(tokenizer, Arc::new(AtomicU64::new(0))))
    }

    #[test]
    fn a_short_job_does_not_wait_for_a_long_one() {
        let preparer = Preparer::start(encoder()).unwrap();
        let (release, released) = mpsc::channel::<()>();
        let long = preparer.prepare(SHORT_BYTES + 1, move |_| released.recv().is_ok());
        assert!(preparer.prepare(SHORT_BYTES, |_| true).blocking_recv().unwrap());
        release.send(()).unwrap();
        assert!(long.blocking_recv().unwrap());
    }

    #[test]
    fn questions_wait_for_no_session_and_only_few_wait() {
        let preparer = Preparer::without_threads(encoder());
        let session = preparer.prepare(1, |_| 1);
        let waiting: Vec<_> = (0..MOST_QUESTIONS).map(|n| preparer.ask(move |_| n)).collect();
        assert!(waiting.iter().all(Option::is_some));
        assert!(preparer.ask(|_| 0).is_none());
        drop(waiting);
        let last = preparer.ask(|_| 7).expect("nobody waits for the others any more");
        preparer.run_all();
        assert_eq!((session.blocking_recv(), last.blocking_recv()), (Ok(1), Ok(7)));
    }

    #[test]
    fn jobs_that_nobody_waits_for_are_dropped_and_a_defect_ends_one_alone() {
        let preparer = Preparer::without_threads(encoder());
        let held = Arc::new(());
        for _ in 0..10 {
            let held = Arc::clone(&held);
            drop(preparer.prepare(1, move |_| drop(held)));
        }
        let broken = preparer.prepare(1, |_| panic!("a defect"));
        let sound = preparer.prepare(1, |_| 1);
        assert_eq!(Arc::strong_count(&held), 1);
        preparer.run_all();
        assert!(broken.blocking_recv().is_err());
        assert_eq!(sound.blocking_recv(), Ok(1));
    }
}
