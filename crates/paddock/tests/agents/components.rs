//! Agents in WebAssembly text, so that no test needs a compiler: made components, uploaded and deployed.

use reqwest::Method;
use serde_json::{Value, json};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use super::{client, post, support};
use crate::support::TestServer;

/// Bids what its configuration says.
pub(crate) const BIDDER: &str = include_str!("bidder.wat");
/// Keeps books of what it is told and passes on.
pub(crate) const LEDGER: &str = include_str!("ledger.wat");

/// The component of an agent in WebAssembly text.
pub(crate) fn component(text: &str) -> Vec<u8> {
    let mut module = wat::parse_str(text).unwrap();
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(support::page("sdk/wit")).unwrap();
    let world = resolve.select_world(&[package], Some("agent")).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().validate(true).module(&module).unwrap().encode().unwrap()
}

/// Uploads a component, and gives its digest.
pub(crate) async fn upload(server: &TestServer, text: &str) -> String {
    let request = client().request(Method::PUT, format!("{}/agents/modules", server.base));
    let request = request.header("content-type", "application/wasm").body(component(text));
    let module: Value = request.send().await.unwrap().json().await.unwrap();
    module["digest"].as_str().unwrap_or_else(|| panic!("{module}")).to_owned()
}

/// Deploys an agent of an uploaded component, with `more` in its definition.
pub(crate) async fn deploy(server: &TestServer, name: &str, digest: &str, more: Value) {
    let mut definition = json!({ "name": name, "wasm": { "module": digest } });
    if let (Value::Object(definition), Value::Object(more)) = (&mut definition, more) {
        definition.extend(more);
    }
    let deployed = post(server, "/agents", definition).await;
    assert_eq!(deployed["name"], name, "{deployed}");
}
