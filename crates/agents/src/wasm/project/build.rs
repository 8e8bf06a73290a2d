//! Building a project: the tools of its language, one after the other.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use paddock_platform::units::ByteSize;

use super::{
    Language, MANIFEST, Manifest, encode,
    toolchain::{self, RUST_TARGET, RustTools},
};

/// What was built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// Where the component is.
    pub path: PathBuf,
    /// How large it is.
    pub size: ByteSize,
}

/// A project could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// There is no project.
    #[error("{} has no {MANIFEST}; `paddock agents new` makes projects", .0.display())]
    NoProject(PathBuf),
    /// `agent.toml` is not as it must be.
    #[error("{}: {detail}", path.display())]
    Manifest {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// A tool is not installed.
    #[error("{0}")]
    Missing(String),
    /// A tool did not do it.
    #[error("{tool} failed\n{output}")]
    Failed {
        /// Which tool.
        tool: String,
        /// The end of what it said.
        output: String,
    },
    /// A tool or a file.
    #[error("{what}")]
    Io {
        /// What was to be done.
        what: String,
        /// Why it was not.
        source: io::Error,
    },
    /// The module is no agent.
    #[error("the compiled module is not an agent: {0}")]
    Component(String),
}

/// Builds the project in a directory. `say` is told which commands are run.
pub fn build(dir: &Path, say: &mut dyn FnMut(&str)) -> Result<Built, BuildError> {
    let target = env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    build_in(dir, target.as_deref(), say)
}

/// As [`build`], with a directory for what cargo makes on the way.
pub fn build_in(dir: &Path, target: Option<&Path>, say: &mut dyn FnMut(&str)) -> Result<Built, BuildError> {
    let manifest = read(dir)?;
    let path = dir.join(format!("{}.wasm", manifest.name));
    let mut project = Project { dir, manifest: &manifest, say };
    let target = target.map_or_else(|| dir.join("target"), Path::to_owned);
    match manifest.lang {
        Language::Rust => project.rust(&path, &target)?,
        Language::Ts => project.ts(&path)?,
        Language::Py => project.py(&path)?,
        Language::C => project.c(&path)?,
    }
    let about = fs::metadata(&path)
        .map_err(|source| io_error(format!("{} was not written", path.display()), source))?;
    Ok(Built { path, size: ByteSize::bytes(about.len()) })
}

fn read(dir: &Path) -> Result<Manifest, BuildError> {
    let path = dir.join(MANIFEST);
    let text = fs::read_to_string(&path).map_err(|_| BuildError::NoProject(dir.to_owned()))?;
    toml::from_str(&text).map_err(|error| BuildError::Manifest { path, detail: error.to_string() })
}

fn io_error(what: String, source: io::Error) -> BuildError {
    BuildError::Io { what, source }
}

struct Project<'a> {
    dir: &'a Path,
    manifest: &'a Manifest,
    say: &'a mut dyn FnMut(&str),
}

impl Project<'_> {
    fn rust(&mut self, path: &Path, target: &Path) -> Result<(), BuildError> {
        let tools = toolchain::rust().map_err(BuildError::Missing)?;
        // The compiler runs in the project.
        let target = std::path::absolute(target).unwrap_or_else(|_| target.to_owned());
        let mut cargo = Command::new("cargo");
        cargo.args(["build", "--release", "--target", RUST_TARGET]).arg("--target-dir").arg(&target);
        if let RustTools::Debian { rustc, linker } = &tools {
            cargo.args(["-Z", "build-std=std,panic_abort"]);
            cargo.env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1");
            cargo.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
        }
        self.run(cargo)?;
        let module = target.join(RUST_TARGET).join("release/agent.wasm");
        let module = read_file(&module)?;
        encoded(&module, path)
    }

    fn ts(&mut self, path: &Path) -> Result<(), BuildError> {
        let tool = |name| toolchain::node_tool(self.dir, name).map_err(BuildError::Missing);
        let (check, bundle, componentize) = (tool("tsc")?, tool("esbuild")?, tool("componentize-qjs")?);
        let mut checking = Command::new(check);
        checking.arg("--noEmit");
        self.run(checking)?;
        let mut bundling = Command::new(bundle);
        bundling.args(["src/agent.ts", "--bundle", "--format=esm", "--platform=neutral", "--target=es2023"]);
        bundling.args(["--external:paddock:*", "--log-level=warning", "--outfile=build/agent.mjs"]);
        self.run(bundling)?;
        let mut making = Command::new(componentize);
        making.args(["-w", "wit", "-j", "build/agent.mjs", "-n", &self.manifest.world]);
        making.args(["--stub-wasi", "--sync", "--opt-size", "-m", "-o"]).arg(self.relative(path));
        self.run(making)
    }

    fn py(&mut self, path: &Path) -> Result<(), BuildError> {
        let tool = toolchain::componentize_py(self.dir).map_err(BuildError::Missing)?;
        let mut making = Command::new(tool);
        making.args(["-d", "wit", "-w", &self.manifest.world, "componentize", "--stub-wasi", "app", "-o"]);
        making.arg(self.relative(path));
        self.run(making)
    }

    fn c(&mut self, path: &Path) -> Result<(), BuildError> {
        let clang = toolchain::clang().map_err(BuildError::Missing)?;
        let sources = fs::read_dir(self.dir.join("src"))
            .map_err(|source| io_error("src could not be read".to_owned(), source))?;
        let mut sources: Vec<PathBuf> = sources
            .flatten()
            .map(|entry| Path::new("src").join(entry.file_name()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "c"))
            .collect();
        sources.sort();
        let build = self.dir.join("build");
        fs::create_dir_all(&build)
            .map_err(|source| io_error("build could not be made".to_owned(), source))?;
        let mut compiling = Command::new(clang);
        compiling.args(["--target=wasm32-wasi", "-mexec-model=reactor", "-O2", "-Wall", "-I", "paddock"]);
        compiling.args(sources).args(["paddock/agent.c", "paddock/paddock.c", "-Wl,--strip-all"]);
        compiling.args(["-o", "build/agent.core.wasm"]);
        self.run(compiling)?;
        let mut module = read_file(&build.join("agent.core.wasm"))?;
        encode::with_world(&mut module, &self.dir.join("wit"), &self.manifest.world)
            .map_err(BuildError::Component)?;
        encoded(&module, path)
    }

    /// A file of the project as the tools see it, which run in its directory.
    fn relative(&self, path: &Path) -> PathBuf {
        path.strip_prefix(self.dir).unwrap_or(path).to_owned()
    }

    fn run(&mut self, mut command: Command) -> Result<(), BuildError> {
        command.current_dir(self.dir);
        let tool = Path::new(command.get_program());
        let tool = tool.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let arguments =
            command.get_args().map(|argument| argument.to_string_lossy()).collect::<Vec<_>>().join(" ");
        (self.say)(&format!("{tool} {arguments}"));
        let output =
            command.output().map_err(|source| io_error(format!("{tool} could not be started"), source))?;
        if output.status.success() {
            return Ok(());
        }
        Err(BuildError::Failed { tool, output: end_of(&output) })
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, BuildError> {
    fs::read(path).map_err(|source| io_error(format!("{} could not be read", path.display()), source))
}

/// Makes a core module a component, and writes it.
fn encoded(module: &[u8], path: &Path) -> Result<(), BuildError> {
    let component = encode::component(module).map_err(BuildError::Component)?;
    fs::write(path, component)
        .map_err(|source| io_error(format!("{} could not be written", path.display()), source))
}

/// Lines of a tool's output that a person wants to see of a failure.
const LINES_MAX: usize = 40;

fn end_of(output: &Output) -> String {
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES_MAX)..].join("\n")
}
