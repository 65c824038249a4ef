//! Shows an answer to a person: the text as it is written, with the large model's spans set apart, and the closing
//! summary. A live answer and one read from a journal go through the same code.

mod summary;

use std::io::{self, Write};

use answer::progress::{Observer, Progress, Stamped, Text, Writer};
use thinking::{policy::Why, shown::visible, transcript::Correction};

pub(crate) use self::summary::write_summary;

/// How spans are set apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// By colour, for a terminal.
    Colour,
    /// By marks in the text: `⟦large: reflection⟧ … ⟦/⟧`, and for a correction `⟦large: review, not "54"⟧56⟦/⟧`.
    Marks,
}

/// How an answer looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Look {
    /// How spans are set apart.
    pub(crate) style: Style,
    /// Whether control characters that could steer a terminal are made visible, in text and in JSON. If not, the text
    /// is passed on byte for byte.
    pub(crate) disarmed: bool,
}

const RESET: &str = "\x1b[0m";
/// Bold cyan: readable on dark and light backgrounds alike.
const LARGE: &str = "\x1b[1;36m";
/// The same, underlined, for a correction.
const CORRECTION: &str = "\x1b[1;4;36m";
/// Italic, for text that the policy inserted.
const POLICY: &str = "\x1b[3;35m";

/// Writes an answer's text as it arrives. The output does not depend on how the text is cut into pieces.
#[derive(Debug)]
pub(crate) struct Renderer<W: Write> {
    out: W,
    look: Look,
    /// The span that is being set apart, if any.
    span: Option<(Writer, Why)>,
    at_line_start: bool,
    error: Option<io::Error>,
}

impl<W: Write> Renderer<W> {
    /// Creates a renderer that writes to `out`.
    pub(crate) fn new(out: W, look: Look) -> Self {
        Renderer { out, look, span: None, at_line_start: true, error: None }
    }

    /// Returns whether writing has failed, as when the reader has gone away.
    pub(crate) fn is_broken(&self) -> bool {
        self.error.is_some()
    }

    /// Closes an open span and ends the line.
    ///
    /// The first error since the renderer was created.
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

    fn text(&mut self, text: &Text) {
        let Text { writer, why, text, correction } = text;
        let span = (*writer != Writer::Small).then_some((*writer, *why));
        if span != self.span || correction.is_some() {
            self.end_span();
            if span.is_some() {
                self.put(&begin(self.look.style, *writer, *why, correction.as_ref()));
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

/// Returns what to print where a span begins. The text that a correction replaces is quoted, with all invisible
/// characters escaped.
fn begin(style: Style, writer: Writer, why: Why, correction: Option<&Correction>) -> String {
    match (style, writer, correction) {
        (Style::Colour, Writer::Policy, _) => POLICY.to_owned(),
        (Style::Colour, _, None) => LARGE.to_owned(),
        (Style::Colour, _, Some(_)) => CORRECTION.to_owned(),
        (Style::Marks, Writer::Policy, _) => format!("⟦policy: {why}⟧"),
        (Style::Marks, _, None) => format!("⟦large: {why}⟧"),
        (Style::Marks, _, Some(Correction { stood, .. })) if stood.is_empty() => {
            format!("⟦large: {why}, not the end⟧")
        }
        (Style::Marks, _, Some(Correction { stood, .. })) => {
            format!("⟦large: {why}, not {stood:?}⟧")
        }
    }
}

impl<W: Write + Send> Observer for Renderer<W> {
    fn see(&mut self, stamped: &Stamped) {
        match &stamped.progress {
            Progress::Text(text) => self.text(text),
            Progress::Ended(_) => self.close(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLOUR: Look = Look { style: Style::Colour, disarmed: true };
    const MARKS: Look = Look { style: Style::Marks, disarmed: false };

    fn rendered(look: Look, pieces: &[(Writer, Why, &str)]) -> String {
        let text = |(writer, why, text): &(Writer, Why, &str)| {
            Progress::Text(Text::new(*writer, *why, *text))
        };
        shown(look, pieces.iter().map(text))
    }

    fn shown(look: Look, told: impl IntoIterator<Item = Progress>) -> String {
        let mut out = Vec::new();
        let mut renderer = Renderer::new(&mut out, look);
        for progress in told {
            renderer.see(&Stamped { at_us: 0, progress });
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
    fn corrections_stand_out_with_what_stood_there() {
        let text = |writer, why, text: &str| Progress::Text(Text::new(writer, why, text));
        let corrected = |stood: &str, text: &str| {
            let correction = Some(Correction { stood: stood.to_owned(), gap: 2.5 });
            Progress::Text(Text { correction, ..Text::new(Writer::Large, Why::Review, text) })
        };
        let told = [
            text(Writer::Small, Why::Turn, "is "),
            corrected("54\n\u{202e}\"", "56"),
            corrected("", "."),
            text(Writer::Large, Why::Reflection, " So"),
        ];
        let marked = shown(MARKS, told.clone());
        assert_eq!(
            marked,
            "is ⟦large: review, not \"54\\n\\u{202e}\\\"\"⟧56⟦/⟧\
             ⟦large: review, not the end⟧.⟦/⟧⟦large: reflection⟧ So⟦/⟧\n"
        );
        let coloured = shown(COLOUR, told);
        let expected = "is \x1b[1;4;36m56\x1b[0m\x1b[1;4;36m.\x1b[0m\x1b[1;36m So\x1b[0m\n";
        assert_eq!(coloured, expected);
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
        renderer.text(&Text::new(Writer::Small, Why::Turn, "x"));
        assert!(renderer.is_broken());
        assert_eq!(renderer.finish().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
