//! Evaluation of JavaScript in a tab's page.

use std::{sync::PoisonError, time::Duration};

use http::StatusCode;
use paddock_cdp::{
    CallError, Session,
    protocol::{
        page::CreateIsolatedWorld,
        runtime::{Evaluate, Evaluated, ExceptionDetails, RemoteObject, TerminateExecution},
    },
};
use paddock_platform::problem::{Problem, ProblemKind};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::{
    dialog::{Dialog, blocked_problem},
    error::{PAGE_UNRESPONSIVE, call_problem},
    tab::{Tab, TabWorld, WORLD},
};

/// The expression threw, or has no value that can be returned.
pub const EVALUATION_FAILED: ProblemKind =
    ProblemKind::new("evaluation-failed", StatusCode::UNPROCESSABLE_ENTITY, "Evaluation failed");
/// The expression did not end in time.
pub const EVALUATION_TIMEOUT: ProblemKind =
    ProblemKind::new("evaluation-timeout", StatusCode::GATEWAY_TIMEOUT, "Evaluation timed out");

/// Attempts to end an endless script.
const TERMINATE_ATTEMPTS: u32 = 10;
/// How long a page may take to answer that its script was ended.
const PROBE_DEADLINE: Duration = Duration::from_millis(500);
/// Answered by every page in which no script runs.
pub(crate) const PROBE: Evaluate<'static> = Evaluate {
    expression: "0",
    context_id: None,
    await_promise: false,
    return_by_value: true,
    user_gesture: false,
};
/// How much of a thrown value is passed on.
const EXCEPTION_SIZE_MAX: usize = 2000;

/// Whose variables an expression sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum World {
    /// The page's own.
    #[default]
    Main,
    /// Those of Paddock's scripts: the same DOM, nothing else of the page.
    Isolated,
}

/// An expression that gave no value.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// It threw, or its promise was rejected.
    #[error("the expression threw: {message} (line {line}, column {column})")]
    Exception {
        /// What was thrown.
        message: String,
        /// Line, from 1.
        line: u32,
        /// Column, from 1.
        column: u32,
    },
    /// Its value cannot be written as JSON, or has no end.
    #[error("the expression's value cannot be returned: {0}")]
    NotSerializable(String),
    /// It is not of the expected type.
    #[error("the expression's value is not what was expected")]
    Type(#[source] serde_json::Error),
    /// It did not end in time, and was ended.
    #[error("the expression did not end within {}s", .0.as_secs_f64())]
    Timeout(Duration),
    /// The page went away meanwhile.
    #[error("the page was replaced by another during the evaluation")]
    Replaced,
    /// The page has nowhere to run it.
    #[error("the page runs no scripts at the moment; navigate or reload it, then try again")]
    NoContext,
    /// It was ended from outside: by another request's deadline.
    #[error("the expression was ended together with a script of the page that did not end")]
    Terminated,
    /// A dialog is open: the page stands still.
    #[error("a JavaScript dialog is open in the page ({})", .0.kind)]
    DialogOpen(Dialog),
    /// A command to Chrome failed.
    #[error("Chrome did not do what it was asked")]
    Call(#[source] CallError),
}

impl From<EvaluateError> for Problem {
    fn from(error: EvaluateError) -> Self {
        match &error {
            EvaluateError::Call(call) => call_problem(call),
            EvaluateError::Timeout(_) => Self::new(EVALUATION_TIMEOUT, error.to_string()),
            EvaluateError::DialogOpen(dialog) => blocked_problem(dialog),
            EvaluateError::Exception { .. }
            | EvaluateError::NotSerializable(_)
            | EvaluateError::Type(_)
            | EvaluateError::Replaced
            | EvaluateError::NoContext
            | EvaluateError::Terminated => Self::new(EVALUATION_FAILED, error.to_string()),
        }
    }
}

/// What a user is told of a look at the page that failed: what was run was ours, so a page that does not answer is busy.
pub(crate) fn look_problem(error: EvaluateError) -> Problem {
    match error {
        EvaluateError::Timeout(timeout) => {
            let detail = format!("the page did not answer within {}s; it is busy", timeout.as_secs_f64());
            Problem::new(PAGE_UNRESPONSIVE, detail)
        }
        error => error.into(),
    }
}

/// Ends a script whose caller goes away: nobody would notice that it is endless.
struct Abandoned<'a>(Option<&'a Tab>);

impl Drop for Abandoned<'_> {
    fn drop(&mut self) {
        if let Some(tab) = self.0.take() {
            let tab = tab.clone();
            let tasks = tab.0.shared.tasks.clone();
            tasks.spawn("browser_end_script", async move {
                if !tab.answers().await {
                    tab.end_script().await;
                }
            });
        }
    }
}

impl Tab {
    /// Evaluates an expression, awaits its promise if it is one, and returns its value as JSON (`undefined` is `null`).
    /// An expression that does not end in time is ended.
    pub async fn evaluate(
        &self,
        expression: &str,
        world: World,
        timeout: Duration,
    ) -> Result<Box<RawValue>, EvaluateError> {
        self.touch();
        let mut abandoned = Abandoned(Some(self));
        let result = tokio::select! {
            biased;
            result = self.evaluate_in_place(expression, world, timeout) => result,
            dialog = self.0.dialogs.blocked() => Err(EvaluateError::DialogOpen(dialog)),
        };
        abandoned.0 = None;
        if matches!(result, Err(EvaluateError::Timeout(_))) {
            self.end_script().await;
        }
        result
    }

    /// Whether the page answers at once: no script of it runs.
    async fn answers(&self) -> bool {
        !matches!(self.session().send_within(&PROBE, PROBE_DEADLINE).await, Err(CallError::Deadline { .. }))
    }

    /// Breaks a loop. A promise that never resolves is merely forgotten.
    async fn end_script(&self) {
        for _ in 0..TERMINATE_ATTEMPTS {
            let ended = async {
                self.session().send_within(&TerminateExecution {}, PROBE_DEADLINE).await?;
                self.session().send_within(&PROBE, PROBE_DEADLINE).await
            };
            // On a busy machine the script may not have begun when the first command to end it arrives.
            match ended.await {
                Err(CallError::Deadline { .. }) => {}
                _ => return,
            }
        }
        tracing::debug!(browser.tab = %self.id(), "a script could not be ended");
    }

    /// As [`Tab::evaluate`], with the value as a type.
    pub async fn evaluate_as<T: DeserializeOwned>(
        &self,
        expression: &str,
        world: World,
        timeout: Duration,
    ) -> Result<T, EvaluateError> {
        let value = self.evaluate(expression, world, timeout).await?;
        serde_json::from_str(value.get()).map_err(EvaluateError::Type)
    }

    /// Evaluates without ending what does not end: for scripts that are bounded by themselves.
    pub(crate) async fn evaluate_in_place(
        &self,
        expression: &str,
        world: World,
        timeout: Duration,
    ) -> Result<Box<RawValue>, EvaluateError> {
        let evaluation = async {
            match self.evaluate_once(expression, world, timeout).await {
                // The remembered world is of a document that is gone.
                Err(EvaluateError::Call(CallError::Protocol { message, .. })) if is_stale(&message) => {
                    self.forget_world();
                    self.evaluate_once(expression, world, timeout).await
                }
                result => result,
            }
        };
        told_apart(timeout, evaluation).await
    }

    /// Makes sure that the present document has its isolated world.
    pub(crate) async fn make_world(&self, timeout: Duration) -> Result<(), EvaluateError> {
        let making = async { self.isolated_world().await.map(drop).map_err(EvaluateError::Call) };
        told_apart(timeout, making).await
    }

    async fn evaluate_once(
        &self,
        expression: &str,
        world: World,
        timeout: Duration,
    ) -> Result<Box<RawValue>, EvaluateError> {
        let context_id = match world {
            World::Main => None,
            World::Isolated => Some(self.isolated_world().await.map_err(EvaluateError::Call)?),
        };
        evaluate_at(self.session(), expression, context_id, timeout).await
    }

    /// The isolated world of the present document: the one in which its scripts of [`TabSpec`](crate::TabSpec) ran.
    pub(crate) async fn isolated_world(&self) -> Result<i64, CallError> {
        let (frame_id, loader_id) =
            self.0.page.with(|page| (page.main_frame.clone(), page.loader_id.clone()));
        let known = self.0.world.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(TabWorld { loader_id: of, context_id, .. }) = known
            && of == loader_id
        {
            return Ok(context_id);
        }
        let command = CreateIsolatedWorld { frame_id: &frame_id, world_name: WORLD };
        let context_id = self.session().send(&command).await?.execution_context_id;
        let mut world = self.0.world.lock().unwrap_or_else(PoisonError::into_inner);
        // Somebody else may have asked at the same time: Chrome gives both the same.
        if world.as_ref().is_none_or(|world| world.loader_id != loader_id || world.context_id != context_id) {
            *world = Some(TabWorld { loader_id, context_id, has_script: false });
        }
        Ok(context_id)
    }
}

/// Ends what takes too long, and tells what a page does from what Chrome does.
async fn told_apart<T>(
    timeout: Duration,
    work: impl Future<Output = Result<T, EvaluateError>>,
) -> Result<T, EvaluateError> {
    match tokio::time::timeout(timeout, work).await {
        Ok(Err(EvaluateError::Call(CallError::Deadline { .. }))) | Err(_) => {
            Err(EvaluateError::Timeout(timeout))
        }
        Ok(Err(EvaluateError::Call(CallError::Protocol { message, .. }))) => Err(of_protocol(message)),
        Ok(result) => result,
    }
}

/// Evaluates in one of a session's contexts; in the page's own without one.
pub(crate) async fn evaluate_at(
    session: &Session,
    expression: &str,
    context_id: Option<i64>,
    timeout: Duration,
) -> Result<Box<RawValue>, EvaluateError> {
    let command =
        Evaluate { expression, context_id, await_promise: true, return_by_value: true, user_gesture: false };
    let Evaluated { result, exception_details } =
        session.send_within(&command, timeout).await.map_err(EvaluateError::Call)?;
    match exception_details {
        Some(details) => Err(exception(details)),
        None => value_of(result),
    }
}

pub(crate) fn is_stale(message: &str) -> bool {
    message.contains("Cannot find context")
}

fn of_protocol(message: String) -> EvaluateError {
    if is_stale(&message)
        || message.contains("context was destroyed")
        || message.contains("navigated or closed")
    {
        EvaluateError::Replaced
    } else if message.contains("Cannot find default execution context") {
        EvaluateError::NoContext
    } else if message.contains("Execution was terminated") {
        EvaluateError::Terminated
    } else {
        EvaluateError::NotSerializable(message)
    }
}

fn value_of(result: RemoteObject) -> Result<Box<RawValue>, EvaluateError> {
    if let Some(value) = result.value {
        return Ok(value);
    }
    let text = match result.unserializable_value {
        // NaN, -0 and big integers: JSON has no word for them, their names have to do.
        Some(name) => serde_json::Value::String(name).to_string(),
        None => "null".to_owned(),
    };
    RawValue::from_string(text).map_err(EvaluateError::Type)
}

fn exception(details: ExceptionDetails) -> EvaluateError {
    let thrown = details
        .exception
        .and_then(|thrown| thrown.description.or_else(|| thrown.value.map(|value| value.get().to_owned())));
    let mut message = thrown.unwrap_or(details.text);
    if let Some((end, _)) = message.char_indices().nth(EXCEPTION_SIZE_MAX) {
        message.truncate(end);
        message.push('…');
    }
    EvaluateError::Exception { message, line: details.line_number + 1, column: details.column_number + 1 }
}
