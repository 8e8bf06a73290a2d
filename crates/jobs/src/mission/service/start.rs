//! Accepting missions.

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use paddock_platform::{
    identity::Caller,
    store::{Store, StoreError, Transaction},
    units::HumanDuration,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::Missions;
use crate::{
    JobError, JobId, NewJob, PreparedJob,
    mission::{
        Definition, MissionError,
        engine::{NewMission, check_inputs, deadline_of, job_of},
        plan,
        store::sql,
    },
};

/// How often a transaction is tried that another one got in the way of.
const TRIES_MAX: u32 = 5;
const RETRY_WAIT: Duration = Duration::from_millis(20);

/// A mission to be started: the body of `POST /missions`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StartMission {
    /// The name of a stored definition. Either this or `definition`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its version; the latest when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// A definition, which is stored first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<Definition>,
    /// What it is started with.
    #[serde(default = "no_inputs")]
    #[schema(value_type = Object)]
    pub inputs: Value,
    /// The queue of the mission and, unless they say otherwise, of its steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// -100 to 100.
    #[serde(default)]
    pub priority: i8,
    /// Not before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub run_at: Option<Timestamp>,
    /// While a mission with this key is kept, starting it again answers that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unique_key: Option<String>,
    /// How long it is kept after it ended; `jobs.missions.retention` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub retention: Option<HumanDuration>,
    /// Who is told how it ended: a webhook's id, or a URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<String>,
    /// A W3C `traceparent` to continue; the request's own when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
}

fn no_inputs() -> Value {
    Value::Object(Map::new())
}

/// Checks a mission and gives it its id, without keeping it.
pub(crate) async fn prepare(
    missions: &Missions,
    caller: &Caller,
    start: StartMission,
) -> Result<NewMission, MissionError> {
    let (name, version) = match (start.name, start.definition) {
        (Some(name), None) => (name, start.version),
        (None, Some(definition)) => {
            let stored = super::define::save(missions, caller, definition).await?;
            (stored.name, Some(stored.version))
        }
        _ => {
            return Err(
                JobError::invalid("name", "name either a stored definition or give a `definition`").into()
            );
        }
    };
    let unknown = || {
        let shown: String = name.chars().take(64).collect();
        MissionError::UnknownDefinition(
            version.map_or_else(|| shown.clone(), |version| format!("{shown}@{version}")),
        )
    };
    if !plan::is_name(&name) {
        return Err(unknown());
    }
    let engine = &missions.0.engine;
    let plan = engine.plans.get(&engine.store, caller.tenant(), &name, version).await?.ok_or_else(unknown)?;
    // Tools may have gone since it was stored, and this caller may be another.
    if let Some(toolbox) = missions.toolbox() {
        let flaws = plan::check_tools(&plan, &toolbox, caller);
        if !flaws.is_empty() {
            return Err(MissionError::Invalid(flaws));
        }
    }
    check_inputs(&plan, &start.inputs)?;
    let options = missions.options();
    let retention = start.retention.unwrap_or(options.retention).get();
    let webhook = match &start.webhook {
        Some(webhook) => Some(missions.0.jobs.check_webhook(caller, webhook).await?),
        None => None,
    };
    let job = NewJob {
        queue: start.queue,
        priority: start.priority,
        run_at: start.run_at,
        unique_key: start.unique_key,
        webhook,
        trace: start.trace,
        ..NewJob::default()
    };
    let job = missions.0.jobs.prepare(caller, job_of(&plan, &start.inputs, retention, job))?;
    let from = start.run_at.map_or_else(Timestamp::now, |at| at.max(Timestamp::now()));
    let deadline_at = deadline_of(&plan, &options, from);
    Ok(NewMission { plan, inputs: start.inputs, job, parent: None, deadline_at, retention })
}

/// Keeps a mission; `Err` within: as many as may are there.
async fn keep(
    tx: &mut Transaction,
    caller: &Caller,
    mission: &NewMission,
    active_max: u64,
) -> Result<Result<crate::Accepted, u64>, StoreError> {
    let active = sql::count_active(tx, caller.tenant()).await?;
    if active >= active_max {
        return Ok(Err(active));
    }
    mission.insert(tx).await.map(Ok)
}

pub(super) async fn start(
    missions: &Missions,
    caller: &Caller,
    start: StartMission,
) -> Result<(JobId, bool), MissionError> {
    let mission = prepare(missions, caller, start).await?;
    let active_max = missions.options().active_max;
    let kept = (caller.clone(), mission.clone());
    let accepted = insisting(missions.store(), move |tx| {
        let (caller, mission) = kept.clone();
        Box::pin(async move { keep(tx, &caller, &mission, active_max).await })
    })
    .await?;
    let accepted =
        accepted.map_err(|count| MissionError::Full { what: "missions that have not ended", count })?;
    if accepted.existed {
        check_same(missions, caller, &mission, accepted.id).await?;
        return Ok((accepted.id, true));
    }
    let prepared: [PreparedJob; 1] = [mission.job];
    missions.0.jobs.announce(&prepared);
    Ok((accepted.id, false))
}

/// A unique key that names a mission that was started differently is a mistake.
async fn check_same(
    missions: &Missions,
    caller: &Caller,
    mission: &NewMission,
    id: JobId,
) -> Result<(), MissionError> {
    let known = missions.0.jobs.get(caller.tenant(), id).await?;
    let asked = mission.job.job();
    if known.kind == asked.kind && known.input == asked.input {
        return Ok(());
    }
    Err(JobError::UniqueKeyReused { key: asked.unique_key.unwrap_or_default(), id }.into())
}

/// Runs a transaction, and once more when another one got in its way.
pub(crate) async fn insisting<T, F>(store: &Store, body: F) -> Result<T, StoreError>
where
    T: Send + 'static,
    F: for<'t> Fn(&'t mut Transaction) -> BoxFuture<'t, Result<T, StoreError>> + Send + Sync + 'static,
{
    let body = Arc::new(body);
    let mut tried = 0;
    loop {
        tried += 1;
        let body = Arc::clone(&body);
        match store.write(move |tx| body(tx)).await {
            Err(StoreError::Conflict(_)) if tried < TRIES_MAX => tokio::time::sleep(RETRY_WAIT * tried).await,
            result => return result,
        }
    }
}
