//! What holds for every answer, whatever its nodes and links do. It is written once: simulations, property tests and,
//! in debug builds, the driver over real sessions let a [`Witness`] watch.
//!
//! The witness sees what goes into the machine and what comes out of it, and nothing inside it. What only a simulation
//! can know, such as which nodes are well, is given to it as [`Known`]; without that it checks only what can be seen.

mod debug;
mod held;
mod outcome;
mod text;

use std::{collections::HashMap, fmt, time::Duration};

use thinking::{
    policy::{Need, Role},
    thinker::{Code, Event, FinishReason, Opened, Prompt, ThoughtStart},
    transcript::Writer,
};

pub use self::debug::DebugWitness;
use self::held::{Heard, Held};
use crate::{
    DEADLINE_GRACE, LONGEST,
    port::{Effect, Input, NodeId},
    progress::{Asked, Progress, Text},
    question::{Question, Settings},
    told::ToldSpans,
};

/// Something that should hold for every answer and does not. Displays as one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    /// Which invariant.
    pub invariant: Invariant,
    /// What happened instead.
    pub seen: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.invariant, self.seen)
    }
}

/// What holds for every answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Invariant {
    /// It ends in bounded time, within its deadline and the grace period after it.
    EndsInTime,
    /// Its end matches what happened, and it fails only if no small node is left.
    EndIsTrue,
    /// Nothing follows the end, and time never decreases.
    OrderOfTime,
    /// Each session is sent only what its contract allows, and each role has one session at a time.
    Contract,
    /// What is shown is the answer's text, and each session holds a prefix of it, after the given beginning.
    ShownIsHeld,
    /// Under a review, no text of the small node is shown before the large one has judged it.
    ShownIsJudged,
    /// The reports give the answer's spans, with the cost of each.
    SpansAreTold,
    /// Nothing of a stop text is shown.
    StopsAreUnseen,
    /// Every token that a node reported is counted once.
    TokensAddUp,
    /// No more time is counted than passed.
    TimeAddsUp,
    /// The answer does not exceed its token limit.
    Length,
    /// No takeover is waited for beyond its deadline.
    TakeoverDeadline,
    /// Takeovers stay within their target.
    Target,
    /// What is sent and unanswered fits a session's queue.
    BoundedQueue,
    /// No node computes what is no longer wanted.
    NothingInVain,
    /// What is waited for was asked of a node that can answer.
    AwaitedWasAsked,
    /// A node that gives signs of life is not treated as silent.
    SignsCount,
    /// A node that is well is not given up.
    SoundNodeStays,
}

/// What is known of an answer's nodes and limits. What is not known is not checked.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Nodes that never fail, lie or fall silent.
    pub sound: Vec<NodeId>,
    /// The most tokens. For the question's limit, `paper` checks it only between rounds.
    pub max_tokens: Option<u32>,
    /// The longest time from an ask of the large node to its first text.
    pub takeover_deadline: Option<Duration>,
    /// The greatest share of large tokens.
    pub target_share: Option<f64>,
    /// How long the inputs may have been delayed.
    pub paused: Duration,
    /// Whether all that the small node writes is judged as long as there is a reviewer: nothing is accepted without a
    /// verdict.
    pub judges_all: bool,
    /// What the policy needs that not every node supports.
    pub need: Option<Need>,
}

/// Watches an answer. See the module documentation.
#[derive(Debug)]
pub struct Witness {
    question: Question,
    settings: Settings,
    known: Known,
    now: Duration,
    /// The answer's text that is shown so far.
    shown: String,
    /// The committed text, as far as it is known: the given beginning, the shown text and, with stop texts, what a
    /// session holds after it.
    committed: String,
    /// How much of it is given; not known before the small node has accepted the question.
    given_bytes: Option<usize>,
    sessions: Vec<Held>,
    /// What the small side had written when it lost its session with a complete proposal.
    loose: Option<String>,
    /// Asks that are neither kept nor forgotten, by the seed that is sent with them.
    asks: HashMap<u64, LiveAsk>,
    /// The seed of the ask that is waited for.
    awaited: Option<u64>,
    heard: [Heard; 2],
    /// Tokens of proposals without text: they belong to no span.
    empty_tokens: u64,
    reasons: Vec<FinishReason>,
    small_is_full: bool,
    small_was_accepted: bool,
    /// Whether a node was given a role that it cannot play.
    has_unfit: bool,
    is_cancelled: bool,
    has_ended: bool,
    told: ToldSpans,
}

/// An ask that is neither kept nor forgotten.
#[derive(Debug)]
struct LiveAsk {
    asked: Asked,
    at: Duration,
    has_text: bool,
    is_complete: bool,
    /// Its tokens, if it is complete and has no text.
    empty_tokens: u64,
    is_abandoned: bool,
}

type Checked = Result<(), Breach>;

fn breach<T>(invariant: Invariant, seen: impl Into<String>) -> Result<T, Breach> {
    Err(Breach { invariant, seen: seen.into() })
}

impl Witness {
    /// Watches an answer from its start.
    pub fn new(question: Question, settings: Settings, known: Known) -> Self {
        Witness {
            question,
            settings,
            known,
            now: Duration::ZERO,
            shown: String::new(),
            committed: String::new(),
            given_bytes: None,
            sessions: Vec::new(),
            loose: None,
            asks: HashMap::new(),
            awaited: None,
            heard: [Heard::default(); 2],
            empty_tokens: 0,
            reasons: Vec::new(),
            small_is_full: false,
            small_was_accepted: false,
            has_unfit: false,
            is_cancelled: false,
            has_ended: false,
            told: ToldSpans::default(),
        }
    }

    /// Checks a step: the machine took in an input (or started) and returned these effects. `wake_at` is when it wants
    /// to be woken.
    ///
    /// # Errors
    /// The first invariant that does not hold.
    pub fn step(
        &mut self,
        now: Duration,
        input: Option<&Input>,
        effects: &[Effect],
        wake_at: Duration,
    ) -> Checked {
        if self.has_ended && !effects.is_empty() {
            return breach(Invariant::OrderOfTime, format!("{:?} follows the end", effects[0]));
        }
        self.now = self.now.max(now);
        match input {
            Some(Input::Event(node, event)) => self.hear(*node, event, effects),
            Some(Input::Alive(node)) => {
                if let Some(session) = self.sessions.iter_mut().find(|it| it.node == *node) {
                    session.sign_at = self.now;
                }
            }
            Some(Input::Cancel) => self.is_cancelled = true,
            Some(Input::Offer(..) | Input::Withdraw(_) | Input::Wake) | None => {}
        }
        for effect in effects {
            self.effect(effect, matches!(input, Some(Input::Wake)))?;
        }
        self.sessions_hold_what_is_committed()?;
        self.no_stop_text_is_shown()?;
        if !self.has_ended {
            self.nothing_is_computed_in_vain()?;
            self.what_is_awaited_can_come(wake_at)?;
            self.is_in_time(wake_at)?;
        }
        Ok(())
    }

    /// Returns when the answer must be over at the latest.
    fn latest_end(&self) -> Duration {
        self.question.deadline.unwrap_or(LONGEST).min(LONGEST) + DEADLINE_GRACE
    }

    fn session(&mut self, node: NodeId) -> Option<&mut Held> {
        self.sessions.iter_mut().find(|session| session.node == node)
    }

    /// Notes an event of a node.
    fn hear(&mut self, node: NodeId, event: &Event, effects: &[Effect]) {
        let (now, end) = (self.now, self.latest_end());
        // An event that breaks the contract, or comes after the end, counts as if it had not been sent.
        let is_refused = effects.iter().any(|effect| {
            matches!(effect, Effect::Close(closed, Some(failure))
                if *closed == node && failure.code == Code::Internal)
        });
        let Some(session) = self.session(node) else { return };
        session.sign_at = now;
        if is_refused || now >= end {
            return;
        }
        session.hear(event);
        let reviews = session.reviews;
        let writing = session.writing();
        match event {
            Event::Delta(delta) if !delta.text.is_empty() => {
                if let Some(ask) = writing.and_then(|seed| self.asks.get_mut(&seed)) {
                    ask.has_text = true;
                }
            }
            Event::Opened(opened) => {
                self.small_was_accepted |= node.role == Role::Small;
                self.has_unfit |= self.is_unfit(node.role, opened, reviews);
            }
            Event::Objection(objection) if objection.instead.is_none() => {
                self.reasons.push(FinishReason::EndOfText);
            }
            Event::Finished(finished) => {
                self.small_is_full |=
                    node.role == Role::Small && finished.reason == FinishReason::ContextFull;
                self.reasons.push(finished.reason.clone());
            }
            Event::Failed(failure) => {
                self.small_is_full |=
                    node.role == Role::Small && failure.code == Code::ContextTooLong;
            }
            _ => {}
        }
    }

    fn is_unfit(&self, role: Role, opened: &Opened, reviews: bool) -> bool {
        let cuts = reviews || self.known.need == Some(Need::Asides);
        match role {
            Role::Large => cuts && !opened.card.can_review,
            Role::Small => {
                self.known.need == Some(Need::Entropies) && !opened.card.can_report_entropy
            }
        }
    }

    fn effect(&mut self, effect: &Effect, is_wake: bool) -> Checked {
        if self.has_ended {
            return breach(Invariant::OrderOfTime, format!("{effect:?} follows the end"));
        }
        match effect {
            Effect::Open(node, open) => {
                let beside = self.sessions.iter().filter(|it| it.node.role == node.role).count();
                let may_hedge = self.settings.hedge_after.is_some() && node.role == Role::Large;
                if beside > usize::from(may_hedge) {
                    let seen = format!("{node:?} is opened beside another session of its part");
                    return breach(Invariant::Contract, seen);
                }
                self.sessions.push(Held::new(*node, open, self.now));
            }
            Effect::Send(node, command) => {
                let Some(session) = self.session(*node) else {
                    return breach(Invariant::Contract, format!("{node:?} has no session"));
                };
                session.send(command)?;
            }
            Effect::Close(node, failure) => {
                let Some(at) = self.sessions.iter().position(|session| session.node == *node)
                else {
                    return breach(Invariant::Contract, format!("{node:?} has no session"));
                };
                let session = self.sessions.swap_remove(at);
                if node.role == Role::Small && session.has_complete() {
                    self.loose = Some(session.draft());
                }
                self.heard[node.role as usize].add(&session);
                if let Some(failure) = failure {
                    self.is_given_up_for_a_reason(&session, failure.code, is_wake)?;
                    self.known.sound.retain(|sound| sound != node);
                }
            }
            Effect::Tell(stamped) => {
                if stamped.at_us < crate::micros(self.now) {
                    return breach(Invariant::OrderOfTime, format!("{stamped:?} is in the past"));
                }
                self.told.see(stamped);
                self.heed(&stamped.progress);
                if let Progress::Text(text) = &stamped.progress {
                    self.is_judged(text)?;
                }
            }
            Effect::End => self.has_ended = true,
        }
        Ok(())
    }

    /// Checks that the large node's verdicts reach the end of the text that is shown.
    fn is_judged(&self, text: &Text) -> Checked {
        let end = self.given_bytes.unwrap_or(0) + self.shown.len();
        let reviewer = self.sessions.iter().find(|it| it.reviews && it.is_accepted);
        match reviewer.filter(|_| self.known.judges_all && text.writer == Writer::Small) {
            Some(session) if session.reviewed < end as u64 => {
                let seen = format!("{:?} up to byte {end} of {}", text.text, session.reviewed);
                breach(Invariant::ShownIsJudged, seen)
            }
            _ => Ok(()),
        }
    }

    fn is_given_up_for_a_reason(&self, session: &Held, code: Code, is_wake: bool) -> Checked {
        let node = session.node;
        let timeout = match node.role {
            Role::Small => self.settings.small_timeout,
            Role::Large => self.settings.large_timeout,
        };
        let since = self.now.saturating_sub(session.sign_at);
        if is_wake && since < timeout {
            let seen = format!("{node:?} gave a sign {since:?} ago, and is given up as silent");
            return breach(Invariant::SignsCount, seen);
        }
        let is_sound = self.known.sound.contains(&node);
        let is_unfit = code == Code::InvalidArgument && self.has_unfit;
        let is_refused = matches!(code, Code::ContextTooLong | Code::Overloaded);
        if is_sound && !is_refused && !is_unfit {
            let seen = format!("{node:?} is well, and is given up: {code:?}");
            return breach(Invariant::SoundNodeStays, seen);
        }
        Ok(())
    }

    fn heed(&mut self, progress: &Progress) {
        match progress {
            Progress::Ask(asked) => {
                if !asked.is_overlap() {
                    self.awaited = Some(asked.seed);
                }
                let ask = LiveAsk {
                    asked: asked.clone(),
                    at: self.now,
                    has_text: false,
                    is_complete: false,
                    empty_tokens: 0,
                    is_abandoned: false,
                };
                self.asks.insert(asked.seed, ask);
            }
            Progress::Text(text) => {
                let shown = self.given_bytes.unwrap_or(0) + self.shown.len();
                let known = self.committed.len().saturating_sub(shown);
                self.committed.push_str(text.text.get(known..).unwrap_or_default());
                self.shown.push_str(&text.text);
            }
            Progress::Opened(opened)
                if opened.role == Role::Small && self.given_bytes.is_none() =>
            {
                let is_raw = matches!(self.question.prompt, Prompt::Raw(_));
                let thought = if is_raw { ThoughtStart::Unknown } else { opened.card.thought };
                self.committed = self.question.beginning.text(thought);
                self.given_bytes = Some(self.committed.len());
            }
            Progress::Finished(finished) => {
                if let Some(ask) = self.ask(finished.ask) {
                    ask.is_complete = true;
                    ask.empty_tokens = if finished.bytes == 0 { finished.tokens.into() } else { 0 };
                }
            }
            Progress::Abandoned(abandoned) => {
                if let Some(ask) = self.ask(abandoned.ask) {
                    ask.is_abandoned = true;
                }
                let overlap = self.asks.values().find(|ask| ask.asked.is_overlap());
                self.awaited = overlap.map(|ask| ask.asked.seed);
            }
            Progress::Kept(kept) => {
                if kept.role == Role::Small {
                    self.loose = None;
                }
                if kept.bytes == 0 {
                    self.empty_tokens += u64::from(kept.tokens);
                }
                self.asks.retain(|_, ask| ask.asked.ask != kept.ask);
            }
            _ => {}
        }
    }

    fn ask(&mut self, number: u32) -> Option<&mut LiveAsk> {
        self.asks.values_mut().find(|ask| ask.asked.ask == number)
    }

    fn nothing_is_computed_in_vain(&self) -> Checked {
        for session in &self.sessions {
            if let Some(seed) = session.wanted().filter(|seed| !self.asks.contains_key(seed)) {
                let seen = format!("{:?} writes on for the ask of seed {seed}", session.node);
                return breach(Invariant::NothingInVain, seen);
            }
        }
        Ok(())
    }

    fn what_is_awaited_can_come(&self, wake_at: Duration) -> Checked {
        if !self.sessions.iter().any(|session| session.node.role == Role::Small) {
            return breach(Invariant::AwaitedWasAsked, "the small side has no session");
        }
        let Some(ask) = self.awaited.and_then(|seed| self.asks.get(&seed)) else { return Ok(()) };
        let is_owed = self.sessions.iter().any(|session| session.wanted() == Some(ask.asked.seed));
        if is_owed || ask.is_complete || ask.is_abandoned || wake_at <= self.now {
            return Ok(());
        }
        let Asked { ask, role, .. } = ask.asked;
        let seen = format!("ask {ask} of the {role:?} node was never sent, and is waited for");
        breach(Invariant::AwaitedWasAsked, seen)
    }

    fn is_in_time(&self, wake_at: Duration) -> Checked {
        let end = self.latest_end();
        if wake_at > end || self.now > end + self.known.paused {
            let seen = format!("it continues at {:?} until {wake_at:?}", self.now);
            return breach(Invariant::EndsInTime, seen);
        }
        let Some(within) = self.known.takeover_deadline else { return Ok(()) };
        // After a pause the node has its time anew, since its text may have arrived unread.
        let again = if self.known.paused.is_zero() { Duration::ZERO } else { within };
        let takeovers = self.asks.values().filter(|ask| ask.asked.role == Role::Large);
        for ask in takeovers.filter(|ask| !ask.has_text && !ask.is_complete && !ask.is_abandoned) {
            if wake_at > ask.at + within + self.known.paused + again {
                let number = ask.asked.ask;
                let seen = format!("ask {number} has no text, and is waited for until {wake_at:?}");
                return breach(Invariant::TakeoverDeadline, seen);
            }
        }
        Ok(())
    }
}
