//! The report as data: what `report.json` holds and what the other forms are made from.

use std::borrow::Cow;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Category, Finding, Rect, Screen, Severity};

/// Version of the JSON form. It changes when a field is removed or changes meaning, not when one is added.
pub const SCHEMA_VERSION: u32 = 1;

/// What an analysis found on one page.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// Version of this document's shape.
    pub schema_version: u32,
    /// Identity of the analysis.
    pub id: String,
    /// The URL or file that was asked for.
    pub url: String,
    /// Where the redirects ended.
    pub final_url: String,
    /// The page's title; empty if it has none.
    pub title: String,
    /// What kind of page it was taken for, for example `product`.
    pub page_type: String,
    /// When the analysis was made.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub generated_at: Timestamp,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// What the page was looked at with.
    pub environment: Environment,
    /// The findings in brief.
    pub summary: Summary,
    /// How well the page does.
    pub scores: Scores,
    /// Every finding, the most urgent flaw first; a flaw's findings on several screens follow one another.
    pub findings: Vec<ReportedFinding>,
    /// Loading and responsiveness, one entry per screen that was measured.
    pub vitals: Vec<Vitals>,
    /// The pictures of the whole page, one per screen that was captured.
    pub shots: Vec<Shot>,
    /// Ids of the rules that were applied, sorted.
    pub rules_checked: Vec<Cow<'static, str>>,
    /// What this report says nothing about, and why.
    pub not_checked: Vec<NotChecked>,
}

/// What a page was looked at with; two reports compare only if this is the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Environment {
    /// Version of Paddock.
    pub paddock: String,
    /// Name and version of the browser engine.
    pub engine: String,
    /// The screens that the page was shown on.
    pub screens: Vec<ScreenSize>,
}

/// Size of a screen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ScreenSize {
    /// Which screen.
    pub screen: Screen,
    /// Width in CSS pixels.
    pub width: u32,
    /// Height in CSS pixels.
    pub height: u32,
    /// Device pixels per CSS pixel.
    pub scale: f64,
}

/// The findings in brief. A flaw seen on several screens counts once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// Distinct flaws.
    pub flaws: u32,
    /// Of them, of high severity.
    pub high: u32,
    /// Of them, of medium severity.
    pub medium: u32,
    /// Of them, of low severity.
    pub low: u32,
    /// At most three flaws of high impact and low effort, the most rewarding first.
    pub quick_wins: Vec<QuickWin>,
}

/// A flaw that is worth mending first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct QuickWin {
    /// Number of the flaw in this report.
    pub number: u32,
    /// The rule that found it.
    pub rule: Cow<'static, str>,
    /// Identity of the flaw.
    pub fingerprint: String,
    /// What is wrong.
    pub title: Cow<'static, str>,
    /// What to do.
    pub recommendation: Cow<'static, str>,
    /// Expected effect of mending it, 1 to 10.
    pub impact: u8,
    /// Work to mend it, 1 to 10.
    pub effort: u8,
}

/// How well the page does, 0 (poor) to 100 (nothing found).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Scores {
    /// Halfway between the weighted mean of the judged categories and the lowest of them; null if none was judged.
    pub overall: Option<u8>,
    /// How the numbers come about, in a paragraph.
    pub method: Cow<'static, str>,
    /// Every category, judged or not, in a fixed order.
    pub categories: Vec<CategoryScore>,
}

/// The score of one category.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CategoryScore {
    /// Which category.
    pub category: Category,
    /// 100 less the deductions, never below 0; null when no rule of the category could be applied.
    pub score: Option<u8>,
    /// Its weight in the overall score.
    pub weight: u8,
    /// How many rules of the category were applied.
    pub rules: u32,
    /// What was taken off, one entry per flaw.
    pub deductions: Vec<Deduction>,
}

/// Points taken off a category's score for one flaw.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Deduction {
    /// Number of the flaw in this report.
    pub number: u32,
    /// The rule that found it.
    pub rule: Cow<'static, str>,
    /// Identity of the flaw.
    pub fingerprint: String,
    /// What is wrong.
    pub title: Cow<'static, str>,
    /// Its severity, which sets the base of the deduction.
    pub severity: Severity,
    /// How sure the rule is, 1 to 10: the base is taken at a tenth of this.
    pub confidence: u8,
    /// 1 for the rule's first flaw, 0.5 for its second, 0.25 for its third, and so on.
    pub share: f64,
    /// Points taken off.
    pub points: f64,
}

/// A finding as the report shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReportedFinding {
    /// Number of the flaw in this report, from 1; the same on every screen, and printed on the pictures.
    pub number: u32,
    /// What was found.
    #[serde(flatten)]
    pub finding: Finding,
    /// Its picture; null when there is nothing to show, such as for something absent.
    pub crop: Option<Crop>,
}

/// The picture of one finding: its element outlined, with the surroundings dimmed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Crop {
    /// Path relative to the report, for example `shots/03-cta-vague-label-desktop.jpg`.
    pub file: String,
    /// Width of the picture in pixels.
    pub width: u32,
    /// Height of the picture in pixels.
    pub height: u32,
    /// The part of the page that it shows, in CSS pixels.
    pub region: Rect,
}

/// The picture of a whole page on one screen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Shot {
    /// Which screen.
    pub screen: Screen,
    /// Width of the captured page in CSS pixels.
    pub width: u32,
    /// Height of the captured page in CSS pixels.
    pub height: u32,
    /// Path of the full-page screenshot relative to the report.
    pub file: String,
    /// The first screens, scaled down, with the numbers of the flaws where they are.
    pub overview: Option<Overview>,
}

/// The first screens of a page with the numbers of its flaws.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Overview {
    /// Path relative to the report.
    pub file: String,
    /// Width of the picture in pixels.
    pub width: u32,
    /// Height of the picture in pixels.
    pub height: u32,
    /// Where the numbers are.
    pub markers: Vec<Marker>,
    /// Numbers of the flaws that lie further down the page.
    pub below: Vec<u32>,
}

/// A number on an overview.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Marker {
    /// Number of the flaw.
    pub number: u32,
    /// Centre of the number, in pixels of the picture from the left.
    pub x: f64,
    /// Centre of the number, in pixels of the picture from the top.
    pub y: f64,
}

/// How quickly a page loads, holds still and answers on one screen. Measured once, in a laboratory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Vitals {
    /// Which screen.
    pub screen: Screen,
    /// Largest contentful paint, in milliseconds.
    pub lcp_ms: Option<f64>,
    /// Cumulative layout shift.
    pub cls: Option<f64>,
    /// First contentful paint, in milliseconds.
    pub fcp_ms: Option<f64>,
    /// Time to first byte, in milliseconds.
    pub ttfb_ms: Option<f64>,
    /// Total blocking time, in milliseconds.
    pub tbt_ms: Option<f64>,
    /// Interaction to next paint of a scripted interaction, in milliseconds.
    pub inp_ms: Option<f64>,
    /// Bytes that came over the network.
    pub bytes: Option<u64>,
    /// Requests that were made.
    pub requests: Option<u64>,
}

/// Something that the report says nothing about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NotChecked {
    /// What was not checked.
    pub what: Cow<'static, str>,
    /// Why not.
    pub why: Cow<'static, str>,
}
