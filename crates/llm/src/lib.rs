//! The model gateway: every provider behind one door that does not fall over.
//!
//! Callers speak OpenAI's API or Anthropic's to `/llm/v1`; what answers is the configuration's business.
//!
//! ```text
//!             ┌─ dialect ─┐      ┌─ routing ──┐   ┌─ resilience ─┐   ┌─ upstream ─┐
//! caller ──▶  │ facts of  │ ──▶  │ name ▶     │ ▶ │ lanes that   │ ▶ │ providers, │ ──▶ vendor, or `sim`
//!        ◀──  │ a request │ ◀──  │ targets    │ ◀ │ have a place │ ◀ │ credentials│ ◀──
//!             └───────────┘      └────────────┘   └──────────────┘   └────────────┘
//!                     │ before: limits, budgets, guards      │ after: ledger, log, metrics, spans
//!                     └──────────────── govern ──────────────┘
//! ```
//!
//! - [`dialect`]: what vendors' requests, answers, streams and failures look like. Where caller and provider speak the
//!   same, bytes pass; else one is read into a small canonical form and written as the other.
//! - [`routing`]: from the name of a model to a credential that has a place now, and why that one.
//! - [`resilience`]: breakers, windows, rests, permits: state machines that are told the time.
//! - [`govern`]: what callers may use and spend, and what they did.
//! - [`gateway`]: a call from its first byte to its last.
//! - [`durable`]: calls that survive a crash, single ones and batches.
//! - [`sim`]: the simulated provider.
//!
//! # From within
//! Areas that stand on this one ask a model with [`Gateway::complete`], or [`Gateway::stream`] piece by piece, or
//! [`Gateway::embed`] for vectors of texts, on behalf of a [`Caller`](paddock_platform::identity::Caller): its tenant and key
//! say whose limits, budget and records it is, and a call may carry the most that it may cost. An answer says what it cost,
//! and has the calls of tools that the model wants; the loop is whose asks. There is no other way in.
//!
//! A call holds no lock across a wait. What it takes (a caller's budget, a lane's place) it gives back in `Drop`, so that
//! a caller who goes away leaves nothing behind, and the provider's work for it ends.

mod clock;
mod config;
mod dialect;
mod durable;
mod error;
mod gateway;
mod govern;
#[cfg(any(test, feature = "internals"))]
#[doc(hidden)]
pub mod internals;
pub mod metrics;
mod resilience;
mod routes;
mod routing;
pub mod sim;
mod store;
mod tools;
mod upstream;

pub use config::{
    CacheOptions, CredentialOptions, LlmOptions, LogMode, LogOptions, PriceOptions, ProviderOptions,
    ResilienceOptions,
};
pub use dialect::Dialect;
pub use durable::{BatchOptions, CallApi, CallInput, CallOutput, Durable};
pub use error::{BUDGET_EXHAUSTED, CONTEXT_EXCEEDED, GUARD_REFUSED, PROVIDER_FAILED};
pub use gateway::{
    BreakerAction, BreakerInput, BudgetStatus, CompleteInput, Completion, CompletionStop, CompletionStream,
    Gateway, GatewayError, LaneStatus, Piece, PromptMessage, PromptTool, PromptToolCall, RouteStatus,
    SemanticOptions, Status,
};
pub use govern::{BudgetOptions, GuardKind, GuardOptions, LimitOptions, LoggedCall, UsageGroup, UsageRow};
pub use routes::{API_ROUTES, render_failure, router};
pub use routing::{Class, Considered, Explanation, Need, RouteOptions, Strategy, TargetOptions, WhenOptions};
pub use tools::tools;
