//! One request's answer on an h2c connection: what of it the client takes, and when it takes too little.
//!
//! On HTTP/1 a client that reads nothing fills the socket, and the write fails (see [`stall`](super::stall)). On h2c it
//! may read everything else and only never open the window of one stream: nothing is written, so nothing can fail.
//! hyper polls an answer's body only when the client's window has room for more. So a body knows when the waiting for
//! the client began, and the task that sends it ends when that is too long ago, which resets the stream.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};
use tokio::{sync::Notify, time::Instant};

/// Larger pieces are cut: hyper keeps a piece whole until the client has taken all of it.
const PIECE_SIZE_MAX: usize = 16 << 10;

tokio::task_local! {
    /// Set around the task of every h2c stream.
    pub(super) static STREAM: Arc<StreamProgress>;
}

/// What the requests of a connection say about whether it is used.
#[derive(Debug, Default)]
pub(super) struct Activity {
    in_flight: AtomicUsize,
    begun: AtomicU64,
}

impl Activity {
    /// A request came.
    pub(super) fn begin(&self) {
        self.begun.fetch_add(1, Ordering::Relaxed);
    }

    /// A request is in flight until the returned value is dropped.
    pub(super) fn enter(self: &Arc<Self>) -> RequestInFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        RequestInFlight(Arc::clone(self))
    }

    /// Requests since the connection was opened.
    pub(super) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    /// Resolves when no request was in flight or came for a time of at least `limit`, and of twice that at most.
    pub(super) async fn idle(&self, limit: Duration) {
        let mut seen = self.begun();
        loop {
            tokio::time::sleep(limit).await;
            let now = self.begun();
            if now == seen && self.in_flight.load(Ordering::Relaxed) == 0 {
                return;
            }
            seen = now;
        }
    }
}

/// See [`Activity::enter`].
#[derive(Debug)]
pub(super) struct RequestInFlight(Arc<Activity>);

impl Drop for RequestInFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Since when a stream waits for its client.
#[derive(Debug)]
pub(super) struct StreamProgress {
    opened: Instant,
    /// Milliseconds after `opened`, and one more; zero while it is the server that has nothing to send.
    waiting_since: AtomicU64,
    answered: Notify,
}

impl StreamProgress {
    pub(super) fn new() -> Self {
        Self { opened: Instant::now(), waiting_since: AtomicU64::new(0), answered: Notify::new() }
    }

    fn wait_for_client(&self) {
        let millis = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
        self.waiting_since.store(millis + 1, Ordering::Relaxed);
    }

    fn wait_for_server(&self) {
        self.waiting_since.store(0, Ordering::Relaxed);
    }

    /// Resolves when the client has taken nothing for so long.
    pub(super) async fn stalled(&self, limit: Duration) {
        // Most answers are sent whole at once: those never get here, and cost no timer.
        self.answered.notified().await;
        loop {
            let deadline = match self.waiting_since.load(Ordering::Relaxed) {
                0 => Instant::now() + limit,
                since => self.opened + Duration::from_millis(since) + limit,
            };
            if deadline <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(deadline).await;
        }
    }
}

/// The body of an answer on h2c, in pieces, with the note of who waits for whom.
pub(super) struct StreamBody {
    body: Body,
    progress: Arc<StreamProgress>,
    /// What is left of a large piece.
    rest: Bytes,
    _in_flight: RequestInFlight,
}

impl StreamBody {
    pub(super) fn new(body: Body, progress: Arc<StreamProgress>, in_flight: RequestInFlight) -> Self {
        progress.wait_for_client();
        progress.answered.notify_one();
        Self { body, progress, rest: Bytes::new(), _in_flight: in_flight }
    }
}

impl HttpBody for StreamBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            self.progress.wait_for_server();
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                ended => return Poll::Ready(ended),
            }
        }
        let size = self.rest.len().min(PIECE_SIZE_MAX);
        let piece = self.rest.split_to(size);
        self.progress.wait_for_client();
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (inner, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower() + rest);
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    fn body(bytes: Vec<u8>) -> (StreamBody, Arc<StreamProgress>) {
        let progress = Arc::new(StreamProgress::new());
        (
            StreamBody::new(Body::from(bytes), Arc::clone(&progress), Arc::<Activity>::default().enter()),
            progress,
        )
    }

    #[tokio::test]
    async fn a_body_stays_what_it_is_in_pieces() {
        let bytes: Vec<u8> = (0..100_000_u32).map(|number| number as u8).collect();
        let (mut body, _) = body(bytes.clone());
        let mut received = Vec::new();
        while let Some(frame) = body.frame().await {
            assert_eq!(body.size_hint().exact().unwrap() as usize + received.len(), {
                let piece = frame.unwrap().into_data().unwrap();
                assert!(piece.len() <= PIECE_SIZE_MAX);
                received.extend_from_slice(&piece);
                bytes.len() - piece.len()
            });
        }
        assert_eq!(received, bytes);
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_client_that_takes_nothing_stalls() {
        let limit = Duration::from_mins(1);
        let (mut body, progress) = body(vec![0; 3 * PIECE_SIZE_MAX]);
        for _ in 0..2 {
            assert!(tokio::time::timeout(limit / 2, progress.stalled(limit)).await.is_err());
            progress.answered.notify_one();
            body.frame().await.unwrap().unwrap();
        }
        let begun = Instant::now();
        progress.stalled(limit).await;
        assert!(begun.elapsed() >= limit);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_has_nothing_to_send_is_not_a_stalled_client() {
        let limit = Duration::from_mins(1);
        let progress = Arc::new(StreamProgress::new());
        let never = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
        let mut body = StreamBody::new(never, Arc::clone(&progress), Arc::<Activity>::default().enter());
        assert!(tokio::time::timeout(Duration::ZERO, body.frame()).await.is_err());
        assert!(tokio::time::timeout(10 * limit, progress.stalled(limit)).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_when_nothing_is_in_flight_and_nothing_comes() {
        let (activity, limit) = (Arc::<Activity>::default(), Duration::from_secs(15));
        let request = activity.enter();
        assert!(tokio::time::timeout(10 * limit, activity.idle(limit)).await.is_err());
        drop(request);
        assert!(tokio::time::timeout(3 * limit, activity.idle(limit)).await.is_ok());
    }
}
