//! The tools that a language needs: where they are, and how to get those that are missing.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::Language;

/// The target that components of Rust are compiled for.
pub(super) const RUST_TARGET: &str = "wasm32-unknown-unknown";

/// How agents in Rust are compiled.
#[derive(Debug)]
pub(super) enum RustTools {
    /// The installed compiler knows the target.
    Own,
    /// Debian's second compiler, which brings the sources of the standard library, and a linker.
    Debian { rustc: PathBuf, linker: PathBuf },
}

/// What is missing to build a project in this directory, with the command that installs it; `None` if nothing is.
pub fn missing(language: Language, dir: &Path) -> Option<String> {
    match language {
        Language::Rust => rust().err(),
        Language::Ts => node_tool(dir, "componentize-qjs").err(),
        Language::Py => componentize_py(dir).err(),
        Language::C => clang().err(),
    }
}

pub(super) fn rust() -> Result<RustTools, String> {
    if on_path("cargo").is_none() {
        return Err("cargo is missing; install Rust from https://rustup.rs".to_owned());
    }
    if rustc_knows_target().unwrap_or(false) {
        return Ok(RustTools::Own);
    }
    let rustc = PathBuf::from("/usr/bin/rustc");
    let sources = Path::new("/usr/lib/rustlib/src/rust/library/std");
    match newest("/usr/bin", "lld-") {
        Some(linker) if rustc.exists() && sources.exists() => Ok(RustTools::Debian { rustc, linker }),
        _ => Err(format!(
            "the standard library for {RUST_TARGET} is missing; run `rustup target add {RUST_TARGET}`, or on Debian \
             `apt install rustc-web rust-web-src lld-22`"
        )),
    }
}

fn rustc_knows_target() -> Option<bool> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output =
        Command::new(rustc).args(["--print", "target-libdir", "--target", RUST_TARGET]).output().ok()?;
    let dir = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
    let libraries = fs::read_dir(dir).ok()?;
    Some(libraries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("libstd-")))
}

/// A tool of npm, of the project or of a directory above it, as node itself looks for packages.
pub(super) fn node_tool(dir: &Path, tool: &str) -> Result<PathBuf, String> {
    let above = above(dir, &Path::new("node_modules/.bin").join(tool));
    above.or_else(|| on_path(tool)).ok_or_else(|| match on_path("npm") {
        Some(_) => format!("{tool} is missing; run `npm install` in {}", dir.display()),
        None => "npm is missing; install Node.js 20 or newer (Debian: `apt install nodejs npm`)".to_owned(),
    })
}

pub(super) fn componentize_py(dir: &Path) -> Result<PathBuf, String> {
    let above = above(dir, Path::new(".venv/bin/componentize-py"));
    above.or_else(|| on_path("componentize-py")).ok_or_else(|| {
        let dir = dir.display();
        format!(
            "componentize-py is missing; run `python3 -m venv .venv && .venv/bin/pip install -r requirements.txt` in {dir}"
        )
    })
}

/// A clang that has what it needs to compile for WASI: its own runtime library, and libc.
pub(super) fn clang() -> Result<PathBuf, String> {
    if let Some(sdk) = env::var_os("WASI_SDK_PATH") {
        let clang = Path::new(&sdk).join("bin/clang");
        if clang.exists() {
            return Ok(clang);
        }
    }
    let runtimes = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let mut found: Vec<(u32, PathBuf)> = runtimes
        .filter_map(|entry| {
            let version: u32 = entry.file_name().to_str()?.strip_prefix("llvm-")?.parse().ok()?;
            let runtime =
                entry.path().join(format!("lib/clang/{version}/lib/wasi/libclang_rt.builtins-wasm32.a"));
            let (clang, linker) =
                (format!("/usr/bin/clang-{version}"), format!("/usr/bin/wasm-ld-{version}"));
            let there = runtime.exists() && Path::new(&linker).exists() && Path::new(&clang).exists();
            there.then(|| (version, PathBuf::from(clang)))
        })
        .collect();
    found.sort();
    match found.pop() {
        Some((_, clang)) if Path::new("/usr/lib/wasm32-wasi/libc.a").exists() => Ok(clang),
        _ => Err(
            "a C compiler for WebAssembly is missing; on Debian run `apt install clang-19 lld-19 wasi-libc \
                  libclang-rt-19-dev-wasm32`, or set WASI_SDK_PATH"
                .to_owned(),
        ),
    }
}

fn above(dir: &Path, tool: &Path) -> Option<PathBuf> {
    let dir = fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
    dir.ancestors().map(|dir| dir.join(tool)).find(|path| path.exists())
}

fn on_path(tool: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|dir| dir.join(tool)).find(|path| path.is_file())
}

/// The file with the highest number after the prefix.
fn newest(dir: &str, prefix: &str) -> Option<PathBuf> {
    let entries = fs::read_dir(dir).ok()?.flatten();
    let numbered = entries.filter_map(|entry| {
        let version: u32 = entry.file_name().to_str()?.strip_prefix(prefix)?.parse().ok()?;
        Some((version, entry.path()))
    });
    numbered.max().map(|(_, path)| path)
}
