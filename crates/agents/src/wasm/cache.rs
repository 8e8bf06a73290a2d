//! Compiled code on disk: found by the component's digest and the engine's settings, checked, and mapped.
//!
//! A file is named after the component and after its own content, so it is either what was written or it is thrown away.
//! It appears whole, by being renamed. What is not there any more is compiled again.

use std::{
    fs::{self, File},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io,
    path::{Path, PathBuf},
    time::{Instant, SystemTime},
};

use metrics::{counter, histogram};
use wasmtime::{Engine, component::Component};

use super::{
    error::{WasmError, one_line},
    metrics::{AGENTS_WASM_CACHE_TOTAL, AGENTS_WASM_COMPILE_DURATION_SECONDS},
};

const SUFFIX: &str = "cwasm";

#[derive(Debug)]
pub(super) struct CodeCache {
    root: PathBuf,
    dir: PathBuf,
    size_max: u64,
}

impl CodeCache {
    pub(super) fn open(root: PathBuf, engine: &Engine, size_max: u64) -> Result<Self, WasmError> {
        // Also over this program's version: the settings of another one may be hashed alike.
        let mut settings = DefaultHasher::new();
        env!("CARGO_PKG_VERSION").hash(&mut settings);
        engine.precompile_compatibility_hash().hash(&mut settings);
        let dir = root.join(format!("{:016x}", settings.finish()));
        fs::create_dir_all(&dir).map_err(|error| {
            WasmError::Engine(format!("no directory for compiled code at {}: {error}", dir.display()))
        })?;
        Ok(Self { root, dir, size_max })
    }

    /// The code of a component: mapped from the disk, or compiled and kept there. Blocks, for long when it compiles.
    pub(super) fn code(&self, engine: &Engine, digest: &str, bytes: &[u8]) -> Result<Component, WasmError> {
        if let Some(component) = self.find(engine, digest) {
            counter!(AGENTS_WASM_CACHE_TOTAL, "outcome" => "hit").increment(1);
            return Ok(component);
        }
        counter!(AGENTS_WASM_CACHE_TOTAL, "outcome" => "miss").increment(1);
        let began = Instant::now();
        let code =
            engine.precompile_component(bytes).map_err(|error| WasmError::Malformed(one_line(&error)))?;
        histogram!(AGENTS_WASM_COMPILE_DURATION_SECONDS).record(began.elapsed().as_secs_f64());
        match self.keep(digest, &code) {
            // What compiles and cannot be loaded asks for more than the engine's pool has.
            Ok(path) => map(engine, &path).map_err(|error| oversized(&error)),
            Err(error) => {
                tracing::warn!(%error, dir = %self.dir.display(), "compiled code cannot be kept");
                load(engine, &code).map_err(|error| oversized(&error))
            }
        }
    }

    fn find(&self, engine: &Engine, digest: &str) -> Option<Component> {
        for entry in fs::read_dir(&self.dir).ok()?.flatten() {
            let name = entry.file_name();
            let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(digest)) else { continue };
            let Some(sum) = rest.strip_prefix('-').and_then(|rest| rest.strip_suffix(".cwasm")) else {
                continue;
            };
            let path = entry.path();
            match checked(engine, &path, sum) {
                Ok(component) => {
                    // The order in which they are thrown away; one that cannot be told is merely older.
                    let _ = File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
                    return Some(component);
                }
                Err(error) => {
                    counter!(AGENTS_WASM_CACHE_TOTAL, "outcome" => "corrupt").increment(1);
                    tracing::warn!(error, path = %path.display(), "compiled code is not as it was written; compiling again");
                    let _ = fs::remove_file(&path);
                }
            }
        }
        None
    }

    fn keep(&self, digest: &str, code: &[u8]) -> io::Result<PathBuf> {
        let sum = blake3::hash(code).to_hex();
        let path = self.dir.join(format!("{digest}-{sum}.{SUFFIX}"));
        let unfinished = self.dir.join(format!("{}.tmp", uuid::Uuid::now_v7().simple()));
        let written = fs::write(&unfinished, code).and_then(|()| fs::rename(&unfinished, &path));
        if written.is_err() {
            let _ = fs::remove_file(&unfinished);
        }
        written?;
        self.make_room(&path);
        Ok(path)
    }

    /// Throws away what was not used for longest, of other settings too, until the rest is within its bound.
    fn make_room(&self, newest: &Path) {
        let dirs = fs::read_dir(&self.root).into_iter().flatten().flatten();
        let files = dirs.filter_map(|dir| fs::read_dir(dir.path()).ok()).flatten().flatten();
        let mut kept: Vec<(SystemTime, u64, PathBuf)> = files
            .filter_map(|entry| {
                let about = entry.metadata().ok()?;
                Some((about.modified().ok()?, about.len(), entry.path()))
            })
            .collect();
        kept.sort();
        let mut total: u64 = kept.iter().map(|(_, size, _)| size).sum();
        for (_, size, path) in kept {
            if total <= self.size_max {
                return;
            }
            // What is mapped stays so until it is let go.
            if path != newest && fs::remove_file(&path).is_ok() {
                total -= size;
            }
        }
    }
}

fn oversized(error: &wasmtime::Error) -> WasmError {
    WasmError::Oversized(format!("more than agents get: {}", one_line(error)))
}

fn checked(engine: &Engine, path: &Path, sum: &str) -> Result<Component, String> {
    let mut hasher = blake3::Hasher::new();
    let read = File::open(path).and_then(|file| hasher.update_reader(file).map(|_| ()));
    read.map_err(|error| error.to_string())?;
    if hasher.finalize().to_hex().as_str() != sum {
        return Err("its checksum is another".to_owned());
    }
    map(engine, path).map_err(|error| one_line(&error))
}

#[expect(
    unsafe_code,
    reason = "the file has the checksum of what this engine's compiler wrote, and is never written again"
)]
fn map(engine: &Engine, path: &Path) -> wasmtime::Result<Component> {
    // SAFETY: as above; whoever can write into the server's own directory can replace the server.
    unsafe { Component::deserialize_file(engine, path) }
}

#[expect(unsafe_code, reason = "the bytes come from this engine's compiler a moment ago")]
fn load(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: as above.
    unsafe { Component::deserialize(engine, code) }
}
