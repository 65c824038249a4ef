//! Colours, marks, dashes and text for charts.
//!
//! The colours are those of Okabe and Ito (2008), which people with any kind of colour vision can distinguish; marks
//! and dashes distinguish series without colour. The colours also serve as names: a page gives each its own value in a
//! dark scheme ([`CSS`]).

use std::io;

use plotters::{
    chart::{ChartBuilder, ChartContext},
    coord::Shift,
    drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea as _},
    element::{DashedPathElement, EmptyElement, PathElement, Polygon, Text},
    prelude::{Cartesian2d, SVGBackend},
    style::{
        Color as _, IntoFont as _, RGBColor, ShapeStyle, TextStyle,
        text_anchor::{HPos, Pos, VPos},
    },
};

use super::axis::Coordinate;

/// Pictures are drawn larger than they are shown by this factor, because plotters places everything at whole pixels.
pub(super) const SCALE: u32 = 3;

pub(super) type Drawn = Result<String, io::Error>;
pub(super) type Fault = DrawingAreaErrorKind<io::Error>;
pub(super) type Root<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub(super) type Plot<'a, 'b> =
    ChartContext<'a, SVGBackend<'b>, Cartesian2d<Coordinate, Coordinate>>;

pub(super) const INK: RGBColor = RGBColor(0x11, 0x11, 0x11);
pub(super) const MUTED: RGBColor = RGBColor(0x66, 0x66, 0x66);
pub(super) const GRID: RGBColor = RGBColor(0xe0, 0xe0, 0xe0);

const SERIES: [RGBColor; 7] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0x77, 0x77, 0x77),
];

/// Parts of a bar: three blues, three oranges, two greens, a purple, a grey, each group from light to dark.
const PARTS: [RGBColor; 10] = [
    RGBColor(0x9e, 0xca, 0xe1),
    RGBColor(0x42, 0x92, 0xc6),
    RGBColor(0x08, 0x51, 0x9c),
    RGBColor(0xfd, 0xbe, 0x85),
    RGBColor(0xfd, 0x8d, 0x3c),
    RGBColor(0xa6, 0x36, 0x03),
    RGBColor(0xa1, 0xd9, 0x9b),
    RGBColor(0x23, 0x8b, 0x45),
    RGBColor(0x75, 0x6b, 0xb1),
    RGBColor(0x96, 0x96, 0x96),
];

/// The colours that a page uses instead in a dark scheme.
pub(crate) const CSS: &str = "\
svg [fill=\"#111111\"]{fill:#e8e8e8}svg [stroke=\"#111111\"]{stroke:#e8e8e8}
svg [fill=\"#666666\"]{fill:#a8a8a8}svg [stroke=\"#666666\"]{stroke:#a8a8a8}
svg [stroke=\"#E0E0E0\"]{stroke:#3a3a3a}
svg [fill=\"#0072B2\"]{fill:#4ea8e6}svg [stroke=\"#0072B2\"]{stroke:#4ea8e6}
svg [fill=\"#D55E00\"]{fill:#ff8a3d}svg [stroke=\"#D55E00\"]{stroke:#ff8a3d}
svg [fill=\"#009E73\"]{fill:#2fc79a}svg [stroke=\"#009E73\"]{stroke:#2fc79a}
svg [fill=\"#CC79A7\"]{fill:#e6a3c8}svg [stroke=\"#CC79A7\"]{stroke:#e6a3c8}
svg [fill=\"#777777\"]{fill:#b0b0b0}svg [stroke=\"#777777\"]{stroke:#b0b0b0}
svg [fill=\"#08519C\"]{fill:#2a6fc0}svg [fill=\"#A63603\"]{fill:#c9571f}
";

/// Lengths of dashes and gaps, in pixels; `None`: a solid line.
pub(super) const DASHES: [Option<(u32, u32)>; 6] =
    [None, Some((7, 3)), Some((2, 3)), Some((12, 4)), Some((5, 5)), Some((1, 5))];

pub(super) fn colour(series: usize) -> RGBColor {
    SERIES[series % SERIES.len()]
}

pub(super) fn part(series: usize) -> RGBColor {
    PARTS[series % PARTS.len()]
}

pub(super) fn stroke(colour: RGBColor, tenths: u32) -> ShapeStyle {
    colour.stroke_width((tenths * SCALE).div_ceil(10))
}

/// Returns a text style with a size in pixels.
pub(super) fn text(size: u32, colour: RGBColor, at: (HPos, VPos)) -> TextStyle<'static> {
    // plotters multiplies a font's size by 1.24 relative to SVG.
    let size = f64::from(size * SCALE) * 1.24;
    let style: TextStyle<'static> = ("sans-serif", size).into_font().color(&colour);
    style.pos(Pos::new(at.0, at.1))
}

/// Cuts text to a width in pixels.
pub(super) fn fitting(text: &str, width: u32, size: u32) -> String {
    // A letter of a sans-serif font is about 0.55 of its size wide.
    let most = (width * 100 / (size * 55)) as usize;
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some(_) => text.chars().take(most.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// Draws pictures.
pub(super) struct Pen;

impl Pen {
    /// Draws a picture of a size in pixels. Returns its elements without the enclosing element.
    pub(super) fn picture(
        (width, height): (u32, u32),
        draw: impl FnOnce(&Root<'_>) -> Result<(), Fault>,
    ) -> Drawn {
        let mut svg = String::new();
        {
            let size = (width * SCALE, height * SCALE);
            let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
            draw(&root).and_then(|()| root.present()).map_err(io::Error::other)?;
        }
        let begin = svg.find('>').map_or(0, |at| at + 1);
        let end = svg.rfind("</svg>").unwrap_or(svg.len());
        Ok(svg[begin..end].trim_start().to_owned())
    }

    /// Draws axes with their ticks and grid, and a title above them.
    pub(super) fn plot<'a, 'b>(
        root: &'a Root<'b>,
        title: &str,
        (x, x_label): (Coordinate, &str),
        (y, y_label): (Coordinate, &str),
    ) -> Result<Plot<'a, 'b>, Fault> {
        let px = |pixels: u32| pixels * SCALE;
        let rows = y_label.is_empty();
        let mut builder = ChartBuilder::on(root);
        builder.margin_right(px(16)).margin_top(px(32)).margin_left(px(if rows { 14 } else { 22 }));
        builder.margin_bottom(px(20)).x_label_area_size(px(22));
        if !rows {
            builder.y_label_area_size(px(42));
        }
        let mut plot = builder.build_cartesian_2d(x, y)?;
        let mut mesh = plot.configure_mesh();
        mesh.bold_line_style(stroke(GRID, 8)).light_line_style(stroke(GRID, 8)).max_light_lines(1);
        mesh.axis_style(stroke(MUTED, 10)).set_all_tick_mark_size(px(3));
        mesh.label_style(text(12, INK, (HPos::Center, VPos::Center)));
        mesh.draw()?;
        let (width, height) = root.dim_in_pixel();
        let at = |x: u32, y: u32| (i32::try_from(x).unwrap_or(0), i32::try_from(y).unwrap_or(0));
        let shown = fitting(title, WIDTH_OF_TITLE, 14);
        root.draw(&Text::new(
            shown,
            at(px(12), px(14)),
            text(14, INK, (HPos::Left, VPos::Center)),
        ))?;
        let style = text(12, MUTED, (HPos::Center, VPos::Center));
        root.draw(&Text::new(x_label, at(width / 2, height - px(10)), style.clone()))?;
        if !rows {
            let turned = style.transform(plotters::style::FontTransform::Rotate270);
            root.draw(&Text::new(y_label, at(px(11), height / 2), turned))?;
        }
        Ok(plot)
    }
}

const WIDTH_OF_TITLE: u32 = 330;

/// Draws a series' mark at a position.
pub(super) fn mark(plot: &mut Plot<'_, '_>, at: (f64, f64), series: usize) -> Result<(), Fault> {
    let polygon = EmptyElement::at(at) + Polygon::new(outline(series), colour(series).filled());
    plot.draw_series(std::iter::once(polygon)).map(drop)
}

/// Draws a line in a series' colour and dashes.
pub(super) fn line(
    plot: &mut Plot<'_, '_>,
    points: Vec<(f64, f64)>,
    style: ShapeStyle,
    series: usize,
) -> Result<(), Fault> {
    match DASHES[series % DASHES.len()] {
        None => plot.draw_series(std::iter::once(PathElement::new(points, style))).map(drop),
        Some((dash, gap)) => {
            let dashed = DashedPathElement::new(points, dash * SCALE, gap * SCALE, style);
            plot.draw_series(std::iter::once(dashed)).map(drop)
        }
    }
}

/// Returns the shape of a series' mark: circle, square, triangle, diamond, inverted triangle, cross.
pub(super) fn outline(series: usize) -> Vec<(i32, i32)> {
    let unit: Vec<(f64, f64)> = match series % 6 {
        0 => (0..20).map(|n| (f64::from(n) * std::f64::consts::TAU / 20.0).sin_cos()).collect(),
        1 => vec![(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
        2 => vec![(0.0, -1.2), (1.1, 0.9), (-1.1, 0.9)],
        3 => vec![(0.0, -1.3), (1.3, 0.0), (0.0, 1.3), (-1.3, 0.0)],
        4 => vec![(0.0, 1.2), (1.1, -0.9), (-1.1, -0.9)],
        _ => {
            let arm = [(-0.4, -1.2), (0.4, -1.2), (0.4, -0.4), (1.2, -0.4), (1.2, 0.4), (0.4, 0.4)];
            arm.into_iter().chain(arm.map(|(x, y): (f64, f64)| (-x, -y))).collect()
        }
    };
    let radius = 4.0 * f64::from(SCALE);
    let pixel = |value: f64| (value * radius).round() as i32;
    unit.into_iter().map(|(x, y)| (pixel(x), pixel(y))).collect()
}
