//! Agents in WebAssembly text, made components by the same step that makes those of C.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use paddock_platform::{
    task::Tasks,
    units::{ByteSize, HumanDuration},
};

use crate::{
    handler::{Failure, Handled, Handler, Start},
    message::{Address, AgentName, Content, Draft, Message, Performative},
    turn::Turn,
    wasm::{Limits, Module, Wasm, WasmOptions, project::encode},
};

/// What it takes to be an agent, around what this one does. Memory: its description from 64, an empty `result` at 1024,
/// what the host gives from 8192. `init` says that all is well.
pub(super) fn guest(imports: &str, init: &str, handle: &str, more: &str) -> Vec<u8> {
    component(&text(imports, init, handle, more), "agent")
}

pub(super) fn text(imports: &str, init: &str, handle: &str, more: &str) -> String {
    format!(
        r#"(module
  {imports}
  (memory (export "memory") 1)
  (data (i32.const 16) "test agent")
  (data (i32.const 76) "\10\00\00\00\0a\00\00\00")
  (global $next (mut i32) (i32.const 8192))
  (global $count (mut i32) (i32.const 0))
  (func (export "cabi_realloc") (param $old i32) (param $size i32) (param $align i32) (param $new i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
    (global.set $next (i32.add (local.get $at) (local.get $new)))
    (block $fits
      (br_if $fits (i32.le_u (global.get $next) (i32.mul (memory.size) (i32.const 65536))))
      (drop (memory.grow (i32.const 64))))
    (local.get $at))
  (func (export "paddock:agent/handler@0.1.0#describe") (result i32) (i32.const 64))
  (func (export "paddock:agent/handler@0.1.0#init")
    (param $name i32) (param $length i32) (param $first i32) (param $some i32) (param $snapshot i32) (param $size i32)
    (result i32)
    {init}
    (i32.const 1024))
  (func (export "paddock:agent/handler@0.1.0#handle") (param $message i32) (result i32)
    (local $index i32)
    {handle}
    (global.set $next (i32.const 8192))
    (i32.const 1024))
  {more}
)"#
    )
}

pub(super) fn component(text: &str, world: &str) -> Vec<u8> {
    let mut module = wat::parse_str(text).unwrap();
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sdk/wit");
    encode::with_world(&mut module, &wit, world).unwrap();
    encode::component(&module).unwrap()
}

/// `reply(performative, media type, body, where the result goes)`.
pub(super) const REPLY: &str = r#"(import "paddock:agent/messaging@0.1.0" "reply"
    (func $reply (param i32 i32 i32 i32 i32 i32)))"#;
/// Answers with what came.
pub(super) const ECHO: &str = "(call $reply (i32.const 7) (i32.load offset=28 (local.get $message))
    (i32.load offset=32 (local.get $message)) (i32.load offset=36 (local.get $message))
    (i32.load offset=40 (local.get $message)) (i32.const 2048))";
/// Counts in memory, and answers with the count as a digit.
pub(super) const COUNT: &str = "(global.set $count (i32.add (global.get $count) (i32.const 1)))
    (i32.store8 (i32.const 3000) (i32.add (global.get $count) (i32.const 48)))
    (call $reply (i32.const 7) (i32.load offset=28 (local.get $message))
      (i32.load offset=32 (local.get $message)) (i32.const 3000) (i32.const 1) (i32.const 2048))";
pub(super) const LOOP: &str = "(loop $forever (br $forever))";

pub(super) fn echo() -> Vec<u8> {
    guest(REPLY, "", ECHO, "")
}

pub(super) fn options() -> WasmOptions {
    WasmOptions {
        instances_max: 64,
        calls_max: 64,
        memory: ByteSize::mib(8),
        memory_max: ByteSize::mib(256),
        call: HumanDuration::from_millis(200),
        memory_floor: ByteSize::bytes(0),
        ..WasmOptions::default()
    }
}

/// The host, with its code cache in a directory that goes with it.
pub(super) struct Fixture {
    pub(super) wasm: Wasm,
    pub(super) cache: tempfile::TempDir,
}

pub(super) fn fixture(options: WasmOptions) -> Fixture {
    let cache = tempfile::tempdir().unwrap();
    let wasm = Wasm::start(options, cache.path().to_owned(), &Tasks::default()).unwrap();
    Fixture { wasm, cache }
}

impl Fixture {
    pub(super) async fn module(&self, component: Vec<u8>) -> Module {
        self.wasm.prepare(Bytes::from(component)).await.unwrap()
    }

    pub(super) async fn agent(&self, component: Vec<u8>) -> TestAgent {
        let module = self.module(component).await;
        TestAgent::new(module.handler(&Limits::default()), Turn::detached(name("guest")))
    }
}

pub(super) fn name(text: &str) -> AgentName {
    text.parse().unwrap()
}

pub(super) fn message(performative: Performative, content: Content) -> Arc<Message> {
    let draft = Draft::new(performative, name("guest")).content(content);
    draft.from("caller:test".parse::<Address>().unwrap())
}

/// A handler and the turn that all of its messages share; each failure takes back what was not kept.
pub(super) struct TestAgent {
    handler: Box<dyn Handler>,
    pub(super) turn: Turn,
}

impl TestAgent {
    pub(super) fn new(handler: Box<dyn Handler>, turn: Turn) -> Self {
        Self { handler, turn }
    }

    pub(super) async fn start(&mut self, is_first: bool) -> Result<(), Failure> {
        over(self.handler.start(Start { is_first, snapshot: None }, &mut self.turn)).await
    }

    pub(super) async fn handle(
        &mut self,
        performative: Performative,
        content: Content,
    ) -> Result<(), Failure> {
        let message = message(performative, content);
        over(self.handler.handle(message, &mut self.turn)).await
    }

    pub(super) async fn tell(&mut self, text: &str) -> Result<(), Failure> {
        self.handle(Performative::Request, Content::text(text)).await
    }

    pub(super) fn memory(&self) -> u64 {
        self.handler.memory()
    }

    /// What the last message that it wants to send says.
    pub(super) fn last(&self) -> String {
        self.turn.sent().last().unwrap().content.to_text().into_owned()
    }
}

async fn over(handled: Handled<'_>) -> Result<(), Failure> {
    match handled {
        Handled::Done(outcome) => outcome,
        Handled::Later(later) => later.await,
    }
}
