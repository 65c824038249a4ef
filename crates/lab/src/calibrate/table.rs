//! Calibrations as text: a Markdown table for several, a line for one.

use std::{fmt, time::Duration};

use super::Calibration;
use crate::link::Rate;

const HEADER: &str = "\
| link | RTT asked | least | median | p95 | first answer | down asked | Mbit/s | up asked | Mbit/s | stalls | median | longest |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
";

/// Returns a Markdown table with a row for each link; times are in milliseconds.
pub fn table(calibrations: &[Calibration]) -> String {
    let rows = calibrations.iter().map(|calibration| format!("{calibration}\n"));
    std::iter::once(HEADER.to_owned()).chain(rows).collect()
}

impl fmt::Display for Calibration {
    /// A row of the table.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (asked, rtt, stalls) = (&self.asked, &self.rtt, &self.stalls);
        let jitter = match asked.jitter {
            Duration::ZERO => String::new(),
            jitter => format!(" ± {}", ms(jitter)),
        };
        let [least, median, p95] = [rtt.least, rtt.median, rtt.p95].map(ms);
        let (first, base) = (ms(self.first_answer), ms(asked.rtt));
        write!(f, "| {} | {base}{jitter} | {least} | {median} | {p95} | {first} ", asked.name)?;
        for (asked, measured) in [(asked.down, self.down_mbit), (asked.up, self.up_mbit)] {
            let measured = measured.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.2}"));
            write!(f, "| {} | {measured} ", limit(asked))?;
        }
        if stalls.share == 0.0 {
            return write!(f, "| none of {} | - | - |", rtt.pings);
        }
        let share = stalls.share * 100.0;
        let [median, longest] = [stalls.median, stalls.longest].map(ms);
        write!(f, "| {share:.1} % of {} | {median} | {longest} |", rtt.pings)
    }
}

fn limit(rate: Option<Rate>) -> String {
    rate.map_or_else(|| "unlimited".to_owned(), |rate| rate.to_string())
}

/// Formats milliseconds with a useful number of decimals.
fn ms(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1e3;
    if ms >= 100.0 { format!("{ms:.0}") } else { format!("{ms:.2}") }
}
