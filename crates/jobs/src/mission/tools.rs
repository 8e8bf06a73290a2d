//! The tools: the same calls as the routes, for agents that run missions and look after them.

use std::time::Duration;

use paddock_platform::{identity::Scope, problem::Problem, tool::Tool};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    ApprovalView, Decision, Format, MissionBrief, MissionView, Missions, Phase, StartMission,
    StoredDefinition, read, service::ListQuery,
};
use crate::{JobId, routes::parse_id};

/// How many items lists give.
const LIST_LIMIT: u32 = 50;
/// The longest wait for a mission.
const WAIT_MAX: Duration = Duration::from_mins(2);

/// Which mission, and with what.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Run {
    /// The name of a stored definition.
    name: String,
    /// Its version; the latest when left out.
    #[serde(default)]
    version: Option<u32>,
    /// What it is started with, as its definition asks for.
    #[serde(default = "no_inputs")]
    inputs: Value,
    /// While a mission with this key is kept, starting it again answers that one.
    #[serde(default)]
    unique_key: Option<String>,
    /// Seconds to wait for its end, 120 at most.
    #[serde(default)]
    wait: Option<f64>,
}

fn no_inputs() -> Value {
    Value::Object(Map::new())
}

/// Which mission.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Which {
    /// The mission's id.
    id: String,
}

/// Which mission, and how long to wait for it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Look {
    /// The mission's id.
    id: String,
    /// Seconds to wait for its end, 120 at most.
    #[serde(default)]
    wait: Option<f64>,
}

/// Which missions.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Filter {
    /// In this state.
    #[serde(default)]
    state: Option<Phase>,
    /// Of this definition.
    #[serde(default)]
    name: Option<String>,
}

/// A definition.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Save {
    /// The definition in YAML: `name`, `inputs` (JSON Schema), `steps` with `name` and one of `tool`, `kind`, `mission`,
    /// `approval`, and `input`, `needs`, `if`, `for_each`, `retry`, `timeout`, `on_error`, `compensate`; `output`. Refer
    /// with `${inputs.x}`, `${steps.NAME.output#/pointer}`, `${item}`.
    definition: String,
    /// Only check it.
    #[serde(default)]
    dry_run: bool,
}

/// An answer to what a step asks.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Decide {
    /// The mission's id.
    id: String,
    /// The step that asks.
    step: String,
    /// Yes or no.
    approve: bool,
    /// Why.
    #[serde(default)]
    comment: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Serialize, JsonSchema)]
struct MissionList {
    /// The newest first, 50 at most.
    missions: Vec<MissionBrief>,
}

#[derive(Serialize, JsonSchema)]
struct ApprovalList {
    /// The oldest first, 50 at most.
    approvals: Vec<ApprovalView>,
}

/// The tools of missions.
pub fn tools(missions: &Missions) -> Vec<Tool> {
    vec![
        run(missions),
        get(missions),
        list(missions),
        save(missions),
        cancel(missions),
        retry(missions),
        approvals(missions),
        decide(missions),
    ]
}

fn id_of(text: &str) -> Result<JobId, Problem> {
    parse_id(text).map_err(|_| Problem::not_found("mission", text.chars().take(64).collect::<String>()))
}

fn wait_of(seconds: Option<f64>) -> Result<Duration, Problem> {
    let wait = Duration::try_from_secs_f64(seconds.unwrap_or(0.0))
        .map_err(|_| Problem::invalid_field("wait", "must be a number of seconds"))?;
    Ok(wait.min(WAIT_MAX))
}

fn run(missions: &Missions) -> Tool {
    let missions = missions.clone();
    Tool::new(
        "missions_run",
        "Starts a mission: a stored graph of tool calls with dependencies, conditions, fan-out and approvals, that runs in \
         the background and survives restarts. Can wait for its end.",
        Scope::write("jobs"),
        move |context, input: Run| {
            let missions = missions.clone();
            async move {
                let wait = wait_of(input.wait)?;
                let start = StartMission {
                    name: Some(input.name),
                    version: input.version,
                    inputs: input.inputs,
                    unique_key: input.unique_key,
                    ..StartMission::default()
                };
                let (id, _) = missions.start(&context.caller, start).await?;
                Ok::<MissionView, Problem>(missions.wait(context.caller.tenant(), id, wait).await?)
            }
        },
    )
}

fn get(missions: &Missions) -> Tool {
    let missions = missions.clone();
    Tool::new(
        "missions_get",
        "Shows a mission: the state of every step, what waits for a person, what it came to. Can wait for its end.",
        Scope::read("jobs"),
        move |context, input: Look| {
            let missions = missions.clone();
            async move {
                let (id, wait) = (id_of(&input.id)?, wait_of(input.wait)?);
                Ok::<MissionView, Problem>(missions.wait(context.caller.tenant(), id, wait).await?)
            }
        },
    )
}

fn list(missions: &Missions) -> Tool {
    let missions = missions.clone();
    Tool::new(
        "missions_list",
        "Lists missions, the newest first, by state or definition.",
        Scope::read("jobs"),
        move |context, input: Filter| {
            let missions = missions.clone();
            async move {
                let query = ListQuery { state: input.state, name: input.name };
                let missions = missions.list(context.caller.tenant(), &query, None, LIST_LIMIT).await?;
                Ok::<MissionList, Problem>(MissionList { missions })
            }
        },
    )
}

fn save(missions: &Missions) -> Tool {
    let missions = missions.clone();
    Tool::new(
        "missions_save",
        "Stores the definition of a mission under the next version of its name, or only checks it. Mistakes are told with \
         their step and field.",
        Scope::write("jobs"),
        move |context, input: Save| {
            let missions = missions.clone();
            async move {
                let definition = read(&input.definition, Format::Yaml)?;
                if input.dry_run {
                    let name = missions.check(&context.caller, definition).await?.name;
                    return Ok::<StoredDefinition, Problem>(StoredDefinition {
                        name,
                        version: 0,
                        created: false,
                    });
                }
                Ok(missions.save(&context.caller, definition).await?)
            }
        },
    )
}

fn cancel(missions: &Missions) -> Tool {
    let missions = missions.clone();
    Tool::new(
        "missions_cancel",
        "Cancels a mission: what runs is cancelled, what is done is compensated.",
        Scope::write("jobs"),
        move |context, input: Which| {
            let missions = missions.clone();
            async move {
                let id = id_of(&input.id)?;
                Ok::<MissionView, Problem>(missions.cancel(context.caller.tenant(), id).await?)
            }
        },
    )
    .destructive()
}

fn retry(missions: &Missions) -> Tool {
    let missions = missions.clone();
    Tool::new(
        "missions_retry",
        "Goes on with a mission that failed or was cancelled, from what failed; what stands is kept.",
        Scope::write("jobs"),
        move |context, input: Which| {
            let missions = missions.clone();
            async move {
                let id = id_of(&input.id)?;
                Ok::<MissionView, Problem>(missions.retry(context.caller.tenant(), id).await?)
            }
        },
    )
}

fn approvals(missions: &Missions) -> Tool {
    let missions = missions.clone();
    Tool::new(
        "missions_approvals",
        "Lists what missions ask people now.",
        Scope::read("jobs"),
        move |context, _: Nothing| {
            let missions = missions.clone();
            async move {
                let approvals = missions.open_approvals(context.caller.tenant(), LIST_LIMIT).await?;
                Ok::<ApprovalList, Problem>(ApprovalList { approvals })
            }
        },
    )
}

fn decide(missions: &Missions) -> Tool {
    let missions = missions.clone();
    Tool::new(
        "missions_decide",
        "Answers what a step of a mission asks a person: yes or no, with a comment.",
        // More than running missions takes: an agent that runs one must not approve it by that alone.
        Scope::admin("jobs"),
        move |context, input: Decide| {
            let missions = missions.clone();
            async move {
                let id = id_of(&input.id)?;
                let decision = Decision { approve: input.approve, comment: input.comment };
                Ok::<MissionView, Problem>(missions.decide(&context.caller, id, &input.step, decision).await?)
            }
        },
    )
}
