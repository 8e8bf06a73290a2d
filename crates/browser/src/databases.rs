//! `IndexedDB` of an instance, read when it hibernates and there again before its pages are.
//!
//! Chrome has no command that gives an origin its databases back. A script can, in a document of the origin: an empty one
//! that is answered here in place of the host, so that no script of a page runs before. It is opened in the instance's
//! context beside its tabs, and closed again.

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use paddock_cdp::{
    CallError, Session, Subscription,
    protocol::{
        fetch::{self, FailRequest, FulfillRequest, Header, RequestPattern, RequestPaused},
        network,
        page::{self, CreateIsolatedWorld, FrameNavigated, GetFrameTree, Navigate},
        target::{CloseTarget, CreateTarget},
    },
};
use paddock_platform::task::Tasks;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::time::{Instant, timeout, timeout_at};

use crate::{
    areas::origin_of,
    error::BrowserError,
    evaluate::{EvaluateError, World, evaluate_at},
    instance::Instance,
    pool::{ContextLease, hung},
    process::Process,
    tab::{Tab, WORLD},
    wire::{GetUsage, SetBypassServiceWorker},
};

/// Origins of one instance whose databases are looked for.
pub(crate) const ORIGINS_MAX: usize = 64;
/// How long reading, or writing, may take: of one origin, and of all.
const ORIGIN_DEADLINE: Duration = Duration::from_secs(3);
const ALL_DEADLINE: Duration = Duration::from_secs(6);
const EVENTS: &[&str] = &["Fetch.requestPaused", "Page.frameNavigated"];
const EVENTS_MAX: usize = 64;
/// How long an empty document may take to be there.
const DOCUMENT_DEADLINE: Duration = Duration::from_secs(2);
const SCRIPT: &str = include_str!("../js/databases.js");
/// The empty document.
const EMPTY: &str = "<!doctype html>";

/// The databases of each origin, as the script writes and reads them.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Databases(BTreeMap<String, Box<RawValue>>);

impl Databases {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn origins(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }
}

/// An empty page of the context that documents of any origin can be shown in.
struct Blank {
    session: Session,
    frame_id: String,
    events: Subscription,
    _target: Closing,
}

/// Closes the page.
struct Closing {
    process: Process,
    tasks: Tasks,
    target_id: String,
}

impl Drop for Closing {
    fn drop(&mut self) {
        let (process, target_id) = (self.process.clone(), std::mem::take(&mut self.target_id));
        self.tasks.spawn("browser_close_unclaimed", async move {
            // Its context may be gone already, and the page with it.
            process.connection().browser().send(&CloseTarget { target_id: &target_id }).await.ok();
        });
    }
}

impl Blank {
    async fn open(instance: &Instance, lease: &ContextLease) -> Result<Self, BrowserError> {
        let process = lease.process();
        let create = CreateTarget {
            url: "about:blank",
            browser_context_id: lease.name(),
            new_window: process.has_windows().then_some(true),
            ..CreateTarget::default()
        };
        let created = process.connection().browser().send(&create).await;
        let target_id = created.map_err(|error| hung(process, error))?.target_id;
        instance.0.local().blank = Some(target_id.clone());
        let target =
            Closing { process: process.clone(), tasks: lease.tasks().clone(), target_id: target_id.clone() };
        let session = process.connection().attach(&target_id).await?;
        let events = session.subscribe(EVENTS, EVENTS_MAX);
        let everything = [RequestPattern { url_pattern: "*".to_owned(), resource_type: None }];
        let hold = fetch::Enable { patterns: &everything, handle_auth_requests: false };
        let (network, bypass) = (network::Enable::default(), SetBypassServiceWorker { bypass: true });
        let (tree, ..) = tokio::try_join!(
            session.send(&GetFrameTree {}),
            session.send(&page::Enable {}),
            session.send(&hold),
            session.send(&network),
            // One of the site would answer with the site's page.
            session.send(&bypass)
        )?;
        Ok(Self { session, frame_id: tree.frame_tree.frame.id, events, _target: target })
    }

    /// Shows an empty document of an origin, and evaluates in its isolated world.
    async fn evaluate(&mut self, origin: &str, expression: &str) -> Result<Box<RawValue>, EvaluateError> {
        let world = timeout(DOCUMENT_DEADLINE, self.show(origin)).await;
        let world = world.map_err(|_| EvaluateError::Timeout(DOCUMENT_DEADLINE))?;
        let context_id = world.map_err(EvaluateError::Call)?;
        evaluate_at(&self.session, expression, Some(context_id), ORIGIN_DEADLINE).await
    }

    /// Shows an empty document of an origin; its isolated world.
    async fn show(&mut self, origin: &str) -> Result<i64, CallError> {
        let url = format!("{origin}/");
        let (session, events) = (self.session.clone(), &mut self.events);
        let shown = async {
            while let Some(event) = events.next().await {
                if let Ok(held) = event.parse::<RequestPaused>() {
                    answer(&session, &held, &url).await?;
                } else if let Ok(FrameNavigated { frame }) = event.parse()
                    && frame.parent_id.is_none()
                    && frame.url == url
                {
                    return Ok(());
                }
            }
            Err(CallError::Detached { method: "Page.navigate".to_owned() })
        };
        let navigate = Navigate { url: &url };
        tokio::try_join!(session.send(&navigate), shown)?;
        let world = CreateIsolatedWorld { frame_id: &self.frame_id, world_name: WORLD };
        Ok(self.session.send(&world).await?.execution_context_id)
    }
}

/// Whether an origin has databases in the context of a page.
async fn has_databases(session: &Session, origin: &str) -> Result<bool, CallError> {
    let usage = session.send_within(&GetUsage { origin }, ORIGIN_DEADLINE).await?;
    Ok(usage.usage_breakdown.iter().any(|usage| usage.storage_type == "indexeddb" && usage.usage > 0.0))
}

/// Answers the request for the document, and no other.
async fn answer(session: &Session, held: &RequestPaused, url: &str) -> Result<(), CallError> {
    let request_id = held.request_id.as_str();
    if held.request.url != url || held.resource_type != "Document" {
        let fail = FailRequest { request_id, error_reason: "BlockedByClient" };
        return session.send(&fail).await.map(drop);
    }
    let headers = [
        Header { name: "Content-Type", value: "text/html" },
        Header { name: "Cache-Control", value: "no-store" },
    ];
    let fulfill = FulfillRequest {
        request_id,
        response_code: 200,
        response_headers: &headers,
        body: &BASE64_STANDARD.encode(EMPTY),
    };
    session.send(&fulfill).await.map(drop)
}

impl Tab {
    /// The databases of the site that it shows; none if there are none that can be kept.
    pub(crate) async fn databases(&self, size_max: usize) -> Option<Box<RawValue>> {
        let dump = format!("{SCRIPT}.dump({size_max})");
        let dumped = self.evaluate(&dump, World::Isolated, ORIGIN_DEADLINE).await.ok()?;
        (dumped.get() != "[]").then_some(dumped)
    }

    /// Makes databases of the site that it shows, in place of those of the same names. How many were made: one that the
    /// page has open stays as it is.
    pub(crate) async fn set_databases(&self, databases: &RawValue) -> Result<usize, EvaluateError> {
        let restore = format!("{SCRIPT}.restore({databases})");
        self.evaluate_as(&restore, World::Isolated, ORIGIN_DEADLINE).await
    }
}

impl Instance {
    /// Reads and saves the databases of the origins that its pages have shown. What cannot be read stays as it was saved
    /// before.
    pub(crate) async fn save_databases(&self, lease: &ContextLease) -> Result<(), BrowserError> {
        let origins: Vec<String> = self.0.local().visited.iter().cloned().collect();
        if origins.is_empty() {
            return Ok(());
        }
        let registry = &self.0.shared.registry;
        let mut before = registry.load_databases(&self.0.id).await?;
        let (read, unread) = self.read_databases(lease, origins).await;
        let mut databases = Databases(read);
        let kept = unread.iter().filter_map(|origin| before.0.remove_entry(origin));
        databases.0.extend(kept);
        if databases.is_empty() && before.is_empty() {
            return Ok(());
        }
        registry.save_databases(&self.0.id, &databases).await?;
        if let Some(profile) = &self.0.spec.profile {
            registry.save_profile_databases(profile, &databases).await?;
        }
        Ok(())
    }

    /// The databases by origin, and the origins whose databases could not be read.
    async fn read_databases(
        &self,
        lease: &ContextLease,
        mut origins: Vec<String>,
    ) -> (BTreeMap<String, Box<RawValue>>, Vec<String>) {
        let until = Instant::now() + ALL_DEADLINE;
        let mut read = BTreeMap::new();
        // Mostly there are none; any page of the context knows.
        if let Some(tab) = self.tabs().first() {
            let mut with_databases = Vec::new();
            for origin in origins {
                let asked = timeout_at(until, has_databases(tab.session(), &origin)).await;
                if !matches!(asked, Ok(Ok(false))) {
                    with_databases.push(origin);
                }
            }
            origins = with_databases;
        }
        if origins.is_empty() {
            return (read, origins);
        }
        // A page that appears meanwhile is nobody's: this one must not become a tab.
        let _opening = self.0.opening.lock().await;
        let Ok(Ok(mut blank)) = timeout_at(until, Blank::open(self, lease)).await else {
            return (read, origins);
        };
        let (mut left, mut unread) = (self.0.state_size_max(), Vec::new());
        for origin in origins {
            match timeout_at(until, blank.read(&origin, left)).await {
                Ok(Ok(Some(databases))) => {
                    left = left.saturating_sub(databases.get().len());
                    read.insert(origin, databases);
                }
                Ok(Ok(None)) => {}
                Ok(Err(_)) | Err(_) => unread.push(origin),
            }
        }
        if !unread.is_empty() {
            let count = unread.len();
            tracing::debug!(browser.instance = %self.id(), count, "databases of origins were not read");
        }
        (read, unread)
    }

    /// Gives a new context its databases, before its pages are there.
    pub(crate) async fn give_databases(
        &self,
        lease: &ContextLease,
        databases: &Databases,
    ) -> Result<(), BrowserError> {
        if databases.is_empty() {
            return Ok(());
        }
        let until = Instant::now() + ALL_DEADLINE;
        let mut blank = Blank::open(self, lease).await?;
        for (origin, databases) in &databases.0 {
            let restore = format!("{SCRIPT}.restore({databases})");
            let given = timeout_at(until, blank.evaluate(origin, &restore)).await;
            if !matches!(given, Ok(Ok(_))) {
                tracing::warn!(browser.instance = %self.id(), "an origin did not get its databases back");
            }
        }
        Ok(())
    }

    /// Notes that a page of an origin was there: it may have databases.
    pub(crate) fn note_visited(&self, url: &str) {
        if let Some(origin) = origin_of(url).filter(|origin| origin.starts_with("http")) {
            let mut local = self.0.local();
            if local.visited.len() < ORIGINS_MAX {
                local.visited.insert(origin);
            }
        }
    }
}

impl Blank {
    /// The databases of an origin; none if it has none.
    async fn read(&mut self, origin: &str, size_max: usize) -> Result<Option<Box<RawValue>>, EvaluateError> {
        if !has_databases(&self.session, origin).await.map_err(EvaluateError::Call)? {
            return Ok(None);
        }
        let databases = self.evaluate(origin, &format!("{SCRIPT}.dump({size_max})")).await?;
        Ok((databases.get() != "[]").then_some(databases))
    }
}
