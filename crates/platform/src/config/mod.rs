//! Configuration: typed sections, loaded from layers, followed live.
//!
//! Each area declares one options struct (`#[serde(deny_unknown_fields, default)]`, `JsonSchema`, a doc comment per
//! key); the binary composes them into its configuration type `C`, and everything here is generic over that.
//!
//! * [`Loader`] lays `paddock.toml` under the environment (`PADDOCK_BROWSER__INSTANCES_MAX=5`) under
//!   `--set browser.instances_max=5` and yields a [`Loaded`], which remembers where each value came from. Every problem
//!   of a load is reported at once, each naming its file and line (or variable, or flag), the key, and the nearest key
//!   that exists.
//! * [`Live`] is the configuration in force and [`Section`] one area's part of it; both follow a reload.
//! * [`Watcher`] reloads when the file changes. A bad file is reported in [`ReloadState`] and the running configuration
//!   kept.
//! * [`SecretRef`] stands where a secret is needed: `env:NAME` or `file:/path`, never the secret itself.

mod keys;
mod load;
pub mod metrics;
mod secret;
mod section;
mod show;
mod tree;
mod watch;

pub use keys::schema;
pub use load::{ConfigError, ConfigProblem, Loaded, Loader};
pub use secret::{Secret, SecretError, SecretRef};
pub use section::{Live, Section};
pub use tree::Origin;
pub use watch::{ReloadState, ReloadStatus, WatchError, Watcher};

/// The candidate most like `name`, if one is near enough to be what was meant.
pub fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len().max(name.len()) / 3).max(1))
        .min()
        .map(|(_, candidate)| candidate)
}
