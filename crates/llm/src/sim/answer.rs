//! What the simulated provider answers.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body::Body;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::{
    SimOptions,
    directive::Directive,
    generate,
    pieces::{Bill, Faults, Piece, pieces},
    script,
    steps::{output_tokens, steps_of, tokens_of},
};
use crate::{
    clock::now_ms,
    dialect::{
        Api, Dialect,
        canonical::{self, Answer, Output, Part, Reasoning, Step, Stop, ToolChoice},
        embeddings, failure, gemini,
        translate::{Format, StreamWriter, parse, read_request, write_answer},
        usage::Usage,
    },
    durable::IDEMPOTENCY_KEY,
    error::{ErrorKind, LlmError},
    resilience::Window,
    upstream::UpstreamBody,
};

/// Beyond it, a request is refused.
const BODY_MAX: usize = 64 << 20;
/// Keys whose answers are remembered.
const KEYS_MAX: usize = 10_000;
/// What every simulated thing is called.
const FINGERPRINT: &str = "paddock-sim";

/// The simulated provider. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Sim(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: SimOptions,
    requests: AtomicU64,
    minute: Option<Mutex<Window>>,
    said: Mutex<Said>,
}

/// Answers that were begun, and those that are given again under the same key.
#[derive(Debug, Default)]
struct Said {
    answers: u64,
    replayed: u64,
    /// Tokens of answers that were said to their end: what their callers are billed for.
    input: u64,
    output: u64,
    by_key: HashMap<Vec<u8>, Answer>,
    /// The keys, the oldest first.
    order: VecDeque<Vec<u8>>,
}

/// What the last request of a path wants.
enum Wanted {
    Answer(Format),
    GeminiStream,
    Embeddings,
    GeminiEmbeddings,
    Count,
    Models,
}

/// Which faults a request meets.
struct Luck {
    random: fastrand::Rng,
    number: u64,
    /// What its caller names the request by, should it be sent again.
    key: Option<Vec<u8>>,
}

impl Luck {
    fn has(&mut self, share: f64) -> bool {
        // Drawn in any case: whether one fault is possible must not change the others.
        self.random.f64() < share
    }
}

impl Sim {
    pub(crate) fn new(options: SimOptions) -> Self {
        let minute = (options.rpm > 0).then(|| Mutex::new(Window::new(options.rpm.into())));
        Self(Arc::new(Inner { options, requests: AtomicU64::new(0), minute, said: Mutex::default() }))
    }

    /// Answers a request; an error is a connection that breaks.
    pub(crate) async fn answer<B>(&self, request: Request<B>) -> Result<Response<UpstreamBody>, String>
    where
        B: Body<Data = Bytes>,
        B::Error: std::fmt::Display,
    {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
        // Who asks how it went is no caller of the provider, and meets no fault.
        if parts.uri.path().ends_with("/stats") {
            return Ok(whole(&self.stats()));
        }
        let Some((dialect, wanted)) = wanted(parts.uri.path()) else {
            return Ok(refuse(Dialect::OpenAi, StatusCode::NOT_FOUND, "no such path", None));
        };
        let number = self.0.requests.fetch_add(1, Ordering::Relaxed);
        let options = &self.0.options;
        let random = fastrand::Rng::with_seed(options.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let key = parts.headers.get(IDEMPOTENCY_KEY).map(|key| key.as_bytes().to_vec());
        let mut luck = Luck { random, number, key };
        if let Some(refused) = self.refused(dialect, &parts.headers, &mut luck)? {
            return Ok(refused);
        }
        if body.len() > BODY_MAX {
            return Ok(refuse(dialect, StatusCode::PAYLOAD_TOO_LARGE, "the body is too large", None));
        }
        let answered = match wanted {
            Wanted::Models => {
                Ok(whole(&json!({"object": "list", "data": [{"id": "sim", "object": "model"}]})))
            }
            Wanted::Count => read_request(Format::Messages, &body)
                .map(|request| whole(&json!({"input_tokens": tokens_of(&request)}))),
            Wanted::Embeddings => self.embeddings(&body),
            Wanted::GeminiEmbeddings => self.gemini_embeddings(&body),
            Wanted::Answer(format) => self.complete(dialect, format, false, &body, &mut luck).await,
            Wanted::GeminiStream => self.complete(dialect, Format::Gemini, true, &body, &mut luck).await,
        };
        Ok(answered.unwrap_or_else(|error| failed(dialect, &error)))
    }

    /// Faults that come before an answer.
    fn refused(
        &self,
        dialect: Dialect,
        headers: &HeaderMap,
        luck: &mut Luck,
    ) -> Result<Option<Response<UpstreamBody>>, String> {
        let options = &self.0.options;
        let faults = [luck.has(options.reset), luck.has(options.error), luck.has(options.limit)];
        if faults[0] {
            return Err("the simulated provider breaks the connection".to_owned());
        }
        if faults[1] {
            let status =
                StatusCode::from_u16(options.error_status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            return Ok(Some(refuse(dialect, status, "a simulated failure", None)));
        }
        let key = ["authorization", "x-api-key", "x-goog-api-key", "api-key"]
            .iter()
            .find_map(|name| headers.get(*name));
        let is_refused = |key: &HeaderValue| {
            !options.refuse_key.is_empty()
                && memchr::memmem::find(key.as_bytes(), options.refuse_key.as_bytes()).is_some()
        };
        if key.is_some_and(is_refused) {
            return Ok(Some(refuse(
                dialect,
                StatusCode::UNAUTHORIZED,
                "a simulated refusal of the key",
                None,
            )));
        }
        let limited = self.0.minute.as_ref().is_some_and(|minute| {
            minute.lock().unwrap_or_else(PoisonError::into_inner).reserve(now_ms(), 1).is_err()
        });
        if faults[2] || limited {
            let wait = Some(options.retry_after);
            return Ok(Some(refuse(dialect, StatusCode::TOO_MANY_REQUESTS, "a simulated limit", wait)));
        }
        Ok(None)
    }

    async fn complete(
        &self,
        dialect: Dialect,
        format: Format,
        stream: bool,
        body: &Bytes,
        luck: &mut Luck,
    ) -> Result<Response<UpstreamBody>, LlmError> {
        let options = &self.0.options;
        let value = parse(body)?;
        let model = value["model"].as_str().unwrap_or("sim").to_owned();
        let include_usage = value["stream_options"]["include_usage"] == true;
        let request = match format {
            Format::Gemini => gemini::read_request(value, stream)?,
            format => read_request(format, body)?,
        };
        let directive = script::next(&request);
        if let Some(status) = directive.status.and_then(|status| StatusCode::from_u16(status).ok()) {
            let wait = (status == StatusCode::TOO_MANY_REQUESTS).then_some(options.retry_after);
            return Ok(refuse(dialect, status, "a failure that the prompt asked for", wait));
        }
        let latency = options.latency.draw(&mut luck.random);
        let stalls = luck.has(options.stall);
        let stall = directive.stall.or(stalls.then_some(options.stall_for));
        if directive.garbage | luck.has(options.garbage) {
            tokio::time::sleep(latency).await;
            return Ok(response(
                UpstreamBody::Whole(Some(Bytes::from_static(b"<html>oops"))),
                "application/json",
            ));
        }
        if directive.error_inside {
            let inside = json!({"error": {"code": 503, "message": "a simulated failure inside"}});
            return Ok(whole(&inside));
        }
        let answer = self.say(&request, &directive, model, format, luck);
        let (answer, is_again) = self.say_once(luck.key.take(), answer);
        let bill = (!is_again).then(|| Bill { sim: self.clone(), usage: answer.usage });
        let faults = Faults {
            // What was said already is there at once.
            latency: if is_again { Duration::ZERO } else { latency + stall.unwrap_or_default() },
            break_at: self.break_at(&directive, luck),
            stall_at: luck.has(options.stall_late).then_some(2),
            fail_at: directive.fail_after,
        };
        if request.stream {
            let writer = StreamWriter::new(format, crate::clock::unix_s(), include_usage);
            return Ok(self.stream(dialect, answer, writer, &faults, bill));
        }
        let tokens = answer.usage.output as f64;
        let rate = options.tokens_per_s;
        let speaking = if rate > 0.0 { Duration::from_secs_f64(tokens / rate) } else { Duration::ZERO };
        let wait = faults.latency + speaking;
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        let body = with_fingerprint(format, write_answer(format, &answer, crate::clock::unix_s()));
        if faults.break_at.is_none() {
            if let Some(bill) = bill {
                bill.send();
            }
            return Ok(response(UpstreamBody::Whole(Some(body)), "application/json"));
        }
        let half = body.slice(..body.len() / 2);
        Ok(response(pieces(VecDeque::from([Piece::say(half), Piece::broken()]), None), "application/json"))
    }

    fn break_at(&self, directive: &Directive, luck: &mut Luck) -> Option<usize> {
        let (early, late) = (luck.has(self.0.options.break_early), luck.has(self.0.options.break_late));
        directive.break_after.or(early.then_some(0)).or(late.then_some(3))
    }

    /// The answer that was begun under the same key, or else this one; and whether it is the former.
    fn say_once(&self, key: Option<Vec<u8>>, answer: Answer) -> (Answer, bool) {
        let mut said = self.0.said.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = key.as_ref().and_then(|key| said.by_key.get(key)).cloned() {
            said.replayed += 1;
            return (known, true);
        }
        said.answers += 1;
        if let Some(key) = key {
            if said.order.len() == KEYS_MAX
                && let Some(oldest) = said.order.pop_front()
            {
                said.by_key.remove(&oldest);
            }
            said.order.push_back(key.clone());
            said.by_key.insert(key, answer.clone());
        }
        (answer, false)
    }

    /// Bills an answer that was said to its end.
    pub(super) fn bill(&self, usage: &Usage) {
        let mut said = self.0.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.input += usage.input;
        said.output += usage.output;
    }

    /// What it has done, and what its callers are billed for.
    fn stats(&self) -> Value {
        let requests = self.0.requests.load(Ordering::Relaxed);
        let said = self.0.said.lock().unwrap_or_else(PoisonError::into_inner);
        json!({
            "requests": requests,
            "answers": said.answers,
            "replayed": said.replayed,
            "input_tokens": said.input,
            "output_tokens": said.output,
        })
    }

    /// The answer to a request.
    fn say(
        &self,
        request: &canonical::Request,
        directive: &Directive,
        model: String,
        format: Format,
        luck: &mut Luck,
    ) -> Answer {
        let options = &self.0.options;
        // What is said depends on what was asked, and not on when.
        let asked = blake3::hash(format!("{:?}{:?}", request.system, request.messages).as_bytes());
        let asked = u64::from_le_bytes(asked.as_bytes()[..8].try_into().unwrap_or_default());
        let mut random = fastrand::Rng::with_seed(options.seed ^ asked);
        let mut parts = Vec::new();
        let mut reasoning = 0;
        if request.reasoning.as_ref().and_then(Reasoning::budget).is_some() {
            let text = generate::tokens(&mut random, 6).concat();
            reasoning = 6;
            parts.push(Part::Thinking { text, signature: Some("c2lt".to_owned()) });
        }
        let call = tool_to_call(request, directive);
        let stop = if let Some(tool) = call {
            let made_up = || generate::sample(&tool.schema, &mut random);
            let arguments = directive.with.clone().unwrap_or_else(made_up).to_string();
            let id = format!("call_sim{:012x}", random.u64(..) >> 16);
            parts.push(Part::ToolCall { id, name: tool.name.clone(), arguments, signature: None });
            Stop::Tools
        } else {
            let (from, to) = options.tokens;
            let text = match (&directive.reply, &request.output) {
                (Some(reply), _) => reply.clone(),
                (None, Output::Schema { schema, .. }) => generate::sample(schema, &mut random).to_string(),
                (None, Output::Json) => json!({"simulated": true}).to_string(),
                (None, Output::Text) => {
                    generate::tokens(&mut random, random_between(&mut luck.random, from, to)).concat()
                }
            };
            let limit = request.max_tokens.unwrap_or(u64::MAX) as usize;
            let pieces = generate::split(&text);
            let is_cut = pieces.len() > limit;
            parts.push(Part::text(pieces.into_iter().take(limit).collect::<String>()));
            if is_cut { Stop::Length } else { Stop::End }
        };
        let input = tokens_of(request);
        let cache_read = directive.cached.unwrap_or(0).min(input);
        let output = output_tokens(&parts);
        let usage = Usage { input, output, cache_read, cache_write: 0, reasoning, estimated: false };
        let prefix = match format {
            Format::Messages => "msg_sim",
            Format::Responses => "resp_sim",
            _ => "chatcmpl-sim",
        };
        Answer { id: format!("{prefix}{:08x}", luck.number), model, parts, stop, usage }
    }

    fn stream(
        &self,
        dialect: Dialect,
        answer: Answer,
        mut writer: StreamWriter,
        faults: &Faults,
        bill: Option<Bill>,
    ) -> Response<UpstreamBody> {
        let rate = self.0.options.tokens_per_s;
        let gap = if rate > 0.0 { Duration::from_secs_f64(1.0 / rate) } else { Duration::ZERO };
        let mut said = VecDeque::new();
        let mut out = Vec::new();
        writer.write(Step::Start { id: answer.id.clone(), model: answer.model.clone() }, &mut out);
        writer.write(Step::Usage(Usage { output: 0, ..answer.usage }), &mut out);
        let mut wait = faults.latency;
        for (index, step) in steps_of(&answer.parts).into_iter().enumerate() {
            if faults.break_at == Some(index) {
                said.push_back(Piece::after(wait, std::mem::take(&mut out)));
                said.push_back(Piece::broken());
                return response(pieces(said, None), "text/event-stream");
            }
            if faults.fail_at == Some(index) {
                let error = LlmError::new(ErrorKind::Overloaded, "a simulated failure within the stream");
                out.extend_from_slice(&failure::stream_event(Format::of_dialect(dialect), &error));
                said.push_back(Piece::after(wait, std::mem::take(&mut out)));
                return response(pieces(said, None), "text/event-stream");
            }
            if faults.stall_at == Some(index) {
                wait += self.0.options.stall_for;
            }
            writer.write(step, &mut out);
            // Without gaps all goes out at once.
            if !gap.is_zero() || faults.stall_at == Some(index) {
                said.push_back(Piece::after(wait, std::mem::take(&mut out)));
                wait = gap;
            }
        }
        writer.write(Step::Stop(answer.stop), &mut out);
        writer.write(Step::Usage(answer.usage), &mut out);
        writer.finish(&mut out);
        said.push_back(Piece::after(wait, out));
        response(pieces(said, bill), "text/event-stream")
    }

    fn embeddings(&self, body: &Bytes) -> Result<Response<UpstreamBody>, LlmError> {
        let value = parse(body)?;
        let model = value["model"].as_str().unwrap_or("sim").to_owned();
        let request = embeddings::read_request(value)?;
        let usage =
            Usage { input: request.texts.iter().map(|text| generate::count(text)).sum(), ..Usage::default() };
        Ok(whole(&embeddings::write_answer(&self.vectors(&request), request.base64, &model, usage)))
    }

    fn gemini_embeddings(&self, body: &Bytes) -> Result<Response<UpstreamBody>, LlmError> {
        let request = embeddings::read_gemini(parse(body)?)?;
        Ok(whole(&embeddings::write_gemini_answer(&self.vectors(&request))))
    }

    fn vectors(&self, request: &embeddings::Request) -> Vec<Vec<f32>> {
        let dimensions =
            request.dimensions.map_or(self.0.options.dimensions, |count| count.clamp(1, 4096) as u32);
        let seed = self.0.options.seed;
        request.texts.iter().map(|text| generate::embedding(text, seed, dimensions)).collect()
    }
}

fn wanted(path: &str) -> Option<(Dialect, Wanted)> {
    let ends = |end: &str| path.ends_with(end);
    Some(match path {
        _ if ends("/chat/completions") => (Dialect::OpenAi, Wanted::Answer(Format::Chat)),
        _ if ends("/completions") => (Dialect::OpenAi, Wanted::Answer(Format::Completions)),
        _ if ends("/responses") => (Dialect::OpenAi, Wanted::Answer(Format::Responses)),
        _ if ends("/embeddings") => (Dialect::OpenAi, Wanted::Embeddings),
        _ if ends(Api::CountTokens.path()) => (Dialect::Anthropic, Wanted::Count),
        _ if ends("/messages") => (Dialect::Anthropic, Wanted::Answer(Format::Messages)),
        _ if ends(":generateContent") => (Dialect::Gemini, Wanted::Answer(Format::Gemini)),
        _ if ends(":streamGenerateContent") => (Dialect::Gemini, Wanted::GeminiStream),
        _ if ends(":batchEmbedContents") => (Dialect::Gemini, Wanted::GeminiEmbeddings),
        _ if ends("/models") => (Dialect::OpenAi, Wanted::Models),
        _ => return None,
    })
}

fn tool_to_call<'a>(
    request: &'a canonical::Request,
    directive: &Directive,
) -> Option<&'a canonical::ToolSpec> {
    let named = match (&directive.tool, &request.tool_choice) {
        (_, Some(ToolChoice::None)) => return None,
        (Some(name), _) | (None, Some(ToolChoice::Named(name))) => Some(name),
        (None, Some(ToolChoice::Required)) => return request.tools.first(),
        (None, _) => None,
    };
    request.tools.iter().find(|tool| Some(&tool.name) == named)
}

fn random_between(random: &mut fastrand::Rng, from: u32, to: u32) -> u32 {
    random.u32(from..=to)
}

fn with_fingerprint(format: Format, body: Bytes) -> Bytes {
    // One object, which ends with its brace.
    match (format, body.strip_suffix(b"}")) {
        (Format::Chat | Format::Completions, Some(open)) => {
            Bytes::from([open, format!(",\"system_fingerprint\":\"{FINGERPRINT}\"}}").as_bytes()].concat())
        }
        _ => body,
    }
}

fn whole(value: &Value) -> Response<UpstreamBody> {
    response(UpstreamBody::Whole(Some(Bytes::from(value.to_string()))), "application/json")
}

fn response(body: UpstreamBody, content_type: &'static str) -> Response<UpstreamBody> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert("x-paddock-simulated", HeaderValue::from_static("true"));
    response
}

fn failed(dialect: Dialect, error: &LlmError) -> Response<UpstreamBody> {
    refuse(dialect, failure::status(dialect, error), &error.message, None)
}

fn refuse(
    dialect: Dialect,
    status: StatusCode,
    message: &str,
    wait: Option<Duration>,
) -> Response<UpstreamBody> {
    let error = LlmError::new(ErrorKind::Refused(status), message);
    let mut refused = whole(&failure::body(dialect, &error));
    *refused.status_mut() = status;
    if let Some(wait) = wait {
        let seconds = wait.as_secs().max(1);
        refused.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        refused.headers_mut().insert("retry-after-ms", HeaderValue::from(wait.as_millis() as u64));
    }
    refused
}
