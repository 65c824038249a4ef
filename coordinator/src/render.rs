//! Shows an answer to a person: the text as it is written, the large model's spans set apart, and
//! the closing summary. A live answer and a replayed journal go through the same code.

mod summary;

use std::io::{self, Write};

use answer::progress::{Observer, Progress, Stamped, Writer};
use thinking::{policy::Why, shown::visible};

pub(crate) use self::summary::write_summary;

/// How spans are set apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// By colour, for a terminal.
    Colour,
    /// By marks in the text: `⟦large: reflection⟧ … ⟦/⟧`.
    Marks,
}

/// How an answer looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Look {
    /// How spans are set apart.
    pub(crate) style: Style,
    /// What could steer a terminal is made visible, in text and in JSON; else the text is left as it is, byte for byte.
    pub(crate) disarmed: bool,
}

const RESET: &str = "\x1b[0m";
/// Bold cyan: readable on dark and light ground alike.
const LARGE: &str = "\x1b[1;36m";
/// Italic, for what no model wrote.
const POLICY: &str = "\x1b[3;35m";

/// Writes an answer's text as it comes. What it writes does not depend on how the text was cut into
/// pieces.
#[derive(Debug)]
pub(crate) struct Renderer<W: Write> {
    out: W,
    look: Look,
    /// The span that is set apart at the moment.
    span: Option<(Writer, Why)>,
    at_line_start: bool,
    error: Option<io::Error>,
}

impl<W: Write> Renderer<W> {
    /// Writes to `out`.
    pub(crate) fn new(out: W, look: Look) -> Self {
        Renderer { out, look, span: None, at_line_start: true, error: None }
    }

    /// Returns whether the other end is gone, or cannot be written to.
    pub(crate) fn is_broken(&self) -> bool {
        self.error.is_some()
    }

    /// Ends the text: closes what is open, ends the line.
    ///
    /// # Errors
    /// The first error since the beginning.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.close();
        self.error.map_or(Ok(()), Err)
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
                let begin = match (self.look.style, writer) {
                    (Style::Colour, Writer::Policy) => POLICY.to_owned(),
                    (Style::Colour, _) => LARGE.to_owned(),
                    (Style::Marks, Writer::Policy) => format!("⟦policy: {why}⟧"),
                    (Style::Marks, _) => format!("⟦large: {why}⟧"),
                };
                self.put(&begin);
            }
            self.span = span;
        }
        match self.look.disarmed {
            true => self.put(&visible(text)),
            false => self.put(text),
        }
        self.at_line_start = text.ends_with('\n');
        self.flush();
    }

    fn end_span(&mut self) {
        if self.span.take().is_some() {
            let end = match self.look.style {
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

#[cfg(test)]
mod tests {
    use super::*;
    use answer::progress::Text;

    const COLOUR: Look = Look { style: Style::Colour, disarmed: true };
    const MARKS: Look = Look { style: Style::Marks, disarmed: false };

    fn rendered(look: Look, pieces: &[(Writer, Why, &str)]) -> String {
        let mut out = Vec::new();
        let mut renderer = Renderer::new(&mut out, look);
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
        let text = rendered(MARKS, &PIECES);
        assert_eq!(text, "a\n\n⟦large: reflection⟧Wait, 数⟦/⟧⟦policy: recap⟧Check:⟦/⟧ b\n");
        let text = rendered(MARKS, &[(Writer::Large, Why::ExcessiveReflection, "So")]);
        assert_eq!(text, "⟦large: excessive reflection⟧So⟦/⟧\n");
    }

    #[test]
    fn colour_leaves_the_text() {
        let text = rendered(COLOUR, &PIECES);
        assert!(text.contains("\x1b[1;36mWait, 数\x1b[0m"), "{text:?}");
    }

    #[test]
    fn a_terminal_gets_the_text_disarmed_with_colour_and_without() {
        let hostile = [(Writer::Small, Why::Turn, "x\x1b]0;title\x07\ty\u{9b}2J \u{202e}z\n")];
        for look in [COLOUR, Look { disarmed: true, ..MARKS }] {
            let text = rendered(look, &hostile);
            assert_eq!(text, "x\u{fffd}]0;title\u{fffd}\ty\u{fffd}2J \u{fffd}z\n");
        }
        assert_eq!(rendered(MARKS, &hostile), hostile[0].2, "a pipe gets every byte");
    }

    #[test]
    fn an_output_that_cannot_be_written_is_seen_at_once_and_at_the_end() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut renderer = Renderer::new(Gone, MARKS);
        renderer.text(Writer::Small, Why::Turn, "x");
        assert!(renderer.is_broken());
        assert_eq!(renderer.finish().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
