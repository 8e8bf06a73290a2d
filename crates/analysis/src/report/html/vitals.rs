//! The table of loading and responsiveness, with a verdict for what has one.

use super::super::{Vitals, wording};

/// One measure over all screens.
pub(in super::super) struct VitalRow {
    pub(in super::super) name: &'static str,
    pub(in super::super) explanation: &'static str,
    /// Up to where it is good, in words; empty if it has no verdict.
    pub(in super::super) good: String,
    pub(in super::super) cells: Vec<Cell>,
}

/// One measured value.
pub(in super::super) struct Cell {
    pub(in super::super) value: String,
    pub(in super::super) band: &'static str,
    pub(in super::super) words: &'static str,
}

/// A measure: its name, what it means, its unit, up to where it is good and fair, and where it is in the vitals.
type Measure = (&'static str, &'static str, &'static str, Option<(f64, f64)>, fn(&Vitals) -> Option<f64>);

/// Thresholds: web.dev for LCP, CLS, INP, FCP and TTFB; Lighthouse for TBT.
const MEASURES: [Measure; 8] = [
    ("Largest contentful paint", "when the main content is there", "ms", Some((2500.0, 4000.0)), |it| {
        it.lcp_ms
    }),
    ("Layout shift", "how much the page jumps while loading", "", Some((0.1, 0.25)), |it| it.cls),
    ("Interaction to next paint", "how soon it answers a click", "ms", Some((200.0, 500.0)), |it| it.inp_ms),
    ("Total blocking time", "how long it could not answer", "ms", Some((200.0, 600.0)), |it| it.tbt_ms),
    ("First contentful paint", "when anything is there", "ms", Some((1800.0, 3000.0)), |it| it.fcp_ms),
    ("Time to first byte", "how soon the server answers", "ms", Some((800.0, 1800.0)), |it| it.ttfb_ms),
    ("Transferred", "bytes over the network", "bytes", None, |it| it.bytes.map(|bytes| bytes as f64)),
    ("Requests", "files that were asked for", "", None, |it| it.requests.map(|requests| requests as f64)),
];

/// The names of the screens, and a row for each measure that was taken on any of them.
pub(in super::super) fn rows(vitals: &[Vitals]) -> (Vec<&'static str>, Vec<VitalRow>) {
    let screens = vitals.iter().map(|it| wording::screen(it.screen)).collect();
    let rows = MEASURES
        .iter()
        .filter(|(.., value)| vitals.iter().any(|it| value(it).is_some()))
        .map(|(name, explanation, unit, limits, value)| VitalRow {
            name,
            explanation,
            good: limits
                .map(|(good, _)| format!("up to {}", wording::quantity(good, unit)))
                .unwrap_or_default(),
            cells: vitals.iter().map(|it| cell(value(it), unit, *limits)).collect(),
        })
        .collect();
    (screens, rows)
}

fn cell(value: Option<f64>, unit: &str, limits: Option<(f64, f64)>) -> Cell {
    let Some(value) = value else {
        return Cell { value: "not measured".to_owned(), band: "none", words: "" };
    };
    let (band, words) = match limits {
        Some((good, _)) if value <= good => ("good", "Good"),
        Some((_, fair)) if value <= fair => ("fair", "Needs work"),
        Some(_) => ("poor", "Poor"),
        None => ("none", ""),
    };
    Cell { value: wording::quantity(value, unit), band, words }
}
