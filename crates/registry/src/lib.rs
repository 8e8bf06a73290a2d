//! The registry of MCP servers: where entries come from, who sees which, and how they are served.
//!
//! ```text
//! source ─▶ fetch ─▶ format ─▶ read ─▶ Content ─▶ View ─▶ Selection ─▶ pages, entries, search
//!  file, URL,  documents  parts   drafts  of one     of      what one     rendered
//!  git, API,                              source     some    caller
//!  cluster, managed                                  sources sees
//! ```
//!
//! - A **source** has a task of its own ([`sync`]): one that is slow or fails delays no other. What it gives is compared by
//!   hash before it is parsed, and what has not changed is shared with what was there before.
//! - An **entry** is one version of one server. It is rendered once; the bytes of its document stay as its source wrote
//!   them, but for white space between tokens. What clients cannot read is kept out, and what is merely wrong is marked,
//!   both with the reasons.
//! - A **view** is a named registry over ordered sources. All views of a moment are one immutable board, swapped as one:
//!   a request reads one board from its first byte to its last, and takes no lock.
//! - The **gateway** runs and reaches the servers that the configuration names, and offers their tools ([`gateway`]).
//! - What is published here is published by callers with a key, or by whoever proves that a namespace is theirs ([`proof`]).
//! - The **store** keeps the last good content of every source, so that a restart serves it at once; no read of the API goes
//!   there.

mod apply;
mod claims;
mod config;
mod content;
mod cursor;
mod entry;
mod error;
mod events;
mod fetch;
mod filter;
mod format;
pub mod gateway;
mod import;
mod kinds;
mod kubernetes;
mod list;
pub mod metrics;
mod pages;
mod proof;
mod publish;
mod read;
mod registry;
mod restore;
mod routes;
mod search;
mod semantic;
mod source;
mod status;
mod store;
mod sync;
#[cfg(test)]
mod testing;
mod tools;
mod validate;
mod version;
mod view;

pub use claims::{Claims, GrantOptions};
pub use config::*;
pub use entry::{OFFICIAL_META, PADDOCK_META, Status};
pub use error::{FetchError, NAMESPACE_NOT_OWNED, NOT_MANAGED, RegistryError, VERSION_EXISTS};
pub use events::publish;
pub use filter::{FilterOptions, PatternOptions};
pub use import::{ImportError, Imported, import_toolhive};
pub use kubernetes::KubernetesOptions;
pub use proof::{PROOF_REFUSED, PROOF_UNCHECKED, ProofMethod, Proofs, PublishOptions};
pub use publish::StatusChange;
pub use registry::Registry;
pub use routes::{ENTRANCE_ROUTES, PUBLIC_ROUTES, STREAM_ROUTES, root_routes, routes};
pub use search::{Facets, Hit, SearchInput, SearchOutput};
pub use semantic::{Embed, EmbedError, EmbedRequest, EmbeddingOptions, SemanticStatus, SemanticUse};
pub use source::{Creation, Phase};
pub use status::*;
pub use store::{AuditRecord, SyncOutcome, SyncRecord};
pub use tools::tools;
pub use validate::{Issue, IssueKind, SCHEMA_CURRENT, Severity, Verdict, validate};
