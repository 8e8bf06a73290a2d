//! What the routes and the tools do, on behalf of a caller: each sees the instances and tabs of its tenant alone.

use std::{cmp::Reverse, sync::Arc, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures_util::future::join_all;
use paddock_cdp::SessionState;
use paddock_platform::{
    identity::{Caller, Scope},
    problem::{INTERNAL, Problem},
};
use tokio::sync::Mutex;

use crate::{
    api::{
        CloseRequest, Closed, EvaluateRequest, Evaluated, Health, InstanceView, NavigateRequest, Navigated,
        OpenRequest, Picture, ScreenshotQuery, SnapshotQuery, SnapshotView, StartRequest, Stopped, TabView,
        WaitFor, timeout_of,
    },
    error::BrowserError,
    evaluate::World,
    fleet::Fleet,
    ids::{InstanceId, TabId},
    instance::{Instance, InstanceSpec, InstanceStatus},
    navigate::{NavigateOptions, Wait},
    screenshot::{Area, Format, Screenshot},
    snapshot::{self, Filter, Rendered, SnapshotOptions},
    tab::{Tab, TabSpec},
};

/// Scope for looking.
const READ: Scope = Scope::read("browser");
/// Scope for starting, navigating, evaluating and stopping.
const WRITE: Scope = Scope::write("browser");
/// How long an evaluation may take when the request names no time.
const EVALUATION_TIMEOUT: Duration = Duration::from_secs(30);
/// Height at which a picture of a whole page is cut, in CSS pixels.
const PICTURE_HEIGHT_MAX: u32 = 16_000;
/// Quality of JPEG pictures when the request names none.
const PICTURE_QUALITY: u8 = 80;

/// The fleet as callers use it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct BrowserService {
    fleet: Fleet,
    /// One caller at a time starts the instance for navigations that name none.
    starting: Arc<Mutex<()>>,
}

impl BrowserService {
    /// The service of a fleet.
    pub fn new(fleet: Fleet) -> Self {
        Self { fleet, starting: Arc::default() }
    }

    /// The fleet.
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// Starts an instance.
    pub async fn start(&self, caller: &Caller, request: StartRequest) -> Result<InstanceView, Problem> {
        caller.require(WRITE)?;
        request.check()?;
        let spec = InstanceSpec {
            tenant: caller.tenant().clone(),
            isolation: request.isolation,
            name: request.name,
        };
        Ok(self.fleet.create(spec).await?.info().into())
    }

    /// Stops an instance.
    pub async fn stop(&self, caller: &Caller, id: &InstanceId) -> Result<Stopped, Problem> {
        caller.require(WRITE)?;
        self.own(caller, id)?;
        self.fleet.stop(id).await?;
        Ok(Stopped { id: id.clone(), status: "stopped".to_owned() })
    }

    /// The caller's instances, oldest first.
    pub fn instances(&self, caller: &Caller) -> Result<Vec<InstanceView>, Problem> {
        caller.require(READ)?;
        Ok(self.owned(caller).map(|instance| instance.info().into()).collect())
    }

    /// One of the caller's instances.
    pub fn instance(&self, caller: &Caller, id: &InstanceId) -> Result<InstanceView, Problem> {
        caller.require(READ)?;
        Ok(self.own(caller, id)?.info().into())
    }

    /// The tabs of one or of all of the caller's instances, the last used first.
    pub async fn tabs(&self, caller: &Caller, id: Option<&InstanceId>) -> Result<Vec<TabView>, Problem> {
        caller.require(READ)?;
        let mut tabs = match id {
            Some(id) => self.own(caller, id)?.tabs(),
            None => self.owned(caller).flat_map(|instance| instance.tabs()).collect(),
        };
        tabs.sort_by_key(|tab| Reverse(tab.used()));
        Ok(join_all(tabs.into_iter().map(view)).await)
    }

    /// Opens a tab, and goes somewhere with it if asked.
    pub async fn open(
        &self,
        caller: &Caller,
        id: &InstanceId,
        request: OpenRequest,
    ) -> Result<Navigated, Problem> {
        caller.require(WRITE)?;
        let tab = self.own(caller, id)?.open(TabSpec::default()).await?;
        match request.url {
            Some(url) => self.go(&tab, &url, self.navigate_options(None, Wait::loaded())?).await,
            None => Ok(Navigated {
                tab_id: tab.id().clone(),
                instance_id: id.clone(),
                url: "about:blank".to_owned(),
                title: String::new(),
                navigation: None,
            }),
        }
    }

    /// Goes to an address in the tab that the request names, or in a new one.
    pub async fn navigate(
        &self,
        caller: &Caller,
        request: NavigateRequest,
        wait_default: WaitFor,
    ) -> Result<Navigated, Problem> {
        caller.require(WRITE)?;
        let wait = request.wait_for.unwrap_or(wait_default).wait();
        let options = self.navigate_options(request.timeout, wait)?;
        let tab = match (&request.tab_id, &request.instance_id) {
            (Some(id), _) if !request.new_tab => self.own_tab(caller, id)?,
            (_, Some(id)) => self.own(caller, id)?.open(TabSpec::default()).await?,
            (Some(id), None) => {
                let instance = self.own_tab(caller, id)?.instance_id().clone();
                self.own(caller, &instance)?.open(TabSpec::default()).await?
            }
            (None, None) => self.tab_anywhere(caller).await?,
        };
        self.go(&tab, &request.url, options).await
    }

    /// A snapshot in the format that the query names.
    pub async fn snapshot(
        &self,
        caller: &Caller,
        query: SnapshotQuery,
        format_default: snapshot::Format,
    ) -> Result<(Rendered, SnapshotView), Problem> {
        caller.require(READ)?;
        let tab = self.current_tab(caller, query.tab_id.as_ref())?;
        let options = SnapshotOptions {
            filter: if query.interactive { Filter::Interactive } else { query.filter },
            depth: query.depth.and_then(|depth| u32::try_from(depth).ok()),
            selector: query.selector,
            boxes: query.boxes,
            refs_from: 0,
        };
        let format = match query.format {
            Some(format) => format,
            None if query.compact => snapshot::Format::Compact,
            None => format_default,
        };
        let (snapshot, previous) = tab.snapshot(options).await?;
        let rendered = match previous.filter(|_| query.diff) {
            Some(previous) => snapshot.render_diff(&previous, format, query.max_tokens),
            None => snapshot.render(format, query.max_tokens),
        };
        let view = SnapshotView {
            url: snapshot.url.clone(),
            title: snapshot.title.clone(),
            snapshot: String::new(),
            truncated: rendered.truncated,
        };
        Ok((rendered, view))
    }

    /// A picture.
    pub async fn screenshot(
        &self,
        caller: &Caller,
        query: ScreenshotQuery,
    ) -> Result<(Format, Bytes), Problem> {
        caller.require(READ)?;
        let tab = self.current_tab(caller, query.tab_id.as_ref())?;
        let format = match query.format.as_deref() {
            Some("png") => Format::Png,
            None | Some("" | "jpeg" | "jpg") => {
                Format::Jpeg { quality: query.quality.unwrap_or(PICTURE_QUALITY) }
            }
            Some(_) => return Err(Problem::invalid_field("format", "must be `jpeg` or `png`")),
        };
        let area = match query.selector.filter(|selector| !selector.is_empty()) {
            Some(selector) => Area::Element { selector },
            None if query.beyond_viewport => Area::FullPage { height_max: PICTURE_HEIGHT_MAX },
            None => Area::Viewport,
        };
        let image = tab.screenshot(Screenshot { area, format, ..Screenshot::default() }).await?;
        Ok((format, image))
    }

    /// Evaluates an expression in the page's own world.
    pub async fn evaluate(&self, caller: &Caller, request: EvaluateRequest) -> Result<Evaluated, Problem> {
        caller.require(WRITE)?;
        let timeout = timeout_of(request.timeout, EVALUATION_TIMEOUT)?;
        let tab = self.current_tab(caller, request.tab_id.as_ref())?;
        let value = tab.evaluate(&request.expression, World::Main, timeout).await?;
        let result = serde_json::from_str(value.get())
            .map_err(|_| Problem::new(INTERNAL, "the value of the expression is nested too deeply"))?;
        Ok(Evaluated { result })
    }

    /// Closes a tab.
    pub async fn close(&self, caller: &Caller, request: CloseRequest) -> Result<Closed, Problem> {
        caller.require(WRITE)?;
        let tab = self.current_tab(caller, request.tab_id.as_ref())?;
        tab.close().await;
        Ok(Closed { closed: true, tab_id: tab.id().clone() })
    }

    /// How the caller's browsers are.
    pub fn health(&self, caller: &Caller) -> Result<Health, Problem> {
        caller.require(READ)?;
        let reason = self.fleet.engine().err().map(|error| error.to_string());
        Ok(Health {
            status: if reason.is_none() { "ok" } else { "error" }.to_owned(),
            instances: self.owned(caller).count(),
            tabs: self.owned(caller).map(|instance| instance.tabs().len()).sum(),
            reason,
        })
    }

    async fn go(&self, tab: &Tab, url: &url::Url, options: NavigateOptions) -> Result<Navigated, Problem> {
        let with_tab = |problem: Problem| problem.with("tabId", tab.id().as_str());
        let navigation = tab.navigate(url, options).await.map_err(|error| with_tab(error.into()))?;
        Ok(Navigated {
            tab_id: tab.id().clone(),
            instance_id: tab.instance_id().clone(),
            url: navigation.url.to_string(),
            title: navigation.title.clone(),
            navigation: Some(navigation),
        })
    }

    fn navigate_options(&self, timeout: Option<f64>, wait: Wait) -> Result<NavigateOptions, Problem> {
        let default = self.fleet.0.options.current().navigation_timeout.get();
        Ok(NavigateOptions { timeout: timeout_of(timeout, default)?, wait, allow_file: false })
    }

    /// A new tab in the caller's first instance, which is started if there is none. At the bound, the tab that was not
    /// used for longest makes room: a client that only navigates never closes one.
    async fn tab_anywhere(&self, caller: &Caller) -> Result<Tab, Problem> {
        let instance = {
            let _starting = self.starting.lock().await;
            let running =
                self.owned(caller).find(|instance| instance.info().status == InstanceStatus::Running);
            match running {
                Some(instance) => instance,
                None => self.fleet.create(InstanceSpec::new(caller.tenant().clone())).await?,
            }
        };
        match instance.open(TabSpec::default()).await {
            Err(BrowserError::TabsExhausted { .. }) => {
                if let Some(tab) = instance.tabs().into_iter().min_by_key(Tab::used) {
                    tab.close().await;
                }
                Ok(instance.open(TabSpec::default()).await?)
            }
            result => Ok(result?),
        }
    }

    /// The tab that a request names, or the one of the caller that was used last.
    fn current_tab(&self, caller: &Caller, id: Option<&TabId>) -> Result<Tab, Problem> {
        match id {
            Some(id) => self.own_tab(caller, id),
            None => {
                self.owned(caller).flat_map(|instance| instance.tabs()).max_by_key(Tab::used).ok_or_else(
                    || Problem::not_found("tab", "current").with("hint", "navigate somewhere first"),
                )
            }
        }
    }

    fn owned(&self, caller: &Caller) -> impl Iterator<Item = Instance> {
        let tenant = caller.tenant().clone();
        self.fleet.handles().into_iter().filter(move |instance| *instance.tenant() == tenant)
    }

    /// Another tenant's instance is as unknown as none.
    fn own(&self, caller: &Caller, id: &InstanceId) -> Result<Instance, Problem> {
        let instance = self.fleet.instance(id).filter(|instance| instance.tenant() == caller.tenant());
        instance.ok_or_else(|| BrowserError::InstanceNotFound(id.clone()).into())
    }

    fn own_tab(&self, caller: &Caller, id: &TabId) -> Result<Tab, Problem> {
        let tab = self.fleet.tab(id).filter(|tab| self.own(caller, tab.instance_id()).is_ok());
        tab.ok_or_else(|| BrowserError::TabNotFound(id.clone()).into())
    }
}

async fn view(tab: Tab) -> TabView {
    let crashed = tab.session().state() == SessionState::Crashed;
    let (url, title) = match tab.info().await {
        Ok(info) => (info.url, info.title),
        Err(_) => (String::new(), String::new()),
    };
    TabView {
        id: tab.id().clone(),
        instance_id: tab.instance_id().clone(),
        url,
        title,
        kind: "page".to_owned(),
        status: if crashed { "crashed" } else { "active" }.to_owned(),
    }
}

/// A picture as JSON carries it.
pub(crate) fn picture(format: Format, image: &Bytes) -> Picture {
    let name = match format {
        Format::Png => "png",
        Format::Jpeg { .. } => "jpeg",
    };
    Picture { format: name.to_owned(), base64: BASE64_STANDARD.encode(image) }
}
