//! Steps one after another: actions, waits and navigations.

use paddock_platform::problem::Problem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    ActionRequest, ActionResult, BrowserService, NavigateRequest, Target, WRITE, WaitFor, WaitRequest,
};
use crate::ids::TabId;

/// Steps of one request.
const STEPS_MAX: usize = 200;
/// Longest time that one step may be given, in seconds.
const STEP_TIMEOUT_SECS_MAX: f64 = 60.0;

/// Does steps one after another.
#[derive(Clone, Debug, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MacroRequest {
    /// The tab of those that name none; without one, the current tab.
    #[serde(default)]
    pub tab_id: Option<TabId>,
    /// The steps: actions as `POST /action` takes them, and with `kind` of `wait` or `navigate` what those take.
    #[schema(value_type = Vec<Object>)]
    pub steps: Vec<Value>,
    /// Whether the first that fails is the last.
    #[serde(default)]
    pub stop_on_error: bool,
    /// Seconds that a step may take, at most 60.
    #[serde(default)]
    pub step_timeout: Option<f64>,
}

/// How the steps went.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct MacroDone {
    /// `macro`.
    pub kind: String,
    /// One for each that was tried.
    pub results: Vec<ActionResult>,
    /// Steps in the request.
    pub total: usize,
    /// Those that were done.
    pub successful: usize,
    /// Those that failed or were not tried.
    pub failed: usize,
}

impl BrowserService {
    /// Does steps one after another. A tab that one of them opens is where the next ones happen.
    pub async fn run_macro(&self, target: Target, request: MacroRequest) -> Result<MacroDone, Problem> {
        target.caller.require(WRITE)?;
        let total = request.steps.len();
        if total == 0 || total > STEPS_MAX {
            return Err(Problem::invalid_field("steps", format!("must be 1 to {STEPS_MAX} steps")));
        }
        let mut target = target.or(request.tab_id);
        let timeout = request.step_timeout.filter(|secs| *secs > 0.0 && *secs <= STEP_TIMEOUT_SECS_MAX);
        let mut results = Vec::with_capacity(total);
        for (index, step) in request.steps.into_iter().enumerate() {
            let result = self.step(&mut target, index, step, timeout).await;
            let stop = request.stop_on_error && !result.success;
            results.push(result);
            if stop {
                break;
            }
        }
        let successful = results.iter().filter(|result| result.success).count();
        Ok(MacroDone { kind: "macro".to_owned(), results, total, successful, failed: total - successful })
    }

    async fn step(
        &self,
        target: &mut Target,
        index: usize,
        step: Value,
        timeout: Option<f64>,
    ) -> ActionResult {
        let done =
            ActionResult { index, success: true, result: None, error: None, code: None, snapshot: None };
        let outcome = match step["kind"].as_str() {
            Some("wait") => match read::<WaitRequest>(step) {
                Ok(request) => self.wait(target.clone(), request).await.map(|waited| match waited.error {
                    None => done,
                    Some(error) => ActionResult {
                        success: false,
                        error: Some(error),
                        code: Some("wait_timeout".to_owned()),
                        ..done
                    },
                }),
                Err(problem) => Err(problem),
            },
            Some("navigate") => match read::<NavigateRequest>(step) {
                Ok(request) => self.navigate(target.clone(), request, WaitFor::Load).await.map(|navigated| {
                    target.tab = Some(navigated.tab_id);
                    done
                }),
                Err(problem) => Err(problem),
            },
            _ => match read::<ActionRequest>(step) {
                Ok(request) => {
                    let timeout = request.timeout.or(timeout);
                    return self.act_step(target, index, ActionRequest { timeout, ..request }).await;
                }
                Err(problem) => Err(problem),
            },
        };
        outcome.unwrap_or_else(|problem| ActionResult::failed(index, &problem))
    }
}

fn read<T: serde::de::DeserializeOwned>(step: Value) -> Result<T, Problem> {
    serde_json::from_value(step).map_err(|error| Problem::invalid_field("steps", error))
}
