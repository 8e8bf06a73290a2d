//! Results for people and programs: JSON, Markdown, and one self-contained HTML file.
//!
//! A [`Report`] is one or more judged runs, and what they were compared with. [`Report::write`] puts `report.json`,
//! `report.md` and `report.html` into a directory.

mod chart;
mod html;
mod markdown;
mod page;
mod panels;

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) use self::markdown::cell as markdown_cell;
use crate::{
    archive::{ArchiveError, write, write_json},
    compare::{Comparison, Outcome},
    gate::Decision,
    objectives::Objectives,
    record::{Environment, RunRecord},
    verdict::{Level, Verdict, judge},
};

/// Version of the report's JSON shape.
pub const SCHEMA_VERSION: u32 = 1;

/// Judged runs, and what they were compared with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// [`SCHEMA_VERSION`] of the writer.
    pub schema_version: u32,
    /// When the report was made.
    #[schemars(with = "String")]
    pub created_at: Timestamp,
    /// What was measured on, where no run says it: for trials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// The runs with their verdicts, worst first.
    pub runs: Vec<JudgedRun>,
    /// Comparisons with baselines, or between the sides of a trial.
    #[serde(default)]
    pub comparisons: Vec<Comparison>,
    /// What the gate decided over them, if one was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
}

/// One run with its verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JudgedRun {
    /// What was measured.
    pub record: RunRecord,
    /// What that says about the promises.
    pub verdict: Verdict,
}

/// The files of a written report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportFiles {
    /// The machine-readable form.
    pub json: PathBuf,
    /// For a pull request or a mail.
    pub markdown: PathBuf,
    /// For a browser.
    pub html: PathBuf,
}

/// How many promises ended at which level, over all runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Promises met.
    pub pass: usize,
    /// Promises missed, but acceptable.
    pub warn: usize,
    /// Promises missed.
    pub fail: usize,
    /// Promises that could not be judged.
    pub invalid: usize,
}

impl Report {
    /// Judges the runs by the objectives; worst first.
    pub fn new(records: Vec<RunRecord>, objectives: &Objectives, comparisons: Vec<Comparison>) -> Self {
        let mut runs: Vec<JudgedRun> = records
            .into_iter()
            .map(|record| JudgedRun { verdict: judge(&record, objectives), record })
            .collect();
        runs.sort_by_key(|run| std::cmp::Reverse(run.verdict.level));
        Self {
            schema_version: SCHEMA_VERSION,
            created_at: Timestamp::now(),
            environment: None,
            runs,
            comparisons,
            decision: None,
        }
    }

    /// The report with what the gate decided over its comparisons.
    #[must_use]
    pub fn with_decision(mut self, decision: Option<Decision>) -> Self {
        self.decision = decision;
        self
    }

    /// The level that decides over all runs; without runs, a pass.
    pub fn level_of_runs(&self) -> Level {
        self.runs.iter().map(|run| run.verdict.level).max().unwrap_or(Level::Pass)
    }

    /// The level that decides over runs and comparisons: a regression is a failure, a gate that cannot decide makes the
    /// report invalid.
    pub fn level(&self) -> Level {
        let of_comparisons = match &self.decision {
            Some(Decision::Regressed { .. }) => Level::Fail,
            Some(Decision::Undecided { .. }) => Level::Invalid,
            None if self.regressions() > 0 => Level::Fail,
            Some(Decision::Open) | None => Level::Pass,
        };
        self.level_of_runs().max(of_comparisons)
    }

    /// How many promises ended at which level.
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for judgement in self.runs.iter().flat_map(|run| &run.verdict.judgements) {
            match judgement.level {
                Level::Pass => tally.pass += 1,
                Level::Warn => tally.warn += 1,
                Level::Fail => tally.fail += 1,
                Level::Invalid => tally.invalid += 1,
            }
        }
        tally
    }

    /// The report as Markdown.
    pub fn to_markdown(&self) -> String {
        markdown::render(self)
    }

    /// The report as one HTML file that needs nothing else.
    pub fn to_html(&self) -> String {
        page::render(self)
    }

    /// Writes all three forms into a directory, which is created if need be.
    pub fn write(&self, dir: &Path) -> Result<ReportFiles, ArchiveError> {
        let files = ReportFiles {
            json: dir.join("report.json"),
            markdown: dir.join("report.md"),
            html: dir.join("report.html"),
        };
        write_json(&files.json, self)?;
        write(&files.markdown, self.to_markdown().as_bytes())?;
        write(&files.html, self.to_html().as_bytes())?;
        Ok(files)
    }

    fn environment(&self) -> Option<&Environment> {
        self.runs.first().map(|run| &run.record.environment).or(self.environment.as_ref())
    }

    fn regressions(&self) -> usize {
        self.comparisons.iter().map(|comparison| comparison.regressions().count()).sum()
    }

    fn count(&self, outcome: Outcome) -> usize {
        self.comparisons.iter().map(|comparison| comparison.count(outcome)).sum()
    }
}

impl Tally {
    fn total(self) -> usize {
        self.pass + self.warn + self.fail + self.invalid
    }
}

/// The machine in one line.
pub(crate) fn environment_line(environment: &Environment) -> String {
    let cpu = &environment.cpu;
    let memory_gib = environment.memory_mib as f64 / 1_024.0;
    let mut line = format!("{} × {}, {memory_gib:.0} GiB, {}", cpu.logical, cpu.model, environment.kernel);
    if !environment.os.is_empty() {
        line.push_str(", ");
        line.push_str(&environment.os);
    }
    line
}

/// The commit as people quote it.
pub(crate) fn commit_line(commit: Option<&str>, modified: bool) -> String {
    let Some(commit) = commit else { return "unknown".to_owned() };
    let short: String = commit.chars().take(12).collect();
    if modified { format!("{short} with changes") } else { short }
}

/// A command as it can be pasted into a shell.
pub(crate) fn command_line(command: &[String]) -> String {
    let quoted = command.iter().map(|word| {
        let is_plain = !word.is_empty()
            && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./:=@%+,".contains(&byte));
        if is_plain { word.clone() } else { format!("'{}'", word.replace('\'', r"'\''")) }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_can_be_pasted_into_a_shell() {
        let command = ["paddock", "lab", "run", "it's a test", ""].map(str::to_owned);
        assert_eq!(command_line(&command), r"paddock lab run 'it'\''s a test' ''");
    }
}
