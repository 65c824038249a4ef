//! A sweep's answers in the form that figures need: by policy and link, with the answers to each question together, and
//! the data from their journals, which are read here once.

use std::collections::{BTreeMap, BTreeSet};

use answer::{Progress, Writer, journal::Journal};
use runs::Graded;
use thinking::policy::{PolicyKind, Role};

use crate::{
    link::LinkProfile,
    replay::{RecordedOver, Recording},
    results::{CellResults, PolicyResults, Results, SkippedKind, SkippedResult},
    stats::{self, Estimate},
};

/// The seed of the draws for all intervals.
pub(super) const SEED: u64 = 0;

/// Everything that figures are made from.
pub(super) struct Data<'a> {
    pub(super) results: &'a Results,
    /// By policy, then by link; only those with graded answers.
    pub(super) groups: Vec<Group<'a>>,
    /// What was left out, of rows and of journals.
    pub(super) skipped: Vec<SkippedResult>,
    /// The programs that wrote the journals.
    pub(super) programs: BTreeSet<String>,
}

/// A policy over a link, with all seeds together.
pub(super) struct Group<'a> {
    pub(super) policy: &'a PolicyResults,
    pub(super) link: &'a LinkProfile,
    pub(super) cells: Vec<&'a CellResults>,
    pub(super) questions: Vec<Question<'a>>,
}

/// A question's answers with all seeds.
#[derive(Default)]
pub(super) struct Question<'a> {
    pub(super) id: &'a str,
    pub(super) answers: Vec<&'a Graded>,
    pub(super) texts: Vec<TextBytes>,
    /// Only of answers over loopback.
    pub(super) recordings: Vec<Recording>,
}

/// Bytes of text between the coordinator and the large node, from a journal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct TextBytes {
    /// The prompt and the text of other writers, each byte once.
    pub(super) up_once: u64,
    /// The prompt and the whole text so far at every ask.
    pub(super) up_again: u64,
    /// The text that the large node wrote.
    pub(super) down: u64,
}

impl<'a> Data<'a> {
    pub(super) fn new(results: &'a Results) -> Data<'a> {
        let mut data = Data {
            results,
            groups: Vec::new(),
            skipped: results.skipped.clone(),
            programs: BTreeSet::new(),
        };
        for policy in &results.policies {
            for link in &results.links {
                let ours = |cell: &&CellResults| {
                    cell.policy == policy.label && cell.link.name == link.name
                };
                let cells: Vec<&CellResults> = results.cells.iter().filter(ours).collect();
                let questions = data.questions(&cells);
                if !questions.is_empty() {
                    data.groups.push(Group { policy, link, cells, questions });
                }
            }
        }
        data
    }

    fn questions(&mut self, cells: &[&'a CellResults]) -> Vec<Question<'a>> {
        let mut questions: BTreeMap<&str, Question<'a>> = BTreeMap::new();
        for cell in cells {
            for graded in cell.graded() {
                let question = questions.entry(&graded.id).or_default();
                question.id = &graded.id;
                question.answers.push(graded);
                let journal = match cell.journal(graded) {
                    Ok(journal) => journal,
                    Err(skipped) => {
                        self.skipped.push(skipped);
                        continue;
                    }
                };
                self.programs.insert(journal.header.program.clone());
                question.texts.push(TextBytes::of(&journal));
                if cell.link.is_unlimited() {
                    match Recording::new(&journal, RecordedOver::Loopback) {
                        Ok(recording) => question.recordings.push(recording),
                        Err(why) => {
                            let place = format!("{} over {}", cell.policy, cell.link.name);
                            self.skipped.push(SkippedResult::new(SkippedKind::Replay, place, why));
                        }
                    }
                }
            }
        }
        questions.into_values().collect()
    }

    /// Returns the policies' labels: every figure gives them the same colours.
    pub(super) fn policies(&self) -> Vec<String> {
        self.results.policies.iter().map(|policy| policy.label.clone()).collect()
    }

    pub(super) fn links(&self) -> Vec<String> {
        self.results.links.iter().map(|link| link.name.clone()).collect()
    }

    pub(super) fn group(&self, policy: &str, link: &str) -> Option<&Group<'a>> {
        self.groups.iter().find(|g| g.policy.label == policy && g.link.name == link)
    }

    /// Returns the policy of a kind among those that ran in the same setting as this one.
    pub(super) fn beside(
        &self,
        policy: &PolicyResults,
        kind: PolicyKind,
    ) -> Option<&'a PolicyResults> {
        let like = |other: &&PolicyResults| other.kind == kind && other.setting == policy.setting;
        self.results.policies.iter().find(like)
    }
}

impl<'a> Group<'a> {
    /// Returns a statistic of the questions, with its interval.
    pub(super) fn estimate(
        &self,
        statistic: impl Fn(&[&Question<'a>]) -> Option<f64>,
    ) -> Option<Estimate> {
        stats::bootstrap(&self.questions, SEED, statistic)
    }

    /// Returns the mean over answers.
    pub(super) fn mean(&self, value: impl Fn(&Graded) -> f64) -> Option<Estimate> {
        self.estimate(|drawn| stats::mean(answers(drawn).map(&value)))
    }

    /// Returns the right answers among the graded ones, with Wilson's interval.
    pub(super) fn accuracy(&self) -> Option<Estimate> {
        stats::share(&self.questions.iter().map(Question::right).collect::<Vec<_>>())
    }

    /// Returns the median wall time of an answer, in milliseconds.
    pub(super) fn latency_ms(&self) -> Option<Estimate> {
        self.estimate(|drawn| stats::median(answers(drawn).map(wall_ms)))
    }

    /// Returns how many answers were graded.
    pub(super) fn graded(&self) -> usize {
        self.questions.iter().map(|question| question.answers.len()).sum()
    }

    /// Returns the questions that both groups have, in pairs.
    pub(super) fn paired<'b>(
        &'b self,
        other: &'b Group<'a>,
    ) -> Vec<(&'b Question<'a>, &'b Question<'a>)> {
        let theirs: BTreeMap<&str, &Question<'a>> =
            other.questions.iter().map(|question| (question.id, question)).collect();
        let both = |ours: &'b Question<'a>| Some((ours, *theirs.get(ours.id)?));
        self.questions.iter().filter_map(both).collect()
    }
}

impl Question<'_> {
    /// Returns how many of its answers were right, and how many there are.
    pub(super) fn right(&self) -> (u64, u64) {
        let right = self.answers.iter().filter(|answer| answer.right).count();
        (right as u64, self.answers.len() as u64)
    }

    /// Returns the fraction of its answers that were right.
    pub(super) fn rightness(&self) -> f64 {
        let (right, all) = self.right();
        right as f64 / all.max(1) as f64
    }
}

/// Returns all answers to some questions.
pub(super) fn answers<'b>(drawn: &'b [&Question<'_>]) -> impl Iterator<Item = &'b Graded> {
    drawn.iter().flat_map(|question| question.answers.iter().copied())
}

pub(super) fn wall_ms(answer: &Graded) -> f64 {
    ms(answer.summary.time.total_us)
}

pub(super) fn ms(us: u64) -> f64 {
    us as f64 / 1e3
}

impl TextBytes {
    fn of(journal: &Journal) -> TextBytes {
        let header = &journal.header;
        if header.large.is_none() {
            return TextBytes::default();
        }
        let messages = header.question.messages.iter().flatten();
        let messages: usize = messages.map(|message| message.content.len()).sum();
        let prompt = (messages + header.question.raw_prompt.as_ref().map_or(0, String::len)) as u64;
        let mut bytes = TextBytes { up_once: prompt, ..TextBytes::default() };
        // If nothing is sent ahead: the text written since the large node was last sent something.
        let mut waiting = 0;
        let (mut written, mut out) = (0, false);
        for event in &journal.events {
            if let Progress::Text(text) = &event.progress {
                written += text.text.len() as u64;
            }
            match &event.progress {
                Progress::Degraded { .. } => out = true,
                Progress::Rejoined(_) => {
                    // It was sent all of it again.
                    (out, waiting) = (false, 0);
                    bytes.up_once += prompt + written;
                }
                _ if out => {}
                Progress::Text(text) if text.writer != Writer::Large => {
                    waiting += text.text.len() as u64;
                    if header.settings.keep_warm {
                        bytes.up_once += std::mem::take(&mut waiting);
                    }
                }
                Progress::Ask(asked) if asked.role == Role::Large => {
                    bytes.up_once += std::mem::take(&mut waiting);
                    bytes.up_again += prompt + asked.committed_bytes;
                }
                Progress::Finished(finished) if finished.role == Role::Large => {
                    bytes.down += finished.bytes;
                }
                _ => {}
            }
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use answer::{
        Question, Settings, Stamped,
        journal::Header,
        progress::{Asked, Rejoined, Text},
    };
    use thinking::{
        beginning::AnswerBeginning,
        policy::Why,
        stops::StopTexts,
        thinker::{Prompt, Sampling},
    };

    use super::*;

    #[test]
    fn a_large_node_that_was_out_is_sent_everything_again() {
        let text = |writer, text: &str| Progress::Text(Text::new(writer, Why::Turn, text));
        let ask = |committed_bytes| {
            let (role, why, max_tokens) = (Role::Large, Why::Reflection, 20);
            let (ask, provisional, seed) = (0, false, 0);
            let asked = Asked { ask, role, why, max_tokens, provisional, seed, committed_bytes };
            Progress::Ask(asked)
        };
        let back = Rejoined { node: String::new(), away_us: 0, attempts: 1, committed_bytes: 10 };
        let events = [
            text(Writer::Small, "12345"),
            ask(5),
            Progress::Degraded { reason: String::new() },
            text(Writer::Small, "67890"),
            ask(10),
            Progress::Rejoined(back),
            text(Writer::Small, "abc"),
            ask(13),
        ];
        let question = Question {
            id: String::new(),
            prompt: Prompt::Raw("2+2".to_owned()),
            sampling: Sampling::default(),
            seed: 0,
            max_tokens: 100,
            beginning: AnswerBeginning::default(),
            stop: StopTexts::default(),
            deadline: None,
        };
        for keep_warm in [true, false] {
            let settings = Settings { keep_warm, ..Settings::default() };
            let large = Some("large".to_owned());
            let journal = Journal {
                header: Header::new(&question, Default::default(), settings, vec![], large),
                events: events.clone().map(|progress| Stamped { at_us: 0, progress }).to_vec(),
                truncated: false,
            };
            let (up_once, up_again) = (3 + 5 + 3 + 10 + 3, 3 + 5 + 3 + 13);
            let expected = TextBytes { up_once, up_again, down: 0 };
            assert_eq!(TextBytes::of(&journal), expected, "keep warm {keep_warm}");
        }
    }
}
