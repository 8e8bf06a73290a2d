//! The promised numbers: `objectives.toml`, the only place where numbers are promised.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use crate::{
    document::{self, DocumentError},
    quantity::Unit,
    scenario::Scenario,
    selftest,
    threshold::{Op, Threshold},
};

/// Name of the file at the root of a repository.
pub const OBJECTIVES_FILE: &str = "objectives.toml";

/// One promise: a threshold on a metric, and the scenario that measures it.
#[derive(Clone, Debug, PartialEq)]
pub struct Objective {
    /// Stable name, for example `analysis-cpu`.
    pub id: String,
    /// Area that promises it, for example `analysis`.
    pub area: String,
    /// Unit of the metric.
    pub unit: Unit,
    /// What is promised of which metric.
    pub threshold: Threshold,
    /// Scenario whose runs measure it.
    pub scenario: String,
    /// Requirements it answers to.
    pub source: String,
}

/// Every promise, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Objectives {
    objectives: Vec<Objective>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ObjectivesFile {
    #[serde(default)]
    objective: Vec<Spanned<ObjectiveEntry>>,
}

/// One table of the file. Flat and without `#[serde(flatten)]`, so that errors name the key that is wrong.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ObjectiveEntry {
    id: String,
    area: String,
    metric: String,
    unit: Unit,
    op: Op,
    target: f64,
    acceptable: Option<f64>,
    critical: Option<f64>,
    regress_pct: Option<f64>,
    action: String,
    scenario: String,
    source: String,
}

impl From<ObjectiveEntry> for Objective {
    fn from(entry: ObjectiveEntry) -> Self {
        Self {
            id: entry.id,
            area: entry.area,
            unit: entry.unit,
            threshold: Threshold {
                metric: entry.metric,
                op: entry.op,
                target: entry.target,
                acceptable: entry.acceptable,
                critical: entry.critical,
                regress_pct: entry.regress_pct,
                action: entry.action,
            },
            scenario: entry.scenario,
            source: entry.source,
        }
    }
}

impl Objectives {
    /// Reads the file; `None` stands for no file, which promises nothing.
    pub fn read(path: Option<&Path>) -> Result<Self, DocumentError> {
        match path {
            Some(path) => Self::parse(path, &document::read_text(path)?),
            None => Ok(Self::default()),
        }
    }

    /// Finds `objectives.toml` in a directory or one above it.
    pub fn find(start: &Path) -> Option<PathBuf> {
        start.ancestors().map(|dir| dir.join(OBJECTIVES_FILE)).find(|path| path.is_file())
    }

    /// Parses the text of the file; `path` is only for messages.
    pub fn parse(path: &Path, text: &str) -> Result<Self, DocumentError> {
        let file: ObjectivesFile = document::parse(path, text)?;
        let mut objectives: Vec<Objective> = Vec::with_capacity(file.objective.len());
        for entry in file.objective {
            let offset = entry.span().start;
            let objective = Objective::from(entry.into_inner());
            let wrong = |message: String| {
                document::invalid(path, text, offset, format!("objective `{}`: {message}", objective.id))
            };
            objective.validate().map_err(wrong)?;
            if objectives.iter().any(|other| other.id == objective.id) {
                return Err(wrong("the id is taken by an earlier one".to_owned()));
            }
            objectives.push(objective);
        }
        Ok(Self { objectives })
    }

    /// Every objective, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Objective> {
        self.objectives.iter()
    }

    /// The objectives that a scenario measures.
    pub fn of_scenario<'a>(&'a self, scenario: &'a str) -> impl Iterator<Item = &'a Objective> {
        self.objectives.iter().filter(move |objective| objective.scenario == scenario)
    }

    /// The objective about a metric of a scenario.
    pub fn about(&self, scenario: &str, metric: &str) -> Option<&Objective> {
        let about = |o: &&Objective| o.scenario == scenario && o.threshold.metric == metric;
        self.objectives.iter().find(about)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.objectives.len()
    }

    /// Whether nothing is promised.
    pub fn is_empty(&self) -> bool {
        self.objectives.is_empty()
    }

    /// What does not fit between the promises and the scenarios that exist: an objective whose scenario is missing, a
    /// scenario that measures nothing promised, and a threshold of a scenario that says another number about a promised
    /// metric than the objective. Each is a sentence.
    pub fn mismatches(&self, scenarios: &[Scenario]) -> Vec<String> {
        let exists = |name: &str| name == selftest::SCENARIO || scenarios.iter().any(|s| s.file.name == name);
        let mut mismatches = Vec::new();
        for objective in self.iter().filter(|objective| !exists(&objective.scenario)) {
            let (id, scenario) = (&objective.id, &objective.scenario);
            mismatches
                .push(format!("objective `{id}` names the scenario `{scenario}`, which does not exist"));
        }
        for scenario in scenarios {
            let name = &scenario.file.name;
            if self.of_scenario(name).next().is_none() {
                mismatches.push(format!("scenario `{name}` measures nothing that is promised"));
            }
            for threshold in scenario.file.thresholds.iter().map(Spanned::get_ref) {
                mismatches.extend(self.about(name, &threshold.metric).and_then(|o| o.contradicts(threshold)));
            }
        }
        mismatches
    }
}

impl Objective {
    /// How a threshold of the scenario says something else than the objective; `None` if it does not.
    fn contradicts(&self, threshold: &Threshold) -> Option<String> {
        let own = &self.threshold;
        let bounds = |t: &Threshold| (t.op, [Some(t.target), t.acceptable, t.critical, t.regress_pct]);
        (bounds(own) != bounds(threshold)).then(|| {
            format!(
                "objective `{}` promises {} and scenario `{}` says {}: bounds of `{}` have to be the same, or only in the objective",
                self.id,
                own.target,
                self.scenario,
                threshold.target,
                own.metric
            )
        })
    }

    fn validate(&self) -> Result<(), String> {
        for (field, text) in
            [("id", &self.id), ("area", &self.area), ("scenario", &self.scenario), ("source", &self.source)]
        {
            if text.trim().is_empty() {
                return Err(format!("`{field}` must not be empty"));
            }
        }
        self.threshold.validate().map_err(|error| error.to_string())?;
        let named = Unit::of_metric(&self.threshold.metric);
        if named != self.unit {
            let metric = &self.threshold.metric;
            return Err(format!(
                "the name of the metric `{metric}` says {named:?}, the unit says {:?}",
                self.unit
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = r#"
[[objective]]
id = "analysis-cpu"
area = "analysis"
metric = "cpu_s"
unit = "s"
op = "<="
target = 2.0
acceptable = 3.0
critical = 8.0
regress_pct = 10
action = "profile the fact pass"
scenario = "analyze"
source = "PT-0.a"
"#;

    fn parse(text: &str) -> Result<Objectives, DocumentError> {
        Objectives::parse(Path::new("objectives.toml"), text)
    }

    #[test]
    fn an_objective_is_read_with_its_bounds() {
        let objectives = parse(ONE).unwrap();
        let objective = objectives.about("analyze", "cpu_s").unwrap();
        assert_eq!(objective.id, "analysis-cpu");
        assert_eq!(objective.threshold.op, Op::AtMost);
        assert_eq!(objective.threshold.acceptable, Some(3.0));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (from, to, message) in [
            (
                "regress_pct",
                "regres_pct",
                "objectives.toml:11:1: unknown key `regres_pct`; did you mean `regress_pct`?",
            ),
            (
                "acceptable = 3.0",
                "acceptable = 1.0",
                "`acceptable` (1) must not be stricter than `target` (2)",
            ),
            (
                "unit = \"s\"",
                "unit = \"ms\"",
                "the name of the metric `cpu_s` says Seconds, the unit says Millis",
            ),
            ("unit = \"s\"", "unit = \"sec\"", "objectives.toml:6:8: unknown value `sec`"),
            ("\"profile the fact pass\"", "\"\"", "`action` must not be empty"),
        ] {
            let error = parse(&ONE.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
        let error = parse(&format!("{ONE}{ONE}")).unwrap_err().to_string();
        assert!(
            error.starts_with("objectives.toml:16:1: objective `analysis-cpu`: the id is taken"),
            "{error}"
        );
    }
}
