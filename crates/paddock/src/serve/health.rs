//! What `/readyz` tells of each part.

use std::time::Duration;

use paddock_browser::Fleet;
use paddock_platform::{
    health::{self, Finding, Health},
    problem::error_chain,
    units::ByteSize,
};

use super::Parts;

const DISK_FLOOR: ByteSize = ByteSize::mib(1024);
const MEMORY_FLOOR: ByteSize = ByteSize::mib(512);
const STORE_PING_DEADLINE: Duration = Duration::from_secs(1);

impl Parts {
    pub(super) fn health(&self) -> Health {
        let health = Health::default();
        let store = self.store.clone();
        health.register("store", true, move || {
            let store = store.clone();
            async move {
                match store.ping(STORE_PING_DEADLINE).await {
                    Ok(()) => Finding::ok(format!("{} answers", store.engine())),
                    Err(error) => {
                        Finding::failed(error_chain(&error), "check `[store] url` and the database's log")
                    }
                }
            }
        });
        let bus = self.bus.clone();
        health.register("bus", false, move || std::future::ready(bus.health()));
        let fleet = self.browser.fleet().clone();
        health.register("browser", true, move || std::future::ready(browser_health(&fleet)));
        let models = self.models.gateway().clone();
        health.register("llm", false, move || std::future::ready(models.health()));
        let jobs = self.jobs.clone();
        health.register("jobs", false, move || {
            let jobs = jobs.clone();
            async move { jobs.health().await }
        });
        let agents = self.agents.clone();
        health.register("agents", false, move || std::future::ready(agents.health()));
        let webhooks = self.webhooks.clone();
        health.register("webhooks", false, move || std::future::ready(webhooks.health()));
        let registry = self.registry.clone();
        health.register("registry", false, move || std::future::ready(registry.health()));
        let data = self.data.clone();
        health.register("disk", true, move || health::disk_free(data.clone(), DISK_FLOOR));
        health.register("memory", false, || health::memory_available(MEMORY_FLOOR));
        let reloads = self.reloads.clone();
        health.register("configuration", false, move || {
            std::future::ready(health::config_state(reloads.current().error))
        });
        health
    }
}

fn browser_health(fleet: &Fleet) -> Finding {
    match fleet.engine() {
        Ok(engine) => {
            let detail = format!(
                "{}, {} instances, {} ready",
                engine.path.display(),
                fleet.handles().len(),
                fleet.ready()
            );
            Finding::ok(detail)
        }
        Err(error) => Finding::failed(error.to_string(), "`paddock doctor` says more"),
    }
}
