//! Binding, connections, stopping.

use std::time::Duration;

use axum::{Router, extract::State, routing::get};
use paddock_platform::{
    http::{Server, ServerError},
    units::HumanDuration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{Gate, TestServer, client, eventually, options, read_to_end};

fn gated(gate: &Gate) -> Router {
    let wait = async |State(gate): State<Gate>| {
        gate.pass().await;
        "done"
    };
    Router::new().route("/wait", get(wait)).route("/a", get(async || "a")).with_state(gate.clone())
}

#[tokio::test]
async fn beyond_loopback_a_server_without_keys_does_not_start() {
    let mut options = options();
    options.listen = "0.0.0.0:0".parse().unwrap();
    let error = Server::bind(&options, false).await.unwrap_err();
    assert!(matches!(error, ServerError::KeyNeeded { .. }), "{error}");
    assert!(error.to_string().contains("paddock keys create"));
    assert!(Server::bind(&options, true).await.is_ok());
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let first = Server::bind(&options(), false).await.unwrap();
    let mut options = options();
    options.listen = first.addresses()[0].into();
    let error = Server::bind(&options, false).await.unwrap_err().to_string();
    assert!(
        error.contains(&first.addresses()[0].to_string()) && error.contains("another program"),
        "{error}"
    );
}

#[tokio::test]
async fn both_protocol_versions_are_spoken() {
    let server = TestServer::start(options(), gated(&Gate::default())).await;
    let old = server.get("/a").send().await.unwrap();
    assert_eq!((old.version(), old.status().as_u16()), (http::Version::HTTP_11, 200));
    let client = reqwest::Client::builder().http2_prior_knowledge().no_proxy().build().unwrap();
    let new = client.get(server.url("/a")).send().await.unwrap();
    assert_eq!((new.version(), new.status().as_u16()), (http::Version::HTTP_2, 200));
}

#[tokio::test]
async fn stopping_finishes_what_is_in_flight_and_refuses_what_is_new() {
    let gate = Gate::default();
    let server = TestServer::start(options(), gated(&gate)).await;
    let (address, url) = (server.address, server.url("/a"));
    let idle = TcpStream::connect(address).await.unwrap();
    let in_flight = server.get("/wait").send();
    let stop = async {
        gate.wait_entered(1).await;
        server.stop.cancel();
        eventually(async || TcpStream::connect(address).await.is_err()).await;
        assert!(client().get(&url).send().await.is_err());
        gate.open();
    };
    let (answer, ()) = tokio::join!(in_flight, stop);
    assert_eq!(answer.unwrap().text().await.unwrap(), "done");
    assert!(server.stopped().await.is_complete());
    drop(idle);
}

#[tokio::test]
async fn what_does_not_finish_in_time_is_cut_off_and_counted() {
    let gate = Gate::default();
    let mut options = options();
    options.shutdown = HumanDuration::from_millis(50);
    let server = TestServer::start(options, gated(&gate)).await;
    let request = server.get("/wait").send();
    let stop = async {
        gate.wait_entered(1).await;
        server.stop.cancel();
    };
    let (answer, ()) = tokio::join!(request, stop);
    assert!(answer.is_err());
    assert_eq!(server.stopped().await.connections_aborted, 1);
}

#[tokio::test]
async fn a_client_that_dawdles_over_its_headers_is_dropped() {
    let mut options = options();
    options.header_timeout = HumanDuration::from_millis(100);
    let server = TestServer::start(options, gated(&Gate::default())).await;
    for beginning in ["", "P", "PRI * HTTP/2.0\r\n", "GET /a HTTP/1.1\r\nHost: localhost\r\nX-Slow:"] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(beginning.as_bytes()).await.unwrap();
        let answer = read_to_end(&mut stream).await;
        assert!(!answer.contains("200 OK"), "{beginning:?}: {answer}");
    }
    assert_eq!(server.get("/a").send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_slow_handler_is_not_a_dawdling_client() {
    let mut options = options();
    options.header_timeout = HumanDuration::from_millis(50);
    let slow = async || {
        tokio::time::sleep(Duration::from_millis(300)).await;
        "done"
    };
    let server = TestServer::start(options, Router::new().route("/slow", get(slow))).await;
    assert_eq!(server.get("/slow").send().await.unwrap().text().await.unwrap(), "done");
}

#[tokio::test]
async fn connections_beyond_the_maximum_wait_for_their_turn() {
    let mut options = options();
    options.connections_max = 1.try_into().unwrap();
    let server = TestServer::start(options, gated(&Gate::default())).await;
    let first = TcpStream::connect(server.address).await.unwrap();
    let second = server.get("/a").send();
    let release = async {
        tokio::task::yield_now().await;
        drop(first);
    };
    let (second, ()) = tokio::join!(second, release);
    assert_eq!(second.unwrap().status(), 200);
}

#[tokio::test]
async fn headers_that_never_end_are_refused() {
    let server = TestServer::start(options(), gated(&Gate::default())).await;
    let huge = format!("GET /a HTTP/1.1\r\nHost: localhost\r\nX-Huge: {}\r\n\r\n", "x".repeat(1 << 20));
    let answer = server.exchange(huge).await;
    assert!(answer.starts_with("HTTP/1.1 431") || answer.is_empty(), "{}", &answer[..answer.len().min(80)]);
    assert_eq!(server.get("/a").send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_client_that_takes_nothing_of_its_answer_is_disconnected() {
    let mut options = options();
    options.timeout = HumanDuration::from_millis(100);
    let large = async || vec![b'x'; 64 << 20];
    let server = TestServer::start(options, Router::new().route("/large", get(large))).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut begin = [0; 12];
    stream.read_exact(&mut begin).await.unwrap();
    assert_eq!(&begin, b"HTTP/1.1 200");
    // The shutdown's deadline is long: that nothing is cut off by it says that the connection has ended before.
    assert!(server.stopped().await.is_complete());
}
