//! Profiles of the running server, for `go tool pprof`, `pprof.me` and eyes.
//!
//! `/debug/pprof/profile?seconds=N` (CPU) and `/debug/pprof/heap` answer pprof protobuf, `/debug/pprof/flamegraph` an
//! SVG. They cost the server time and tell of its insides: they exist only with `server.debug`, need the scope
//! `debug:read`, are bounded, and run one at a time.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use http::header;
use pprof::{ProfilerGuard, ProfilerGuardBuilder, Report, protos::Message};
use serde::Deserialize;
use tokio::sync::Semaphore;

use crate::{
    http::{Query, RouteRules, require_scope},
    identity::Scope,
    problem::{CONFLICT, NOT_IMPLEMENTED, Problem},
};

/// The routes, whose deadline is their own; exempt them from the edge's with [`PROFILE_RULES`].
pub const PROFILE_ROUTES: [&str; 3] =
    ["/debug/pprof/profile", "/debug/pprof/heap", "/debug/pprof/flamegraph"];
/// See [`PROFILE_ROUTES`].
pub const PROFILE_RULES: RouteRules = RouteRules::UNTIMED;

const SECONDS_DEFAULT: u64 = 10;
const SECONDS_MAX: u64 = 120;
/// Samples per second; not a round number, to not beat with periodic work.
const FREQUENCY: i32 = 99;
/// The flame graph of a server that did nothing.
const IDLE: &str = r#"<svg xmlns="http://www.w3.org/2000/svg" width="480" height="40"><text x="10" y="25" font-family="sans-serif">no samples: the server used no CPU meanwhile</text></svg>"#;

/// The routes. Add them only if `server.debug` is set.
pub fn router() -> Router {
    let [cpu_route, heap_route, flamegraph_route] = PROFILE_ROUTES;
    Router::new()
        .route(cpu_route, get(cpu))
        .route(heap_route, get(heap))
        .route(flamegraph_route, get(flamegraph))
        .route_layer(require_scope(Scope::read("debug")))
        .with_state(Arc::new(Semaphore::new(1)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProfileQuery {
    seconds: Option<u64>,
}

async fn cpu(
    State(turn): State<Arc<Semaphore>>,
    Query(query): Query<ProfileQuery>,
) -> Result<Response, Problem> {
    let report = sample(&turn, query.seconds).await?;
    let profile = blocking("encoding the profile", move || {
        Ok(report.pprof().map_err(|error| Problem::internal("encoding the profile", &error))?.encode_to_vec())
    });
    Ok(attachment("cpu.pb", "application/octet-stream", profile.await?))
}

async fn flamegraph(
    State(turn): State<Arc<Semaphore>>,
    Query(query): Query<ProfileQuery>,
) -> Result<Response, Problem> {
    let report = sample(&turn, query.seconds).await?;
    if report.data.is_empty() {
        return Ok(([(header::CONTENT_TYPE, "image/svg+xml")], IDLE).into_response());
    }
    let svg = blocking("drawing the flame graph", move || {
        let mut svg = Vec::new();
        report.flamegraph(&mut svg).map_err(|error| Problem::internal("drawing the flame graph", &error))?;
        Ok(svg)
    });
    Ok(([(header::CONTENT_TYPE, "image/svg+xml")], svg.await?).into_response())
}

async fn heap(State(turn): State<Arc<Semaphore>>) -> Result<Response, Problem> {
    let _turn = turn.try_acquire().map_err(|_| busy())?;
    let Some(profiler) = jemalloc_pprof::PROF_CTL.as_ref() else {
        let detail = "heap profiles need the server to be started with MALLOC_CONF=prof:true (and jemalloc, which release builds have)";
        return Err(Problem::new(NOT_IMPLEMENTED, detail));
    };
    let mut profiler = Arc::clone(profiler).lock_owned().await;
    if !profiler.activated() {
        let detail = "heap profiling is compiled in but not active; start the server with MALLOC_CONF=prof:true,prof_active:true";
        return Err(Problem::new(CONFLICT, detail));
    }
    let profile = blocking("writing the heap profile", move || {
        profiler.dump_pprof().map_err(|error| Problem::internal("writing the heap profile", error.as_ref()))
    });
    Ok(attachment("heap.pb.gz", "application/octet-stream", profile.await?))
}

fn busy() -> Problem {
    Problem::new(CONFLICT, "another profile is being made; one at a time").retry_after(Duration::from_secs(5))
}

/// Samples the CPU for the asked time. Stops when the client goes away.
async fn sample(turn: &Semaphore, seconds: Option<u64>) -> Result<Report, Problem> {
    let seconds = seconds.unwrap_or(SECONDS_DEFAULT);
    if !(1..=SECONDS_MAX).contains(&seconds) {
        return Err(Problem::invalid_field("seconds", format_args!("must be 1 to {SECONDS_MAX}")));
    }
    let _turn = turn.try_acquire().map_err(|_| busy())?;
    let guard: ProfilerGuard<'static> = ProfilerGuardBuilder::default()
        .frequency(FREQUENCY)
        .blocklist(&["libc", "libgcc", "pthread", "vdso"])
        .build()
        .map_err(|error| Problem::internal("starting the profiler", &error))?;
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    blocking("reading the profile", move || {
        guard.report().build().map_err(|error| Problem::internal("reading the profile", &error))
    })
    .await
}

/// Symbolizing takes long enough to hold up other requests on the same thread.
async fn blocking<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Problem::internal(what, &error)))
}

fn attachment(name: &str, media_type: &'static str, bytes: Vec<u8>) -> Response {
    let disposition = format!("attachment; filename=\"{name}\"");
    ([(header::CONTENT_TYPE, media_type.to_owned()), (header::CONTENT_DISPOSITION, disposition)], bytes)
        .into_response()
}
