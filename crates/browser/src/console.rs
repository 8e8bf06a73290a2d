//! What a page wrote to its console, and what it threw.
//!
//! Chrome keeps the last thousand messages of a page (10 MB at most) and hands them out when `Runtime` is enabled. So
//! nothing of the console passes the pipe that all pages share until somebody asks for it: a page that writes a hundred
//! megabytes a second there disturbs nobody. What is shown is therefore what the present document wrote.

use jiff::Timestamp;
use paddock_cdp::{
    Event,
    protocol::runtime::{
        self, ConsoleApiCalled, ExceptionDetails, ExceptionThrown, ReleaseObjectGroup, RemoteObject,
        StackTrace,
    },
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{error::BrowserError, tab::Tab};

const EVENTS: &[&str] = &["Runtime.consoleAPICalled", "Runtime.exceptionThrown"];
/// Chrome keeps no more than these.
const MESSAGES_MAX: usize = 1000;
/// Characters of a message that are passed on.
const MESSAGE_SIZE_MAX: usize = 4000;
/// The group that Chrome puts the arguments of console calls into.
const OBJECT_GROUP: &str = "console";

/// A call of the console.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConsoleMessage {
    /// When.
    #[schemars(with = "String")]
    #[schema(value_type = String)]
    pub timestamp: Timestamp,
    /// `log`, `info`, `warn`, `error`, `debug`, `trace`, `table`, …
    pub level: String,
    /// Its arguments as text, separated by blanks; cut after 4000 characters.
    pub message: String,
    /// The script; empty for one without an address.
    pub url: String,
    /// Line, from 1.
    pub line: i64,
    /// Column, from 1.
    pub column: i64,
}

/// Something thrown that nothing caught, or a rejected promise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PageError {
    /// When.
    #[schemars(with = "String")]
    #[schema(value_type = String)]
    pub timestamp: Timestamp,
    /// What was thrown; cut after 4000 characters.
    pub message: String,
    /// The script; empty for one without an address.
    pub url: String,
    /// Line, from 1.
    pub line: i64,
    /// Column, from 1.
    pub column: i64,
    /// The calls that led there, one per line.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub stack: String,
}

/// What the console of the present document holds.
#[derive(Clone, Debug, Default)]
pub struct Console {
    /// Calls, oldest first.
    pub messages: Vec<ConsoleMessage>,
    /// Errors, oldest first.
    pub errors: Vec<PageError>,
}

/// Since when there is something to show, in milliseconds since 1970.
#[derive(Debug, Default)]
pub(crate) struct Cleared {
    messages: f64,
    errors: f64,
}

impl Tab {
    /// Reads the console.
    pub async fn console(&self) -> Result<Console, BrowserError> {
        self.touch();
        // One at a time: a second `enable` is not answered with what there is.
        let cleared = self.0.environment.console.lock().await;
        let session = self.session();
        let mut events = session.subscribe(EVENTS, 2 * MESSAGES_MAX);
        if self.0.keeps_runtime {
            session.send(&runtime::Disable {}).await?;
        }
        session.send(&runtime::Enable {}).await?;
        let mut console = Console::default();
        // All that was kept came before the reply.
        while let Some(event) = events.try_next() {
            console.take(&event, &cleared);
        }
        if !self.0.keeps_runtime {
            session.send(&ReleaseObjectGroup { object_group: OBJECT_GROUP }).await?;
            session.send(&runtime::Disable {}).await?;
        }
        Ok(console)
    }

    /// Forgets the calls of the console so far.
    pub async fn clear_console(&self) {
        self.0.environment.console.lock().await.messages = now_ms();
    }

    /// Forgets the errors so far.
    pub async fn clear_errors(&self) {
        self.0.environment.console.lock().await.errors = now_ms();
    }
}

fn now_ms() -> f64 {
    Timestamp::now().as_millisecond() as f64
}

impl Console {
    fn take(&mut self, event: &Event, cleared: &Cleared) {
        if event.method == "Runtime.consoleAPICalled" {
            if let Ok(call) = event.parse::<ConsoleApiCalled>()
                && call.timestamp > cleared.messages
                && self.messages.len() < MESSAGES_MAX
            {
                self.messages.push(message_of(call));
            }
        } else if let Ok(thrown) = event.parse::<ExceptionThrown>()
            && thrown.timestamp > cleared.errors
            && self.errors.len() < MESSAGES_MAX
        {
            self.errors.push(error_of(thrown));
        }
    }
}

fn message_of(call: ConsoleApiCalled) -> ConsoleMessage {
    let mut message = String::new();
    for argument in call.args {
        if !message.is_empty() {
            message.push(' ');
        }
        message.push_str(&text_of(argument));
        if message.len() > 4 * MESSAGE_SIZE_MAX {
            break;
        }
    }
    let (url, line, column) = place_of(call.stack_trace.as_ref());
    let level = if call.kind == "warning" { "warn".to_owned() } else { call.kind };
    ConsoleMessage { timestamp: timestamp(call.timestamp), level, message: cut(message), url, line, column }
}

fn error_of(thrown: ExceptionThrown) -> PageError {
    let ExceptionDetails { text, line_number, column_number, exception, url, stack_trace } =
        thrown.exception_details;
    let (at, ..) = place_of(stack_trace.as_ref());
    let message = exception.map(text_of).filter(|thrown| !thrown.is_empty());
    let message = message.map_or(text.clone(), |thrown| {
        // Chrome's word for what was thrown names the stack too; here it has a member of its own.
        let thrown = thrown.split("\n    at ").next().unwrap_or_default().to_owned();
        if text.is_empty() { thrown } else { format!("{text}: {thrown}") }
    });
    PageError {
        timestamp: timestamp(thrown.timestamp),
        message: cut(message),
        url: cut(url.unwrap_or(at)),
        line: i64::from(line_number) + 1,
        column: i64::from(column_number) + 1,
        stack: cut(stack_trace.map(stack_of).unwrap_or_default()),
    }
}

/// An argument as the console would show it, on one line.
fn text_of(value: RemoteObject) -> String {
    let raw = value.value.as_ref().map(|raw| raw.get());
    match raw.map(serde_json::from_str::<String>) {
        Some(Ok(text)) => text,
        _ => value
            .description
            .or(value.unserializable_value)
            .or_else(|| raw.map(str::to_owned))
            .unwrap_or(value.kind),
    }
}

fn place_of(stack: Option<&StackTrace>) -> (String, i64, i64) {
    let call = stack.and_then(|stack| stack.call_frames.first());
    call.map_or_else(Default::default, |call| {
        (cut(call.url.clone()), call.line_number + 1, call.column_number + 1)
    })
}

fn stack_of(stack: StackTrace) -> String {
    let line = |call: runtime::CallFrame| {
        let name = if call.function_name.is_empty() { "(anonymous)" } else { &call.function_name };
        format!("{name} ({}:{}:{})", call.url, call.line_number + 1, call.column_number + 1)
    };
    stack.call_frames.into_iter().take(50).map(line).collect::<Vec<_>>().join("\n")
}

fn timestamp(ms: f64) -> Timestamp {
    Timestamp::from_millisecond(ms as i64).unwrap_or_default()
}

fn cut(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(MESSAGE_SIZE_MAX) {
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use paddock_cdp::Payload;
    use serde_json::json;

    use super::*;

    fn event(method: &'static str, params: &serde_json::Value) -> Event {
        Event { method, params: Payload::from_json(params) }
    }

    #[test]
    fn arguments_become_one_text() {
        let mut console = Console::default();
        let params = json!({ "type": "warning", "timestamp": 5.0, "args": [
            { "type": "string", "value": "a" }, { "type": "number", "value": 7 },
            { "type": "object", "description": "Array(2)", "objectId": "1" }, { "type": "undefined" },
        ], "stackTrace": { "callFrames": [
            { "functionName": "f", "url": "http://a/x.js", "lineNumber": 3, "columnNumber": 0 }] } });
        console.take(&event("Runtime.consoleAPICalled", &params), &Cleared::default());
        let [message] = console.messages.as_slice() else { panic!("one message") };
        assert_eq!((message.level.as_str(), message.message.as_str()), ("warn", "a 7 Array(2) undefined"));
        assert_eq!((message.url.as_str(), message.line, message.column), ("http://a/x.js", 4, 1));
    }

    #[test]
    fn what_was_cleared_is_not_shown() {
        let mut console = Console::default();
        let cleared = Cleared { messages: 10.0, errors: 0.0 };
        let call =
            |at| json!({ "type": "log", "timestamp": at, "args": [{ "type": "string", "value": "x" }] });
        console.take(&event("Runtime.consoleAPICalled", &call(10.0)), &cleared);
        console.take(&event("Runtime.consoleAPICalled", &call(11.0)), &cleared);
        let thrown = json!({ "timestamp": 1.0, "exceptionDetails": { "text": "Uncaught", "lineNumber": 1,
            "columnNumber": 2, "exception": { "type": "object", "description": "Error: boom\n    at f (x)" } } });
        console.take(&event("Runtime.exceptionThrown", &thrown), &cleared);
        assert_eq!((console.messages.len(), console.errors.len()), (1, 1));
        assert_eq!(console.errors[0].message, "Uncaught: Error: boom");
    }

    #[test]
    fn a_long_message_is_cut_at_a_character() {
        assert_eq!(cut("ä".repeat(MESSAGE_SIZE_MAX + 1)).chars().count(), MESSAGE_SIZE_MAX + 1);
    }
}
