//! `Runtime`: evaluation of JavaScript.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{command, plain_commands};

plain_commands! {
    /// Reports execution contexts; also makes scripts of an isolated world run at the start of every document.
    Enable = "Runtime.enable";
    /// Reports no execution contexts and no console any more.
    Disable = "Runtime.disable";
    /// Ends whatever script runs now, also an endless loop.
    TerminateExecution = "Runtime.terminateExecution";
}

/// Evaluates an expression.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Evaluate<'a> {
    /// The expression.
    pub expression: &'a str,
    /// Where; the page's main world if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_id: Option<i64>,
    /// Whether a promise is awaited.
    pub await_promise: bool,
    /// Whether the value itself is returned, as JSON.
    pub return_by_value: bool,
    /// Whether the page sees the activity of a user.
    pub user_gesture: bool,
}

/// Reply of [`Evaluate`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Evaluated {
    /// The result, or the thrown value.
    pub result: RemoteObject,
    /// Present when it threw.
    pub exception_details: Option<ExceptionDetails>,
}
command!(Evaluate<'a>, "Runtime.evaluate", Evaluated);

/// A value of the page.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RemoteObject {
    /// `object`, `undefined`, `string`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// The value as JSON; absent for `undefined` and for what JSON has no word for.
    pub value: Option<Box<RawValue>>,
    /// `NaN`, `Infinity`, `-0`, `12n`.
    pub unserializable_value: Option<String>,
    /// How the console would show it.
    pub description: Option<String>,
    /// Names the object, when its value was not asked for.
    pub object_id: Option<String>,
}

/// Calls a function on a value.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CallFunctionOn<'a> {
    /// The value, which the function sees as `this`.
    pub object_id: &'a str,
    /// The function's source.
    pub function_declaration: &'a str,
    /// Whether the value itself is returned, as JSON.
    pub return_by_value: bool,
}
command!(CallFunctionOn<'a>, "Runtime.callFunctionOn", Evaluated);

/// Lets go of a value.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseObject<'a> {
    /// The handle.
    pub object_id: &'a str,
}
command!(ReleaseObject<'a>, "Runtime.releaseObject", super::Empty);

/// What was thrown, and where.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExceptionDetails {
    /// Chrome's words, for example `Uncaught`.
    #[serde(default)]
    pub text: String,
    /// Line, from 0.
    #[serde(default)]
    pub line_number: u32,
    /// Column, from 0.
    #[serde(default)]
    pub column_number: u32,
    /// The thrown value.
    pub exception: Option<RemoteObject>,
    /// The script, if it has an address.
    pub url: Option<String>,
    /// How the script got there.
    pub stack_trace: Option<StackTrace>,
}

/// Parameters of `Runtime.consoleAPICalled`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConsoleApiCalled {
    /// `log`, `warning`, `error`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// What was logged.
    #[serde(default)]
    pub args: Vec<RemoteObject>,
    /// Milliseconds since 1970.
    #[serde(default)]
    pub timestamp: f64,
    /// Where from.
    pub stack_trace: Option<StackTrace>,
}

/// Parameters of `Runtime.exceptionThrown`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExceptionThrown {
    /// Milliseconds since 1970.
    #[serde(default)]
    pub timestamp: f64,
    /// What was thrown.
    pub exception_details: ExceptionDetails,
}

/// Calls that led somewhere, the innermost first.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StackTrace {
    /// The calls.
    #[serde(default)]
    pub call_frames: Vec<CallFrame>,
}

/// One call of a stack.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CallFrame {
    /// The function; empty for one without a name.
    pub function_name: String,
    /// The script.
    pub url: String,
    /// Line, from 0.
    pub line_number: i64,
    /// Column, from 0.
    pub column_number: i64,
}

/// Lets objects of the page go that were handed out.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseObjectGroup<'a> {
    /// Which group.
    pub object_group: &'a str,
}
command!(ReleaseObjectGroup<'a>, "Runtime.releaseObjectGroup", super::Empty);
