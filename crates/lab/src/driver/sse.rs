//! Event streams (server-sent events): time to the first event, and the gaps between events.
//!
//! Reported beside the latency of the whole stream: `ttft`, from the moment the operation was due until its first event
//! was complete, and `gap`, between one event and the next.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    BuildContext, BuildError, Call, Driver, Extra, Failure, Options, Outcome, Seat, Session, Target,
    connect::{Kept, Pool, Version},
    http::{HttpOptions, HttpVersion, RequestTemplate},
};
use crate::variables::Template;

/// Most events of one stream that are read.
const EVENTS_MAX: u64 = 1_000_000;
/// Largest event.
const EVENT_BYTES_MAX: usize = 4 << 20;

/// One event stream: `sse = { url = "${base}/events", events_max = 10 }`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SseOptions {
    /// Absolute address, `http` only. Host and port must be the same for every operation.
    pub url: Template,
    /// Method; `GET` if absent.
    #[serde(default)]
    pub method: Option<String>,
    /// Headers by name; `Accept: text/event-stream` is sent without being asked for.
    #[serde(default)]
    pub headers: BTreeMap<String, Template>,
    /// Body of the request.
    #[serde(default)]
    pub body: Option<Template>,
    /// The operation ends after so many events; without it, when the stream ends.
    #[serde(default)]
    pub events_max: Option<u64>,
    /// The operation ends with the event whose data is this text, for example `[DONE]`.
    #[serde(default)]
    pub until: Option<String>,
}

impl Options for SseOptions {
    fn build(&self, context: &BuildContext) -> Result<Arc<dyn Driver>, BuildError> {
        if self.events_max == Some(0) {
            return Err(BuildError::field("events_max", "must be at least 1"));
        }
        let mut headers = self.headers.clone();
        if !headers.keys().any(|name| name.eq_ignore_ascii_case("accept"))
            && let Ok(accept) = "text/event-stream".parse()
        {
            headers.insert("accept".to_owned(), accept);
        }
        let request = HttpOptions {
            url: self.url.clone(),
            method: self.method.clone(),
            headers,
            body: self.body.clone(),
            version: HttpVersion::One,
            connections: None,
        };
        let template = RequestTemplate::new(&request, context)?;
        let pool = context.connections.pool(&template.authority, Version::One, context.seats, &context.tasks);
        Ok(Arc::new(Sse {
            template: Arc::new(template),
            pool,
            events_max: self.events_max.unwrap_or(EVENTS_MAX).min(EVENTS_MAX),
            until: self.until.as_deref().map(Arc::from),
        }))
    }
}

#[derive(Clone, Debug)]
struct Sse {
    template: Arc<RequestTemplate>,
    pool: Arc<Pool>,
    events_max: u64,
    until: Option<Arc<str>>,
}

impl Driver for Sse {
    fn session(&self, seat: Seat) -> Box<dyn Session> {
        Box::new(SseSession { sse: self.clone(), seat })
    }

    fn targets(&self) -> Vec<Target> {
        vec![self.template.target()]
    }
}

struct SseSession {
    sse: Sse,
    seat: Seat,
}

impl Session for SseSession {
    fn prepare(&mut self) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(self.sse.pool.prepare(self.seat))
    }

    fn execute<'a>(&'a mut self, call: Call<'a>) -> BoxFuture<'a, Outcome> {
        Box::pin(async move { self.read(call).await.unwrap_or_else(Outcome::failed) })
    }
}

impl SseSession {
    async fn read(&mut self, call: Call<'_>) -> Result<Outcome, Failure> {
        let started = Instant::now();
        let Sse { template, pool, events_max, until } = &self.sse;
        let mut exchange = pool.send(self.seat, &template.ask(call)).await?;
        let answered = exchange.answered();
        if answered.refusal.is_some() {
            return exchange.outcome(call.keep_body, pool, self.seat).await;
        }
        let mut events = Events::default();
        let mut extra = Vec::new();
        let mut previous = None;
        let mut kept = Kept::new(call.keep_body);
        let mut count = 0;
        'stream: loop {
            let Some(piece) = exchange.next().await else {
                // Read to its end: the connection can be used again.
                exchange.finish(pool, self.seat);
                break;
            };
            let piece = piece?;
            kept.add(&piece);
            events.feed(&piece)?;
            while let Some(data) = events.next() {
                let now = Instant::now();
                extra.push(match previous.replace(now) {
                    None => Extra { name: "ttft", time: now - started, from_start: true },
                    Some(before) => Extra { name: "gap", time: now - before, from_start: false },
                });
                count += 1;
                if count >= *events_max || until.as_deref().is_some_and(|until| until == data) {
                    break 'stream;
                }
            }
        }
        if count == 0 {
            return Err(Failure::new("no-event", "the stream ended without an event"));
        }
        if let Some(until) = until
            && count < *events_max
            && !events.ended_with(until)
        {
            return Err(Failure::new("closed", format!("the stream ended before `{until}`")));
        }
        Ok(Outcome { body: kept.into_body(), extra, ..answered })
    }
}

/// Splits a stream into events (HTML Standard, section 9.2): lines end in LF, CR or CRLF, an empty one ends the event.
#[derive(Debug, Default)]
struct Events {
    buffer: BytesMut,
    data: String,
    has_data: bool,
    /// The last byte was CR: an LF that follows belongs to it.
    after_cr: bool,
    last: String,
}

impl Events {
    fn feed(&mut self, piece: &Bytes) -> Result<(), Failure> {
        if self.buffer.len() + self.data.len() + piece.len() > EVENT_BYTES_MAX {
            return Err(Failure::new("protocol", "an event is larger than 4 MiB"));
        }
        self.buffer.extend_from_slice(piece);
        Ok(())
    }

    fn line(&mut self) -> Option<Bytes> {
        if self.after_cr && !self.buffer.is_empty() {
            self.after_cr = false;
            if self.buffer.first() == Some(&b'\n') {
                drop(self.buffer.split_to(1));
            }
        }
        let end = self.buffer.iter().position(|byte| matches!(byte, b'\n' | b'\r'))?;
        self.after_cr = self.buffer.get(end) == Some(&b'\r');
        let line = self.buffer.split_to(end).freeze();
        drop(self.buffer.split_to(1));
        Some(line)
    }

    /// Data of the next whole event; comments and events without data are not counted.
    fn next(&mut self) -> Option<String> {
        while let Some(line) = self.line() {
            if line.is_empty() {
                if std::mem::take(&mut self.has_data) {
                    self.last = std::mem::take(&mut self.data);
                    return Some(self.last.clone());
                }
                continue;
            }
            let line = String::from_utf8_lossy(&line);
            let (field, value) = line.split_once(':').unwrap_or((line.as_ref(), ""));
            if field == "data" {
                if std::mem::replace(&mut self.has_data, true) {
                    self.data.push('\n');
                }
                self.data.push_str(value.strip_prefix(' ').unwrap_or(value));
            }
        }
        None
    }

    fn ended_with(&self, data: &str) -> bool {
        self.last == data
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(pieces: &[&[u8]]) -> Vec<String> {
        let mut events = Events::default();
        let mut found = Vec::new();
        for piece in pieces {
            events.feed(&Bytes::copy_from_slice(piece)).unwrap();
            while let Some(data) = events.next() {
                found.push(data);
            }
        }
        found
    }

    #[test]
    fn events_are_told_apart_and_comments_are_none() {
        let found =
            split(&[b": hello\n\ndata: a\ndata:b\nid: 1\n\nevent: x\n\ndata\r\n\r\ndata: c\r\rdata: cut"]);
        assert_eq!(found, ["a\nb", "", "c"]);
    }

    proptest! {
        #[test]
        fn where_the_stream_is_cut_makes_no_difference(text in "(data: [ab]{0,3}|: c|\r\n|\n|\r){0,30}", cuts in proptest::collection::vec(1_usize..7, 0..40)) {
            let whole = split(&[text.as_bytes()]);
            let mut pieces = Vec::new();
            let mut rest = text.as_bytes();
            for cut in cuts {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                pieces.push(piece);
                rest = after;
            }
            pieces.push(rest);
            prop_assert_eq!(split(&pieces), whole);
        }
    }
}
