//! Options of the fleet: the `[browser]` section.

use std::{num::NonZeroUsize, path::PathBuf, thread::available_parallelism};

use paddock_platform::{
    config::SecretRef,
    units::{ByteSize, HumanDuration},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    egress::{Destination, EgressOptions},
    guard::ContentGuard,
    ports::PortRange,
};

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
    /// Most instances at a time, those that hibernate included: they cost disk, not memory.
    pub instances_max: usize,
    /// Most instances of one tenant, those that hibernate included.
    pub instances_per_tenant_max: usize,
    /// Ports that are reserved for instances that ask for one.
    pub ports: PortRange,
    /// Most named profiles of one tenant.
    pub profiles_per_tenant_max: usize,
    /// Most instances that are awake at a time. When another is needed, the one that was idle for longest hibernates.
    pub instances_running_max: usize,
    /// How long an instance is kept awake that nothing uses. Then its state is saved and its memory given back; the
    /// next request wakes it.
    pub hibernate_after: HumanDuration,
    /// How long after a change an instance's state is saved: what `kill -9` may cost.
    pub checkpoint_after: HumanDuration,
    /// How long an instance is kept that nobody uses; then it is stopped.
    pub expire_after: HumanDuration,
    /// Most bytes of web storage that are saved of one instance, and of one tab of it.
    pub state_size_max: ByteSize,
    /// Most requests that work with one instance at a time; further ones are refused with 429.
    pub requests_per_instance_max: usize,
    /// Memory of a Chrome process with its children (proportional set size) above which it is replaced: it takes no
    /// further instance, and those in it hibernate as soon as they are idle.
    pub process_memory_max: ByteSize,
    /// Age at which a Chrome process is replaced in the same way.
    pub process_age_max: HumanDuration,
    /// How often each Chrome process is asked whether it still answers.
    pub heartbeat_interval: HumanDuration,
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
    /// Networks and hosts that pages may reach beside the public internet, for example `["127.0.0.0/8",
    /// "*.intranet.example"]`. Checked on every connection of every page, after its name was resolved. The addresses of
    /// this machine are not reached unless they are listed.
    pub allow: Vec<Destination>,
    /// Networks and hosts that pages may not reach, also if `allow` lists them, for example `["*.ads.example"]`. `*`
    /// leaves only what `allow` lists.
    pub deny: Vec<Destination>,
    /// Connections of all pages that are open at a time. Takes effect at the next start.
    pub connections_max: NonZeroUsize,
    /// How long resolving a host's name and connecting to it may take.
    pub connect_timeout: HumanDuration,
    /// How long a page's connection may stay open without a byte in either direction.
    pub connection_idle_timeout: HumanDuration,
    /// What is done about text of pages that addresses a model instead of people: `off`, `warn`, `strip` or `block`.
    pub content_guard: ContentGuard,
    /// Most bytes of a file that is fetched for a caller, or that a page downloads.
    pub download_size_max: ByteSize,
    /// Whether pages may download files: into a directory of their instance, from which callers fetch them. Takes effect
    /// when an instance wakes.
    pub page_downloads: bool,
    /// Most downloads of one instance that are remembered; the oldest make room.
    pub downloads_max: usize,
    /// Bytes of the files that one instance's pages downloaded; the oldest make room.
    pub downloads_size_max: ByteSize,
    /// Directories of unpacked extensions that callers may have in their instances, by path or by name of the directory.
    pub extensions: Vec<PathBuf>,
    /// Hosts, beside this machine's loopback addresses, whose Chromes callers with `browser:admin` may attach to.
    pub attach_hosts: Vec<String>,
    /// The directory that callers may upload files of this machine from, by `paths`. If there is none, they may not.
    pub uploads_dir: Option<PathBuf>,
    /// What saved states are encrypted with when a caller asks for it without a passphrase: `env:NAME` or `file:/path`.
    pub state_key: Option<SecretRef>,
    /// Most bytes that one navigation may load, decompressed, sub-resources included; loading is stopped there. A page
    /// that stays may load as much again every minute.
    pub page_size_max: ByteSize,
    /// Requests of a tab that are remembered for its network log; the oldest make room.
    pub network_entries_max: usize,
    /// Bytes that the network log of a tab may take.
    pub network_log_size_max: ByteSize,
    /// Whether the bodies of answers are fetched as they come and kept with the network log (4 MiB per tab, 1 MiB each),
    /// so that they can be read later. Without it Chrome keeps the last megabyte of a tab. Takes effect for new tabs.
    pub network_bodies: bool,
    /// How long a Chrome process without an instance is kept.
    pub idle_after: HumanDuration,
    /// How long Chrome itself, no page involved, may take to answer before it is taken for hung and killed.
    pub unresponsive_after: HumanDuration,
    /// Memory that must be left, by the tighter of machine and control group, when another instance is awake. Below it
    /// idle instances hibernate, and if that does not help, new ones are refused with 503.
    pub memory_floor: ByteSize,
    /// Most clients of one instance's DevTools passthrough (`/browser/instances/{id}/cdp`) at a time.
    pub cdp_clients_max: usize,
    /// Largest message that such a client may send.
    pub cdp_message_max: ByteSize,
    /// Most bytes that wait to be taken by such a client; one that is slower is disconnected.
    pub cdp_queue_max: ByteSize,
    /// Most addresses of one `/browser/batch-navigate`.
    pub batch_max: usize,
    /// Most tasks (`/browser/tasks`) of one tenant that wait for their turn.
    pub tasks_queued_max: usize,
    /// Most tasks of one agent that wait.
    pub tasks_queued_per_agent_max: usize,
    /// Most tasks of one tenant that are under way at a time.
    pub tasks_running_max: usize,
    /// Most tasks of one agent that are under way at a time.
    pub tasks_running_per_agent_max: usize,
    /// Most tasks of one `/browser/tasks/batch`.
    pub task_batch_max: usize,
    /// How long a task that has ended can be asked for.
    pub task_kept_for: HumanDuration,
    /// Most tasks of one tenant that have ended and can be asked for; the oldest make room.
    pub tasks_kept_max: usize,
    /// Most pages of one audit (`/browser/audit`) or crawl (`/browser/scrape`).
    pub crawl_pages_max: usize,
    /// How long one audit or crawl may take. Pages that it does not come to are reported as such.
    pub crawl_duration_max: HumanDuration,
    /// Most tabs watched live (`/browser/screencast`) at a time. Takes effect at the next start.
    pub screencasts_max: usize,
    /// How long a recording may be; at a bound no more pictures are taken.
    pub record_duration_max: HumanDuration,
    /// Most pictures of a recording.
    pub record_frames_max: usize,
    /// Most bytes of a recording's pictures.
    pub record_size_max: ByteSize,
}

impl Default for BrowserOptions {
    fn default() -> Self {
        Self {
            engine: EngineChoice::HeadlessShell,
            sandbox: true,
            instances_max: 1000,
            instances_per_tenant_max: 1000,
            ports: PortRange::new(9868, 9968),
            profiles_per_tenant_max: 1000,
            instances_running_max: 200,
            hibernate_after: HumanDuration::from_secs(300),
            checkpoint_after: HumanDuration::from_secs(3),
            expire_after: HumanDuration::from_secs(30 * 86_400),
            state_size_max: ByteSize::mib(8),
            requests_per_instance_max: 64,
            process_memory_max: ByteSize::mib(4096),
            process_age_max: HumanDuration::from_secs(86_400),
            heartbeat_interval: HumanDuration::from_secs(5),
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
            deny: Vec::new(),
            connections_max: const { NonZeroUsize::new(4096).unwrap() },
            connect_timeout: HumanDuration::from_secs(10),
            connection_idle_timeout: HumanDuration::from_secs(600),
            content_guard: ContentGuard::Warn,
            download_size_max: ByteSize::mib(20),
            page_downloads: true,
            downloads_max: 100,
            downloads_size_max: ByteSize::mib(100),
            extensions: Vec::new(),
            attach_hosts: Vec::new(),
            uploads_dir: None,
            state_key: None,
            page_size_max: ByteSize::mib(50),
            network_entries_max: 1000,
            network_log_size_max: ByteSize::mib(1),
            network_bodies: false,
            idle_after: HumanDuration::from_secs(300),
            unresponsive_after: HumanDuration::from_secs(20),
            memory_floor: ByteSize::mib(512),
            cdp_clients_max: 4,
            cdp_message_max: ByteSize::mib(16),
            cdp_queue_max: ByteSize::mib(64),
            batch_max: 100,
            tasks_queued_max: 1000,
            tasks_queued_per_agent_max: 100,
            tasks_running_max: 20,
            tasks_running_per_agent_max: 10,
            task_batch_max: 50,
            task_kept_for: HumanDuration::from_secs(300),
            tasks_kept_max: 1000,
            crawl_pages_max: 500,
            crawl_duration_max: HumanDuration::from_secs(600),
            screencasts_max: 32,
            record_duration_max: HumanDuration::from_secs(300),
            record_frames_max: 600,
            record_size_max: ByteSize::mib(64),
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
        EgressOptions {
            allow: self.allow,
            deny: self.deny,
            connections_max: self.connections_max.get(),
            connect_timeout: self.connect_timeout.get(),
            idle_timeout: self.connection_idle_timeout.get(),
            ..EgressOptions::default()
        }
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
