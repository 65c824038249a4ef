//! How long a takeover keeps the reader waiting.

use crate::{
    report::{
        chart::{Axis, Chart, Kind, Layer, Mark, Scale},
        data::{Data, Group, Question, ms},
        figure::Figure,
        table::{Table, estimated},
    },
    stats,
};

/// Points of a curve: more would show nothing more.
const POINTS: usize = 100;

pub(super) fn figure(data: &Data<'_>) -> Figure {
    let mut table = Table::new(&[
        "policy",
        "link",
        "rtt_ms",
        "takeovers",
        "handoff_ms",
        "share_at_most",
        "share_at_most_low",
        "share_at_most_high",
    ]);
    for group in &data.groups {
        let mut sorted: Vec<u64> = group.questions.iter().flat_map(handoffs).collect();
        sorted.sort_unstable();
        for at in places(sorted.len()) {
            let handoff_us = sorted[at];
            let counts: Vec<(u64, u64)> =
                group.questions.iter().map(|question| at_most(question, handoff_us)).collect();
            table.push([
                head(group, sorted.len()),
                vec![ms(handoff_us).into()],
                estimated(stats::share(&counts)).to_vec(),
            ]);
        }
    }
    let x = Axis::new("hand-over, ms", "handoff_ms", Scale::Log { floor: 0.1 });
    let y = Axis::new("takeovers that took at most that", "share_at_most", Scale::Share);
    Figure {
        name: "6-handoff",
        title: "Hand-overs".to_owned(),
        reading: "The time from asking the large node to its first text, for every takeover: the fraction that took at \
            most this long. A panel for each policy, a line for each link; the median is where a line passes 50 %. It \
            includes a round trip, what the large node still had to read, and its first tokens. Takeovers whose node \
            was lost before its first text are not included. Curves of more than 100 takeovers are drawn at every \
            hundredth. Intervals (in the table) are Wilson's at each point, with takeovers of one question counted as \
            dependent.",
        notes: missing(data),
        table,
        chart: Chart {
            panel: Some("policy"),
            series: "link",
            order: data.links(),
            kind: Kind::Points { x, y, layers: vec![Layer::all(Mark::Steps)] },
        },
    }
}

fn head(group: &Group<'_>, takeovers: usize) -> Vec<crate::report::table::Value> {
    let rtt_ms = group.link.rtt.as_secs_f64() * 1e3;
    let (policy, link) = (group.policy.label.as_str(), group.link.name.as_str());
    vec![policy.into(), link.into(), rtt_ms.into(), takeovers.into()]
}

fn handoffs<'b>(question: &'b Question<'_>) -> impl Iterator<Item = u64> + 'b {
    let takeovers = question.answers.iter().flat_map(|answer| &answer.summary.takeovers);
    takeovers.filter_map(|takeover| takeover.handoff_us)
}

fn at_most(question: &Question<'_>, most_us: u64) -> (u64, u64) {
    let all = handoffs(question);
    all.fold((0, 0), |(hits, all), us| (hits + u64::from(us <= most_us), all + 1))
}

/// Returns the indices of the `count` sorted values to show: all if they are few, otherwise [`POINTS`] evenly spaced
/// ones, always with the last.
fn places(count: usize) -> Vec<usize> {
    if count <= POINTS {
        return (0..count).collect();
    }
    (1..=POINTS).map(|point| (point * count).div_ceil(POINTS) - 1).collect()
}

/// Takeovers without a first text.
fn missing(data: &Data<'_>) -> Vec<String> {
    let without = |group: &Group<'_>| {
        let answers = group.questions.iter().flat_map(|question| &question.answers);
        let takeovers = answers.flat_map(|answer| &answer.summary.takeovers);
        let count = takeovers.filter(|takeover| takeover.handoff_us.is_none()).count();
        let (policy, link) = (&group.policy.label, &group.link.name);
        (count > 0).then(|| format!("{policy} over {link}: {count} takeovers had no text."))
    };
    data.groups.iter().filter_map(without).collect()
}

#[cfg(test)]
mod tests {
    use super::places;

    #[test]
    fn few_are_all_shown_and_many_to_their_end() {
        assert_eq!(places(3), [0, 1, 2]);
        let many = places(1234);
        assert_eq!((many.len(), many[99]), (100, 1233));
        assert!(many.is_sorted() && places(0).is_empty());
    }
}
