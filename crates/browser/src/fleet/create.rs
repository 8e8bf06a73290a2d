//! How instances come to be: made, brought back after a restart, attached to.

use std::sync::Arc;

use metrics::{counter, histogram};
use paddock_cdp::protocol::target::GetTargets;
use tokio::time::Instant;

use super::{Ready, Shared};
use crate::{
    databases::Databases,
    error::BrowserError,
    events::FleetChange,
    hibernate::give_cookies,
    ids::{InstanceId, ProfileId},
    instance::{Asleep, Instance, InstanceSpec, InstanceStatus, Slot},
    metrics::{BROWSER_INSTANCE_CREATE_DURATION_SECONDS, BROWSER_WARM_POOL_TOTAL},
    pool::{ContextLease, Isolation, Placement, default_context},
    process::Process,
    registry::{Record, TabHead},
    saved::Saved,
    tab::Attached,
    watch::watch,
};

/// An instance in the list that has no context yet; taken out again unless it gets one.
struct Starting {
    shared: Arc<Shared>,
    instance: Instance,
    /// It may be in the registry.
    recorded: bool,
    begun: bool,
}

impl Starting {
    fn enter(shared: &Arc<Shared>, spec: InstanceSpec) -> Result<Self, BrowserError> {
        let options = shared.options.current();
        let mut instances = shared.instances();
        // Those for the server's own use are bounded by what may be awake.
        if !spec.ephemeral {
            let kept = || instances.values().filter(|instance| instance.is_kept());
            if kept().count() >= options.instances_max {
                return Err(BrowserError::InstancesExhausted { max: options.instances_max });
            }
            if kept().filter(|instance| *instance.tenant() == spec.tenant).count()
                >= options.instances_per_tenant_max
            {
                return Err(BrowserError::TenantInstancesExhausted { max: options.instances_per_tenant_max });
            }
            if let Some(profile) = &spec.profile
                && let Some(user) = kept().find(|instance| instance.spec().profile.as_ref() == Some(profile))
            {
                let (profile, instance) = (profile.clone(), user.id().clone());
                return Err(BrowserError::ProfileInUse { profile, instance });
            }
        }
        let mut id = InstanceId::new();
        while instances.contains_key(&id) {
            id = InstanceId::new();
        }
        let instance = Instance::new(id.clone(), spec, Arc::clone(shared));
        instances.insert(id, instance.clone());
        drop(instances);
        instance
            .0
            .tell(FleetChange::Instance { status: InstanceStatus::Starting, cause: "created".to_owned() });
        Ok(Self { shared: Arc::clone(shared), instance, recorded: false, begun: false })
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        if self.begun {
            return;
        }
        let id = self.instance.id().clone();
        self.shared.instances().remove(&id);
        drop(self.instance.end("it could not be started"));
        if self.recorded {
            let (shared, instance) = (Arc::clone(&self.shared), self.instance.clone());
            self.shared.tasks.spawn("browser_forget", async move {
                instance.forget_files().await;
                if let Err(error) = shared.registry.delete(&id).await {
                    tracing::warn!(%error, browser.instance = %id, "an instance that did not start is left in the store");
                }
            });
        }
    }
}

impl Shared {
    pub(super) async fn create(self: &Arc<Self>, spec: InstanceSpec) -> Result<Instance, BrowserError> {
        let begun = Instant::now();
        let placement = Placement::of(&spec);
        let profile = spec.profile.clone();
        let mut starting = Starting::enter(self, spec)?;
        let instance = starting.instance.clone();
        // Whoever finds it in the list and enters it waits.
        let lifecycle = Arc::clone(&instance.0.lifecycle).lock_owned().await;
        let _admitted = self.admit(&placement, Some(instance.id())).await?;
        let ready = if placement == Placement::SHARED { self.take_ready().await } else { None };
        let hit = ready.is_some();
        starting.recorded = instance.is_saved();
        let record = self.record(&instance, profile);
        let ((lease, page), (saved, databases)) =
            tokio::try_join!(self.furnish(&instance, &placement, ready), record)?;
        tokio::try_join!(give_cookies(&lease, &saved), instance.give_databases(&lease, &databases))?;
        if !databases.is_empty() {
            // Those of its profile are its own from now on.
            self.registry.save_databases(instance.id(), &databases).await?;
        }
        instance.take_over(saved, &databases);
        instance.begin(lease, page, "created")?;
        starting.begun = true;
        drop(lifecycle);
        if placement == Placement::SHARED {
            counter!(BROWSER_WARM_POOL_TOTAL, "ready" => if hit { "true" } else { "false" }).increment(1);
        }
        histogram!(BROWSER_INSTANCE_CREATE_DURATION_SECONDS).record(begun.elapsed());
        Ok(instance)
    }

    /// A context for an instance, with a page: whoever starts one opens a tab next.
    async fn furnish(
        &self,
        instance: &Instance,
        placement: &Placement,
        ready: Option<Ready>,
    ) -> Result<(ContextLease, Option<Attached>), BrowserError> {
        let (lease, page) = match ready {
            Some(Ready { page, lease }) => (lease, Some(page)),
            None => (self.pool.lease(placement).await?, None),
        };
        let open = async {
            match page {
                Some(page) => Ok(Some(page)),
                // The windows of the full browser are seen by people.
                None if placement.needs_chromium() => Ok(None),
                None => Attached::open(&lease).await.map(Some),
            }
        };
        let (page, ()) = tokio::try_join!(open, instance.expect_downloads(&lease))?;
        Ok((lease, page))
    }

    /// Enters an instance into the registry, and looks up what it starts from.
    async fn record(
        &self,
        instance: &Instance,
        profile: Option<ProfileId>,
    ) -> Result<(Saved, Databases), BrowserError> {
        if !instance.is_saved() {
            return Ok((Saved::default(), Databases::default()));
        }
        let insert = self.registry.insert(instance.id(), instance.spec(), instance.started());
        let load = async {
            match &profile {
                Some(profile) => tokio::try_join!(
                    self.registry.load_profile(profile),
                    self.registry.load_profile_databases(profile)
                ),
                None => Ok((Saved::default(), Databases::default())),
            }
        };
        let ((), saved) = tokio::try_join!(insert, load)?;
        Ok(saved)
    }

    /// Puts the instances of an earlier run into the list.
    pub(super) fn bring_back(self: &Arc<Self>, records: Vec<Record>) {
        let mut instances = self.instances();
        for Record { id, spec, tabs, created_at, used_at } in records {
            let status = InstanceStatus::Hibernated;
            let shared = Arc::clone(self);
            let instance = Instance::restored(id.clone(), spec, shared, status, created_at, used_at);
            let asleep = |head: TabHead| {
                let id = head.id.clone();
                let asleep = Asleep { head, used: 0, eager: false, saved: None, environment: None };
                (id, Slot::Asleep(Box::new(asleep)))
            };
            if let Some(port) = instance.spec().port
                && let Ok(port) = self.ports.take(self.options.current().ports, Some(port))
            {
                instance.hold_port(port);
            }
            self.feed.knows(&id, instance.tenant(), status);
            instance.0.state().tabs = tabs.into_iter().map(asleep).collect();
            instances.insert(id, instance);
        }
    }

    /// Stands for a Chrome that runs already: its pages become tabs.
    pub(super) async fn attach(
        self: &Arc<Self>,
        url: &str,
        spec: InstanceSpec,
    ) -> Result<Instance, BrowserError> {
        let spec = InstanceSpec { attached_to: Some(url.to_owned()), isolation: Isolation::Process, ..spec };
        let mut starting = Starting::enter(self, spec)?;
        let instance = starting.instance.clone();
        // Whoever finds it in the list and enters it waits.
        let lifecycle = Arc::clone(&instance.0.lifecycle).lock_owned().await;
        let unresponsive_after = self.options.current().unresponsive_after.get();
        let process = Process::attach(url, unresponsive_after, &self.tasks).await?;
        // A process ends with its lease, and there is none yet.
        let found = async {
            let context_id = default_context(&process).await?;
            let targets = process.connection().browser().send(&GetTargets {}).await?;
            Ok::<_, BrowserError>((context_id, targets.target_infos))
        };
        let (context_id, targets) = found.await.inspect_err(|_| process.kill())?;
        let lease = ContextLease::foreign(process.clone(), context_id.into(), self.tasks.clone());
        instance.begin(lease, None, "attached")?;
        starting.begun = true;
        drop(lifecycle);
        self.tasks.spawn("browser_process_watch", watch(Arc::clone(self), process.clone()));
        for info in targets.into_iter().filter(|info| info.kind == "page") {
            if info.browser_context_id.is_some_and(|id| instance.has_context(&process, &id)) {
                instance.page_appeared(&info.target_id).await;
            }
        }
        Ok(instance)
    }
}
