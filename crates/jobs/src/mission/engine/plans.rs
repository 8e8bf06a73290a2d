//! Definitions that were compiled. They never change, so they are kept.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use paddock_platform::{
    identity::Tenant,
    store::{Store, StoreError, Transaction},
    units::{ByteSize, HumanDuration},
};

use crate::mission::{
    Definition, MissionOptions,
    plan::{self, Plan},
    store::{DefinitionRow, sql},
};

/// When so many are kept, all are forgotten: they are quickly made again.
const PLANS_MAX: usize = 512;

type Key = (Tenant, String, u32);

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Plans(Mutex<HashMap<Key, Arc<Plan>>>);

/// What is stored was checked when it was stored; bounds that were lowered since do not take it away.
fn stored_bounds() -> MissionOptions {
    MissionOptions {
        steps_max: usize::MAX,
        fan_out_max: usize::MAX,
        definition_max: ByteSize::bytes(u64::MAX),
        deadline_max: HumanDuration::from_secs(u64::MAX),
        ..MissionOptions::default()
    }
}

/// Compiles a stored definition.
pub(crate) fn compile_row(row: &DefinitionRow) -> Result<Plan, StoreError> {
    let corrupt = || {
        StoreError::Corrupt(format!("the mission definition `{}@{}` cannot be read", row.name, row.version))
    };
    let definition: Definition = serde_json::from_str(&row.body).map_err(|_| corrupt())?;
    let plan = plan::compile(definition, &stored_bounds()).map_err(|_| corrupt())?;
    Ok(Plan { version: row.version, depth: row.depth, ..plan })
}

impl Plans {
    fn known(&self, key: &Key) -> Option<Arc<Plan>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    fn keep(&self, key: Key, plan: Plan) -> Arc<Plan> {
        let plan = Arc::new(plan);
        let mut plans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if plans.len() >= PLANS_MAX {
            plans.clear();
        }
        plans.insert(key, Arc::clone(&plan));
        plan
    }

    /// The plan of a definition that a mission was started with.
    pub(crate) async fn get_in(
        &self,
        tx: &mut Transaction,
        tenant: &Tenant,
        name: &str,
        version: u32,
    ) -> Result<Arc<Plan>, StoreError> {
        let key = (tenant.clone(), name.to_owned(), version);
        if let Some(plan) = self.known(&key) {
            return Ok(plan);
        }
        let row = sql::find_definition_in(tx, tenant, name, version).await?;
        let row = row.ok_or_else(|| {
            StoreError::Corrupt(format!("the mission definition `{name}@{version}` is gone"))
        })?;
        Ok(self.keep(key, compile_row(&row)?))
    }

    /// A plan by its version, or the latest; `None` if there is none.
    pub(crate) async fn get(
        &self,
        store: &Store,
        tenant: &Tenant,
        name: &str,
        version: Option<u32>,
    ) -> Result<Option<Arc<Plan>>, StoreError> {
        if let Some(version) = version
            && let Some(plan) = self.known(&(tenant.clone(), name.to_owned(), version))
        {
            return Ok(Some(plan));
        }
        let Some(row) = sql::find_definition(store, tenant, name, version).await? else { return Ok(None) };
        let key = (tenant.clone(), name.to_owned(), row.version);
        if let Some(plan) = self.known(&key) {
            return Ok(Some(plan));
        }
        Ok(Some(self.keep(key, compile_row(&row)?)))
    }
}
