//! What Chrome tells: what is the instance's is passed on.

use std::sync::Arc;

use paddock_cdp::Payload;
use serde::Deserialize;
use serde_json::{Map, Value, json, value::RawValue};

use super::{Asker, Gatekeeper, Output, TARGETS_MAX, Watch, admits, kind_of};
use crate::passthrough::{rules::SessionKind, wire};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AttachedTo {
    session_id: String,
    target_info: Value,
}

impl Gatekeeper {
    /// Takes an event of Chrome in.
    pub(in crate::passthrough) fn event(&mut self, session: &Arc<str>, method: &str, params: &Payload) {
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
}
