//! Bytes over the link to the large node.

use super::accuracy::{group_table, head};
use crate::{
    report::{
        chart::{Axis, Chart, Kind, Scale},
        data::{Data, Group, TextBytes},
        figure::Figure,
        table::{Table, Value, estimated, shown},
    },
    stats,
    sweep::uncounted,
};

const UP: &str = "up: on the wire";
const DOWN: &str = "down: on the wire";
const ONCE: &str = "up: text, each byte once";
const AGAIN: &str = "up: text, all of it at every ask";
const TEXT_DOWN: &str = "down: text";

pub(super) fn figure(data: &Data<'_>) -> Figure {
    let mut table = group_table(&[
        "counted",
        "bytes_per_answer",
        "bytes_per_answer_low",
        "bytes_per_answer_high",
    ]);
    for link in data.links() {
        for group in data.groups.iter().filter(|group| group.link.name == link) {
            push(&mut table, group);
        }
    }
    let order = [UP, DOWN, ONCE, AGAIN, TEXT_DOWN].map(str::to_owned).to_vec();
    let x = Axis::new("bytes an answer", "bytes_per_answer", Scale::Log { floor: 1.0 })
        .with_interval("bytes_per_answer_low", "bytes_per_answer_high");
    Figure {
        name: "5-traffic",
        title: "Bytes over the link".to_owned(),
        reading: "What the proxy counted on the wire (including framing, token ids and heartbeats), and the text in it \
            according to the journals: the prompt and text sent to the large node, each byte once, compared with what \
            a protocol without sessions would send, which is the prompt and all text so far at every ask. The proxy \
            counts all answers of a cell together, including failed ones, so there is no interval for it. The axis is \
            logarithmic.",
        notes: notes(data),
        table,
        chart: Chart {
            panel: Some("link"),
            series: "counted",
            order,
            kind: Kind::Rows { category: "policy", x, lines: &[] },
        },
    }
}

/// Adds a group's rows: the traffic on the wire, and the text in it.
fn push(table: &mut Table, group: &Group<'_>) {
    if let Some(wire) = on_the_wire(group) {
        for (counted, bytes) in [(UP, wire.0), (DOWN, wire.1)] {
            let bytes = vec![bytes.into(), Value::Absent, Value::Absent];
            table.push([head(group), vec![counted.into()], bytes]);
        }
    }
    let mean = |bytes: fn(&TextBytes) -> u64| {
        group.estimate(|drawn| {
            let texts = drawn.iter().flat_map(|question| &question.texts);
            stats::mean(texts.map(|text| bytes(text) as f64))
        })
    };
    let means = [
        (ONCE, mean(|text| text.up_once)),
        (AGAIN, mean(|text| text.up_again)),
        (TEXT_DOWN, mean(|text| text.down)),
    ];
    if means.iter().any(|(_, mean)| mean.is_some_and(|mean| mean.value > 0.0)) {
        for (counted, mean) in means {
            table.push([head(group), vec![counted.into()], estimated(mean).to_vec()]);
        }
    }
}

/// Notes what sending the whole text again would take, over the first link of each policy.
fn notes(data: &Data<'_>) -> Vec<String> {
    let note = |policy: &String| {
        let group = data.groups.iter().find(|group| group.policy.label == *policy)?;
        let ratio = group.estimate(|drawn| {
            let texts = || drawn.iter().flat_map(|question| &question.texts);
            let once: u64 = texts().map(|text| text.up_once).sum();
            let again: u64 = texts().map(|text| text.up_again).sum();
            (once > 0).then(|| again as f64 / once as f64)
        })?;
        let two = |value: f64| shown((value * 100.0).round() / 100.0);
        let interval = ratio.interval.map_or(String::new(), |(low, high)| {
            format!(" (95 % interval {} to {})", two(low), two(high))
        });
        Some(format!(
            "{policy}: sending the whole text at every ask of the large node would take {} times the text that was \
            sent{interval}, over {}.",
            two(ratio.value),
            group.link.name
        ))
    };
    data.policies().iter().filter_map(note).collect()
}

/// Returns the bytes up and down for each graded answer, as the proxy counted them, or `None` if some answers' bytes
/// were not counted.
pub(super) fn on_the_wire(group: &Group<'_>) -> Option<(f64, f64)> {
    let traffic = || group.cells.iter().flat_map(|cell| &cell.traffic);
    traffic().next()?;
    if group.cells.iter().any(|cell| uncounted(cell.rows.iter(), &cell.traffic) > 0) {
        return None;
    }
    let (up, down) =
        traffic().fold((0, 0), |sum, one| (sum.0 + one.up_bytes, sum.1 + one.down_bytes));
    let answers = group.graded().max(1) as f64;
    Some((up as f64 / answers, down as f64 / answers))
}
