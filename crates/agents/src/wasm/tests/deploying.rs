//! What can be an agent, and what is said of what cannot.

use bytes::Bytes;
use paddock_platform::{problem::Problem, units::ByteSize};

use super::support::{LOOP, component, echo, fixture, guest, options};
use crate::wasm::{Limits, WasmError, WasmOptions};

async fn refused(options: WasmOptions, component: Vec<u8>) -> String {
    let error = fixture(options).wasm.prepare(Bytes::from(component)).await.unwrap_err();
    let said = error.to_string();
    assert_eq!(Problem::from(error).detail, said);
    said
}

#[tokio::test]
async fn a_component_that_is_an_agent_says_what_it_is() {
    let fixture = fixture(options());
    let module = fixture.module(echo()).await;
    assert_eq!(module.description().description, "test agent");
    assert_eq!(module.digest(), blake3::hash(&echo()).to_hex().as_str());
    assert!(fixture.wasm.prepared(module.digest()).is_some());
    assert!(fixture.wasm.prepared("0123").is_none());
}

#[tokio::test]
async fn what_is_no_component_is_refused_with_what_it_is() {
    assert!(refused(options(), b"#!/bin/sh".to_vec()).await.contains("not WebAssembly"));
    assert!(refused(options(), Vec::new()).await.contains("not WebAssembly"));
    let module = wat::parse_str("(module)").unwrap();
    assert!(refused(options(), module).await.contains("core module"));
    let mut torn = echo();
    torn.truncate(torn.len() / 2);
    assert!(refused(options(), torn).await.contains("not valid"));
}

#[tokio::test]
async fn an_export_that_is_missing_is_named() {
    let empty = wat::parse_str("(component)").unwrap();
    let said = refused(options(), empty).await;
    assert!(said.contains("lacks the export `paddock:agent/handler@0.1.0`"), "{said}");
    let without_functions = wat::parse_str(
        r#"(component
             (instance $handler)
             (export "paddock:agent/handler@0.1.0" (instance $handler)))"#,
    );
    let said = refused(options(), without_functions.unwrap()).await;
    assert!(said.contains("`paddock:agent/handler@0.1.0#describe`"), "{said}");
}

#[tokio::test]
async fn an_import_that_agents_do_not_get_is_named_with_how_to_do_without() {
    let files = r#"(component (import "wasi:filesystem/types@0.2.0" (instance)))"#;
    let said = refused(options(), wat::parse_str(files).unwrap()).await;
    assert!(said.contains("`wasi:filesystem/types@0.2.0`") && said.contains("--stub-wasi"), "{said}");
    let future = r#"(component (import "paddock:agent/state@9.0.0" (instance)))"#;
    let said = refused(options(), wat::parse_str(future).unwrap()).await;
    assert!(said.contains("paddock:agent@0.1"), "{said}");
    let odd = r#"(component (import "paddock:agent/secrets@0.1.0" (instance)))"#;
    assert!(refused(options(), wat::parse_str(odd).unwrap()).await.contains("secrets"));
}

#[tokio::test]
async fn functions_of_another_type_are_refused() {
    let mistyped = wat::parse_str(
        r#"(component
             (core module $m (func (export "f")))
             (core instance $i (instantiate $m))
             (func $f (canon lift (core func $i "f")))
             (instance $handler
               (export "describe" (func $f)) (export "init" (func $f)) (export "handle" (func $f)))
             (export "paddock:agent/handler@0.1.0" (instance $handler)))"#,
    );
    let said = refused(options(), mistyped.unwrap()).await;
    assert!(said.contains("another version of `paddock:agent`"), "{said}");
}

#[tokio::test]
async fn what_is_too_large_is_refused_with_the_limit() {
    let component_max = ByteSize::bytes(1_000);
    let said = refused(WasmOptions { component_max, ..options() }, vec![0; 1_001]).await;
    assert!(said.contains("agents.wasm.component_max"), "{said}");
    let greedy = r#"(module (memory (export "memory") 8000)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
        (func (export "paddock:agent/handler@0.1.0#describe") (result i32) unreachable)
        (func (export "paddock:agent/handler@0.1.0#init") (param i32 i32 i32 i32 i32 i32) (result i32) unreachable)
        (func (export "paddock:agent/handler@0.1.0#handle") (param i32) (result i32) unreachable))"#;
    let said = refused(options(), component(greedy, "agent")).await;
    assert!(said.contains("500MiB") && said.contains("agents.wasm.memory_max"), "{said}");
}

#[tokio::test]
async fn one_that_cannot_describe_itself_is_refused() {
    let described = |describe: &str| {
        let text = format!(
            r#"(module
                 {import}
                 (memory (export "memory") 1)
                 (data (i32.const 64) "\01\00\00\00\10\00\00\00\03\00\00\00")
                 (data (i32.const 16) "No!")
                 (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 8192))
                 (func (export "paddock:agent/handler@0.1.0#describe") (result i32) {describe})
                 (func (export "paddock:agent/handler@0.1.0#init")
                   (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 1024))
                 (func (export "paddock:agent/handler@0.1.0#handle") (param i32) (result i32) (i32.const 1024)))"#,
            import = r#"(import "paddock:agent/state@0.1.0" "remove" (func $remove (param i32 i32)))"#,
        );
        component(&text, "agent")
    };
    assert!(refused(options(), described("(unreachable)")).await.contains("describe itself"));
    assert!(
        refused(options(), described(&format!("{LOOP} (i32.const 64)")))
            .await
            .contains("computed for longer")
    );
    let said = refused(options(), described("(i32.const 64)")).await;
    assert!(said.contains("`No!`"), "{said}");
    let calling = "(call $remove (i32.const 16) (i32.const 3)) (i32.const 64)";
    assert!(refused(options(), described(calling)).await.contains("while it described itself"));
    assert!(refused(options(), described("(i32.const -8)")).await.contains("describe itself"));
}

#[tokio::test]
async fn limits_that_are_not_granted_are_named() {
    let fixture = fixture(options());
    let module = fixture.module(guest("", "", "", "")).await;
    let refused = |limits: Limits| match module.check(&limits).unwrap_err() {
        WasmError::Limit { field, .. } => field,
        other => panic!("{other}"),
    };
    assert_eq!(refused(Limits { fuel: Some(1_000), ..Limits::default() }), "fuel");
    assert_eq!(refused(Limits { memory_max: Some(ByteSize::mib(257)), ..Limits::default() }), "memory_max");
    assert_eq!(refused(Limits { memory_max: Some(ByteSize::bytes(1)), ..Limits::default() }), "memory_max");
    let call_max = Some("61s".parse().unwrap());
    assert_eq!(refused(Limits { call_max, ..Limits::default() }), "call_max");
    assert!(module.check(&Limits { memory_max: Some(ByteSize::mib(2)), ..Limits::default() }).is_ok());
}
