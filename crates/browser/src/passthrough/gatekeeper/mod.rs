//! The state between a client and Chrome.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
};

use paddock_cdp::{ErrorBody, Payload};
use serde::Deserialize;
use serde_json::{Map, Value, json, value::RawValue};

use super::{
    filter::TargetFilter,
    rules::{Own, Rule, SessionKind, check_url, rule},
    wire::{self, Command, Refusal},
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

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AttachedTo {
    session_id: String,
    target_info: Value,
}

impl Gatekeeper {
    /// For a client of the instance with this browser context, whose relay has this session.
    pub(super) fn new(context: &str, root: Arc<str>) -> Self {
        let mut new = Self {
            context: context.to_owned(),
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

    /// What is to be sent next.
    pub(super) fn output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Takes a message of the client in. An error is one that ends the connection: the message is no command.
    pub(super) fn client(&mut self, text: &str) -> Result<(), serde_json::Error> {
        let command: Command<'_> = serde_json::from_str(text)?;
        let session = command.session.as_deref().filter(|session| !session.is_empty());
        let known = match session {
            None => self.sessions.get_key_value(&*self.root.clone()),
            Some(session) => self.sessions.get_key_value(session),
        };
        let done = match known {
            Some((session, kind)) => {
                let (session, kind) = (Arc::clone(session), *kind);
                self.command(&session, kind, &command)
            }
            None => Err(Refusal::no_session()),
        };
        if let Err(refusal) = done {
            self.refused += 1;
            self.outputs.push_back(Output::Client(wire::refusal(command.id, session, &refusal)));
        }
        Ok(())
    }

    fn command(
        &mut self,
        session: &Arc<str>,
        kind: SessionKind,
        command: &Command<'_>,
    ) -> Result<(), Refusal> {
        let (id, method) = (command.id, command.method.as_ref());
        let raw = command
            .params
            .map_or_else(|| RawValue::from_string("{}".to_owned()).ok(), |raw| Some(raw.to_owned()));
        let raw = raw.unwrap_or_default();
        let ruling = rule(kind, method);
        let mut window = false;
        let (method, params) = match ruling {
            Rule::Pass => (method, raw),
            Rule::Refuse(reason) => return Err(Refusal::new(format!("`{method}` {reason}"))),
            Rule::Ignore => {
                self.answer(id, session, &json!({}));
                return Ok(());
            }
            Rule::Own(own) => return self.own(own, session, id, &parse(&raw)?),
            Rule::Url => {
                check_url(parse(&raw)?.get("url").and_then(Value::as_str).unwrap_or_default())?;
                (method, raw)
            }
            Rule::Context => (method, to_raw(&self.in_context(parse(&raw)?)?)),
            Rule::ResetPermissions => {
                let mut params = self.in_context(parse(&raw)?)?;
                params.insert("permissions".to_owned(), json!([]));
                ("Browser.grantPermissions", to_raw(&params))
            }
            Rule::OwnContext => {
                let mut params = self.in_context(parse(&raw)?)?;
                params.remove("browserContextId");
                (method, to_raw(&params))
            }
            Rule::Target => {
                let params = parse(&raw)?;
                self.known_target(&params)?;
                (method, to_raw(&only(&params, &["targetId"])))
            }
            Rule::Window => {
                let params = parse(&raw)?;
                if kind == SessionKind::Browser || params.contains_key("targetId") {
                    self.known_target(&params)?;
                }
                window = true;
                (method, to_raw(&only(&params, &["targetId"])))
            }
            Rule::KnownWindow => {
                let window = parse(&raw)?.get("windowId").and_then(Value::as_i64);
                if window.is_none_or(|window| !self.windows.contains(&window)) {
                    return Err(Refusal::new("Browser window not found"));
                }
                (method, raw)
            }
        };
        let from = Asker::Client { id, session: self.named(session) };
        self.pass(session, method, params, Asked { from, attaching: None, window });
        Ok(())
    }

    fn own(
        &mut self,
        own: Own,
        session: &Arc<str>,
        id: u64,
        params: &Map<String, Value>,
    ) -> Result<(), Refusal> {
        match own {
            Own::Close => {
                self.answer(id, session, &json!({}));
                self.outputs.push_back(Output::Close);
            }
            Own::Contexts => {
                let contexts = json!({ "browserContextIds": [], "defaultBrowserContextId": self.context });
                self.answer(id, session, &contexts);
            }
            Own::DiscoverTargets => self.discover(session, id, params)?,
            Own::AutoAttach => self.auto_attach(session, id, params)?,
            Own::Targets => {
                let filter = filter_of(params)?.unwrap_or_default();
                let infos: Vec<&Value> = self.targets.values().filter(|info| admits(&filter, info)).collect();
                let infos = json!({ "targetInfos": infos });
                self.answer(id, session, &infos);
            }
            Own::TargetInfo => {
                if params.contains_key("targetId") {
                    self.known_target(params)?;
                }
                self.ask_for_client(session, id, "Target.getTargetInfo", &only(params, &["targetId"]));
            }
            Own::Attach => {
                self.known_target(params)?;
                require_flatten(params)?;
                let params = only(params, &["targetId", "flatten"]);
                self.ask_for_client(session, id, "Target.attachToTarget", &params);
            }
            Own::Detach => {
                let named = params.get("sessionId").and_then(Value::as_str).unwrap_or_default();
                if named == &*self.root || !self.sessions.contains_key(named) {
                    return Err(Refusal::invalid("No session with given id"));
                }
                self.ask_for_client(session, id, "Target.detachFromTarget", &only(params, &["sessionId"]));
            }
            Own::CreateTarget => {
                check_url(params.get("url").and_then(Value::as_str).unwrap_or_default())?;
                let params = only(&self.in_context(params.clone())?, &CREATE_PARAMS);
                let from = Asker::Creator { id, session: self.named(session) };
                let root = Arc::clone(&self.root);
                let asked = Asked { from, attaching: None, window: false };
                self.pass(&root, "Target.createTarget", to_raw(&params), asked);
            }
        }
        Ok(())
    }

    fn discover(&mut self, session: &Arc<str>, id: u64, params: &Map<String, Value>) -> Result<(), Refusal> {
        let on = params.get("discover").and_then(Value::as_bool).unwrap_or(false);
        let filter = filter_of(params)?.unwrap_or_default();
        if on {
            let infos: Vec<&Value> = self.browser_target.iter().chain(self.targets.values()).collect();
            let session = self.named(session);
            for info in infos.into_iter().filter(|info| admits(&filter, info)) {
                let text =
                    wire::event(session.as_deref(), "Target.targetCreated", json!({ "targetInfo": info }));
                self.outputs.push_back(Output::Client(text));
            }
        }
        self.watches.entry(Arc::clone(session)).or_default().discover = on.then_some(filter);
        self.answer(id, session, &json!({}));
        Ok(())
    }

    fn auto_attach(
        &mut self,
        session: &Arc<str>,
        id: u64,
        params: &Map<String, Value>,
    ) -> Result<(), Refusal> {
        let on = params.get("autoAttach").and_then(Value::as_bool).unwrap_or(false);
        if on {
            require_flatten(params)?;
        }
        let filter = filter_of(params)?.unwrap_or_default();
        self.watches.entry(Arc::clone(session)).or_default().attach = on.then_some(filter);
        let targets: Vec<String> = self.targets.keys().cloned().collect();
        let targets = targets.into_iter().filter(|target| self.attach_if_wanted(session, target)).collect();
        let text = wire::reply(id, self.named(session).as_deref(), json!({}));
        self.hold(text, targets);
        Ok(())
    }

    /// Attaches a client's session to a target if it wants that. Whether it is under way.
    fn attach_if_wanted(&mut self, session: &Arc<str>, target: &str) -> bool {
        let Some(info) = self.targets.get(target) else { return false };
        let Some(watch) = self.watches.get_mut(session) else { return false };
        let wanted = watch.attach.as_ref().is_some_and(|filter| admits(filter, info))
            && ATTACHED_KINDS.contains(&kind_of(info));
        if !wanted || !watch.attached.insert(target.to_owned()) {
            return false;
        }
        let params = json!({ "targetId": target, "flatten": true });
        self.ask(session, "Target.attachToTarget", &params, Some(target.to_owned()));
        true
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

    /// Takes an event of Chrome in.
    pub(super) fn event(&mut self, session: &Arc<str>, method: &str, params: &Payload) {
        let kind = self.sessions.get(session).copied();
        match method {
            "Target.targetCreated" | "Target.targetInfoChanged" => self.target_changed(method, params),
            "Target.targetDestroyed" | "Target.targetCrashed" => self.target_gone(method, params),
            "Target.attachedToTarget" => self.attached(session, params),
            "Target.detachedFromTarget" => self.detached(session, params),
            _ if kind == Some(SessionKind::Target) => self.forward(session, method, params),
            _ => {}
        }
    }

    fn forward(&mut self, session: &Arc<str>, method: &str, params: &Payload) {
        let Ok(raw) = params.parse_borrowed::<&RawValue>() else { return };
        let text = wire::event(self.named(session).as_deref(), method, raw);
        self.outputs.push_back(Output::Client(text));
    }

    fn target_changed(&mut self, method: &str, params: &Payload) {
        let Ok(Value::Object(mut event)) = params.parse::<Value>() else { return };
        let Some(info) = event.remove("targetInfo") else { return };
        if kind_of(&info) == "browser" && self.browser_target.is_none() {
            self.browser_target = Some(info);
            return;
        }
        if info["browserContextId"].as_str() != Some(&self.context) {
            return;
        }
        let Some(id) = info["targetId"].as_str().map(str::to_owned) else { return };
        let is_new = !self.targets.contains_key(&id);
        if is_new && (method != "Target.targetCreated" || self.targets.len() >= TARGETS_MAX) {
            return;
        }
        self.targets.insert(id.clone(), info);
        self.tell(method, params, &id);
        if is_new {
            let sessions: Vec<Arc<str>> = self.watches.keys().cloned().collect();
            for session in sessions {
                self.attach_if_wanted(&session, &id);
            }
        }
    }

    fn target_gone(&mut self, method: &str, params: &Payload) {
        let Ok(event) = params.parse::<Map<String, Value>>() else { return };
        let Some(id) = event.get("targetId").and_then(Value::as_str) else { return };
        if !self.targets.contains_key(id) {
            return;
        }
        self.tell(method, params, id);
        if method == "Target.targetDestroyed" {
            self.targets.remove(id);
            for watch in self.watches.values_mut() {
                watch.attached.remove(id);
            }
        }
    }

    /// Tells the sessions that discover targets of a type what happened to one.
    fn tell(&mut self, method: &str, params: &Payload, target: &str) {
        let Some(info) = self.targets.get(target) else { return };
        let wants = |watch: &Watch| watch.discover.as_ref().is_some_and(|filter| admits(filter, info));
        let sessions: Vec<_> = self
            .watches
            .iter()
            .filter(|(_, watch)| wants(watch))
            .map(|(session, _)| Arc::clone(session))
            .collect();
        for session in sessions {
            self.forward(&session, method, params);
        }
    }

    fn attached(&mut self, parent: &Arc<str>, params: &Payload) {
        let Ok(AttachedTo { session_id, target_info }) = params.parse() else { return };
        let kind = if kind_of(&target_info) == "browser" {
            SessionKind::Browser
        } else if target_info["browserContextId"].as_str() == Some(&self.context) {
            SessionKind::Target
        } else {
            // Never seen to happen; what is not known to be the instance's is none of the client's business.
            self.ask(parent, "Target.detachFromTarget", &json!({ "sessionId": session_id }), None);
            return;
        };
        self.sessions.insert(session_id.into(), kind);
        self.forward(parent, "Target.attachedToTarget", params);
    }

    fn detached(&mut self, parent: &Arc<str>, params: &Payload) {
        let Ok(event) = params.parse::<Map<String, Value>>() else { return };
        let text = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or_default();
        let session = text("sessionId");
        if session == &*self.root || self.sessions.remove(session).is_none() {
            return;
        }
        self.watches.remove(session);
        if let Some(watch) = self.watches.get_mut(parent) {
            watch.attached.remove(text("targetId"));
        }
        // Chrome answers no commands on a session that is gone.
        self.asked.retain(
            |_, asked| !matches!(&asked.from, Asker::Client { session: Some(of), .. } if **of == *session),
        );
        self.forward(parent, "Target.detachedFromTarget", params);
    }

    /// The target that the parameters name, if it is one of the instance's.
    fn known_target(&self, params: &Map<String, Value>) -> Result<(), Refusal> {
        let target = params.get("targetId").and_then(Value::as_str).unwrap_or_default();
        if self.targets.contains_key(target) {
            Ok(())
        } else {
            Err(Refusal::invalid("No target with given id found"))
        }
    }

    /// The parameters with the instance's context in them.
    fn in_context(&self, mut params: Map<String, Value>) -> Result<Map<String, Value>, Refusal> {
        match params.get("browserContextId") {
            None | Some(Value::Null) => {}
            Some(Value::String(context)) if *context == self.context => {}
            Some(_) => return Err(Refusal::invalid("Failed to find browser context for id")),
        }
        params.insert("browserContextId".to_owned(), Value::from(self.context.as_str()));
        // Commands about a context name no target.
        params.remove("targetId");
        Ok(params)
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

/// Parameters of `Target.createTarget` that concern the new page alone.
const CREATE_PARAMS: [&str; 10] = [
    "url",
    "left",
    "top",
    "width",
    "height",
    "windowState",
    "newWindow",
    "background",
    "forTab",
    "browserContextId",
];

fn only(params: &Map<String, Value>, names: &[&str]) -> Map<String, Value> {
    params
        .iter()
        .filter(|(name, _)| names.contains(&name.as_str()))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect()
}

fn parse(raw: &RawValue) -> Result<Map<String, Value>, Refusal> {
    serde_json::from_str(raw.get()).map_err(|_| Refusal::invalid("Invalid parameters: object expected"))
}

fn to_raw(params: &Map<String, Value>) -> Box<RawValue> {
    serde_json::value::to_raw_value(params).unwrap_or_default()
}

fn require_flatten(params: &Map<String, Value>) -> Result<(), Refusal> {
    if params.get("flatten").and_then(Value::as_bool) == Some(true) {
        Ok(())
    } else {
        Err(Refusal::invalid("Only flat sessions are available: set `flatten` to true"))
    }
}

fn filter_of(params: &Map<String, Value>) -> Result<Option<TargetFilter>, Refusal> {
    let filter = params.get("filter").filter(|filter| !filter.is_null());
    let parsed = filter.map(|filter| serde_json::from_value(filter.clone())).transpose();
    parsed.map_err(|_| Refusal::invalid("Invalid parameters: filter"))
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
#[path = "gatekeeper_tests.rs"]
mod tests;
