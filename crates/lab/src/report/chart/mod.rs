//! Charts as SVG text, drawn by hand so that the report needs no script and no other file.
//!
//! A [`Chart`] is drawn twice, wide and narrow, and the page shows the one that fits: text keeps its size on a phone.
//! Colours are classes (`s1`, `s2`, …), so light, dark and print are the style sheet's affair.

mod rows;
mod scale;

pub(super) use self::{
    rows::{Row, RowChart},
    scale::{Scale, latency_label},
};
use super::html::Escaped;
use crate::text::push;

/// Width and height of the two drawings, in CSS pixels.
const WIDE: (f64, f64) = (560.0, 290.0);
const NARROW: (f64, f64) = (340.0, 260.0);
/// Points per line; more are thinned out to the largest of each group.
const POINTS_MAX: usize = 400;
/// Estimated width of a character of the axis labels.
const CHARACTER_WIDTH: f64 = 6.7;

/// A chart with two axes.
pub(super) struct Chart {
    /// What it shows, for those who cannot see it.
    pub(super) label: String,
    /// Title of the horizontal axis, with its unit.
    pub(super) x_title: &'static str,
    /// Title of the vertical axis, with its unit.
    pub(super) y_title: String,
    pub(super) x: Scale,
    pub(super) y: Scale,
    pub(super) layers: Vec<Layer>,
}

/// Something drawn on a chart, in the order given.
pub(super) enum Layer {
    /// A line through points.
    Line { class: &'static str, points: Vec<(f64, f64)> },
    /// The area between a line and the bottom.
    Area { class: &'static str, points: Vec<(f64, f64)> },
    /// Columns of this width in units of x.
    Columns { class: &'static str, width: f64, points: Vec<(f64, f64)> },
    /// A dot per point.
    Dots { class: &'static str, points: Vec<(f64, f64)> },
    /// A horizontal line over the whole width.
    Rule { class: &'static str, y: f64 },
    /// A vertical stripe over the whole height.
    Stripe { class: &'static str, from: f64, to: f64 },
    /// A horizontal stripe over the whole width.
    Band { class: &'static str, from: f64, to: f64 },
}

/// The inner rectangle of a drawing.
struct Frame {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
}

impl Chart {
    /// Both drawings.
    pub(super) fn to_svg(&self) -> String {
        let mut svg = String::new();
        self.draw(&mut svg, "wide", WIDE);
        self.draw(&mut svg, "narrow", NARROW);
        svg
    }

    fn draw(&self, svg: &mut String, class: &str, (width, height): (f64, f64)) {
        let y_ticks = self.y.ticks(6);
        let label_width = y_ticks.iter().map(|(_, label)| label.chars().count()).max().unwrap_or(1);
        let frame = Frame {
            left: (label_width as f64 * CHARACTER_WIDTH + 14.0).max(30.0),
            right: width - 12.0,
            top: 30.0,
            bottom: height - 44.0,
        };
        let label = Escaped(&self.label);
        push!(
            *svg,
            "<svg class=\"{class}\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{label}\">"
        );
        push!(*svg, "<text class=\"title\" x=\"2\" y=\"14\">{}</text>", Escaped(&self.y_title));
        self.draw_axes(svg, &frame, &y_ticks, height);
        for layer in &self.layers {
            self.draw_layer(svg, &frame, layer);
        }
        svg.push_str("</svg>");
    }

    fn draw_axes(&self, svg: &mut String, frame: &Frame, y_ticks: &[(f64, String)], height: f64) {
        for (value, label) in y_ticks {
            let y = self.y_at(frame, *value);
            let (left, right, at) = (frame.left, frame.right, y + 4.0);
            push!(
                *svg,
                "<line class=\"grid\" x1=\"{left:.1}\" x2=\"{right:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>"
            );
            let x = left - 6.0;
            push!(*svg, "<text class=\"tick end\" x=\"{x:.1}\" y=\"{at:.1}\">{}</text>", Escaped(label));
        }
        for (value, label, anchor) in self.x_ticks(frame) {
            let x = self.x_at(frame, value);
            let (bottom, end, at) = (frame.bottom, frame.bottom + 4.0, frame.bottom + 17.0);
            push!(
                *svg,
                "<line class=\"axis\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{bottom:.1}\" y2=\"{end:.1}\"/>"
            );
            push!(*svg, "<text class=\"tick {anchor}\" x=\"{x:.1}\" y=\"{at:.1}\">{}</text>", Escaped(label));
        }
        let (left, right, bottom) = (frame.left, frame.right, frame.bottom);
        push!(
            *svg,
            "<line class=\"axis\" x1=\"{left:.1}\" x2=\"{right:.1}\" y1=\"{bottom:.1}\" y2=\"{bottom:.1}\"/>"
        );
        let (middle, at) = (f64::midpoint(left, right), height - 8.0);
        push!(
            *svg,
            "<text class=\"title mid\" x=\"{middle:.1}\" y=\"{at:.1}\">{}</text>",
            Escaped(self.x_title)
        );
    }

    /// As many ticks as fit beside each other; the outermost labels stay inside the drawing.
    fn x_ticks(&self, frame: &Frame) -> Vec<(f64, String, &'static str)> {
        const GAP: f64 = 10.0;
        let width = frame.right - frame.left;
        let label_width = |label: &str| label.chars().count() as f64 * CHARACTER_WIDTH;
        let fits = |ticks: &[(f64, String)]| {
            let widest = ticks.iter().map(|(_, label)| label_width(label)).fold(0.0, f64::max);
            ticks.len() as f64 * (widest + GAP) <= width
        };
        let mut candidates = (2..=8).rev().map(|wanted| self.x.ticks(wanted));
        let ticks = candidates.find(|ticks| fits(ticks)).unwrap_or_else(|| self.x.ticks(2));
        let mut taken = f64::NEG_INFINITY;
        let mut placed = Vec::with_capacity(ticks.len());
        for (value, label) in ticks {
            let (x, width) = (self.x_at(frame, value), label_width(&label));
            let is_last = x + width / 2.0 > frame.right + 10.0;
            let (start, anchor) = if is_last { (x - width, "end") } else { (x - width / 2.0, "mid") };
            // What would touch its neighbour is left out: uneven axes have crowded ends.
            if start >= taken {
                taken = start + width + GAP;
                placed.push((value, label, anchor));
            }
        }
        placed
    }

    fn draw_layer(&self, svg: &mut String, frame: &Frame, layer: &Layer) {
        match layer {
            Layer::Line { class, points } => {
                push!(*svg, "<path class=\"line {class}\" d=\"{}\"/>", self.path(frame, points));
            }
            Layer::Area { class, points } => {
                if let (Some(first), Some(last)) = (points.first(), points.last()) {
                    let (from, to) = (self.x_at(frame, first.0), self.x_at(frame, last.0));
                    let (path, bottom) = (self.path(frame, points), frame.bottom);
                    push!(
                        *svg,
                        "<path class=\"area {class}\" d=\"{path}L{to:.1} {bottom:.1}L{from:.1} {bottom:.1}Z\"/>"
                    );
                }
            }
            Layer::Columns { class, width, points } => {
                for (x, y) in thinned(points) {
                    let (from, to) = (self.x_at(frame, x), self.x_at(frame, x + width));
                    let (top, width) = (self.y_at(frame, y), (to - from - 0.5).max(1.0));
                    let height = (frame.bottom - top).max(0.0);
                    if height > 0.0 {
                        push!(
                            *svg,
                            "<rect class=\"fill {class}\" x=\"{from:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>"
                        );
                    }
                }
            }
            Layer::Dots { class, points } => {
                for (x, y) in points {
                    let (x, y) = (self.x_at(frame, *x), self.y_at(frame, *y));
                    push!(*svg, "<circle class=\"dot {class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>");
                }
            }
            Layer::Rule { class, y } => {
                let (left, right, y) = (frame.left, frame.right, self.y_at(frame, *y));
                push!(
                    *svg,
                    "<line class=\"rule {class}\" x1=\"{left:.1}\" x2=\"{right:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>"
                );
            }
            Layer::Stripe { class, from, to } => {
                let (from, to) = (self.x_at(frame, *from), self.x_at(frame, *to));
                let (width, top, height) = (to - from, frame.top, frame.bottom - frame.top);
                push!(
                    *svg,
                    "<rect class=\"fill {class}\" x=\"{from:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>"
                );
            }
            Layer::Band { class, from, to } => {
                let (bottom, top) = (self.y_at(frame, *from), self.y_at(frame, *to));
                let (left, width, height) = (frame.left, frame.right - frame.left, (bottom - top).max(1.0));
                push!(
                    *svg,
                    "<rect class=\"fill {class}\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>"
                );
            }
        }
    }

    fn path(&self, frame: &Frame, points: &[(f64, f64)]) -> String {
        let mut path = String::new();
        for (index, (x, y)) in thinned(points).into_iter().enumerate() {
            let command = if index == 0 { 'M' } else { 'L' };
            push!(path, "{command}{:.1} {:.1}", self.x_at(frame, x), self.y_at(frame, y));
        }
        path
    }

    fn x_at(&self, frame: &Frame, value: f64) -> f64 {
        frame.left + self.x.position(value) * (frame.right - frame.left)
    }

    fn y_at(&self, frame: &Frame, value: f64) -> f64 {
        frame.bottom - self.y.position(value) * (frame.bottom - frame.top)
    }
}

/// At most [`POINTS_MAX`] points: of each group of neighbours the one with the largest y, because peaks are the news.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let size = points.len().div_ceil(POINTS_MAX).max(1);
    let largest = |group: &[(f64, f64)]| group.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1));
    points.chunks(size).filter_map(largest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_thinned_without_losing_its_peak() {
        let points: Vec<(f64, f64)> =
            (0..10_000).map(|i| (f64::from(i), if i == 7_777 { 99.0 } else { 1.0 })).collect();
        let thinned = thinned(&points);
        assert!(thinned.len() <= POINTS_MAX);
        assert!(thinned.iter().any(|(_, y)| *y > 98.0));
    }

    #[test]
    fn labels_of_the_horizontal_axis_never_need_more_room_than_there_is() {
        for max in [1.0, 59.0, 600.0, 86_400.0] {
            let chart = Chart {
                label: String::new(),
                x_title: "time (s)",
                y_title: String::new(),
                x: Scale::linear(0.0, max),
                y: Scale::linear(0.0, 1.0),
                layers: Vec::new(),
            };
            let frame = Frame { left: 60.0, right: 330.0, top: 0.0, bottom: 100.0 };
            let ticks = chart.x_ticks(&frame);
            let needed: f64 = ticks.iter().map(|(_, label, _)| label.len() as f64 * CHARACTER_WIDTH).sum();
            assert!(needed < 270.0, "{max}: {ticks:?}");
        }
    }
}
