//! The table of elements.

use serde::{Deserialize, Serialize};

use crate::Rect;

/// Index into [`super::Facts::elements`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ElementIndex(pub u32);

/// An element that facts refer to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Element {
    /// Tag in lower case.
    pub tag: String,
    /// CSS selector whose first match is the element.
    pub selector: String,
    /// Way from the nearest stable id, in tags and positions: the same on every load and screen.
    pub path: String,
    /// Number that elements of one repeated structure share, within one pass.
    pub shape: u32,
    /// Part of the page: `header`, `nav`, `main`, `aside`, `footer` or `body`.
    pub region: String,
    /// Where it is; `None` when it has no box.
    pub rect: Option<Rect>,
    /// Whether it begins in the first screen; `None` when it has no box.
    pub above_fold: Option<bool>,
    /// Its text or name, shortened at 120 characters.
    pub text: String,
}
