//! Coordinated omission: what a generator reports of a target that stands still.
//!
//! Operations are due at a constant rate for D seconds, and the target is stopped for F of them. Whatever was due while it
//! stood still waited from then until the end of it, so the waits are uniform between 0 and F, and a share x of all
//! operations waited longer than F - x D. For D = 6 s and F = 2 s the 99th percentile is 1.94 s. A generator that waits
//! for the answer before it goes on sends a few dozen operations into the freeze instead of thousands, and reports
//! milliseconds.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::{
    Case, SelfTest,
    process::{Server, ServerError},
    rivals,
};
use crate::{
    driver::{BuildContext, Options as _, http::HttpOptions},
    engine::{Load, LoadError, Measured, Pattern, Step, generate},
    quantity::Unit,
    schedule::Schedule,
    variables::Variables,
    verdict::Level,
};

const NAME: &str = "frozen target";
/// How far the 99th percentile may lie from the worked-out one, in shares of it.
const TOLERANCE_RATIO: f64 = 0.04;

/// A load through a freeze.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FreezePlan {
    /// Operations per second.
    pub rate_per_s: f64,
    /// How long operations are due.
    pub duration: Duration,
    /// When the target is stopped.
    pub at: Duration,
    /// For how long.
    pub length: Duration,
    /// Connections of the generators.
    pub connections: usize,
}

impl Default for FreezePlan {
    fn default() -> Self {
        Self {
            rate_per_s: 1_000.0,
            duration: Duration::from_secs(6),
            at: Duration::from_secs(2),
            length: Duration::from_secs(2),
            connections: 50,
        }
    }
}

impl FreezePlan {
    /// What must be reported at a quantile, for a freeze that really took this long; `None` where the freeze is not felt.
    fn expected(&self, quantile: f64, frozen: Duration) -> Option<Duration> {
        let share = 1.0 - quantile;
        let wait = frozen.as_secs_f64() - share * self.duration.as_secs_f64();
        (wait > 0.0).then(|| Duration::from_secs_f64(wait))
    }
}

#[derive(Debug, thiserror::Error)]
enum FreezeError {
    #[error(transparent)]
    Server(#[from] ServerError),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("the load cannot be put together: {0}")]
    Build(String),
}

/// Runs the freeze with Paddock's own generator, then with others that are installed.
pub(super) async fn case(test: &SelfTest, stop: &CancellationToken) -> Case {
    let plan = test.freeze;
    let (measured, frozen) = match through_freeze(&test.server, plan, stop).await {
        Ok(done) => done,
        Err(error) => return Case::impossible(NAME, error),
    };
    if let Some(reason) = measured.partial {
        return Case::impossible(NAME, reason);
    }
    let (Some(step), Some(expected)) = (measured.steps.first(), plan.expected(0.99, frozen)) else {
        return Case::impossible(NAME, "nothing was measured");
    };
    let seconds = |micros: f64| Unit::Millis.format(micros / 1e3);
    let found = step.latency.p99_us / 1e6;
    let apart = (found - expected.as_secs_f64()).abs() / expected.as_secs_f64();
    let level = if apart <= TOLERANCE_RATIO { Level::Pass } else { Level::Fail };
    let both = |p90: String, p99: String| format!("{p90} / {p99}");
    let expected_p90 = plan.expected(0.9, frozen).map_or_else(|| "–".to_owned(), super::millis);
    let mut case = Case::new(NAME, level)
        .figure("p90 / p99 worked out", both(expected_p90, super::millis(expected)))
        .metric("freeze_p99_error_ratio", apart)
        .figure("p90 / p99 of Paddock", both(seconds(step.latency.p90_us), seconds(step.latency.p99_us)))
        .figure(
            "its own, from when it was sent",
            both(seconds(step.service.p90_us), seconds(step.service.p99_us)),
        )
        .note(format!(
            "{} /s for {} s, stopped for {}",
            plan.rate_per_s,
            plan.duration.as_secs_f64(),
            super::millis(frozen)
        ));
    if test.rivals {
        for rival in rivals::installed() {
            if stop.is_cancelled() {
                break;
            }
            let figure = match rival_through_freeze(&test.server, plan, rival).await {
                Ok([p90, p99]) => format!("{} / {}", super::millis(p90), super::millis(p99)),
                Err(error) => error,
            };
            case = case.figure(&format!("p90 / p99 of {}", rival.label), figure);
        }
    }
    case
}

async fn through_freeze(
    server: &[String],
    plan: FreezePlan,
    stop: &CancellationToken,
) -> Result<(Measured, Duration), FreezeError> {
    let server = Server::start(server).await?;
    let load = load(&server, plan).map_err(FreezeError::Build)?;
    let stop = stop.clone();
    let offered = tokio::task::spawn_blocking(move || generate(load, &mut (), &stop));
    tokio::time::sleep(plan.at).await;
    let frozen = server.freeze(plan.length).await?;
    let measured = offered.await.map_err(|error| FreezeError::Build(error.to_string()))?;
    server.end().await;
    Ok((measured?, frozen))
}

/// The load of a plan on a server.
pub(super) fn load(server: &Server, plan: FreezePlan) -> Result<Load, String> {
    let url = format!("http://{}/", server.address).parse().map_err(|error| format!("{error}"))?;
    let options = HttpOptions {
        url,
        method: None,
        headers: std::collections::BTreeMap::new(),
        body: None,
        version: crate::driver::http::HttpVersion::One,
        connections: None,
    };
    let context = BuildContext::new(Variables::new(1), plan.connections);
    let driver = options.build(&context).map_err(|error| error.to_string())?;
    let schedule = Schedule::constant(plan.rate_per_s, plan.duration).map_err(|error| error.to_string())?;
    let step = Step {
        name: "GET /".to_owned(),
        driver_name: "http",
        weight: 1,
        timeout: plan.duration * 2,
        checks: Vec::new(),
        driver,
    };
    let mut load = Load::new(Pattern::Open(schedule), vec![step]);
    load.in_flight_max = plan.connections;
    load.abort_after = plan.duration * 2;
    load.variables = Arc::clone(&context.variables);
    Ok(load)
}

async fn rival_through_freeze(
    server: &[String],
    plan: FreezePlan,
    rival: &rivals::Rival,
) -> Result<[Duration; 2], String> {
    let server = Server::start(server).await.map_err(|error| error.to_string())?;
    let url = format!("http://{}/", server.address);
    let running = rival.run(&url, plan);
    let freezing = async {
        tokio::time::sleep(plan.at).await;
        server.freeze(plan.length).await
    };
    let (reported, frozen) = tokio::join!(running, freezing);
    server.end().await;
    frozen.map_err(|error| error.to_string())?;
    reported
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_percentiles_of_a_freeze_can_be_worked_out() {
        let plan = FreezePlan::default();
        let frozen = Duration::from_secs(2);
        assert_eq!(plan.expected(0.99, frozen), Some(Duration::from_millis(1_940)));
        assert_eq!(plan.expected(0.90, frozen), Some(Duration::from_millis(1_400)));
        assert_eq!(plan.expected(0.50, frozen), None);
    }
}
