//! One turn, and what follows from it.

use std::{
    future::poll_fn,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::Poll,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use jiff::Timestamp;
use metrics::counter;
use serde_json::json;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tracing::Instrument;

use super::{CONFIG, Go, Life, RETRY_WAIT, SLOW_TURN, SNAPSHOT};
use crate::{
    cell::{AgentStatus, ORDER_RESTART},
    core::Trouble,
    dead::DeadReason,
    definition::AgentKind,
    handler::{Failure, FailureKind, Handled, Start},
    mailbox::Delivery,
    message::{self, Label, Message, Performative},
    metrics::{AGENTS_RESTARTS_TOTAL, AGENTS_SLOW_TOTAL},
    remind::{Alarm, Reminder},
    schedule::SCHEDULE,
    service::topics,
    supervise::Decision,
    trace,
};

impl Life {
    pub(super) async fn handle_one(&mut self, mut delivery: Delivery) -> Go {
        if self.is_over() {
            return self.interrupted(delivery);
        }
        if delivery.message.reply_by.is_some() && delivery.message.is_late(self.turn.now()) {
            self.give_up(&delivery, DeadReason::Late, "it came after its `reply_by`".to_owned());
            return Go::On;
        }
        if delivery.message.protocol.as_ref().is_some_and(|protocol| protocol.as_str() == SCHEDULE) {
            self.cell.has_scheduled.store(false, Ordering::Release);
        }
        if matches!(delivery.message.performative, Performative::Subscribe | Performative::Cancel)
            && let Some(go) = self.subscribed(&delivery).await
        {
            return go;
        }
        loop {
            if self.split.is_some() {
                self.choose(&delivery.message).await;
            }
            if self.handler.is_none() {
                match self.make_handler().await {
                    Ok(()) => {}
                    Err(None) => return self.interrupted(delivery),
                    Err(Some(failure)) => {
                        self.turn.roll_back();
                        match self.failed(&mut delivery, failure).await {
                            Some(go) => return go,
                            None => continue,
                        }
                    }
                }
            }
            match self.handle(Arc::clone(&delivery.message)).await {
                None => return self.interrupted(delivery),
                Some(Ok(())) => {
                    self.done.0 += 1;
                    self.succeeded(delivery.row).await;
                    return if self.is_slow || self.is_urgent {
                        self.checkpoint(false).await
                    } else {
                        Go::On
                    };
                }
                Some(Err(failure)) => {
                    self.turn.roll_back();
                    self.done.1 += 1;
                    if let Some(go) = self.failed(&mut delivery, failure).await {
                        return go;
                    }
                }
            }
        }
    }

    /// The server stops in the middle of a turn: the message waits again.
    pub(super) fn interrupted(&mut self, delivery: Delivery) -> Go {
        self.turn.roll_back();
        self.handler = None;
        self.batch.push_front(delivery);
        Go::End
    }

    pub(super) async fn make_handler(&mut self) -> Result<(), Option<Failure>> {
        if self.split.is_none() {
            self.in_force = self.cell.agent();
            self.agent = Arc::clone(&self.in_force);
        }
        let mut handler = (self.agent.factory)();
        let snapshot = self.turn.get(SNAPSHOT);
        if !self.agent.definition.config.is_null() {
            let config = Bytes::from(self.agent.definition.config.to_string());
            if self.turn.get(CONFIG).as_ref() != Some(&config) {
                self.turn.set(CONFIG, config).map_err(Some)?;
            }
        }
        let start = Start { is_first: self.is_first, snapshot };
        let (new, turn) = (&mut handler, &mut self.turn);
        let started = match std::panic::catch_unwind(AssertUnwindSafe(move || new.start(start, turn))) {
            Ok(Handled::Done(result)) => Some(result),
            Ok(Handled::Later(future)) => finish(future, &mut self.stop).await,
            Err(panic) => Some(Err(Failure::fatal(panicked(&*panic)))),
        };
        match started {
            None => Err(None),
            Some(Err(failure)) => Err(Some(Failure { kind: FailureKind::Fatal, ..failure })),
            Some(Ok(())) => {
                self.is_first = false;
                self.handler = Some(handler);
                self.succeeded(None).await;
                self.has_started();
                Ok(())
            }
        }
    }

    /// Makes the handler although no message asks for it yet: others come after the agent. What goes wrong the next
    /// message meets again, and it is dealt with then.
    pub(super) async fn start_early(&mut self) -> Go {
        // Where two versions share the agent, a message says which of them is to work.
        let is_to_start =
            self.handler.is_none() && self.split.is_none() && self.cell.status() == AgentStatus::Active;
        if is_to_start {
            match self.make_handler().await {
                Ok(()) => return self.checkpoint(false).await,
                Err(None) => {
                    self.turn.roll_back();
                    return Go::End;
                }
                Err(Some(failure)) => {
                    self.turn.roll_back();
                    self.core.log(&self.cell, tracing::Level::ERROR, &failure.detail);
                }
            }
        }
        self.has_started();
        Go::On
    }

    fn has_started(&self) {
        self.cell.has_started.store(true, Ordering::Release);
        self.core.started.notify_waiters();
    }

    /// One turn; `None` if the server stops meanwhile.
    pub(super) async fn handle(&mut self, message: Arc<Message>) -> Option<Result<(), Failure>> {
        let Some(handler) = &mut self.handler else {
            return Some(Err(Failure::retryable("the handler is gone")));
        };
        let conversation = message.conversation.clone();
        let kind = self.agent.definition.kind().name();
        let span = trace::turn(&self.cell.space.tenant, &self.cell.name, kind, &message);
        self.is_slow = false;
        let turn = &mut self.turn;
        let handle = AssertUnwindSafe(move || handler.handle(message, turn));
        let handled = span.in_scope(|| std::panic::catch_unwind(handle));
        match handled {
            Ok(Handled::Done(result)) => Some(result),
            Err(panic) => Some(Err(Failure::fatal(panicked(&*panic)))),
            Ok(Handled::Later(future)) => {
                let began = Instant::now();
                let result = finish(future, &mut self.stop).instrument(span.clone()).await;
                if let Some(Err(failure)) = &result {
                    span.record("otel.status_code", "ERROR");
                    span.record("error.message", failure.detail.as_str());
                }
                let took = began.elapsed();
                self.is_slow = took >= SLOW_TURN;
                self.core.meters.turn.record(took);
                let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
                self.cell.counts.busy_us.fetch_add(took_us, Ordering::Relaxed);
                if took >= self.core.limits.slow_after {
                    counter!(AGENTS_SLOW_TOTAL, "kind" => kind).increment(1);
                    tracing::warn!(
                        event.name = "AI/Agent/Execution",
                        agent = &*self.cell.key,
                        conversation = conversation.as_ref().map(Label::as_str),
                        duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
                        "a turn of an agent was slow"
                    );
                }
                result
            }
        }
    }

    /// A turn went well: what it wants done is done, or will be with the commit.
    pub(super) async fn succeeded(&mut self, row: Option<i64>) {
        self.inform_subscribers();
        self.turn.state.commit();
        self.is_urgent |= std::mem::take(&mut self.turn.is_urgent);
        if self.turn.state.is_dirty() && self.dirty_since.is_none() {
            self.dirty_since = Some(self.core.tick());
        }
        if let Some(row) = row {
            self.pending.consumed.push(row);
        }
        for (topic, is_on) in std::mem::take(&mut self.turn.subscriptions) {
            self.cell.space.subscribe(&topic, &self.cell, is_on);
        }
        for (after, message) in std::mem::take(&mut self.turn.reminders) {
            self.remind(after, message, row.is_some());
        }
        if self.turn.sends.is_empty() {
            return;
        }
        self.cell.counts.sent.fetch_add(self.turn.sends.len() as u64, Ordering::Relaxed);
        // What follows from a durable message is not seen before it is certain.
        if !self.pending.is_empty() || self.turn.sends.iter().any(|message| message.is_durable()) {
            self.pending.sends.append(&mut self.turn.sends);
            return;
        }
        let mut sends = std::mem::take(&mut self.turn.sends);
        for message in sends.drain(..) {
            if let Some(mut delivered) = self.core.forward_now(&self.cell.space, &message) {
                self.core.deliver_blocked(&message, &mut delivered).await;
                self.core.troubled(&self.cell.space, &message, delivered.troubles);
            }
        }
        self.turn.sends = sends;
    }

    /// Has a message sent later. Those of durable turns, and of all agents but those of the program, are in the store
    /// with what else the turn changed.
    fn remind(&mut self, after: Duration, mut message: Arc<Message>, is_durable: bool) {
        let (core, cell) = (&self.core, &self.cell);
        let Some(place) = core.reminders.admit() else {
            let text = "a reminder was left out: there are as many as may be (`agents.reminders_max`)";
            core.log(cell, tracing::Level::WARN, text);
            return;
        };
        // What lies beyond the end of time never comes.
        let Ok(at) = Timestamp::now().checked_add(after) else { return };
        let is_kept = is_durable || self.agent.definition.kind() != AgentKind::Native;
        if is_kept && let Some(message) = Arc::get_mut(&mut message) {
            message.delivery = message::Delivery::Durable;
        }
        let stored = is_kept.then(|| Arc::clone(&cell.key));
        let reminder = Reminder::new(&cell.space, message, stored, place);
        if is_kept {
            self.pending.reminders.push((at, reminder));
        } else {
            core.reminders.set(at, Alarm::Reminder(reminder));
        }
    }

    /// A turn failed. `None`: the message is tried again.
    pub(super) async fn failed(&mut self, delivery: &mut Delivery, failure: Failure) -> Option<Go> {
        delivery.attempts += 1;
        let message = &delivery.message;
        let entry = json!({
            "message": message.id.to_string(), "attempt": delivery.attempts, "detail": failure.detail,
        });
        let agent = Some(self.cell.name.as_str().to_owned());
        self.core.note(&self.cell.space, message.conversation.as_ref(), "failed", agent, entry);
        self.core.log(&self.cell, tracing::Level::ERROR, &failure.detail);
        let attempts_max = self.agent.definition.supervision.attempts_max;
        match failure.kind {
            FailureKind::Invalid => {
                self.give_up(delivery, DeadReason::Invalid, failure.detail);
                return Some(Go::On);
            }
            FailureKind::Fatal => {
                self.handler = None;
                if self.supervise(&failure) == Go::End {
                    // What waits is given up by who closed the mailbox; this one is not there any more.
                    self.give_up(delivery, DeadReason::Poison, failure.detail);
                    self.flush().await;
                    return Some(Go::On);
                }
            }
            FailureKind::Retryable => {}
        }
        if delivery.attempts >= attempts_max {
            let detail = format!("tried {} times; at last: {}", delivery.attempts, failure.detail);
            self.give_up(delivery, DeadReason::Poison, detail);
            return Some(Go::On);
        }
        let wait = RETRY_WAIT.0 * 2_u32.saturating_pow(delivery.attempts - 1);
        if self.pause(wait.min(RETRY_WAIT.1)).await {
            return None;
        }
        Some(self.interrupted(delivery.clone()))
    }

    /// What the supervisor says about a broken handler.
    pub(super) fn supervise(&self, failure: &Failure) -> Go {
        let (core, cell) = (&self.core, &self.cell);
        let supervision = &self.agent.definition.supervision;
        let decision = core.supervisor.failed(&cell.space.tenant, &cell.name, supervision, Instant::now());
        match decision {
            Decision::Restart(names) => {
                let kind = self.agent.definition.kind().name();
                for name in names {
                    let Some(other) = cell.space.agent(&name) else { continue };
                    other.counts.restarts.fetch_add(1, Ordering::Relaxed);
                    counter!(AGENTS_RESTARTS_TOTAL, "kind" => kind).increment(1);
                    core.publish(
                        &other,
                        topics::STATES.name,
                        "restarted",
                        json!({ "reason": failure.detail }),
                    );
                    if !Arc::ptr_eq(&other, cell) {
                        other.order(ORDER_RESTART);
                        core.nudge(&other);
                    }
                }
                Go::On
            }
            Decision::GiveUp(names) => {
                for name in names {
                    if let Some(other) = cell.space.agent(&name) {
                        core.stop(&other, &failure.detail);
                    }
                }
                Go::End
            }
        }
    }

    /// Puts a message aside that will not be handled.
    pub(super) fn give_up(&mut self, delivery: &Delivery, reason: DeadReason, detail: String) {
        let trouble = Trouble::new(Some(&self.cell.name), reason, detail);
        if !delivery.message.performative.is_answer() {
            self.core.tell_failure(&self.cell.space, &delivery.message, &trouble);
        }
        let letter = self.core.letter(&self.cell.space, &delivery.message, trouble);
        if let Some(row) = delivery.row {
            self.pending.consumed.push(row);
            self.pending.dead.push(letter);
        } else {
            self.core.dead.add(letter);
        }
    }
}

/// Waits for the rest of a turn; `None` if the server stops first.
async fn finish(
    future: BoxFuture<'_, Result<(), Failure>>,
    stop: &mut Pin<Box<WaitForCancellationFutureOwned>>,
) -> Option<Result<(), Failure>> {
    let mut future = AssertUnwindSafe(future).catch_unwind();
    poll_fn(|cx| {
        if let Poll::Ready(result) = future.poll_unpin(cx) {
            let result = result.unwrap_or_else(|panic| Err(Failure::fatal(panicked(&*panic))));
            return Poll::Ready(Some(result));
        }
        stop.as_mut().as_mut().poll(cx).map(|()| None)
    })
    .await
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the handler panicked: {}", text.unwrap_or("for no reason that it told"))
}
