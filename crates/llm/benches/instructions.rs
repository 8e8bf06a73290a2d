//! Instructions of the gateway, counted under valgrind: what a call costs before it goes out.
//!
//! `scripts/instructions.sh` counts them together with those of the other crates.

#![expect(missing_docs, reason = "what the macros make is public and has none")]

use bytes::Bytes;
use gungraun::{library_benchmark, library_benchmark_group, main};
use paddock_llm::{LlmOptions, internals::Decider};
use paddock_platform::identity::Caller;
use tokio::runtime::{Builder, Runtime};

const BODY: &[u8] =
    br#"{"model":"fast","messages":[{"role":"user","content":"Say something about kettles."}],"max_tokens":100}"#;
const ROUTES: &str = "
    [[providers]]
    name = 'a'
    url = 'sim:'
    credentials = [{ name = 'x' }, { name = 'y', rpm = 1000000, tpm = 1000000000 }]
    [[providers]]
    name = 'b'
    url = 'sim:'
    [[routes]]
    model = 'fast'
    targets = [{ provider = 'a', weight = 3 }, { provider = 'b' }]
";

/// A gateway that only decides, once warm.
struct Deciding {
    _runtime: Option<Runtime>,
    decider: Decider,
    caller: Caller,
    body: Bytes,
}

fn deciding() -> Deciding {
    let runtime = Builder::new_current_thread().enable_all().build().ok();
    let (caller, body) = (Caller::local(), Bytes::from_static(BODY));
    let entered = runtime.as_ref().map(Runtime::enter);
    let options: LlmOptions = toml::from_str(ROUTES).unwrap_or_default();
    let decider = Decider::new(options, &caller, body.clone());
    drop(entered);
    decider.decide();
    Deciding { _runtime: runtime, decider, caller, body }
}

#[library_benchmark]
#[bench::warm(deciding())]
fn decide(deciding: Deciding) -> (bool, Deciding) {
    (deciding.decider.decide(), deciding)
}

#[library_benchmark]
#[bench::warm(deciding())]
fn read(deciding: Deciding) -> (bool, Deciding) {
    (deciding.decider.read(&deciding.caller, &deciding.body), deciding)
}

library_benchmark_group!(name = calls, benchmarks = [decide, read]);
main!(library_benchmark_groups = calls);
