//! A call that becomes a job: `Prefer: respond-async`.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use paddock_platform::{
    durable::{DurableCall, DurableReceipt, DurableState},
    identity::Caller,
    problem::{Problem, ProblemKind},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{CallOutput, Durable, once::IDEMPOTENCY_KEY};
use crate::{
    dialect::{Api, translate::parse},
    error::{LlmError, PROVIDER_FAILED},
    gateway::Gateway,
};

/// The tool that makes a call.
pub(crate) const CALL_TOOL: &str = "llm_call";
/// How often a call is tried that a server died of, or that every provider failed.
const ATTEMPTS: u32 = 5;
/// What an attempt may take beyond the call itself: to find places, to keep the answer.
const SLACK: Duration = Duration::from_mins(1);
/// The longest key of a caller's.
const KEY_LENGTH_MAX: usize = 200;
/// Headers of a call that belong to what it asks.
const HEADERS: [&str; 7] = [
    "x-paddock-tags",
    "x-paddock-class",
    "x-paddock-cost-max",
    "x-paddock-cache",
    "anthropic-version",
    "anthropic-beta",
    "openai-beta",
];

/// A call of a vendor's API.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CallInput {
    /// Which API: what the request and the answer look like.
    pub api: CallApi,
    /// The request's body, as the API has it; not as a stream.
    pub request: Value,
    /// Headers of the request that matter to it, such as `x-paddock-tags`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// A call with the same key and request is made once, and its answer given again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200))]
    pub idempotency_key: Option<String>,
}

/// An API whose calls can be made later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CallApi {
    /// OpenAI's chat completions.
    #[serde(rename = "chat/completions")]
    Chat,
    /// OpenAI's completions.
    #[serde(rename = "completions")]
    Completions,
    /// OpenAI's responses.
    #[serde(rename = "responses")]
    Responses,
    /// OpenAI's embeddings.
    #[serde(rename = "embeddings")]
    Embeddings,
    /// Anthropic's messages.
    #[serde(rename = "messages")]
    Messages,
}

impl CallApi {
    pub(super) const ALL: [Self; 5] =
        [Self::Chat, Self::Completions, Self::Responses, Self::Embeddings, Self::Messages];

    pub(crate) const fn api(self) -> Api {
        match self {
            Self::Chat => Api::Chat,
            Self::Completions => Api::Completions,
            Self::Responses => Api::Responses,
            Self::Embeddings => Api::Embeddings,
            Self::Messages => Api::Messages,
        }
    }

    fn of(api: Api) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.api() == api)
    }
}

impl Gateway {
    /// Makes a call of a vendor's API, whole: with the same routes, limits and records as over HTTP.
    pub async fn call(&self, caller: &Caller, input: CallInput) -> Result<CallOutput, Problem> {
        let mut headers = HeaderMap::new();
        for (name, value) in &input.headers {
            let name = HEADERS.into_iter().find(|known| known.eq_ignore_ascii_case(name));
            let value = HeaderValue::try_from(value).ok();
            let (Some(name), Some(value)) = (name, value) else {
                return Err(LlmError::invalid("headers", "has one that is not a call's").into());
            };
            headers.insert(HeaderName::from_static(name), value);
        }
        let key = match input.idempotency_key {
            Some(key) if (1..=KEY_LENGTH_MAX).contains(&key.len()) => format!("call/{key}"),
            Some(_) => return Err(LlmError::invalid("idempotency_key", "must have 1 to 200 bytes").into()),
            None => format!("call/{}", uuid::Uuid::now_v7()),
        };
        let body = Bytes::from(input.request.to_string());
        self.call_once(caller, input.api.api(), headers, body, &key).await?.into_result()
    }
}

impl Durable {
    /// Makes a call a job. What is wrong with it is said now.
    pub(crate) async fn submit(
        &self,
        caller: &Caller,
        api: Api,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> Result<DurableReceipt, LlmError> {
        let Some(call_api) = CallApi::of(api) else {
            return Err(LlmError::invalid("Prefer", "`respond-async` is for calls that a model answers"));
        };
        let timeout = self.gateway().check(api, caller, headers.clone(), body.clone())?;
        let own_key = headers.get(IDEMPOTENCY_KEY).map(|key| {
            let key = key.to_str().unwrap_or_default();
            let fits = (1..=KEY_LENGTH_MAX).contains(&key.len());
            fits.then(|| key.to_owned())
                .ok_or_else(|| LlmError::invalid("Idempotency-Key", "must have 1 to 200 bytes of ASCII"))
        });
        let own_key = own_key.transpose()?;
        let text = |name: &str| Some((name.to_owned(), headers.get(name)?.to_str().ok()?.to_owned()));
        let input = CallInput {
            api: call_api,
            request: parse(body)?,
            headers: HEADERS.into_iter().filter_map(text).collect(),
            idempotency_key: Some(own_key.clone().unwrap_or_else(|| uuid::Uuid::now_v7().to_string())),
        };
        let input = serde_json::to_value(&input)
            .map_err(|error| LlmError::from(&Problem::internal("serializing a call", &error)))?;
        let call = DurableCall {
            tool: CALL_TOOL,
            input,
            timeout: timeout + SLACK,
            attempts: ATTEMPTS,
            unique_key: own_key.map(|key| format!("llm-call:{key}")),
        };
        self.calls().submit(caller, call).await.map_err(|problem| LlmError::from(&problem))
    }

    /// How far a call is that became a job; `None` while it has not ended.
    pub(crate) async fn outcome(
        &self,
        caller: &Caller,
        id: &str,
        wait: Duration,
    ) -> Result<Option<CallOutput>, Problem> {
        match self.calls().state(caller.tenant(), CALL_TOOL, id, wait).await? {
            DurableState::Pending => Ok(None),
            DurableState::Done(output) => serde_json::from_value(output)
                .map(Some)
                .map_err(|error| Problem::internal("reading the answer of a call", &error)),
            DurableState::Failed { status, message } => {
                let status = http::StatusCode::from_u16(status).unwrap_or(PROVIDER_FAILED.status);
                Err(Problem::new(
                    ProblemKind::new(PROVIDER_FAILED.slug, status, PROVIDER_FAILED.title),
                    message,
                ))
            }
            DurableState::Cancelled => {
                Err(Problem::new(PROVIDER_FAILED, "the call was cancelled before it was answered"))
            }
        }
    }
}
