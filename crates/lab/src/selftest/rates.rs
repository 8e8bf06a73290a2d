//! High rates on an open schedule, in turns with oha against the same trivial server: at no higher p99, says the promise.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Case, FreezePlan, build_note, freeze, millis, process::Server, rivals};
use crate::{engine::generate, quantity::number, statistics::median, verdict::Level};

const NAME: &str = "open loop beside oha";

/// What is offered, how often.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) rates_per_s: Vec<f64>,
    pub(super) duration: Duration,
    pub(super) connections: usize,
    /// Turns of each generator per rate, in the order ABBA.
    pub(super) turns: usize,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            rates_per_s: vec![60_000.0, 90_000.0],
            duration: Duration::from_secs(5),
            connections: 100,
            turns: 4,
        }
    }
}

/// Offers each rate by turns and compares the medians of the 99th percentiles.
pub(super) async fn case(server: &[String], plan: Plan, stop: &CancellationToken) -> Case {
    let Some(rival) = rivals::open_loop() else {
        return Case::new(NAME, Level::Pass).note("oha is not installed: there is nothing to compare with");
    };
    let mut case = Case::new(NAME, Level::Pass);
    for rate_per_s in plan.rates_per_s {
        let offered = FreezePlan {
            rate_per_s,
            duration: plan.duration,
            connections: plan.connections,
            ..FreezePlan::default()
        };
        let (mut own, mut others) = (Vec::new(), Vec::new());
        for turn in 0..plan.turns * 2 {
            if stop.is_cancelled() {
                return Case::impossible(NAME, "interrupted");
            }
            // ABBA ABBA …
            let is_own = matches!(turn % 4, 0 | 3);
            let (p99s, taken) = if is_own {
                (&mut own, own_p99(server, offered, stop).await)
            } else {
                (&mut others, rival_p99(server, offered, rival).await)
            };
            match taken {
                Ok(p99) => p99s.push(p99.as_secs_f64()),
                Err(error) => return Case::impossible(NAME, error),
            }
        }
        let rate = number(rate_per_s);
        let (Some(own_p99), Some(other_p99)) = (median(&own), median(&others)) else { continue };
        if own_p99 > other_p99 {
            case.level = Level::Warn;
        }
        case = case
            .figure(&format!("p99 of Paddock at {rate} /s"), all(&own))
            .figure(&format!("p99 of {} at {rate} /s", rival.label), all(&others));
    }
    let connections = plan.connections;
    let note =
        format!("{} turns of {} s each, {connections} connections", plan.turns, plan.duration.as_secs_f64());
    build_note(case.note(note))
}

/// Every turn, and their median.
fn all(p99s_s: &[f64]) -> String {
    let shown = |seconds: f64| millis(Duration::from_secs_f64(seconds.max(0.0)));
    let turns: Vec<String> = p99s_s.iter().map(|seconds| shown(*seconds)).collect();
    format!("{} (median of {})", shown(median(p99s_s).unwrap_or_default()), turns.join(", "))
}

async fn own_p99(server: &[String], plan: FreezePlan, stop: &CancellationToken) -> Result<Duration, String> {
    let server = Server::start(server).await.map_err(|error| error.to_string())?;
    let mut load = freeze::load(&server, plan)?;
    // As many as the other has.
    load.workers = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    let stop = stop.clone();
    let measured = tokio::task::spawn_blocking(move || generate(load, &mut (), &stop)).await;
    server.end().await;
    let measured = measured.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    // A rate that cannot be held ends the run late and early at once; the latency until then says it all.
    let step = measured.steps.first().ok_or("nothing was measured")?;
    Ok(Duration::from_secs_f64(step.latency.p99_us / 1e6))
}

async fn rival_p99(server: &[String], plan: FreezePlan, rival: &rivals::Rival) -> Result<Duration, String> {
    let server = Server::start(server).await.map_err(|error| error.to_string())?;
    let reported = rival.run(&format!("http://{}/", server.address), plan).await;
    server.end().await;
    let [_, p99] = reported?;
    Ok(p99)
}
