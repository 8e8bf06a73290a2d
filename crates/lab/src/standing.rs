//! Where each promise stands: its last verdict from the stored runs.

use crate::{
    archive::{Archive, ArchiveError},
    objectives::{Objective, Objectives},
    record::RunRecord,
    verdict::{Judgement, judge},
};

/// How many of the last runs of a scenario are looked through for a valid one.
const RUNS_LOOKED_THROUGH_MAX: usize = 20;

/// A promise and its last verdict.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The promise.
    pub objective: Objective,
    /// Its verdict in `run`; absent if no run has measured it.
    pub judgement: Option<Judgement>,
    /// The run that decided: the last valid full one, else the last valid short one, else the last.
    pub run: Option<RunRecord>,
}

/// Every promise with its last verdict, in the order of the file.
pub fn standings(objectives: &Objectives, archive: &Archive) -> Result<Vec<Standing>, ArchiveError> {
    let mut standings = Vec::with_capacity(objectives.len());
    let mut runs = std::collections::BTreeMap::new();
    for objective in objectives.iter() {
        if !runs.contains_key(&objective.scenario) {
            runs.insert(objective.scenario.clone(), deciding_run(archive, &objective.scenario)?);
        }
        let run = runs.get(&objective.scenario).cloned().flatten();
        let judgement = run.as_ref().and_then(|run| {
            let judgements = judge(run, objectives).judgements;
            judgements.into_iter().find(|judgement| judgement.name == objective.id)
        });
        standings.push(Standing { objective: objective.clone(), judgement, run });
    }
    Ok(standings)
}

/// The run of a scenario that speaks for it now.
pub fn deciding_run(archive: &Archive, scenario: &str) -> Result<Option<RunRecord>, ArchiveError> {
    let last = archive.last_runs(scenario, RUNS_LOOKED_THROUGH_MAX)?;
    let is_valid = |run: &&RunRecord| run.validity.is_valid() && run.partial.is_none();
    // Of the commit of the newest run: an older commit's figures say nothing about this one.
    let commit = last.last().and_then(|run| run.environment.commit.clone());
    let mut of_commit: Vec<&RunRecord> = last.iter().filter(|run| run.environment.commit == commit).collect();
    of_commit.sort_by_key(|run| (is_valid(run), run.form, run.id));
    Ok(of_commit.last().map(|run| (*run).clone()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{
        record::{Form, Validity},
        synthetic::ServerRun,
        verdict::Level,
    };

    fn run(seed: u64, form: Form) -> RunRecord {
        let mut run = ServerRun { seconds: 1, rate_per_s: 50.0, seed, ..ServerRun::default() }.record();
        run.form = form;
        run
    }

    #[test]
    fn the_last_valid_full_run_decides() {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::new(dir.path());
        assert!(deciding_run(&archive, "healthz").unwrap().is_none());
        let mut disturbed = run(4, Form::Full);
        disturbed.validity = Validity::Invalid { reasons: vec!["busy".to_owned()] };
        for run in [&run(1, Form::Full), &run(2, Form::Full), &run(3, Form::Short), &disturbed] {
            archive.save(run).unwrap();
        }
        assert_eq!(deciding_run(&archive, "healthz").unwrap().unwrap().id, run(2, Form::Full).id);
        let mut newer = run(5, Form::Short);
        newer.environment.commit = Some("another".to_owned());
        archive.save(&newer).unwrap();
        assert_eq!(deciding_run(&archive, "healthz").unwrap().unwrap().id, newer.id);
    }

    #[test]
    fn a_promise_that_was_never_measured_has_no_verdict() {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::new(dir.path());
        archive.save(&run(1, Form::Short)).unwrap();
        let one = |id: &str, scenario: &str| {
            format!(
                "[[objective]]\nid = \"{id}\"\narea = \"x\"\nmetric = \"throughput_per_s\"\nunit = \"/s\"\nop = \">=\"\n\
                 target = 40\naction = \"x\"\nscenario = \"{scenario}\"\nsource = \"x\"\n"
            )
        };
        let text = one("rate", "healthz") + &one("other", "never-run");
        let objectives = Objectives::parse(Path::new("objectives.toml"), &text).unwrap();
        let standings = standings(&objectives, &archive).unwrap();
        assert_eq!(standings[0].judgement.as_ref().unwrap().level, Level::Pass);
        assert!(standings[1].judgement.is_none() && standings[1].run.is_none());
    }
}
