//! One attempt at one place: a request out, and an answer, the beginning of a stream, or a failure back.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Collected, LengthLimitError, Limited};
use serde_json::value::RawValue;
use tokio::time::{Instant, timeout_at};

use super::{
    answer::translate_embeddings,
    call::Call,
    failed::{Failed, classify},
    record::Served,
    relay::Relayed,
    stream::RelayState,
};
use crate::{
    dialect::{
        Api, Dialect, embeddings, failure,
        translate::{parse, read_answer, write_answer, write_request},
        usage::{self, Usage},
    },
    error::{ErrorKind, LlmError},
    resilience::{Outcome, Permit},
    routing::{Choice, Target},
    upstream::{Endpoint, UpstreamBody, learned_rest},
};

/// The largest explanation of a failure that is read.
const FAILURE_MAX: usize = 64 << 10;

/// What came of a call.
pub(super) enum Delivered {
    Whole(Whole),
    Stream(Box<Relayed>),
}

/// A whole answer.
pub(super) struct Whole {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
    pub(super) usage: Usage,
    pub(super) served: Served,
    pub(super) request_id: Option<HeaderValue>,
}

/// A request as it goes out.
struct Outgoing {
    endpoint: Endpoint,
    body: Bytes,
    /// Whether the caller's own format is spoken.
    passes: bool,
    /// Whether usage was asked for that the caller did not ask for.
    added_usage: bool,
}

/// Makes an attempt.
pub(super) async fn attempt(call: &Arc<Call>, choice: Choice) -> Result<Delivered, Failed> {
    let Choice { target, mut permit, .. } = choice;
    let outgoing = prepare(call, &target).map_err(Failed::unfit)?;
    let uri = target
        .uri(outgoing.endpoint)
        .map_err(|reason| Failed::unfit(LlmError::new(ErrorKind::Internal, reason)))?;
    let once = call.once.as_ref().map(|once| once.header());
    let credential = &permit.lane().credential;
    let request = target.provider.request(uri, outgoing.body.clone(), credential, &call.headers, once);
    permit.sent();
    let begun = Instant::now();
    let resilience = &call.plan.options.resilience;
    let patience = if call.facts.stream { resilience.first_token_timeout } else { resilience.answer_timeout };
    let limit = match call.once {
        // It is asked for at one place alone: another one would do the work once more.
        Some(_) => call.deadline,
        None => call.deadline.min(begun + patience.get()),
    };
    let exchange = async {
        let response = target.provider.send(request).await.map_err(|error| {
            tracing::debug!(llm.provider = %target.provider.name, reason = error.reason, "a provider cannot be reached");
            let what = if error.is_connect { "cannot be reached" } else { "broke off" };
            Failed::provider(format!("the provider `{}` {what}", target.provider.name))
        })?;
        understand(call, &target, &permit, outgoing, response, begun).await
    };
    let exchanged = timeout_at(limit, exchange).await.unwrap_or_else(|_| {
        let waited = begun.elapsed().as_secs_f64();
        let name = &target.provider.name;
        Err(Failed::timed_out(format!("the provider `{name}` did not answer within {waited:.1}s")))
    });
    settle(permit, target, exchanged, begun.elapsed())
}

/// Tells the lane how it went.
fn settle(
    permit: Permit,
    target: Arc<Target>,
    exchanged: Result<Exchanged, Failed>,
    took: Duration,
) -> Result<Delivered, Failed> {
    let lane = Arc::clone(permit.lane());
    let served = Served { target, lane: Arc::clone(&lane) };
    match exchanged {
        Ok(Exchanged::Whole { status, body, usage, request_id }) => {
            permit.began_after(took);
            lane.metrics.began(took);
            permit.end(Outcome::Success, Some(usage.total()));
            Ok(Delivered::Whole(Whole { status, body, usage, served, request_id }))
        }
        Ok(Exchanged::Stream { state, body }) => {
            permit.began_after(took);
            lane.metrics.began(took);
            Ok(Delivered::Stream(Box::new(Relayed { state, body, permit, served })))
        }
        Err(failed) => {
            if let Some(outcome) = failed.outcome {
                if !matches!(outcome, Outcome::CallerFault | Outcome::Limited(_)) {
                    lane.metrics.failed();
                }
                permit.end(outcome, None);
            }
            Err(failed)
        }
    }
}

enum Exchanged {
    Whole { status: StatusCode, body: Bytes, usage: Usage, request_id: Option<HeaderValue> },
    Stream { state: RelayState, body: UpstreamBody },
}

/// The request in what the provider speaks.
fn prepare(call: &Call, target: &Target) -> Result<Outgoing, LlmError> {
    let provider = &target.provider;
    if provider.takes(call.api) {
        let wants_usage = call.facts.stream
            && matches!(call.api, Api::Chat | Api::Completions)
            && provider.options.stream_usage.unwrap_or(true);
        let body = call.facts.splice(&call.body, &target.model, wants_usage);
        let added_usage = wants_usage && !call.facts.include_usage;
        return Ok(Outgoing { endpoint: Endpoint::Api(call.api), body, passes: true, added_usage });
    }
    let (endpoint, body) = match (call.api, provider.dialect) {
        (Api::Embeddings, Dialect::Gemini) => {
            let request = embeddings::read_request(parse(&call.body)?)?;
            (Endpoint::Embed, embeddings::write_gemini(&request, &target.model))
        }
        (Api::Embeddings, _) => {
            return Err(LlmError::untranslatable("model", "is at a provider that has no embeddings"));
        }
        (Api::CountTokens, _) => {
            return Err(LlmError::untranslatable("model", "is at a provider that does not count tokens"));
        }
        (_, dialect) => {
            let mut body = write_request(dialect, call.canonical()?, &target.model)?;
            let endpoint = match (dialect, call.facts.stream) {
                (Dialect::OpenAi, stream) => {
                    if stream && provider.options.stream_usage.unwrap_or(true) {
                        body["stream_options"] = serde_json::json!({"include_usage": true});
                    }
                    Endpoint::Api(Api::Chat)
                }
                (Dialect::Anthropic, _) => Endpoint::Api(Api::Messages),
                (Dialect::Gemini, true) => Endpoint::GenerateStream,
                (Dialect::Gemini, false) => Endpoint::Generate,
            };
            (endpoint, body)
        }
    };
    Ok(Outgoing { endpoint, body: Bytes::from(body.to_string()), passes: false, added_usage: false })
}

/// What an answer is.
async fn understand(
    call: &Arc<Call>,
    target: &Target,
    permit: &Permit,
    outgoing: Outgoing,
    response: Response<UpstreamBody>,
    begun: Instant,
) -> Result<Exchanged, Failed> {
    let (parts, body) = response.into_parts();
    if !parts.status.is_success() {
        let read = Limited::new(body, FAILURE_MAX).collect().await;
        let explanation = read.map(Collected::to_bytes).unwrap_or_default();
        return Err(classify(call, target, parts.status, &parts.headers, &explanation));
    }
    if let Some(rest) = learned_rest(&parts.headers) {
        permit.lane().rest(rest);
    }
    let media_type = parts.headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let is_stream = media_type.starts_with(b"text/event-stream");
    if call.facts.stream && is_stream {
        let state = RelayState::new(call, target.provider.dialect, outgoing.passes, outgoing.added_usage);
        return begin_stream(state, body, begun).await;
    }
    let body = whole(call, body).await?;
    if let Some(status) = error_within(&body) {
        return Err(classify(call, target, status, &parts.headers, &body));
    }
    if call.facts.stream || is_stream || memchr::memmem::find(media_type, b"json").is_none() {
        return Err(Failed::provider(format!(
            "the provider `{}` answered with something else than what was asked for",
            target.provider.name
        )));
    }
    let request_id = ["request-id", "x-request-id"].iter().find_map(|name| parts.headers.get(*name)).cloned();
    let (body, usage) = if outgoing.passes {
        let usage = usage_within(call, &body).ok_or_else(|| garbage(target))?;
        (body, usage)
    } else {
        translated(call, target, &body)?
    };
    Ok(Exchanged::Whole { status: parts.status, body, usage, request_id })
}

async fn whole(call: &Call, body: UpstreamBody) -> Result<Bytes, Failed> {
    let answer_max = call.plan.options.answer_max;
    match Limited::new(body, answer_max.as_usize()).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(Failed::provider(format!("the provider's answer is larger than {answer_max}")))
        }
        Err(_) => Err(Failed::provider("the provider broke off its answer")),
    }
}

fn garbage(target: &Target) -> Failed {
    Failed::provider(format!(
        "the provider `{}` answered with something that is not an answer",
        target.provider.name
    ))
}

/// Reads the beginning of a stream, up to its first token: until then nothing is lost by trying elsewhere.
async fn begin_stream(
    mut state: RelayState,
    mut body: UpstreamBody,
    begun: Instant,
) -> Result<Exchanged, Failed> {
    while !state.has_begun() {
        match body.frame().await {
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    state.feed(&data);
                }
            }
            Some(Err(_)) => {
                return Err(Failed::provider("the provider broke off its stream before it began"));
            }
            None => {
                state.end_of_stream();
                break;
            }
        }
    }
    match state.failed_before() {
        Some(reason) if !state.has_begun() => Err(Failed::provider(reason.to_owned())),
        _ => {
            state.began_after(begun.elapsed());
            Ok(Exchanged::Stream { state, body })
        }
    }
}

/// A failure that came as success.
fn error_within(body: &[u8]) -> Option<StatusCode> {
    // An answer that has one says so near its beginning or is short; whatever else has it in a text.
    let head = &body[..body.len().min(512)];
    memchr::memmem::find(head, b"\"error\"")?;
    failure::status_within(body)
}

#[derive(serde::Deserialize)]
struct AnswerEnvelope<'a> {
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
    #[serde(default)]
    choices: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    content: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    output: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    data: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    input_tokens: Option<u64>,
}

/// The usage of an answer that passes as it is; estimated if it has none, `None` if it is no answer.
fn usage_within(call: &Call, body: &[u8]) -> Option<Usage> {
    if body.trim_ascii_start().first() != Some(&b'{') {
        return None;
    }
    let envelope: AnswerEnvelope<'_> = serde_json::from_slice(body).ok()?;
    let is_answer = match call.api {
        Api::Chat | Api::Completions => envelope.choices.is_some(),
        Api::Responses => envelope.output.is_some(),
        Api::Embeddings => envelope.data.is_some(),
        Api::Messages => envelope.content.is_some(),
        Api::CountTokens => return envelope.input_tokens.map(|_| Usage::default()),
    };
    if !is_answer {
        return None;
    }
    let reported = envelope.usage.filter(|usage| usage.get() != "null").and_then(|usage| match call.api {
        Api::Messages => usage::of_anthropic(usage.get()),
        _ => usage::of_openai(usage.get()),
    });
    Some(reported.unwrap_or_else(|| Usage {
        input: call.facts.tokens_in,
        output: if call.api == Api::Embeddings { 0 } else { body.len() as u64 / 4 },
        estimated: true,
        ..Usage::default()
    }))
}

fn translated(call: &Call, target: &Target, body: &Bytes) -> Result<(Bytes, Usage), Failed> {
    if call.api == Api::Embeddings {
        return translate_embeddings(call, body).map_err(|_| garbage(target));
    }
    let mut answer = read_answer(target.provider.dialect, body).map_err(|_| garbage(target))?;
    if answer.usage == Usage::default() {
        answer.usage = Usage {
            input: call.facts.tokens_in,
            output: body.len() as u64 / 4,
            estimated: true,
            ..Usage::default()
        };
    }
    if answer.model.is_empty() {
        answer.model = target.model.to_string();
    }
    if answer.id.is_empty() {
        answer.id = uuid::Uuid::now_v7().simple().to_string();
    }
    Ok((write_answer(call.format, &answer, crate::clock::unix_s()), answer.usage))
}
