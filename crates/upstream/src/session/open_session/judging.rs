//! The reviewing part of a session: when its text is judged, and how it is cut back.

use thinking::{
    session::review::ReviewRules,
    thinker::{Code, Failure, Objection, TextEnd},
};
use tokio::sync::watch;

use super::{OpenSession, SessionText};
use crate::{
    border::UnaskedText,
    discover::Reviews,
    session::{ahead::Computing, reading::UnreadText},
    token_text::AtTail,
};

impl<'a> OpenSession<'a> {
    /// Cuts the committed text to its first `bytes` bytes, which end with the accepted correction if there is one.
    /// Returns how many tokens that has.
    pub(crate) fn cut(
        &mut self,
        bytes: usize,
        accepted: Option<&Objection>,
    ) -> Result<u32, Failure> {
        let (SessionText::Ids(text), Some(own)) = (&mut self.text, self.own) else { return Ok(0) };
        let mut tokens = 0;
        match accepted {
            Some(Objection { at_byte, instead: Some(instead), token_ids, .. }) => {
                let written = text.cut_and_write(*at_byte as usize, instead, token_ids, own);
                written.map_err(|error| Failure::new(Code::Internal, error.to_string()))?;
                tokens = token_ids.len() as u32;
            }
            _ => text.cut(bytes, own),
        }
        let AtTail { ids, tail, tail_ids, .. } = text.at_tail();
        let tail_tokens = tail_ids.map_or_else(|| self.about(&tail), |ids| ids.len() as u32);
        self.tokens = tail_tokens.saturating_add(ids.len() as u32);
        self.asked_tokens = self.asked_tokens.min(self.tokens);
        self.unasked = UnaskedText::default();
        self.read = (bytes, TextEnd::Open);
        Ok(tokens)
    }

    /// Records that the text sent to be judged was not judged.
    pub(crate) fn forget_read(&mut self) {
        self.read = (0, TextEnd::Open);
    }

    /// Returns a request to judge the text so far, if there is something new to judge.
    pub(crate) fn judge(
        &mut self,
        rules: &ReviewRules,
        committed: &str,
        signs: &'a watch::Sender<()>,
    ) -> Option<Computing<'a>> {
        let (SessionText::Ids(text), Some(tokenizer)) = (&self.text, self.own) else { return None };
        let now = (committed.len(), rules.end());
        let is_due = match self.served.reviews {
            Reviews::No => false,
            Reviews::Pieces => true,
            // Each request computes the whole text.
            Reviews::Paragraphs => rules.end() != TextEnd::Open || self.unasked.has_break(),
        };
        if !is_due || rules.objection().is_some() || self.read == now {
            return None;
        }
        self.read = now;
        self.unasked = UnaskedText::default();
        let text = UnreadText {
            http: self.http,
            served: self.served,
            tokenizer,
            signs,
            rules: rules.clone(),
            committed: committed.to_owned(),
            at: text.at_tail(),
            about_tokens: self.tokens,
        };
        Some(Box::pin(text.judge()))
    }
}
