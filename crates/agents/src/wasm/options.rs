//! The `[agents.wasm]` section, and what one agent is allowed.

use paddock_platform::units::{ByteSize, HumanDuration, non_zero_duration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::error::WasmError;

/// Agents that are WebAssembly components: how many are kept ready, and what each may use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WasmOptions {
    /// Memories of agents that are kept ready at once (most agents have one); the agent that was idle for longest makes
    /// room for one more. Fewer where the machine allows a process fewer mappings (`vm.max_map_count`, four each).
    pub instances_max: u32,
    /// Messages that are handled at once, those that wait for a tool included.
    pub calls_max: u32,
    /// Memory of one agent, unless its definition says otherwise.
    pub memory: ByteSize,
    /// The most that a definition may say.
    pub memory_max: ByteSize,
    /// How long an agent may compute for one message, unless its definition says otherwise.
    #[serde(deserialize_with = "non_zero_duration")]
    pub call: HumanDuration,
    /// The most that a definition may say.
    #[serde(deserialize_with = "non_zero_duration")]
    pub call_max: HumanDuration,
    /// How long one message may take, waiting for tools included.
    #[serde(deserialize_with = "non_zero_duration")]
    pub turn_max: HumanDuration,
    /// How long an agent computes before it makes way for others.
    #[serde(deserialize_with = "non_zero_duration")]
    pub slice: HumanDuration,
    /// The largest component.
    pub component_max: ByteSize,
    /// How long a caller waits for a component to be compiled; compiling goes on, and is done when it is asked for again.
    #[serde(deserialize_with = "non_zero_duration")]
    pub compile_max: HumanDuration,
    /// Components that may wait to be compiled.
    pub compiles_max: usize,
    /// Compiled code on disk; what was not used for longest goes first.
    pub cache_max: ByteSize,
    /// Idle agents are put aside while less memory than this is available.
    pub memory_floor: ByteSize,
    /// Count instructions, so that definitions may limit them (`limits.fuel`); makes agents up to 8 % slower.
    pub fuel: bool,
}

impl Default for WasmOptions {
    fn default() -> Self {
        Self {
            instances_max: 12_000,
            calls_max: 512,
            memory: ByteSize::mib(64),
            memory_max: ByteSize::mib(1024),
            call: HumanDuration::from_secs(1),
            call_max: HumanDuration::from_secs(60),
            turn_max: HumanDuration::from_secs(120),
            slice: HumanDuration::from_millis(2),
            component_max: ByteSize::mib(32),
            compile_max: HumanDuration::from_secs(120),
            compiles_max: 16,
            cache_max: ByteSize::mib(2048),
            memory_floor: ByteSize::mib(256),
            fuel: false,
        }
    }
}

/// What one agent may use. What is left out is as `[agents.wasm]` says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Memory, for example `32MiB`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub memory_max: Option<ByteSize>,
    /// How long it may compute for one message, for example `500ms`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub call_max: Option<HumanDuration>,
    /// Instructions for one message, about; needs `[agents.wasm] fuel = true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fuel: Option<u64>,
}

/// [`Limits`] with the defaults filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Allowance {
    /// Bytes of linear memory.
    pub(super) memory_max: usize,
    /// Slices of computing for one message.
    pub(super) slices_max: u32,
    pub(super) fuel: Option<u64>,
}

impl Limits {
    /// Whether this server grants them.
    pub(super) fn check(&self, options: &WasmOptions) -> Result<(), WasmError> {
        let refused = |field, detail: String| Err(WasmError::Limit { field, detail });
        if let Some(memory) = self.memory_max
            && memory > options.memory_max
        {
            let most = options.memory_max;
            return refused(
                "memory_max",
                format!("is {memory}, and {most} is the most (`agents.wasm.memory_max`)"),
            );
        }
        if let Some(call) = self.call_max
            && (call.get() > options.call_max.get() || call.get().is_zero())
        {
            let most = options.call_max;
            return refused(
                "call_max",
                format!("is {call}, and may be up to {most} (`agents.wasm.call_max`)"),
            );
        }
        if self.fuel.is_some() && !options.fuel {
            return refused("fuel", "needs `[agents.wasm] fuel = true`".to_owned());
        }
        Ok(())
    }

    pub(super) fn allowance(&self, options: &WasmOptions) -> Allowance {
        let memory = self.memory_max.unwrap_or(options.memory).min(options.memory_max);
        let call = self.call_max.unwrap_or(options.call).get().min(options.call_max.get());
        let slices = call.as_nanos().div_ceil(options.slice.get().as_nanos().max(1));
        Allowance {
            memory_max: memory.as_usize(),
            slices_max: u32::try_from(slices).unwrap_or(u32::MAX).max(1),
            fuel: options.fuel.then(|| self.fuel.unwrap_or(u64::MAX)),
        }
    }
}
