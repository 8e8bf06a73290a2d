//! Bytes in both directions between a page and its host, until either side is done or nothing moves any more.

use std::{
    io,
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll, ready},
    time::Duration,
};

use metrics::Counter;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional_with_sizes},
    net::TcpStream,
    time::{Instant, sleep_until},
};

/// Bytes buffered per connection and direction.
const BUFFER_SIZE: usize = 16 * 1024;

/// Counters of the two directions.
pub(super) struct Traffic {
    pub(super) sent: Counter,
    pub(super) received: Counter,
}

/// Copies between the two until both directions have ended, or neither moved for `idle`.
pub(super) async fn relay(
    client: TcpStream,
    host: TcpStream,
    traffic: &Traffic,
    idle: Duration,
) -> io::Result<()> {
    let activity = Activity::new();
    let mut client = Watched { stream: client, read: &traffic.sent, activity: &activity };
    let mut host = Watched { stream: host, read: &traffic.received, activity: &activity };
    tokio::select! {
        copied = copy_bidirectional_with_sizes(&mut client, &mut host, BUFFER_SIZE, BUFFER_SIZE) => copied.map(drop),
        () = activity.ceases_for(idle) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// When bytes moved last.
struct Activity {
    start: Instant,
    last_ms: AtomicU64,
}

impl Activity {
    fn new() -> Self {
        Self { start: Instant::now(), last_ms: AtomicU64::new(0) }
    }

    fn mark(&self) {
        let elapsed = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(elapsed, Ordering::Relaxed);
    }

    async fn ceases_for(&self, idle: Duration) {
        loop {
            let last = Duration::from_millis(self.last_ms.load(Ordering::Relaxed));
            let end = self.start + last + idle;
            if Instant::now() >= end {
                return;
            }
            sleep_until(end).await;
        }
    }
}

/// A stream that counts what is read from it.
struct Watched<'a> {
    stream: TcpStream,
    read: &'a Counter,
    activity: &'a Activity,
}

impl AsyncRead for Watched<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.read.increment((buf.filled().len() - before) as u64);
        self.activity.mark();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched<'_> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.activity.mark();
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
