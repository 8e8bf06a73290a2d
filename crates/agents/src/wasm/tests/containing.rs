//! Agents that do harm: what becomes of them, and that nobody else notices.

use std::time::Duration;

use futures_util::{FutureExt, future::join_all};
use paddock_platform::units::{ByteSize, HumanDuration};

use super::support::{COUNT, ECHO, Fixture, LOOP, REPLY, TestAgent, echo, fixture, guest, name, options};
use crate::{
    handler::{Failure, FailureKind},
    turn::Turn,
    wasm::{Limits, WasmOptions},
};

async fn failure(component: Vec<u8>) -> Failure {
    let mut agent = fixture(options()).agent(component).await;
    agent.start(true).await.unwrap();
    let failure = agent.tell("do it").await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Fatal, "{failure}");
    // It is made anew for the next message, and does it again.
    assert_eq!(agent.tell("do it").await.unwrap_err().detail, failure.detail);
    failure
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_loops_is_cut_off_and_its_neighbours_answer_meanwhile() {
    let fixture = fixture(WasmOptions { call: HumanDuration::from_secs(2), ..options() });
    let looping = fixture.module(guest("", "", LOOP, "")).await;
    let mut hostile = Vec::new();
    for _ in 0..8 {
        let mut agent = TestAgent::new(looping.handler(&Limits::default()), Turn::detached(name("hostile")));
        agent.start(true).await.unwrap();
        hostile.push(async move { agent.tell("loop").await.unwrap_err() });
    }
    let tasks = paddock_platform::task::Tasks::default();
    let mut hostile: Vec<_> = hostile.into_iter().map(|agent| tasks.spawn("hostile", agent)).collect();
    let mut neighbour = fixture.agent(echo()).await;
    neighbour.start(true).await.unwrap();
    for round in 0..90 {
        neighbour.tell(&round.to_string()).await.unwrap();
    }
    assert_eq!(neighbour.turn.sent().len(), 90);
    // They have sixteen seconds to compute, one after the other.
    let running = hostile.iter_mut().map(FutureExt::now_or_never).filter(Option::is_none).count();
    assert!(running >= 7, "{running}");
    for agent in hostile {
        agent.abort();
    }
}

#[tokio::test]
async fn one_that_loops_is_told_why_it_was_cut_off() {
    assert!(failure(guest("", "", LOOP, "")).await.detail.contains("computed for longer than it may"));
}

#[tokio::test]
async fn one_that_loops_while_it_starts_is_cut_off_too() {
    let mut agent = fixture(options()).agent(guest("", LOOP, "", "")).await;
    assert!(agent.start(true).await.unwrap_err().detail.contains("computed for longer"));
}

#[tokio::test]
async fn one_that_allocates_without_end_meets_its_limit() {
    let allocating = "(loop $more
        (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) (unreachable)";
    let said = failure(guest("", "", allocating, "")).await.detail;
    assert!(said.contains("needs more than its 8MiB of memory"), "{said}");
}

#[tokio::test]
async fn the_limit_of_a_definition_counts() {
    let fixture = fixture(options());
    let grow = "(if (i32.eq (memory.grow (i32.const 32)) (i32.const -1)) (then (unreachable)))";
    let module = fixture.module(guest("", "", grow, "")).await;
    let with = |memory_max| {
        let limits = Limits { memory_max: Some(memory_max), ..Limits::default() };
        TestAgent::new(module.handler(&limits), Turn::detached(name("guest")))
    };
    with(ByteSize::mib(4)).tell("grow").await.unwrap();
    let said = with(ByteSize::mib(2)).tell("grow").await.unwrap_err().detail;
    assert!(said.contains("its 2MiB of memory"), "{said}");
}

#[tokio::test]
async fn one_that_traps_is_dropped_with_what_it_wanted() {
    let mut agent = fixture(options()).agent(guest(REPLY, "", &format!("{ECHO} (unreachable)"), "")).await;
    let failure = agent.tell("x").await.unwrap_err();
    assert!(failure.detail.contains("unreachable"), "{failure}");
    // The runtime drops what is in the turn; the turn itself is there.
    assert_eq!(agent.turn.sent().len(), 1);
}

#[tokio::test]
async fn one_that_overflows_its_stack_traps() {
    let deep = "(func $deep (param i32) (result i32) (i32.add (call $deep (local.get 0)) (i32.const 1)))";
    let said = failure(guest("", "", "(drop (call $deep (i32.const 1)))", deep)).await.detail;
    assert!(said.contains("stack"), "{said}");
}

#[tokio::test]
async fn one_that_floods_sends_what_a_turn_may_and_no_more() {
    let flood = format!(
        "(loop $again {ECHO}
           (local.set $index (i32.add (local.get $index) (i32.const 1)))
           (br_if $again (i32.lt_u (local.get $index) (i32.const 400))))"
    );
    // Each refusal is written into its memory; it goes on all the same.
    let mut agent = fixture(options()).agent(guest(REPLY, "", &flood, "")).await;
    agent.tell("flood").await.unwrap();
    assert_eq!(agent.turn.sent().len(), 100);
}

#[tokio::test]
async fn one_that_writes_to_itself_sends_one_message_a_turn() {
    let own = r#"(import "paddock:agent/messaging@0.1.0" "send" (func $send (param i32 i32)))
      (data (i32.const 3000) "guest")
      (data (i32.const 3016) "\b8\0b\00\00\05\00\00\00")
      (data (i32.const 3032) "text/plain")
      (data (i32.const 3104) "\07\00\00\00\c8\0b\00\00\01\00\00\00\d8\0b\00\00\0a\00\00\00")"#;
    let mut agent =
        fixture(options()).agent(guest(own, "", "(call $send (i32.const 3104) (i32.const 2048))", "")).await;
    agent.tell("x").await.unwrap();
    assert_eq!(agent.turn.sent()[0].receivers()[0].to_string(), "guest");
    assert_eq!(agent.turn.sent().len(), 1);
}

#[tokio::test]
async fn one_that_answers_with_garbage_is_dropped() {
    // A `result` that lies outside of its memory; one of a kind that there is not.
    failure(guest("", "", "(return (i32.const -16))", "")).await;
    let odd = r#"(data (i32.const 5000) "\4d\00\00\00")"#;
    failure(guest("", "", "(return (i32.const 5000))", odd)).await;
    // A text that is not UTF-8, as the reason of a failure.
    let binary = r#"(data (i32.const 5000) "\01\00\00\00\00\00\00\00\e8\14\00\00\02\00\00\00")
      (data (i32.const 5352) "\ff\fe")"#;
    failure(guest("", "", "(return (i32.const 5000))", binary)).await;
}

#[tokio::test]
async fn a_failure_that_is_the_messages_fault_keeps_the_instance() {
    let invalid = r#"(data (i32.const 5000) "\01\00\00\00\00\00\00\00\e8\14\00\00\05\00\00\00")
      (data (i32.const 5352) "never")"#;
    // The first message is counted, the second refused, the third counted by the same instance.
    let handle =
        format!("{COUNT} (if (i32.eq (global.get $count) (i32.const 2)) (then (return (i32.const 5000))))");
    let mut agent = fixture(options()).agent(guest(REPLY, "", &handle, invalid)).await;
    agent.tell("1").await.unwrap();
    let failure = agent.tell("2").await.unwrap_err();
    assert_eq!((failure.kind, failure.detail.as_str()), (FailureKind::Invalid, "never"));
    agent.tell("3").await.unwrap();
    assert_eq!(agent.last(), "3");
}

#[tokio::test]
async fn a_failure_that_may_pass_starts_from_what_is_committed() {
    let retryable = r#"(data (i32.const 5000) "\01\00\00\00\01\00\00\00\e8\14\00\00\05\00\00\00")
      (data (i32.const 5352) "later")"#;
    let handle =
        format!("{COUNT} (if (i32.eq (global.get $count) (i32.const 2)) (then (return (i32.const 5000))))");
    let mut agent = fixture(options()).agent(guest(REPLY, "", &handle, retryable)).await;
    agent.tell("1").await.unwrap();
    assert_eq!(agent.tell("2").await.unwrap_err().kind, FailureKind::Retryable);
    agent.tell("3").await.unwrap();
    assert_eq!(agent.last(), "1", "its memory began anew");
}

#[tokio::test]
async fn instructions_are_counted_where_that_is_asked_for() {
    let fixture = fixture(WasmOptions { fuel: true, ..options() });
    let count = "(loop $again
        (local.set $index (i32.add (local.get $index) (i32.const 1)))
        (br_if $again (i32.lt_u (local.get $index) (i32.const 10000))))";
    let module = fixture.module(guest("", "", count, "")).await;
    let with = |fuel| {
        TestAgent::new(module.handler(&Limits { fuel, ..Limits::default() }), Turn::detached(name("guest")))
    };
    with(None).tell("x").await.unwrap();
    with(Some(1_000_000)).tell("x").await.unwrap();
    let said = with(Some(10_000)).tell("x").await.unwrap_err().detail;
    assert!(said.contains("limits.fuel"), "{said}");
}

const TOOL: &str = r#"(import "paddock:agent/tools@0.1.0" "call" (func $call (param i32 i32 i32 i32 i32)))
  (data (i32.const 3000) "wait{}")"#;

#[tokio::test(start_paused = true)]
async fn one_that_waits_for_a_tool_too_long_is_cut_off() {
    let fixture = fixture(WasmOptions { turn_max: HumanDuration::from_secs(5), ..options() });
    let waiting =
        "(call $call (i32.const 3000) (i32.const 4) (i32.const 3004) (i32.const 2) (i32.const 2048))";
    let module = fixture.module(guest(TOOL, "", waiting, "")).await;
    let turn = Turn::detached(name("guest")).with_tools(|_, _| Box::pin(std::future::pending()));
    let mut agent = TestAgent::new(module.handler(&Limits::default()), turn);
    let failure = agent.tell("x").await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Retryable);
    assert!(failure.detail.contains("agents.wasm.turn_max"), "{failure}");
}

#[tokio::test]
async fn waiting_for_a_tool_is_not_computing() {
    let fixture = fixture(WasmOptions { call: HumanDuration::from_millis(50), ..options() });
    let waiting =
        "(call $call (i32.const 3000) (i32.const 4) (i32.const 3004) (i32.const 2) (i32.const 2048))";
    let module = fixture.module(guest(TOOL, "", waiting, "")).await;
    let turn = Turn::detached(name("guest")).with_tools(|tool, input| {
        assert_eq!((tool, input.to_string().as_str()), ("wait", "{}"));
        Box::pin(async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            Ok(serde_json::json!({"done": true}))
        })
    });
    TestAgent::new(module.handler(&Limits::default()), turn).tell("x").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_that_loop_are_all_cut_off() {
    let fixture: Fixture = fixture(WasmOptions { call: HumanDuration::from_millis(20), ..options() });
    let looping = fixture.module(guest("", "", LOOP, "")).await;
    let agents = (0..32).map(|_| {
        let mut agent = TestAgent::new(looping.handler(&Limits::default()), Turn::detached(name("hostile")));
        async move { agent.tell("loop").await.unwrap_err().detail }
    });
    for said in join_all(agents).await {
        assert!(said.contains("computed for longer"), "{said}");
    }
}
