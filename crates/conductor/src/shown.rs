//! Decides which text of an answer is shown. All committed text is shown at once, except an end that may be the
//! beginning of a stop text: it is held back until more text decides. The nodes get it meanwhile.

use std::collections::VecDeque;

use thinking::stops::StopFinder;

use crate::progress::Text;

/// The shown text of an answer. See the module documentation.
#[derive(Debug, Default)]
pub(crate) struct ShownText {
    /// `None` if there is nothing to search for.
    finder: Option<StopFinder>,
    /// Text that is held back.
    held: VecDeque<Text>,
    /// How much is shown, in bytes.
    bytes: usize,
    /// The stop text that the answer ended with.
    stopped_by: Option<String>,
}

impl ShownText {
    /// Searches for stop texts from now on.
    pub(crate) fn look_for(&mut self, finder: Option<StopFinder>) {
        self.finder = finder;
    }

    /// Takes text, and calls `show` with what may be shown now. After a stop text that is nothing.
    pub(crate) fn push(&mut self, text: Text, mut show: impl FnMut(Text)) {
        let Some(finder) = &mut self.finder else {
            self.bytes += text.text.len();
            return show(text);
        };
        if self.stopped_by.is_some() {
            return;
        }
        let read = finder.read(&text.text);
        self.stopped_by = read.stop.and_then(|number| finder.stop(number)).map(str::to_owned);
        self.held.push_back(text);
        self.show_to(read.shown, show);
    }

    /// Ends the text, and calls `show` with what was held back, unless it is a stop text.
    pub(crate) fn finish(&mut self, show: impl FnMut(Text)) {
        if let Some(finder) = self.finder.as_mut().filter(|_| self.stopped_by.is_none()) {
            let read = finder.finish();
            self.stopped_by = read.stop.and_then(|number| finder.stop(number)).map(str::to_owned);
            self.show_to(read.shown, show);
        }
    }

    fn show_to(&mut self, end: usize, mut show: impl FnMut(Text)) {
        while self.bytes < end {
            let Some(mut first) = self.held.pop_front() else { return };
            let room = end - self.bytes;
            if first.text.len() > room {
                let text = first.text.split_off(room);
                self.held.push_front(Text::new(first.writer, first.why, text));
            }
            self.bytes += first.text.len();
            show(first);
        }
    }

    /// Returns how much is shown, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the stop text that the answer ended with.
    pub(crate) fn stopped_by(&self) -> Option<&str> {
        self.stopped_by.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use thinking::{policy::Why, stops::StopTexts, thinker::ThoughtStart, transcript::Writer};

    use super::*;

    #[test]
    fn every_piece_keeps_its_writer_and_nothing_of_a_stop_text_is_shown() {
        let mut shown = ShownText::default();
        let stops = StopTexts { texts: vec![" Q:".to_owned()], in_thought: false };
        shown.look_for(StopFinder::new(&stops, ThoughtStart::Over));
        let mut pieces: Vec<String> = Vec::new();
        let texts = [
            ("a Q", Writer::Small),
            ("b ", Writer::Large),
            ("Q", Writer::Policy),
            (": c", Writer::Small),
        ];
        for (text, writer) in texts {
            shown.push(Text::new(writer, Why::Turn, text), |it| {
                pieces.push(format!("{:?} {}", it.writer, it.text))
            });
        }
        shown.finish(|it| pieces.push(it.text));
        assert_eq!(pieces, ["Small a", "Small  Q", "Large b"]);
        assert_eq!((shown.stopped_by(), shown.bytes()), (Some(" Q:"), 4));
    }
}
