//! What the host knows of a running agent, and what it does when the agent asks for something.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use paddock_platform::identity::Tenant;
use wasmtime::{ResourceLimiter, UpdateDeadline};

use super::{
    bindings::paddock::agent::{log, messaging, random, state, time, tools, types},
    convert,
    engine::CORE_INSTANCES_MAX,
    gate::{Gate, Place},
    options::Allowance,
};
use crate::{
    message::{Draft, Message, Topic},
    turn::Turn,
};

/// Random bytes in one call.
const RANDOM_MAX: u32 = 64 << 10;
/// Elements of all tables of an agent; an interpreter has some ten thousand functions.
pub(super) const TABLE_ELEMENTS_MAX: usize = 64 << 10;

/// The agent may not go on. Why is beside it, in [`Guest::cut_off`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum CutOff {
    #[error("it computed for longer than it may")]
    Time,
    #[error("it called something while it described itself or was put aside")]
    NoTurn,
    #[error("it asked for more than {RANDOM_MAX} random bytes at once")]
    Random,
}

/// What a store holds beside the instance.
pub(super) struct Guest {
    pub(super) turn: Option<Turn>,
    pub(super) message: Option<Arc<Message>>,
    tenant: Tenant,
    pub(super) memory: MemoryUse,
    now_ms: u64,
    began: Instant,
    slices: u32,
    slices_max: u32,
    /// Whether a tool was waited for since the last slice began: that time was not spent computing.
    waited: bool,
    gate: Arc<Gate>,
    /// Shared with the future that waits for it.
    place: Arc<Mutex<Option<Place>>>,
}

impl fmt::Debug for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guest").field("memory", &self.memory).finish_non_exhaustive()
    }
}

impl Guest {
    pub(super) fn new(gate: Arc<Gate>, allowance: Allowance, tenant: Tenant) -> Self {
        Self {
            turn: None,
            message: None,
            tenant,
            memory: MemoryUse { used: 0, max: allowance.memory_max, refused: false },
            now_ms: 0,
            began: Instant::now(),
            slices: 0,
            slices_max: allowance.slices_max,
            waited: false,
            gate,
            place: Arc::default(),
        }
    }

    /// Before each call.
    pub(super) fn enter(&mut self, turn: Option<Turn>, message: Option<Arc<Message>>) {
        if let Some(turn) = &turn {
            self.now_ms = u64::try_from(turn.now().as_millisecond()).unwrap_or(0);
            if self.tenant != *turn.tenant() {
                self.tenant = turn.tenant().clone();
            }
        }
        self.turn = turn;
        self.message = message;
        self.slices = 0;
        self.waited = false;
        self.memory.refused = false;
    }

    /// After each call; gives the turn back.
    pub(super) fn leave(&mut self) -> Option<Turn> {
        self.message = None;
        self.make_way();
        self.turn.take()
    }

    /// At the end of a slice: on to the next one when there is a place, or no further.
    pub(super) fn slice_ended(&mut self) -> wasmtime::Result<UpdateDeadline> {
        if std::mem::take(&mut self.waited) {
            return Ok(UpdateDeadline::Continue(FIRST_TICKS));
        }
        self.slices += 1;
        self.make_way();
        if self.slices > self.slices_max {
            return Err(CutOff::Time.into());
        }
        let entering = Arc::clone(&self.gate).enter(self.tenant.clone(), self.slices);
        let place = Arc::clone(&self.place);
        Ok(UpdateDeadline::YieldCustom(
            NEXT_TICKS,
            Box::pin(async move {
                let entered = entering.await;
                *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(entered);
            }),
        ))
    }

    fn make_way(&self) {
        let place = self.place.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(place);
    }

    fn turn(&mut self) -> wasmtime::Result<&mut Turn> {
        self.turn.as_mut().ok_or_else(|| CutOff::NoTurn.into())
    }
}

/// Ticks of the clock until a call is asked to make way: one of them passes whole, whenever the call began.
pub(super) const FIRST_TICKS: u64 = 2;
/// The same for those that were asked: they begin about when the clock ticks.
const NEXT_TICKS: u64 = 1;

/// Linear memory of an agent, all of its memories together.
#[derive(Clone, Copy, Debug)]
pub(super) struct MemoryUse {
    pub(super) used: usize,
    pub(super) max: usize,
    /// Whether more was asked for than there may be, in this call.
    pub(super) refused: bool,
}

impl ResourceLimiter for MemoryUse {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current);
        if self.used.saturating_add(more) > self.max {
            self.refused = true;
            return Ok(false);
        }
        self.used += more;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS_MAX)
    }

    fn instances(&self) -> usize {
        CORE_INSTANCES_MAX as usize
    }

    fn tables(&self) -> usize {
        16
    }

    fn memories(&self) -> usize {
        8
    }
}

impl types::Host for Guest {}

impl messaging::Host for Guest {
    fn send(&mut self, draft: types::Draft) -> wasmtime::Result<Result<String, String>> {
        let turn = self.turn()?;
        Ok(convert::draft(draft).map_err(|error| error.to_string()).and_then(|draft| send(turn, draft)))
    }

    fn reply(
        &mut self,
        performative: types::Performative,
        content: types::Content,
    ) -> wasmtime::Result<Result<String, String>> {
        let Some(message) = self.message.clone() else {
            self.turn()?;
            return Ok(Err("there is no message to answer while the agent starts".to_owned()));
        };
        let turn = self.turn()?;
        let content = match convert::content(content) {
            Ok(content) => content,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let draft = Draft::reply(&message, convert::performative_of(performative)).content(content);
        Ok(send(turn, draft))
    }

    fn remind(&mut self, after_ms: u64, draft: types::Draft) -> wasmtime::Result<Result<(), String>> {
        let turn = self.turn()?;
        Ok(convert::draft(draft).map_err(|error| error.to_string()).and_then(|draft| {
            turn.remind(Duration::from_millis(after_ms), draft).map_err(|failure| failure.detail)
        }))
    }

    fn subscribe(&mut self, topic: String) -> wasmtime::Result<Result<(), String>> {
        let turn = self.turn()?;
        Ok(topic.parse::<Topic>().map(|topic| turn.subscribe(topic)).map_err(|error| error.to_string()))
    }

    fn unsubscribe(&mut self, topic: String) -> wasmtime::Result<Result<(), String>> {
        let turn = self.turn()?;
        Ok(topic.parse::<Topic>().map(|topic| turn.unsubscribe(&topic)).map_err(|error| error.to_string()))
    }
}

fn send(turn: &mut Turn, draft: Draft) -> Result<String, String> {
    turn.send(draft).map(|id| id.to_string()).map_err(|failure| failure.detail)
}

impl state::Host for Guest {
    fn get(&mut self, key: String) -> wasmtime::Result<Option<Vec<u8>>> {
        Ok(self.turn()?.get(&key).map(|value| value.to_vec()))
    }

    fn set(&mut self, key: String, value: Vec<u8>) -> wasmtime::Result<Result<(), String>> {
        Ok(self.turn()?.set(&key, Bytes::from(value)).map_err(|failure| failure.detail))
    }

    fn remove(&mut self, key: String) -> wasmtime::Result<()> {
        self.turn()?.remove(&key);
        Ok(())
    }

    fn keys(&mut self, prefix: String) -> wasmtime::Result<Vec<String>> {
        Ok(self.turn()?.keys(&prefix))
    }
}

impl tools::Host for Guest {
    fn is_granted(&mut self, tool: String) -> wasmtime::Result<bool> {
        Ok(self.turn()?.may_call(&tool))
    }

    async fn call(
        &mut self,
        tool: String,
        input: String,
    ) -> wasmtime::Result<Result<String, tools::Problem>> {
        let input = match serde_json::from_str(&input) {
            Ok(input) => input,
            Err(error) => {
                let detail = format!("the input is not JSON: {error}");
                return Ok(Err(tools::Problem { kind: "invalid-request".to_owned(), detail }));
            }
        };
        let calling = self.turn()?.call_tool(&tool, input);
        self.make_way();
        let answer = calling.await;
        self.waited = true;
        Ok(answer
            .map(|output| output.to_string())
            .map_err(|problem| tools::Problem { kind: problem.kind.slug.to_owned(), detail: problem.detail }))
    }
}

impl log::Host for Guest {
    fn write(&mut self, level: log::Level, text: String) -> wasmtime::Result<()> {
        let level = match level {
            log::Level::Trace => tracing::Level::TRACE,
            log::Level::Debug => tracing::Level::DEBUG,
            log::Level::Info => tracing::Level::INFO,
            log::Level::Warn => tracing::Level::WARN,
            log::Level::Error => tracing::Level::ERROR,
        };
        // While it describes itself nobody listens.
        if let Some(turn) = &self.turn {
            turn.log(level, &text);
        }
        Ok(())
    }
}

impl time::Host for Guest {
    fn now(&mut self) -> wasmtime::Result<u64> {
        Ok(self.now_ms)
    }

    fn elapsed(&mut self) -> wasmtime::Result<u64> {
        Ok(u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

impl random::Host for Guest {
    fn bytes(&mut self, count: u32) -> wasmtime::Result<Vec<u8>> {
        if count > RANDOM_MAX {
            return Err(CutOff::Random.into());
        }
        let mut bytes = vec![0; count as usize];
        aws_lc_rs::rand::fill(&mut bytes)
            .map_err(|_| wasmtime::Error::msg("the machine has no random bytes"))?;
        Ok(bytes)
    }
}
