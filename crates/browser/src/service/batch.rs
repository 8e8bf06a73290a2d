//! Many navigations in one request.

use std::time::Instant;

use futures_util::{Stream, StreamExt, stream};
use paddock_platform::{identity::Caller, problem::Problem};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;
use utoipa::ToSchema;

use super::{BrowserService, TabInUse, Target, WRITE, WaitFor};
use crate::{
    error::BrowserError,
    ids::{InstanceId, TabId},
    instance::{Instance, InstanceSpec, InstanceStatus},
    tab::Tab,
};

/// Addresses to go to.
#[derive(Clone, Debug, Deserialize, JsonSchema, ToSchema)]
#[serde(untagged)]
pub enum BatchRequest {
    /// Just the addresses, each in a new tab.
    Urls(Vec<BatchItem>),
    /// With options.
    Batch(Batch),
}

/// Addresses to go to, and how.
#[derive(Clone, Debug, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Batch {
    /// The addresses, at most `[browser] batch_max`.
    pub urls: Vec<BatchItem>,
    /// How many are under way at a time; as many as the server loads at once if absent.
    #[serde(default)]
    pub concurrency: Option<usize>,
    /// When a page counts as being there, where an item does not say; `load` if absent.
    #[serde(default)]
    pub wait_for: Option<WaitFor>,
    /// Seconds that each may take, where an item does not say.
    #[serde(default)]
    pub timeout: Option<f64>,
    /// Results as they come, one JSON text per line.
    #[serde(default)]
    pub stream: bool,
}

/// One address.
#[derive(Clone, Debug, Deserialize, JsonSchema, ToSchema)]
#[serde(untagged)]
pub enum BatchItem {
    /// In a new tab.
    Url(String),
    /// With options.
    Item(BatchNavigation),
}

/// One address with options.
#[derive(Clone, Debug, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BatchNavigation {
    /// Where to go: http or https.
    pub url: String,
    /// The tab to use; without one, a new tab.
    #[serde(default)]
    pub tab_id: Option<TabId>,
    /// When the page counts as being there.
    #[serde(default)]
    pub wait_for: Option<WaitFor>,
    /// Seconds that it may take.
    #[serde(default)]
    pub timeout: Option<f64>,
}

/// What became of one address.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BatchResult {
    /// Its place in the request, from 0.
    pub index: usize,
    /// The address that was asked for.
    pub requested_url: String,
    /// Whether the page is there.
    pub ok: bool,
    /// The tab that shows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tab_id: Option<TabId>,
    /// Its instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<InstanceId>,
    /// Where it is, after redirects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Title of the page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// HTTP status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Milliseconds from its turn to its result.
    pub duration_ms: u64,
    /// The problem, when it is not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Value>,
}

/// What became of all of them.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BatchOutcome {
    /// One per address, in the request's order.
    pub results: Vec<BatchResult>,
    /// How many pages are there.
    pub succeeded: usize,
    /// How many are not.
    pub failed: usize,
    /// Milliseconds for all.
    pub duration_ms: u64,
}

/// A batch that was checked.
#[derive(Debug)]
pub(crate) struct CheckedBatch {
    caller: Caller,
    instance: Option<InstanceId>,
    items: Vec<BatchNavigation>,
    concurrency: usize,
    wait_for: WaitFor,
    timeout: Option<f64>,
    /// Whether results are wanted as they come.
    pub(crate) stream: bool,
}

impl BrowserService {
    /// Checks a batch as a whole; what is wrong with one address is that one's result.
    pub(crate) fn check_batch(
        &self,
        caller: Caller,
        instance: Option<InstanceId>,
        request: BatchRequest,
    ) -> Result<CheckedBatch, Problem> {
        caller.require(WRITE)?;
        if let Some(id) = &instance {
            self.own(&caller, id)?;
        }
        let options = self.fleet.0.options.current();
        let batch = match request {
            BatchRequest::Batch(batch) => batch,
            BatchRequest::Urls(urls) => {
                Batch { urls, concurrency: None, wait_for: None, timeout: None, stream: false }
            }
        };
        let max = options.batch_max;
        if batch.urls.is_empty() || batch.urls.len() > max {
            let detail = format!("must name 1 to {max} addresses (`[browser] batch_max`)");
            return Err(Problem::invalid_field("urls", detail));
        }
        if batch.concurrency == Some(0) {
            return Err(Problem::invalid_field("concurrency", "must be at least 1"));
        }
        let items = batch.urls.into_iter().map(|item| match item {
            BatchItem::Item(item) => item,
            BatchItem::Url(url) => BatchNavigation { url, tab_id: None, wait_for: None, timeout: None },
        });
        Ok(CheckedBatch {
            caller,
            instance,
            items: items.collect(),
            // A few more than load at a time: the next tab is open when its turn comes.
            concurrency: batch.concurrency.unwrap_or(options.navigation_concurrency() + 2).min(max),
            wait_for: batch.wait_for.unwrap_or(WaitFor::Load),
            timeout: batch.timeout,
            stream: batch.stream,
        })
    }

    /// The results, as they come. Those that are there stay when the stream is dropped.
    pub(crate) fn run_batch(&self, batch: CheckedBatch) -> impl Stream<Item = BatchResult> + Send + use<> {
        let CheckedBatch { caller, instance, items, concurrency, wait_for, timeout, .. } = batch;
        let service = self.clone();
        stream::iter(items.into_iter().enumerate())
            .map(move |(index, item)| {
                let (service, caller, instance) = (service.clone(), caller.clone(), instance.clone());
                async move {
                    let item = BatchNavigation {
                        wait_for: item.wait_for.or(Some(wait_for)),
                        timeout: item.timeout.or(timeout),
                        ..item
                    };
                    service.batch_item(caller, instance, index, item).await
                }
            })
            .buffer_unordered(concurrency)
    }

    /// All results, when all are there.
    pub(crate) async fn batch(&self, batch: CheckedBatch) -> BatchOutcome {
        let started = Instant::now();
        let mut results: Vec<BatchResult> = Box::pin(self.run_batch(batch)).collect().await;
        results.sort_by_key(|result| result.index);
        let succeeded = results.iter().filter(|result| result.ok).count();
        BatchOutcome { failed: results.len() - succeeded, succeeded, results, duration_ms: millis(started) }
    }

    async fn batch_item(
        &self,
        caller: Caller,
        instance: Option<InstanceId>,
        index: usize,
        item: BatchNavigation,
    ) -> BatchResult {
        let started = Instant::now();
        let (requested_url, named) = (item.url.clone(), item.tab_id.clone());
        // Another tenant's tab is as unknown as none.
        let is_known = named.as_ref().is_some_and(|id| self.owner_of(&caller, id).is_ok());
        let result = self.batch_navigate(caller, instance, item).await;
        let base = BatchResult {
            index,
            requested_url,
            ok: result.is_ok(),
            tab_id: None,
            instance_id: None,
            url: None,
            title: None,
            status: None,
            duration_ms: millis(started),
            error: None,
        };
        match result {
            Ok(page) => BatchResult {
                status: page.navigation.as_ref().and_then(|navigation| navigation.status),
                tab_id: Some(page.tab_id),
                instance_id: Some(page.instance_id),
                url: Some(page.url),
                title: Some(page.title),
                ..base
            },
            Err(mut problem) => {
                // A tab that was opened for it is closed: its id would lead nowhere. One that was named stays.
                if let Some(members) = problem.extensions.as_mut().filter(|_| named.is_none()) {
                    members.remove("tabId");
                }
                let instance = named.as_ref().and_then(|id| self.fleet.instance_of(id));
                let instance_id = instance.map(|instance| instance.id().clone()).filter(|_| is_known);
                let tab_id = instance_id.is_some().then_some(named).flatten();
                BatchResult { tab_id, instance_id, error: Some(problem.to_document(None)), ..base }
            }
        }
    }

    async fn batch_navigate(
        &self,
        caller: Caller,
        instance: Option<InstanceId>,
        item: BatchNavigation,
    ) -> Result<super::Navigated, Problem> {
        let url: Url = item.url.parse().map_err(|error| Problem::invalid_field("url", error))?;
        let wait = item.wait_for.unwrap_or(WaitFor::Load).wait();
        let options = self.navigate_options(item.timeout, wait)?;
        if item.tab_id.is_some() {
            let tab = self.tab(&Target::new(caller, item.tab_id), WRITE).await?;
            return self.go(&tab, &url, options).await;
        }
        let tab = match instance {
            Some(id) => self.new_tab(&self.own(&caller, &id)?).await?,
            None => self.tab_with_room(&caller).await?,
        };
        let unless_there = CloseUnlessThere(Some(&tab));
        let page = self.go(&tab, &url, options).await;
        unless_there.keep();
        if page.is_err() {
            // Before its result is told: the next address may need the room.
            tab.close().await;
        }
        page
    }

    /// A new tab in the first of the caller's instances that has room; a new instance if none has.
    async fn tab_with_room(&self, caller: &Caller) -> Result<TabInUse, Problem> {
        if let Some(tab) = self.tab_in_any(caller).await? {
            return Ok(tab);
        }
        let _starting = self.starting_lock(caller.tenant()).lock().await;
        // Whoever was here before may have made room for this one too.
        if let Some(tab) = self.tab_in_any(caller).await? {
            return Ok(tab);
        }
        let instance = self.fleet.create(InstanceSpec::new(caller.tenant().clone())).await?;
        Ok(self.new_tab(&instance).await?)
    }

    async fn tab_in_any(&self, caller: &Caller) -> Result<Option<TabInUse>, Problem> {
        let running = |instance: &Instance| instance.info().status == InstanceStatus::Running;
        let instances: Vec<Instance> = self.owned(caller).filter(running).collect();
        for instance in instances {
            match self.new_tab(&instance).await {
                Ok(tab) => return Ok(Some(tab)),
                Err(BrowserError::TabsExhausted { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }
}

/// Closes a tab that was opened for a page whose caller went away.
struct CloseUnlessThere<'a>(Option<&'a Tab>);

impl CloseUnlessThere<'_> {
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for CloseUnlessThere<'_> {
    fn drop(&mut self) {
        if let Some(tab) = self.0.cloned() {
            let tasks = tab.0.shared.tasks.clone();
            tasks.spawn("browser_close", async move { tab.close().await });
        }
    }
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
