//! Tabs: one page each, with the task that follows its events.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use metrics::{counter, gauge};
use paddock_cdp::{
    CallError, SESSION_FLOODED, Session, SessionState, Subscription,
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
use paddock_platform::task::Tasks;
use tokio::time::Instant;

use crate::{
    action::Hands,
    blocking::Blocking,
    config::BrowserOptions,
    dialog::{self, Dialogs},
    emulation::Emulation,
    environment::Environment,
    error::BrowserError,
    fleet::Shared,
    frames::Frames,
    ids::{InstanceId, TabId},
    instance::Instance,
    keeper::{Keeper, Kept},
    metrics::{BROWSER_DIALOGS_TOTAL, BROWSER_TAB_CRASHES_TOTAL, BROWSER_TAB_FLOODS_TOTAL, BROWSER_TABS},
    network::{log, retain::retain},
    observe::LastSnapshot,
    page::{EVENTS, Excess, Page, SharedPage},
    pool::{ContextLease, hung},
    process::Process,
    saved::SavedTab,
    wire::EnableDomStorage,
};

/// The isolated world that Paddock's scripts share in every page: they see the DOM, the page does not see them.
pub(crate) const WORLD: &str = "paddock";
/// Events of a tab that wait to be taken in; when more come at once, the page's requests are counted anew.
const EVENTS_MAX: usize = 4096;
/// Dialogs that a page may open between two navigations; at one more, its tab is closed.
pub(crate) const DIALOGS_MAX: u32 = 20;
/// Bytes of bodies that Chrome keeps per tab for later questions; its own default is 100 MB.
const BODIES_SIZE_MAX: u64 = 1 << 20;

/// How long the state of a page may take to be asked for anew.
const RESYNC_DEADLINE: Duration = Duration::from_secs(2);

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
    pub(crate) snapshot: Mutex<Option<LastSnapshot>>,
    pub(crate) dialogs: Arc<Dialogs>,
    pub(crate) frames: Frames,
    pub(crate) hands: Mutex<Hands>,
    /// What the page may not load now.
    pub(crate) blocking: Mutex<Blocking>,
    /// What stays when the page or the session is replaced.
    pub(crate) environment: Arc<Environment>,
    /// `Runtime` stays enabled: scripts of the isolated world need it.
    pub(crate) keeps_runtime: bool,
    used: AtomicU64,
    /// What it was opened with, to open it again with.
    pub(crate) spec: TabSpec,
    /// What is kept of it for hibernation.
    pub(crate) kept: Kept,
    /// It was opened again and is on its way to where it was.
    pub(crate) returning: AtomicBool,
    /// Where that is.
    was: String,
}

/// A page that nobody has taken yet: it is closed when this is dropped.
#[derive(Debug)]
struct Unclaimed {
    process: Process,
    target_id: String,
    tasks: Tasks,
    claimed: bool,
}

impl Unclaimed {
    fn new(lease: &ContextLease, target_id: &str) -> Self {
        let (process, tasks) = (lease.process().clone(), lease.tasks().clone());
        Self { process, target_id: target_id.to_owned(), tasks, claimed: false }
    }

    fn claim(mut self) {
        self.claimed = true;
    }
}

impl Drop for Unclaimed {
    fn drop(&mut self) {
        if self.claimed || !self.process.is_alive() {
            return;
        }
        let (process, target_id) = (self.process.clone(), std::mem::take(&mut self.target_id));
        self.tasks.spawn("browser_close_unclaimed", async move {
            // Its context may be gone already, and the page with it.
            process.connection().browser().send(&CloseTarget { target_id: &target_id }).await.ok();
        });
    }
}

/// A page that is attached and reports its events, but belongs to no tab yet.
#[derive(Debug)]
pub(crate) struct Attached {
    session: Session,
    process: Process,
    events: Subscription,
    frame: page::Frame,
    unclaimed: Unclaimed,
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
        let unclaimed = Unclaimed::new(lease, target_id);
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
            // Every tab believes to be the one that is looked at: no throttling, and `:focus` works.
            session.send(&SetFocusEmulationEnabled { enabled: true }),
        )?;
        Ok(Self { session, process, events, frame: tree.frame_tree.frame, unclaimed })
    }

    /// Closes a page that nobody wants.
    pub(crate) fn close(lease: &ContextLease, target_id: &str) {
        drop(Unclaimed::new(lease, target_id));
    }

    /// Whether its page can be used.
    pub(crate) fn is_live(&self) -> bool {
        self.session.state() == SessionState::Live && self.process.is_alive()
    }

    pub(crate) fn target_id(&self) -> &str {
        self.session.target_id()
    }

    /// Makes a tab of it; one that was open before gets back what was saved of it.
    pub(crate) async fn into_tab(
        self,
        instance: &Instance,
        id: TabId,
        spec: &TabSpec,
        saved: Option<&SavedTab>,
    ) -> Result<Tab, BrowserError> {
        let Self { session, process, events, frame, unclaimed } = self;
        let shared = &instance.0.shared;
        let keeper = instance.is_kept().then(|| Keeper::listen(&session));
        let kept = saved.map_or_else(Kept::default, Kept::of);
        let keep = async {
            if keeper.is_some() {
                session.send(&EnableDomStorage {}).await?;
                kept.refresh(&session, &instance.0).await?;
            }
            Ok(())
        };
        tokio::try_join!(spec.emulation.apply(&session, process.user_agent()), keep)?;
        let restores = saved.is_some() || !instance.0.local().pending.is_empty();
        let keeps_runtime = restores || !spec.scripts.is_empty();
        if keeps_runtime {
            // Without it, scripts of an isolated world are not run when a navigation changes the renderer process. Not
            // for others: it makes Chrome report all that the page writes to its console.
            session.send(&runtime::Enable {}).await?;
        }
        let environment = Arc::<Environment>::default();
        environment.apply(&session, &shared.tasks).await?;
        if shared.options.current().network_bodies {
            let log = Arc::clone(&environment.log);
            shared.tasks.spawn("browser_bodies", retain(session.clone(), log));
        }
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
            id,
            instance: instance.id().clone(),
            session,
            process,
            page: Arc::new(SharedPage::new(page)),
            shared: Arc::clone(&instance.0.shared),
            navigating: tokio::sync::Mutex::default(),
            world: Mutex::default(),
            snapshot: Mutex::default(),
            environment: Arc::clone(&environment),
            keeps_runtime,
            dialogs: Arc::default(),
            frames: Frames::default(),
            hands: Mutex::default(),
            blocking: Mutex::default(),
            used: AtomicU64::new(0),
            spec: spec.clone(),
            kept,
            returning: AtomicBool::new(saved.is_some()),
            was: saved.map(|saved| saved.url.clone()).unwrap_or_default(),
        }));
        tab.touch();
        unclaimed.claim();
        tab.start_tasks(instance, events, keeper);
        Ok(tab)
    }
}

impl Tab {
    /// Starts the tasks beside it.
    fn start_tasks(&self, instance: &Instance, events: Subscription, keeper: Option<Keeper>) {
        let tasks = &self.0.shared.tasks;
        let follower = Follower {
            id: self.0.id.clone(),
            instance: self.0.instance.clone(),
            session: self.0.session.clone(),
            process: self.0.process.clone(),
            page: Arc::clone(&self.0.page),
            shared: Arc::clone(&self.0.shared),
            environment: Arc::clone(&self.0.environment),
            dialogs: Arc::clone(&self.0.dialogs),
            events,
        };
        let feed = self.0.shared.feed.clone();
        let (session, instance_id, id) = (self.0.session.clone(), self.0.instance.clone(), self.0.id.clone());
        tasks.spawn("browser_tab_messages", feed.follow(session, instance_id, id));
        let (weak, session) = (Arc::downgrade(&instance.0), self.0.session.clone());
        tasks.spawn("browser_tab", async move {
            let (id, instance_id) = (follower.id.clone(), follower.instance.clone());
            let feed = follower.shared.feed.clone();
            follower.run().await;
            if let Some(inner) = weak.upgrade() {
                Instance(inner).tab_ended(&id, &session);
            }
            feed.tab(&instance_id, &id, "tabClosed", serde_json::json!({}));
        });
        if let Some(keeper) = keeper {
            tasks.spawn("browser_keeper", keeper.run(self.clone(), Arc::downgrade(&instance.0)));
        }
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

    /// How its pages' requests name the browser, unless the tab was told to pretend another.
    pub(crate) fn user_agent(&self) -> String {
        crate::emulation::default_user_agent(self.0.process.user_agent())
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
        // From 1: a tab that was not used since the server started comes before all others.
        self.0.used.store(TICKS.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// Orders tabs by their last use.
    pub(crate) fn used(&self) -> u64 {
        self.0.used.load(Ordering::Relaxed)
    }

    /// Where it is, or is about to be again.
    pub(crate) fn place(&self) -> String {
        if self.0.returning.load(Ordering::SeqCst) {
            self.0.was.clone()
        } else {
            self.0.page.with(|page| page.url.clone())
        }
    }

    /// Takes its old place in that order.
    pub(crate) fn set_used(&self, used: u64) {
        self.0.used.store(used, Ordering::Relaxed);
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
    instance: InstanceId,
    session: Session,
    process: Process,
    page: Arc<SharedPage>,
    shared: Arc<Shared>,
    environment: Arc<Environment>,
    dialogs: Arc<Dialogs>,
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
        let mut bounds = Bounds::of(&self.shared.options.current());
        while let Some(event) = self.events.next().await {
            let lost = self.events.dropped() > dropped;
            dropped = self.events.dropped();
            if event.method == "Page.frameNavigated" {
                bounds = Bounds::of(&self.shared.options.current());
            }
            self.environment.log.apply(&event, bounds.log);
            self.shared.feed.page_event(&self.instance, &self.id, &event);
            let mut excess = None;
            self.page.update(|page| {
                let now = Instant::now();
                page.apply(&event, now);
                if lost {
                    page.forget_requests(now);
                }
                excess = page.excess(bounds.page_size_max, now);
            });
            match excess {
                // The navigation that asked for it may have given up waiting long ago.
                Some(Excess::Stop) => _ = self.session.send(&page::StopLoading {}).await,
                Some(Excess::Close) => {
                    tracing::info!(browser.tab = %self.id, "closing a tab whose page loads without end");
                    close_target(&self.session, &self.process).await;
                }
                None => {}
            }
            match event.method {
                "Page.javascriptDialogOpening" => {
                    if let Ok(dialog) = event.parse() {
                        self.dialog_opens(dialog).await;
                    }
                }
                "Page.javascriptDialogClosed" => self.dialogs.closes(),
                "Inspector.targetCrashed" => counter!(BROWSER_TAB_CRASHES_TOTAL).increment(1),
                SESSION_FLOODED => {
                    counter!(BROWSER_TAB_FLOODS_TOTAL).increment(1);
                    tracing::warn!(browser.tab = %self.id, "closing a tab whose page floods the connection to Chrome");
                    close_target(&self.session, &self.process).await;
                }
                _ => {}
            }
            if lost {
                self.resync().await;
                dropped = self.events.dropped();
            }
        }
        self.page.update(|page| page.closed = true);
    }

    /// Asks for what the events that were lost may have said: which document is there.
    async fn resync(&self) {
        if self.session.state() == SessionState::Crashed {
            self.page.update(|page| page.crashed = true);
            return;
        }
        if let Ok(tree) = self.session.send_within(&GetFrameTree {}, RESYNC_DEADLINE).await {
            self.page.update(|page| page.resync(tree.frame_tree.frame, Instant::now()));
        }
    }

    /// Answers a dialog as was announced or as a user in a hurry would, until there are too many; or leaves it open.
    async fn dialog_opens(&self, dialog: JavascriptDialogOpening) {
        counter!(BROWSER_DIALOGS_TOTAL).increment(1);
        if !self.dialogs.is_kept() && self.page.with(|page| page.dialogs) > DIALOGS_MAX {
            tracing::info!(browser.tab = %self.id, "closing a tab whose page opens dialogs without end");
            close_target(&self.session, &self.process).await;
            return;
        }
        let Some(answer) = self.dialogs.opens(dialog.kind, dialog.message) else {
            let (dialogs, session) = (Arc::clone(&self.dialogs), self.session.clone());
            self.shared.tasks.spawn("browser_dialog", async move {
                let unblocked = tokio::select! {
                    unblocked = dialogs.unblocked(dialog::OPEN_MAX) => unblocked,
                    () = session.closed() => true,
                };
                if !unblocked {
                    session.send(&HandleJavaScriptDialog { accept: false, prompt_text: None }).await.ok();
                }
            });
            return;
        };
        let answer = HandleJavaScriptDialog { accept: answer.accept, prompt_text: answer.text.as_deref() };
        if let Err(error) = self.session.send(&answer).await {
            tracing::debug!(browser.tab = %self.id, error = %error, "a dialog was not answered");
        }
    }
}

/// What the options allow a tab.
struct Bounds {
    log: log::Bounds,
    page_size_max: u64,
}

impl Bounds {
    fn of(options: &BrowserOptions) -> Self {
        let log = log::Bounds {
            entries_max: options.network_entries_max,
            size_max: options.network_log_size_max.as_usize(),
        };
        Self { log, page_size_max: options.page_size_max.get() }
    }
}
