//! A chart with one row per metric: an estimate, its interval, and the single values behind it.

use super::{super::html::Escaped, Scale};
use crate::text::push;

const ROW_HEIGHT: f64 = 50.0;
const AXIS_HEIGHT: f64 = 40.0;
const SIDE: f64 = 14.0;
const WIDE_WIDTH: f64 = 560.0;
const NARROW_WIDTH: f64 = 340.0;
/// Estimated width of a character of the texts above a row.
const BOLD_CHARACTER_WIDTH: f64 = 7.3;

/// Rows over one horizontal axis.
pub(in crate::report) struct RowChart {
    /// What it shows, for those who cannot see it.
    pub(in crate::report) label: String,
    /// Title of the horizontal axis, with its unit.
    pub(in crate::report) x_title: &'static str,
    pub(in crate::report) x: Scale,
    /// Where nothing changed: a vertical line over all rows.
    pub(in crate::report) origin: Option<f64>,
    pub(in crate::report) rows: Vec<Row>,
}

/// One row.
pub(in crate::report) struct Row {
    /// Stands above the row on the left.
    pub(in crate::report) name: String,
    /// Stands above the row on the right.
    pub(in crate::report) figure: String,
    /// Class of the estimate and its interval.
    pub(in crate::report) class: &'static str,
    pub(in crate::report) estimate: f64,
    pub(in crate::report) interval: Option<(f64, f64)>,
    /// The single values behind the estimate.
    pub(in crate::report) values: Vec<f64>,
    /// The part of the axis that counts as too much.
    pub(in crate::report) forbidden: Option<(f64, f64)>,
}

impl RowChart {
    /// Both drawings.
    pub(in crate::report) fn to_svg(&self) -> String {
        let mut svg = String::new();
        self.draw(&mut svg, "wide", WIDE_WIDTH);
        self.draw(&mut svg, "narrow", NARROW_WIDTH);
        svg
    }

    fn draw(&self, svg: &mut String, class: &str, width: f64) {
        let bottom = self.rows.len() as f64 * ROW_HEIGHT + 4.0;
        let height = bottom + AXIS_HEIGHT;
        let at = |value: f64| SIDE + self.x.position(value) * (width - 2.0 * SIDE);
        let label = Escaped(&self.label);
        push!(
            *svg,
            "<svg class=\"{class}\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{label}\">"
        );
        for (value, label) in self.x.ticks(if width > 400.0 { 7 } else { 4 }) {
            let (x, text) = (at(value), bottom + 15.0);
            push!(*svg, "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"0\" y2=\"{bottom:.1}\"/>");
            push!(*svg, "<text class=\"tick mid\" x=\"{x:.1}\" y=\"{text:.1}\">{}</text>", Escaped(label));
        }
        if let Some(origin) = self.origin {
            let x = at(origin);
            push!(*svg, "<line class=\"axis\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"0\" y2=\"{bottom:.1}\"/>");
        }
        for (index, row) in self.rows.iter().enumerate() {
            draw_row(svg, row, index as f64 * ROW_HEIGHT, width, &at);
        }
        let (middle, y) = (width / 2.0, height - 6.0);
        push!(
            *svg,
            "<text class=\"title mid\" x=\"{middle:.1}\" y=\"{y:.1}\">{}</text></svg>",
            Escaped(self.x_title)
        );
    }
}

/// A name that fits: whole, or without what stands before the last `/`, or cut.
fn shortened(name: &str, width: f64) -> String {
    let room = (width / BOLD_CHARACTER_WIDTH).max(4.0) as usize;
    let plain = name.rsplit('/').next().unwrap_or(name);
    match () {
        () if name.chars().count() <= room => name.to_owned(),
        () if plain.chars().count() <= room => plain.to_owned(),
        () => plain.chars().take(room - 1).chain(['…']).collect(),
    }
}

fn draw_row(svg: &mut String, row: &Row, top: f64, width: f64, at: &impl Fn(f64) -> f64) {
    let (text, y, class) = (top + 15.0, top + 34.0, row.class);
    if let Some((from, to)) = row.forbidden {
        let (x, y, width) = (at(from), top + 22.0, at(to) - at(from));
        push!(
            *svg,
            "<rect class=\"fill forbidden\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"24\"/>"
        );
    }
    // The texts cover the grid behind them.
    let name = shortened(&row.name, width - row.figure.chars().count() as f64 * BOLD_CHARACTER_WIDTH - 14.0);
    let (name, figure, end) = (Escaped(name), Escaped(&row.figure), width - 2.0);
    push!(*svg, "<text class=\"name halo\" x=\"2\" y=\"{text:.1}\">{name}</text>");
    push!(*svg, "<text class=\"name halo end {class}\" x=\"{end:.1}\" y=\"{text:.1}\">{figure}</text>");
    for (index, value) in row.values.iter().enumerate() {
        // Spread over three heights, so that equal values remain visible.
        let (x, y) = (at(*value), y + (index % 3) as f64 * 4.0 - 4.0);
        push!(*svg, "<circle class=\"faint {class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.5\"/>");
    }
    if let Some((low, high)) = row.interval {
        let (low, high) = (at(low), at(high));
        push!(
            *svg,
            "<line class=\"interval {class}\" x1=\"{low:.1}\" x2=\"{high:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>"
        );
    }
    let x = at(row.estimate);
    push!(*svg, "<circle class=\"dot {class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5\"/>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_leaves_room_for_the_figure_beside_it() {
        assert_eq!(shortened("ab/wall_s", 200.0), "ab/wall_s");
        assert_eq!(shortened("analyze/chrome_pss_max_mib", 150.0), "chrome_pss_max_mib");
        assert_eq!(shortened("analyze/chrome_pss_max_mib", 80.0), "chrome_ps…");
    }
}
