//! A running instance of a component.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use metrics::counter;
use paddock_platform::identity::Tenant;
use wasmtime::{PoolConcurrencyLimitError, Store, Trap, component::TypedFunc};

use super::{
    Host,
    bindings::{Agent, paddock::agent::types as wit},
    convert,
    error::one_line,
    guest::{CutOff, FIRST_TICKS, Guest},
    metrics::{AGENTS_WASM_CUT_OFF_TOTAL, AGENTS_WASM_STARTS_TOTAL},
    module::Inner,
    options::Allowance,
    warm::Room,
};
use crate::{
    handler::{Failure, FailureKind, Start},
    message::Message,
    turn::Turn,
};

/// The largest snapshot that is kept.
const SNAPSHOT_MAX: usize = 1 << 20;
/// What an agent may move to the host in one call: a message and what is around it, or a value of the state.
const HOST_CALL_MAX: usize = 32 << 20;

/// A running instance. Dropped after every failure but an [`FailureKind::Invalid`] one: what it remembers may then differ
/// from its committed state.
pub(super) struct Live {
    store: Store<Guest>,
    agent: Agent,
    snapshot: Option<TypedFunc<(), (Vec<u8>,)>>,
    host: Arc<Host>,
    allowance: Allowance,
    _room: Option<Room>,
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").field("guest", self.store.data()).finish_non_exhaustive()
    }
}

/// An instance was not made.
#[derive(Debug)]
pub(super) enum NotStarted {
    /// Its exports have other types than those of the world.
    Mistyped(String),
    /// The pool or the machine has no memory for it now.
    NoMemory(String),
    /// Its own code failed, which may run already.
    Failed(Failure),
}

impl From<NotStarted> for Failure {
    fn from(error: NotStarted) -> Self {
        match error {
            NotStarted::Mistyped(detail) => Self::fatal(detail),
            NotStarted::NoMemory(detail) => {
                Self::retryable(format!("there is no memory for an instance: {detail}"))
            }
            NotStarted::Failed(failure) => failure,
        }
    }
}

impl Live {
    /// Makes an instance, for an agent of this tenant.
    pub(super) async fn start(
        module: &Inner,
        allowance: Allowance,
        room: Option<Room>,
        tenant: Tenant,
    ) -> Result<Self, NotStarted> {
        let host = Arc::clone(&module.host);
        let mut store = Store::new(&host.engine, Guest::new(Arc::clone(&host.gate), allowance, tenant));
        store.limiter(|guest| &mut guest.memory);
        store.set_hostcall_fuel(HOST_CALL_MAX);
        store.epoch_deadline_callback(|mut store| store.data_mut().slice_ended());
        ready(&mut store, allowance);
        counter!(AGENTS_WASM_STARTS_TOTAL).increment(1);
        let running = host.clock.run();
        let instantiating = module.pre.instantiate_async(&mut store);
        let made = within(host.options.turn_max.get(), instantiating).await;
        store.data_mut().leave();
        drop(running);
        let instance = match made {
            Ok(instance) => instance,
            Err(error) if is_no_memory(&error) => return Err(NotStarted::NoMemory(one_line(&error))),
            Err(error) => return Err(NotStarted::Failed(cut_off(&error, store.data(), &host))),
        };
        let mistyped = |error: wasmtime::Error| NotStarted::Mistyped(one_line(&error));
        let agent = module.indices.load(&mut store, &instance).map_err(mistyped)?;
        let snapshot = match &module.snapshot {
            Some(export) => Some(instance.get_typed_func(&mut store, export).map_err(mistyped)?),
            None => None,
        };
        Ok(Self { store, agent, snapshot, host, allowance, _room: room })
    }

    pub(super) async fn describe(&mut self) -> Result<wit::Description, Failure> {
        ready(&mut self.store, self.allowance);
        let host = Arc::clone(&self.host);
        let _running = host.clock.run();
        self.store.data_mut().enter(None, None);
        let calling = self.agent.paddock_agent_handler().call_describe(&mut self.store);
        let described = within(host.options.turn_max.get(), calling).await;
        self.store.data_mut().leave();
        described.map_err(|error| cut_off(&error, self.store.data(), &host))
    }

    pub(super) async fn init(&mut self, start: Start, turn: &mut Turn) -> Result<(), Failure> {
        let start = wit::Start {
            name: turn.name().to_string(),
            is_first: start.is_first,
            snapshot: start.snapshot.map(|bytes| bytes.to_vec()),
        };
        self.begin(turn, None);
        let host = Arc::clone(&self.host);
        let _running = host.clock.run();
        let calling = self.agent.paddock_agent_handler().call_init(&mut self.store, &start);
        let outcome = within(host.options.turn_max.get(), calling).await;
        self.end(turn, outcome)
    }

    pub(super) async fn handle(&mut self, message: Arc<Message>, turn: &mut Turn) -> Result<(), Failure> {
        let given = convert::message(&message);
        self.begin(turn, Some(message));
        let host = Arc::clone(&self.host);
        let _running = host.clock.run();
        let calling = self.agent.paddock_agent_handler().call_handle(&mut self.store, &given);
        let outcome = within(host.options.turn_max.get(), calling).await;
        self.end(turn, outcome)
    }

    /// What the agent wants to find again. Nothing if it has no snapshots, or fails to make one: they are a convenience.
    pub(super) async fn snapshot(&mut self) -> Option<Bytes> {
        let export = self.snapshot?;
        ready(&mut self.store, self.allowance);
        let host = Arc::clone(&self.host);
        let _running = host.clock.run();
        self.store.data_mut().enter(None, None);
        let calling = export.call_async(&mut self.store, ());
        let outcome = within(host.options.call.get(), calling).await;
        self.store.data_mut().leave();
        match outcome {
            Ok((bytes,)) if bytes.len() <= SNAPSHOT_MAX => Some(Bytes::from(bytes)),
            Ok((bytes,)) => {
                tracing::warn!(
                    bytes = bytes.len(),
                    "an agent's snapshot is over {SNAPSHOT_MAX} bytes and not kept"
                );
                None
            }
            Err(error) => {
                tracing::warn!(error = one_line(&error), "an agent's snapshot failed");
                None
            }
        }
    }

    /// Bytes of linear memory.
    pub(super) fn memory(&self) -> usize {
        self.store.data().memory.used
    }

    fn begin(&mut self, turn: &mut Turn, message: Option<Arc<Message>>) {
        ready(&mut self.store, self.allowance);
        self.store.data_mut().enter(Some(turn.lend()), message);
    }

    fn end(
        &mut self,
        turn: &mut Turn,
        outcome: wasmtime::Result<Result<(), wit::Failure>>,
    ) -> Result<(), Failure> {
        if let Some(lent) = self.store.data_mut().leave() {
            *turn = lent;
        }
        match outcome {
            Ok(Ok(())) => Ok(()),
            Ok(Err(failure)) => Err(convert::failure(failure)),
            Err(error) => Err(cut_off(&error, self.store.data(), &self.host)),
        }
    }
}

/// Whether the pool is full, or the machine lets this process map no more.
fn is_no_memory(error: &wasmtime::Error) -> bool {
    let out_of_memory = |cause: &(dyn std::error::Error + 'static)| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::OutOfMemory)
            || cause.to_string().contains("(os error 12)")
    };
    error.is::<PoolConcurrencyLimitError>() || error.chain().any(out_of_memory)
}

/// The time and the instructions of the next call.
fn ready(store: &mut Store<Guest>, allowance: Allowance) {
    store.set_epoch_deadline(FIRST_TICKS);
    if let Some(fuel) = allowance.fuel
        && let Err(error) = store.set_fuel(fuel)
    {
        tracing::error!(error = one_line(&error), "instructions cannot be limited");
    }
}

#[derive(Debug, thiserror::Error)]
#[error("it took longer than a turn may")]
struct TookTooLong;

async fn within<T>(
    turn_max: Duration,
    calling: impl Future<Output = wasmtime::Result<T>>,
) -> wasmtime::Result<T> {
    match tokio::time::timeout(turn_max, calling).await {
        Ok(outcome) => outcome,
        Err(_) => Err(TookTooLong.into()),
    }
}

/// What to say of a call that did not return.
fn cut_off(error: &wasmtime::Error, guest: &Guest, host: &Host) -> Failure {
    let (reason, kind, detail) = if guest.memory.refused {
        let max = paddock_platform::units::ByteSize::bytes(guest.memory.max as u64);
        ("memory", FailureKind::Fatal, format!("the agent needs more than its {max} of memory"))
    } else if error.is::<TookTooLong>() {
        let max = host.options.turn_max;
        ("wait", FailureKind::Retryable, format!("the agent took longer than {max} (`agents.wasm.turn_max`)"))
    } else if let Some(cut_off) = error.downcast_ref::<CutOff>() {
        let reason = if *cut_off == CutOff::Time { "time" } else { "trap" };
        (reason, FailureKind::Fatal, format!("the agent was cut off: {cut_off}"))
    } else if matches!(error.downcast_ref::<Trap>(), Some(Trap::OutOfFuel)) {
        (
            "fuel",
            FailureKind::Fatal,
            "the agent was cut off: it used up its instructions (`limits.fuel`)".to_owned(),
        )
    } else {
        ("trap", FailureKind::Fatal, format!("the agent failed: {}", one_line(error)))
    };
    counter!(AGENTS_WASM_CUT_OFF_TOTAL, "reason" => reason).increment(1);
    Failure { kind, detail }
}
