//! The beginning of an answer that the client gives; the models continue from it.

use serde::{Deserialize, Serialize};

use crate::{
    thinker::ThoughtStart,
    thought::{MARKS, ThoughtSplitter},
};

/// The given beginning of an answer. May be empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerBeginning {
    /// The part of the thought before the answer, without marks.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reasoning: String,
    /// The part of the answer proper. If it is empty, the thought continues.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub content: String,
}

impl AnswerBeginning {
    /// Returns whether nothing is given.
    pub fn is_empty(&self) -> bool {
        self.reasoning.is_empty() && self.content.is_empty()
    }

    /// Returns the text that follows a prompt which leaves the thought in this state. If the prompt has closed the
    /// thought already, the reasoning has no place and is left out.
    pub fn text(&self, start: ThoughtStart) -> String {
        let AnswerBeginning { reasoning, content } = self;
        let (open, close) = MARKS[0];
        let has = (!reasoning.is_empty(), !content.is_empty());
        match (start, has) {
            (_, (false, false)) => String::new(),
            (ThoughtStart::Over, _)
            | (ThoughtStart::Unknown | ThoughtStart::Unopened, (false, true)) => content.clone(),
            (ThoughtStart::Open, (true, false)) => reasoning.clone(),
            (ThoughtStart::Open, (_, true)) => format!("{reasoning}\n{close}\n\n{content}"),
            (_, (true, false)) => format!("{open}\n{reasoning}"),
            (_, (true, true)) => format!("{open}\n{reasoning}\n{close}\n\n{content}"),
        }
    }

    /// Returns the state of the thought after the beginning, given its state before.
    pub fn thought_behind(&self, start: ThoughtStart) -> ThoughtStart {
        if self.is_empty() {
            return start;
        }
        let mut splitter = ThoughtSplitter::new(start);
        splitter.push(&self.text(start));
        splitter.thought()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::thinker::ThoughtStart::{Open, Over, Unknown, Unopened};

    #[test]
    fn a_beginning_stands_where_the_prompt_leaves_the_thought() {
        for (reasoning, content, start, text, behind) in [
            ("", "", Open, "", Open),
            ("", "No,", Unknown, "No,", Over),
            ("", "No,", Unopened, "No,", Over),
            ("", "No,", Open, "\n</think>\n\nNo,", Over),
            ("", "No,", Over, "No,", Over),
            ("13 * 1", "", Unopened, "<think>\n13 * 1", Open),
            ("13 * 1", "", Open, "13 * 1", Open),
            ("13 * 1", "", Over, "", Over),
            ("221", "No,", Unopened, "<think>\n221\n</think>\n\nNo,", Over),
            ("221", "No,", Open, "221\n</think>\n\nNo,", Over),
            ("221", "No,", Over, "No,", Over),
            ("", "<think>\n13", Unopened, "<think>\n13", Open),
        ] {
            let (reasoning, content) = (reasoning.to_owned(), content.to_owned());
            let beginning = AnswerBeginning { reasoning, content };
            let found = (beginning.text(start), beginning.thought_behind(start));
            assert_eq!(found, (text.to_owned(), behind), "{beginning:?} {start:?}");
        }
    }
}
