//! What a page says, in the form that agents read: roles, names, values and references to act on.
//!
//! A snapshot is made by one walk inside of the page ([`SCRIPT`], in an isolated world, through one evaluation) that
//! computes roles and names as assistive technology gets them. The walk returns compact rows; here they become
//! [`Node`]s and are rendered as JSON, YAML, indented text or one line per node, within a budget of tokens if asked.
//!
//! Invariants: a reference (`e12`) means the same element in every snapshot of a document, and with
//! [`SnapshotOptions::refs_from`] never two elements of one tab; what a password field holds is never in a snapshot;
//! a walk is bounded in nodes, depth and time, and says so when it stopped early ([`Snapshot::truncated`]).

mod budget;
mod diff;
mod format;
mod line;
mod node;
mod options;
mod script;
mod wire;
mod yaml;

pub use self::{
    budget::{estimate_tokens, within_tokens},
    diff::SnapshotDiff,
    format::{Format, Rendered, UnknownFormatError},
    node::{BoundingBox, Checked, Node, Snapshot, Tier},
    options::{Filter, SnapshotOptions, UnknownFilterError},
    script::SCRIPT,
    wire::SnapshotError,
};
