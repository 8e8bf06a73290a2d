//! The first screens of a page, scaled down, with the numbers of its flaws.

use crate::{Rect, Screen};

use super::{
    Marker, ReportedFinding,
    canvas::{Canvas, Edges},
    crop::{Page, visible},
    illustrate::color,
};

/// Width of the picture in pixels.
fn width(screen: Screen) -> f64 {
    match screen {
        Screen::Desktop => 1000.0,
        Screen::Mobile => 400.0,
    }
}

/// Height shown for each pixel of width: about one and a half screens.
fn aspect(screen: Screen) -> f64 {
    match screen {
        Screen::Desktop => 1.0,
        Screen::Mobile => 3.2,
    }
}

/// Size of a number, in pixels of the picture.
fn radius(screen: Screen) -> f32 {
    match screen {
        Screen::Desktop => 18.0,
        Screen::Mobile => 20.0,
    }
}

/// Numbers that are moved aside before they may cover one another.
const SHIFTS_MAX: usize = 24;

/// A drawn overview.
pub(super) struct Drawn {
    pub(super) canvas: Canvas,
    pub(super) markers: Vec<Marker>,
    /// Numbers of the flaws further down.
    pub(super) below: Vec<u32>,
}

/// Draws the overview of one screen's page; `findings` are those of the screen.
pub(super) fn draw(page: &Canvas, size: Page, screen: Screen, findings: &[&ReportedFinding]) -> Drawn {
    let height = size.height.min(size.width * aspect(screen)).max(1.0);
    let density = (width(screen) / size.width).min(size.scale);
    let part =
        Edges { left: 0.0, top: 0.0, right: page.width() as f32, bottom: (height * size.scale) as f32 };
    let mut canvas =
        page.cut(part, (size.width * density).round() as usize, (height * density).round() as usize);
    let (mut boxes, mut below) = (Vec::new(), Vec::new());
    for finding in findings {
        let Some(rect) = finding.finding.rect.and_then(|rect| visible(rect, size)) else { continue };
        if rect.y >= height - 4.0 {
            below.push(finding.number);
        } else {
            boxes.push((finding, rect));
        }
    }
    below.dedup();
    for (finding, rect) in boxes.iter().rev() {
        // A box around everything says nothing.
        if rect.width * rect.height < 0.5 * size.width * height {
            canvas.outline(scaled(*rect, density), color(finding.finding.severity), 2.0);
        }
    }
    let radius = radius(screen);
    let mut centres: Vec<(f32, f32)> = Vec::with_capacity(boxes.len());
    for (_, rect) in &boxes {
        let edges = scaled(*rect, density);
        centres.push(free_place(
            edges.left + radius * 0.3,
            edges.top - radius * 0.6,
            radius,
            canvas.width() as f32,
            &centres,
        ));
    }
    // The most urgent number is drawn last, so that it is on top.
    let mut markers = Vec::with_capacity(boxes.len());
    for ((finding, _), (x, y)) in boxes.iter().zip(centres).rev() {
        let number = finding.number;
        let (x, y) = canvas.badge(number, x, y, radius, color(finding.finding.severity));
        markers.push(Marker { number, x: f64::from(x.round()), y: f64::from(y.round()) });
    }
    markers.reverse();
    Drawn { canvas, markers, below }
}

fn scaled(rect: Rect, density: f64) -> Edges {
    Edges {
        left: (rect.x * density) as f32,
        top: (rect.y * density) as f32,
        right: ((rect.x + rect.width) * density) as f32,
        bottom: ((rect.y + rect.height) * density) as f32,
    }
}

/// A place near (`x`, `y`) where a number does not cover one that is there already: to the right, then a row below.
fn free_place(x: f32, y: f32, radius: f32, width: f32, taken: &[(f32, f32)]) -> (f32, f32) {
    let step = radius * 2.5;
    let margin = radius * 1.2;
    let (left, top) = (x.max(margin).min((width - margin).max(margin)), y.max(margin));
    let (mut x, mut y) = (left, top);
    for _ in 0..SHIFTS_MAX {
        if taken.iter().all(|(tx, ty)| (tx - x).hypot(ty - y) >= radius * 2.1) {
            break;
        }
        x += step;
        if x > width - margin || x > left + 4.5 * step {
            x = left;
            y += step;
        }
    }
    (x, y)
}
