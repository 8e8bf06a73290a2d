//! What a visitor can press, fill in, follow, and has to close.

use serde::{Deserialize, Serialize};

use super::ElementIndex;
use crate::Rect;

/// A button, or a link that looks like one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Action {
    /// The element.
    pub element: Option<ElementIndex>,
    /// Its tag.
    pub tag: String,
    /// `submit`, `button`, `reset` of native buttons.
    #[serde(rename = "type")]
    pub kind: String,
    /// Accessible name.
    pub label: String,
    /// Text that can be read on it.
    pub visible_text: String,
    /// Destination of a link, as written.
    pub href: String,
    /// Where it is.
    pub rect: Rect,
    /// Whether it begins in the first screen.
    pub above_fold: bool,
    /// Part of the page.
    pub region: String,
    /// Shape that repeated actions share.
    pub shape: u32,
    /// Index of its form in the document; negative for none.
    pub form: i32,
    /// Nearest ancestor that holds more than this action.
    pub group: Option<ElementIndex>,
    /// Whether it cannot be used.
    pub disabled: bool,
    /// Whether it opens something on the page: a menu, tab or dialog.
    pub toggles: bool,
    /// Font size.
    pub size: f64,
    /// Font weight.
    pub weight: f64,
    /// How it sets itself off.
    pub look: Look,
    /// Whether a picture or gradient is involved, so that its contrasts are guesses.
    pub look_unsure: bool,
    /// Colour of the label, `#rrggbb`.
    pub colour: String,
    /// Colour behind the label, `#rrggbb`.
    pub background: String,
    /// Contrast ratio of the label.
    pub contrast: f64,
    /// Contrast ratio of its surface against what is around it.
    pub fill_contrast: f64,
    /// Contrast ratio of its border or ring against what is around it.
    pub edge_contrast: f64,
    /// Equal for actions of equal weight.
    pub style: String,
    /// The layer it floats in, if any.
    pub layer: Option<ElementIndex>,
    /// Share of sampled points that something else covers, 0 to 1.
    pub covered: f64,
    /// What covers it.
    pub covered_by: Option<ElementIndex>,
    /// Actions of this shape.
    pub repeats: u32,
}

/// How an action sets itself off from its surroundings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Look {
    /// Only its text.
    #[default]
    Text,
    /// A border or ring.
    Outlined,
    /// A surface of its own.
    Filled,
}

/// A link with a destination.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Link {
    /// Its text or name.
    pub text: String,
    /// Destination as written.
    pub href: String,
    /// Part of the page.
    pub region: String,
    /// Whether it can be seen without opening a menu.
    pub shown: bool,
}

/// A bar of links.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Nav {
    /// The `<nav>`, or a header without one.
    pub element: Option<ElementIndex>,
    /// Part of the page.
    pub region: String,
    /// Links shown at once.
    pub shown: u32,
    /// Those of them that look like buttons.
    pub buttons: u32,
    /// Its top edge.
    pub top: f64,
    /// Whether it is taller than wide.
    pub column: bool,
}

/// A form, or fields outside of one in a common box.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Form {
    /// The `<form>` or box.
    pub element: Option<ElementIndex>,
    /// Whether it is a `<form>`.
    pub real: bool,
    /// Part of the page.
    pub region: String,
    /// Forms of this shape.
    pub repeats: u32,
    /// Index in `document.forms`; negative for none.
    pub index: i32,
    /// `action` as written.
    pub action: String,
    /// `get`, `post` or `dialog`.
    pub method: String,
    /// `role`, for example `search`.
    pub role: String,
    /// Where it is.
    pub rect: Rect,
    /// The layer it floats in, if any.
    pub layer: Option<ElementIndex>,
    /// Its text, shortened.
    pub text: String,
    /// Its fields, at most sixty.
    pub fields: Vec<Field>,
    /// Buttons that empty it.
    pub resets: Vec<Reset>,
}

/// A button that empties a form.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reset {
    /// The button.
    pub element: Option<ElementIndex>,
    /// Its label.
    pub label: String,
}

/// A field that a visitor is asked to fill in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Field {
    /// The control.
    pub element: Option<ElementIndex>,
    /// Its tag.
    pub tag: String,
    /// `type` in lower case; the tag for `select` and `textarea`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `name`, else `id`.
    pub name: String,
    /// Text of its label, however it is bound; empty for a placeholder.
    pub label: String,
    /// How its name reaches assistive technology.
    pub label_source: LabelSource,
    /// `placeholder`.
    pub placeholder: String,
    /// Text beside it that is not bound to it.
    pub nearby: String,
    /// `autocomplete` in lower case.
    pub autocomplete: String,
    /// `inputmode` in lower case.
    pub inputmode: String,
    /// Whether it has a `pattern`.
    pub pattern: bool,
    /// Whether it must be filled in.
    pub required: bool,
    /// Whether it is ticked from the start.
    pub checked: bool,
    /// Whether it cannot be used.
    pub disabled: bool,
    /// Whether it cannot be changed.
    pub read_only: bool,
    /// Name of its radio group.
    pub group: String,
}

/// Where a field's name comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LabelSource {
    /// A `<label>`.
    Label,
    /// `aria-label` or `aria-labelledby`.
    Aria,
    /// `title`.
    Title,
    /// Only its placeholder, which goes when typing begins.
    Placeholder,
    /// Nothing.
    #[default]
    None,
}

/// A box that floats over the page.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Layer {
    /// The box.
    pub element: Option<ElementIndex>,
    /// `fixed`, `sticky`, `absolute`.
    pub position: String,
    /// Stacking order.
    pub z_index: f64,
    /// Where it is.
    pub rect: Rect,
    /// Share of the first screen it takes, 0 to 1.
    pub share: f64,
    /// Whether it is, or holds, a dialog.
    pub modal: bool,
    /// Its text, shortened.
    pub text: String,
    /// Whether the page itself is inside it: a layout, not an interruption.
    pub holds_page: bool,
    /// Whether it is a bar to get around with.
    pub navigates: bool,
    /// Distance from the top of the screen.
    pub top: f64,
    /// Distance from the bottom of the screen.
    pub bottom: f64,
    /// Share of its sampled points where it is on top.
    pub covers: f64,
    /// What can be pressed in it.
    pub controls: Vec<Control>,
    /// Its lines of text.
    pub lines: Vec<Line>,
}

/// Something that can be pressed in a layer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Control {
    /// The element.
    pub element: Option<ElementIndex>,
    /// Its name.
    pub label: String,
    /// Destination of a link.
    pub href: String,
    /// Width.
    pub width: f64,
    /// Height.
    pub height: f64,
    /// Font size.
    pub size: f64,
    /// Contrast ratio of its label.
    pub contrast: f64,
    /// Whether it is a link or button, and not only named.
    pub interactive: bool,
    /// Whether it sits in the top right corner of the layer.
    pub corner: bool,
}

/// A line of text in a layer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Line {
    /// The element.
    pub element: Option<ElementIndex>,
    /// Its text.
    pub text: String,
}

/// Touch targets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Targets {
    /// All of them.
    pub total: u32,
    /// Those under 24 x 24 px that spacing does not save, one for each shape.
    pub crowded: Vec<Target>,
}

/// A touch target that is too small.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Target {
    /// The first of its shape.
    pub element: Option<ElementIndex>,
    /// Its name.
    pub label: String,
    /// Width.
    pub width: f64,
    /// Height.
    pub height: f64,
    /// Targets of this shape that are too small.
    pub count: u32,
}
