//! Accuracy against its price: latency, and the large model's share.

use crate::{
    report::{
        chart::{Axis, Chart, Kind, Layer, Mark, Scale},
        data::{Data, Group, answers, ms},
        figure::Figure,
        table::{Table, Value, estimated},
    },
    stats::Estimate,
};

/// The axis that most figures share.
pub(super) fn axis() -> Axis {
    Axis::new("right answers", "accuracy", Scale::Share)
        .with_interval("accuracy_low", "accuracy_high")
}

pub(super) fn against_latency(data: &Data<'_>) -> Figure {
    let mut table = group_table(&[
        "accuracy",
        "accuracy_low",
        "accuracy_high",
        "latency_median_ms",
        "latency_median_low_ms",
        "latency_median_high_ms",
        "pareto_front",
    ]);
    for link in &data.results.links {
        let groups = data.groups.iter().filter(|group| group.link.name == link.name);
        let points: Vec<(&Group<'_>, Estimate, Estimate)> = groups
            .filter_map(|group| Some((group, group.accuracy()?, group.latency_ms()?)))
            .collect();
        for (group, accuracy, latency) in &points {
            let beaten = points.iter().any(|(_, right, wait)| {
                (right.value >= accuracy.value && wait.value < latency.value)
                    || (right.value > accuracy.value && wait.value <= latency.value)
            });
            table.push([
                head(group),
                estimated(Some(*accuracy)).to_vec(),
                estimated(Some(*latency)).to_vec(),
                vec![if beaten { "no" } else { "yes" }.into()],
            ]);
        }
    }
    let front = Layer { only: Some(("pareto_front", "yes")), mark: Mark::Line, by_series: false };
    let latency = Axis::new("median latency of an answer, ms", "latency_median_ms", Scale::Linear)
        .with_interval("latency_median_low_ms", "latency_median_high_ms");
    Figure {
        name: "1-accuracy-latency",
        title: "Accuracy against latency".to_owned(),
        reading: "A panel for each link; up and to the left is better. The grey line joins the policies that no other \
            policy beats in both (the Pareto front), judged by the points alone: where intervals overlap, another run \
            may draw a different line. Bars are 95 % intervals: Wilson's for accuracy, and by resampling questions for \
            the median. The panels' latency axes differ.",
        notes: Vec::new(),
        table,
        chart: Chart {
            panel: Some("link"),
            series: "policy",
            order: data.policies(),
            kind: Kind::Points {
                x: latency,
                y: axis(),
                layers: vec![front, Layer::all(Mark::Point)],
            },
        },
    }
}

pub(super) fn against_share(data: &Data<'_>) -> Figure {
    let mut table = group_table(&[
        "takeover_share",
        "takeover_share_low",
        "takeover_share_high",
        "accuracy",
        "accuracy_low",
        "accuracy_high",
    ]);
    for group in &data.groups {
        let share = group.estimate(|drawn| {
            let all: u64 = answers(drawn).map(|answer| answer.summary.tokens()).sum();
            let large: u64 = answers(drawn).map(|answer| answer.summary.large.tokens).sum();
            (all > 0).then(|| large as f64 / all as f64)
        });
        let accuracy = estimated(group.accuracy());
        table.push([head(group), estimated(share).to_vec(), accuracy.to_vec()]);
    }
    let share = Axis::new("tokens by the large model", "takeover_share", Scale::Share)
        .with_interval("takeover_share_low", "takeover_share_high");
    Figure {
        name: "2-accuracy-share",
        title: "Accuracy against the large model's share".to_owned(),
        reading: "How well a policy uses the large model's tokens: above the straight line from small-only to \
            large-only, tokens are spent where they help. The share is the large model's tokens out of all tokens of \
            all answers, each model's counted by its own tokenizer, so it is not a share of text or of computing. A \
            link changes it only where answers degrade.",
        notes: Vec::new(),
        table,
        chart: Chart {
            panel: Some("link"),
            series: "policy",
            order: data.policies(),
            kind: Kind::Points { x: share, y: axis(), layers: vec![Layer::all(Mark::Point)] },
        },
    }
}

/// Makes a table whose rows begin with a group's [`head`].
pub(super) fn group_table(columns: &[&'static str]) -> Table {
    Table::new(&[&["policy", "link", "rtt_ms", "answers"], columns].concat())
}

/// The first columns of most rows: policy, link, round trip, answers.
pub(super) fn head(group: &Group<'_>) -> Vec<Value> {
    let rtt_ms = ms(u64::try_from(group.link.rtt.as_micros()).unwrap_or(u64::MAX));
    vec![
        group.policy.label.as_str().into(),
        group.link.name.as_str().into(),
        rtt_ms.into(),
        group.graded().into(),
    ]
}
