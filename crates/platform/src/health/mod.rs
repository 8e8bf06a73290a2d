//! Whether the server lives (`/healthz`) and whether it can work (`/readyz`), with what to do if it cannot.
//!
//! Areas register a check per resource they need. `/readyz` runs all of them at once, each with a deadline, and keeps
//! the outcome for a second: probes from many sides cost no more than one. A failed check of a *required* resource
//! answers 503; of another, the server is degraded and says so, and goes on.

mod checks;

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use futures_util::{
    FutureExt,
    future::{BoxFuture, join_all},
};
use http::{HeaderValue, StatusCode, header};
use metrics::{Unit, describe_gauge, gauge};
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::Mutex;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::identity::{Caller, Scope};

pub use checks::{Memory, config_state, disk_free, memory_available};

/// Whether a resource works, by resource: 1 ok, 0.5 degraded, 0 failed. As of the last `/readyz`.
pub const RESOURCE_HEALTH: &str = "resource_health";
/// How long an outcome is kept.
const FRESH_FOR: Duration = Duration::from_secs(1);
/// How long one check may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// Gives the metrics of this module their units and help.
pub fn describe() {
    describe_gauge!(
        RESOURCE_HEALTH,
        Unit::Count,
        "Whether a resource works, by resource: 1 ok, 0.5 degraded, 0 failed; as of the last /readyz"
    );
}

/// How a resource does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It works.
    Ok,
    /// It works, but not as it should.
    Degraded,
    /// It does not work.
    Failed,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema, ToSchema)]
pub struct Finding {
    /// How the resource does.
    pub status: Status,
    /// What was found, in a sentence.
    pub detail: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

impl Finding {
    /// The resource works.
    pub fn ok(detail: impl Into<String>) -> Self {
        Self { status: Status::Ok, detail: detail.into(), advice: None }
    }

    /// It works, but not as it should.
    pub fn degraded(detail: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { status: Status::Degraded, detail: detail.into(), advice: Some(advice.into()) }
    }

    /// It does not work.
    pub fn failed(detail: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { status: Status::Failed, detail: detail.into(), advice: Some(advice.into()) }
    }
}

/// One resource in a [`Readiness`].
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct Resource {
    /// Its name, for example `store`.
    pub name: &'static str,
    /// Whether the server cannot work without it.
    pub required: bool,
    /// How it does.
    pub status: Status,
    /// What was found.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// Whether the server can work.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct Readiness {
    /// `failed` if a required resource is; otherwise `degraded` if any resource is not `ok`.
    pub status: Status,
    /// Every resource, in the order of registration.
    pub resources: Vec<Resource>,
}

type Check = Arc<dyn Fn() -> BoxFuture<'static, Finding> + Send + Sync>;

#[derive(Clone)]
struct Registered {
    name: &'static str,
    required: bool,
    check: Check,
}

/// The checks of a server. Cheap to clone.
#[derive(Clone, Default)]
pub struct Health(Arc<HealthInner>);

#[derive(Default)]
struct HealthInner {
    checks: RwLock<Vec<Registered>>,
    /// Held while checks run: those who ask meanwhile wait for the same outcome.
    last: Mutex<Option<(Instant, Arc<Readiness>)>>,
}

impl std::fmt::Debug for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Health")
    }
}

impl Health {
    /// Adds a check. `required`: the server is not ready while it fails. The check has 2 s.
    pub fn register<F, Fut>(&self, name: &'static str, required: bool, check: F)
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Finding> + Send + 'static,
    {
        let check: Check = Arc::new(move || check().boxed());
        let mut checks = self.0.checks.write().unwrap_or_else(PoisonError::into_inner);
        checks.push(Registered { name, required, check });
    }

    /// The state of every resource, at most a second old.
    pub async fn readiness(&self) -> Arc<Readiness> {
        let mut last = self.0.last.lock().await;
        if let Some((at, readiness)) = last.as_ref()
            && at.elapsed() < FRESH_FOR
        {
            return Arc::clone(readiness);
        }
        let checks = self.0.checks.read().unwrap_or_else(PoisonError::into_inner).clone();
        let resources = join_all(checks.iter().map(run)).await;
        let readiness = Arc::new(Readiness { status: overall(&resources), resources });
        *last = Some((Instant::now(), Arc::clone(&readiness)));
        readiness
    }

    /// Serves `/healthz` and `/readyz`.
    pub fn router(&self) -> OpenApiRouter {
        OpenApiRouter::new().routes(routes!(healthz)).routes(routes!(readyz)).with_state(self.clone())
    }
}

async fn run(registered: &Registered) -> Resource {
    let Registered { name, required, check } = registered;
    let finding = match tokio::time::timeout(CHECK_TIMEOUT, check()).await {
        Ok(finding) => finding,
        Err(_) => Finding::failed(
            format!("did not answer within {}s", CHECK_TIMEOUT.as_secs()),
            "see the server's log; the resource may be overloaded or gone",
        ),
    };
    let health = match finding.status {
        Status::Ok => 1.0,
        Status::Degraded => 0.5,
        Status::Failed => 0.0,
    };
    gauge!(RESOURCE_HEALTH, "resource" => *name).set(health);
    let Finding { status, detail, advice } = finding;
    Resource { name, required: *required, status, detail, advice }
}

fn overall(resources: &[Resource]) -> Status {
    let weight = |resource: &Resource| match resource.status {
        Status::Failed if !resource.required => Status::Degraded,
        status => status,
    };
    resources.iter().map(weight).max().unwrap_or(Status::Ok)
}

/// Whether the server lives.
///
/// Answers as long as the process can answer; checks nothing.
#[utoipa::path(get, path = "/healthz", tag = "server", responses((status = 200, body = String)))]
async fn healthz() -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"))], "ok\n").into_response()
}

/// Whether the server can work.
///
/// Tells of every resource how it does and what to do about it; without a key on a server that needs one, only how it
/// does. Outcomes are at most a second old.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "server",
    responses(
        (status = 200, body = Readiness, description = "The server can work."),
        (status = 503, body = Readiness, description = "A required resource failed.")
    )
)]
async fn readyz(State(health): State<Health>, caller: Caller) -> Response {
    let readiness = health.readiness().await;
    let status =
        if readiness.status == Status::Failed { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    if caller.may(Scope::read("server")) {
        return (status, axum::Json(readiness.as_ref())).into_response();
    }
    let mut shown = Readiness::clone(&readiness);
    for resource in &mut shown.resources {
        (resource.detail, resource.advice) = (String::new(), None);
    }
    (status, axum::Json(shown)).into_response()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn health(findings: &[(&'static str, bool, Finding)]) -> Health {
        let health = Health::default();
        for (name, required, finding) in findings.iter().cloned() {
            health.register(name, required, move || std::future::ready(finding.clone()));
        }
        health
    }

    #[tokio::test]
    async fn only_a_required_resource_makes_the_server_unready() {
        let failed = || Finding::failed("is gone", "bring it back");
        for (store, engine, expected) in [
            (Finding::ok("works"), Finding::ok("works"), Status::Ok),
            (Finding::ok("works"), failed(), Status::Degraded),
            (Finding::degraded("slow", "wait"), Finding::ok("works"), Status::Degraded),
            (failed(), Finding::ok("works"), Status::Failed),
        ] {
            let health = health(&[("store", true, store), ("engine", false, engine)]);
            assert_eq!(health.readiness().await.status, expected);
            let response = readyz(State(health), Caller::local()).await;
            assert_eq!(response.status() == StatusCode::SERVICE_UNAVAILABLE, expected == Status::Failed);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_that_hangs_fails_and_the_others_are_told() {
        let health = health(&[("store", true, Finding::ok("works"))]);
        health.register("engine", false, std::future::pending);
        let readiness = health.readiness().await;
        assert_eq!(readiness.resources[0].status, Status::Ok);
        assert_eq!(readiness.resources[1].status, Status::Failed);
    }

    #[tokio::test]
    async fn many_probes_cost_one_check() {
        let (health, runs) = (Health::default(), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&runs);
        health.register("store", true, move || {
            counted.fetch_add(1, Ordering::Relaxed);
            std::future::ready(Finding::ok("works"))
        });
        join_all((0..50).map(|_| health.readiness())).await;
        assert_eq!(runs.load(Ordering::Relaxed), 1);
    }
}
