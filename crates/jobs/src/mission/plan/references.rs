//! What refers to what, and whether steps wait for each other in a circle.

use std::collections::{BTreeMap, BTreeSet};

use super::{Action, PlanStep, check::unknown_step};
use crate::mission::expression::{Reference, Root, StepField, Template};

/// The steps that something refers to.
#[derive(Debug, Default)]
pub(super) struct Reads {
    /// All of them.
    pub(super) steps: BTreeSet<usize>,
    /// Those whose output is read.
    pub(super) outputs: BTreeSet<usize>,
    /// Whether it refers to the output that is being compensated.
    pub(super) own: bool,
}

/// Where an expression stands: what it may refer to.
#[derive(Clone, Copy)]
struct Place<'a> {
    field: &'a str,
    /// The step that it is in.
    step: &'a str,
    has_item: bool,
    is_undo: bool,
}

type Flaws<'a> = &'a mut dyn FnMut(String, String);

/// Finds what a step refers to, checks it, and gives the steps that have to be before it.
pub(super) fn of_step(
    plan: &mut PlanStep,
    positions: &BTreeMap<String, usize>,
    flaw: Flaws<'_>,
) -> BTreeSet<usize> {
    let mut needs = BTreeSet::new();
    let name = plan.name.clone();
    let has_item = plan.for_each.is_some();
    let place = |field, has_item, is_undo| Place { field, step: &name, has_item, is_undo };

    let mut gate = Reads::default();
    if let Some(condition) = &plan.condition {
        condition
            .visit(&mut |reference| read(reference, place("if", false, false), positions, &mut gate, flaw));
    }
    if let Some(list) = &plan.for_each {
        list.visit(&mut |reference| {
            read(reference, place("for_each", false, false), positions, &mut gate, flaw);
        });
    }
    if let Action::Approval { message, .. } = &plan.action {
        message.visit(&mut |reference| {
            read(reference, place("approval.message", false, false), positions, &mut gate, flaw);
        });
    }
    needs.extend(&gate.steps);
    plan.gate_reads = gate.outputs;

    let mut input = Reads::default();
    plan.input.visit(&mut |reference| {
        read(reference, place("input", has_item, false), positions, &mut input, flaw);
    });
    needs.extend(&input.steps);
    plan.input_reads = input.outputs;

    if let Some(undo) = &mut plan.undo {
        let mut reads = Reads::default();
        undo.input.visit(&mut |reference| {
            read(reference, place("compensate.input", has_item, true), positions, &mut reads, flaw);
        });
        needs.extend(&reads.steps);
        undo.reads = reads.outputs;
        undo.reads_own = reads.own;
    }
    needs
}

/// Finds what the output of a mission refers to.
pub(super) fn of_output(output: &Template, positions: &BTreeMap<String, usize>, flaw: Flaws<'_>) -> Reads {
    let mut reads = Reads::default();
    let place = Place { field: "output", step: "", has_item: false, is_undo: false };
    output.visit(&mut |reference| read(reference, place, positions, &mut reads, flaw));
    reads
}

fn read(
    reference: &Reference,
    place: Place<'_>,
    positions: &BTreeMap<String, usize>,
    reads: &mut Reads,
    flaw: Flaws<'_>,
) {
    let mut refused = |reason: String| flaw(place.field.to_owned(), format!("`{reference}`: {reason}"));
    match &reference.root {
        Root::Inputs | Root::Mission => {}
        Root::Item | Root::Index if place.has_item => {}
        Root::Item | Root::Index => {
            refused("there is an item only in the `input` of a step with `for_each`".to_owned());
        }
        Root::Output if place.is_undo => reads.own = true,
        Root::Output => refused("only `compensate.input` can refer to it".to_owned()),
        Root::Step(name, _) if name == place.step => {
            refused("a step cannot refer to itself; `output` is what is compensated".to_owned());
        }
        Root::Step(name, field) => match positions.get(name) {
            Some(position) => {
                reads.steps.insert(*position);
                // Both are in the rows of its runs.
                if *field != StepField::State {
                    reads.outputs.insert(*position);
                }
            }
            None => refused(unknown_step(name, positions)),
        },
    }
}

/// Steps that wait for each other, in their order; `None` if there are none.
pub(super) fn cycle_in(steps: &[PlanStep]) -> Option<Vec<usize>> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Open,
        Done,
    }
    let mut marks = vec![Mark::New; steps.len()];
    for start in 0..steps.len() {
        // Depth first, with the way here on a stack of its own: a long chain must not use up the thread's.
        let mut way: Vec<(usize, usize)> = Vec::new();
        if marks[start] == Mark::New {
            marks[start] = Mark::Open;
            way.push((start, 0));
        }
        while let Some((step, next)) = way.last_mut() {
            let Some(need) = steps[*step].needs.get(*next).copied() else {
                marks[*step] = Mark::Done;
                way.pop();
                continue;
            };
            *next += 1;
            match marks[need] {
                Mark::Done => {}
                Mark::New => {
                    marks[need] = Mark::Open;
                    way.push((need, 0));
                }
                Mark::Open => {
                    let from = way.iter().position(|(open, _)| *open == need).unwrap_or(0);
                    return Some(way[from..].iter().map(|(open, _)| *open).collect());
                }
            }
        }
    }
    None
}
