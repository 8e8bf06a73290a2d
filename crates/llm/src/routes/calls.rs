//! The vendors' APIs.

use axum::{
    body::Bytes,
    extract::{Path, Request, State, rejection::BytesRejection},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use paddock_platform::{
    http::{Preference, body_problem},
    identity::Caller,
};
use serde_json::{Value, json};

use super::{Area, TAG};
use crate::{
    dialect::{Api, Dialect, failure},
    durable::{CallOutput, Durable},
    error::{ErrorKind, LlmError},
    gateway::{Gateway, X_ROUTE},
};

type Body = Result<Bytes, BytesRejection>;

/// When a caller should look for the answer to a call that became a job.
pub(super) const LOOK_AGAIN: HeaderValue = HeaderValue::from_static("2");

async fn call(area: &Area, api: Api, caller: &Caller, headers: HeaderMap, body: Body) -> Response {
    let body = match body {
        Ok(body) => body,
        Err(rejection) => {
            let mut error = LlmError::from(&body_problem(&rejection));
            if error.kind == ErrorKind::TooLarge {
                "the body is larger than `llm.body_max`".clone_into(&mut error.message);
            }
            return failure::render(api.dialect(), &error);
        }
    };
    if let Some(durable) = area.durable.as_ref().filter(|_| headers.contains_key("prefer")) {
        match later(durable, api, caller, &headers, &body).await {
            Ok(None) => {}
            Ok(Some(response)) => return response,
            Err(error) => return failure::render(api.dialect(), &error),
        }
    }
    area.gateway.serve(api, caller, headers, body).await
}

/// Makes a call a job, if its caller prefers that.
async fn later(
    durable: &Durable,
    api: Api,
    caller: &Caller,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Option<Response>, LlmError> {
    let preference = Preference::of(headers).map_err(|problem| LlmError::from(&problem))?;
    if !preference.respond_async {
        return Ok(None);
    }
    let receipt = durable.submit(caller, api, headers, body).await?;
    let outcome = match preference.wait {
        Some(wait) => {
            durable.outcome(caller, &receipt.id, wait).await.map_err(|problem| LlmError::from(&problem))?
        }
        None => None,
    };
    let mut response = match outcome {
        Some(output) => answered(&output),
        None => pending(&receipt.id, &receipt.location),
    };
    preference.applied(response.headers_mut());
    Ok(Some(response))
}

/// The answer of a call that became a job.
pub(super) fn answered(output: &CallOutput) -> Response {
    let mut response = axum::Json(&output.body).into_response();
    let headers = response.headers_mut();
    headers
        .extend(HeaderValue::try_from(&output.route).map(|route| (HeaderName::from_static(X_ROUTE), route)));
    if output.simulated {
        headers.insert("x-paddock-simulated", HeaderValue::from_static("true"));
    }
    response
}

/// That a call has not ended, and where to look for its end.
pub(super) fn pending(id: &str, job: &str) -> Response {
    let body = axum::Json(json!({"id": id, "state": "pending", "job": job}));
    let mut response = (StatusCode::ACCEPTED, [(header::RETRY_AFTER, LOOK_AGAIN)], body).into_response();
    let place = HeaderValue::try_from(format!("/llm/calls/{id}"));
    response.headers_mut().extend(place.map(|place| (header::LOCATION, place)));
    response
}

/// Chat completions (OpenAI)
///
/// As OpenAI's, streams included. Beside it: `X-Paddock-Tags`, `X-Paddock-Class` (`interactive`, `batch`),
/// `X-Paddock-Cost-Max` (US dollars), `X-Paddock-Cache` (`skip`, `refresh`, `semantic`). The answer's `X-Paddock-Route` says
/// where the call went. With `Prefer: respond-async` the call becomes a job: 202, and its answer under `Location`; this holds
/// for every call here that is answered by a model.
#[utoipa::path(post, path = "/v1/chat/completions", tag = TAG, request_body = Value, responses(
    (status = 200, description = "The completion, or a stream of it", body = Value),
))]
pub(super) async fn chat_completions(
    State(area): State<Area>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Response {
    call(&area, Api::Chat, &caller, headers, body).await
}

/// Completions (OpenAI)
#[utoipa::path(post, path = "/v1/completions", tag = TAG, request_body = Value, responses(
    (status = 200, description = "The completion, or a stream of it", body = Value),
))]
pub(super) async fn completions(
    State(area): State<Area>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Response {
    call(&area, Api::Completions, &caller, headers, body).await
}

/// Responses (OpenAI)
///
/// For providers that do not have them, a response is translated; what a vendor keeps on its side is not possible there.
#[utoipa::path(post, path = "/v1/responses", tag = TAG, request_body = Value, responses(
    (status = 200, description = "The response, or a stream of it", body = Value),
))]
pub(super) async fn responses(
    State(area): State<Area>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Response {
    call(&area, Api::Responses, &caller, headers, body).await
}

/// Embeddings (OpenAI)
#[utoipa::path(post, path = "/v1/embeddings", tag = TAG, request_body = Value, responses(
    (status = 200, description = "The embeddings", body = Value),
))]
pub(super) async fn embeddings(
    State(area): State<Area>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Response {
    call(&area, Api::Embeddings, &caller, headers, body).await
}

/// Messages (Anthropic)
///
/// As Anthropic's, streams included.
#[utoipa::path(post, path = "/v1/messages", tag = TAG, request_body = Value, responses(
    (status = 200, description = "The message, or a stream of it", body = Value),
))]
pub(super) async fn messages(
    State(area): State<Area>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Response {
    call(&area, Api::Messages, &caller, headers, body).await
}

/// Count a message's tokens (Anthropic)
///
/// Where no provider behind the model counts, it is an estimate, and `X-Paddock-Estimated` says so.
#[utoipa::path(post, path = "/v1/messages/count_tokens", tag = TAG, request_body = Value, responses(
    (status = 200, description = "The number of tokens", body = Value),
))]
pub(super) async fn count_tokens(
    State(area): State<Area>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Response {
    call(&area, Api::CountTokens, &caller, headers, body).await
}

/// List models (OpenAI, Anthropic)
///
/// The names that callers can use, in OpenAI's form; in Anthropic's where the header `anthropic-version` is sent.
#[utoipa::path(get, path = "/v1/models", tag = TAG, responses((status = 200, description = "The models", body = Value)))]
pub(super) async fn models(
    State(gateway): State<Gateway>,
    caller: Caller,
    headers: HeaderMap,
) -> axum::Json<Value> {
    let models = gateway.models_for(&caller);
    let is_anthropic = headers.contains_key("anthropic-version");
    let data: Vec<Value> = models.iter().map(|(name, owner)| described(name, owner, is_anthropic)).collect();
    axum::Json(if is_anthropic {
        let end = |at: Option<&(String, String)>| at.map(|(name, _)| name.clone());
        json!({"data": data, "has_more": false, "first_id": end(models.first()), "last_id": end(models.last())})
    } else {
        json!({"object": "list", "data": data})
    })
}

/// A model (OpenAI, Anthropic)
#[utoipa::path(get, path = "/v1/models/{*model}", tag = TAG, params(
    ("model" = String, Path, description = "The model's name"),
), responses((status = 200, description = "The model", body = Value)))]
pub(super) async fn model(
    State(gateway): State<Gateway>,
    caller: Caller,
    headers: HeaderMap,
    Path(model): Path<String>,
) -> Response {
    let is_anthropic = headers.contains_key("anthropic-version");
    let found = gateway.models_for(&caller).into_iter().find(|(name, _)| *name == model);
    if let Some((name, owner)) = found {
        return axum::Json(described(&name, &owner, is_anthropic)).into_response();
    }
    let dialect = if is_anthropic { Dialect::Anthropic } else { Dialect::OpenAi };
    failure::render(dialect, &gateway.unknown_model(&model))
}

fn described(name: &str, owner: &str, is_anthropic: bool) -> Value {
    if is_anthropic {
        // Nobody here knows when a vendor made a model.
        json!({"type": "model", "id": name, "display_name": name, "created_at": "1970-01-01T00:00:00Z"})
    } else {
        json!({"id": name, "object": "model", "created": 0, "owned_by": owner})
    }
}

/// What no vendor's API here has.
pub(super) async fn nothing(request: Request) -> Response {
    let (method, path) = (request.method(), request.uri().path());
    let message = format!("{method} {path} is not one of the gateway's; `/docs` lists those it has");
    failure::render(Dialect::OpenAi, &LlmError::new(ErrorKind::Refused(StatusCode::NOT_FOUND), message))
}
