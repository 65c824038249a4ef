//! One figure: a title, how to read it, a table, and a picture of that table. Picture, CSV and table in HTML are all
//! made from the one [`Table`].

use std::io;

use super::{
    chart::{self, Chart, Panel},
    table::Table,
};

/// One figure of a report.
#[derive(Debug, Clone)]
pub(crate) struct Figure {
    /// Its files' name, without what tells their kind.
    pub(crate) name: &'static str,
    pub(crate) title: String,
    /// How to read it, and what it cannot say.
    pub(crate) reading: &'static str,
    /// What it shows in words: findings, and what is missing in it.
    pub(crate) notes: Vec<String>,
    pub(crate) table: Table,
    pub(crate) chart: Chart,
}

/// A figure, drawn.
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
    /// The picture as a file of its own.
    pub(crate) fn svg(&self) -> String {
        chart::file(&self.figure.title, &self.panels)
    }

    /// The numbers as a file of their own.
    pub(crate) fn csv(&self) -> String {
        self.figure.table.csv()
    }
}
