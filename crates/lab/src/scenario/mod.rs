//! Scenario files: what to start, what load to offer, what has to hold.
//!
//! A scenario is one TOML file. [`Scenario::read`] finds every mistake that can be found without starting anything,
//! and says where it is. The shape of the file is published as `docs/scenario.schema.json`.

mod check;
mod data;
mod format;
mod schema;

use std::path::{Path, PathBuf};

pub(crate) use self::check::Environment;
pub use self::{
    check::{GROWING, Placed},
    format::{
        BurstFile, CheckFile, ClosedFile, CommandFile, FormFile, GrowthFile, JsonCheckFile, NameFile,
        RampFile, RandomFile, RateFile, ResourcesFile, ScenarioFile, ScheduleFile, SequenceFile, ServerFile,
        SetupFile, SiteFile, StageFile, StepFile, TeardownFile, VariableFile, VariableTable,
    },
    schema::schema,
};
use crate::document::{self, DocumentError};

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

    /// The directory of the file: what relative paths in it refer to.
    pub fn dir(&self) -> &Path {
        match self.path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir,
            _ => Path::new("."),
        }
    }
}
