//! A snapshot and its nodes, in the shape that Pinchtab's clients read.

use serde::{Deserialize, Serialize};

/// Where a node is, in CSS pixels from the top left of the viewport of the top document.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
pub struct BoundingBox {
    /// Left edge.
    pub x: f64,
    /// Top edge.
    pub y: f64,
    /// Width.
    pub width: f64,
    /// Height.
    pub height: f64,
}

/// State of what can be checked or pressed.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Checked {
    /// On.
    True,
    /// Off.
    False,
    /// Neither: some of what it stands for is on.
    Mixed,
}

/// One element, or one run of text, as assistive technology is told of it. Absent fields have nothing to say.
#[derive(
    Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema,
)]
#[serde(rename_all = "camelCase", default)]
pub struct Node {
    /// Reference to act on, such as `e12`; stable as long as the element is in the page.
    pub r#ref: String,
    /// Role: ARIA's, or Chrome's name for what ARIA has no role for (`RootWebArea`, `StaticText`, `Iframe`, …).
    pub role: String,
    /// Accessible name; the text itself for `StaticText`.
    pub name: String,
    /// How many nodes are around it.
    pub depth: u32,
    /// What a control holds; passwords as `••••••••`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Text of the control's label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Hint inside of an empty field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub placeholder: Option<String>,
    /// Alternative text of an image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alt: Option<String>,
    /// The `title` attribute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The `data-testid` attribute, or one of its customary spellings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub testid: Option<String>,
    /// Visible text, when the name does not contain it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Name of the element; absent for text. Those of SVG begin with `svg:`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Level of a heading.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<u32>,
    /// Whether it is checked, for what can be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checked: Option<Checked>,
    /// Whether it is pressed, for buttons that stay so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pressed: Option<Checked>,
    /// Whether what it discloses is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expanded: Option<bool>,
    /// It is the chosen one of several.
    #[serde(skip_serializing_if = "is_false")]
    pub selected: bool,
    /// It cannot be acted on now.
    #[serde(skip_serializing_if = "is_false")]
    pub disabled: bool,
    /// It has the keyboard focus.
    #[serde(skip_serializing_if = "is_false")]
    pub focused: bool,
    /// It is told to assistive technology, but people do not see it: entirely transparent.
    #[serde(skip_serializing_if = "is_false")]
    pub hidden: bool,
    /// The form cannot be sent without it.
    #[serde(skip_serializing_if = "is_false")]
    pub required: bool,
    /// Its author says that what it holds is wrong.
    #[serde(skip_serializing_if = "is_false")]
    pub invalid: bool,
    /// It can be read but not changed.
    #[serde(skip_serializing_if = "is_false")]
    pub read_only: bool,
    /// Where it is, if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bounding_box: Option<BoundingBox>,
    /// Whether its box meets the viewport, if boxes were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub visible: Option<bool>,
    /// Chrome's id of the frame in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub child_frame_id: Option<String>,
    /// Address of what a frame shows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub child_frame_url: Option<String>,
    /// Name of a frame.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub child_frame_name: Option<String>,
    /// It is a frame of another origin, which has a walk of its own.
    #[serde(skip)]
    pub apart: bool,
    /// How much a reader loses without it.
    #[serde(skip)]
    pub tier: Tier,
}

/// What a reader loses when a node is left out; what is lost last comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// It can be acted on: why the snapshot was asked for.
    Actionable,
    /// It says where one is.
    Context,
    /// Prose and containers.
    #[default]
    Rest,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// What a page said at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Identifies the document: references of two snapshots are comparable when this is equal.
    pub document: String,
    /// Address of the document.
    pub url: String,
    /// Title of the document.
    pub title: String,
    /// The nodes in reading order; [`Node::depth`] tells the tree.
    pub nodes: Vec<Node>,
    /// The number after the highest reference given so far: what the next document of the tab starts from.
    pub ref_next: u32,
    /// Whether the walk stopped at one of its bounds, so that nodes are missing at the end.
    pub truncated: bool,
}
