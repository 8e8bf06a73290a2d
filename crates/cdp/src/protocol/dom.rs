//! `DOM`: nodes by their number, and what scripts cannot do with elements.

use serde::{Deserialize, Serialize};

use super::{Empty, command, runtime::RemoteObject};

/// Asks what a node is.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DescribeNode<'a> {
    /// The node as a value of a script.
    pub object_id: &'a str,
}

/// Reply of [`DescribeNode`].
#[derive(Debug, Deserialize)]
pub struct Described {
    /// The node.
    pub node: Node,
}
command!(DescribeNode<'a>, "DOM.describeNode", Described);

/// A node.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// Its number, the same as long as it lives.
    pub backend_node_id: i64,
    /// The frame in it, when it is the element of one.
    pub frame_id: Option<String>,
}

/// Makes a value of a script of a node.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ResolveNode {
    /// The node's number.
    pub backend_node_id: i64,
    /// Whose value.
    pub execution_context_id: i64,
}

/// Reply of [`ResolveNode`].
#[derive(Debug, Deserialize)]
pub struct Resolved {
    /// The value.
    pub object: RemoteObject,
}
command!(ResolveNode, "DOM.resolveNode", Resolved);

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
