//! How many answers are made at a time, and how many requests wait for their turn.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};

use crate::{
    error::{ApiError, ErrorCode},
    metrics::Metrics,
};

/// What is asked for at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLimits {
    /// Answers at a time.
    pub most_answers: u32,
    /// Requests that wait.
    pub most_waiting: u32,
    /// How long one waits.
    pub longest_wait: Duration,
    /// The greatest body, in bytes.
    pub most_body_bytes: usize,
}

/// Lets so many answers be made at a time, in the order of their requests.
#[derive(Debug)]
pub(crate) struct RequestQueue {
    limits: RequestLimits,
    room: Arc<Semaphore>,
    waiting: AtomicU32,
    metrics: Arc<Metrics>,
}

impl RequestQueue {
    pub(crate) fn new(limits: RequestLimits, metrics: Arc<Metrics>) -> Self {
        let room = Arc::new(Semaphore::new(limits.most_answers as usize));
        RequestQueue { limits, room, waiting: AtomicU32::new(0), metrics }
    }

    /// How many requests wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed) as usize
    }

    /// Waits for room for so many answers.
    ///
    /// # Errors
    /// When too many wait, it takes too long, or there will never be so much room.
    pub(crate) async fn enter(&self, answers: u32) -> Result<OwnedSemaphorePermit, ApiError> {
        let RequestLimits { most_answers, most_waiting, longest_wait, .. } = self.limits;
        if answers > most_answers {
            let message = format!(
                "{answers} answers are asked for: this server makes {most_answers} at a time; ask for fewer"
            );
            return Err(ApiError::new(ErrorCode::InvalidValue, message).about("n"));
        }
        if let Ok(permit) = Arc::clone(&self.room).try_acquire_many_owned(answers) {
            self.metrics.queued(Duration::ZERO);
            return Ok(permit);
        }
        let Some(_place) = Place::take(&self.waiting, most_waiting) else {
            let message = format!("{most_waiting} requests wait already: ask again later");
            return Err(ApiError::new(ErrorCode::QueueFull, message));
        };
        let since = Instant::now();
        let entered = timeout(longest_wait, Arc::clone(&self.room).acquire_many_owned(answers));
        let entered = entered.await;
        self.metrics.queued(since.elapsed());
        match entered {
            Ok(Ok(permit)) => Ok(permit),
            _ => {
                let message = format!("no turn came within {longest_wait:?}: ask again later");
                Err(ApiError::new(ErrorCode::QueueTimeout, message))
            }
        }
    }
}

/// A place among those that wait; given back when it is dropped.
struct Place<'a>(&'a AtomicU32);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicU32, most: u32) -> Option<Self> {
        let one_more = |count: u32| (count < most).then_some(count + 1);
        let taken = waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        taken.is_ok().then(|| Place(waiting))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: RequestLimits = RequestLimits {
        most_answers: 2,
        most_waiting: 1,
        longest_wait: Duration::from_secs(30),
        most_body_bytes: 1,
    };

    #[tokio::test(start_paused = true)]
    async fn one_waits_for_its_time_and_one_more_is_refused_at_once() {
        let queue = RequestQueue::new(LIMITS, Arc::default());
        let permit = queue.enter(2).await.unwrap();
        let (waiting, refused) = tokio::join!(queue.enter(1), queue.enter(1));
        assert_eq!(refused.unwrap_err().code, ErrorCode::QueueFull);
        assert_eq!(waiting.unwrap_err().code, ErrorCode::QueueTimeout);
        let (entered, ()) = tokio::join!(queue.enter(1), async { drop(permit) });
        assert!(entered.is_ok());
        assert_eq!(queue.enter(3).await.unwrap_err().code, ErrorCode::InvalidValue);
    }
}
