//! Forgets committed text, whoever wrote it.
//!
//! After a cut the session must continue like one that was opened with the remaining text: text of others has the
//! tokens that it has in one piece, whatever follows. So the tail moves back to the last edge before the cut, and the
//! text is encoded again from there; tokens that come out the same stay in the cache. The model's own text keeps the
//! tokens it was written with.

use text::{Encoded, Thought, before_last_word, spans_of_ids};
use thinking::thinker::Failure;

use super::SessionText;
use crate::{
    encoder::{Encoder, check_fits},
    tail::Tail,
};

/// The end of a run of text whose tokens are given: the model's own.
#[derive(Debug, Clone)]
pub(super) struct Border {
    /// The first of those tokens.
    pub(super) own_from: usize,
    /// The empty tail after it.
    pub(super) tail: Tail,
}

impl SessionText {
    /// Returns the tail from which `kept`, all that stays committed, is encoded again. [`append`](Self::append) then
    /// forgets what followed it.
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

    /// Forgets what follows `kept` and writes `text` there, with the tokens `ids` if they are known. Returns how many
    /// tokens it takes.
    pub(crate) fn cut_and_write(
        &mut self,
        kept: &str,
        text: &str,
        ids: &[u32],
        encoder: &Encoder,
    ) -> Result<u32, Failure> {
        let (border, _) = self.last_border(kept.len());
        let (tokens, end) = self.whole_tokens(kept.len(), &border);
        // What precedes the cut stays as it is.
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

    /// Makes the tokens end with this text until the next cut, so that more can be made after it one by one.
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

    /// Returns the last border in the first `bytes` bytes of the text, and where the own text begins that ends after
    /// them. Forgets the borders after it.
    fn last_border(&mut self, bytes: usize) -> (Border, Option<usize>) {
        let kept = self.borders.partition_point(|border| border.tail.start_byte() <= bytes).max(1);
        let own_from = self.borders.get(kept).map(|border| border.own_from);
        self.borders.truncate(kept);
        (self.borders[kept - 1].clone(), own_from)
    }

    /// Returns how many tokens are entirely in the first `bytes` bytes of the text, and where the last of them ends.
    fn whole_tokens(&self, bytes: usize, border: &Border) -> (usize, usize) {
        let whole = self.places.whole(bytes);
        whole.max((border.tail.start(), border.tail.start_byte()))
    }

    /// Returns the tail at the last edge in a text's first `tokens` tokens, after a border.
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
