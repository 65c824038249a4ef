//! The legend of a chart: the colour, mark and dashes of each series.

use plotters::{
    element::{DashedPathElement, PathElement, Polygon, Rectangle, Text},
    style::{
        Color as _,
        text_anchor::{HPos, VPos},
    },
};

use super::{
    Chart, Kind,
    pen::{DASHES, Fault, INK, Root, SCALE, colour, fitting, outline, part, stroke, text},
    points::Mark,
};

/// Draws each series' name next to its mark and line.
pub(super) fn draw(root: &Root<'_>, chart: &Chart, entries: &[(usize, &str)]) -> Result<(), Fault> {
    let px = |pixels: i32| pixels * SCALE.cast_signed();
    let lines = match &chart.kind {
        Kind::Points { layers, .. } => layers.iter().any(|l| l.by_series && l.mark != Mark::Point),
        _ => false,
    };
    let marks = match &chart.kind {
        Kind::Points { layers, .. } => layers.iter().any(|l| l.by_series && l.mark == Mark::Point),
        _ => true,
    };
    for (row, &(series, name)) in (0..).zip(entries) {
        let y = px(15 + 20 * row);
        if let Kind::Bars { .. } = chart.kind {
            let corners = [(px(14), y - px(5)), (px(32), y + px(5))];
            let style = part(series).filled();
            root.draw(&Rectangle::new(corners, style))?;
        } else {
            let ends = vec![(px(12), y), (px(38), y)];
            if lines {
                let style = stroke(colour(series), 18);
                match DASHES[series % DASHES.len()] {
                    None => root.draw(&PathElement::new(ends, style))?,
                    Some((dash, gap)) => {
                        let dashed = DashedPathElement::new(ends, dash * SCALE, gap * SCALE, style);
                        root.draw(&dashed)?;
                    }
                }
            }
            if marks {
                let outline = outline(series).into_iter().map(|(dx, dy)| (px(25) + dx, y + dy));
                root.draw(&Polygon::new(outline.collect::<Vec<_>>(), colour(series).filled()))?;
            }
        }
        let style = text(13, INK, (HPos::Left, VPos::Center));
        root.draw(&Text::new(fitting(name, 300, 13), (px(46), y), style))?;
    }
    Ok(())
}
