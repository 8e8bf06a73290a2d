//! An agent that is a component, as the runtime sees it.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use paddock_platform::identity::Tenant;

use super::{
    instance::{Live, NotStarted},
    module::Inner,
    options::Allowance,
    warm::Slot,
};
use crate::{
    handler::{Failure, FailureKind, Handled, Handler, Start},
    message::Message,
    turn::Turn,
};

/// How often others make way for an instance that the machine has no memory for.
const TRIES_MAX: u32 = 8;

#[derive(Debug)]
pub(super) struct WasmHandler {
    module: Arc<Inner>,
    allowance: Allowance,
    slot: Arc<Slot>,
}

impl WasmHandler {
    pub(super) fn new(module: Arc<Inner>, allowance: Allowance) -> Self {
        Self { module, allowance, slot: Arc::default() }
    }

    /// A new instance, which knows that it begins.
    async fn wake(&self, start: Start, turn: &mut Turn) -> Result<Live, Failure> {
        let mut tries = 0;
        let mut live = loop {
            match self.instantiate(turn.tenant().clone()).await {
                Ok(live) => break live,
                // The machine is less generous than it said: others make way.
                Err(NotStarted::NoMemory(detail)) if tries < TRIES_MAX => {
                    tries += 1;
                    tracing::warn!(detail, "there is no memory for an instance; another is put aside");
                    self.module.host.warm.put_one_aside("memory").await;
                }
                Err(error) => return Err(error.into()),
            }
        };
        live.init(start, turn).await?;
        Ok(live)
    }

    async fn instantiate(&self, tenant: Tenant) -> Result<Live, NotStarted> {
        let module = &self.module;
        let room = module.host.warm.room(module.memories).await;
        let busy = "all instances are busy (`agents.wasm.instances_max`), and none was done in time";
        let room = room.ok_or_else(|| NotStarted::Failed(Failure::retryable(busy)))?;
        Live::start(module, self.allowance, Some(room), tenant).await
    }

    async fn begin(&self, start: Start, turn: &mut Turn) -> Result<(), Failure> {
        let _call = self.module.host.call().await?;
        let mut live = self.slot.live.lock().await;
        *live = None;
        *live = Some(self.wake(start, turn).await?);
        self.slot.touch();
        self.module.host.warm.list(&self.slot);
        drop(live);
        self.module.host.warm.idle();
        Ok(())
    }

    async fn turn(&self, message: Arc<Message>, turn: &mut Turn) -> Result<(), Failure> {
        let _call = self.module.host.call().await?;
        let mut live = self.slot.live.lock().await;
        self.slot.touch();
        let mut instance = if let Some(instance) = live.take() {
            instance
        } else {
            // It was put aside, or dropped after a failure.
            let start = Start { is_first: false, snapshot: self.slot.take_snapshot() };
            self.wake(start, turn).await?
        };
        let outcome = instance.handle(message, turn).await;
        let keep = match &outcome {
            Ok(()) => true,
            Err(failure) => failure.kind == FailureKind::Invalid,
        };
        if keep {
            *live = Some(instance);
            self.module.host.warm.list(&self.slot);
        }
        drop(live);
        self.module.host.warm.idle();
        outcome
    }
}

impl Handler for WasmHandler {
    fn start<'a>(&'a mut self, start: Start, turn: &'a mut Turn) -> Handled<'a> {
        Handled::Later(Box::pin(self.begin(start, turn)))
    }

    fn handle<'a>(&'a mut self, message: Arc<Message>, turn: &'a mut Turn) -> Handled<'a> {
        Handled::Later(Box::pin(self.turn(message, turn)))
    }

    fn snapshot(&mut self) -> BoxFuture<'_, Option<Bytes>> {
        Box::pin(async {
            let mut live = self.slot.live.lock().await;
            match live.as_mut() {
                Some(live) => live.snapshot().await,
                // It was put aside before, and this is what it left.
                None => self.slot.take_snapshot(),
            }
        })
    }

    fn memory(&self) -> u64 {
        let Ok(live) = self.slot.live.try_lock() else { return 0 };
        live.as_ref().map_or(0, |live| live.memory() as u64)
    }
}
