//! The fleet: isolated browsers for agents.
//!
//! ```text
//! Fleet ─┬─ Pool ── Process (one Chrome, its process group, its pipe, its profile)
//!        │             └─ context ◄─┐
//!        ├─ Instance (a tenant's) ──┘   own cookies, storage, cache
//!        │     └─ Tab ── Session        navigate, evaluate, screenshot, snapshot
//!        └─ Egress                      the only way out for pages
//! ```
//!
//! An [`Instance`] is a browser context in a Chrome process that it shares with others, or, on request, alone in one.
//! The [`Fleet`] fills shared processes one after another, keeps a context with an open page ready in advance, and
//! watches every process: when one ends by itself, instances that held nothing get a new context when they are next
//! used, the others report the loss, and another process takes its place.
//!
//! Everything that involves Chrome has a deadline. A page that misses one is stopped or closed; a browser process that
//! misses one is killed with its process group. Pages reach the network through the [`egress`] alone.

pub mod egress;
pub mod metrics;
pub mod service;
pub mod sessions;
pub mod snapshot;

mod activity;
mod config;
mod coordination;
mod emulation;
mod engine;
mod error;
mod evaluate;
mod fleet;
mod gate;
mod ids;
mod instance;
mod measure;
mod navigate;
mod observe;
mod page;
mod pool;
mod process;
mod profile;
mod routes;
mod screenshot;
mod tab;
mod tools;

pub use config::{BrowserOptions, EngineChoice};
pub use coordination::{Handoff, HoldError, Holds, Lock, NO_CURRENT_TAB, TAB_LOCKED, TAB_PAUSED_HANDOFF};
pub use emulation::Emulation;
pub use engine::{Engine, EngineError, EngineKind, Sandbox};
pub use error::{BROWSER_CRASHED, BROWSER_UNAVAILABLE, BrowserError, PAGE_UNRESPONSIVE, TABS_EXHAUSTED};
pub use evaluate::{EVALUATION_FAILED, EVALUATION_TIMEOUT, EvaluateError, World};
pub use fleet::Fleet;
pub use ids::{InstanceId, ParseIdError, TabId};
pub use instance::{Instance, InstanceGuard, InstanceInfo, InstanceSpec, InstanceStatus};
pub use navigate::{
    ADDRESS_REFUSED, BAD_ANSWER, DIALOG_LOOP, HOST_NOT_FOUND, HOST_UNREACHABLE, NOT_A_PAGE, NavigateError,
    NavigateOptions, Navigation, PAGE_TOO_LARGE, REDIRECT_LOOP, TLS_FAILED, Wait,
};
pub use observe::{ObserveError, SNAPSHOT_FAILED};
pub use paddock_cdp as cdp;
pub use page::Stage;
pub use pool::Isolation;
pub use process::LaunchError;
pub use routes::{UNTIMED_ROUTES, router};
pub use screenshot::{Area, Format, Rect, Screenshot};
pub use service::BrowserService;
pub use sessions::Sessions;
pub use tab::{Tab, TabSpec};
pub use tools::tools;
