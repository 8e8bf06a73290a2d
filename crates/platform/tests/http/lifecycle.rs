//! Binding, connections, stopping.

use std::{net::SocketAddr, time::Duration};

use axum::{Router, body::Body, extract::State, routing::get};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use paddock_platform::{
    http::{Server, ServerError},
    task::Tasks,
    units::HumanDuration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::support::{Gate, PATIENCE, TestServer, client, eventually, options, read_to_end};

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

/// An h2c connection, and the task that ends with it.
async fn h2c(address: SocketAddr) -> (SendRequest<Empty<Bytes>>, JoinHandle<hyper::Result<()>>) {
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    (sender, Tasks::default().spawn("test_client", connection))
}

fn request(path: &str) -> http::Request<Empty<Bytes>> {
    http::Request::get(format!("http://localhost{path}")).body(Empty::new()).unwrap()
}

#[tokio::test]
async fn an_idle_h2c_connection_is_closed_and_a_used_one_is_not() {
    let gate = Gate::default();
    let mut options = options();
    options.header_timeout = HumanDuration::from_millis(50);
    let server = TestServer::start(options, gated(&gate)).await;
    let (mut idle, idle_ends) = h2c(server.address).await;
    let (mut used, _used_ends) = h2c(server.address).await;
    let in_flight = used.send_request(request("/wait"));
    let answer = idle.send_request(request("/a")).await.unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "a");
    let closed = async {
        gate.wait_entered(1).await;
        tokio::time::timeout(PATIENCE, idle_ends).await.expect("the server must close").unwrap().unwrap();
        gate.open();
    };
    let (answer, ()) = tokio::join!(in_flight, closed);
    assert_eq!(answer.unwrap().into_body().collect().await.unwrap().to_bytes(), "done");
    drop(idle);
}

#[tokio::test]
async fn an_h2c_client_that_takes_nothing_of_one_answer_loses_it() {
    let mut options = options();
    options.timeout = HumanDuration::from_millis(100);
    let ended = CancellationToken::new();
    let endless = {
        let ended = ended.clone();
        async move || {
            let guard = ended.drop_guard();
            Body::from_stream(futures_util::stream::repeat_with(move || {
                let _held = &guard;
                Ok::<_, std::io::Error>(Bytes::from_static(&[b'x'; 4096]))
            }))
        }
    };
    let routes = Router::new().route("/endless", get(endless)).route("/a", get(async || "a"));
    let server = TestServer::start(options, routes).await;
    let (sender, _ends) = h2c(server.address).await;
    let other = async || sender.clone().send_request(request("/a")).await.unwrap().status();
    let untaken = sender.clone().send_request(request("/endless")).await.unwrap().into_body();
    tokio::time::timeout(PATIENCE, ended.cancelled()).await.expect("the answer must be given up");
    drop(untaken);
    assert_eq!(other().await, 200, "the connection is not to blame");
}

#[tokio::test]
async fn connections_beyond_the_maximum_wait_for_their_turn() {
    let mut options = options();
    options.connections_max = 1.try_into().unwrap();
    let server = TestServer::start(options, gated(&Gate::default())).await;
    let mut first = TcpStream::connect(server.address).await.unwrap();
    first.write_all(b"GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut begin = [0; 12];
    first.read_exact(&mut begin).await.unwrap();
    assert_eq!(&begin, b"HTTP/1.1 200");
    let mut second = std::pin::pin!(server.get("/a").send());
    // It takes far less when nothing holds it back.
    let early = tokio::time::timeout(Duration::from_millis(300), &mut second).await;
    assert!(early.is_err(), "the first connection still has the only place");
    drop(first);
    assert_eq!(second.await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_listener_that_waits_takes_no_place_from_another() {
    let mut options = options();
    options.listen = "localhost:0".parse().unwrap();
    options.connections_max = 1.try_into().unwrap();
    let server = TestServer::start(options, gated(&Gate::default())).await;
    // Where `localhost` is one address this shows nothing.
    for address in server.addresses.clone() {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
        assert!(read_to_end(&mut stream).await.starts_with("HTTP/1.1 200"), "{address}");
    }
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
