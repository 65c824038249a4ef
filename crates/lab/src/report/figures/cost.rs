//! The cost of right answers in money.

use answer::{Summary, prices::Prices};

use super::{
    accuracy::{axis, group_table, head},
    traffic::on_the_wire,
};
use crate::report::{
    chart::{Axis, Chart, Kind, Layer, Mark, Scale},
    data::{Data, answers},
    figure::Figure,
    table::estimated,
};

pub(super) fn figure(data: &Data<'_>, prices: &Prices) -> Figure {
    let mut table = group_table(&[
        "currency",
        "price_version",
        "cost_per_1000_answers",
        "cost_per_1000_answers_low",
        "cost_per_1000_answers_high",
        "cost_per_1000_right",
        "cost_per_1000_right_low",
        "cost_per_1000_right_high",
        "accuracy",
        "accuracy_low",
        "accuracy_high",
    ]);
    let mut notes =
        vec![format!("Prices: {} in {} ({}).", prices.version, prices.currency, prices.note)];
    for group in &data.groups {
        let wire = on_the_wire(group).map_or(0.0, |(up, down)| up + down);
        let wire = wire * prices.traffic_per_gb / 1e9;
        let cost = |summary: &Summary| prices.tokens(summary) + wire;
        let each = group.mean(|answer| 1e3 * cost(&answer.summary));
        let right = group.estimate(|drawn| {
            let right = answers(drawn).filter(|answer| answer.right).count();
            let all: f64 = answers(drawn).map(|answer| cost(&answer.summary)).sum();
            (right > 0).then(|| 1e3 * all / right as f64)
        });
        if right.is_none() {
            let (policy, link) = (&group.policy.label, &group.link.name);
            notes.push(format!(
                "{policy} over {link}: no answer was right, so there is no price for right ones."
            ));
        }
        table.push([
            head(group),
            vec![prices.currency.as_str().into(), prices.version.as_str().into()],
            estimated(each).to_vec(),
            estimated(right).to_vec(),
            estimated(group.accuracy()).to_vec(),
        ]);
    }
    let label = format!("{} for 1,000 right answers", prices.currency);
    let x = Axis::new(&label, "cost_per_1000_right", Scale::Linear)
        .with_interval("cost_per_1000_right_low", "cost_per_1000_right_high");
    Figure {
        name: "9-cost",
        title: "Accuracy against the cost of right answers".to_owned(),
        reading: "All computed tokens, at the prices below, and the bytes on the wire, for 1,000 right answers, so \
            that the cost of wrong answers counts too. Tokens that are read count as often as a node computed them; \
            generated tokens that were discarded count as output. A service that bills the whole text at every request \
            would cost more; see the figure of bytes. Up and to the left is better.",
        notes,
        table,
        chart: Chart {
            panel: Some("link"),
            series: "policy",
            order: data.policies(),
            kind: Kind::Points { x, y: axis(), layers: vec![Layer::all(Mark::Point)] },
        },
    }
}
