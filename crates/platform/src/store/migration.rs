//! Brings the schema of an area to what its code expects.

use std::collections::BTreeMap;

use super::{Statement, Store, StoreError, Transaction};
use crate::params;

/// One step of an area's schema. Once released it is never edited: a change is another step.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    version: u32,
    name: &'static str,
    sqlite: &'static str,
    postgres: &'static str,
}

impl Migration {
    /// A step whose SQL both engines understand; several statements are separated by `;`.
    pub const fn new(version: u32, name: &'static str, sql: &'static str) -> Self {
        Self { version, name, sqlite: sql, postgres: sql }
    }

    /// Gives PostgreSQL a text of its own.
    #[must_use]
    pub const fn with_postgres(self, sql: &'static str) -> Self {
        Self { postgres: sql, ..self }
    }
}

/// The steps of an area, by version from 1 without gaps.
#[derive(Clone, Copy, Debug)]
pub struct Migrations {
    /// The area.
    pub area: &'static str,
    /// Its steps.
    pub steps: &'static [Migration],
}

impl Migrations {
    /// The steps of an area.
    pub const fn new(area: &'static str, steps: &'static [Migration]) -> Self {
        Self { area, steps }
    }
}

/// The schema in the database and the code do not fit together.
#[derive(Clone, Debug, thiserror::Error)]
pub enum MigrationError {
    /// The steps in the code are not numbered 1, 2, 3, …: a defect.
    #[error("the migrations of {area} are not numbered from 1 without gaps")]
    Numbering {
        /// Which area.
        area: &'static str,
    },
    /// A step was applied with another text than the code has now.
    #[error(
        "migration {version} ({name}) of {area} was edited after it was applied to this database; \
         nothing was changed; use the version of Paddock that applied it"
    )]
    Edited {
        /// Which area.
        area: &'static str,
        /// Which step.
        version: u32,
        /// Its name.
        name: &'static str,
    },
    /// The database has steps that the code does not know.
    #[error(
        "the database has version {found} of the {area} schema, this Paddock knows {known}; \
         nothing was changed; upgrade Paddock"
    )]
    Newer {
        /// Which area.
        area: &'static str,
        /// The version in the database.
        found: u32,
        /// The last version that the code knows.
        known: u32,
    },
    /// A step failed; the ones before it were kept, of it nothing.
    #[error("migration {version} ({name}) of {area} failed: {reason}; nothing of it was kept")]
    Failed {
        /// Which area.
        area: &'static str,
        /// Which step.
        version: u32,
        /// Its name.
        name: &'static str,
        /// The engine's words.
        reason: String,
    },
}

const CREATE_TABLE: &str = "CREATE TABLE IF NOT EXISTS paddock_migrations (
    area TEXT NOT NULL,
    version BIGINT NOT NULL,
    name TEXT NOT NULL,
    checksum TEXT NOT NULL,
    applied_at BIGINT NOT NULL,
    PRIMARY KEY (area, version)
)";
/// For PostgreSQL. A change of a large table takes longer than any statement of a request may, and so does waiting for
/// another server that makes it: two that start together migrate one after the other. SQLite has one writer anyway, and
/// no deadline for several statements at once.
const LOCK: &str = "SET LOCAL statement_timeout = 0; \
    SET LOCAL idle_in_transaction_session_timeout = 0; \
    SELECT pg_advisory_xact_lock(7211820461)";
static APPLIED: Statement = Statement::new(
    "store",
    "list_migrations",
    "SELECT version, checksum FROM paddock_migrations WHERE area = ?1 ORDER BY version",
);
static RECORD: Statement = Statement::new(
    "store",
    "record_migration",
    "INSERT INTO paddock_migrations (area, version, name, checksum, applied_at) VALUES (?1, ?2, ?3, ?4, ?5)",
);

/// Applies the steps that are missing, each in a transaction of its own.
pub(super) async fn migrate(store: &Store, migrations: Migrations) -> Result<(), StoreError> {
    let area = migrations.area;
    if (1..).zip(migrations.steps).any(|(version, step)| version != step.version) {
        return Err(MigrationError::Numbering { area }.into());
    }
    let applied = store.write(move |tx| Box::pin(async move { check(tx, migrations).await })).await?;
    for step in migrations.steps.iter().skip(applied) {
        let applied =
            store.write(move |tx| Box::pin(async move { apply(tx, migrations, *step).await })).await?;
        if applied {
            let name = step.name;
            tracing::info!(
                store.area = area,
                migration.version = step.version,
                migration.name = name,
                "migrated"
            );
        }
    }
    Ok(())
}

/// How many steps are applied, if they are the ones that the code has.
async fn check(tx: &mut Transaction, migrations: Migrations) -> Result<usize, StoreError> {
    if tx.is_postgres() {
        tx.batch(LOCK).await?;
    }
    tx.batch(CREATE_TABLE).await?;
    let area = migrations.area;
    let mut applied: BTreeMap<u32, String> = BTreeMap::new();
    for row in tx.query(&APPLIED, params![area]).await? {
        applied.insert(row.get(0)?, row.get(1)?);
    }
    let known = migrations.steps.last().map_or(0, |step| step.version);
    if let Some((&found, _)) = applied.last_key_value()
        && found > known
    {
        return Err(MigrationError::Newer { area, found, known }.into());
    }
    for step in migrations.steps {
        if applied.get(&step.version).is_some_and(|checksum| *checksum != checksum_of(tx, step)) {
            return Err(MigrationError::Edited { area, version: step.version, name: step.name }.into());
        }
    }
    Ok(applied.len())
}

/// Applies one step, unless somebody else has done so meanwhile.
async fn apply(tx: &mut Transaction, migrations: Migrations, step: Migration) -> Result<bool, StoreError> {
    if check(tx, migrations).await? >= step.version as usize {
        return Ok(false);
    }
    let Migration { version, name, .. } = step;
    tx.batch(text_of(tx, &step)).await.map_err(|error| match error {
        StoreError::Statement { reason, .. } => {
            MigrationError::Failed { area: migrations.area, version, name, reason }.into()
        }
        error => error,
    })?;
    let checksum = checksum_of(tx, &step);
    let now = jiff::Timestamp::now();
    tx.execute(&RECORD, params![migrations.area, version, name, checksum, now]).await?;
    Ok(true)
}

fn text_of(tx: &Transaction, step: &Migration) -> &'static str {
    if tx.is_postgres() { step.postgres } else { step.sqlite }
}

fn checksum_of(tx: &Transaction, step: &Migration) -> String {
    blake3::hash(text_of(tx, step).as_bytes()).to_hex().to_string()
}
