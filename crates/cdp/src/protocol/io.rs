//! `IO`: streams that Chrome holds ready.

use serde::{Deserialize, Serialize};

use super::{Empty, command};

/// Reads a part of a stream.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Read<'a> {
    /// Which stream.
    pub handle: &'a str,
    /// Most bytes of the part.
    pub size: u64,
}

/// A part of a stream.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Chunk {
    /// Whether `data` is base64.
    #[serde(default)]
    pub base64_encoded: bool,
    /// The bytes.
    #[serde(default)]
    pub data: String,
    /// Nothing follows.
    #[serde(default)]
    pub eof: bool,
}
command!(Read<'a>, "IO.read", Chunk);

/// Forgets a stream.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Close<'a> {
    /// Which.
    pub handle: &'a str,
}
command!(Close<'a>, "IO.close", Empty);
