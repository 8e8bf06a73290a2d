//! Pages that are attached and belong to no tab yet.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicU64},
};

use paddock_cdp::{
    Session, SessionState, Subscription,
    protocol::{
        emulation::SetFocusEmulationEnabled,
        network,
        page::{self, AddScriptToEvaluateOnNewDocument, GetFrameTree, SetLifecycleEventsEnabled},
        runtime,
        target::{CloseTarget, CreateTarget},
    },
};
use paddock_platform::task::Tasks;
use tokio::time::Instant;

use super::{Inner, Tab, TabSpec, WORLD};
use crate::{
    environment::Environment,
    error::BrowserError,
    frames::Frames,
    ids::TabId,
    instance::Instance,
    keeper::{Keeper, Kept},
    network::retain::retain,
    page::{EVENTS, Page, SharedPage},
    pool::{ContextLease, hung},
    process::Process,
    saved::SavedTab,
    wire::EnableDomStorage,
};

/// Events of a tab that wait to be taken in; when more come at once, the page's requests are counted anew.
const EVENTS_MAX: usize = 4096;
/// Bytes of bodies that Chrome keeps per tab for later questions; its own default is 100 MB.
const BODIES_SIZE_MAX: u64 = 1 << 20;

/// A page that nobody has taken yet: it is closed when this is dropped, unless it is somebody else's.
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
        Self { process, target_id: target_id.to_owned(), tasks, claimed: lease.is_foreign() }
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
        let target = Self::create(lease).await?;
        Self::attach(lease, &target).await
    }

    /// Opens an empty page in a context, and names it.
    pub(crate) async fn create(lease: &ContextLease) -> Result<String, BrowserError> {
        let browser = lease.process().connection().browser();
        let create = CreateTarget {
            url: "about:blank",
            browser_context_id: lease.name(),
            // In the full browser, a tab behind another one is not drawn.
            new_window: (lease.process().has_windows() && !lease.is_foreign()).then_some(true),
            ..CreateTarget::default()
        };
        let created = browser.send(&create).await.map_err(|error| hung(lease.process(), error))?;
        Ok(created.target_id)
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
        environment: Option<Arc<Environment>>,
        saved: Option<&SavedTab>,
    ) -> Result<Tab, BrowserError> {
        let Self { session, process, events, frame, unclaimed } = self;
        let shared = &instance.0.shared;
        let keeper = instance.is_saved().then(|| Keeper::listen(&session));
        let kept = saved.map_or_else(Kept::default, Kept::of);
        let keep = async {
            if keeper.is_some() {
                session.send(&EnableDomStorage {}).await?;
                kept.refresh(&session, &instance.0).await?;
            }
            Ok(())
        };
        let emulate = async {
            // A page of somebody else's Chrome stays as they see it.
            if instance.spec().attached_to.is_some() {
                return Ok(());
            }
            spec.emulation.apply(&session, process.user_agent()).await
        };
        tokio::try_join!(emulate, keep)?;
        let restores = saved.is_some() || !instance.0.local().pending.is_empty();
        let keeps_runtime = restores || !spec.scripts.is_empty();
        if keeps_runtime {
            // Without it, scripts of an isolated world are not run when a navigation changes the renderer process. Not
            // for others: it makes Chrome report all that the page writes to its console.
            session.send(&runtime::Enable {}).await?;
        }
        let environment = environment.unwrap_or_default();
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
            looked: AtomicBool::new(false),
            standing: tokio::sync::Mutex::default(),
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
