//! How many answers are made at a time, and how many requests wait for their turn. Whose turn it is, is in `turns`.

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

/// What is asked for at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLimits {
    /// Answers at a time.
    pub most_answers: u32,
    /// Answers at a time of one key.
    pub most_answers_of_key: u32,
    /// The greatest lengths of the answers that are made at a time, together, in tokens.
    pub most_running_tokens: u64,
    /// Requests that wait.
    pub most_waiting: u32,
    /// How long one waits.
    pub longest_wait: Duration,
    /// The greatest body, in bytes.
    pub most_body_bytes: usize,
}

/// Lets so many answers be made at a time, those of all clients in turn.
#[derive(Debug)]
pub(crate) struct RequestQueue {
    limits: RequestLimits,
    state: Arc<Mutex<QueueState>>,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
struct QueueState {
    turns: Turns,
    /// Those who wait: told when it is their turn, and when they have to give way.
    waiters: HashMap<Ticket, oneshot::Sender<()>>,
}

/// The right to make answers. Given back when it is dropped.
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

    /// How many requests wait.
    pub(crate) fn waiting(&self) -> usize {
        lock(&self.state).turns.waiting() as usize
    }

    /// Waits for the turn of a client, for so many answers of at most so many tokens each.
    ///
    /// # Errors
    /// When too many wait, it takes too long, or there will never be so much room.
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
                "{answers} answers are asked for: this server makes {most} at a time; ask for fewer"
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

    /// Asks for a turn; what tells that it has come, where it has not.
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
                let message = format!("no turn came within {longest:?}: ask again later");
                Err(ApiError::new(ErrorCode::QueueTimeout, message))
            }
        }
    }

    fn full(&self) -> ApiError {
        let most = self.limits.most_waiting;
        let message = format!("{most} requests wait already: ask again later");
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
            // Its turn came in this moment.
            state.turns.end(&self.client, self.demand);
        } else {
            return;
        }
        state.go_on();
    }
}

impl Turn {
    /// Takes the right to make one answer out of it.
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
    /// Tells those whose turn it is.
    fn go_on(&mut self) {
        while let Some(ticket) = self.turns.next() {
            if let Some(tell) = self.waiters.remove(&ticket) {
                // Who waits has not left: it takes itself out under the same lock.
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
