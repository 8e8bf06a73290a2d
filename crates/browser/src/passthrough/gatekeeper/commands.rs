//! What the client says: passed, rewritten, answered here or refused.

use std::sync::Arc;

use serde_json::{Map, Value, json, value::RawValue};

use super::{ATTACHED_KINDS, Asked, Asker, Gatekeeper, Output, admits, kind_of, to_raw};
use crate::passthrough::{
    filter::TargetFilter,
    rules::{Own, Rule, SessionKind, check_url, rule},
    wire::{self, Command, Refusal},
};

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

impl Gatekeeper {
    /// Takes a message of the client in. An error is one that ends the connection: the message is no command.
    pub(in crate::passthrough) fn client(&mut self, text: &str) -> Result<(), serde_json::Error> {
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
    pub(super) fn attach_if_wanted(&mut self, session: &Arc<str>, target: &str) -> bool {
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
        if self.is_default {
            params.remove("browserContextId");
        } else {
            params.insert("browserContextId".to_owned(), Value::from(self.context.as_str()));
        }
        // Commands about a context name no target.
        params.remove("targetId");
        Ok(params)
    }
}

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
