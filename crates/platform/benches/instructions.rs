//! Instructions of the edge, counted under valgrind: what a request costs before its handler, a limit that refuses it
//! included.
//!
//! `scripts/instructions.sh` counts them together with those of the other crates.

#![expect(missing_docs, reason = "what the macros make is public and has none")]

use std::net::SocketAddr;

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Request},
    routing::get,
};
use gungraun::{library_benchmark, library_benchmark_group, main};
use http::header;
use paddock_platform::{
    config::Section,
    http::{Edge, RateLimit, ServerOptions, require},
};
use tokio::runtime::Runtime;
use tower::ServiceExt as _;

const ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 7070);

/// A server without a socket, and a request that has arrived at it.
struct Arrived {
    runtime: Option<Runtime>,
    app: Router,
    request: Request,
}

impl Arrived {
    fn ask(&self, request: Request) -> u16 {
        let answered =
            self.runtime.as_ref().map(|runtime| runtime.block_on(self.app.clone().oneshot(request)));
        answered.and_then(Result::ok).map_or(0, |response| response.status().as_u16())
    }
}

fn request(host: &str) -> Request {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = http::Uri::from_static("/server/a");
    if let Ok(host) = host.parse() {
        request.headers_mut().insert(header::HOST, host);
    }
    request.extensions_mut().insert(ConnectInfo(ADDRESS));
    request
}

/// The same request came before: what is made only once is there.
fn arrived(host: &str, limit: &str) -> Arrived {
    let mut options = ServerOptions::default();
    options.rates.global = RateLimit::per_second(10_000_000);
    options.rates.per_ip = limit.parse().unwrap_or(options.rates.per_ip);
    let edge = Edge::builder(Section::fixed(options), &[ADDRESS]).build();
    let app = Router::new()
        .route("/server/{name}", get(async || "ok\n"))
        .route_layer(require("server"))
        .layer(edge);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok();
    let arrived = Arrived { runtime, app, request: request(host) };
    arrived.ask(request(host));
    arrived
}

#[library_benchmark(setup = arrived)]
#[bench::answered("127.0.0.1:7070", "10000000/s")]
#[bench::of_a_foreign_host("elsewhere.example", "10000000/s")]
#[bench::over_the_limit("127.0.0.1:7070", "1/min")]
fn edge(mut arrived: Arrived) -> u16 {
    let request = std::mem::take(&mut arrived.request);
    arrived.ask(request)
}

library_benchmark_group!(name = requests, benchmarks = edge);
main!(library_benchmark_groups = requests);
