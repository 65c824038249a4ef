//! One figure: a title, how to read it, a table, and a picture of that table. The picture, the CSV file and the HTML
//! table are all made from the same [`Table`].

use std::io;

use super::{
    chart::{self, Chart, Panel},
    table::Table,
};

/// One figure of a report.
#[derive(Debug, Clone)]
pub(crate) struct Figure {
    /// Its files' name, without the extension.
    pub(crate) name: &'static str,
    pub(crate) title: String,
    /// How to read it, and what it does not show.
    pub(crate) reading: &'static str,
    /// Findings in words, and what is missing.
    pub(crate) notes: Vec<String>,
    pub(crate) table: Table,
    pub(crate) chart: Chart,
}

/// A figure with its picture drawn.
#[derive(Debug, Clone)]
pub(crate) struct DrawnFigure {
    pub(crate) figure: Figure,
    pub(crate) panels: Vec<Panel>,
}

impl Figure {
    pub(crate) fn draw(self) -> Result<DrawnFigure, io::Error> {
        let panels = self.chart.panels(&self.table)?;
        Ok(DrawnFigure { figure: self, panels })
    }
}

impl DrawnFigure {
    /// Returns the picture as a file.
    pub(crate) fn svg(&self) -> String {
        chart::file(&self.figure.title, &self.panels)
    }

    /// Returns the numbers as a file.
    pub(crate) fn csv(&self) -> String {
        self.figure.table.csv()
    }
}
