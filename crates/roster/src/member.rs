//! One node of a part: what is known of it, and how its expected time to first text is computed.

use std::time::Duration;

use thinking::thinker::{Code, Condition, Failure, Load, ModelCard, Serving};

use crate::breaker::{Breaker, Circuit};

/// The length of the prompt that is assumed when times to first text are compared, in tokens.
const PROMPT_TOKENS: f64 = 256.0;
/// How long a member that has just begun to serve gets fewer sessions than others.
const WARM_UP: Duration = Duration::from_secs(10);
/// How many times slower it counts at the start of that time.
const COLD_FACTOR: f64 = 5.0;
/// What a member without room adds to its expected time, in seconds.
const FULL: f64 = 10.0;
/// How long an overloaded member is left alone if it does not say when to retry.
const USUAL_REST: Duration = Duration::from_secs(1);
/// The longest time for which it is left alone.
const LONGEST_REST: Duration = Duration::from_secs(30);

/// Configured properties of a node, which decide between nodes that are equally fast.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MemberTerms {
    /// What its tokens cost; the cheaper node is chosen.
    pub price: f64,
    /// Its weight; at the same price the heavier node is chosen.
    pub weight: f64,
}

impl Default for MemberTerms {
    fn default() -> Self {
        MemberTerms { price: 0.0, weight: 1.0 }
    }
}

/// The state of a node, for those who monitor a pool.
#[derive(Debug, Clone, PartialEq)]
pub enum MemberState {
    /// Nothing was reported about it yet.
    Unknown,
    /// It takes sessions.
    Serving,
    /// Its sessions failed: it gets none for a while.
    SetAside,
    /// It accepts no new sessions, and lets its sessions end.
    Draining,
    /// It cannot be reached, with the reason.
    Gone(String),
    /// It serves another model than the others; explained in one line.
    Unfit(String),
}

impl MemberState {
    /// Returns its name in metrics.
    pub fn name(&self) -> &'static str {
        match self {
            MemberState::Unknown => "unknown",
            MemberState::Serving => "serving",
            MemberState::SetAside => "set_aside",
            MemberState::Draining => "draining",
            MemberState::Gone(_) => "gone",
            MemberState::Unfit(_) => "unfit",
        }
    }
}

/// How fast a member computes, in tokens per second.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Speeds {
    prefill: f64,
    decode: f64,
}

impl Speeds {
    /// Returns the greatest speeds that any of these report, or the usual ones if none reports any.
    pub(crate) fn fastest(loads: impl Iterator<Item = Load>) -> Self {
        let none = Speeds { prefill: 0.0, decode: 0.0 };
        let fastest = loads.fold(none, |so_far, load| Speeds {
            prefill: so_far.prefill.max(load.prefill_tokens_per_s),
            decode: so_far.decode.max(load.decode_tokens_per_s),
        });
        fastest.or(Speeds { prefill: 1000.0, decode: 30.0 })
    }

    /// Returns these speeds, with those that are not known replaced by the others.
    fn or(self, others: Speeds) -> Self {
        let or = |own: f64, other: f64| if own > 0.0 { own } else { other };
        Speeds { prefill: or(self.prefill, others.prefill), decode: or(self.decode, others.decode) }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) terms: MemberTerms,
    condition: Option<Condition>,
    /// Why it does not fit, in one line, if it serves another model than the others.
    pub(crate) unfit: Option<String>,
    /// Its latest report while it was serving.
    said: Serving,
    /// Since when it serves; `None` if since the start.
    serves_since: Option<Duration>,
    breaker: Breaker,
    /// Until when it is left alone because it was overloaded.
    rests_until: Duration,
    /// Sessions with it.
    pub(crate) sessions: u32,
    /// Sessions that began after its latest report of its load.
    new_sessions: u32,
}

impl Member {
    pub(crate) fn new(name: String, terms: MemberTerms, serves_since: Option<Duration>) -> Self {
        Member {
            name,
            terms,
            condition: None,
            unfit: None,
            said: Serving::default(),
            serves_since,
            breaker: Breaker::default(),
            rests_until: Duration::ZERO,
            sessions: 0,
            new_sessions: 0,
        }
    }

    /// Returns what it serves, if known.
    pub(crate) fn card(&self) -> Option<&ModelCard> {
        self.said.card.as_ref()
    }

    /// Returns how busy it reported to be.
    pub(crate) fn load(&self) -> Option<Load> {
        self.said.load
    }

    pub(crate) fn is_serving(&self) -> bool {
        matches!(self.condition, Some(Condition::Serving(_)))
    }

    pub(crate) fn heard(&mut self, condition: Condition, now: Duration) {
        if let Condition::Serving(serving) = &condition {
            if matches!(self.condition, Some(Condition::Gone(_) | Condition::Draining)) {
                self.serves_since = Some(now);
            }
            // Failures from before it was unreachable say nothing about the node that is there now.
            if matches!(self.condition, Some(Condition::Gone(_))) {
                self.breaker = Breaker::default();
            }
            self.said = Serving::clone(serving);
            self.new_sessions = 0;
        }
        self.condition = Some(condition);
    }

    pub(crate) fn begun(&mut self, now: Duration) {
        self.sessions += 1;
        self.new_sessions += 1;
        self.breaker.begun(now);
    }

    pub(crate) fn wrote(&mut self) {
        self.breaker.wrote();
    }

    /// Notes that a session ended. `spread`, in [0, 1), keeps clients that an overloaded member turns away from all
    /// coming back at once.
    pub(crate) fn ended(&mut self, failure: Option<&Failure>, spread: f64, now: Duration) {
        self.sessions = self.sessions.saturating_sub(1);
        match failure {
            None => self.breaker.given_up(),
            Some(failure) if failure.code == Code::Overloaded => {
                self.breaker.given_up();
                let told = failure.retry_after_ms.map_or(USUAL_REST, Duration::from_millis);
                self.rests_until = now + told.min(LONGEST_REST).mul_f64(1.0 + spread);
            }
            Some(failure) if is_of_question(failure.code) => self.breaker.given_up(),
            Some(_) => self.breaker.failed(now),
        }
    }

    /// Returns until when it is left alone, if it is.
    pub(crate) fn rests(&self, now: Duration) -> Option<Duration> {
        Some(self.rests_until).filter(|until| now < *until)
    }

    /// Returns its state.
    pub(crate) fn state(&self, now: Duration) -> MemberState {
        if let Some(line) = &self.unfit {
            return MemberState::Unfit(line.clone());
        }
        match &self.condition {
            Some(Condition::Draining) => MemberState::Draining,
            Some(Condition::Gone(failure)) => MemberState::Gone(failure.message.clone()),
            _ if self.breaker.circuit(now) != Circuit::Closed => MemberState::SetAside,
            Some(Condition::Serving(_)) => MemberState::Serving,
            None => MemberState::Unknown,
        }
    }

    /// Returns whether sessions may be opened with it, either any number or one as a trial.
    pub(crate) fn takes_sessions(&self, now: Duration) -> bool {
        let may_be_there = matches!(self.condition, None | Some(Condition::Serving(_)));
        let circuit = self.breaker.circuit(now);
        may_be_there
            && self.unfit.is_none()
            && matches!(circuit, Circuit::Closed | Circuit::HalfOpen)
    }

    /// Returns whether it may be tried if there is no other member, since what is known of it may be stale.
    pub(crate) fn is_last_resort(&self) -> bool {
        self.unfit.is_none() && self.condition != Some(Condition::Draining)
    }

    /// Returns the expected time to first text of a new session, in seconds. A member that has computed nothing yet
    /// counts as fast as the `fastest`, so that it gets a chance to show its speed.
    pub(crate) fn expected_s(&self, fastest: Speeds, now: Duration) -> f64 {
        let load = self.said.load.unwrap_or_default();
        let (prefill, decode) = (load.prefill_tokens_per_s, load.decode_tokens_per_s);
        let speeds = Speeds { prefill, decode }.or(fastest);
        let (text, step) = (PROMPT_TOKENS / speeds.prefill, 1.0 / speeds.decode);
        // If a member does not report its load, only our own sessions are known.
        let (ahead, beside) = match self.said.load {
            Some(load) => (load.waiting + self.new_sessions, load.writing),
            None => (self.sessions, 0),
        };
        let is_full = load.max_sessions > 0
            && load.sessions.saturating_add(self.new_sessions) >= load.max_sessions;
        let busy_s = self.said.round_trip.as_secs_f64()
            + text * f64::from(ahead + 1)
            + step * f64::from(beside + 1)
            + if is_full { FULL } else { 0.0 };
        busy_s * self.coldness(now)
    }

    /// Returns by which factor it counts as slower because it has just begun to serve.
    fn coldness(&self, now: Duration) -> f64 {
        let Some(since) = self.serves_since else { return 1.0 };
        let left = WARM_UP.saturating_sub(now.saturating_sub(since));
        1.0 + (COLD_FACTOR - 1.0) * left.as_secs_f64() / WARM_UP.as_secs_f64()
    }
}

/// Returns whether a failure is due to the question, so that any member would fail in the same way.
fn is_of_question(code: Code) -> bool {
    matches!(code, Code::ContextTooLong | Code::MessageTooLarge | Code::InvalidArgument)
}
