//! Tabs: one page each, with the task that follows its events.

mod attached;
mod follower;

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use paddock_cdp::{
    Session, Subscription,
    protocol::target::{GetTargetInfo, TargetInfo},
};

pub(crate) use self::attached::Attached;
use self::follower::{Follower, close_target};
use crate::{
    action::Hands,
    blocking::Blocking,
    dialog::Dialogs,
    emulation::Emulation,
    environment::Environment,
    error::BrowserError,
    fleet::Shared,
    frames::Frames,
    ids::{InstanceId, TabId},
    instance::Instance,
    keeper::{Keeper, Kept},
    observe::LastSnapshot,
    page::SharedPage,
    process::Process,
};

/// The isolated world that Paddock's scripts share in every page: they see the DOM, the page does not see them.
pub(crate) const WORLD: &str = "paddock";
/// Dialogs that a page may open between two navigations; at one more, its tab is closed.
pub(crate) const DIALOGS_MAX: u32 = 20;

/// What a tab is opened with.
#[derive(Clone, Debug, Default)]
pub struct TabSpec {
    /// The screen and device.
    pub emulation: Emulation,
    /// Scripts that run in every document before its own, in the isolated world "paddock".
    pub scripts: Vec<Arc<str>>,
}

/// The isolated world of a document.
#[derive(Clone, Debug)]
pub(crate) struct TabWorld {
    /// The document.
    pub(crate) loader_id: String,
    pub(crate) context_id: i64,
    /// The script was sent there.
    pub(crate) has_script: bool,
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
    pub(crate) world: Mutex<Option<TabWorld>>,
    /// The present document, or the last one, was looked at with the script.
    pub(crate) looked: AtomicBool,
    /// What Chrome calls the script that it runs in each new document, if it does.
    pub(crate) standing: tokio::sync::Mutex<Option<String>>,
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

impl Tab {
    /// Starts the tasks beside it.
    fn start_tasks(&self, instance: &Instance, events: Subscription, keeper: Option<Keeper>) {
        let tasks = &self.0.shared.tasks;
        let follower = Follower::of(self, events);
        let feed = self.0.shared.feed.clone();
        let (session, instance_id, id) = (self.0.session.clone(), self.0.instance.clone(), self.0.id.clone());
        tasks.spawn("browser_tab_messages", feed.follow(session, instance_id, id.clone()));
        let (weak, session) = (Arc::downgrade(&instance.0), self.0.session.clone());
        tasks.spawn("browser_tab", async move {
            follower.run().await;
            if let Some(inner) = weak.upgrade() {
                Instance(inner).tab_ended(&id, &session);
            }
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

    /// Process id of its Chrome, if Paddock started that.
    pub(crate) fn process_id(&self) -> Option<i32> {
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
