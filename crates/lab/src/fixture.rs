//! Two small programs with known behaviour, to aim the lab at: a web server that does nothing, and a fixed piece of
//! work. The self-test starts them as processes of their own; scenarios may compare with the bare server.

use std::{convert::Infallible, future::Future, time::Instant};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use paddock_platform::task::Tasks;
use tokio::net::TcpListener;

/// Connections that are served at once; further ones wait to be accepted.
const CONNECTIONS_MAX: usize = 4_096;
/// Rounds of [`burn`] that take about a millisecond on a current processor.
pub const ROUNDS_PER_MILLI: u64 = 400_000;

/// Answers every request with `200 ok` until `stop` resolves.
pub async fn serve(listener: TcpListener, stop: impl Future<Output = ()>) {
    let tasks = Tasks::default();
    let places = std::sync::Arc::new(tokio::sync::Semaphore::new(CONNECTIONS_MAX));
    let mut stop = std::pin::pin!(stop);
    loop {
        // The semaphore is never closed.
        let Ok(place) = std::sync::Arc::clone(&places).acquire_owned().await else { return };
        let stream = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => return,
        };
        // A connection that was gone before it was accepted is no reason to stop.
        let Ok((stream, _)) = stream else { continue };
        let _ = stream.set_nodelay(true);
        tasks.spawn("fixture-connection", async move {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service_fn(answer));
            // Clients go away when they like.
            let _ = connection.await;
            drop(place);
        });
    }
}

async fn answer(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = Response::new(Full::new(Bytes::from_static(b"ok")));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    Ok(response)
}

/// What a piece of work took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Burned {
    /// CPU time of this thread, to the nanosecond, where the kernel keeps it; wall time otherwise.
    pub cpu_ms: f64,
    /// Wall time.
    pub wall_ms: f64,
    /// The outcome of the work, so that no compiler can leave it out.
    pub outcome: u64,
}

/// Does a fixed amount of arithmetic.
pub fn burn(rounds: u64) -> Burned {
    let (cpu_before, started) = (thread_cpu_ms(), Instant::now());
    let mut state = 1_u64;
    for round in 0..rounds {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(round) ^ (state >> 29);
    }
    let outcome = std::hint::black_box(state);
    let wall_ms = started.elapsed().as_secs_f64() * 1e3;
    let cpu_ms = cpu_before.zip(thread_cpu_ms()).map_or(wall_ms, |(before, now)| now - before);
    Burned { cpu_ms, wall_ms, outcome }
}

/// Time on a CPU of the calling thread, from its scheduler statistics.
fn thread_cpu_ms() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_ascii_whitespace().next()?.parse::<f64>().ok().map(|nanos| nanos / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_work_has_the_same_outcome_and_takes_time() {
        let (once, again) = (burn(200_000), burn(200_000));
        assert_eq!(once.outcome, again.outcome);
        assert!(once.cpu_ms > 0.0 && once.wall_ms > 0.0);
    }

    #[tokio::test]
    async fn the_server_answers_until_it_is_stopped() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let server = async {
            serve(listener, async {
                let _ = stopped.await;
            })
            .await;
        };
        let client = async move {
            use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            stop.send(()).unwrap();
            answer
        };
        let ((), answer) = tokio::join!(server, client);
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("ok"), "{answer}");
    }
}
