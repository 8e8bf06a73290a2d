//! What the edge costs: a bare axum handler and the same handlers behind the whole edge, side by side.
//!
//! `cargo bench --bench http` serves both on free ports of loopback, loads them in turn with `wrk` (so that noise of the
//! machine hits both), and prints requests per second, the ratio, and the server's CPU time per request, which other
//! programs on the machine disturb least. `cargo bench --bench http -- serve` only serves,
//! until standard input ends, for another load generator or a profiler. `-- rounds N seconds S connections C` changes
//! how it measures, `-- json` prints the medians in one line, for the lab.
#![expect(clippy::print_stdout, reason = "a benchmark's output")]

use std::{
    error::Error,
    io::Read as _,
    net::SocketAddr,
    process::{Command, Stdio},
    time::Duration,
};

use axum::{Router, routing::get};
use paddock_platform::{
    config::Section,
    health::Health,
    http::{Edge, RateLimit, Server, ServerOptions, require},
    task::Tasks,
    telemetry::{Telemetry, TelemetryOptions},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// As in the binary: allocation is a large part of what is measured.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// How to measure.
struct Plan {
    serve_only: bool,
    json: bool,
    rounds: usize,
    seconds: u32,
    connections: u32,
}

impl Plan {
    fn from_args() -> Self {
        let args: Vec<String> = std::env::args().skip(1).collect();
        let number = |name: &str| {
            let at = args.iter().position(|arg| arg == name)?;
            args.get(at + 1)?.parse::<u32>().ok()
        };
        Self {
            serve_only: args.iter().any(|arg| arg == "serve"),
            json: args.iter().any(|arg| arg == "json"),
            rounds: number("rounds").unwrap_or(5) as usize,
            seconds: number("seconds").unwrap_or(3),
            connections: number("connections").unwrap_or(64),
        }
    }
}

/// The targets of one run, in the order in which they are loaded.
struct Target {
    name: &'static str,
    url: String,
    rounds: Vec<Round>,
}

/// What one round of load saw.
#[derive(Clone, Copy)]
struct Round {
    /// Requests per second.
    rate: f64,
    /// Microseconds of this process's CPU per request.
    cpu_us: f64,
}

async fn serve_bare(tasks: &Tasks) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let app = Router::new().route("/healthz", get(async || "ok\n"));
    tasks.spawn("bare", async move {
        let _ = axum::serve(listener, app).await;
    });
    Ok(address)
}

async fn serve_edge(telemetry: &Telemetry, tasks: &Tasks) -> Result<SocketAddr> {
    let mut options = ServerOptions { listen: "127.0.0.1:0".parse()?, ..ServerOptions::default() };
    // All limits hold and are counted; none is reached.
    options.rates.global = RateLimit::per_second(10_000_000);
    options.rates.per_ip = RateLimit::per_second(10_000_000);
    let server = Server::bind(&options, false).await?;
    let address = server.addresses()[0];
    let ordinary = Router::new().route("/server/{name}", get(async || "ok\n")).route_layer(require("server"));
    let edge = Edge::builder(Section::fixed(options), server.addresses()).build();
    let app = Router::new()
        .merge(Health::default().router())
        .merge(telemetry.metrics().router())
        .merge(ordinary)
        .layer(edge);
    telemetry.metrics().spawn_upkeep(tasks);
    let own = tasks.clone();
    tasks.spawn("edge", async move { server.serve(app, &own, CancellationToken::new()).await });
    Ok(address)
}

/// CPU time of this process so far: user and system, fields 14 and 15 of its `stat`, in ticks of 10 ms.
fn cpu_seconds() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit_once(')').ok_or("malformed /proc/self/stat")?.1;
    let mut times = after_name.split_whitespace().skip(11);
    let mut next =
        || Ok::<f64, Box<dyn Error + Send + Sync>>(times.next().ok_or("short stat")?.parse::<f64>()?);
    Ok((next()? + next()?) / 100.0)
}

/// Loads one target.
async fn load(plan: &Plan, url: &str) -> Result<Round> {
    let before = cpu_seconds()?;
    let args =
        ["-t1".to_owned(), format!("-c{}", plan.connections), format!("-d{}s", plan.seconds), url.to_owned()];
    let output = tokio::process::Command::new("wrk").args(args).stdin(Stdio::null()).output().await?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if text.contains("Non-2xx") {
        return Err(format!("not every answer was a success:\n{text}").into());
    }
    let cpu = cpu_seconds()? - before;
    let rate = text.lines().find_map(|line| line.trim().strip_prefix("Requests/sec:"));
    let requests = text.lines().find_map(|line| line.trim().split_once(" requests in "));
    let (rate, (requests, _)) = rate.zip(requests).ok_or_else(|| format!("wrk said:\n{text}"))?;
    Ok(Round { rate: rate.trim().parse()?, cpu_us: 1e6 * cpu / requests.parse::<f64>()? })
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = figures.collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

async fn load_in_turn(plan: &Plan, targets: &mut [Target]) -> Result<()> {
    for round in 0..=plan.rounds {
        for target in &mut *targets {
            let seen = load(plan, &target.url).await?;
            // The first round warms up.
            if round > 0 {
                target.rounds.push(seen);
            }
        }
    }
    Ok(())
}

/// The medians in one line, for the lab.
fn print_figures(targets: &[Target]) {
    let [bare, edge, ..] = targets else { return };
    let share = median(edge.rounds.iter().zip(&bare.rounds).map(|(edge, bare)| edge.rate / bare.rate));
    let rate = |target: &Target| median(target.rounds.iter().map(|round| round.rate));
    println!(
        "{{\"bare_per_s\": {}, \"edge_per_s\": {}, \"edge_share_ratio\": {share}}}",
        rate(bare),
        rate(edge)
    );
}

fn print_table(targets: &[Target]) {
    println!("{:<32} {:>12} {:>9} {:>15}", "target (medians)", "requests/s", "of bare", "CPU us/request");
    let bare = targets.first().map(|target| target.rounds.clone()).unwrap_or_default();
    for Target { name, rounds, .. } in targets {
        let of_bare = median(rounds.iter().zip(&bare).map(|(seen, bare)| 100.0 * seen.rate / bare.rate));
        let (rate, cpu) = (median(rounds.iter().map(|r| r.rate)), median(rounds.iter().map(|r| r.cpu_us)));
        println!("{name:<32} {rate:>12.0} {of_bare:>8.1}% {cpu:>15.2}");
    }
}

async fn run(plan: Plan) -> Result<()> {
    let tasks = Tasks::default();
    let telemetry = Telemetry::start(&TelemetryOptions::default(), &[])?;
    let (bare, edge) = (serve_bare(&tasks).await?, serve_edge(&telemetry, &tasks).await?);
    let target = |name, address: SocketAddr, path: &str| Target {
        name,
        url: format!("http://{address}{path}"),
        rounds: Vec::new(),
    };
    let mut targets = [
        target("bare axum", bare, "/healthz"),
        target("edge: /healthz", edge, "/healthz"),
        target("edge: a route with every limit", edge, "/server/a"),
    ];
    if plan.json {
        load_in_turn(&plan, &mut targets).await?;
        print_figures(&targets);
        let _ = tasks.stop(Duration::from_millis(100)).await;
        return Ok(());
    }
    for target in &targets {
        println!("{}: {}", target.name, target.url);
    }
    let has_wrk = Command::new("wrk").arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if plan.serve_only || !has_wrk {
        println!("serving until standard input ends{}", if has_wrk { "" } else { " (wrk is not installed)" });
        tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    } else {
        load_in_turn(&plan, &mut targets).await?;
        print_table(&targets);
    }
    let _ = tasks.stop(Duration::from_millis(100)).await;
    Ok(())
}

fn main() -> Result<()> {
    // Test runners ask benchmarks for a list of tests: there are none.
    if std::env::args().any(|arg| arg == "--list" || arg == "--test") {
        return Ok(());
    }
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run(Plan::from_args()))
}
