//! Scenario files: what to start, what load to offer, what has to hold.
//!
//! A scenario is one TOML file. [`Scenario::read`] finds every mistake that can be found without starting anything,
//! and says where it is. The shape of the file is published as `docs/scenario.schema.json`.

mod check;
mod data;
mod format;
mod load;
mod schema;
mod setup;
mod step;
mod variable;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

pub(crate) use self::check::Environment;
pub use self::{
    check::{GROWING, Placed},
    format::{DifferenceFile, GrowthFile, ResourcesFile, ScenarioFile},
    load::{BurstFile, ClosedFile, FormFile, RampFile, RateFile, ScheduleFile, StageFile, StagesFile},
    schema::schema,
    setup::{CommandFile, NameFile, ServerFile, SetupFile, SiteFile, TeardownFile},
    step::{CheckFile, JsonCheckFile, StepFile},
    variable::{RandomFile, SequenceFile, VariableFile, VariableTable},
};
use crate::{
    document::{self, DocumentError},
    driver::DriverOptions,
    record::Form,
};

/// Reads every scenario of a directory, by name.
pub fn read_dir(dir: &Path) -> Result<Vec<Scenario>, DocumentError> {
    let error = |source| DocumentError::Read { path: dir.to_owned(), source };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(error)? {
        let path = entry.map_err(error)?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            paths.push(path);
        }
    }
    paths.sort();
    paths.iter().map(|path| Scenario::read(path)).collect()
}

/// A scenario that was read and found to be consistent.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What the file says.
    pub file: ScenarioFile,
    /// Where it is.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
}

impl Scenario {
    /// Reads and checks a file.
    pub fn read(path: &Path) -> Result<Self, DocumentError> {
        Self::parse(path, document::read_text(path)?)
    }

    /// Checks a text; relative paths in it are relative to the directory of `path`.
    pub fn parse(path: &Path, text: String) -> Result<Self, DocumentError> {
        let file: ScenarioFile = document::parse(path, &text)?;
        let scenario = Self { file, path: path.to_owned(), text };
        scenario
            .check()
            .map_err(|Placed { offset, message }| document::invalid(path, &scenario.text, offset, message))?;
        Ok(scenario)
    }

    /// How long a form's load takes, warm-up included; `None` if it ends after a number of operations.
    pub fn duration(&self, form: Form) -> Option<Duration> {
        let load = self.load(form).ok()?;
        Some(load.warm_up + load.duration()?)
    }

    /// Whether a step of it runs cargo, which may have to compile for minutes first.
    pub fn builds(&self) -> bool {
        self.file.steps.iter().any(|step| match step.get_ref().driver.get_ref() {
            DriverOptions::Command(command) => {
                command.run.first().is_some_and(|program| program.to_string() == "cargo")
            }
            _ => false,
        })
    }

    /// The directory of the file: what relative paths in it refer to.
    pub fn dir(&self) -> &Path {
        match self.path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir,
            _ => Path::new("."),
        }
    }
}
