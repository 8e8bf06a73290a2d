//! Paddock's side of an agent: what it is asked for ([`Agent`]), and what it can do ([`messaging`], [`state`], [`tools`],
//! [`log`], [`time`], [`random`]).

// Not every agent uses all of it.
#![allow(dead_code, unused_imports)]

wit_bindgen::generate!({ path: "wit", world: "agent", pub_export_macro: true });

pub use self::{
    exports::paddock::agent::handler::Guest as Agent,
    paddock::agent::{
        log::{self, Level},
        messaging, random, state, time, tools,
        types::{Content, Description, Draft, Failure, Message, Performative, Start},
    },
};
use serde::{Serialize, de::DeserializeOwned};

/// A value as JSON content.
pub fn json(value: &impl Serialize) -> Content {
    Content {
        media_type: "application/json".to_owned(),
        body: serde_json::to_vec(value).expect("the value can be written as JSON"),
    }
}

/// What a message says, if it is JSON of this shape; its sender is told if it is not.
pub fn read<T: DeserializeOwned>(message: &Message) -> Result<T, Failure> {
    serde_json::from_slice(&message.content.body).map_err(|error| Failure::Invalid(format!("content: {error}")))
}

/// Answers the message that is being handled.
pub fn reply(performative: Performative, value: &impl Serialize) -> Result<(), Failure> {
    messaging::reply(performative, &json(value)).map(drop).map_err(Failure::Invalid)
}

/// A message to be sent to one receiver.
pub fn draft(performative: Performative, receiver: &str, value: &impl Serialize) -> Draft {
    Draft {
        performative,
        receivers: vec![receiver.to_owned()],
        content: json(value),
        conversation: None,
        reply_with: None,
        in_reply_to: None,
        reply_to: None,
        protocol: None,
        language: None,
        ontology: None,
        reply_by: None,
        durable: false,
    }
}

/// What is remembered under a key.
pub fn load<T: DeserializeOwned>(key: &str) -> Option<T> {
    state::get(key).and_then(|value| serde_json::from_slice(&value).ok())
}

/// Remembers a value under a key.
pub fn save(key: &str, value: &impl Serialize) -> Result<(), Failure> {
    let value = serde_json::to_vec(value).expect("the value can be written as JSON");
    state::set(key, &value).map_err(Failure::Invalid)
}
