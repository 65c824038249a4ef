//! Committed text that is forgotten again, whoever wrote it.
//!
//! Behind the cut the session must go on as one that was opened with the text: text of others takes the tokens that it
//! takes in one piece, whatever follows. So the tail is taken back to the last edge before the cut, and encoded anew
//! from there; what comes out the same stays in the cache. The model's own text keeps the tokens that it was made of.

use text::{Encoded, Thought, before_last_word, spans_of_ids};
use thinking::thinker::Failure;

use super::SessionText;
use crate::{
    encoder::{Encoder, check_fits},
    tail::Tail,
};

/// Where text ends whose tokens are given: the model's own.
#[derive(Debug, Clone)]
pub(super) struct Border {
    /// The first of those tokens.
    pub(super) own_from: usize,
    /// The empty tail behind it.
    pub(super) tail: Tail,
}

impl SessionText {
    /// Where this text, which is all that stays committed, is encoded anew. [`append`](Self::append) then forgets what
    /// stood behind it.
    pub(crate) fn cut_back(&mut self, kept: &str) -> Tail {
        let (border, own_from) = self.last_border(kept.len());
        let (tokens, end) = self.whole_tokens(kept.len(), &border);
        let Some(own_from) = own_from.filter(|from| tokens > *from) else {
            return self.last_edge(kept, &border, tokens, end);
        };
        let tail = border.tail.behind(&kept[border.tail.start_byte()..end], tokens);
        self.borders.push(Border { own_from, tail: tail.clone() });
        tail
    }

    /// Forgets what stands behind this text, and writes another there: its own tokens, where they are known. Returns
    /// how many it takes.
    pub(crate) fn cut_and_write(
        &mut self,
        kept: &str,
        text: &str,
        ids: &[u32],
        encoder: &Encoder,
    ) -> Result<u32, Failure> {
        let (border, _) = self.last_border(kept.len());
        let (tokens, end) = self.whole_tokens(kept.len(), &border);
        // What stands before the cut stays as it is.
        let tail = border.tail.behind(&kept[border.tail.start_byte()..end], tokens);
        let mut joined = tail.joined(&kept[end..], self.context, encoder)?;
        let own_from = joined.start + joined.ids.len();
        let written = match ids {
            [] => encoder.committed(text, Thought::Over)?,
            ids => {
                let spans = spans_of_ids(ids, text, 0, encoder.tokenizer());
                Encoded { ids: ids.to_vec(), spans }
            }
        };
        let count = written.ids.len();
        check_fits(own_from + count, self.context, "the text")?;
        joined.ids.extend(written.ids);
        let spans = written.spans.into_iter();
        joined.spans.extend(spans.map(|(from, to)| (kept.len() + from, kept.len() + to)));
        self.replace(joined.start, &joined.ids, &joined.spans);
        self.tail = border.tail.behind(&kept[border.tail.start_byte()..], own_from);
        self.fix(own_from, text);
        Ok(count as u32)
    }

    /// Makes the tokens end with this text until it is cut there or elsewhere: more are made behind it, one by one.
    pub(crate) fn lead_to(&mut self, kept: &str, encoder: &Encoder) -> Result<(), Failure> {
        let (tokens, end) = self.places.whole(kept.len());
        self.cut(tokens);
        let rest = &kept[end..];
        if !rest.is_empty() {
            self.tokens.extend(encoder.committed(rest, Thought::Over)?.ids);
            self.logits = None;
        }
        self.prepare_draw();
        Ok(())
    }

    /// The last border in the first bytes of the text, and where own text begins that ends behind them. Forgets the
    /// borders behind.
    fn last_border(&mut self, bytes: usize) -> (Border, Option<usize>) {
        let kept = self.borders.partition_point(|border| border.tail.start_byte() <= bytes).max(1);
        let own_from = self.borders.get(kept).map(|border| border.own_from);
        self.borders.truncate(kept);
        (self.borders[kept - 1].clone(), own_from)
    }

    /// How many tokens lie wholly in the first bytes of the text, and where the last of them ends.
    fn whole_tokens(&self, bytes: usize, border: &Border) -> (usize, usize) {
        let whole = self.places.whole(bytes);
        whole.max((border.tail.start(), border.tail.start_byte()))
    }

    /// The tail at the last edge in a text's first tokens, behind a border.
    fn last_edge(&self, kept: &str, border: &Border, tokens: usize, end: usize) -> Tail {
        let (first, from) = (border.tail.start(), border.tail.start_byte());
        let spans = self.places.spans(first..tokens).iter();
        let spans: Vec<_> = spans.map(|&(start, end)| (start - from, end - from)).collect();
        let (bytes, count) = before_last_word(&kept[from..end], &spans);
        border.tail.behind(&kept[from..from + bytes], first + count)
    }
}

#[cfg(test)]
mod tests;
