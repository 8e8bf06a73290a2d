//! The drawing. A state shows in colour, in a sign and in words: not everybody sees colours.

use std::fmt::Write;

use super::layout::{Layout, Place};
use crate::mission::{MissionView, StepView};

const BOX_WIDTH: f64 = 208.0;
const BOX_HEIGHT: f64 = 64.0;
const GAP_ACROSS: f64 = 64.0;
const GAP_DOWN: f64 = 20.0;
const MARGIN: f64 = 20.0;
const HEAD: f64 = 56.0;
/// Characters that fit into a box.
const NAME_MAX: usize = 24;
const DETAIL_MAX: usize = 32;

const STYLE: &str = "\
text{font:13px system-ui,sans-serif;fill:#1f2328}.n{font-weight:600}.d{font-size:11px;fill:#59636e}.t{font-size:17px;font-weight:600}\
.b{fill:#fff;stroke:#d1d9e0;stroke-width:1}.e{fill:none;stroke:#afb8c1;stroke-width:1.5}.e.on{stroke:#59636e}.e.off{stroke-dasharray:4 4}\
.bg{fill:#f6f8fa}.p{fill:#afb8c1}.r{fill:#0969da}.w{fill:#9a6700}.s{fill:#1a7f37}.f{fill:#cf222e}.k{fill:#d1d9e0}.c{fill:#818b98}.u{fill:#8250df}\
.g{fill:#fff;font-weight:700;text-anchor:middle}a{cursor:pointer}\
@media(prefers-color-scheme:dark){text{fill:#f0f6fc}.d{fill:#9198a1}.b{fill:#151b23;stroke:#3d444d}.bg{fill:#0d1117}.e{stroke:#3d444d}.e.on{stroke:#9198a1}.k{fill:#3d444d}}";

/// Class and sign of a state.
fn mark(state: &str) -> (&'static str, &'static str) {
    match state {
        "running" | "evaluating" | "queued" | "concluding" => ("r", "▸"),
        "waiting" => ("w", "?"),
        "succeeded" => ("s", "✓"),
        "failed" => ("f", "✕"),
        "skipped" => ("k", "↷"),
        "cancelled" | "stopping" => ("c", "–"),
        "compensated" | "compensating" => ("u", "↺"),
        _ => ("p", "·"),
    }
}

fn clipped(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    text.chars().take(max - 1).chain(['…']).collect()
}

/// For text and for attributes. What XML cannot hold is left out.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(' '),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {}
            c => out.push(c),
        }
    }
    out
}

fn left(place: Place) -> f64 {
    MARGIN + place.column as f64 * (BOX_WIDTH + GAP_ACROSS)
}

fn top(place: Place) -> f64 {
    HEAD + MARGIN + place.row * (BOX_HEIGHT + GAP_DOWN)
}

pub(super) fn render(mission: &MissionView, layout: &Layout) -> String {
    let across = layout.columns as f64 * (BOX_WIDTH + GAP_ACROSS) - GAP_ACROSS;
    let down = layout.rows as f64 * (BOX_HEIGHT + GAP_DOWN) - GAP_DOWN;
    let width = 2.0f64.mul_add(MARGIN, across.max(BOX_WIDTH * 2.0));
    let height = HEAD + 2.0f64.mul_add(MARGIN, down.max(0.0));
    let title = format!("{} v{}: {}", mission.brief.name, mission.brief.version, mission.brief.state);
    let mut out = String::new();
    let _ = write!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         role=\"img\" aria-labelledby=\"t d\"><title id=\"t\">{}</title><desc id=\"d\">{}</desc><style>{STYLE}</style>\
         <rect class=\"bg\" width=\"{width}\" height=\"{height}\"/>",
        escaped(&title),
        escaped(&described(mission)),
    );
    head(&mut out, mission);
    for edge in &layout.edges {
        let class = edge_class(&mission.steps[edge.from], &mission.steps[edge.to]);
        let _ = write!(out, "<path class=\"e {class}\" d=\"{}\"/>", path(&edge.way));
    }
    for (step, place) in mission.steps.iter().zip(&layout.steps) {
        draw_step(&mut out, step, *place);
    }
    out.push_str("</svg>\n");
    out
}

/// The picture in words, for who does not see it.
fn described(mission: &MissionView) -> String {
    let step = |step: &StepView| match step.needs.as_slice() {
        [] => format!("{}: {}", step.name, step.state),
        needs => format!("{} (after {}): {}", step.name, needs.join(", "), step.state),
    };
    mission.steps.iter().map(step).collect::<Vec<_>>().join("; ")
}

fn head(out: &mut String, mission: &MissionView) {
    let (class, sign) = mark(mission.brief.state.name());
    let done = mission
        .steps
        .iter()
        .filter(|step| !matches!(step.state, "pending" | "evaluating" | "running" | "waiting"));
    let mut line = format!("{}, {} of {} steps done", mission.brief.state, done.count(), mission.steps.len());
    if let Some(error) = &mission.brief.error {
        let place = error.step.as_ref().map_or(String::new(), |step| format!("{step}: "));
        let _ = write!(line, ", {place}{}", error.message);
    }
    let _ = write!(
        out,
        "<circle class=\"{class}\" cx=\"{x}\" cy=\"34\" r=\"11\"/><text class=\"g\" x=\"{x}\" y=\"39\">{sign}</text>\
         <text class=\"t\" x=\"{text}\" y=\"32\">{} <tspan class=\"d\">version {}</tspan></text>\
         <text class=\"d\" x=\"{text}\" y=\"49\">{}</text>",
        escaped(&mission.brief.name),
        mission.brief.version,
        escaped(&clipped(&line, 90)),
        x = MARGIN + 11.0,
        text = MARGIN + 32.0,
    );
}

fn edge_class(from: &StepView, to: &StepView) -> &'static str {
    if from.state == "skipped" || to.state == "skipped" {
        "off"
    } else if to.state == "pending" || to.state == "cancelled" {
        ""
    } else {
        "on"
    }
}

/// From the right side of a box to the left side of another, through the places between.
fn path(way: &[Place]) -> String {
    let mut out = String::new();
    for pair in way.windows(2) {
        let (x1, x2) = (left(pair[0]) + BOX_WIDTH, left(pair[1]));
        let (y1, y2) = (top(pair[0]) + BOX_HEIGHT / 2.0, top(pair[1]) + BOX_HEIGHT / 2.0);
        let middle = f64::midpoint(x1, x2);
        if out.is_empty() {
            let _ = write!(out, "M{x1} {y1}");
        } else {
            let _ = write!(out, "L{x1} {y1}");
        }
        let _ = write!(out, "C{middle} {y1} {middle} {y2} {x2} {y2}");
    }
    out
}

fn draw_step(out: &mut String, step: &StepView, place: Place) {
    let (x, y) = (left(place), top(place));
    let (class, sign) = mark(step.state);
    let job = step.job.as_ref().map(|job| format!("/jobs/{}", escaped(job)));
    if let Some(job) = &job {
        let _ = write!(out, "<a href=\"{job}\">");
    }
    let what = match &step.target {
        Some(target) => format!("{} {target}", step.kind),
        None => step.kind.to_owned(),
    };
    let _ = write!(
        out,
        "<g><title>{}</title><rect class=\"b\" x=\"{x}\" y=\"{y}\" width=\"{BOX_WIDTH}\" height=\"{BOX_HEIGHT}\" rx=\"8\"/>\
         <circle class=\"{class}\" cx=\"{cx}\" cy=\"{cy}\" r=\"10\"/><text class=\"g\" x=\"{cx}\" y=\"{sy}\">{sign}</text>\
         <text class=\"n\" x=\"{tx}\" y=\"{y1}\">{}</text><text class=\"d\" x=\"{tx}\" y=\"{y2}\">{}</text>\
         <text class=\"d\" x=\"{tx}\" y=\"{y3}\">{}</text></g>",
        escaped(&hover(step)),
        escaped(&clipped(&step.name, NAME_MAX)),
        escaped(&clipped(&what, DETAIL_MAX)),
        escaped(&clipped(&stand(step), DETAIL_MAX)),
        cx = x + 20.0,
        cy = y + BOX_HEIGHT / 2.0,
        sy = y + BOX_HEIGHT / 2.0 + 5.0,
        tx = x + 40.0,
        y1 = y + 22.0,
        y2 = y + 38.0,
        y3 = y + 54.0,
    );
    if job.is_some() {
        out.push_str("</a>");
    }
}

/// How a step stands, in a line.
fn stand(step: &StepView) -> String {
    let mut line = step.state.to_owned();
    if let Some(items) = &step.items {
        let _ = write!(line, ", {}/{}", items.succeeded + items.compensated, items.total);
        if items.failed > 0 {
            let _ = write!(line, ", {} failed", items.failed);
        }
    }
    if let Some(compensation) =
        step.compensation.as_ref().filter(|compensation| compensation.state != "succeeded")
    {
        let _ = write!(line, ", undoing {}", compensation.state);
    }
    if let (Some(from), Some(to)) = (step.started_at, step.ended_at)
        && let Ok(took) = std::time::Duration::try_from(to.duration_since(from))
    {
        let _ = match took.as_secs() {
            0 => write!(line, ", {} ms", took.as_millis()),
            seconds @ 1..=119 => write!(line, ", {seconds} s"),
            seconds => write!(line, ", {} min", seconds / 60),
        };
    }
    line
}

fn hover(step: &StepView) -> String {
    let mut text = if step.description.is_empty() {
        step.name.clone()
    } else {
        format!("{}: {}", step.name, step.description)
    };
    if let Some(error) = &step.error {
        let _ = write!(text, " — {}: {}", error.class, error.message);
    }
    if let Some(approval) = &step.approval {
        let _ = write!(text, " — {}", approval.message);
    }
    text
}

#[cfg(test)]
#[path = "svg_tests.rs"]
mod tests;
