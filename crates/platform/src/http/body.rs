//! What a request's body may cost: how large it may be, and on routes without the server's timeout how long it may take.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::{DefaultBodyLimit, Request},
};
use http::header;
use http_body::{Frame, SizeHint};
use http_body_util::Limited;
use tokio::time::Sleep;

use crate::{
    problem::{BODY_TOO_LARGE, DEADLINE_EXCEEDED, Problem},
    units::{ByteSize, HumanDuration},
};

/// Refuses a body that says it is too large, and cuts off one that turns out to be, or that takes longer than
/// `time_max` to arrive.
pub(super) fn limit_body(
    request: &mut Request,
    body_max: ByteSize,
    time_max: Option<Duration>,
) -> Result<(), Problem> {
    if request.body().is_end_stream() {
        return Ok(());
    }
    let announced = request.headers().get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|value| value.to_str().ok()?.parse::<u64>().ok()).unwrap_or(0);
    if announced > body_max.get() {
        return Err(body_too_large(body_max));
    }
    // Ours is the only limit: axum's own of 2 MB would override a larger one.
    DefaultBodyLimit::disable().apply(request);
    let body = Limited::new(std::mem::take(request.body_mut()), body_max.as_usize());
    *request.body_mut() = match time_max {
        Some(time_max) => {
            Body::new(TimedBody { body, time_max, sleep: Box::pin(tokio::time::sleep(time_max)) })
        }
        None => Body::new(body),
    };
    Ok(())
}

fn body_too_large(body_max: ByteSize) -> Problem {
    Problem::new(BODY_TOO_LARGE, format!("the body is larger than {body_max}, the server's maximum"))
        .with("body_max", body_max.get())
}

/// A body did not arrive in time.
#[derive(Debug, thiserror::Error)]
#[error("the body did not arrive within {}, the server's `server.timeout`", HumanDuration::from(*time_max))]
pub(super) struct BodyTimeoutError {
    time_max: Duration,
}

impl From<&BodyTimeoutError> for Problem {
    fn from(error: &BodyTimeoutError) -> Self {
        Self::new(DEADLINE_EXCEEDED, error.to_string())
    }
}

/// Fails when the whole of the body has not arrived within a time: each byte coming just before some limit would hold
/// the request for as long as its sender likes.
struct TimedBody {
    body: Limited<Body>,
    time_max: Duration,
    sleep: Pin<Box<Sleep>>,
}

impl HttpBody for TimedBody {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            return Poll::Ready(frame);
        }
        ready!(self.sleep.as_mut().poll(context));
        Poll::Ready(Some(Err(BodyTimeoutError { time_max: self.time_max }.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
