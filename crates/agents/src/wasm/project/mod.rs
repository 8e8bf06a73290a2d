//! Projects of agents: written from templates, and built with the tools of their language.
//!
//! A project is a directory with an `agent.toml` that says its language and name. Its template is part of this program;
//! so is the step from a core module to a component, so that Rust and C need nothing but their compiler.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use crate::message::AgentName;

mod build;
pub(super) mod encode;
mod templates;
mod toolchain;

pub use self::{
    build::{BuildError, Built, build, build_in},
    toolchain::missing,
};

/// The file that makes a directory a project.
pub const MANIFEST: &str = "agent.toml";
/// What stands for the agent's name in templates.
const PLACEHOLDER: &str = "agent-name";

/// A language that agents are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// Rust, compiled.
    Rust,
    /// `TypeScript`, interpreted by `QuickJS`.
    Ts,
    /// Python, interpreted by `CPython`.
    Py,
    /// C, compiled.
    C,
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Ts, Self::Py, Self::Rust, Self::C];

    /// Its name, as in `--lang`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Ts => "ts",
            Self::Py => "py",
            Self::C => "c",
        }
    }

    /// The names of its templates; the first is the one that is used without being asked for.
    pub fn templates(self) -> impl Iterator<Item = &'static str> {
        templates::examples(self).iter().map(|(name, _)| *name)
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Language {
    type Err = ScaffoldError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|language| language.name() == text);
        found.ok_or_else(|| ScaffoldError::UnknownLanguage(text.chars().take(32).collect()))
    }
}

/// What `agent.toml` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The agent's name, and the file's that is built.
    pub name: AgentName,
    /// The language.
    pub lang: Language,
    /// The world of `wit/agent.wit` that it implements.
    #[serde(default = "world")]
    pub world: String,
}

fn world() -> String {
    "agent".to_owned()
}

/// A project was not written.
#[derive(Debug, thiserror::Error)]
pub enum ScaffoldError {
    /// No such language.
    #[error("`{0}` is not a language of agents; there are {names}", names = Language::ALL.map(Language::name).join(", "))]
    UnknownLanguage(String),
    /// No such template.
    #[error("{language} has no template `{name}`; there are {known}")]
    UnknownTemplate {
        /// The language.
        language: Language,
        /// What was asked for.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// Something is there already.
    #[error("{} is there already and is not empty; nothing was written", .0.display())]
    NotEmpty(PathBuf),
    /// The disk.
    #[error("{} could not be written", path.display())]
    Write {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The files of a new project, as paths within it and contents.
pub fn template(
    language: Language,
    name: &AgentName,
    example: Option<&str>,
) -> Result<Vec<(&'static str, String)>, ScaffoldError> {
    let examples = templates::examples(language);
    let chosen = match example {
        None => examples.first(),
        Some(wanted) => examples.iter().find(|(name, _)| *name == wanted),
    };
    let Some((_, main)) = chosen else {
        return Err(ScaffoldError::UnknownTemplate {
            language,
            name: example.unwrap_or_default().chars().take(64).collect(),
            known: language.templates().collect::<Vec<_>>().join(", "),
        });
    };
    let manifest =
        format!("# What `paddock agents build` needs to know.\nname = \"{name}\"\nlang = \"{language}\"\n");
    let named = |text: &str| text.replace(PLACEHOLDER, name.as_str());
    let mut files = vec![(MANIFEST, manifest), ("wit/agent.wit", templates::WIT.to_owned())];
    files.push((templates::main(language), named(main)));
    files.extend(templates::support(language).iter().map(|(path, text)| (*path, named(text))));
    Ok(files)
}

/// Writes a new project into a directory that is empty or not there, and says which files it has.
pub fn scaffold(
    language: Language,
    name: &AgentName,
    example: Option<&str>,
    dir: &Path,
) -> Result<Vec<PathBuf>, ScaffoldError> {
    let files = template(language, name, example)?;
    if fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(ScaffoldError::NotEmpty(dir.to_owned()));
    }
    let mut written = Vec::new();
    for (path, text) in files {
        let path = dir.join(path);
        let parent = path.parent().unwrap_or(dir);
        let wrote = fs::create_dir_all(parent).and_then(|()| fs::write(&path, text));
        wrote.map_err(|source| ScaffoldError::Write { path: path.clone(), source })?;
        written.push(path);
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_has_its_name_and_nothing_of_the_placeholder() {
        let name: AgentName = "night-watch".parse().unwrap();
        for language in Language::ALL {
            for example in language.templates() {
                let files = template(language, &name, Some(example)).unwrap();
                let main = files.iter().find(|(path, _)| *path == templates::main(language)).unwrap();
                assert!(main.1.contains("night-watch"), "{language} {example}");
                for (path, text) in files {
                    assert!(!text.contains(PLACEHOLDER), "{path} of {language} {example}");
                }
            }
        }
    }

    #[test]
    fn a_directory_with_something_in_it_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let name: AgentName = "a".parse().unwrap();
        scaffold(Language::C, &name, None, dir.path()).unwrap();
        let error = scaffold(Language::C, &name, None, dir.path()).unwrap_err().to_string();
        assert!(error.ends_with("nothing was written"), "{error}");
        let manifest = fs::read_to_string(dir.path().join(MANIFEST)).unwrap();
        let manifest: Manifest = toml::from_str(&manifest).unwrap();
        assert_eq!((manifest.lang, manifest.world.as_str()), (Language::C, "agent"));
    }

    #[test]
    fn unknown_languages_and_templates_name_those_that_there_are() {
        let error = "cobol".parse::<Language>().unwrap_err().to_string();
        assert!(error.contains("ts, py, rust, c"), "{error}");
        let error = template(Language::Ts, &"a".parse().unwrap(), Some("x")).unwrap_err().to_string();
        assert!(error.contains("triage"), "{error}");
    }
}
