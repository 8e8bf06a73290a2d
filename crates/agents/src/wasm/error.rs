//! Why a component is not an agent here.

use std::time::Duration;

use http::StatusCode;
use paddock_platform::{
    problem::{BODY_TOO_LARGE, INTERNAL, OVERLOADED, Problem, ProblemKind},
    units::ByteSize,
};

/// The bytes are not a component that can be an agent.
pub const COMPONENT_INVALID: ProblemKind =
    ProblemKind::new("component-invalid", StatusCode::UNPROCESSABLE_ENTITY, "Not an agent's component");

/// The interface that every agent exports.
pub(super) const HANDLER: &str = "paddock:agent/handler@0.1.0";

/// A component could not be made an agent.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WasmError {
    /// More bytes than are taken.
    #[error("the component has {size}, and {max} is the most (`agents.wasm.component_max`)")]
    TooLarge {
        /// What it has.
        size: ByteSize,
        /// The most.
        max: ByteSize,
    },
    /// Something else than WebAssembly.
    #[error("this is not WebAssembly; `paddock agents build` makes components")]
    NotWasm,
    /// WebAssembly of the old kind.
    #[error(
        "this is a core module, not a component; `paddock agents build` makes components, and so does `jco new` of a \
         module with the types of its world"
    )]
    CoreModule,
    /// WebAssembly that does not validate.
    #[error("the component is not valid: {0}")]
    Malformed(String),
    /// An import that agents do not get.
    #[error("the component imports `{import}`, which agents do not get{hint}")]
    ForbiddenImport {
        /// What it imports.
        import: String,
        /// How to do without.
        hint: &'static str,
    },
    /// An interface or function that every agent exports.
    #[error("the component lacks the export `{0}`; see sdk/wit/agent.wit")]
    MissingExport(String),
    /// An import or export whose type is not that of the world.
    #[error("the component was made for another version of `paddock:agent`: {0}")]
    WrongType(String),
    /// It needs more than any agent may have.
    #[error("the component needs {0}")]
    Oversized(String),
    /// `describe` failed or said what cannot be.
    #[error("the component does not describe itself: {0}")]
    Description(String),
    /// A limit that this server does not grant, or that the component cannot live with.
    #[error("`limits.{field}` {detail}")]
    Limit {
        /// Which limit.
        field: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// Compiling takes its time.
    #[error("the component is still being compiled; ask again")]
    StillCompiling,
    /// Too many components at once.
    #[error("{0} components wait to be compiled already (`agents.wasm.compiles_max`)")]
    TooManyCompiles(usize),
    /// The compiler, the pool of memories or the code cache.
    #[error("WebAssembly cannot be run here: {0}")]
    Engine(String),
}

impl From<WasmError> for Problem {
    fn from(error: WasmError) -> Self {
        let kind = match &error {
            WasmError::TooLarge { .. } => BODY_TOO_LARGE,
            WasmError::StillCompiling | WasmError::TooManyCompiles(_) => OVERLOADED,
            WasmError::Engine(_) => INTERNAL,
            WasmError::Limit { field, .. } => {
                return Self::new(COMPONENT_INVALID, error.to_string())
                    .with("field", format!("limits.{field}"));
            }
            _ => COMPONENT_INVALID,
        };
        let problem = Self::new(kind, error.to_string());
        if kind == OVERLOADED { problem.retry_after(Duration::from_secs(10)) } else { problem }
    }
}

impl WasmError {
    /// The engine's own words, without the levels between.
    pub(super) fn engine(error: &wasmtime::Error) -> Self {
        Self::Engine(one_line(error))
    }
}

/// An error of the engine and its causes in one line, bounded: parts of it are written by the guest.
pub(super) fn one_line(error: &wasmtime::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let text = cause.to_string();
        let text = text.lines().next().unwrap_or_default().trim();
        if text.is_empty() || line.ends_with(text) {
            continue;
        }
        if !line.is_empty() {
            line.push_str(": ");
        }
        line.push_str(text);
    }
    line.chars().filter(|char| !char.is_control()).take(500).collect()
}
