//! `DOM`: what scripts cannot do with elements.

use serde::Serialize;

use super::{Empty, command};

/// Chooses the files of a file input.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SetFileInputFiles<'a> {
    /// Paths of the files.
    pub files: &'a [String],
    /// The input, by its object id.
    pub object_id: &'a str,
}
command!(SetFileInputFiles<'a>, "DOM.setFileInputFiles", Empty);
