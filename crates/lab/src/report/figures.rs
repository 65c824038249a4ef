//! The figures of a report, one per module. Each takes the data and returns a table, a picture of it, and a
//! description.

mod accuracy;
mod completion;
mod computing;
mod cost;
mod equal;
mod gap;
mod handoff;
mod paired;
mod rtt;
mod time;
mod traffic;

use answer::prices::Prices;

pub(super) use self::{equal::is_baseline, paired::hits as paired_hits};
use super::{data::Data, figure::Figure};

/// Returns all figures, in the order of the report.
pub(super) fn all(data: &Data<'_>, prices: &Prices) -> Vec<Figure> {
    vec![
        accuracy::against_latency(data),
        accuracy::against_share(data),
        rtt::figure(data),
        time::figure(data),
        traffic::figure(data),
        handoff::figure(data),
        completion::figure(data),
        gap::figure(data),
        cost::figure(data, prices),
        paired::figure(data),
        computing::figure(data),
        equal::figure(data, prices),
    ]
}

/// Joins names to a list with commas and "and".
fn listed(names: &[String]) -> String {
    match names {
        [] => "none".to_owned(),
        [one] => one.clone(),
        [begin @ .., last] => format!("{} and {last}", begin.join(", ")),
    }
}
