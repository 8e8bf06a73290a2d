//! Reading the state of an instance: from what is known, and from Chrome and the pages.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use serde::Deserialize;
use tokio::time::{Instant, timeout};

use crate::{
    areas::{Areas, Items},
    emulation::Emulation,
    environment::Environment,
    error::BrowserError,
    evaluate::World,
    instance::{Asleep, Instance, Slot},
    registry::TabHead,
    saved::{Saved, SavedTab},
    tab::Tab,
    wire::GetCookies,
};

/// How long a page may take to say what it stores and where it is scrolled to, and all pages of an instance together:
/// what is not read by then is saved as it is known.
const READ_DEADLINE: Duration = Duration::from_secs(1);
const READ_ALL_DEADLINE: Duration = Duration::from_secs(5);
/// Tabs of one instance that are opened again, or read, at a time.
pub(super) const TABS_AT_ONCE: usize = 4;
/// Reads a page; bounded, because its storage is.
const READ: &str = "(() => {
  const items = of => { try { return Object.entries(of()) } catch { return [] } };
  return [location.origin, scrollX, scrollY, items(() => localStorage), items(() => sessionStorage)];
})()";

/// How thoroughly an instance's state is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    /// Pages are asked nothing.
    Light,
    /// Scroll positions and storage too.
    Full,
}

#[derive(Deserialize)]
struct Read(String, f64, f64, Vec<(String, String)>, Vec<(String, String)>);

impl Instance {
    /// The state as it is now.
    pub(super) async fn capture(&self, depth: Depth) -> Result<Saved, BrowserError> {
        let (lease, slots) = {
            let state = self.0.state();
            (state.lease.clone(), state.tabs.clone())
        };
        let Some(lease) = lease else { return Err(BrowserError::InstanceRestarting(self.0.id.clone())) };
        // Before anything is read: what changes meanwhile is a change again.
        self.0.note_saved();
        let browser = lease.process().connection().browser();
        let context = GetCookies { browser_context_id: lease.name() };
        let until = Instant::now() + READ_ALL_DEADLINE;
        let tabs = stream::iter(slots.into_values().map(|slot| async move {
            match slot {
                Slot::Awake(tab) if Instant::now() < until => self.capture_tab(&tab, depth).await,
                Slot::Awake(tab) => SavedTab::remembered(&tab),
                Slot::Asleep(asleep) => {
                    let Asleep { head, saved, .. } = *asleep;
                    saved.unwrap_or_else(|| SavedTab::bare(head))
                }
            }
        }))
        .buffered(TABS_AT_ONCE)
        .collect::<Vec<_>>();
        let (cookies, mut tabs) = tokio::join!(browser.send(&context), tabs);
        let cookies = cookies.inspect_err(|_| self.0.note_change())?.cookies;
        let size_max = self.0.state_size_max();
        for tab in &mut tabs {
            tab.bound(size_max);
        }
        Ok(Saved { cookies, local: self.0.local().areas.clone(), tabs })
    }

    async fn capture_tab(&self, tab: &Tab, depth: Depth) -> SavedTab {
        let mut scroll = tab.0.kept.scroll();
        if tab.0.kept.take_missed() || depth == Depth::Full {
            let read = tab.evaluate_in_place(READ, World::Isolated, READ_DEADLINE).await;
            let read = read.ok().and_then(|value| serde_json::from_str::<Read>(value.get()).ok());
            if let Some(Read(origin, x, y, local, session)) = read {
                self.take_read(tab, &origin, local, session);
                scroll.get_or_insert((x, y));
            }
        }
        let title = match timeout(READ_DEADLINE, tab.info()).await {
            Ok(Ok(info)) => info.title,
            Ok(Err(_)) | Err(_) => String::new(),
        };
        SavedTab { title, scroll: scroll.unwrap_or_default(), ..SavedTab::remembered(tab) }
    }

    fn take_read(
        &self,
        tab: &Tab,
        origin: &str,
        local: Vec<(String, String)>,
        session: Vec<(String, String)>,
    ) {
        if crate::areas::origin_of(origin).is_none() {
            return;
        }
        let size_max = self.0.state_size_max();
        tab.0.kept.replace_session(origin, Items::from_iter(session), size_max);
        let mut known = self.0.local();
        if !known.pending.contains(origin) {
            known.areas.replace(origin, Items::from_iter(local), size_max);
        }
    }
}

impl SavedTab {
    pub(super) fn bare(head: TabHead) -> Self {
        let TabHead { id, url, title } = head;
        Self {
            id,
            url,
            title,
            scroll: (0.0, 0.0),
            session: Areas::default(),
            emulation: Emulation::default(),
            scripts: Vec::new(),
            settings: crate::environment::Settings::default(),
            routes: Vec::new(),
        }
    }

    /// What is known of a tab without asking its page.
    pub(super) fn remembered(tab: &Tab) -> Self {
        let bare = Self::bare(TabHead::of(tab));
        Self {
            scroll: tab.0.kept.scroll().unwrap_or_default(),
            session: tab.0.kept.session(),
            emulation: tab.0.spec.emulation.clone(),
            scripts: tab.0.spec.scripts.iter().map(ToString::to_string).collect(),
            settings: tab.0.environment.settings(),
            routes: tab.0.environment.interception.routes(),
            ..bare
        }
    }
}

impl TabHead {
    fn of(tab: &Tab) -> Self {
        Self { id: tab.id().clone(), url: tab.place(), title: String::new() }
    }
}

impl Slot {
    pub(super) fn head(&self) -> TabHead {
        match self {
            Self::Awake(tab) => TabHead::of(tab),
            Self::Asleep(asleep) => asleep.head.clone(),
        }
    }

    pub(super) fn environment(&self) -> Option<Arc<Environment>> {
        match self {
            Self::Awake(tab) => Some(Arc::clone(&tab.0.environment)),
            Self::Asleep(asleep) => asleep.environment.clone(),
        }
    }
}
