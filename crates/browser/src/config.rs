//! Options of the fleet: the `[browser]` section.

use std::{num::NonZeroUsize, path::PathBuf, thread::available_parallelism};

use paddock_platform::units::{ByteSize, HumanDuration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::egress::{EgressOptions, Network};

/// # Browsers
///
/// The Chrome processes that pages run in, and the bounds of what agents may do with them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BrowserOptions {
    /// Which Chrome: `headless-shell` (small and fast), `chromium` (the full browser, three to four times the cost),
    /// or the path of a binary. Takes effect for processes that start later.
    pub engine: EngineChoice,
    /// Whether Chrome's own sandbox is on. When the server runs as root it is off in any case, because Chrome refuses
    /// to start otherwise.
    pub sandbox: bool,
    /// Most instances at a time.
    pub instances_max: usize,
    /// Most instances that share one Chrome process: a crash of the process takes them all.
    pub contexts_per_process_max: NonZeroUsize,
    /// Most tabs of one instance, windows that its pages open included.
    pub tabs_per_instance_max: usize,
    /// How long a tab stays open after a request has read it or acted on it, if no other request does. A tab that was
    /// only navigated stays. Default: for ever.
    pub tab_idle_after: Option<HumanDuration>,
    /// Longest time that a lock of a tab can be asked for.
    pub tab_lock_max: HumanDuration,
    /// Most agents and sessions of one tenant whose current tab is remembered; the one that was not seen for longest
    /// is forgotten.
    pub agents_per_tenant_max: usize,
    /// Most sessions of one tenant that are open at a time.
    pub sessions_per_tenant_max: usize,
    /// How long a session lasts that nobody uses.
    pub session_idle_after: HumanDuration,
    /// How long a session lasts at the longest. Holds for sessions that are opened later.
    pub session_lifetime: HumanDuration,
    /// Most requests of one tenant that the log of activity remembers.
    pub activity_max: usize,
    /// Instances kept ready in advance, so that creating one does not wait for Chrome. 0: Chrome starts when it is
    /// first needed.
    pub warm: usize,
    /// Most pages that load at a time; further navigations wait. Default: twice the number of processors.
    pub navigation_concurrency_max: Option<NonZeroUsize>,
    /// Most navigations that wait for their turn; further ones are refused with 503.
    pub navigation_queue_max: usize,
    /// How long a navigation may take when the request names no time.
    pub navigation_timeout: HumanDuration,
    /// Networks that pages may reach beside the public internet, for example `["127.0.0.0/8"]`. Checked on every
    /// connection of every page.
    pub allow: Vec<Network>,
    /// Most bytes that one navigation may load, decompressed, sub-resources included; loading is stopped there.
    pub page_size_max: ByteSize,
    /// How long a Chrome process without an instance is kept.
    pub idle_after: HumanDuration,
    /// How long Chrome itself, no page involved, may take to answer before it is taken for hung and killed.
    pub unresponsive_after: HumanDuration,
    /// Memory that must be available on the machine for another instance to be created.
    pub memory_floor: ByteSize,
}

impl Default for BrowserOptions {
    fn default() -> Self {
        Self {
            engine: EngineChoice::HeadlessShell,
            sandbox: true,
            instances_max: 200,
            contexts_per_process_max: const { NonZeroUsize::new(25).unwrap() },
            tabs_per_instance_max: 20,
            tab_idle_after: None,
            tab_lock_max: HumanDuration::from_secs(24 * 3600),
            agents_per_tenant_max: 1000,
            sessions_per_tenant_max: 1000,
            session_idle_after: HumanDuration::from_secs(30 * 60),
            session_lifetime: HumanDuration::from_secs(24 * 3600),
            activity_max: 1000,
            warm: 1,
            navigation_concurrency_max: None,
            navigation_queue_max: 200,
            navigation_timeout: HumanDuration::from_secs(30),
            allow: Vec::new(),
            page_size_max: ByteSize::mib(50),
            idle_after: HumanDuration::from_secs(300),
            unresponsive_after: HumanDuration::from_secs(20),
            memory_floor: ByteSize::mib(512),
        }
    }
}

impl BrowserOptions {
    /// The bound on pages that load at a time, with its default resolved.
    pub fn navigation_concurrency(&self) -> usize {
        self.navigation_concurrency_max
            .map_or_else(|| available_parallelism().map_or(2, NonZeroUsize::get) * 2, NonZeroUsize::get)
    }

    /// What the egress needs of the options.
    pub(crate) fn egress(self) -> EgressOptions {
        EgressOptions { allow: self.allow, ..EgressOptions::default() }
    }
}

/// Which Chrome to run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "String", into = "String")]
#[schemars(with = "String")]
pub enum EngineChoice {
    /// Chrome's headless shell: no windows, no extensions, a third of the cost.
    #[default]
    HeadlessShell,
    /// The full browser, headless.
    Chromium,
    /// A binary of the user's choice; taken for a headless shell if its name says so.
    Path(PathBuf),
}

impl From<String> for EngineChoice {
    fn from(text: String) -> Self {
        match text.as_str() {
            "headless-shell" => Self::HeadlessShell,
            "chromium" => Self::Chromium,
            _ => Self::Path(text.into()),
        }
    }
}

impl From<EngineChoice> for String {
    fn from(choice: EngineChoice) -> Self {
        match choice {
            EngineChoice::HeadlessShell => "headless-shell".to_owned(),
            EngineChoice::Chromium => "chromium".to_owned(),
            EngineChoice::Path(path) => path.to_string_lossy().into_owned(),
        }
    }
}
