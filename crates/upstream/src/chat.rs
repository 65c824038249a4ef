//! A session's text as the last message of a chat, and a chat's answer as text. Pure.
//!
//! In a session's text, marks enclose a thought. A chat-only server may take the thought as part of the message's text
//! or in a separate field, and may report it in a separate field. For such fields the marks are removed and restored
//! here, and white space next to them is lost.

use text::Thought;
use thinking::{
    thinker::ThoughtStart,
    thought::{AnswerPart, ThoughtSplitter},
};

/// The opening mark of a thought that a server reports separately, as most models write it.
const OPEN: &str = "<think>\n";
/// The closing mark.
const CLOSE: &str = "</think>";

/// The message that a server is asked to continue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AnswerSoFar {
    /// The thought, if it has its own field.
    pub(crate) thought: String,
    /// The answer, including the thought if that has no field of its own.
    pub(crate) text: String,
}

/// How a server continues an answer, as found by tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChatForm {
    /// Why an answer without a thought is not continued exactly, if it is not.
    pub(crate) unlike: Option<String>,
    /// Whether trailing white space is kept in an answer that begins with white space.
    pub(crate) keeps_indented: bool,
    pub(crate) thought: ThoughtForm,
}

/// How a thought is passed to a chat-only server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ThoughtForm {
    /// As part of the message's text.
    Letters,
    /// In a separate field.
    Field,
    /// Not at all: the server changes it.
    Nowhere,
}

/// How far an answer has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reached {
    /// Nothing is written yet.
    Beginning,
    InThought,
    Answer,
}

/// An answer's text, split into thought and answer.
#[derive(Debug, PartialEq, Eq)]
struct TextParts {
    reached: Reached,
    has_thought: bool,
    thought: String,
    answer: String,
}

impl TextParts {
    fn of(text: &str) -> Self {
        let mut splitter = ThoughtSplitter::new(ThoughtStart::Unopened);
        let parts = [splitter.push(text), splitter.finish()].concat();
        let has_thought = parts.first().is_some_and(|(part, _)| *part == AnswerPart::Mark);
        let (mut thought, mut answer, mut at) = (String::new(), String::new(), 0);
        for (part, bytes) in parts {
            let piece = &text[at..at + bytes];
            match part {
                AnswerPart::Thought => thought.push_str(piece),
                AnswerPart::Proper => answer.push_str(piece),
                AnswerPart::Mark => {}
            }
            at += bytes;
        }
        let reached = if has_thought && Thought::Unopened.after(text) == Thought::Open {
            Reached::InThought
        } else if text.trim().is_empty() {
            Reached::Beginning
        } else {
            Reached::Answer
        };
        TextParts { reached, has_thought, thought, answer }
    }
}

impl ChatForm {
    /// Returns the message for a text, or `None` if nothing of the answer is written yet.
    ///
    /// # Errors
    /// Why the server would not continue the text exactly.
    pub(crate) fn answer_so_far(&self, text: &str) -> Result<Option<AnswerSoFar>, String> {
        if text.is_empty() {
            return Ok(None);
        }
        let is_space = |c: Option<char>| c.is_some_and(char::is_whitespace);
        if !self.keeps_indented && is_space(text.chars().next()) && is_space(text.chars().last()) {
            let why = "it takes white space off the end of an answer that begins with white space";
            return Err(why.to_owned());
        }
        let parts = TextParts::of(text);
        let letters = AnswerSoFar { thought: String::new(), text: text.to_owned() };
        match (parts.has_thought, self.thought) {
            (false, _) => match &self.unlike {
                Some(why) => Err(why.clone()),
                None => Ok(Some(letters)),
            },
            (true, ThoughtForm::Letters) => Ok(Some(letters)),
            (true, ThoughtForm::Field) => {
                let field = AnswerSoFar { thought: parts.thought, text: parts.answer };
                Ok(Some(field).filter(|field| *field != AnswerSoFar::default()))
            }
            (true, ThoughtForm::Nowhere) => {
                Err("it changes the thought that it is given".to_owned())
            }
        }
    }
}

/// Restores the marks around a thought that a server reports separately from its answer.
#[derive(Debug)]
pub(crate) struct ThoughtMarks {
    reached: Reached,
    /// Whether the server is known to report thoughts separately, so that text in the answer's field means that the
    /// thought is over.
    pub(crate) is_told_apart: bool,
    /// Whether the text already has the line breaks that come next.
    is_spaced: bool,
    /// Whether the server was given an unfinished thought although the text has its end.
    is_open_there: bool,
    ends_line: bool,
}

/// A server starts a new thought where its answer should continue.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ThinksAnew;

impl ThoughtMarks {
    /// Creates the marks for a stream that continues `text`, which was given to a server with this form.
    pub(crate) fn behind(text: &str, form: ThoughtForm, is_told_apart: bool) -> Self {
        let TextParts { reached, has_thought, thought, answer } = TextParts::of(text);
        let is_over = has_thought && reached == Reached::Answer && answer.is_empty();
        let is_open_there = is_over && form == ThoughtForm::Field;
        let is_begun = reached == Reached::InThought && thought.is_empty();
        ThoughtMarks {
            reached,
            is_told_apart,
            is_spaced: is_begun || is_open_there,
            is_open_there,
            ends_line: text.ends_with('\n'),
        }
    }

    /// Returns the text of an event that has this piece of a thought and this piece of the answer.
    ///
    /// # Errors
    /// When a thought begins after the start of the answer.
    pub(crate) fn put(&mut self, thought: &str, answer: &str) -> Result<String, ThinksAnew> {
        let mut text = String::new();
        self.is_told_apart |= !thought.is_empty();
        let is_ending = self.is_open_there && thought.trim().is_empty();
        if !thought.is_empty() && !is_ending {
            match self.reached {
                Reached::Beginning => {
                    text.push_str(OPEN);
                    self.is_spaced = true;
                }
                Reached::InThought => {}
                Reached::Answer => return Err(ThinksAnew),
            }
            self.reached = Reached::InThought;
            let thought = self.unspaced(thought);
            text.push_str(thought);
            self.ends_line = thought.is_empty() || thought.ends_with('\n');
        }
        let answer = if self.is_open_there { self.unspaced(answer) } else { answer };
        if !answer.is_empty() {
            self.is_open_there = false;
            match self.reached {
                Reached::InThought if self.is_told_apart => {
                    let line = if self.ends_line { "" } else { "\n" };
                    let space = if answer.starts_with('\n') { "" } else { "\n\n" };
                    text.push_str(&format!("{line}{CLOSE}{space}"));
                    self.reached = Reached::Answer;
                }
                Reached::Beginning if !answer.trim().is_empty() => self.reached = Reached::Answer,
                _ => {}
            }
            text.push_str(answer);
            self.ends_line = answer.ends_with('\n');
        }
        Ok(text)
    }

    /// Returns the piece without the leading line breaks that the text already has.
    fn unspaced<'a>(&mut self, piece: &'a str) -> &'a str {
        let piece = if self.is_spaced { piece.trim_start_matches('\n') } else { piece };
        self.is_spaced &= piece.is_empty();
        piece
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str, thought: ThoughtForm) -> Result<Option<(String, String)>, String> {
        let form = ChatForm { unlike: None, keeps_indented: true, thought };
        Ok(form.answer_so_far(text)?.map(|answer| (answer.thought, answer.text)))
    }

    #[test]
    fn a_thought_is_letters_of_the_message_or_has_a_field() {
        use ThoughtForm::{Field, Letters};
        let some = |thought: &str, text: &str| Ok(Some((thought.to_owned(), text.to_owned())));
        for text in ["<think>\nSo 5", "<think>\n", "So 5.\n\n", " ", "a</think>b"] {
            assert_eq!(message(text, Letters), some("", text), "{text:?}");
        }
        for (text, thought, answer) in [
            ("<think>\nSo 5.\n\n", "So 5.\n\n", ""),
            ("<think>\nSo 5.\n</think>\n\nIt is", "So 5.", "It is"),
            ("<think>\n\n</think>\n\nIt is\n\n", "", "It is\n\n"),
            ("It is\n\n", "", "It is\n\n"),
        ] {
            assert_eq!(message(text, Field), some(thought, answer), "{text:?}");
        }
        for nothing in ["", "<think>\n", "<think>\n\n</think>\n\n"] {
            assert_eq!(message(nothing, Field), Ok(None), "{nothing:?}");
        }
    }

    #[test]
    fn what_a_server_would_not_go_on_with_exactly_is_not_put_to_it() {
        let unlike = Some("it answers again".to_owned());
        let thought = ThoughtForm::Field;
        let form = ChatForm { unlike: unlike.clone(), keeps_indented: false, thought };
        assert_eq!(form.answer_so_far("So").unwrap_err(), "it answers again");
        form.answer_so_far("<think>\nSo").unwrap();
        let form = ChatForm { unlike: None, thought: ThoughtForm::Nowhere, ..form };
        for kept in ["So\n\n", "\n\nSo"] {
            form.answer_so_far(kept).unwrap();
        }
        let why = form.answer_so_far(" So\n\n").unwrap_err();
        assert!(why.contains("white space"), "{why}");
        form.answer_so_far("So").unwrap();
        form.answer_so_far("<think>\nSo").unwrap_err();
    }

    #[test]
    fn marks_are_put_around_a_thought_that_is_told_apart() {
        let put = |text: &str, is_told_apart: bool, events: &[(&str, &str)]| {
            let form = if is_told_apart { ThoughtForm::Field } else { ThoughtForm::Letters };
            let mut marks = ThoughtMarks::behind(text, form, is_told_apart);
            events
                .iter()
                .map(|(thought, answer)| marks.put(thought, answer))
                .collect::<Result<String, _>>()
        };
        let ok = |text: &str| Ok(text.to_owned());
        let whole = [("", ""), ("\n", ""), ("So", ""), (" 5.", "It"), ("", " is")];
        for (text, is_told_apart, events, expected) in [
            ("", false, &whole[..], ok("<think>\nSo 5.\n</think>\n\nIt is")),
            ("<think>\n", true, &[("\nSo", "")], ok("So")),
            ("<think>\nSo\n</think>\n\n", true, &[("\n", ""), ("", "\n\nIt")], ok("It")),
            ("<think>\nSo\n</think>\n\n", true, &[(" 5", "")], Err(ThinksAnew)),
            ("<think>\nSo\n</think>\n\n", false, &[("", "\nIt")], ok("\nIt")),
            ("<think>\nSo", false, &[(" 5.\n", ""), ("", "\n\nIt")], ok(" 5.\n</think>\n\nIt")),
            ("<think>\nSo", true, &[("", "It")], ok("\n</think>\n\nIt")),
            ("<think>\nSo", false, &[("", " 5</think>"), ("", "It")], ok(" 5</think>It")),
            ("So", true, &[("", " 5")], ok(" 5")),
            ("So", true, &[("Hm", "")], Err(ThinksAnew)),
            ("<think>\nSo</think>It", true, &[("", " is"), ("Hm", "")], Err(ThinksAnew)),
            ("", true, &[("", "It"), ("Hm", "")], Err(ThinksAnew)),
        ] {
            assert_eq!(put(text, is_told_apart, events), expected, "{text:?} {events:?}");
        }
    }
}
