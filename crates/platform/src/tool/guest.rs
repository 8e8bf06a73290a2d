//! Tools that come and go while the server runs: those of other servers.

use std::{fmt::Debug, pin::Pin, sync::Arc};

use serde_json::Value;

use super::{ToolContext, ToolOutput};
use crate::{
    identity::{Caller, Scope},
    problem::Problem,
};

/// A tool that is another server's.
#[derive(Clone, Debug)]
pub struct GuestTool {
    /// Its name here. No tool of an area has a `__` in its name.
    pub name: String,
    /// When to use it.
    pub description: String,
    /// JSON Schema of the input.
    pub input_schema: Value,
    /// JSON Schema of the output, where there is one.
    pub output_schema: Option<Value>,
    /// What a caller must hold.
    pub scope: Scope,
    /// The tool as MCP lists it, under its name here.
    pub definition: Value,
}

/// Where such tools come from.
pub trait ToolSource: Debug + Send + Sync {
    /// The scope that a call of a tool needs, if its name is one of these; also of a tool that is not there just now.
    fn scope_of(&self, name: &str) -> Option<Scope>;

    /// A tool that the caller may call.
    fn tool(&self, caller: &Caller, name: &str) -> Option<Arc<GuestTool>>;

    /// The tools that are listed to a caller: not always all that it may call, where those are too many to choose from.
    fn listed(&self, caller: &Caller) -> Vec<Arc<GuestTool>>;

    /// Calls a tool. The source checks the caller, and measures.
    fn call(
        &self,
        context: ToolContext,
        name: &str,
        input: Value,
    ) -> Pin<Box<dyn Future<Output = Result<ToolOutput, Problem>> + Send>>;
}
