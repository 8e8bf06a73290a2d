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
//! watches every process: when one ends by itself, its instances are restored in others.
//!
//! An instance outlives its context: cookies, storage, addresses and scroll positions are saved in the store. One that
//! nobody uses hibernates, which gives its memory back, and wakes with the next request; one whose Chrome dies is
//! restored, and so are all of them after a restart of the server. Ids of instances and tabs stay.
//!
//! Everything that involves Chrome has a deadline. A page that misses one is stopped or closed; a browser process that
//! misses one is killed with its process group. Pages reach the network through the [`egress`] alone.

pub mod egress;
pub mod metrics;
pub mod service;
pub mod sessions;
pub mod snapshot;

mod action;
mod activity;
mod admission;
mod areas;
mod attach;
pub mod audit;
mod blocking;
mod capture;
mod clipboard;
mod config;
mod console;
mod cookies;
mod coordination;
pub mod crawl;
mod databases;
mod dialog;
mod disguise;
mod display;
mod downloads;
mod emulation;
mod engine;
mod environment;
mod error;
mod evaluate;
mod events;
mod feed;
mod files;
mod film;
mod find;
mod fleet;
mod frames;
mod gate;
pub mod guard;
mod hibernate;
mod history;
mod ids;
mod instance;
mod keeper;
mod measure;
mod navigate;
mod network;
mod observe;
mod output;
mod page;
mod passthrough;
mod pdf;
mod pool;
mod ports;
mod process;
mod profile;
mod profiles;
mod record;
mod registry;
mod routes;
mod saved;
pub mod scheduler;
mod screencast;
mod screenshot;
mod storage;
mod survey;
mod tab;
mod timing;
mod tools;
mod upkeep;
mod wait;
mod watch;
mod wire;

pub use action::{
    ACTION_FAILED, Action, ActionError, ActionKind, Aim, Button, ClickMode, DialogAnswer, ELEMENT_COVERED,
    ELEMENT_DISABLED, ELEMENT_HIDDEN, ELEMENT_MOVING, ELEMENT_UNFIT, ElementSummary, INVALID_ACTION, Key,
    NO_ELEMENT, Outcome, STALE_REF, UnknownActionError, UnknownKeyError,
};
pub use attach::ATTACH_FAILED;
pub use blocking::Blocking;
pub use capture::{AnnotateError, CaptureWait, Label, LabelBox};
pub use config::{BrowserOptions, EngineChoice};
pub use console::{Console, ConsoleMessage, PageError};
pub use coordination::{Handoff, HoldError, Holds, Lock, NO_CURRENT_TAB, TAB_LOCKED, TAB_PAUSED_HANDOFF};
pub use dialog::{DIALOG_BLOCKING, Dialog, DialogError};
pub use downloads::{DownloadState, PageDownload};
pub use emulation::Emulation;
pub use engine::{Engine, EngineError, EngineKind, Sandbox};
pub use error::{
    BROWSER_CRASHED, BROWSER_UNAVAILABLE, BrowserError, CDP_CLIENTS_EXHAUSTED, PAGE_UNRESPONSIVE,
    TABS_EXHAUSTED,
};
pub use evaluate::{EVALUATION_FAILED, EVALUATION_TIMEOUT, EvaluateError, World};
pub use events::{FleetChange, FleetEvent};
pub use files::{
    DOWNLOAD_FAILED, DOWNLOAD_REFUSED, DOWNLOAD_TOO_LARGE, FILE_NAME_INVALID, STATE_SEALED, StateFile,
};
pub use find::{Explanation, Finding, Match, Weights};
pub use fleet::Fleet;
pub use frames::FrameScope;
pub use history::Turn;
pub use ids::{InstanceId, ParseIdError, ProfileId, TabId};
pub use instance::{InUse, Instance, InstanceGuard, InstanceInfo, InstanceSpec, InstanceStatus, TabEntry};
pub use navigate::{
    ADDRESS_REFUSED, BAD_ANSWER, DIALOG_LOOP, HOST_NOT_FOUND, HOST_UNREACHABLE, NOT_A_PAGE, NavigateError,
    NavigateOptions, Navigation, PAGE_TOO_LARGE, REDIRECT_LOOP, TLS_FAILED, Wait,
};
pub use network::{
    Entry as NetworkEntry, ExportFormat, Filter as NetworkFilter, Route, RouteAction, RouteError,
};
pub use observe::{ObserveError, SNAPSHOT_FAILED};
pub use output::OUTPUT_FAILED;
pub use paddock_cdp as cdp;
pub use page::Stage;
pub use pdf::{PDF_FAILED, PDF_TOO_LARGE, PdfError};
pub use pool::Isolation;
pub use ports::{ParsePortRangeError, PortRange};
pub use process::LaunchError;
pub use profiles::{Profile, ProfileSettings};
pub use routes::{STREAM_ROUTES, UNTIMED_ROUTES, router};
pub use screenshot::{Area, Format, Rect, Screenshot};
pub use service::BrowserService;
pub use sessions::Sessions;
pub use storage::{Area as StorageArea, Item as StorageItem, StorageChanged, Stored};
pub use tab::{Tab, TabSpec};
pub use timing::{PageMemory, PageTiming};
pub use tools::tools;
pub use wait::{Condition, LoadState, Presence};
