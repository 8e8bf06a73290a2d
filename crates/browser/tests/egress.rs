//! The egress over real sockets: what it connects, what it refuses, and what it remembers of it.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::future::BoxFuture;
use paddock_browser::egress::{Destination, Egress, EgressFailure, EgressOptions, Resolve};
use paddock_platform::{
    config::{Live, Section},
    task::Tasks,
};
use proptest::prelude::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

/// Longer than anything here takes; reaching it is a failure.
const PATIENCE: Duration = Duration::from_secs(30);

fn networks(texts: &[&str]) -> Vec<Destination> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn options(allow: &[&str]) -> EgressOptions {
    EgressOptions { allow: networks(allow), ..EgressOptions::default() }
}

async fn egress(options: EgressOptions) -> Egress {
    Egress::start(Section::fixed(options), &Tasks::default()).await.unwrap()
}

/// Answers each look-up with the next of its answers; the last one stays.
#[derive(Clone)]
struct Script(Arc<Mutex<VecDeque<Vec<IpAddr>>>>);

impl Script {
    fn new(answers: &[&[&str]]) -> Self {
        let parse = |answer: &&[&str]| answer.iter().map(|text| text.parse().unwrap()).collect();
        Self(Arc::new(Mutex::new(answers.iter().map(parse).collect())))
    }
}

impl Resolve for Script {
    fn resolve(&self, _name: String) -> BoxFuture<'_, io::Result<Vec<IpAddr>>> {
        let mut answers = self.0.lock().unwrap();
        let answer = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
        Box::pin(async move { answer.ok_or_else(|| io::ErrorKind::NotFound.into()) })
    }
}

/// Never answers.
struct Silent;

impl Resolve for Silent {
    fn resolve(&self, _name: String) -> BoxFuture<'_, io::Result<Vec<IpAddr>>> {
        Box::pin(std::future::pending())
    }
}

/// Sends back what it gets, on any free port of the address.
async fn echo(tasks: &Tasks, address: &str) -> SocketAddr {
    let listener = TcpListener::bind((address, 0)).await.unwrap();
    let bound = listener.local_addr().unwrap();
    let connections = tasks.clone();
    tasks.spawn("echo", async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            connections.spawn("echo", async move {
                let (mut read, mut write) = stream.split();
                _ = tokio::io::copy(&mut read, &mut write).await;
                _ = write.shutdown().await;
            });
        }
    });
    bound
}

fn request(host: &str, port: u16) -> Vec<u8> {
    let mut bytes = vec![5, 1, 0];
    match host.parse() {
        Ok(IpAddr::V4(address)) => {
            bytes.push(1);
            bytes.extend_from_slice(&address.octets());
        }
        Ok(IpAddr::V6(address)) => {
            bytes.push(4);
            bytes.extend_from_slice(&address.octets());
        }
        Err(_) => {
            bytes.extend_from_slice(&[3, u8::try_from(host.len()).unwrap()]);
            bytes.extend_from_slice(host.as_bytes());
        }
    }
    bytes.extend_from_slice(&port.to_be_bytes());
    bytes
}

/// Asks the egress for a connection; yields it and the reply code.
async fn dial(egress: &Egress, host: &str, port: u16) -> (TcpStream, u8) {
    let mut stream = TcpStream::connect(egress.address()).await.unwrap();
    stream.write_all(&[5, 1, 0]).await.unwrap();
    let mut method = [0; 2];
    stream.read_exact(&mut method).await.unwrap();
    assert_eq!(method, [5, 0]);
    stream.write_all(&request(host, port)).await.unwrap();
    let mut reply = [0; 10];
    timeout(PATIENCE, stream.read_exact(&mut reply)).await.unwrap().unwrap();
    (stream, reply[1])
}

async fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    // A peer that closes with unread input resets; both are an end.
    _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("the egress closes the connection");
    rest
}

async fn assert_echoes(mut stream: TcpStream) {
    stream.write_all(b"over the way and back").await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut stream).await, b"over the way and back");
}

#[tokio::test]
async fn loopback_is_refused_unless_allowed() {
    let tasks = Tasks::default();
    let server = echo(&tasks, "127.0.0.1").await;
    let closed = egress(options(&[])).await;
    let (mut stream, code) = dial(&closed, "127.0.0.1", server.port()).await;
    assert_eq!(code, 2);
    assert_eq!(read_to_end(&mut stream).await, b"");
    assert_eq!(
        closed.last_failure("127.0.0.1", server.port()).await,
        Some(EgressFailure::Refused { address: server.ip(), network: "127.0.0.0/8".parse().unwrap() })
    );

    let open = egress(options(&["127.0.0.0/8"])).await;
    let (stream, code) = dial(&open, "127.0.0.1", server.port()).await;
    assert_eq!(code, 0);
    assert_echoes(stream).await;
    assert_eq!(open.last_failure("127.0.0.1", server.port()).await, None);
}

#[tokio::test]
async fn the_allow_list_follows_a_reload() {
    let tasks = Tasks::default();
    let server = echo(&tasks, "127.0.0.1").await;
    let live = Live::new(options(&[]));
    let egress = Egress::start(live.section(|options| options), &tasks).await.unwrap();
    assert_eq!(dial(&egress, "127.0.0.1", server.port()).await.1, 2);
    live.replace(options(&["127.0.0.1"]));
    let (stream, code) = dial(&egress, "127.0.0.1", server.port()).await;
    assert_eq!(code, 0);
    assert_echoes(stream).await;
    assert_eq!(egress.last_failure("127.0.0.1", server.port()).await, None, "a success clears the failure");
}

#[tokio::test]
async fn an_ipv4_address_in_ipv6_clothes_is_seen_through() {
    let tasks = Tasks::default();
    let server = echo(&tasks, "127.0.0.1").await;
    let closed = egress(options(&["::/0"])).await;
    assert_eq!(dial(&closed, "::ffff:127.0.0.1", server.port()).await.1, 2);
    let open = egress(options(&["127.0.0.0/8"])).await;
    let (stream, code) = dial(&open, "::ffff:127.0.0.1", server.port()).await;
    assert_eq!(code, 0);
    assert_echoes(stream).await;
}

#[tokio::test]
async fn a_name_that_rebinds_to_a_private_address_is_refused_from_then_on() {
    let tasks = Tasks::default();
    let allowed = echo(&tasks, "127.0.0.2").await;
    // Stands for a public address at first, then for what the attacker is after.
    let script = Script::new(&[&["127.0.0.2"], &["127.0.0.1"]]);
    let section = Section::fixed(options(&["127.0.0.2"]));
    let egress = Egress::start_with(section, script, &tasks).await.unwrap();
    let (stream, code) = dial(&egress, "rebind.example", allowed.port()).await;
    assert_eq!(code, 0);
    assert_echoes(stream).await;
    assert_eq!(dial(&egress, "rebind.example", allowed.port()).await.1, 2);
    assert!(matches!(
        egress.last_failure("REBIND.example.", allowed.port()).await,
        Some(EgressFailure::Refused { .. })
    ));
}

#[tokio::test]
async fn of_mixed_answers_only_an_allowed_address_is_connected_to() {
    let tasks = Tasks::default();
    // The private address has a server on the same port: it must not be the one that answers.
    let (allowed, private) = loop {
        let allowed = echo(&tasks, "127.0.0.2").await;
        if let Ok(private) = TcpListener::bind(("127.0.0.1", allowed.port())).await {
            break (allowed, private);
        }
    };
    let script = Script::new(&[&["127.0.0.1", "::1", "127.0.0.2"]]);
    let section = Section::fixed(options(&["127.0.0.2"]));
    let egress = Egress::start_with(section, script, &tasks).await.unwrap();
    let (stream, code) = dial(&egress, "mixed.example", allowed.port()).await;
    assert_eq!(code, 0);
    assert_echoes(stream).await;
    assert!(futures_util::FutureExt::now_or_never(private.accept()).is_none());
}

#[tokio::test]
async fn each_failure_has_its_reply_and_is_remembered() {
    let tasks = Tasks::default();
    // Nobody else here listens on this address.
    let unused = TcpListener::bind("127.0.0.77:0").await.unwrap().local_addr().unwrap();
    let nowhere = egress(options(&["127.0.0.0/8"])).await;
    assert_eq!(dial(&nowhere, "127.0.0.77", unused.port()).await.1, 5);
    assert_eq!(
        nowhere.last_failure("127.0.0.77", unused.port()).await,
        Some(EgressFailure::ConnectionRefused)
    );
    assert_eq!(dial(&nowhere, "does-not-exist.invalid", 80).await.1, 4);
    assert_eq!(nowhere.last_failure("does-not-exist.invalid", 80).await, Some(EgressFailure::NotFound));
    assert_eq!(nowhere.last_failure("does-not-exist.invalid", 81).await, None);

    let hasty = EgressOptions { connect_timeout: Duration::from_millis(50), ..options(&[]) };
    let silent = Egress::start_with(Section::fixed(hasty), Silent, &tasks).await.unwrap();
    assert_eq!(dial(&silent, "silent.example", 80).await.1, 6);
    assert_eq!(silent.last_failure("silent.example", 80).await, Some(EgressFailure::TimedOut));
}

#[tokio::test]
async fn bytes_sent_with_the_request_reach_the_host() {
    let tasks = Tasks::default();
    let server = echo(&tasks, "127.0.0.1").await;
    let egress = egress(options(&["127.0.0.1"])).await;
    let mut stream = TcpStream::connect(egress.address()).await.unwrap();
    let all = [vec![5, 1, 0], request("127.0.0.1", server.port()), b"early".to_vec()].concat();
    stream.write_all(&all).await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(&read_to_end(&mut stream).await[12..], b"early");
}

#[tokio::test]
async fn clients_that_say_nothing_or_nonsense_are_closed() {
    let strict = EgressOptions { handshake_timeout: Duration::from_millis(50), ..options(&[]) };
    let egress = egress(strict).await;
    let mut mute = TcpStream::connect(egress.address()).await.unwrap();
    assert_eq!(read_to_end(&mut mute).await, b"");
    for (bytes, answer) in [
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), vec![]),
        (vec![5, 1, 2], vec![5, 0xff]),
        (vec![5, 1, 0, 5, 2, 0, 1], vec![5, 0, 5, 7, 0, 1, 0, 0, 0, 0, 0, 0]),
        (vec![5, 1, 0, 5, 1, 0, 9], vec![5, 0, 5, 8, 0, 1, 0, 0, 0, 0, 0, 0]),
    ] {
        let mut stream = TcpStream::connect(egress.address()).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        assert_eq!(read_to_end(&mut stream).await, answer, "{bytes:?}");
    }
}

#[tokio::test]
async fn at_the_maximum_a_further_connection_is_closed_and_a_freed_one_is_used_again() {
    let tasks = Tasks::default();
    let server = echo(&tasks, "127.0.0.1").await;
    let egress = egress(EgressOptions { connections_max: 1, ..options(&["127.0.0.1"]) }).await;
    let (first, code) = dial(&egress, "127.0.0.1", server.port()).await;
    assert_eq!(code, 0);
    let mut second = TcpStream::connect(egress.address()).await.unwrap();
    assert_eq!(read_to_end(&mut second).await, b"");
    assert_echoes(first).await;
    // The slot is free once the egress has noticed the end; until then it closes newcomers.
    timeout(PATIENCE, async {
        loop {
            let mut stream = TcpStream::connect(egress.address()).await.unwrap();
            let mut method = [0; 2];
            if stream.write_all(&[5, 1, 0]).await.is_ok() && stream.read_exact(&mut method).await.is_ok() {
                break;
            }
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_connection_on_which_nothing_moves_is_closed() {
    let tasks = Tasks::default();
    let server = echo(&tasks, "127.0.0.1").await;
    let idle = EgressOptions { idle_timeout: Duration::from_millis(50), ..options(&["127.0.0.1"]) };
    let egress = egress(idle).await;
    let (mut stream, code) = dial(&egress, "127.0.0.1", server.port()).await;
    assert_eq!(code, 0);
    assert_eq!(read_to_end(&mut stream).await, b"");
}

#[tokio::test]
async fn shutdown_closes_what_is_open() {
    let servers = Tasks::default();
    let server = echo(&servers, "127.0.0.1").await;
    let tasks = Tasks::default();
    let egress = Egress::start(Section::fixed(options(&["127.0.0.1"])), &tasks).await.unwrap();
    let (mut stream, code) = dial(&egress, "127.0.0.1", server.port()).await;
    assert_eq!(code, 0);
    tasks.stop(PATIENCE).await.unwrap();
    assert_eq!(read_to_end(&mut stream).await, b"");
    assert!(TcpStream::connect(egress.address()).await.is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_input_hangs_or_breaks_the_egress(chunks in proptest::collection::vec(proptest::collection::vec(
        prop_oneof![Just(0_u8), Just(1), Just(3), Just(4), Just(5), any::<u8>()], 1..24), 1..8)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let egress = egress(options(&[])).await;
            let mut stream = TcpStream::connect(egress.address()).await.unwrap();
            for chunk in chunks {
                if stream.write_all(&chunk).await.is_err() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            _ = stream.shutdown().await;
            read_to_end(&mut stream).await;
            // Still serving.
            assert_eq!(dial(&egress, "10.0.0.1", 80).await.1, 2);
        });
    }
}
