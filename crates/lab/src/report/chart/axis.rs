//! Axes: map values to positions, with readable ticks. `chart` draws them.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

use crate::report::table::shown;

/// How values map to positions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Scale {
    /// From zero, or from the smallest value if that is negative.
    Linear,
    /// A fraction from 0 to 1, shown in percent.
    Share,
    /// Logarithmic; values below the floor are placed at the floor.
    Log { floor: f64 },
}

/// What an axis shows: columns of the figure's table.
#[derive(Debug, Clone)]
pub(crate) struct Axis {
    pub(crate) label: String,
    pub(crate) column: &'static str,
    /// The columns with the ends of the interval.
    pub(crate) interval: Option<[&'static str; 2]>,
    pub(crate) scale: Scale,
}

impl Axis {
    pub(crate) fn new(label: &str, column: &'static str, scale: Scale) -> Axis {
        Axis { label: label.to_owned(), column, interval: None, scale }
    }

    pub(crate) fn with_interval(self, low: &'static str, high: &'static str) -> Axis {
        Axis { interval: Some([low, high]), ..self }
    }
}

/// An axis of a panel: its range and its ticks.
#[derive(Debug, Clone)]
pub(super) struct Coordinate {
    scale: Option<Scale>,
    range: Range<f64>,
    ticks: Vec<f64>,
}

impl Coordinate {
    /// Makes an axis wide enough for these table values.
    pub(super) fn around(scale: Scale, values: impl Iterator<Item = f64>) -> Coordinate {
        let values = values.map(|value| place(scale, value));
        let (least, most) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), v| {
            (least.min(v), most.max(v))
        });
        let (least, most) = if least <= most { (least, most) } else { (0.0, 1.0) };
        let (range, ticks) = match scale {
            Scale::Share => {
                let (low, high) = (least.min(0.0), most.max(1.0));
                (low..high, linear_ticks(low, high))
            }
            Scale::Linear => {
                let (low, high) = (least.min(0.0), if most > 0.0 { most * 1.05 } else { 1.0 });
                let low = if low < 0.0 { low * 1.05 } else { low };
                (low..high, linear_ticks(low, high))
            }
            Scale::Log { .. } => {
                let (low, high) = (least - 0.08, most + 0.08);
                let (low, high) =
                    if high - low < 0.6 { (low - 0.3, high + 0.3) } else { (low, high) };
                (low..high, log_ticks(low, high))
            }
        };
        Coordinate { scale: Some(scale), range, ticks }
    }

    /// Returns where it begins and ends.
    pub(super) fn ends(&self) -> (f64, f64) {
        (self.range.start, self.range.end)
    }

    /// Makes an axis with `count` rows from the top, without ticks.
    pub(super) fn rows(count: usize) -> Coordinate {
        Coordinate { scale: None, range: count as f64..0.0, ticks: Vec::new() }
    }

    pub(super) fn label(&self, place: f64) -> String {
        match self.scale {
            Some(Scale::Share) => format!("{}%", shown((100.0 * place * 1e6).round() / 1e6)),
            Some(Scale::Log { .. }) => short(10_f64.powf(place)),
            Some(Scale::Linear) => short(place),
            None => String::new(),
        }
    }
}

/// Formats large numbers in few characters.
fn short(value: f64) -> String {
    let (divisor, unit) = match value.abs() {
        size if size >= 1e9 => (1e9, "G"),
        size if size >= 1e6 => (1e6, "M"),
        size if size >= 1e4 => (1e3, "k"),
        _ => (1.0, ""),
    };
    let digits = (value / divisor * 1e9).round() / 1e9;
    format!("{}{unit}", shown(digits))
}

/// Returns the position of a value on its axis.
pub(super) fn place(scale: Scale, value: f64) -> f64 {
    match scale {
        Scale::Log { floor } => value.max(floor).log10(),
        _ => value,
    }
}

/// Returns about five round numbers.
fn linear_ticks(low: f64, high: f64) -> Vec<f64> {
    let rough = (high - low) / 5.0;
    let decade = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0]
        .map(|step| step * decade)
        .into_iter()
        .find(|step| *step >= rough * 0.999)
        .unwrap_or(10.0 * decade);
    let first = (low / step).ceil();
    let ticks = (0..12).map(|n| (first + f64::from(n)) * step);
    ticks.take_while(|tick| *tick <= high + step * 1e-9).collect()
}

/// Returns decades, with steps such as 2 and 5 in between if there are few.
fn log_ticks(low: f64, high: f64) -> Vec<f64> {
    let within: &[f64] = match high - low {
        span if span < 1.3 => &[1.0, 2.0, 3.0, 5.0, 7.0],
        span if span < 2.3 => &[1.0, 2.0, 5.0],
        span if span < 4.0 => &[1.0, 3.0],
        _ => &[1.0],
    };
    // The logarithm of an f64 is below 400.
    let (first, last) = (low.floor() as i32, high.ceil() as i32);
    let ticks = (first..=last)
        .flat_map(|decade| within.iter().map(move |step| f64::from(decade) + step.log10()));
    ticks.filter(|tick| (low..=high).contains(tick)).collect()
}

impl Ranged for Coordinate {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let share = (value - self.range.start) / (self.range.end - self.range.start);
        let offset = (share * f64::from(limit.1 - limit.0)).round() as i32;
        limit.0 + offset
    }

    fn key_points<Hint: KeyPointHint>(&self, _hint: Hint) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

impl ValueFormatter<f64> for Coordinate {
    fn format_ext(&self, value: &f64) -> String {
        self.label(*value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within_the_axis() {
        assert_eq!(linear_ticks(0.0, 1.0), [0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]);
        let axis = Coordinate::around(Scale::Log { floor: 0.1 }, [0.0, 700.0].into_iter());
        let labels: Vec<String> = axis.ticks.iter().map(|tick| axis.label(*tick)).collect();
        assert_eq!(labels.first().map(String::as_str), Some("0.1"));
        assert!(labels.contains(&"100".to_owned()), "{labels:?}");
        let share = Coordinate::around(Scale::Share, [0.5].into_iter());
        assert_eq!(share.label(share.ticks[1]), "20%");
        let bytes = Coordinate::around(Scale::Linear, [120_000.0].into_iter());
        assert_eq!(bytes.label(bytes.ticks[1]), "50k");
    }

    #[test]
    fn nothing_to_show_still_has_an_axis() {
        for scale in [Scale::Linear, Scale::Share, Scale::Log { floor: 1.0 }] {
            let axis = Coordinate::around(scale, std::iter::empty());
            assert!(axis.range.start < axis.range.end && axis.ticks.len() > 1, "{axis:?}");
        }
    }
}
