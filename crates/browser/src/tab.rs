//! Tabs: one page each, with the task that follows its events.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use metrics::{counter, gauge};
use paddock_cdp::{
    CallError, Session, Subscription,
    protocol::{
        emulation::SetFocusEmulationEnabled,
        network,
        page::{
            self, AddScriptToEvaluateOnNewDocument, GetFrameTree, HandleJavaScriptDialog,
            JavascriptDialogOpening, SetLifecycleEventsEnabled,
        },
        runtime,
        target::{CloseTarget, CreateTarget, GetTargetInfo, TargetInfo},
    },
};
use tokio::time::Instant;

use crate::{
    emulation::Emulation,
    error::BrowserError,
    fleet::Shared,
    ids::{InstanceId, TabId},
    metrics::{BROWSER_DIALOGS_TOTAL, BROWSER_TAB_CRASHES_TOTAL, BROWSER_TABS},
    page::{EVENTS, Page, SharedPage},
    pool::{ContextLease, hung},
    process::Process,
    snapshot::Snapshot,
};

/// The isolated world that Paddock's scripts share in every page: they see the DOM, the page does not see them.
pub(crate) const WORLD: &str = "paddock";
/// Events of a tab that wait to be taken in; when more come at once, the page's requests are counted anew.
const EVENTS_MAX: usize = 4096;
/// Dialogs that a page may open between two navigations; at one more, its tab is closed.
pub(crate) const DIALOGS_MAX: u32 = 20;
/// Bytes of bodies that Chrome keeps per tab for later questions. Nobody asks yet, and the default is 100 MB.
const BODIES_SIZE_MAX: u64 = 1 << 20;

/// What a tab is opened with.
#[derive(Clone, Debug, Default)]
pub struct TabSpec {
    /// The screen and device.
    pub emulation: Emulation,
    /// Scripts that run in every document before its own, in the isolated world "paddock".
    pub scripts: Vec<Arc<str>>,
}

/// One page of an instance. Cheap to clone; open until it is closed, also without handles.
#[derive(Clone, Debug)]
pub struct Tab(pub(crate) Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) id: TabId,
    pub(crate) instance: InstanceId,
    pub(crate) session: Session,
    pub(crate) process: Process,
    pub(crate) page: Arc<SharedPage>,
    pub(crate) shared: Arc<Shared>,
    /// One navigation at a time.
    pub(crate) navigating: tokio::sync::Mutex<()>,
    /// The isolated world of a document: its loader and context.
    pub(crate) world: Mutex<Option<(String, i64)>>,
    /// The last snapshot: references continue from it, and the next may be shown as its difference.
    pub(crate) snapshot: Mutex<Option<Arc<Snapshot>>>,
    used: AtomicU64,
}

/// A page that is attached and reports its events, but belongs to no tab yet.
#[derive(Debug)]
pub(crate) struct Attached {
    session: Session,
    process: Process,
    events: Subscription,
    frame: page::Frame,
}

impl Attached {
    /// Opens an empty page in a context.
    pub(crate) async fn open(lease: &ContextLease) -> Result<Self, BrowserError> {
        let browser = lease.process().connection().browser();
        let create = CreateTarget {
            url: "about:blank",
            browser_context_id: Some(lease.context_id()),
            ..CreateTarget::default()
        };
        let target = browser.send(&create).await.map_err(|error| hung(lease.process(), error))?.target_id;
        Self::attach(lease, &target).await
    }

    /// Attaches to a page that exists.
    pub(crate) async fn attach(lease: &ContextLease, target_id: &str) -> Result<Self, BrowserError> {
        let process = lease.process().clone();
        let session = process.connection().attach(target_id).await.map_err(|error| hung(&process, error))?;
        let events = session.subscribe(EVENTS, EVENTS_MAX);
        let network = network::Enable {
            max_total_buffer_size: Some(BODIES_SIZE_MAX),
            max_resource_buffer_size: Some(BODIES_SIZE_MAX),
        };
        let (tree, ..) = tokio::try_join!(
            session.send(&GetFrameTree {}),
            session.send(&page::Enable {}),
            session.send(&SetLifecycleEventsEnabled { enabled: true }),
            session.send(&network),
            // Without it, scripts of an isolated world are not run when a navigation changes the renderer process.
            session.send(&runtime::Enable {}),
            // Every tab believes to be the one that is looked at: no throttling, and `:focus` works.
            session.send(&SetFocusEmulationEnabled { enabled: true }),
        )?;
        Ok(Self { session, process, events, frame: tree.frame_tree.frame })
    }

    pub(crate) fn target_id(&self) -> &str {
        self.session.target_id()
    }

    /// Makes a tab of it.
    pub(crate) async fn into_tab(
        self,
        instance: InstanceId,
        spec: &TabSpec,
        shared: Arc<Shared>,
        on_close: impl FnOnce(&TabId) + Send + 'static,
    ) -> Result<Tab, BrowserError> {
        let Self { session, process, events, frame } = self;
        spec.emulation.apply(&session, process.user_agent()).await?;
        for source in &spec.scripts {
            let script = AddScriptToEvaluateOnNewDocument {
                source,
                world_name: Some(WORLD),
                run_immediately: Some(true),
            };
            session.send(&script).await?;
        }
        let page = Page::new(frame, Instant::now());
        let tab = Tab(Arc::new(Inner {
            id: TabId::new(),
            instance,
            session,
            process,
            page: Arc::new(SharedPage::new(page)),
            shared,
            navigating: tokio::sync::Mutex::default(),
            world: Mutex::default(),
            snapshot: Mutex::default(),
            used: AtomicU64::new(0),
        }));
        tab.touch();
        let follower = Follower {
            id: tab.0.id.clone(),
            session: tab.0.session.clone(),
            process: tab.0.process.clone(),
            page: Arc::clone(&tab.0.page),
            shared: Arc::clone(&tab.0.shared),
            events,
        };
        tab.0.shared.tasks.spawn("browser_tab", async move {
            let id = follower.id.clone();
            follower.run().await;
            on_close(&id);
        });
        Ok(tab)
    }
}

impl Tab {
    /// Its id.
    pub fn id(&self) -> &TabId {
        &self.0.id
    }

    /// The instance that it belongs to.
    pub fn instance_id(&self) -> &InstanceId {
        &self.0.instance
    }

    /// Process id of its Chrome.
    pub(crate) fn process_id(&self) -> i32 {
        self.0.process.pid()
    }

    /// The DevTools session with its page.
    pub fn session(&self) -> &Session {
        &self.0.session
    }

    /// Address and title of its page; answered also while the page is busy.
    pub async fn info(&self) -> Result<TargetInfo, BrowserError> {
        let command = GetTargetInfo { target_id: self.0.session.target_id() };
        let reply = self.0.process.connection().browser().send(&command).await?;
        Ok(reply.target_info)
    }

    /// Closes it with its page, also one that is busy for ever.
    pub async fn close(&self) {
        close_target(&self.0.session, &self.0.process).await;
    }

    /// Whether its page is gone.
    pub fn is_closed(&self) -> bool {
        self.0.session.state().is_final()
    }

    /// Notes that it is used now.
    pub(crate) fn touch(&self) {
        static TICKS: AtomicU64 = AtomicU64::new(0);
        self.0.used.store(TICKS.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Orders tabs by their last use.
    pub(crate) fn used(&self) -> u64 {
        self.0.used.load(Ordering::Relaxed)
    }

    /// Forgets the isolated world, for example after a crash.
    pub(crate) fn forget_world(&self) {
        *self.0.world.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

async fn close_target(session: &Session, process: &Process) {
    let command = CloseTarget { target_id: session.target_id() };
    if session.state().is_final() {
        return;
    }
    let deadline = process.unresponsive_after();
    let closed = async {
        process.connection().browser().send(&command).await?;
        // The reply comes when closing has begun.
        let late = |_| CallError::Deadline { method: "Target.closeTarget".to_owned(), deadline };
        tokio::time::timeout(deadline, session.closed()).await.map_err(late)
    };
    if let Err(error @ CallError::Deadline { .. }) = closed.await {
        hung(process, error);
    }
}

/// Follows a page's events until it closes.
struct Follower {
    id: TabId,
    session: Session,
    process: Process,
    page: Arc<SharedPage>,
    shared: Arc<Shared>,
    events: Subscription,
}

/// Keeps the gauge right however the task ends.
struct Counted;

impl Counted {
    fn new() -> Self {
        gauge!(BROWSER_TABS).increment(1.0);
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        gauge!(BROWSER_TABS).decrement(1.0);
    }
}

impl Follower {
    async fn run(mut self) {
        let _counted = Counted::new();
        let mut dropped = 0;
        while let Some(event) = self.events.next().await {
            let lost = self.events.dropped() > dropped;
            dropped = self.events.dropped();
            let mut too_much = false;
            self.page.update(|page| {
                let now = Instant::now();
                page.apply(&event, now);
                if lost {
                    page.forget_requests(now);
                }
                too_much = page.is_too_much(self.shared.options.current().page_size_max.get());
            });
            if too_much {
                // The navigation that asked for it may have given up waiting long ago.
                self.session.send(&page::StopLoading {}).await.ok();
            }
            match event.method {
                "Page.javascriptDialogOpening" => {
                    self.dismiss(event.parse().map_or_else(|_| String::new(), kind_of)).await;
                }
                "Inspector.targetCrashed" => counter!(BROWSER_TAB_CRASHES_TOTAL).increment(1),
                _ => {}
            }
        }
        self.page.update(|page| page.closed = true);
    }

    /// Answers a dialog as a user in a hurry would, until there are too many.
    async fn dismiss(&self, kind: String) {
        counter!(BROWSER_DIALOGS_TOTAL).increment(1);
        if self.page.with(|page| page.dialogs) > DIALOGS_MAX {
            tracing::info!(browser.tab = %self.id, "closing a tab whose page opens dialogs without end");
            close_target(&self.session, &self.process).await;
            return;
        }
        // "Leave the page?" is answered with yes: somebody asked for the navigation.
        let answer = HandleJavaScriptDialog { accept: kind == "beforeunload" };
        if let Err(error) = self.session.send(&answer).await {
            tracing::debug!(browser.tab = %self.id, error = %error, "a dialog was not dismissed");
        }
    }
}

fn kind_of(dialog: JavascriptDialogOpening) -> String {
    dialog.kind
}
