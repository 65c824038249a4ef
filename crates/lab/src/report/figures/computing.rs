//! The large model's computing for an answer: tokens that it reads and writes, and passes.

use answer::account::ModelTotals;

use super::accuracy::{axis, group_table, head};
use crate::report::{
    chart::{Axis, Chart, Kind, Layer, Mark, Scale},
    data::Data,
    figure::Figure,
    table::estimated,
};

pub(super) fn figure(data: &Data<'_>) -> Figure {
    let mut table = group_table(&[
        "large_tokens",
        "large_tokens_low",
        "large_tokens_high",
        "large_read_tokens",
        "large_cached_tokens",
        "large_written_tokens",
        "large_passes",
        "large_gflop",
        "accuracy",
        "accuracy_low",
        "accuracy_high",
    ]);
    let mut notes = Vec::new();
    for group in &data.groups {
        let mean = |value: fn(&ModelTotals) -> f64| group.mean(|it| value(&it.summary.large));
        let value = |value: fn(&ModelTotals) -> f64| mean(value).map(|mean| mean.value);
        let passes = value(|large| large.passes_milli as f64 / 1e3).filter(|passes| *passes > 0.0);
        let gflop = value(|large| large.operations().unwrap_or_default() / 1e9);
        if passes.is_none() && value(|large| large.read_tokens() as f64).is_some_and(|it| it > 0.0)
        {
            let (policy, link) = (&group.policy.label, &group.link.name);
            notes.push(format!("{policy} over {link}: the large node did not count its passes."));
        }
        table.push([
            head(group),
            estimated(mean(|large| (large.read_tokens() + large.written_tokens()) as f64)).to_vec(),
            vec![value(|large| large.read_tokens() as f64).into()],
            vec![value(|large| large.cached_tokens as f64).into()],
            vec![value(|large| large.written_tokens() as f64).into()],
            vec![passes.into(), gflop.filter(|gflop| *gflop > 0.0).into()],
            estimated(group.accuracy()).to_vec(),
        ]);
    }
    let tokens =
        Axis::new("tokens that the large model computed, an answer", "large_tokens", Scale::Linear)
            .with_interval("large_tokens_low", "large_tokens_high");
    Figure {
        name: "11-computing",
        title: "Accuracy against the large model's computing".to_owned(),
        reading: "Tokens that the large model read and wrote for an answer, without those that it found cached: a \
            review reads everything that the small model writes, and its share of the answer does not show that. \
            Tokens that are read go through the model many in a pass, and those that are written one by one, so the \
            table has the passes too, if the node counts them; a pass shared by several answers counts for each in \
            part. GFLOP are two operations for each weight and token, without attention. A review's corrections count \
            as written.",
        notes,
        table,
        chart: Chart {
            panel: Some("link"),
            series: "policy",
            order: data.policies(),
            kind: Kind::Points { x: tokens, y: axis(), layers: vec![Layer::all(Mark::Point)] },
        },
    }
}
