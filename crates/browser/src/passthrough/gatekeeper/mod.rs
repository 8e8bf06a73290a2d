//! The state between a client and Chrome.

mod commands;
mod events;

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
};

use paddock_cdp::{ErrorBody, Payload};
use serde_json::{Map, Value, json, value::RawValue};

use super::{
    filter::TargetFilter,
    rules::SessionKind,
    wire::{self, Refusal},
};

/// Targets of one instance that are followed: tabs are bounded, the frames and workers of their pages are not.
const TARGETS_MAX: usize = 10_000;
/// What a client that attaches automatically is attached to; frames and dedicated workers come with their page.
const ATTACHED_KINDS: [&str; 5] = ["page", "tab", "service_worker", "shared_worker", "background_page"];

/// Something to be sent.
#[derive(Debug)]
pub(super) enum Output {
    /// To Chrome.
    Chrome { session: Arc<str>, token: u64, method: String, params: Box<RawValue> },
    /// To the client.
    Client(String),
    /// Nothing more: the client said goodbye.
    Close,
}

/// A command that Chrome has not answered.
#[derive(Debug)]
struct Asked {
    from: Asker,
    /// The target whose attaching it is, or that it creates.
    attaching: Option<String>,
    /// Whether its reply names a window.
    window: bool,
}

#[derive(Debug)]
enum Asker {
    Client {
        id: u64,
        session: Option<Arc<str>>,
    },
    /// Nobody outside.
    Gatekeeper,
    /// The client's `Target.createTarget`: answered when what attaches automatically has been attached.
    Creator {
        id: u64,
        session: Option<Arc<str>>,
    },
}

/// A reply that is held back until attaching is over.
#[derive(Debug)]
struct Held {
    text: String,
    targets: HashSet<String>,
}

/// What a browser session of the client wants to hear of.
#[derive(Debug, Default)]
struct Watch {
    discover: Option<TargetFilter>,
    attach: Option<TargetFilter>,
    attached: HashSet<String>,
}

/// Stands between one client and Chrome; see the module's documentation. Does no I/O.
#[derive(Debug)]
pub(super) struct Gatekeeper {
    context: String,
    /// The context is the browser's own, which commands do not name.
    is_default: bool,
    /// The relay's session, which the client knows as the one without a name.
    root: Arc<str>,
    browser_target: Option<Value>,
    targets: BTreeMap<String, Value>,
    sessions: HashMap<Arc<str>, SessionKind>,
    watches: HashMap<Arc<str>, Watch>,
    windows: HashSet<i64>,
    asked: HashMap<u64, Asked>,
    token_last: u64,
    held: Vec<Held>,
    outputs: VecDeque<Output>,
    /// Commands that were refused, for the metrics.
    pub(super) refused: u64,
}

impl Gatekeeper {
    /// For a client of the instance with this browser context, whose relay has this session.
    pub(super) fn new(context: &str, root: Arc<str>) -> Self {
        let mut new = Self {
            context: context.to_owned(),
            is_default: false,
            sessions: HashMap::from([(Arc::clone(&root), SessionKind::Browser)]),
            root,
            browser_target: None,
            targets: BTreeMap::new(),
            watches: HashMap::new(),
            windows: HashSet::new(),
            asked: HashMap::new(),
            token_last: 0,
            held: Vec::new(),
            outputs: VecDeque::new(),
            refused: 0,
        };
        let everything = json!({ "discover": true, "filter": [{}] });
        new.ask(&new.root.clone(), "Target.setDiscoverTargets", &everything, None);
        new
    }

    /// As [`Gatekeeper::new`], where the context is the browser's own.
    pub(super) fn of_default_context(context: &str, root: Arc<str>) -> Self {
        Self { is_default: true, ..Self::new(context, root) }
    }

    /// What is to be sent next.
    pub(super) fn output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Takes a reply of Chrome in.
    pub(super) fn reply(&mut self, token: u64, result: &Result<Payload, ErrorBody>) {
        let Some(Asked { from, attaching, window }) = self.asked.remove(&token) else { return };
        if window && let Ok(payload) = result {
            let reply: Map<String, Value> = payload.parse().unwrap_or_default();
            self.windows.extend(reply.get("windowId").and_then(Value::as_i64));
        }
        match from {
            Asker::Gatekeeper => {}
            Asker::Client { id, session } => {
                self.outputs.push_back(Output::Client(reply_text(id, session.as_deref(), result)));
            }
            Asker::Creator { id, session } => self.created(id, session.as_deref(), result),
        }
        if let Some(target) = attaching {
            self.attaching_is_over(&target);
        }
    }

    fn created(&mut self, id: u64, session: Option<&str>, result: &Result<Payload, ErrorBody>) {
        let text = reply_text(id, session, result);
        let reply: Map<String, Value> =
            result.as_ref().ok().and_then(|payload| payload.parse().ok()).unwrap_or_default();
        let target = reply.get("targetId").and_then(Value::as_str).unwrap_or_default();
        let under_way = self.asked.values().any(|asked| asked.attaching.as_deref() == Some(target));
        let targets = if under_way { HashSet::from([target.to_owned()]) } else { HashSet::new() };
        self.hold(text, targets);
    }

    fn hold(&mut self, text: String, targets: HashSet<String>) {
        if targets.is_empty() {
            self.outputs.push_back(Output::Client(text));
        } else {
            self.held.push(Held { text, targets });
        }
    }

    fn attaching_is_over(&mut self, target: &str) {
        for mut held in std::mem::take(&mut self.held) {
            held.targets.remove(target);
            self.hold(held.text, held.targets);
        }
    }

    /// A session as the client knows it: that of the relay has no name.
    fn named(&self, session: &Arc<str>) -> Option<Arc<str>> {
        (*session != self.root).then(|| Arc::clone(session))
    }

    fn answer(&mut self, id: u64, session: &Arc<str>, result: &Value) {
        let text = wire::reply(id, self.named(session).as_deref(), result);
        self.outputs.push_back(Output::Client(text));
    }

    fn ask_for_client(&mut self, session: &Arc<str>, id: u64, method: &str, params: &Map<String, Value>) {
        let from = Asker::Client { id, session: self.named(session) };
        self.pass(session, method, to_raw(params), Asked { from, attaching: None, window: false });
    }

    fn ask(&mut self, session: &Arc<str>, method: &str, params: &Value, attaching: Option<String>) {
        let Value::Object(params) = params else { return };
        self.pass(
            session,
            method,
            to_raw(params),
            Asked { from: Asker::Gatekeeper, attaching, window: false },
        );
    }

    fn pass(&mut self, session: &Arc<str>, method: &str, params: Box<RawValue>, asked: Asked) {
        self.token_last += 1;
        self.asked.insert(self.token_last, asked);
        let (session, token) = (Arc::clone(session), self.token_last);
        self.outputs.push_back(Output::Chrome { session, token, method: method.to_owned(), params });
    }

    /// A command could not be given to Chrome.
    pub(super) fn not_sent(&mut self, token: u64, message: String) {
        self.reply(token, &Err(ErrorBody { code: -32000, message, data: None }));
    }
}

fn to_raw(params: &Map<String, Value>) -> Box<RawValue> {
    serde_json::value::to_raw_value(params).unwrap_or_default()
}

fn kind_of(info: &Value) -> &str {
    info["type"].as_str().unwrap_or_default()
}

fn admits(filter: &TargetFilter, info: &Value) -> bool {
    filter.admits(kind_of(info))
}

fn reply_text(id: u64, session: Option<&str>, result: &Result<Payload, ErrorBody>) -> String {
    match result {
        Ok(payload) => match payload.parse_borrowed::<&RawValue>() {
            Ok(raw) => wire::reply(id, session, raw),
            Err(_) => wire::refusal(id, session, &Refusal::new("the reply is not JSON")),
        },
        Err(error) => wire::failure(id, session, error),
    }
}

#[cfg(test)]
mod tests;
