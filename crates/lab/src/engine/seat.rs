//! A place for one operation in flight: waits for its turn, carries the operation out, notes what came of it.

use std::{future::Future, pin::Pin, sync::Arc, task::Poll, time::Duration};

use tokio::time::{Instant, Sleep};

use super::desk::Desk;
use crate::{
    driver::{Call, Failure, Outcome, Session},
    pacer::Arrival,
};

/// Operations that never wait are interrupted after so many, for the worker's other duties.
const WITHOUT_PAUSE_MAX: u32 = 256;

/// An operation that a seat has to carry out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    pub(super) arrival: Arrival,
    /// Since when a seat was free for it; later than the due time if it had to wait for one.
    pub(super) available_ns: u64,
}

/// Carries out operations until there are no more. `sessions` has one per step.
pub(super) async fn occupy(desk: Arc<Desk>, place: usize, mut sessions: Vec<Box<dyn Session>>) {
    let shared = Arc::clone(&desk.shared);
    let clock = desk.clock();
    let mut deadline = Deadline::new();
    let mut without_pause = 0;
    let mut free_ns = 0;
    while let Some(turn) = desk.next(place, free_ns).await {
        let number = shared.step_of(turn.arrival.index);
        let (Some(step), Some(session)) = (shared.load.steps.get(number), sessions.get_mut(number)) else {
            break;
        };
        let call = Call {
            index: turn.arrival.index,
            variables: &shared.load.variables,
            keep_body: desk.keeps_body(number),
        };
        let begin_ns = clock.now_ns();
        desk.began(place, number, turn, begin_ns);
        let outcome = match session.execute_now(call) {
            Some(outcome) => {
                without_pause += 1;
                outcome
            }
            None => match deadline.limit(step.timeout, session.execute(call)).await {
                Some(outcome) => outcome,
                None => {
                    Outcome::failed(Failure::new("timeout", format!("no answer within {:?}", step.timeout)))
                }
            },
        };
        free_ns = clock.now_ns();
        desk.ended(place, number, turn, begin_ns, free_ns, outcome);
        if without_pause >= WITHOUT_PAUSE_MAX {
            without_pause = 0;
            tokio::task::yield_now().await;
        }
    }
}

/// A timer that is set once for many operations: it is moved only when it fires too early.
struct Deadline {
    sleep: Pin<Box<Sleep>>,
}

impl Deadline {
    fn new() -> Self {
        Self { sleep: Box::pin(tokio::time::sleep(Duration::ZERO)) }
    }

    /// The future's output, or `None` when the time is over.
    async fn limit<F: Future + Unpin>(&mut self, timeout: Duration, mut future: F) -> Option<F::Output> {
        let mut at = None;
        std::future::poll_fn(|context| {
            if let Poll::Ready(output) = Pin::new(&mut future).poll(context) {
                return Poll::Ready(Some(output));
            }
            let at = *at.get_or_insert_with(|| Instant::now() + timeout);
            if self.sleep.deadline() > at {
                self.sleep.as_mut().reset(at);
            }
            while self.sleep.as_mut().poll(context).is_ready() {
                if self.sleep.deadline() >= at || Instant::now() >= at {
                    return Poll::Ready(None);
                }
                self.sleep.as_mut().reset(at);
            }
            Poll::Pending
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_deadline_serves_many_operations_and_cuts_off_the_one_that_hangs() {
        let mut deadline = Deadline::new();
        for _ in 0..5 {
            let quick = Box::pin(tokio::time::sleep(Duration::from_millis(700)));
            assert!(deadline.limit(Duration::from_secs(1), quick).await.is_some());
        }
        let began = Instant::now();
        let hanging = Box::pin(std::future::pending::<()>());
        assert!(deadline.limit(Duration::from_secs(3), hanging).await.is_none());
        assert_eq!(began.elapsed().as_secs(), 3);
        let began = Instant::now();
        let hanging = Box::pin(std::future::pending::<()>());
        assert!(deadline.limit(Duration::from_secs(1), hanging).await.is_none());
        assert_eq!(began.elapsed().as_secs(), 1);
    }
}
