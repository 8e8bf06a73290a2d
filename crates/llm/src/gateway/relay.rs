//! A stream on its way from the provider to the caller: each piece that comes is passed on at once.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame};
use metrics::counter;
use tokio::time::{Instant, Sleep};

use super::{
    record::{Record, Served},
    stream::RelayState,
};
use crate::{
    metrics::LLM_STREAMS_BROKEN_TOTAL,
    resilience::{Outcome, Permit},
    upstream::UpstreamBody,
};

/// A stream that has begun.
pub(super) struct Relayed {
    pub(super) state: RelayState,
    pub(super) body: UpstreamBody,
    pub(super) permit: Permit,
    pub(super) served: Served,
}

/// The body that the caller reads.
pub(super) struct Relay {
    state: RelayState,
    body: UpstreamBody,
    /// Until the end.
    record: Option<Record>,
    permit: Option<Permit>,
    idle: Duration,
    /// When something came last.
    heard: Instant,
    deadline: Instant,
    sleep: Pin<Box<Sleep>>,
    ended: bool,
    /// The whole stream, for the cache, as long as it is not too long.
    pub(super) kept: Option<super::cache::Keeping>,
}

impl Relay {
    pub(super) fn new(relayed: Relayed, mut record: Record, kept: Option<super::cache::Keeping>) -> Self {
        let call = Arc::clone(&record.call);
        let idle = call.plan.options.resilience.idle_timeout.get();
        record.first_token = Some(relayed.state.first_token);
        let heard = Instant::now();
        Self {
            state: relayed.state,
            body: relayed.body,
            record: Some(record),
            permit: Some(relayed.permit),
            idle,
            heard,
            deadline: call.deadline,
            sleep: Box::pin(tokio::time::sleep_until(call.deadline.min(heard + idle))),
            ended: false,
            kept,
        }
    }

    /// Whatever is ready for the caller.
    fn flush(&mut self) -> Option<Bytes> {
        if self.state.out.is_empty() {
            return None;
        }
        let piece = Bytes::from(std::mem::take(&mut self.state.out));
        if let Some(record) = &mut self.record {
            record.keep(&piece);
            // What is known so far, should the caller go away.
            record.usage = self.state.usage();
        }
        if let Some(kept) = &mut self.kept {
            kept.keep(&piece);
        }
        Some(piece)
    }

    /// Whether the provider was silent for too long, or the call took too long.
    fn poll_silence(&mut self, context: &mut Context<'_>) -> Poll<String> {
        loop {
            if self.sleep.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            let now = Instant::now();
            if now >= self.deadline {
                return Poll::Ready("the call took longer than it may".to_owned());
            }
            if now >= self.heard + self.idle {
                let idle = self.idle.as_secs_f64();
                return Poll::Ready(format!("the provider was silent for {idle:.1}s within its stream"));
            }
            let next = self.deadline.min(self.heard + self.idle);
            self.sleep.as_mut().reset(next);
        }
    }

    /// Writes down how it ended.
    fn settle(&mut self) {
        self.ended = true;
        let usage = self.state.usage();
        let failed = self.state.failure.is_some();
        if let Some(permit) = self.permit.take() {
            let outcome = if failed { Outcome::Failure } else { Outcome::Success };
            permit.end(outcome, Some(usage.total()));
        }
        if let Some(mut record) = self.record.take() {
            record.usage = usage;
            if failed {
                counter!(LLM_STREAMS_BROKEN_TOTAL).increment(1);
                record.finish("broken", 200, false);
            } else {
                record.finish("ok", 200, false);
                if let Some(kept) = self.kept.take() {
                    kept.store();
                }
            }
        }
    }
}

impl Body for Relay {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let relay = &mut *self;
        loop {
            if let Some(piece) = relay.flush() {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            if relay.ended {
                return Poll::Ready(None);
            }
            if relay.state.failure.is_some() {
                relay.settle();
                continue;
            }
            match Pin::new(&mut relay.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => {
                    relay.heard = Instant::now();
                    if let Ok(data) = frame.into_data() {
                        relay.state.feed(&data);
                    }
                }
                Poll::Ready(Some(Err(_))) if !relay.state.complete => {
                    relay.state.fail("the provider broke off its stream".to_owned());
                }
                Poll::Ready(_) => {
                    relay.state.end_of_stream();
                    if relay.state.failure.is_none() {
                        // What is left to say is said before the end is.
                        let rest = relay.flush();
                        relay.settle();
                        if let Some(rest) = rest {
                            return Poll::Ready(Some(Ok(Frame::data(rest))));
                        }
                    }
                }
                Poll::Pending => match relay.poll_silence(context) {
                    Poll::Ready(reason) => relay.state.fail(reason),
                    Poll::Pending => return Poll::Pending,
                },
            }
        }
    }
}
