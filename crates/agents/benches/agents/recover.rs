//! A server is killed while its agents work, and another begins in its place.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{StreamExt as _, future::join_all, stream};
use paddock_agents::{
    AgentsOptions, Turn,
    message::{AgentName, Content, Draft, Message, Performative},
    wasm::WasmOptions,
};
use paddock_platform::{
    store::{Store, StoreOptions, StoreUrl, testing::Fixture},
    task::Tasks,
};

use crate::{
    component::Kind,
    figures::{Figures, at_most, figures, unmeasured},
    server::{ANSWER_MAX, Server, inform, names, options},
    spawn::deploy,
};

/// How long the one that is killed works on after all of its agents have a state.
const AT_WORK: Duration = Duration::from_millis(500);
const DEPLOYED_AT_ONCE: usize = 256;
const SENT_AT_ONCE: usize = 1_000;
/// What the child says when all of its agents have a state.
const READY: &str = "ready";

/// Agents are deployed: the server's own engine runs them.
fn with_components() -> AgentsOptions {
    AgentsOptions { wasm: WasmOptions::default(), ..options() }
}

/// An agent of the program that counts what it is told, and says how much that was.
fn counter(server: &Server, name: &AgentName) {
    server.native(name, || {
        |message: &Message, turn: &mut Turn| {
            let count =
                turn.get("count").map_or(0, |bytes| u64::from_le_bytes(bytes[..].try_into().unwrap()));
            if message.performative == Performative::Inform {
                return turn.set("count", Bytes::copy_from_slice(&(count + 1).to_le_bytes()));
            }
            let content = Content::text(count.to_string());
            turn.send(Draft::reply(message, Performative::Inform).content(content)).map(|_| ())
        }
    });
}

/// From the start of the new server until each of its agents has answered from the state that it had.
pub(crate) async fn recover(kind: &str, count: usize) -> Figures {
    let count = at_most(count, 200);
    if kind != "native" && Kind::of(kind).component().is_none() {
        return unmeasured(["opened_s", "recovered_s", "lost_count"]);
    }
    let fixture = Fixture::sqlite();
    kill_at_work(kind, count, fixture.data_dir());
    let began = Instant::now();
    let server = Server::start(&fixture, with_components()).await;
    let opened = began.elapsed();
    let names = names("agent", count);
    if kind == "native" {
        for name in &names {
            counter(&server, name);
        }
    }
    let ask = |name: &AgentName| {
        let draft = Draft::new(Performative::QueryRef, name.clone());
        server.agents.ask(&server.caller, draft, Some(ANSWER_MAX))
    };
    let answers = join_all(names.iter().map(ask)).await;
    let recovered = began.elapsed();
    let told = |message: &Message| message.content.to_text().parse::<u64>().unwrap_or(0);
    let lost = answers.iter().filter(|answer| !answer.as_ref().is_ok_and(|(_, answer)| told(answer) > 0));
    let lost = lost.count();
    server.stop().await;
    figures([
        ("opened_s", opened.as_secs_f64()),
        ("recovered_s", recovered.as_secs_f64()),
        ("lost_count", lost as f64),
    ])
}

/// Starts this program as a server of these agents, and kills it when it is at work.
fn kill_at_work(kind: &str, count: usize, dir: &Path) {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["child", "recover", kind, &count.to_string()]).arg(dir).stdout(Stdio::piped());
    let mut child = child.spawn().unwrap();
    let mut said = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
    std::thread::sleep(AT_WORK);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(said.trim(), READY, "the server that was to be killed did not begin");
}

/// The server that is killed.
pub(crate) async fn child(kind: &str, count: usize, dir: &Path) {
    let url = StoreUrl::Sqlite(PathBuf::from("test.db"));
    let store =
        Store::open(&StoreOptions { url, ..StoreOptions::default() }, dir, &Tasks::default()).await.unwrap();
    let server = Server::start_on(store, dir, with_components()).await;
    let names = names("agent", count);
    if kind == "native" {
        for name in &names {
            counter(&server, name);
        }
    } else {
        let kind = Kind::of(kind);
        let module = server.agents.upload(kind.component().unwrap().into()).await.unwrap().digest;
        let deploying = names.iter().map(|name| deploy(&server, kind, name, &module));
        stream::iter(deploying).buffer_unordered(DEPLOYED_AT_ONCE).collect::<Vec<()>>().await;
    }
    let content = Content::text("1");
    for round in 0_u64.. {
        for names in names.chunks(SENT_AT_ONCE) {
            let send = |name| server.agents.send(&server.caller, inform(name, &content).durable());
            let refused = join_all(names.iter().map(send)).await.into_iter().find_map(Result::err);
            assert!(round > 0 || refused.is_none(), "{refused:?}");
        }
        if round == 0 {
            println!("{READY}");
        }
    }
}
