//! Instructions of the message router, counted under valgrind: what every message of every page costs, whoever wants it.
//!
//! `scripts/instructions.sh` counts them together with those of the other crates.

#![expect(missing_docs, reason = "what the macros make is public and has none")]

use std::hint::black_box;

use gungraun::{library_benchmark, library_benchmark_group, main};
use paddock_cdp::{Connection, ConnectionOptions, Driver, Frame, FrameDecoder, Subscription};
use tokio::runtime::Runtime;

const MESSAGES: usize = 1_000;
/// Events that somebody waits for; further ones are dropped and counted, as for a page that writes too much.
const WANTED_MAX: usize = 256;

/// A thousand events as Chrome writes them: most of a page's are about its network and its console.
fn events(session: &str) -> Vec<u8> {
    let mut stream = Vec::new();
    for number in 0..MESSAGES {
        let event = format!(
            r#"{{"method":"Network.dataReceived","params":{{"requestId":"1000.{number}","timestamp":4711.{number},"dataLength":65536,"encodedDataLength":32768}}{session}}}"#
        );
        stream.extend_from_slice(event.as_bytes());
        stream.push(0);
    }
    stream
}

fn decoder(size_max: usize) -> FrameDecoder {
    let mut decoder = FrameDecoder::new(size_max);
    decoder.buffer_mut().extend_from_slice(&events(""));
    decoder
}

#[library_benchmark(setup = decoder)]
#[bench::thousand_events(1 << 20)]
fn frames(mut decoder: FrameDecoder) -> usize {
    let mut size = 0;
    while let Some(Frame::Message(message)) = decoder.next_frame() {
        size += black_box(message).len();
    }
    size
}

/// A driver whose Chrome has said all that it will, and who listens to it.
struct Stream {
    runtime: Option<Runtime>,
    driver: Driver,
    listener: (Connection, Subscription),
}

fn stream(session: &str) -> Stream {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok();
    let said = std::io::Cursor::new(events(session));
    let (connection, driver) = Connection::new(said, tokio::io::sink(), ConnectionOptions::default());
    let subscription = connection.browser().subscribe(&["Network.dataReceived"], WANTED_MAX);
    Stream { runtime, driver, listener: (connection, subscription) }
}

#[library_benchmark(setup = stream)]
#[bench::wanted("")]
#[bench::of_an_unknown_session(r#","sessionId":"5F1A3C""#)]
fn route(stream: Stream) -> (Option<Runtime>, (Connection, Subscription)) {
    let Stream { runtime, driver, listener } = stream;
    if let Some(runtime) = &runtime {
        runtime.block_on(driver.run());
    }
    (runtime, listener)
}

library_benchmark_group!(name = messages, benchmarks = [frames, route]);
main!(library_benchmark_groups = messages);
