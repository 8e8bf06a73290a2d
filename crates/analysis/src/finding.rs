//! A finding: one evidenced flaw of a page.

use std::{borrow::Cow, fmt};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How much a flaw is expected to cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Visitors leave, or cannot do what they came for.
    High,
    /// Visitors hesitate or are slowed down.
    Medium,
    /// A polish that pays over time.
    Low,
}

/// What a flaw is about; the report scores each category.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Category {
    /// What the page says first.
    Headline,
    /// What it asks the visitor to do.
    Cta,
    /// What it asks the visitor to fill in.
    Form,
    /// Why the visitor should believe it.
    Trust,
    /// Price, offer, shipping and product presentation.
    Price,
    /// What covers the page.
    Popup,
    /// Whether it can be read and seen.
    Contrast,
    /// Where else it sends the visitor.
    Navigation,
    /// Whether it works on a phone.
    Mobile,
    /// Whether it is quick and stable.
    Performance,
    /// Whether it is found, and understood by machines.
    Seo,
    /// What the copy and media do to the reader.
    Content,
}

/// The two screens that a page is looked at on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Screen {
    /// 1440 x 900 CSS pixels, mouse.
    Desktop,
    /// 390 x 844 CSS pixels, touch, mobile user agent.
    Mobile,
}

impl fmt::Display for Screen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Desktop => "desktop",
            Self::Mobile => "mobile",
        })
    }
}

/// A place on the page in CSS pixels from its top left corner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Rect {
    /// Left edge.
    pub x: f64,
    /// Top edge.
    pub y: f64,
    /// Width.
    pub width: f64,
    /// Height.
    pub height: f64,
}

/// A number that a rule measured, against the number it is held to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Measured {
    /// What was measured, for example `contrast ratio`.
    pub name: Cow<'static, str>,
    /// The value on this page.
    pub value: f64,
    /// What it should be at least, or at most (see `bound`).
    pub threshold: f64,
    /// Which side of the threshold is good.
    pub bound: Bound,
    /// Unit of both, for example `ms`, `px`, `:1`, or empty for a count.
    pub unit: Cow<'static, str>,
}

/// Which side of a threshold is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// The value should be no less.
    AtLeast,
    /// The value should be no more.
    AtMost,
}

/// What was seen that makes this a finding.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// One sentence that states the fact, for example `the label reads "Submit"`.
    pub statement: String,
    /// The element's text or markup, shortened; empty when the finding is about something absent.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub snippet: String,
    /// The number behind it, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<Measured>,
    /// Whether the element lies in the first screen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above_fold: Option<bool>,
    /// How many elements of the page have this flaw, the named one included.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub count: u32,
}

fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn is_one(count: &u32) -> bool {
    *count == 1
}

/// A publication behind a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Source {
    /// Who says it, for example `WCAG 2.2, 1.4.3 Contrast (Minimum)`.
    pub title: Cow<'static, str>,
    /// Where to read it; empty when it is not on the web.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub url: Cow<'static, str>,
}

/// One evidenced flaw of a page on one screen.
///
/// A flaw seen on both screens is two findings with one `fingerprint`; the report shows them as one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// The rule that found it, for example `cta.vague_label`.
    pub rule: Cow<'static, str>,
    /// How much it is expected to cost.
    pub severity: Severity,
    /// What it is about.
    pub category: Category,
    /// The screen it was seen on.
    pub viewport: Screen,
    /// What is wrong, in a few words.
    pub title: Cow<'static, str>,
    /// CSS selector of the element; `body`, `head` or a region when the finding is about something absent.
    pub selector: String,
    /// Where the element is; null when it has no box (a missing thing, a `<meta>`).
    pub rect: Option<Rect>,
    /// What was seen.
    pub evidence: Evidence,
    /// Why it costs conversions.
    pub why: Cow<'static, str>,
    /// What to do, concretely.
    pub recommendation: Cow<'static, str>,
    /// Expected effect of mending it, 1 to 10.
    pub impact: u8,
    /// How sure the rule is, 1 to 10.
    pub confidence: u8,
    /// Work to mend it, 1 to 10.
    pub effort: u8,
    /// `impact x confidence / effort`, scaled to 1..=100: what to do first.
    pub priority: u8,
    /// Publications behind the rule.
    pub sources: Vec<Source>,
    /// Identity of the flaw over runs and screens: a hash of the rule and of what stays the same about the element.
    pub fingerprint: String,
}
