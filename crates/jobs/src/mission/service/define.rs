//! Definitions: checked, stored, shown.

use jiff::Timestamp;
use paddock_platform::identity::{Caller, Tenant};

use super::Missions;
use crate::mission::{
    Definition, DefinitionView, Flaw, MissionError, StoredDefinition,
    plan::{self, Plan},
    store::{DefinitionRow, sql},
};

/// How often storing is tried when others store the same name at the same time.
const TRIES_MAX: u32 = 20;

/// Checks a definition and pins the versions of the missions that it calls.
pub(super) async fn check(
    missions: &Missions,
    caller: &Caller,
    mut definition: Definition,
) -> Result<Plan, MissionError> {
    let options = missions.options();
    let size = serde_json::to_string(&definition).map_or(0, |body| body.len());
    if size as u64 > options.definition_max.get() {
        let reason =
            format!("has {size} bytes; `jobs.missions.definition_max` allows {}", options.definition_max);
        return Err(MissionError::Invalid(vec![Flaw::of_definition("definition", reason)]));
    }
    let draft = plan::compile(definition.clone(), &options).map_err(MissionError::Invalid)?;
    let mut flaws = match missions.toolbox() {
        Some(toolbox) => plan::check_tools(&draft, &toolbox, caller),
        None => Vec::new(),
    };
    let mut depth = 1;
    for (index, name, version) in draft.missions() {
        let step = &mut definition.steps[index];
        let found = sql::find_definition(missions.store(), caller.tenant(), name, version).await?;
        if let Some(found) = found {
            depth = depth.max(found.depth + 1);
            step.mission = Some(format!("{name}@{}", found.version));
        } else {
            let wanted = version.map_or_else(|| name.to_owned(), |version| format!("{name}@{version}"));
            flaws.push(Flaw::of_step(&step.name, "mission", format!("no mission definition `{wanted}`")));
        }
    }
    if depth > options.depth_max {
        let reason = format!(
            "missions call missions {depth} deep, `jobs.missions.depth_max` allows {}",
            options.depth_max
        );
        flaws.push(Flaw::of_definition("steps", reason));
    }
    if !flaws.is_empty() {
        return Err(MissionError::Invalid(flaws));
    }
    let plan = plan::compile(definition, &options).map_err(MissionError::Invalid)?;
    Ok(Plan { depth, ..plan })
}

/// Stores a definition under the next version of its name.
pub(super) async fn save(
    missions: &Missions,
    caller: &Caller,
    definition: Definition,
) -> Result<StoredDefinition, MissionError> {
    let plan = check(missions, caller, definition).await?;
    let tenant = caller.tenant();
    let (store, options) = (missions.store(), missions.options());
    let body = serde_json::to_string(&plan.definition).unwrap_or_default();
    let hash = blake3::hash(body.as_bytes()).to_hex().to_string();
    let name = plan.definition.name.clone();
    for _ in 0..TRIES_MAX {
        let latest = sql::find_definition(store, tenant, &name, None).await?;
        if let Some(latest) = latest.as_ref().filter(|latest| latest.hash == hash) {
            return Ok(StoredDefinition { name, version: latest.version, created: false });
        }
        let count = sql::count_definitions(store, tenant).await?;
        if count >= options.definitions_max {
            return Err(MissionError::Full { what: "mission definitions", count });
        }
        let version = latest.map_or(0, |latest| latest.version) + 1;
        let row = DefinitionRow {
            name: name.clone(),
            version,
            body: body.clone(),
            hash: hash.clone(),
            depth: plan.depth,
            created_at: Timestamp::now(),
            created_by: caller.key_id().map(str::to_owned),
        };
        if sql::insert_definition(store, tenant, row).await? {
            return Ok(StoredDefinition { name, version, created: true });
        }
    }
    Err(MissionError::Overloaded("others store this definition at the same time"))
}

pub(super) async fn definition(
    missions: &Missions,
    tenant: &Tenant,
    name: &str,
    version: Option<u32>,
) -> Result<DefinitionView, MissionError> {
    let unknown = || {
        let shown: String = name.chars().take(64).collect();
        MissionError::UnknownDefinition(
            version.map_or_else(|| shown.clone(), |version| format!("{shown}@{version}")),
        )
    };
    if !plan::is_name(name) {
        return Err(unknown());
    }
    let row = sql::find_definition(missions.store(), tenant, name, version).await?.ok_or_else(unknown)?;
    Ok(DefinitionView::of(&row))
}
