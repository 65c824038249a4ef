//! Where an answer's time goes.

use answer::account::TimeSplit;

use super::accuracy::{group_table, head};
use crate::report::{
    chart::{Axis, Chart, Kind, Scale},
    data::{Data, ms},
    figure::Figure,
    table::estimated,
};

type Part = (&'static str, fn(&TimeSplit) -> u64);

/// The parts of an answer's time, which add up to the total.
const PARTS: [Part; 10] = [
    ("small: queue", |time| time.small.queue_us),
    ("small: prefill", |time| time.small.prefill_us),
    ("small: decode", |time| time.small.decode_us),
    ("large: queue", |time| time.large.queue_us),
    ("large: prefill", |time| time.large.prefill_us),
    ("large: decode", |time| time.large.decode_us),
    ("network to the small node", |time| time.small.network_us),
    ("network to the large node", |time| time.large.network_us),
    ("verdicts", |time| time.verdicts_us),
    ("other", |time| time.other_us),
];

pub(super) fn figure(data: &Data<'_>) -> Figure {
    let mut table = group_table(&["part", "mean_ms", "mean_low_ms", "mean_high_ms"]);
    for link in data.links() {
        for group in data.groups.iter().filter(|group| group.link.name == link) {
            for (part, time_us) in PARTS {
                let mean = group.mean(|answer| ms(time_us(&answer.summary.time)));
                table.push([head(group), vec![part.into()], estimated(mean).to_vec()]);
            }
        }
    }
    Figure {
        name: "4-time",
        title: "Where the time goes".to_owned(),
        reading: "The mean time of an answer and its parts, which add up to it. Queue, prefill and decode are what the \
            nodes reported of the time in which they were waited for; network is the rest of that wait, so it includes \
            the link, the programs' handling of messages, and scheduling on a busy machine; verdicts is waiting for a \
            review of what is written; other is opening the sessions and the work between two asks. What a node \
            computes while the other is waited for is in no part. The panels' axes differ.",
        notes: Vec::new(),
        table,
        chart: Chart {
            panel: Some("link"),
            series: "part",
            order: PARTS.map(|(part, _)| part.to_owned()).to_vec(),
            kind: Kind::Bars {
                category: "policy",
                x: Axis::new("mean time of an answer, ms", "mean_ms", Scale::Linear),
            },
        },
    }
}

#[cfg(test)]
mod tests {
    use answer::account::Spent;

    use super::*;

    #[test]
    fn the_parts_are_all_of_it() {
        let spent = |base| Spent {
            queue_us: base,
            prefill_us: 2 * base,
            decode_us: 4 * base,
            network_us: 8 * base,
        };
        let time = TimeSplit {
            small: spent(1),
            large: spent(100),
            verdicts_us: 50,
            other_us: 7,
            ..TimeSplit::default()
        };
        let sum: u64 = PARTS.iter().map(|(_, part)| part(&time)).sum();
        assert_eq!(sum, time.waited_us() + time.other_us);
    }
}
