//! Checks a definition and compiles it; every mistake is told, with its step and field.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    Action, CONCURRENCY_DEFAULT, Plan, PlanStep, PlanUndo,
    references::{Reads, cycle_in, of_output, of_step},
};
use crate::mission::{
    Compensation, Definition, Flaw, Join, MissionOptions, OnError, Step,
    expression::{self, Expression, Template},
    machine::{Shape, Undo},
};

const NAME_MAX: usize = 64;
const DESCRIPTION_MAX: usize = 2_000;
/// How many items of one step may run at once.
const CONCURRENCY_MAX: u32 = 1_000;

/// 1 to 64 of `a-z`, `0-9`, `_` and `-`, beginning with a letter.
pub(crate) fn is_name(text: &str) -> bool {
    text.len() <= NAME_MAX
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
}

const NAME_RULE: &str = "must be 1 to 64 of a-z, 0-9, `_` and `-`, beginning with a letter";

/// Checks everything that a definition says by itself. What it says about tools and other missions is checked elsewhere.
pub(crate) fn compile(definition: Definition, options: &MissionOptions) -> Result<Plan, Vec<Flaw>> {
    let mut flaws = Vec::new();
    check_head(&definition, options, &mut flaws);
    let mut positions = BTreeMap::new();
    for (index, step) in definition.steps.iter().enumerate() {
        if !is_name(&step.name) {
            flaws.push(Flaw::of_definition(
                format!("steps[{index}].name"),
                format!("`{}` {NAME_RULE}", clipped(&step.name)),
            ));
        } else if positions.insert(step.name.clone(), index).is_some() {
            flaws.push(Flaw::of_step(&step.name, "name", "another step has this name"));
        }
    }
    let compiler = Compiler { positions: &positions, options };
    let steps: Vec<PlanStep> = definition.steps.iter().map(|step| compiler.step(step, &mut flaws)).collect();
    let output = definition.output.as_ref().and_then(|output| {
        template(output, "output", &mut |field, reason| {
            flaws.push(Flaw::of_definition(field, reason));
        })
    });
    let mut output_reads = Reads::default();
    if let Some(output) = &output {
        output_reads = of_output(output, &positions, &mut |field, reason| {
            flaws.push(Flaw::of_definition(field, reason));
        });
    }
    if flaws.is_empty()
        && let Some(cycle) = cycle_in(&steps)
    {
        let names: Vec<&str> = cycle.iter().map(|index| steps[*index].name.as_str()).collect();
        let first = names.first().copied().unwrap_or_default();
        flaws.push(Flaw::of_step(
            first,
            "needs",
            format!("the steps wait for each other: {} → {first}", names.join(" → ")),
        ));
    }
    if !flaws.is_empty() {
        return Err(flaws);
    }
    let shapes = steps.iter().zip(&definition.steps).map(|(plan, step)| shape(plan, step)).collect();
    Ok(Plan { definition, version: 0, steps, shapes, output, output_reads: output_reads.outputs, depth: 1 })
}

fn shape(plan: &PlanStep, step: &Step) -> Shape {
    Shape {
        needs: plan.needs.clone(),
        join_any: step.join == Join::Any,
        approval: matches!(plan.action, Action::Approval { .. }),
        fan_out: plan.for_each.is_some(),
        concurrency: step.concurrency.unwrap_or(CONCURRENCY_DEFAULT) as usize,
        tolerant: step.on_error == OnError::Continue,
        undo: match &plan.undo {
            None => Undo::Never,
            Some(undo) if undo.when == crate::mission::CompensateWhen::Tried => Undo::Tried,
            Some(_) => Undo::Succeeded,
        },
    }
}

fn clipped(text: &str) -> String {
    text.chars().take(NAME_MAX).collect()
}

fn check_head(definition: &Definition, options: &MissionOptions, flaws: &mut Vec<Flaw>) {
    let mut flaw = |field: &str, reason: String| flaws.push(Flaw::of_definition(field, reason));
    if !is_name(&definition.name) {
        flaw("name", format!("`{}` {NAME_RULE}", clipped(&definition.name)));
    }
    if definition.description.chars().count() > DESCRIPTION_MAX {
        flaw("description", format!("is longer than {DESCRIPTION_MAX} characters"));
    }
    match definition.steps.len() {
        0 => flaw("steps", "there must be at least one".to_owned()),
        count if count > options.steps_max => {
            flaw(
                "steps",
                format!("there are {count}, `jobs.missions.steps_max` allows {}", options.steps_max),
            );
        }
        _ => {}
    }
    if let Some(deadline) = definition.deadline {
        if deadline > options.deadline_max {
            flaw(
                "deadline",
                format!("{deadline} is longer than `jobs.missions.deadline_max`, {}", options.deadline_max),
            );
        } else if deadline.get().is_zero() {
            flaw("deadline", "must be longer than no time".to_owned());
        }
    }
    if let Some(schema) = &definition.inputs {
        if !schema.is_object() {
            flaw("inputs", "must be a JSON Schema: an object".to_owned());
        } else if let Err(error) = jsonschema::validator_for(schema) {
            flaw("inputs", format!("is not a JSON Schema: {error}"));
        }
    }
}

fn template(value: &Value, field: &str, flaw: &mut dyn FnMut(String, String)) -> Option<Template> {
    match Template::parse(value) {
        Ok(template) => Some(template),
        Err(errors) => {
            for error in errors {
                let path = match error.path.as_str() {
                    "" => field.to_owned(),
                    path if path.starts_with('[') => format!("{field}{path}"),
                    path => format!("{field}.{path}"),
                };
                flaw(path, error.error.to_string());
            }
            None
        }
    }
}

struct Compiler<'a> {
    positions: &'a BTreeMap<String, usize>,
    options: &'a MissionOptions,
}

impl Compiler<'_> {
    fn step(&self, step: &Step, flaws: &mut Vec<Flaw>) -> PlanStep {
        let mut flaw = |field: String, reason: String| flaws.push(Flaw::of_step(&step.name, field, reason));
        check_step(step, &mut flaw);
        let condition = step.condition.as_deref().and_then(|text| condition(text, &mut flaw));
        let for_each = step.for_each.as_ref().and_then(|list| self.for_each(list, &mut flaw));
        let action = self.action(step, &mut flaw);
        let input = input(&step.input, "input", &mut flaw);
        let undo = step.compensate.as_ref().map(|compensation| undo(compensation, &mut flaw));
        let mut plan = PlanStep {
            name: step.name.clone(),
            needs: Vec::new(),
            condition,
            for_each,
            action,
            input,
            queue: step.queue.clone(),
            priority: step.priority,
            timeout: step.timeout,
            retry: step.retry.clone(),
            undo,
            gate_reads: std::collections::BTreeSet::new(),
            input_reads: std::collections::BTreeSet::new(),
        };
        let mut needs = of_step(&mut plan, self.positions, &mut flaw);
        for name in &step.needs {
            match self.positions.get(name) {
                Some(_) if *name == step.name => {
                    flaw("needs".to_owned(), "a step cannot need itself".to_owned());
                }
                Some(position) => {
                    needs.insert(*position);
                }
                None => flaw("needs".to_owned(), unknown_step(name, self.positions)),
            }
        }
        plan.needs = needs.into_iter().collect();
        plan
    }

    fn for_each(&self, list: &Value, flaw: &mut dyn FnMut(String, String)) -> Option<Template> {
        if let Value::Array(items) = list
            && items.len() > self.options.fan_out_max
        {
            let (count, max) = (items.len(), self.options.fan_out_max);
            flaw(
                "for_each".to_owned(),
                format!("has {count} items, `jobs.missions.fan_out_max` allows {max}"),
            );
        }
        let list = template(list, "for_each", flaw)?;
        let may_be_list = match &list {
            Template::Expression(_) | Template::List(_) => true,
            Template::Literal(value) => value.is_array(),
            Template::Text(_) | Template::Object(_) => false,
        };
        if !may_be_list {
            flaw("for_each".to_owned(), "must be a list, or an expression that gives one".to_owned());
        }
        Some(list)
    }

    fn action(&self, step: &Step, flaw: &mut dyn FnMut(String, String)) -> Action {
        if let Some(tool) = &step.tool {
            return Action::Tool(tool.clone());
        }
        if let Some(kind) = &step.kind {
            check_kind(kind, "kind", flaw);
            return Action::Kind(kind.clone());
        }
        if let Some(mission) = &step.mission {
            return sub_mission(mission, flaw);
        }
        let approval = step.approval.as_ref();
        let message = approval.map_or("", |approval| approval.message.as_str());
        if approval.is_some() && message.trim().is_empty() {
            flaw("approval.message".to_owned(), "must say what is asked".to_owned());
        }
        let deadline = approval.and_then(|approval| approval.deadline);
        if let Some(deadline) = deadline
            && (deadline > self.options.deadline_max || deadline.get().is_zero())
        {
            flaw(
                "approval.deadline".to_owned(),
                format!("must be at most {} and longer than no time", self.options.deadline_max),
            );
        }
        let message = Template::parse_text(message).unwrap_or_else(|error| {
            flaw("approval.message".to_owned(), error.to_string());
            Template::Literal(Value::Null)
        });
        Action::Approval {
            message,
            deadline: deadline.map(paddock_platform::units::HumanDuration::get),
            on_deadline: approval.map(|approval| approval.on_deadline).unwrap_or_default(),
        }
    }
}

/// What the fields of a step say together.
fn check_step(step: &Step, flaw: &mut dyn FnMut(String, String)) {
    let targets = [step.tool.is_some(), step.kind.is_some(), step.mission.is_some(), step.approval.is_some()];
    if targets.into_iter().filter(|is_there| *is_there).count() != 1 {
        flaw(
            "tool".to_owned(),
            "exactly one of `tool`, `kind`, `mission` and `approval` must be there".to_owned(),
        );
    }
    if step.description.chars().count() > DESCRIPTION_MAX {
        flaw("description".to_owned(), format!("is longer than {DESCRIPTION_MAX} characters"));
    }
    if let Some(concurrency) = step.concurrency {
        if step.for_each.is_none() {
            flaw("concurrency".to_owned(), "only a step with `for_each` has several runs".to_owned());
        }
        if !(1..=CONCURRENCY_MAX).contains(&concurrency) {
            flaw("concurrency".to_owned(), format!("{concurrency} is not 1 to {CONCURRENCY_MAX}"));
        }
    }
    if let Some(priority) = step.priority
        && !(-100..=100).contains(&priority)
    {
        flaw("priority".to_owned(), format!("{priority} is not -100 to 100"));
    }
    if step.timeout.is_some_and(|timeout| timeout.get().is_zero()) {
        flaw("timeout".to_owned(), "must be longer than no time".to_owned());
    }
    if step.approval.is_some() {
        let refused = [
            ("for_each", step.for_each.is_some()),
            ("input", step.input.as_object().is_none_or(|input| !input.is_empty())),
            ("timeout", step.timeout.is_some()),
            ("retry", step.retry.is_some()),
            ("queue", step.queue.is_some()),
            ("priority", step.priority.is_some()),
            ("compensate", step.compensate.is_some()),
        ];
        for (field, _) in refused.into_iter().filter(|(_, is_there)| *is_there) {
            flaw(field.to_owned(), "an approval has none".to_owned());
        }
    }
    if step.mission.is_some() {
        for (field, is_there) in [("timeout", step.timeout.is_some()), ("retry", step.retry.is_some())] {
            if is_there {
                flaw(
                    field.to_owned(),
                    "a sub-mission has none: its own definition says it, by step".to_owned(),
                );
            }
        }
    }
}

/// `${…}` around a condition may be left out.
fn condition(text: &str, flaw: &mut dyn FnMut(String, String)) -> Option<Expression> {
    let bare = text.trim();
    let bare = bare.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')).unwrap_or(bare);
    match expression::parse(bare) {
        Ok(Expression::Literal(value)) if !value.is_boolean() => {
            flaw("if".to_owned(), "must come to true or false".to_owned());
            None
        }
        Ok(condition) => Some(condition),
        Err(error) => {
            flaw("if".to_owned(), error.to_string());
            None
        }
    }
}

fn input(value: &Value, field: &str, flaw: &mut dyn FnMut(String, String)) -> Template {
    if !value.is_object() && !value.is_string() {
        flaw(field.to_owned(), "must be an object".to_owned());
    }
    let input = template(value, field, flaw).unwrap_or(Template::Literal(Value::Null));
    if matches!(&input, Template::Text(_)) || matches!(&input, Template::Literal(Value::String(_))) {
        flaw(field.to_owned(), "must be an object, or one expression that gives one".to_owned());
    }
    input
}

fn check_kind(kind: &str, field: &str, flaw: &mut dyn FnMut(String, String)) {
    let valid = (1..=64).contains(&kind.len())
        && kind.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-.".contains(&b));
    if !valid {
        flaw(field.to_owned(), "must be 1 to 64 of a-z, 0-9, `_`, `-` and `.`".to_owned());
    }
}

fn sub_mission(text: &str, flaw: &mut dyn FnMut(String, String)) -> Action {
    let (name, version) = match text.split_once('@') {
        Some((name, version)) => (name, Some(version)),
        None => (text, None),
    };
    let number = version.map(str::parse::<u32>);
    if !is_name(name) || number.as_ref().is_some_and(|number| !matches!(number, Ok(1..))) {
        flaw("mission".to_owned(), "must be `name` or `name@version`".to_owned());
    }
    Action::Mission { name: name.to_owned(), version: number.and_then(Result::ok) }
}

fn undo(compensation: &Compensation, flaw: &mut dyn FnMut(String, String)) -> PlanUndo {
    let action = match (&compensation.tool, &compensation.kind) {
        (Some(tool), None) => Action::Tool(tool.clone()),
        (None, Some(kind)) => {
            check_kind(kind, "compensate.kind", flaw);
            Action::Kind(kind.clone())
        }
        _ => {
            flaw("compensate.tool".to_owned(), "exactly one of `tool` and `kind` must be there".to_owned());
            Action::Kind(String::new())
        }
    };
    PlanUndo {
        action,
        input: input(&compensation.input, "compensate.input", flaw),
        when: compensation.when,
        timeout: compensation.timeout,
        retry: compensation.retry.clone(),
        reads: std::collections::BTreeSet::new(),
        reads_own: false,
    }
}

pub(super) fn unknown_step(name: &str, positions: &BTreeMap<String, usize>) -> String {
    let nearest = positions.keys().find(|known| {
        known.len().abs_diff(name.len()) <= 2
            && (known.starts_with(name) || name.starts_with(known.as_str()) || same_signs(known, name))
    });
    let name = clipped(name);
    match nearest {
        Some(nearest) => format!("no step is called `{name}`; did you mean `{nearest}`?"),
        None => format!("no step is called `{name}`"),
    }
}

fn same_signs(left: &str, right: &str) -> bool {
    let sorted = |text: &str| {
        let mut signs: Vec<char> = text.chars().collect();
        signs.sort_unstable();
        signs
    };
    sorted(left) == sorted(right)
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
