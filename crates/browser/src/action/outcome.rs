//! What an action did.

use schemars::JsonSchema;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{dialog::Dialog, ids::TabId};

/// What an action did. Absent members have nothing to say.
#[derive(Clone, Debug, Default, Serialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// It was done.
    pub success: bool,
    /// A click was delivered.
    #[serde(skip_serializing_if = "is_false")]
    pub clicked: bool,
    /// A text was typed.
    #[serde(skip_serializing_if = "is_false")]
    pub typed: bool,
    /// A field was filled in.
    #[serde(skip_serializing_if = "is_false")]
    pub filled: bool,
    /// The key that was pressed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pressed: Option<String>,
    /// An element was given the focus.
    #[serde(skip_serializing_if = "is_false")]
    pub focused: bool,
    /// The pointer was put on an element.
    #[serde(skip_serializing_if = "is_false")]
    pub hovered: bool,
    /// Something was scrolled.
    #[serde(skip_serializing_if = "is_false")]
    pub scrolled: bool,
    /// Something was dragged.
    #[serde(skip_serializing_if = "is_false")]
    pub dragged: bool,
    /// Value of the option that was chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selected: Option<String>,
    /// Whether a box is checked now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checked: Option<bool>,
    /// Reference of the element.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r#ref: Option<String>,
    /// Where the pointer is, in CSS pixels from the left edge of the viewport; of a scroll, how far it is scrolled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub x: Option<f64>,
    /// The same from the top edge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub y: Option<f64>,
    /// The tab of a window that the action opened, which is the current one now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub switched_to_tab: Option<TabId>,
    /// The tab went to another document.
    #[serde(skip_serializing_if = "is_false")]
    pub navigated: bool,
    /// Where it is, when it went somewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The dialog that the action opened and that was answered as announced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dialog: Option<Dialog>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
fn is_false(flag: &bool) -> bool {
    !flag
}
