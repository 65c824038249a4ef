//! How many answers run at a time, and how many requests wait for their turn. `turns` decides whose turn it is.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::oneshot,
    time::{Instant, timeout},
};

use crate::{
    error::{ApiError, ErrorCode},
    metrics::Metrics,
    turns::{Admission, Client, Demand, Ticket, TurnLimits, Turns},
};

/// How much may run and wait at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLimits {
    /// How many answers may run at a time.
    pub most_answers: u32,
    /// How many answers may run at a time for one key.
    pub most_answers_of_key: u32,
    /// The maximum lengths of all running answers together, in tokens.
    pub most_running_tokens: u64,
    /// How many requests may wait.
    pub most_waiting: u32,
    /// How long a request may wait.
    pub longest_wait: Duration,
    /// The maximum size of a body, in bytes.
    pub most_body_bytes: usize,
}

/// Limits how many answers run at a time, and gives all clients their turn.
#[derive(Debug)]
pub(crate) struct RequestQueue {
    limits: RequestLimits,
    state: Arc<Mutex<QueueState>>,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
struct QueueState {
    turns: Turns,
    /// The requests that wait. Each is notified when its turn comes, and when it has to give way.
    waiters: HashMap<Ticket, oneshot::Sender<()>>,
}

/// The right to run answers. Returned when it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    state: Arc<Mutex<QueueState>>,
    client: Client,
    demand: Demand,
}

impl RequestQueue {
    pub(crate) fn new(limits: RequestLimits, metrics: Arc<Metrics>) -> Self {
        let turns = Turns::new(TurnLimits {
            answers: limits.most_answers,
            answers_of_client: limits.most_answers_of_key.min(limits.most_answers),
            tokens: limits.most_running_tokens,
            waiting: limits.most_waiting,
        });
        let state = QueueState { turns, waiters: HashMap::new() };
        RequestQueue { limits, state: Arc::new(Mutex::new(state)), metrics }
    }

    /// Returns how many requests wait.
    pub(crate) fn waiting(&self) -> usize {
        lock(&self.state).turns.waiting() as usize
    }

    /// Waits for a client's turn to run this many answers of at most `tokens_each` tokens.
    ///
    /// When too many requests wait, it takes too long, or this many answers never fit.
    pub(crate) async fn enter(
        &self,
        key: Option<&str>,
        answers: u32,
        tokens_each: u32,
    ) -> Result<Turn, ApiError> {
        let RequestLimits { most_answers, most_answers_of_key, .. } = self.limits;
        let most = most_answers.min(most_answers_of_key);
        if answers > most {
            let message = format!(
                "{answers} answers were requested, but this server runs at most {most} at a time: ask for fewer"
            );
            return Err(ApiError::new(ErrorCode::InvalidValue, message).about("n"));
        }
        let client = Client::from(key.unwrap_or_default());
        let demand = Demand { answers, tokens_each };
        match self.ask(&client, demand)? {
            Some(waiting) => self.wait(waiting).await?,
            None => self.metrics.queued(Duration::ZERO),
        }
        Ok(Turn { state: Arc::clone(&self.state), client, demand })
    }

    /// Asks for a turn. Returns `None` if it has come, else what to wait for.
    fn ask(&self, client: &Client, demand: Demand) -> Result<Option<Waiting<'_>>, ApiError> {
        let mut state = lock(&self.state);
        let ticket = match state.turns.ask(client, demand) {
            Admission::Goes => return Ok(None),
            Admission::Waits(ticket) => ticket,
            Admission::Displaces(ticket, other) => {
                state.waiters.remove(&other);
                ticket
            }
            Admission::Full => return Err(self.full()),
        };
        let (tell, turn) = oneshot::channel();
        state.waiters.insert(ticket, tell);
        let client = Arc::clone(client);
        Ok(Some(Waiting { state: &self.state, ticket, client, demand, turn }))
    }

    async fn wait(&self, mut waiting: Waiting<'_>) -> Result<(), ApiError> {
        let (since, longest) = (Instant::now(), self.limits.longest_wait);
        let told = timeout(longest, &mut waiting.turn).await;
        self.metrics.queued(since.elapsed());
        match told {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(self.full()),
            Err(_) => {
                let message = format!("its turn did not come within {longest:?}: try again later");
                Err(ApiError::new(ErrorCode::QueueTimeout, message))
            }
        }
    }

    fn full(&self) -> ApiError {
        let most = self.limits.most_waiting;
        let message = format!("{most} requests are already waiting: try again later");
        ApiError::new(ErrorCode::QueueFull, message)
    }
}

/// A request that waits, until this is dropped.
struct Waiting<'a> {
    state: &'a Mutex<QueueState>,
    ticket: Ticket,
    client: Client,
    demand: Demand,
    turn: oneshot::Receiver<()>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = lock(self.state);
        if state.waiters.remove(&self.ticket).is_some() {
            state.turns.give_up(self.ticket);
        } else if self.turn.try_recv().is_ok() {
            // Its turn came at this very moment.
            state.turns.end(&self.client, self.demand);
        } else {
            return;
        }
        state.go_on();
    }
}

impl Turn {
    /// Splits off the right to run one answer.
    pub(crate) fn split(&mut self) -> Option<Turn> {
        self.demand.answers = self.demand.answers.checked_sub(1)?;
        let demand = Demand { answers: 1, ..self.demand };
        Some(Turn { state: Arc::clone(&self.state), client: Arc::clone(&self.client), demand })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        state.turns.end(&self.client, self.demand);
        state.go_on();
    }
}

impl QueueState {
    /// Notifies the requests whose turn it is.
    fn go_on(&mut self) {
        while let Some(ticket) = self.turns.next() {
            if let Some(tell) = self.waiters.remove(&ticket) {
                // The receiver still exists: a request that leaves removes itself under the same lock.
                let _ = tell.send(());
            }
        }
    }
}

fn lock(state: &Mutex<QueueState>) -> MutexGuard<'_, QueueState> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: RequestLimits = RequestLimits {
        most_answers: 2,
        most_answers_of_key: 2,
        most_running_tokens: u64::MAX,
        most_waiting: 1,
        longest_wait: Duration::from_secs(30),
        most_body_bytes: 1,
    };

    #[tokio::test(start_paused = true)]
    async fn one_waits_for_its_time_and_one_more_is_refused_at_once() {
        let queue = RequestQueue::new(LIMITS, Arc::default());
        let enter = |answers| queue.enter(None, answers, 9);
        let turn = enter(2).await.unwrap();
        let (waiting, refused) = tokio::join!(enter(1), enter(1));
        assert_eq!(refused.unwrap_err().code, ErrorCode::QueueFull);
        assert_eq!(waiting.unwrap_err().code, ErrorCode::QueueTimeout);
        assert_eq!(queue.waiting(), 0);
        let (entered, ()) = tokio::join!(enter(1), async { drop(turn) });
        assert!(entered.is_ok());
        assert_eq!(enter(3).await.unwrap_err().code, ErrorCode::InvalidValue);
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_that_comes_to_somebody_who_leaves_is_given_to_the_next() {
        let queue = RequestQueue::new(RequestLimits { most_waiting: 9, ..LIMITS }, Arc::default());
        let turn = queue.enter(None, 2, 9).await.unwrap();
        let leaving = async {
            let waiting = queue.ask(&Client::from(""), Demand { answers: 2, tokens_each: 9 });
            let waiting = waiting.unwrap().unwrap();
            drop(turn);
            drop(waiting);
        };
        let (entered, ()) = tokio::join!(queue.enter(Some("other"), 2, 9), leaving);
        assert!(entered.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_gives_way_is_told_at_once() {
        let queue = RequestQueue::new(RequestLimits { most_waiting: 2, ..LIMITS }, Arc::default());
        let mut turn = queue.enter(Some("greedy"), 2, 9).await.unwrap();
        let (one, two, other, ()) = tokio::join!(
            queue.enter(Some("greedy"), 1, 9),
            queue.enter(Some("greedy"), 1, 9),
            queue.enter(Some("modest"), 1, 9),
            async { drop(turn.split()) }
        );
        assert_eq!(two.unwrap_err().code, ErrorCode::QueueFull);
        assert!(other.is_ok(), "it has been given nothing yet");
        assert_eq!(one.unwrap_err().code, ErrorCode::QueueTimeout);
    }
}
