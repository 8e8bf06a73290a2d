use serde_json::json;

use super::*;
use crate::mission::{Format, Step, read};

fn flaws(yaml: &str) -> Vec<String> {
    let definition = read(yaml, Format::Yaml).unwrap();
    match compile(definition, &MissionOptions::default()) {
        Ok(_) => Vec::new(),
        Err(flaws) => flaws.iter().map(ToString::to_string).collect(),
    }
}

const GOOD: &str = r#"
name: campaign
inputs: { type: object, required: [urls] }
deadline: 2h
steps:
  - name: look
    for_each: ${inputs.urls}
    concurrency: 4
    tool: analysis_run
    input: { url: "${item}" }
    timeout: 3m
    retry: { attempts: 3 }
    on_error: continue
  - name: pick
    if: length(steps.look.output) > 0
    kind: pick-pages
    input: { pages: "${steps.look.output}" }
    compensate: { kind: unpick, input: { what: "${output#/id}", "of": "${inputs.urls[0]}" } }
  - name: sure
    approval: { message: "Publish ${length(steps.pick.output.pages)} pages?", deadline: 1d }
  - name: publish
    needs: [sure]
    join: any
    mission: publish@2
    input: { pages: "${steps.pick.output.pages}" }
output: { pages: "${steps.pick.output.pages}" }
"#;

#[test]
fn needs_follow_from_what_is_referred_to() {
    let definition = read(GOOD, Format::Yaml).unwrap();
    let plan = compile(definition, &MissionOptions::default()).unwrap();
    let needs: Vec<&[usize]> = plan.steps.iter().map(|step| step.needs.as_slice()).collect();
    assert_eq!(needs, [&[][..], &[0], &[1], &[1, 2]]);
    assert!(plan.steps[1].undo.as_ref().is_some_and(|undo| undo.reads_own));
    assert_eq!(plan.missions().collect::<Vec<_>>(), [(3, "publish", Some(2))]);
    assert!(plan.shapes[0].tolerant && plan.shapes[0].fan_out && plan.shapes[3].join_any);
}

#[test]
fn every_mistake_is_told_with_its_step_and_field() {
    let found = flaws(
        r#"
name: Bad Name
deadline: 900d
steps:
  - name: a
    tool: x_y
    kind: z
    needs: [nowhere, a]
  - name: b
    if: ${inputs.x ==}
    input: { text: "${item}", more: ["${steps.c.output}"] }
    tool: x_y
    timeout: 0s
  - name: a
    for_each: plain text
    mission: "NOT a name"
"#,
    );
    for expected in [
        "`name`: `Bad Name` must be",
        "`deadline`: ",
        "step `a`: `name`: another step has this name",
        "step `a`: `tool`: exactly one of",
        "step `a`: `needs`: no step is called `nowhere`",
        "step `a`: `needs`: a step cannot need itself",
        "step `b`: `if`: expected a value",
        "step `b`: `input`: `item`: there is an item only",
        "step `b`: `input`: `steps.c.output`: no step is called `c`",
        "step `b`: `timeout`: must be longer",
        "step `a`: `for_each`: must be a list",
        "step `a`: `mission`: must be `name` or `name@version`",
    ] {
        assert!(found.iter().any(|flaw| flaw.starts_with(expected)), "{expected} in {found:#?}");
    }
}

#[test]
fn a_circle_is_told_by_its_names() {
    let found = flaws(
        "name: m\nsteps:\n- {name: a, tool: t, needs: [c]}\n- {name: b, tool: t, needs: [a]}\n- {name: c, tool: t, needs: [b]}\n- {name: d, tool: t}\n",
    );
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("a → c → b → a"), "{found:?}");
}

#[test]
fn a_circle_through_expressions_is_found_too() {
    let found = flaws(
        "name: m\nsteps:\n- {name: a, tool: t, if: 'exists(steps.b.output)'}\n- {name: b, tool: t, input: {x: '${steps.a.output}'}}\n",
    );
    assert!(found[0].contains("wait for each other"), "{found:?}");
}

#[test]
fn bounds_are_kept() {
    let step = |index: usize| Step::tool(format!("s{index}"), "t", json!({}));
    let definition =
        Definition { name: "m".to_owned(), steps: (0..201).map(step).collect(), ..Definition::default() };
    let flaws = compile(definition, &MissionOptions::default()).unwrap_err();
    assert!(flaws[0].to_string().contains("steps_max"));
    let long = Step { for_each: Some(json!(vec![0; 1_001])), ..step(0) };
    let definition = Definition { name: "m".to_owned(), steps: vec![long], ..Definition::default() };
    let flaws = compile(definition, &MissionOptions::default()).unwrap_err();
    assert!(flaws[0].to_string().contains("fan_out_max"));
}

#[test]
fn a_long_chain_does_not_use_up_the_stack() {
    let step = |index: usize| {
        let mut step = Step::tool(format!("s{index}"), "t", json!({}));
        step.needs = index.checked_sub(1).map(|before| format!("s{before}")).into_iter().collect();
        step
    };
    let options = MissionOptions { steps_max: 20_000, ..MissionOptions::default() };
    let definition = Definition {
        name: "m".to_owned(),
        steps: (0..20_000).rev().map(step).collect(),
        ..Definition::default()
    };
    assert!(compile(definition, &options).is_ok());
}

#[test]
fn an_approval_has_nothing_of_a_call() {
    let found = flaws(
        "name: m\nsteps:\n- {name: a, approval: {message: ''}, timeout: 5s, for_each: [1], input: {x: 1}}\n",
    );
    for field in ["approval.message", "timeout", "for_each", "input"] {
        assert!(found.iter().any(|flaw| flaw.contains(&format!("`{field}`"))), "{field}: {found:?}");
    }
}

#[test]
fn the_examples_have_no_mistakes() {
    for text in [
        include_str!("../../../../../examples/missions/analyse-shops.yaml"),
        include_str!("../../../../../examples/missions/resize-and-publish.yaml"),
        include_str!("../../../../../examples/missions/review-pages.yaml"),
    ] {
        assert_eq!(flaws(text), Vec::<String>::new());
    }
}
