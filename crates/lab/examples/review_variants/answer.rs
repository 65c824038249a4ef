//! One answer: the small model writes a piece, the others judge it in turn, and so on.

use std::sync::Arc;

use thinking::{
    draw::splitmix64,
    thinker::{Objection, Prompt, Sampling, TextEnd, Thinker},
};

use crate::{
    Result,
    session::{Counts, NodeSession},
    variant::Variant,
};

/// Tokens that the small model writes before they are judged.
const PIECE_TOKENS: u32 = 16;

/// Who is asked, and how.
pub(crate) struct Asked {
    pub(crate) small: Arc<dyn Thinker>,
    pub(crate) middle: Option<Arc<dyn Thinker>>,
    pub(crate) large: Arc<dyn Thinker>,
    pub(crate) sampling: Sampling,
    pub(crate) max_tokens: u32,
}

/// A complete answer.
pub(crate) struct Answered {
    pub(crate) text: String,
    pub(crate) tokens: u32,
    pub(crate) middle: Counts,
    pub(crate) large: Counts,
}

/// Who objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Judge {
    Middle,
    Large,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// The small model writes.
    Write,
    /// The text is judged again, as it stands.
    Judge,
    /// The answer is complete.
    End,
}

/// The state of an answer.
struct Draft<'a> {
    variant: &'a Variant,
    small: NodeSession,
    middle: Option<NodeSession>,
    large: NodeSession,
    text: String,
    /// Where the text's tokens end, with their numbers.
    tokens: Vec<(usize, u32)>,
    max_tokens: u32,
    /// Whether the answer is ended here, unless a judge objects.
    is_over: bool,
    /// Whether the small model can write no more.
    is_cut_off: bool,
    /// How many pieces were written.
    pieces: u32,
}

/// Answers a question.
pub(crate) async fn answer(
    asked: &Asked,
    prompt: Prompt,
    seed: u64,
    variant: &Variant,
) -> Result<Answered> {
    let open = |thinker, gap| NodeSession::open(thinker, prompt.clone(), asked.sampling, gap);
    let middle = match (&asked.middle, variant.middle) {
        (Some(thinker), Some(gap)) => Some(open(&**thinker, Some(gap)).await?),
        _ => None,
    };
    let mut draft = Draft {
        variant,
        small: open(&*asked.small, None).await?,
        middle,
        large: open(&*asked.large, Some(variant.least_gap())).await?,
        text: String::new(),
        tokens: Vec::new(),
        max_tokens: asked.max_tokens,
        is_over: false,
        is_cut_off: false,
        pieces: 0,
    };
    let mut next = Next::Write;
    while next != Next::End {
        if next == Next::Write {
            draft.write(splitmix64(seed, u64::from(draft.pieces))).await?;
        }
        next = draft.judge().await?;
    }
    Ok(Answered {
        tokens: draft.length(),
        middle: draft.middle.map(|session| session.counts).unwrap_or_default(),
        large: draft.large.counts,
        text: draft.text,
    })
}

impl Draft<'_> {
    fn length(&self) -> u32 {
        self.tokens.iter().map(|(_, tokens)| tokens).sum()
    }

    /// Has the small model write a piece.
    async fn write(&mut self, seed: u64) -> Result<()> {
        let left = self.max_tokens.saturating_sub(self.length()).max(1);
        let written = self.small.write(left.min(PIECE_TOKENS), seed).await?;
        let base = self.text.len();
        self.text += &written.text;
        self.tokens.extend(written.tokens.iter().map(|(end, tokens)| (base + end, *tokens)));
        (self.is_over, self.is_cut_off) = (written.is_over, written.is_cut_off);
        self.pieces += 1;
        Ok(())
    }

    /// Returns how the text written so far ends.
    fn end(&self) -> TextEnd {
        if self.is_over {
            TextEnd::Answer
        } else if self.is_cut_off || self.length() >= self.max_tokens {
            TextEnd::Stretch
        } else {
            TextEnd::Open
        }
    }

    /// Has the text judged, and corrects it once if it must be.
    async fn judge(&mut self) -> Result<Next> {
        let objection = match (&self.middle, self.variant.escalate) {
            (None, _) => self.large_reads(self.text.len()).await?.map(|it| (Judge::Large, it)),
            (Some(_), true) => self.escalate().await?.map(|it| (Judge::Large, it)),
            (Some(_), false) => match self.middle_reads().await? {
                Some(objection) => Some((Judge::Middle, objection)),
                None => self.large_reads(self.passed()).await?.map(|it| (Judge::Large, it)),
            },
        };
        match objection {
            Some((judge, objection)) => self.correct(judge, objection).await,
            None if self.end() == TextEnd::Open => Ok(Next::Write),
            None => Ok(Next::End),
        }
    }

    /// Returns how much of the text the middle model has let pass.
    fn passed(&self) -> usize {
        match &self.middle {
            Some(middle) if self.end() == TextEnd::Open => {
                self.text.floor_char_boundary(middle.reviewed).max(self.large.given)
            }
            _ => self.text.len(),
        }
    }

    /// Gives the middle model what it has not read.
    async fn middle_reads(&mut self) -> Result<Option<Objection>> {
        let end = self.end();
        let Some(middle) = &mut self.middle else { return Ok(None) };
        middle.counts.pieces += 1;
        middle.read(&self.text[middle.given..], end, false).await
    }

    /// Gives the large model the text up to here. Overrules objections below the gap of their place.
    async fn large_reads(&mut self, to: usize) -> Result<Option<Objection>> {
        let is_whole = to == self.text.len() && self.end() != TextEnd::Open;
        let exempt = !self.pieces.is_multiple_of(self.variant.every) && !is_whole;
        let end = if is_whole {
            self.end()
        } else if exempt || self.variant.escalate {
            TextEnd::Stretch
        } else {
            TextEnd::Open
        };
        let text = &self.text[..to];
        let unread = &text[self.large.given..];
        self.large.counts.pieces += u32::from(!exempt && (is_whole || !unread.is_empty()));
        let mut objection = self.large.read(unread, end, exempt).await?;
        let read = self.large.counts.read;
        while let Some(overruled) =
            objection.take_if(|it| it.gap <= self.variant.gap_at(it.at_byte))
        {
            let at = usize::try_from(overruled.at_byte)?;
            let stands = at + overruled.bytes as usize;
            self.large.cut(at).await?;
            self.large.read(&text[at..stands], TextEnd::Open, true).await?;
            if overruled.bytes > 0 {
                objection = self.large.read(&text[stands..], end, exempt).await?;
            }
        }
        // What is read again because of that is not counted: a node with such a rule would not object.
        self.large.counts.read = read;
        Ok(objection)
    }

    /// Has the large model judge what it has not read, up to every token that the middle one objects to.
    async fn escalate(&mut self) -> Result<Option<Objection>> {
        let mut doubt = self.middle_reads().await?;
        while let Some(doubted) = doubt.take() {
            let at = usize::try_from(doubted.at_byte)?;
            let stands = at + doubted.bytes as usize;
            let objection = self.large_reads(stands).await?;
            if objection.is_some() {
                return Ok(objection);
            }
            let Some(middle) = &mut self.middle else { return Ok(None) };
            middle.cut(at).await?;
            middle.read(&self.text[at..stands], TextEnd::Open, true).await?;
            if doubted.bytes > 0 {
                doubt = self.middle_reads().await?;
            }
        }
        Ok(None)
    }

    /// Puts what a judge would have written in the place of what it objects to.
    async fn correct(&mut self, judge: Judge, objection: Objection) -> Result<Next> {
        let at = usize::try_from(objection.at_byte)?;
        self.text.truncate(at);
        (self.is_over, self.is_cut_off) = (false, false);
        let from = |tokens: &[(usize, u32)]| tokens.iter().rev().nth(1).map_or(0, |(end, _)| *end);
        while !self.tokens.is_empty() && from(&self.tokens) >= at {
            self.tokens.pop();
        }
        if objection.bytes == 0 {
            // The token that ended the answer counts.
            self.tokens.push((at, 1));
        }
        let Some(instead) = &objection.instead else {
            return self.end_here(judge, at).await;
        };
        if self.length() + objection.tokens > self.max_tokens {
            return Ok(Next::End);
        }
        self.text += instead;
        self.tokens.push((self.text.len(), objection.tokens));
        let tokenizer = match (judge, &mut self.middle) {
            (Judge::Middle, Some(middle)) => {
                self.large.cut(at).await?;
                middle.accept(&objection).await?
            }
            (_, middle) => {
                let tokenizer = self.large.accept(&objection).await?;
                if let Some(middle) = middle {
                    middle.cut(at).await?;
                    middle.take(&objection, &tokenizer).await?;
                }
                tokenizer
            }
        };
        self.small.cut(at).await?;
        self.small.take(&objection, &tokenizer).await?;
        Ok(if self.end() == TextEnd::Open { Next::Write } else { Next::Judge })
    }

    /// Ends the answer where a judge would have ended it. The large model has the last word.
    async fn end_here(&mut self, judge: Judge, at: usize) -> Result<Next> {
        let (Judge::Middle, Some(middle)) = (judge, &mut self.middle) else {
            return Ok(Next::End);
        };
        middle.cut(at).await?;
        self.small.cut(at).await?;
        self.is_over = true;
        Ok(Next::Judge)
    }
}
