//! Lists over all instances, remembered for a moment.
//!
//! A list is remembered per tenant and generation of the [`Feed`](crate::feed::Feed): any change of the tenant's instances
//! and tabs begins a generation, so that what was remembered before is not asked for again.

use std::{convert::Infallible, sync::Arc, time::Duration};

use paddock_platform::{
    cache::{Cache, CacheSpec},
    identity::{Caller, Tenant},
    problem::Problem,
    units::ByteSize,
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{BrowserService, InstanceView, READ, TabView};

const TABS: CacheSpec =
    CacheSpec { name: "browser_tabs", ttl: Duration::from_secs(5), weight_max: ByteSize::mib(16) };
const INSTANCES: CacheSpec =
    CacheSpec { name: "browser_instances", ttl: Duration::from_secs(2), weight_max: ByteSize::mib(8) };
/// How long an instance may take to tell of its tabs; what is known without it is shown then.
const INSTANCE_DEADLINE: Duration = Duration::from_secs(2);

/// Whether a remembered list will do.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct FreshQuery {
    /// `1` or `true`: the list is made anew.
    #[serde(default)]
    pub fresh: Option<String>,
}

impl FreshQuery {
    /// Whether the list is to be made anew.
    pub fn is_fresh(&self) -> bool {
        self.fresh.as_deref().is_some_and(|fresh| !matches!(fresh, "" | "0" | "false"))
    }
}

/// What is remembered. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Lists {
    tabs: Cache<Arc<Vec<TabView>>>,
    instances: Cache<Arc<Vec<InstanceView>>>,
}

impl Lists {
    pub(super) fn new() -> Self {
        paddock_platform::cache::describe();
        Self {
            tabs: Cache::new(TABS, |tabs| {
                tabs.iter().map(|tab| 200 + (tab.url.len() + tab.title.len()) as u64).sum()
            }),
            instances: Cache::new(INSTANCES, |instances| 400 * instances.len() as u64),
        }
    }
}

impl BrowserService {
    /// The tabs of all of the caller's instances, the last used first.
    pub(crate) async fn all_tabs(&self, caller: &Caller, fresh: bool) -> Result<Arc<Vec<TabView>>, Problem> {
        caller.require(READ)?;
        let key = self.key(caller.tenant());
        let make = async || Arc::new(self.gather_tabs(caller).await);
        if fresh {
            let tabs = make().await;
            self.lists.tabs.insert(&key, Arc::clone(&tabs)).await;
            return Ok(tabs);
        }
        let remembered =
            self.lists.tabs.get_or_compute(&key, || async { Ok::<_, Infallible>(make().await) }).await;
        Ok(remembered.unwrap_or_else(|never| match *never {}))
    }

    /// The caller's instances, oldest first.
    pub(crate) async fn all_instances(
        &self,
        caller: &Caller,
        fresh: bool,
    ) -> Result<Arc<Vec<InstanceView>>, Problem> {
        let key = self.key(caller.tenant());
        if fresh {
            let instances = Arc::new(self.instances(caller)?);
            self.lists.instances.insert(&key, Arc::clone(&instances)).await;
            return Ok(instances);
        }
        caller.require(READ)?;
        let make = || async { Ok::<_, Infallible>(Arc::new(self.instances(caller).unwrap_or_default())) };
        let remembered = self.lists.instances.get_or_compute(&key, make).await;
        Ok(remembered.unwrap_or_else(|never| match *never {}))
    }

    /// All instances are asked at once, each within its deadline.
    async fn gather_tabs(&self, caller: &Caller) -> Vec<TabView> {
        self.view_tabs(self.owned(caller).collect(), INSTANCE_DEADLINE).await
    }

    fn key(&self, tenant: &Tenant) -> String {
        format!("{tenant}#{}", self.fleet.0.feed.generation(tenant))
    }
}
