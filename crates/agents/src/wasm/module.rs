//! A component that can be an agent: checked, compiled, and ready to be instantiated.

use std::{fmt, sync::Arc};

use paddock_platform::{identity::Tenant, units::ByteSize};
use wasmtime::component::{Component, ComponentExportIndex, InstancePre};

use super::{
    Host,
    bindings::{AgentIndices, paddock::agent::types as wit},
    error::{HANDLER, WasmError, one_line},
    guest::Guest,
    handler::WasmHandler,
    instance::{Live, NotStarted},
    options::Limits,
};
use crate::{
    handler::Handler,
    message::{AgentName, Capability},
};

/// What agents with snapshots export.
const KEEPER: &str = "paddock:agent/keeper@0.1.0";
/// The functions of [`HANDLER`].
const FUNCTIONS: [&str; 3] = ["describe", "init", "handle"];
/// The longest description, and the most capabilities and tools.
const DESCRIPTION_MAX: usize = 1_024;
const TERMS_MAX: usize = 64;

/// A component that can be an agent. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Module(Arc<Inner>);

/// What an agent says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// A name, for when it is deployed without one.
    pub name: Option<String>,
    /// A sentence.
    pub description: String,
    /// What it can be addressed by beside its name.
    pub capabilities: Vec<String>,
    /// The tools that it would like to call.
    pub tools: Vec<String>,
}

pub(super) struct Inner {
    pub(super) host: Arc<Host>,
    pub(super) pre: InstancePre<Guest>,
    pub(super) indices: AgentIndices,
    pub(super) snapshot: Option<ComponentExportIndex>,
    /// Memories of one instance; one at least.
    pub(super) memories: u32,
    /// What its largest memory begins with.
    memory_first: u64,
    digest: String,
    description: Description,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Module").field("digest", &self.digest).finish_non_exhaustive()
    }
}

impl Module {
    /// The component's digest, in hexadecimal digits.
    pub fn digest(&self) -> &str {
        &self.0.digest
    }

    /// What the agent says it is.
    pub fn description(&self) -> &Description {
        &self.0.description
    }

    /// Whether an agent of this component can run within these limits.
    pub fn check(&self, limits: &Limits) -> Result<(), WasmError> {
        let options = &self.0.host.options;
        limits.check(options)?;
        let first = ByteSize::bytes(self.0.memory_first);
        if limits.allowance(options).memory_max < first.as_usize() {
            let detail = format!("is less than the {first} that the component begins with");
            return Err(WasmError::Limit { field: "memory_max", detail });
        }
        Ok(())
    }

    /// An agent of this component. It is instantiated when it is first needed.
    pub fn handler(&self, limits: &Limits) -> Box<dyn Handler> {
        let allowance = limits.allowance(&self.0.host.options);
        Box::new(WasmHandler::new(Arc::clone(&self.0), allowance))
    }

    /// Whether nobody has it but the host.
    pub(super) fn is_idle(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    /// Checks a compiled component, and asks it what it is.
    pub(super) async fn new(
        host: Arc<Host>,
        component: Component,
        digest: String,
    ) -> Result<Self, WasmError> {
        functions(&component)?;
        let needs = component.resources_required();
        let needs = needs.ok_or_else(|| WasmError::Oversized("a core module that it imports".to_owned()))?;
        let memory_first = needs.max_initial_memory_size.unwrap_or(0) << 16;
        if needs.num_memories > 8 || needs.num_tables > 16 {
            let detail = format!(
                "{} memories and {} tables, and 8 and 16 are the most",
                needs.num_memories, needs.num_tables
            );
            return Err(WasmError::Oversized(detail));
        }
        let mistyped = |error: wasmtime::Error| WasmError::WrongType(one_line(&error));
        let pre = host.linker.instantiate_pre(&component).map_err(mistyped)?;
        let indices = AgentIndices::new(&pre).map_err(mistyped)?;
        let keeper = component.get_export_index(None, KEEPER);
        let snapshot = keeper.and_then(|keeper| component.get_export_index(Some(&keeper), "snapshot"));
        let nothing = Description {
            name: None,
            description: String::new(),
            capabilities: Vec::new(),
            tools: Vec::new(),
        };
        let mut inner = Inner {
            host,
            pre,
            indices,
            snapshot,
            memories: needs.num_memories.max(1),
            memory_first,
            digest,
            description: nothing,
        };
        inner.description = described(&inner).await?;
        Ok(Self(Arc::new(inner)))
    }
}

fn functions(component: &Component) -> Result<(), WasmError> {
    let missing = || WasmError::MissingExport(HANDLER.to_owned());
    let handler = component.get_export_index(None, HANDLER).ok_or_else(missing)?;
    for function in FUNCTIONS {
        if component.get_export_index(Some(&handler), function).is_none() {
            return Err(WasmError::MissingExport(format!("{HANDLER}#{function}")));
        }
    }
    Ok(())
}

/// Asks an instance that is thrown away.
async fn described(inner: &Inner) -> Result<Description, WasmError> {
    let most = inner.host.options.memory_max.max(inner.host.options.memory);
    let limits = Limits { memory_max: Some(most), ..Limits::default() };
    let allowance = limits.allowance(&inner.host.options);
    let _turn =
        inner.host.describing.acquire().await.map_err(|_| WasmError::Engine("shut down".to_owned()))?;
    let mut live =
        Live::start(inner, allowance, None, Tenant::local()).await.map_err(|error| match error {
            NotStarted::Mistyped(detail) => WasmError::WrongType(detail),
            NotStarted::NoMemory(detail) => WasmError::Engine(detail),
            NotStarted::Failed(failure) => WasmError::Description(failure.detail),
        })?;
    let said = live.describe().await.map_err(|failure| WasmError::Description(failure.detail))?;
    read(said).map_err(WasmError::Description)
}

fn read(said: wit::Description) -> Result<Description, String> {
    if said.description.len() > DESCRIPTION_MAX {
        return Err(format!("its description is longer than {DESCRIPTION_MAX} bytes"));
    }
    if said.capabilities.len() > TERMS_MAX || said.tools.len() > TERMS_MAX {
        return Err(format!("it names more than {TERMS_MAX} capabilities or tools"));
    }
    if let Some(name) = &said.name {
        name.parse::<AgentName>().map_err(|error| error.to_string())?;
    }
    for capability in &said.capabilities {
        capability.parse::<Capability>().map_err(|error| error.to_string())?;
    }
    let tool = |tool: &String| {
        (1..=128).contains(&tool.len())
            && tool.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.*".contains(&byte))
    };
    if let Some(odd) = said.tools.iter().find(|name| !tool(name)) {
        return Err(format!(
            "`{}` is not the name of a tool",
            odd.escape_debug().take(64).collect::<String>()
        ));
    }
    Ok(Description {
        name: said.name,
        description: said.description,
        capabilities: said.capabilities,
        tools: said.tools,
    })
}
