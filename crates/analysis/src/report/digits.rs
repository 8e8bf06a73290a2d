//! Numerals as strokes: enough of a font for badges, smooth at any size.

use std::f32::consts::PI;

/// Width of a numeral for a height of 1.
const WIDTH: f32 = 0.62;
/// Space between two numerals for a height of 1.
const GAP: f32 = 0.22;
/// Straight pieces that a full turn is drawn with.
const PIECES_PER_TURN: f32 = 28.0;

/// A piece of a numeral in a cell of [`WIDTH`] x 1, from its top left corner.
enum Stroke {
    /// From one point to another.
    Line(f32, f32, f32, f32),
    /// Part of an ellipse: centre, radii, first and last angle in degrees, clockwise from the right.
    Arc(f32, f32, f32, f32, f32, f32),
}
use Stroke::{Arc, Line};

fn strokes(digit: u8) -> &'static [Stroke] {
    match digit {
        0 => &[Arc(0.31, 0.5, 0.27, 0.47, 0.0, 360.0)],
        1 => &[Line(0.14, 0.22, 0.36, 0.04), Line(0.36, 0.04, 0.36, 0.96)],
        2 => &[
            Arc(0.31, 0.30, 0.26, 0.27, 190.0, 395.0),
            Line(0.523, 0.455, 0.05, 0.96),
            Line(0.05, 0.96, 0.58, 0.96),
        ],
        3 => &[Arc(0.29, 0.27, 0.24, 0.23, 200.0, 450.0), Arc(0.29, 0.73, 0.27, 0.23, 270.0, 520.0)],
        4 => &[Line(0.44, 0.04, 0.03, 0.70), Line(0.03, 0.70, 0.61, 0.70), Line(0.44, 0.04, 0.44, 0.96)],
        5 => &[
            Line(0.54, 0.04, 0.13, 0.04),
            Line(0.13, 0.04, 0.099, 0.448),
            Arc(0.29, 0.66, 0.27, 0.30, 225.0, 510.0),
        ],
        6 => &[Arc(0.31, 0.67, 0.26, 0.29, 0.0, 360.0), Arc(0.57, 0.67, 0.52, 0.63, 180.0, 262.0)],
        7 => &[Line(0.04, 0.04, 0.58, 0.04), Line(0.58, 0.04, 0.22, 0.96)],
        8 => &[Arc(0.31, 0.27, 0.22, 0.23, 0.0, 360.0), Arc(0.31, 0.73, 0.26, 0.23, 0.0, 360.0)],
        _ => &[Arc(0.31, 0.33, 0.26, 0.29, 0.0, 360.0), Arc(0.05, 0.33, 0.52, 0.63, 0.0, 82.0)],
    }
}

/// A number laid out around the origin.
pub(super) struct Layout {
    /// Width of the whole number.
    pub(super) width: f32,
    segments: Vec<[f32; 4]>,
}

/// Lays out a number with numerals of this height, centred on the origin.
pub(super) fn layout(number: u32, height: f32) -> Layout {
    let text = number.to_string();
    let count = text.len() as f32;
    let width = (count * WIDTH + (count - 1.0) * GAP) * height;
    let mut segments = Vec::new();
    let mut left = -width / 2.0;
    for digit in text.bytes() {
        let place = |x: f32, y: f32| (left + x * height, (y - 0.5) * height);
        for stroke in strokes(digit - b'0') {
            match *stroke {
                Line(x0, y0, x1, y1) => {
                    let ((x0, y0), (x1, y1)) = (place(x0, y0), place(x1, y1));
                    segments.push([x0, y0, x1, y1]);
                }
                Arc(x, y, radius_x, radius_y, first, last) => {
                    let pieces = ((last - first) / 360.0 * PIECES_PER_TURN).ceil() as u16;
                    let point = |step: u16| {
                        let degrees = first + (last - first) * f32::from(step) / f32::from(pieces);
                        let (sin, cos) = (degrees / 180.0 * PI).sin_cos();
                        place(x + radius_x * cos, y + radius_y * sin)
                    };
                    for step in 0..pieces {
                        let ((x0, y0), (x1, y1)) = (point(step), point(step + 1));
                        segments.push([x0, y0, x1, y1]);
                    }
                }
            }
        }
        left += (WIDTH + GAP) * height;
    }
    Layout { width, segments }
}

impl Layout {
    /// Distance from a point to the nearest stroke.
    pub(super) fn distance(&self, x: f32, y: f32) -> f32 {
        let mut nearest = f32::INFINITY;
        for [x0, y0, x1, y1] in &self.segments {
            let (dx, dy) = (x1 - x0, y1 - y0);
            let length = (dx * dx + dy * dy).max(f32::EPSILON);
            let along = (((x - x0) * dx + (y - y0) * dy) / length).clamp(0.0, 1.0);
            nearest = nearest.min((x - x0 - along * dx).hypot(y - y0 - along * dy));
        }
        nearest
    }
}
