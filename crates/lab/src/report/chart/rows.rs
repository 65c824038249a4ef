//! Panels with a row for each value of a column: points with intervals, or bars of parts. Names are above their rows,
//! so that long ones have room.

use plotters::{
    element::{EmptyElement, Rectangle, Text},
    style::{
        Color as _,
        text_anchor::{HPos, VPos},
    },
};

use super::{
    Axis, Chart,
    axis::{Coordinate, place},
    pen::{self, Drawn, Fault, Pen, Plot},
    points::{ends, extent},
};
use crate::report::table::Row;

/// Heights in pixels: of a row's name, of each point below it, of a bar, and of everything around the rows.
const NAME: usize = 18;
const POINT: usize = 11;
const BAR: usize = 14;
const AROUND: usize = 76;
/// Pixels below the last point of a row.
const GAP: usize = 5;

pub(super) fn points(
    chart: &Chart,
    (category, x): (&'static str, &Axis),
    lines: &[f64],
    (title, rows): (&str, &[Row<'_>]),
) -> (u32, Drawn) {
    let names = names(category, rows);
    let shown: Vec<&String> = chart
        .order
        .iter()
        .filter(|series| rows.iter().any(|row| row.text(chart.series) == **series))
        .collect();
    let each = NAME + POINT * shown.len().max(1) + GAP;
    let height = u32::try_from(AROUND + each * names.len().max(1)).unwrap_or(u32::MAX);
    let drawn = Pen::picture((super::WIDTH, height), |root| {
        let across = Coordinate::around(x.scale, extent(x, rows).chain(lines.iter().copied()));
        let mut plot = plot(root, (title, &names), (across, x))?;
        for value in lines {
            let at = place(x.scale, *value);
            let ends = vec![(at, 0.0), (at, names.len() as f64)];
            pen::line(&mut plot, ends, pen::stroke(pen::MUTED, 12), 1)?;
        }
        for row in rows {
            let Some(value) = row.number(x.column) else { continue };
            let name = names.iter().position(|name| *name == row.text(category)).unwrap_or(0);
            let place_of = shown.iter().position(|series| *series == row.text(chart.series));
            let down = NAME + POINT * place_of.unwrap_or(0) + POINT / 2;
            let down = name as f64 + down as f64 / each as f64;
            let series = chart.index(row.text(chart.series));
            if let Some([low, high]) = ends(x, *row) {
                let style = pen::stroke(pen::colour(series), 14);
                pen::line(&mut plot, vec![(low, down), (high, down)], style, 0)?;
            }
            pen::mark(&mut plot, (place(x.scale, value), down), series)?;
        }
        Ok(())
    });
    (height, drawn)
}

pub(super) fn bars(
    chart: &Chart,
    (category, x): (&'static str, &Axis),
    (title, rows): (&str, &[Row<'_>]),
) -> (u32, Drawn) {
    let names = names(category, rows);
    let each = NAME + BAR + GAP;
    let height = AROUND + each * names.len().max(1);
    let height = u32::try_from(height).unwrap_or(u32::MAX);
    let drawn = Pen::picture((super::WIDTH, height), |root| {
        let of = |name: &str| -> Vec<(usize, f64)> {
            let mine = rows.iter().filter(|row| row.text(category) == name);
            let parts = mine.filter_map(|row| {
                Some((chart.index(row.text(chart.series)), row.number(x.column)?))
            });
            parts.collect()
        };
        let totals = names.iter().map(|name| of(name).iter().map(|(_, value)| value).sum());
        let across = Coordinate::around(x.scale, totals);
        let mut plot = plot(root, (title, &names), (across, x))?;
        for (down, name) in (0..).map(f64::from).zip(&names) {
            let mut begin = 0.0;
            let at = |pixels: usize| down + pixels as f64 / each as f64;
            let (top, bottom) = (at(NAME), at(NAME + BAR));
            for (series, value) in of(name) {
                let corners = [(begin, top), (begin + value, bottom)];
                let bar = Rectangle::new(corners, pen::part(series).filled());
                plot.draw_series(std::iter::once(bar))?;
                begin += value;
            }
        }
        Ok(())
    });
    (height, drawn)
}

fn names<'a>(category: &str, rows: &[Row<'a>]) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for row in rows {
        let name = row.text(category);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Draws the axis and every row's name.
fn plot<'a, 'b>(
    root: &'a pen::Root<'b>,
    (title, names): (&str, &[&str]),
    (across, x): (Coordinate, &Axis),
) -> Result<Plot<'a, 'b>, Fault> {
    let (start, end) = across.ends();
    let down = Coordinate::rows(names.len().max(1));
    let mut plot = Pen::plot(root, title, (across, &x.label), (down, ""))?;
    let style = pen::text(12, pen::INK, (HPos::Left, VPos::Top));
    let inset = (2 * pen::SCALE).cast_signed();
    for (row, name) in (0..).map(f64::from).zip(names) {
        pen::line(&mut plot, vec![(start, row), (end, row)], pen::stroke(pen::GRID, 10), 0)?;
        let shown = pen::fitting(name, 320, 12);
        let label =
            EmptyElement::at((start, row)) + Text::new(shown, (inset, 2 * inset), style.clone());
        plot.draw_series(std::iter::once(label))?;
    }
    Ok(plot)
}
