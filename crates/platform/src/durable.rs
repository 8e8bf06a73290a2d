//! Calls of tools that outlive the request and the process, as areas see them that do not keep such calls themselves.
//!
//! An area that wants a call to be made later, or to be made although the server dies meanwhile, is given a
//! [`DurableCalls`] when the server is put together, and knows nothing of what is behind it.

use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::Value;

use crate::{
    identity::{Caller, Tenant},
    problem::Problem,
};

/// A call to be made.
#[derive(Clone, Debug)]
pub struct DurableCall {
    /// The tool.
    pub tool: &'static str,
    /// What it is called with.
    pub input: Value,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// How often it is tried altogether.
    pub attempts: u32,
    /// While a call with this key is kept, handing it in again answers that call instead of making another.
    pub unique_key: Option<String>,
}

/// A call that was accepted: it will be made.
#[derive(Clone, Debug)]
pub struct DurableReceipt {
    /// What names it.
    pub id: String,
    /// Where a client finds what is kept of it.
    pub location: String,
}

/// How far a call is.
#[derive(Clone, Debug)]
pub enum DurableState {
    /// It has not ended.
    Pending,
    /// It ended with this answer of its tool.
    Done(Value),
    /// It ended for good without one.
    Failed {
        /// The status that the tool's problem had.
        status: u16,
        /// Why, for people.
        message: String,
    },
    /// Somebody cancelled it.
    Cancelled,
}

/// Makes calls of tools that outlive the request and the process.
pub trait DurableCalls: Send + Sync + 'static {
    /// Accepts a call: once it returns, the call is on the disk.
    fn submit<'a>(
        &'a self,
        caller: &'a Caller,
        call: DurableCall,
    ) -> BoxFuture<'a, Result<DurableReceipt, Problem>>;

    /// How far a call of a tenant is, after waiting so long for its end. A call of another tool is as good as none.
    fn state<'a>(
        &'a self,
        tenant: &'a Tenant,
        tool: &'static str,
        id: &'a str,
        wait: Duration,
    ) -> BoxFuture<'a, Result<DurableState, Problem>>;
}
