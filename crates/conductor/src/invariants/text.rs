//! What holds for the text while it is written: what the sessions hold of it, and what is shown.

use thinking::policy::{Role, Why};

use super::{Checked, Invariant, LiveAsk, Witness, breach, held::Held};

impl Witness {
    /// Checks that each session holds a prefix of the committed text, which includes what is shown.
    pub(super) fn sessions_hold_what_is_committed(&mut self) -> Checked {
        // A session that reviews is ahead of the answer by what the small node writes.
        let is_draft = |ask: &LiveAsk| {
            let stands = !ask.asked.provisional || self.awaited == Some(ask.asked.seed);
            ask.asked.role == Role::Small && stands
        };
        let has_draft = self.loose.is_some() || self.asks.values().any(is_draft);
        // A session that is asked aside also holds the question.
        let is_aside = |ask: &LiveAsk| {
            (ask.asked.role, ask.asked.why, ask.asked.provisional)
                == (Role::Large, Why::Score, true)
        };
        let has_aside = self.asks.values().any(is_aside);
        let is_asked_aside = |it: &Held| has_aside && it.node.role == Role::Large;
        let is_ahead = |it: &&Held| (it.reviews && has_draft) || is_asked_aside(it);
        for session in self.sessions.iter().filter(|it| !is_ahead(it)) {
            if let Some(more) = session.text().get(self.committed.len()..)
                && !self.question.stop.is_empty()
            {
                self.committed.push_str(more);
            }
        }
        let small = self.sessions.iter().find(|session| session.node.role == Role::Small);
        let draft = small.map(Held::draft).unwrap_or_default();
        let loose = self.loose.as_ref().filter(|loose| loose.starts_with(&self.committed));
        let draft = loose.unwrap_or(&draft);
        for session in &mut self.sessions {
            if is_asked_aside(session) && session.text().starts_with(&self.committed) {
                continue;
            }
            if session.reviews && session.text().len() > self.committed.len() {
                session.is_beginning_of(draft)?;
            } else {
                session.is_beginning_of(&self.committed)?;
            }
        }
        let given = self.given_bytes.unwrap_or(0);
        let shown = given..given + self.shown.len();
        if self.committed.get(shown) != Some(&self.shown) {
            let seen = format!("{:?} is shown of {:?}", self.shown, self.committed);
            return breach(Invariant::ShownIsHeld, seen);
        }
        Ok(())
    }

    /// Checks that nothing of a stop text is shown.
    pub(super) fn no_stop_text_is_shown(&self) -> Checked {
        let stops = &self.question.stop;
        let mut texts = stops.texts.iter().filter(|stop| stops.in_thought && !stop.is_empty());
        match texts.find(|stop| self.shown.contains(stop.as_str())) {
            None => Ok(()),
            Some(stop) => {
                let seen = format!("{:?} is shown past the stop text {stop:?}", self.shown);
                breach(Invariant::StopsAreUnseen, seen)
            }
        }
    }
}
