//! Every policy against the first one, on the same questions over the same link.

use crate::{
    report::{
        chart::{Axis, Chart, Kind, Scale},
        data::{Data, Group, Question, SEED, answers, wall_ms},
        figure::Figure,
        table::{Table, Value, estimated},
    },
    results::PolicyResults,
    stats,
};

type QuestionPair<'b, 'a> = (&'b Question<'a>, &'b Question<'a>);

pub(super) fn figure(data: &Data<'_>) -> Figure {
    let mut table = Table::new(&[
        "policy",
        "link",
        "rtt_ms",
        "against",
        "questions",
        "accuracy_difference",
        "accuracy_difference_low",
        "accuracy_difference_high",
        "only_policy_right",
        "only_against_right",
        "mcnemar_p",
        "mcnemar_p_holm",
        "latency_ratio",
        "latency_ratio_low",
        "latency_ratio_high",
    ]);
    let (rows, notes) = compared(data);
    let tests: Vec<stats::Paired> = rows
        .iter()
        .map(|(_, _, pairs)| stats::mcnemar(pairs.iter().map(|pair| right(*pair))))
        .collect();
    let adjusted = stats::holm(&tests.iter().map(|test| test.p).collect::<Vec<_>>());
    for (((group, against, pairs), test), holm) in rows.iter().zip(&tests).zip(adjusted) {
        table.push([
            head(group, against, pairs.len()),
            estimated(stats::paired_difference(&hits(group, against))).to_vec(),
            vec![test.first_only.into(), test.second_only.into(), test.p.into(), holm.into()],
            estimated(stats::bootstrap(pairs, SEED, |drawn| latency_ratio(drawn))).to_vec(),
        ]);
    }
    let x = Axis::new(
        "latency, times that of the first policy",
        "latency_ratio",
        Scale::Log { floor: 1e-3 },
    )
    .with_interval("latency_ratio_low", "latency_ratio_high");
    Figure {
        name: "10-paired",
        title: "Every policy against the first".to_owned(),
        reading: "On the questions that both answered over the same link, so that their difficulty cancels out: the \
         ratio of median latencies, above 1 where the policy is slower. The table has the difference in accuracy with \
         its interval (Newcombe's for paired shares), McNemar's exact test for it (questions that only one of the two \
         had right), its p adjusted for the number of rows by Holm's method, and the ratio. With several seeds a \
         question counts for the policy that had it right more often. The ratio's interval resamples questions, both \
         sides together.",
        notes,
        table,
        chart: Chart {
            panel: None,
            series: "policy",
            order: data.policies(),
            kind: Kind::Rows { category: "link", x, lines: &[1.0] },
        },
    }
}

/// A policy, the first one over the same link, and the questions that both answered.
type Compared<'b, 'a> = (&'b Group<'a>, &'b Group<'a>, Vec<QuestionPair<'b, 'a>>);

/// Returns all possible comparisons, and notes on the missing ones.
fn compared<'b, 'a>(data: &'b Data<'a>) -> (Vec<Compared<'b, 'a>>, Vec<String>) {
    let (mut rows, mut notes) = (Vec::new(), Vec::new());
    for group in &data.groups {
        let like = |first: &&PolicyResults| first.setting == group.policy.setting;
        let Some(first) = data.results.policies.iter().find(like) else { continue };
        if first.label == group.policy.label {
            continue;
        }
        match data.group(&first.label, &group.link.name) {
            Some(against) => rows.push((group, against, group.paired(against))),
            None => notes.push(format!(
                "{} over {}: there is no {} to compare with.",
                group.policy.label, group.link.name, first.label
            )),
        }
    }
    (rows, notes)
}

fn head(group: &Group<'_>, against: &Group<'_>, questions: usize) -> Vec<Value> {
    vec![
        group.policy.label.as_str().into(),
        group.link.name.as_str().into(),
        (group.link.rtt.as_secs_f64() * 1e3).into(),
        against.policy.label.as_str().into(),
        questions.into(),
    ]
}

/// Returns how often each of two groups was right, and out of how many answers, by the questions that both answered.
pub(crate) fn hits(group: &Group<'_>, other: &Group<'_>) -> Vec<(stats::Hits, stats::Hits)> {
    group.paired(other).iter().map(|(ours, theirs)| (ours.right(), theirs.right())).collect()
}

/// Returns how often each was right, out of the same number of answers.
pub(super) fn right((ours, theirs): QuestionPair<'_, '_>) -> (u64, u64) {
    let ((ours, our_answers), (theirs, their_answers)) = (ours.right(), theirs.right());
    // A seed may be missing on one side: use shares with the same denominator.
    (ours * their_answers, theirs * our_answers)
}

fn latency_ratio(drawn: &[&QuestionPair<'_, '_>]) -> Option<f64> {
    let ours: Vec<&Question<'_>> = drawn.iter().map(|pair| pair.0).collect();
    let theirs: Vec<&Question<'_>> = drawn.iter().map(|pair| pair.1).collect();
    let (ours, theirs) = (
        stats::median(answers(&ours).map(wall_ms))?,
        stats::median(answers(&theirs).map(wall_ms))?,
    );
    (theirs > 0.0).then(|| ours / theirs)
}
