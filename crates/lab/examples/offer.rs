//! What the generator itself can do: offers a load to a trivial server, or to a closure, and prints what was measured.
//!
//! `offer serve PORT` serves `ok` on loopback. `offer http://127.0.0.1:PORT/ RATE SECONDS [IN_FLIGHT] [WORKERS]` offers
//! requests at a rate; rate 0 asks as fast as it is answered. `offer closure RATE SECONDS [SEATS] [WORKERS]` calls a
//! closure that does nothing.
#![expect(clippy::print_stdout, reason = "its output")]

use std::{error::Error, sync::Arc, time::Duration};

use axum::{Router, routing::get};
use paddock_lab::{
    driver::{BuildContext, Driver, Options as _, http::HttpOptions, in_process::InProcess},
    engine::{Load, Measured, Pattern, Step, generate},
    schedule::Schedule,
    variables::Variables,
};
use tokio_util::sync::CancellationToken;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["serve", port] => serve(port.parse()?),
        [target, rate, seconds, rest @ ..] => {
            let in_flight = rest.first().map_or(Ok(64), |text| text.parse())?;
            let mut load = load(target, rate.parse()?, seconds.parse()?, in_flight)?;
            if let Some(workers) = rest.get(1) {
                load.workers = workers.parse()?;
            }
            print(&generate(load, &mut (), &CancellationToken::new())?);
            Ok(())
        }
        _ => Err("usage: offer serve PORT | offer URL|closure RATE SECONDS [IN_FLIGHT] [WORKERS]".into()),
    }
}

fn serve(port: u16) -> Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
        axum::serve(listener, Router::new().route("/", get(|| async { "ok" }))).await?;
        Ok(())
    })
}

fn load(target: &str, rate_per_s: f64, seconds: u64, in_flight: usize) -> Result<Load> {
    let duration = Duration::from_secs(seconds);
    let driver: Arc<dyn Driver> = if target == "closure" {
        Arc::new(InProcess::new(|_| Ok(())))
    } else {
        let options = HttpOptions {
            url: target.parse()?,
            method: None,
            headers: std::collections::BTreeMap::new(),
            body: None,
            version: paddock_lab::driver::http::HttpVersion::default(),
            connections: None,
        };
        options.build(&BuildContext::new(Variables::new(1), in_flight))?
    };
    let pattern = if rate_per_s > 0.0 {
        Pattern::Open(Schedule::constant(rate_per_s, duration)?)
    } else {
        Pattern::Closed {
            users: in_flight,
            think_time: Duration::ZERO,
            duration: Some(duration),
            iterations: None,
        }
    };
    let step = Step {
        name: "offer".to_owned(),
        driver_name: "http",
        weight: 1,
        timeout: Duration::from_secs(10),
        checks: Vec::new(),
        driver,
    };
    let mut load = Load::new(pattern, vec![step]);
    load.in_flight_max = in_flight;
    load.warm_up = Duration::from_secs(1);
    Ok(load)
}

fn print(measured: &Measured) {
    let step = &measured.steps[0];
    println!(
        "offered {} completed {} errors {:?} in {:.2}s: {:.0}/s, waited {}, busy {:.2}{}",
        step.offered,
        step.completed,
        step.errors,
        measured.duration_s,
        step.completed as f64 / measured.duration_s,
        measured.waited,
        measured.busy_ratio,
        measured.partial.as_deref().map_or(String::new(), |partial| format!(", PARTIAL: {partial}")),
    );
    for (name, times) in [("latency", &step.latency), ("service", &step.service), ("lag", &step.lag)] {
        println!(
            "{name:<8} us  p50 {:>8.1}  p90 {:>8.1}  p99 {:>8.1}  p99.9 {:>8.1}  max {:>8.1}",
            times.p50_us, times.p90_us, times.p99_us, times.p999_us, times.max_us
        );
    }
    let lag = &measured.pacer.lag;
    println!(
        "pacer    us  p50 {:>8.1}  p90 {:>8.1}  p99 {:>8.1}  p99.9 {:>8.1}  max {:>8.1}",
        lag.quantile_us(0.5),
        lag.quantile_us(0.9),
        lag.quantile_us(0.99),
        lag.quantile_us(0.999),
        lag.quantile_us(1.0)
    );
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    if let Some(peak) = status.lines().find(|line| line.starts_with("VmHWM")) {
        println!("{}", peak.split_ascii_whitespace().collect::<Vec<_>>().join(" "));
    }
}
