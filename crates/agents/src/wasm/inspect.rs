//! What a component asks for and offers, read before anything is compiled.

use paddock_platform::units::ByteSize;
use wasmparser::{Encoding, Parser, Payload};

use super::error::{HANDLER, WasmError};

/// The package of agents, and the version of it that this server knows.
const PACKAGE: &str = "paddock:agent/";
const VERSION: &str = "0.1.";
/// What agents may import.
const INTERFACES: [&str; 7] = ["types", "messaging", "state", "tools", "log", "time", "random"];

/// Refuses what cannot become an agent, and says why.
pub(super) fn inspect(bytes: &[u8], memory_max: ByteSize) -> Result<(), WasmError> {
    if !bytes.starts_with(b"\0asm") {
        return Err(WasmError::NotWasm);
    }
    let Outline { imports, exports, memory } = outline(bytes)?;
    for import in &imports {
        if !is_known(import) {
            return Err(WasmError::ForbiddenImport {
                import: import.chars().take(200).collect(),
                hint: hint(import),
            });
        }
    }
    let name = HANDLER.split('@').next().unwrap_or(HANDLER);
    if !exports.iter().any(|export| export.strip_prefix(name).is_some_and(is_version)) {
        return Err(WasmError::MissingExport(HANDLER.to_owned()));
    }
    if memory > memory_max {
        let detail = format!(
            "{memory} of memory to begin with, and {memory_max} is the most (`agents.wasm.memory_max`)"
        );
        return Err(WasmError::Oversized(detail));
    }
    Ok(())
}

fn is_version(rest: &str) -> bool {
    rest.strip_prefix('@').is_some_and(|version| version.starts_with(VERSION))
}

fn is_known(import: &str) -> bool {
    let Some(rest) = import.strip_prefix(PACKAGE) else { return false };
    INTERFACES.iter().any(|interface| rest.strip_prefix(interface).is_some_and(is_version))
}

fn hint(import: &str) -> &'static str {
    if import.starts_with("wasi:") || import.starts_with("wasi_snapshot") {
        "; they have no files, no network and no environment: build it with `paddock agents build`, or with \
         `--stub-wasi`"
    } else if import.starts_with(PACKAGE) {
        "; this server knows `paddock:agent@0.1`"
    } else {
        "; see sdk/wit/agent.wit for what they do get"
    }
}

/// What the outermost component imports and exports, and the largest memory that any of its modules begins with.
struct Outline {
    imports: Vec<String>,
    exports: Vec<String>,
    memory: ByteSize,
}

/// The size of a page, where a memory does not say otherwise.
const PAGE_LOG2: u32 = 16;

fn outline(bytes: &[u8]) -> Result<Outline, WasmError> {
    let malformed = |error: wasmparser::BinaryReaderError| WasmError::Malformed(error.message().to_owned());
    let mut outline = Outline { imports: Vec::new(), exports: Vec::new(), memory: ByteSize::bytes(0) };
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(malformed)? {
            Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => {
                return Err(WasmError::CoreModule);
            }
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    outline.imports.push(import.map_err(malformed)?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    outline.exports.push(export.map_err(malformed)?.name.name.to_owned());
                }
            }
            Payload::MemorySection(section) => {
                for memory in section {
                    let memory = memory.map_err(malformed)?;
                    let page =
                        1_u64.checked_shl(memory.page_size_log2.unwrap_or(PAGE_LOG2)).unwrap_or(u64::MAX);
                    outline.memory = outline.memory.max(ByteSize::bytes(memory.initial.saturating_mul(page)));
                }
            }
            _ => {}
        }
    }
    Ok(outline)
}
