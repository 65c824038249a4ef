//! Panels with two axes: points with their intervals, lines, steps.

use super::{
    Axis, Chart,
    axis::{Coordinate, place},
    pen::{self, Drawn, Fault, Pen, Plot},
};
use crate::report::table::Row;

const HEIGHT: u32 = 290;

/// One kind of mark for some of the rows.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    /// Only rows with this text in this column.
    pub(crate) only: Option<(&'static str, &'static str)>,
    pub(crate) mark: Mark,
    /// A line for each series; otherwise a single grey one for all.
    pub(crate) by_series: bool,
}

/// How rows are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// A mark for each row, with its intervals.
    Point,
    /// A line through the rows, from left to right.
    Line,
    /// A line that keeps its height until the next row.
    Steps,
}

impl Layer {
    pub(crate) fn all(mark: Mark) -> Layer {
        Layer { only: None, mark, by_series: true }
    }

    fn takes(&self, row: Row<'_>) -> bool {
        self.only.is_none_or(|(column, text)| row.text(column) == text)
    }
}

pub(super) fn draw(
    chart: &Chart,
    (x, y): (&Axis, &Axis),
    layers: &[Layer],
    (title, rows): (&str, &[Row<'_>]),
) -> (u32, Drawn) {
    let drawn = Pen::picture((super::WIDTH, HEIGHT), |root| {
        let around = |axis: &Axis| Coordinate::around(axis.scale, extent(axis, rows));
        let axes = ((around(x), x.label.as_str()), (around(y), y.label.as_str()));
        let mut plot = Pen::plot(root, title, axes.0, axes.1)?;
        for layer in layers {
            let rows: Vec<Row<'_>> = rows.iter().copied().filter(|row| layer.takes(*row)).collect();
            match layer.mark {
                Mark::Point => {
                    for row in rows {
                        point(&mut plot, (x, y), row, chart.index(row.text(chart.series)))?;
                    }
                }
                Mark::Line | Mark::Steps => lines(&mut plot, chart, (x, y), (layer, &rows))?,
            }
        }
        Ok(())
    });
    (HEIGHT, drawn)
}

/// Returns all values that an axis must have room for.
pub(super) fn extent<'a>(axis: &'a Axis, rows: &'a [Row<'_>]) -> impl Iterator<Item = f64> + 'a {
    let columns = std::iter::once(axis.column).chain(axis.interval.into_iter().flatten());
    columns.flat_map(|column| rows.iter().filter_map(move |row| row.number(column)))
}

fn at(axis: &Axis, row: Row<'_>) -> Option<f64> {
    row.number(axis.column).map(|value| place(axis.scale, value))
}

/// Returns the ends of a row's interval on an axis.
pub(super) fn ends(axis: &Axis, row: Row<'_>) -> Option<[f64; 2]> {
    let [low, high] = axis.interval?;
    Some([place(axis.scale, row.number(low)?), place(axis.scale, row.number(high)?)])
}

fn point(
    plot: &mut Plot<'_, '_>,
    (x, y): (&Axis, &Axis),
    row: Row<'_>,
    series: usize,
) -> Result<(), Fault> {
    let (Some(across), Some(up)) = (at(x, row), at(y, row)) else { return Ok(()) };
    let style = pen::stroke(pen::colour(series), 13);
    if let Some([low, high]) = ends(x, row) {
        pen::line(plot, vec![(low, up), (high, up)], style, 0)?;
    }
    if let Some([low, high]) = ends(y, row) {
        pen::line(plot, vec![(across, low), (across, high)], style, 0)?;
    }
    pen::mark(plot, (across, up), series)
}

fn lines(
    plot: &mut Plot<'_, '_>,
    chart: &Chart,
    (x, y): (&Axis, &Axis),
    (layer, rows): (&Layer, &[Row<'_>]),
) -> Result<(), Fault> {
    let series = match layer.by_series {
        true => chart.order.iter().map(Some).collect(),
        false => vec![None],
    };
    for name in series {
        let mine = rows.iter().filter(|row| name.is_none_or(|name| row.text(chart.series) == name));
        let mut points: Vec<(f64, f64)> =
            mine.filter_map(|row| Some((at(x, *row)?, at(y, *row)?))).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        if layer.mark == Mark::Steps {
            points = steps(&points);
        }
        if points.len() < 2 {
            continue;
        }
        let (style, index) = match name {
            Some(name) => {
                let index = chart.index(name);
                (pen::stroke(pen::colour(index), 18), index)
            }
            None => (pen::stroke(pen::MUTED, 10), 2),
        };
        pen::line(plot, points, style, index)?;
    }
    Ok(())
}

/// Rises from zero at the first point, and stays level from each point to the next.
fn steps(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let before = std::iter::once(0.0).chain(points.iter().map(|point| point.1));
    let corners = points.iter().zip(before).flat_map(|(point, before)| [(point.0, before), *point]);
    corners.collect()
}
