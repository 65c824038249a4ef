//! Shows an answer to a person: the text as it is written, the large model's spans set apart, and
//! the closing summary. A live answer and a replayed journal go through the same code.

mod summary;

use std::io::{self, Write};

use answer::progress::{Observer, Progress, Stamped, Writer};
use thinking::policy::Why;

pub(crate) use self::summary::write_summary;

/// How spans are set apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// By colour, for a terminal. Control characters in the text are made visible, so that a model
    /// cannot steer the terminal.
    Colour,
    /// By marks in the text: `⟦large: reflection⟧ … ⟦/⟧`. The text itself is left as it is.
    Marks,
}

const RESET: &str = "\x1b[0m";
/// Bold cyan: readable on dark and light ground alike.
const LARGE: &str = "\x1b[1;36m";
/// Italic, for what no model wrote.
const POLICY: &str = "\x1b[3;35m";

/// The name of a reason, as marks and summaries spell it.
pub(crate) fn why_name(why: Why) -> &'static str {
    match why {
        Why::Turn => "turn",
        Why::Probe => "probe",
        Why::Begin => "begin",
        Why::Affirmation => "affirmation",
        Why::Reflection => "reflection",
        Why::Verification => "verification",
        Why::ExcessiveReflection => "excessive reflection",
        Why::Schedule => "schedule",
        Why::Loop => "loop",
        Why::Recap => "recap",
    }
}

/// Writes an answer's text as it comes. What it writes does not depend on how the text was cut into
/// pieces.
#[derive(Debug)]
pub(crate) struct Renderer<W: Write> {
    out: W,
    style: Style,
    /// The span that is set apart at the moment.
    span: Option<(Writer, Why)>,
    at_line_start: bool,
    error: Option<io::Error>,
}

impl<W: Write> Renderer<W> {
    /// Writes to `out`.
    pub(crate) fn new(out: W, style: Style) -> Self {
        Renderer { out, style, span: None, at_line_start: true, error: None }
    }

    /// Returns whether the other end is gone, or cannot be written to.
    pub(crate) fn is_broken(&self) -> bool {
        self.error.is_some()
    }

    /// Ends the text: closes what is open, ends the line.
    ///
    /// # Errors
    /// The first error since the beginning. A reader that went away is not an error.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.close();
        match self.error {
            Some(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            _ => Ok(()),
        }
    }

    fn put(&mut self, text: &str) {
        if self.error.is_none() {
            self.error = self.out.write_all(text.as_bytes()).err();
        }
    }

    fn flush(&mut self) {
        if self.error.is_none() {
            self.error = self.out.flush().err();
        }
    }

    fn text(&mut self, writer: Writer, why: Why, text: &str) {
        let span = (writer != Writer::Small).then_some((writer, why));
        if span != self.span {
            self.end_span();
            if let Some((writer, why)) = span {
                let begin = match (self.style, writer) {
                    (Style::Colour, Writer::Policy) => POLICY.to_owned(),
                    (Style::Colour, _) => LARGE.to_owned(),
                    (Style::Marks, Writer::Policy) => format!("⟦policy: {}⟧", why_name(why)),
                    (Style::Marks, _) => format!("⟦large: {}⟧", why_name(why)),
                };
                self.put(&begin);
            }
            self.span = span;
        }
        match self.style {
            Style::Colour => self.put(&visible(text)),
            Style::Marks => self.put(text),
        }
        self.at_line_start = text.ends_with('\n');
        self.flush();
    }

    fn end_span(&mut self) {
        if self.span.take().is_some() {
            let end = match self.style {
                Style::Colour => RESET,
                Style::Marks => {
                    self.at_line_start = false;
                    "⟦/⟧"
                }
            };
            self.put(end);
        }
    }

    fn close(&mut self) {
        self.end_span();
        if !self.at_line_start {
            self.put("\n");
            self.at_line_start = true;
        }
        self.flush();
    }
}

impl<W: Write + Send> Observer for Renderer<W> {
    fn see(&mut self, stamped: &Stamped) {
        match &stamped.progress {
            Progress::Text(text) => self.text(text.writer, text.why, &text.text),
            Progress::Ended(_) => self.close(),
            _ => {}
        }
    }
}

/// The text with its control characters, but line ends and tabs, made visible.
fn visible(text: &str) -> String {
    let shown = |c: char| match c {
        '\n' | '\t' => c,
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use answer::progress::Text;

    fn rendered(style: Style, pieces: &[(Writer, Why, &str)]) -> String {
        let mut out = Vec::new();
        let mut renderer = Renderer::new(&mut out, style);
        for (writer, why, text) in pieces {
            let text = Text { writer: *writer, why: *why, text: (*text).to_owned() };
            renderer.see(&Stamped { at_us: 0, progress: Progress::Text(text) });
        }
        renderer.finish().unwrap();
        String::from_utf8(out).unwrap()
    }

    const PIECES: [(Writer, Why, &str); 5] = [
        (Writer::Small, Why::Turn, "a\n\n"),
        (Writer::Large, Why::Reflection, "Wait, "),
        (Writer::Large, Why::Reflection, "数"),
        (Writer::Policy, Why::Recap, "Check:"),
        (Writer::Small, Why::Turn, " b"),
    ];

    #[test]
    fn marks_set_the_large_spans_apart_and_merge_pieces() {
        let text = rendered(Style::Marks, &PIECES);
        assert_eq!(text, "a\n\n⟦large: reflection⟧Wait, 数⟦/⟧⟦policy: recap⟧Check:⟦/⟧ b\n");
    }

    #[test]
    fn colour_leaves_the_text_and_disarms_control_characters() {
        let text = rendered(Style::Colour, &PIECES);
        assert!(text.contains("\x1b[1;36mWait, 数\x1b[0m"), "{text:?}");
        let text = rendered(Style::Colour, &[(Writer::Small, Why::Turn, "x\x1b]0;title\x07\ty")]);
        assert_eq!(text, "x\u{fffd}]0;title\u{fffd}\ty\n");
        let text = rendered(Style::Marks, &[(Writer::Small, Why::Turn, "x\x1b[2J\n")]);
        assert_eq!(text, "x\x1b[2J\n", "a pipe gets every byte");
    }

    #[test]
    fn a_reader_that_went_away_is_no_error() {
        struct Gone(io::ErrorKind);
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(self.0.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        for (kind, fine) in [(io::ErrorKind::BrokenPipe, true), (io::ErrorKind::StorageFull, false)]
        {
            let mut renderer = Renderer::new(Gone(kind), Style::Marks);
            renderer.text(Writer::Small, Why::Turn, "x");
            assert!(renderer.is_broken());
            assert_eq!(renderer.finish().is_ok(), fine, "{kind:?}");
        }
    }
}
