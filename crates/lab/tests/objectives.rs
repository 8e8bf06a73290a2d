//! What is promised and what is measured fit together.

#![expect(clippy::unwrap_used, reason = "a test that cannot prepare has to stop")]

use std::path::{Path, PathBuf};

use paddock_lab::{
    archive::Archive,
    benchmarks_page,
    document::DocumentError,
    objectives::Objectives,
    scenario::{self, Scenario},
    standing::standings,
};

/// The repository: tests run in the directory of their crate.
fn root() -> PathBuf {
    Path::new("../..").canonicalize().unwrap()
}

fn scenarios() -> Vec<Scenario> {
    scenario::read_dir(&root().join("scenarios")).unwrap()
}

fn objectives() -> Result<Objectives, DocumentError> {
    Objectives::read(Some(&root().join("objectives.toml")))
}

#[test]
fn every_objective_has_its_scenario_and_every_scenario_measures_something_promised() {
    let mismatches = objectives().unwrap().mismatches(&scenarios());
    assert!(mismatches.is_empty(), "{}", mismatches.join("\n"));
}

#[test]
fn a_promise_whose_scenario_is_missing_and_a_scenario_without_promise_are_found() {
    let text = std::fs::read_to_string(root().join("objectives.toml")).unwrap();
    let text = text.replace("scenario = \"healthz\"", "scenario = \"healthy\"");
    let objectives = Objectives::parse(Path::new("objectives.toml"), &text).unwrap();
    let mismatches = objectives.mismatches(&scenarios()).join("\n");
    assert!(
        mismatches.contains("objective `edge-rate` names the scenario `healthy`, which does not exist"),
        "{mismatches}"
    );
    assert!(mismatches.contains("scenario `healthz` measures nothing that is promised"), "{mismatches}");
}

#[test]
fn a_scenario_that_contradicts_an_objective_is_found() {
    let text = std::fs::read_to_string(root().join("objectives.toml")).unwrap();
    let text = text.replace("target = 50000\n", "target = 60000\n");
    let objectives = Objectives::parse(Path::new("objectives.toml"), &text).unwrap();
    let mismatches = objectives.mismatches(&scenarios()).join("\n");
    assert!(mismatches.contains("objective `edge-rate` promises 60000"), "{mismatches}");
}

#[test]
fn the_page_of_the_documentation_has_every_scenario_and_every_promise() {
    let nothing_measured = tempfile::tempdir().unwrap();
    let standings = standings(&objectives().unwrap(), &Archive::new(nothing_measured.path())).unwrap();
    let page = benchmarks_page::render(&standings, None);
    for scenario in scenarios() {
        assert!(page.contains(&format!("| `{}` |", scenario.file.name)), "{} is missing", scenario.file.name);
    }
    for standing in &standings {
        assert!(page.contains(&format!("| {} |", standing.objective.id)), "{}", standing.objective.id);
    }
}

#[test]
fn the_file_is_found_from_below() {
    let found = Objectives::find(&root().join("crates/lab/src").canonicalize().unwrap()).unwrap();
    assert_eq!(found, root().canonicalize().unwrap().join("objectives.toml"));
}

/// The TOML blocks of a document, without their fences.
fn toml_blocks(text: &str) -> Vec<&str> {
    text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

#[test]
fn the_scenario_that_the_documentation_shows_fits_together_as_it_is_printed() {
    for document in ["CONTRIBUTING.md", "scenarios/README.md"] {
        let text = std::fs::read_to_string(root().join(document)).unwrap();
        let blocks = toml_blocks(&text);
        let [shown, promise] = blocks.as_slice() else { panic!("{document}: {} blocks", blocks.len()) };
        assert!(shown.lines().count() <= 10, "ten lines are promised");
        let scenario = Scenario::parse(&root().join("scenarios/readyz.toml"), (*shown).to_owned()).unwrap();
        let objectives = Objectives::parse(Path::new("objectives.toml"), promise).unwrap();
        let mismatches = objectives.mismatches(&[scenario]);
        assert!(mismatches.is_empty(), "{document}: {}", mismatches.join("\n"));
    }
}
