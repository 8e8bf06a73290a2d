//! Agents in WebAssembly text: the least that an agent can be, and the worst. They need no tools.

use std::path::Path;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// `reply(performative, media type, body, where the result goes)`; a performative of 7 is `inform`.
const REPLY: &str = r#"(import "paddock:agent/messaging@0.1.0" "reply"
    (func $reply (param i32 i32 i32 i32 i32 i32)))"#;
/// `send(draft, where the result goes)`.
const SEND: &str = r#"(import "paddock:agent/messaging@0.1.0" "send" (func $send (param i32 i32)))"#;

/// Answers with what came.
const ECHO: &str = "(call $reply (i32.const 7) (i32.load offset=28 (local.get $message))
    (i32.load offset=32 (local.get $message)) (i32.load offset=36 (local.get $message))
    (i32.load offset=40 (local.get $message)) (i32.const 2048))";
/// Takes memory until there is no more, writes to each of its pages, and answers with how many 64 KiB it has.
const FILL: &str = "(block $full (loop $more
      (br_if $full (i32.eq (memory.grow (i32.const 1)) (i32.const -1)))
      (local.set $index (i32.mul (i32.sub (memory.size) (i32.const 1)) (i32.const 65536)))
      (local.set $end (i32.add (local.get $index) (i32.const 65536)))
      (loop $touch
        (i32.store (local.get $index) (i32.const 1))
        (local.set $index (i32.add (local.get $index) (i32.const 4096)))
        (br_if $touch (i32.ne (local.get $index) (local.get $end))))
      (br $more)))
    (i32.store (i32.const 3000) (memory.size))
    (call $reply (i32.const 7) (i32.load offset=28 (local.get $message))
      (i32.load offset=32 (local.get $message)) (i32.const 3000) (i32.const 4) (i32.const 2048))";
const LOOP: &str = "(loop $forever (br $forever))";
/// As [`FILL`], and fails then.
const ALLOCATE: &str = "(block $full (loop $more
      (br_if $full (i32.eq (memory.grow (i32.const 1)) (i32.const -1)))
      (local.set $index (i32.mul (i32.sub (memory.size) (i32.const 1)) (i32.const 65536)))
      (i32.store (local.get $index) (i32.const 1))
      (br $more)))
    unreachable";
const TRAP: &str = "unreachable";
/// Sends itself a thousand messages: the draft at 4096 has one receiver, whose name `init` kept at 5000.
const FLOOD: &str = "(local.set $index (i32.const 1000))
    (loop $again
      (call $send (i32.const 4096) (i32.const 2048))
      (local.set $index (i32.sub (local.get $index) (i32.const 1)))
      (br_if $again (local.get $index)))";
/// Where the fields of the draft are: performative, receivers, media type.
const KEEP_NAME: &str = r"(memory.copy (i32.const 5000) (local.get $name) (local.get $length))
    (i32.store (i32.const 4400) (i32.const 5000))
    (i32.store (i32.const 4404) (local.get $length))
    (i32.store8 (i32.const 4096) (i32.const 7))
    (i32.store (i32.const 4100) (i32.const 4400))
    (i32.store (i32.const 4104) (i32.const 1))
    (i32.store (i32.const 4108) (i32.const 32))
    (i32.store (i32.const 4112) (i32.const 10))";

/// What is wrong with an agent.
pub(crate) const HOSTILE: [&str; 4] = ["loops", "allocates", "traps", "floods"];

/// The component of one that does what it should.
pub(crate) fn echo() -> Vec<u8> {
    component(REPLY, "", ECHO)
}

/// The component of one that takes what memory it gets.
pub(crate) fn fill() -> Vec<u8> {
    component(REPLY, "", FILL)
}

/// The component of one that does this.
pub(crate) fn hostile(what: &str) -> Vec<u8> {
    match what {
        "loops" => component("", "", LOOP),
        "allocates" => component("", "", ALLOCATE),
        "traps" => component("", "", TRAP),
        _ => component(SEND, KEEP_NAME, FLOOD),
    }
}

/// Memory: texts from 16, its description from 64, an empty `result` at 1024, what the host gives from 8192.
fn component(imports: &str, init: &str, handle: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
  {imports}
  (memory (export "memory") 1)
  (data (i32.const 16) "test agent")
  (data (i32.const 32) "text/plain")
  (data (i32.const 76) "\10\00\00\00\0a\00\00\00")
  (global $next (mut i32) (i32.const 8192))
  (func (export "cabi_realloc") (param $old i32) (param $size i32) (param $align i32) (param $new i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
    (global.set $next (i32.add (local.get $at) (local.get $new)))
    (block $fits
      (br_if $fits (i32.le_u (global.get $next) (i32.mul (memory.size) (i32.const 65536))))
      (drop (memory.grow (i32.const 4))))
    (local.get $at))
  (func (export "paddock:agent/handler@0.1.0#describe") (result i32) (i32.const 64))
  (func (export "paddock:agent/handler@0.1.0#init")
    (param $name i32) (param $length i32) (param $first i32) (param $some i32) (param $snapshot i32) (param $size i32)
    (result i32)
    {init}
    (i32.const 1024))
  (func (export "paddock:agent/handler@0.1.0#handle") (param $message i32) (result i32)
    (local $index i32) (local $end i32)
    {handle}
    (global.set $next (i32.const 8192))
    (i32.const 1024))
)"#
    );
    let mut module = wat::parse_str(text).unwrap();
    let mut resolve = Resolve::default();
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sdk/wit");
    let (package, _) = resolve.push_path(wit).unwrap();
    let world = resolve.select_world(&[package], Some("agent")).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().validate(true).module(&module).unwrap().encode().unwrap()
}
