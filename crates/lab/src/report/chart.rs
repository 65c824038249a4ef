//! Pictures of a figure's table, as SVG: the only module that uses plotters.
//!
//! A chart names columns of the table, so that a picture shows exactly what the table says. It is drawn as small panels
//! and a legend, which a page arranges. The figures themselves and the HTML are elsewhere.

mod axis;
mod legend;
mod pen;
mod points;
mod rows;

use std::fmt::Write as _;

use self::pen::{Drawn, Pen};
pub(crate) use self::{
    axis::{Axis, Scale},
    pen::CSS,
    points::{Layer, Mark},
};
use super::{
    markup::escaped,
    table::{Row, Table},
};

/// Panels per row in a file.
const BESIDE: u32 = 3;
/// A panel's width in pixels.
const WIDTH: u32 = 360;

/// A picture of a table.
#[derive(Debug, Clone)]
pub(crate) struct Chart {
    /// The column with a panel for each of its values; `None`: one panel.
    pub(crate) panel: Option<&'static str>,
    /// The column with a colour and a mark for each of its values.
    pub(crate) series: &'static str,
    /// All series of a report, so that each looks the same in every figure.
    pub(crate) order: Vec<String>,
    pub(crate) kind: Kind,
}

/// The contents of a panel.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// Points, lines and steps between two axes.
    Points { x: Axis, y: Axis, layers: Vec<Layer> },
    /// A row for each value of a column, with a point for each series and lines at some values.
    Rows { category: &'static str, x: Axis, lines: &'static [f64] },
    /// A bar for each value of a column, made of the series.
    Bars { category: &'static str, x: Axis },
}

/// A part of a picture that can be shown by itself.
#[derive(Debug, Clone)]
pub(crate) struct Panel {
    /// A text alternative to the picture.
    pub(crate) title: String,
    /// Drawn elements, scaled by [`pen::SCALE`].
    body: String,
    width: u32,
    height: u32,
}

impl Panel {
    /// Returns the panel as an element of a page.
    pub(crate) fn inline(&self, figure: &str) -> String {
        let Panel { title, body, width, height } = self;
        let label = escaped(&format!("{figure}: {title}"));
        let (w, h) = (width * pen::SCALE, height * pen::SCALE);
        format!("<svg viewBox=\"0 0 {w} {h}\" role=\"img\" aria-label=\"{label}\">\n{body}</svg>\n")
    }
}

impl Chart {
    /// Draws the panels, the legend last.
    pub(crate) fn panels(&self, table: &Table) -> Result<Vec<Panel>, std::io::Error> {
        let mut titles: Vec<&str> = match self.panel {
            Some(column) => distinct(table, |row| row.text(column)),
            None => vec![""],
        };
        if table.rows().next().is_none() {
            titles = vec!["nothing to show"];
        }
        let mut panels = Vec::new();
        for title in titles {
            let rows: Vec<Row<'_>> = table
                .rows()
                .filter(|row| self.panel.is_none_or(|column| row.text(column) == title))
                .collect();
            let (height, drawn) = match &self.kind {
                Kind::Points { x, y, layers } => points::draw(self, (x, y), layers, (title, &rows)),
                Kind::Rows { category, x, lines } => {
                    rows::points(self, (category, x), lines, (title, &rows))
                }
                Kind::Bars { category, x } => rows::bars(self, (category, x), (title, &rows)),
            };
            let title = if title.is_empty() { "all" } else { title };
            panels.push(Panel { title: title.to_owned(), body: drawn?, width: WIDTH, height });
        }
        let shown = distinct(table, |row| row.text(self.series));
        let in_order = self.order.iter().filter(|name| shown.contains(&name.as_str()));
        let entries: Vec<(usize, &str)> =
            in_order.map(|name| (self.index(name), name.as_str())).collect();
        if !entries.is_empty() {
            let (height, body) = self.legend(&entries);
            panels.push(Panel { title: "legend".to_owned(), body: body?, width: WIDTH, height });
        }
        Ok(panels)
    }

    /// Returns a series' index among all.
    fn index(&self, series: &str) -> usize {
        self.order.iter().position(|name| name == series).unwrap_or(self.order.len())
    }

    fn legend(&self, entries: &[(usize, &str)]) -> (u32, Drawn) {
        let height = 12 + 20 * u32::try_from(entries.len()).unwrap_or(1);
        (height, Pen::picture((WIDTH, height), |root| legend::draw(root, self, entries)))
    }
}

/// Returns the distinct values of rows, in their order.
fn distinct<'a>(table: &'a Table, value: impl Fn(Row<'a>) -> &'a str) -> Vec<&'a str> {
    let mut values = Vec::new();
    for row in table.rows() {
        let value = value(row);
        if !value.is_empty() && !values.contains(&value) {
            values.push(value);
        }
    }
    values
}

/// Returns all panels as one file with a white background.
pub(crate) fn file(title: &str, panels: &[Panel]) -> String {
    const TOP: u32 = 34;
    let mut placed = String::new();
    let (mut x, mut y, mut tallest, mut widest) = (0, TOP, 0, 0);
    for panel in panels {
        if x == BESIDE * WIDTH {
            (x, y, tallest) = (0, y + tallest, 0);
        }
        let Panel { body, width, height, .. } = panel;
        let (w, h) = (width * pen::SCALE, height * pen::SCALE);
        let _ = writeln!(
            placed,
            "<svg x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {w} {h}\">\n{body}</svg>"
        );
        (x, tallest) = (x + width, tallest.max(*height));
        widest = widest.max(x);
    }
    let (width, height, title) = (widest.max(WIDTH), y + tallest + 8, escaped(title));
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{title}\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"12\" y=\"22\" font-family=\"sans-serif\" font-size=\"14\" font-weight=\"bold\">{title}</text>\n\
         {placed}</svg>\n"
    )
}
