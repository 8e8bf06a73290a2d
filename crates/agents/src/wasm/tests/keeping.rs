//! Instances that are kept, put aside, and made again.

use std::sync::Arc;

use super::support::{COUNT, REPLY, TestAgent, component, fixture, guest, name, options};
use crate::{
    turn::Turn,
    wasm::{Limits, WasmOptions},
};

#[tokio::test]
async fn an_instance_is_kept_from_message_to_message() {
    let mut agent = fixture(options()).agent(guest(REPLY, "", COUNT, "")).await;
    agent.start(true).await.unwrap();
    for expected in ["1", "2", "3"] {
        agent.tell("x").await.unwrap();
        assert_eq!(agent.last(), expected);
    }
    assert!(agent.memory() >= 1 << 16);
}

#[tokio::test]
async fn at_the_bound_the_one_that_was_idle_for_longest_makes_way() {
    let fixture = fixture(WasmOptions { instances_max: 2, ..options() });
    let module = fixture.module(guest(REPLY, "", COUNT, "")).await;
    let agent = |text| TestAgent::new(module.handler(&Limits::default()), Turn::detached(name(text)));
    let (mut a, mut b, mut c) = (agent("a"), agent("b"), agent("c"));
    for agent in [&mut a, &mut b] {
        agent.start(true).await.unwrap();
        agent.tell("x").await.unwrap();
    }
    // The sender of this message notices nothing.
    c.tell("x").await.unwrap();
    assert_eq!((c.last().as_str(), fixture.wasm.host.warm.used()), ("1", 2));
    b.tell("x").await.unwrap();
    assert_eq!(b.last(), "2", "it was used after `a`, and is kept");
    a.tell("x").await.unwrap();
    assert_eq!(a.last(), "1", "it made way, and began anew");
    assert_eq!(fixture.wasm.host.warm.used(), 2);
}

#[tokio::test]
async fn many_more_agents_than_instances_answer() {
    let fixture = fixture(WasmOptions { instances_max: 8, ..options() });
    let module = fixture.module(guest(REPLY, "", COUNT, "")).await;
    let mut agents: Vec<TestAgent> = (0..100)
        .map(|_| TestAgent::new(module.handler(&Limits::default()), Turn::detached(name("guest"))))
        .collect();
    for _ in 0..3 {
        for agent in &mut agents {
            agent.tell("x").await.unwrap();
        }
    }
    assert!(agents.iter().all(|agent| agent.turn.sent().len() == 3));
    assert_eq!(fixture.wasm.host.warm.used(), 8);
    drop(agents);
    assert_eq!(fixture.wasm.host.warm.used(), 0);
}

#[tokio::test]
async fn who_finds_all_instances_busy_waits_until_one_is_idle() {
    let tool = r#"(import "paddock:agent/tools@0.1.0" "call" (func $call (param i32 i32 i32 i32 i32)))
      (data (i32.const 3000) "wait{}")"#;
    let waiting =
        "(call $call (i32.const 3000) (i32.const 4) (i32.const 3004) (i32.const 2) (i32.const 2048))";
    let fixture = fixture(WasmOptions { instances_max: 1, ..options() });
    let module = fixture.module(guest(tool, "", waiting, "")).await;
    let go_on = Arc::new(tokio::sync::Notify::new());
    let tools = Arc::clone(&go_on);
    let turn = Turn::detached(name("busy")).with_tools(move |_, _| {
        let tools = Arc::clone(&tools);
        Box::pin(async move {
            tools.notified().await;
            Ok(serde_json::Value::Null)
        })
    });
    let mut busy = TestAgent::new(module.handler(&Limits::default()), turn);
    let mut other = fixture.agent(guest(REPLY, "", COUNT, "")).await;
    let mut first = Box::pin(busy.tell("x"));
    assert!(futures_util::poll!(&mut first).is_pending());
    let mut second = Box::pin(other.tell("x"));
    assert!(futures_util::poll!(&mut second).is_pending());
    go_on.notify_one();
    first.await.unwrap();
    second.await.unwrap();
    drop((busy, other));
    assert_eq!(fixture.wasm.host.warm.used(), 0);
}

/// Counts, and gives the count away when it is put aside: a list of one byte.
fn keeper() -> Vec<u8> {
    let restore = "(if (local.get $some) (then (global.set $count (i32.load8_u (local.get $snapshot)))))";
    let snapshot = r#"(data (i32.const 4000) "\a8\0f\00\00\01\00\00\00")
      (func (export "paddock:agent/keeper@0.1.0#snapshot") (result i32)
        (i32.store8 (i32.const 4008) (global.get $count))
        (i32.const 4000))"#;
    let text = super::support::text(REPLY, restore, COUNT, snapshot);
    component(&text, "agent-with-snapshot")
}

#[tokio::test]
async fn one_with_snapshots_goes_on_where_it_was() {
    let fixture = fixture(WasmOptions { instances_max: 1, ..options() });
    let module = fixture.module(keeper()).await;
    let agent = |text| TestAgent::new(module.handler(&Limits::default()), Turn::detached(name(text)));
    let (mut a, mut b) = (agent("a"), agent("b"));
    for expected in ["1", "2", "3"] {
        a.tell("x").await.unwrap();
        b.tell("x").await.unwrap();
        assert_eq!((a.last().as_str(), b.last().as_str()), (expected, expected));
    }
}

#[tokio::test]
async fn init_is_told_the_name_and_whether_it_is_the_first_time() {
    let said = "(call $reply (i32.const 7) (local.get $name) (local.get $length) (local.get $name) (local.get $length)
      (i32.const 2048))";
    // There is nothing to answer yet: it is refused, and the agent starts all the same.
    let mut agent = fixture(options()).agent(guest(REPLY, said, "", "")).await;
    agent.start(true).await.unwrap();
    assert!(agent.turn.sent().is_empty());
    let kept = r#"(import "paddock:agent/state@0.1.0" "set" (func $set (param i32 i32 i32 i32 i32)))
      (data (i32.const 3000) "first")"#;
    let told = "(i32.store8 (i32.const 3010) (i32.add (local.get $first) (i32.const 48)))
      (call $set (local.get $name) (local.get $length) (i32.const 3010) (i32.const 1) (i32.const 2048))";
    let mut agent = fixture(options()).agent(guest(kept, told, "", "")).await;
    agent.start(true).await.unwrap();
    assert_eq!(agent.turn.get("guest").unwrap(), "1");
    agent.start(false).await.unwrap();
    assert_eq!(agent.turn.get("guest").unwrap(), "0");
}
