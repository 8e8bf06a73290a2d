//! Components to measure with. Those of languages are taken from the cache directory, where the tests keep theirs, too,
//! and built if their tools are there (`scripts/setup.sh agents`).

use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use paddock_agents::{
    AgentDefinition,
    message::AgentName,
    wasm::{
        Limits, Module, Wasm, WasmOptions,
        project::{self, Language},
    },
};
use paddock_platform::task::Tasks;
use serde_json::{Value, json};

use crate::{
    server::{Guest, Server},
    text,
};

/// A kind of component; each answers a request with what came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Rust,
    Ts,
    Py,
}

impl Kind {
    pub(crate) fn of(text: &str) -> Self {
        match text {
            "wat" => Self::Text,
            "rust" => Self::Rust,
            "ts" => Self::Ts,
            "py" => Self::Py,
            other => panic!("there is no kind `{other}`"),
        }
    }

    /// The component, or nothing if it is not built and cannot be.
    pub(crate) fn component(self) -> Option<Vec<u8>> {
        match self {
            Self::Text => Some(text::echo()),
            Self::Rust => built(Language::Rust, "bench", &rust()),
            Self::Ts => built(Language::Ts, "script", &script(Language::Ts)),
            Self::Py => built(Language::Py, "script", &script(Language::Py)),
        }
    }

    /// What its agents are configured with: those of interpreters are scripts.
    pub(crate) fn config(self) -> Value {
        match self {
            Self::Text | Self::Rust => Value::Null,
            Self::Ts => json!({"script": "paddock.reply('inform', paddock.read(message))"}),
            Self::Py => {
                let script =
                    "def on_message(message):\n  paddock.reply(Performative.INFORM, paddock.read(message))";
                json!({"script": script})
            }
        }
    }
}

/// A component that is compiled, for the agents of one server.
pub(crate) struct Guests {
    module: Module,
    kind: Kind,
}

impl Guests {
    /// With an engine of their own, which keeps so many of them.
    pub(crate) async fn prepare(kind: Kind, options: WasmOptions, tasks: &Tasks) -> Option<Self> {
        let component = tokio::task::spawn_blocking(move || kind.component()).await.unwrap()?;
        let options = WasmOptions { compile_max: "30m".parse().unwrap(), ..options };
        let wasm = Wasm::start(options, cache().join("code"), tasks).unwrap();
        let module = wasm.prepare(component.into()).await.unwrap();
        Some(Self { module, kind })
    }

    pub(crate) fn register(&self, server: &Server, name: &AgentName) {
        self.register_limited(server, name, Limits::default());
    }

    pub(crate) fn register_limited(&self, server: &Server, name: &AgentName, limits: Limits) {
        let definition =
            AgentDefinition { config: self.kind.config(), ..AgentDefinition::native(name.clone()) };
        let (module, limits) = (self.module.clone(), Arc::new(limits));
        server.register(definition, move || Guest::new(&module, &limits));
    }
}

/// A file of a project: its path within it, and what is in it.
type File = (&'static str, String);

/// A project of Rust with the agent of this benchmark, which is compiled for speed.
fn rust() -> Vec<File> {
    let mut files = project::template(Language::Rust, &guest(), None).unwrap();
    for (path, text) in &mut files {
        match *path {
            "src/lib.rs" => include_str!("component/bench.rs").clone_into(text),
            "Cargo.toml" => text.push_str("\n[profile.release.package.agent]\nopt-level = 3\n"),
            _ => {}
        }
    }
    files.push(("src/work.rs", include_str!("component/work.rs").to_owned()));
    files
}

fn script(language: Language) -> Vec<File> {
    project::template(language, &guest(), Some("script")).unwrap()
}

fn guest() -> AgentName {
    "guest".parse().unwrap()
}

/// Where `scripts/setup.sh agents` puts the tools.
fn cache() -> PathBuf {
    let home = || PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".cache");
    env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from).join("paddock-agents")
}

/// The component of a project, from the cache if it was built of the same files.
fn built(language: Language, label: &str, files: &[File]) -> Option<Vec<u8>> {
    let cache = cache();
    let mut hasher = blake3::Hasher::new();
    for (path, text) in files {
        hasher.update(path.as_bytes()).update(b"\0").update(text.as_bytes()).update(b"\0");
    }
    let kept = cache.join(format!("built/{language}-{label}-{}.wasm", &hasher.finalize().to_hex()[..16]));
    if let Ok(component) = fs::read(&kept) {
        return Some(component);
    }
    fs::create_dir_all(cache.join("built")).unwrap();
    if let Some(missing) = project::missing(language, &cache) {
        eprintln!("skipped: {language}: {missing}; `scripts/setup.sh agents` installs it");
        return None;
    }
    eprintln!("building a component of {language}; it is kept in {}", kept.display());
    // Beside the tools, so that they are found as in any project.
    let dir = tempfile::Builder::new().prefix("project-").tempdir_in(&cache).unwrap();
    write(dir.path(), files);
    let made = project::build_in(dir.path(), Some(&cache.join("target")), &mut |_| {}).unwrap();
    fs::rename(made.path, &kept).unwrap();
    Some(fs::read(&kept).unwrap())
}

fn write(dir: &Path, files: &[File]) {
    for (path, text) in files {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}
