//! The tools: the same calls as the routes.

use paddock_platform::{identity::Scope, problem::Problem, tool::Tool};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{CatchUp, NewSchedule, Overlap, ScheduleView, Schedules};
use crate::{NewJob, mission::StartMission};

/// How many schedules `schedules_list` gives.
const LIST_LIMIT: u32 = 100;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Serialize, JsonSchema)]
struct ScheduleList {
    /// By name, 100 at most.
    schedules: Vec<ScheduleView>,
}

/// A schedule.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Put {
    /// Its name; one of the same name is changed.
    name: String,
    /// A cron pattern: `minute hour day month weekday`. Either this or `every`.
    #[serde(default)]
    cron: Option<String>,
    /// The time zone of the pattern, such as `Europe/Berlin`; UTC when left out.
    #[serde(default)]
    time_zone: Option<String>,
    /// How often, such as `6h`.
    #[serde(default)]
    every: Option<paddock_platform::units::HumanDuration>,
    /// The tool to call. Either this or `mission`.
    #[serde(default)]
    tool: Option<String>,
    /// The stored mission to start.
    #[serde(default)]
    mission: Option<String>,
    /// What the tool is called with, or the mission started with.
    #[serde(default = "no_input")]
    input: Value,
    /// What becomes of firings that nobody was there for.
    #[serde(default)]
    catch_up: CatchUp,
    /// What happens if the last one has not ended.
    #[serde(default)]
    overlap: Overlap,
    /// Whether it is paused.
    #[serde(default)]
    paused: bool,
}

fn no_input() -> Value {
    Value::Object(Map::new())
}

/// Which schedule.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Which {
    /// Its name.
    name: String,
}

#[derive(Serialize, JsonSchema)]
struct Removed {
    /// Its name.
    removed: String,
}

/// The tools of schedules.
pub fn tools(schedules: &Schedules) -> Vec<Tool> {
    vec![list(schedules), put(schedules), remove(schedules)]
}

fn list(schedules: &Schedules) -> Tool {
    let schedules = schedules.clone();
    Tool::new(
        "schedules_list",
        "Lists the schedules: what is enqueued when, when it fires next, and how it went last.",
        Scope::read("jobs"),
        move |context, _: Nothing| {
            let schedules = schedules.clone();
            async move {
                let schedules = schedules.list(context.caller.tenant(), "", LIST_LIMIT).await?;
                Ok::<ScheduleList, Problem>(ScheduleList { schedules })
            }
        },
    )
}

fn put(schedules: &Schedules) -> Tool {
    let schedules = schedules.clone();
    Tool::new(
        "schedules_put",
        "Makes or changes a schedule: a tool call or a mission that is enqueued by a cron pattern or every so often.",
        Scope::write("jobs"),
        move |context, input: Put| {
            let schedules = schedules.clone();
            async move {
                let mission = input.mission.map(|name| StartMission {
                    name: Some(name),
                    inputs: input.input.clone(),
                    ..StartMission::default()
                });
                let schedule = NewSchedule {
                    cron: input.cron,
                    time_zone: input.time_zone,
                    every: input.every,
                    catch_up: input.catch_up,
                    overlap: input.overlap,
                    job: input.tool.map(|tool| NewJob::tool(tool, input.input)),
                    mission,
                    paused: input.paused,
                    ..NewSchedule::default()
                };
                Ok::<ScheduleView, Problem>(schedules.put(&context.caller, &input.name, schedule).await?)
            }
        },
    )
}

fn remove(schedules: &Schedules) -> Tool {
    let schedules = schedules.clone();
    Tool::new(
        "schedules_remove",
        "Forgets a schedule; what it enqueued stays.",
        Scope::write("jobs"),
        move |context, input: Which| {
            let schedules = schedules.clone();
            async move {
                schedules.delete(context.caller.tenant(), &input.name).await?;
                Ok::<Removed, Problem>(Removed { removed: input.name })
            }
        },
    )
    .destructive()
}
