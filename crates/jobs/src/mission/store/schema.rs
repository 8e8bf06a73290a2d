//! The tables.

use paddock_platform::store::{Migration, Migrations};

pub(crate) const MIGRATIONS: Migrations = Migrations::new(
    "missions",
    &[Migration::new(
        1,
        "missions",
        "CREATE TABLE mission_definitions (
             tenant TEXT NOT NULL,
             name TEXT NOT NULL,
             version BIGINT NOT NULL,
             body TEXT NOT NULL,
             hash TEXT NOT NULL,
             depth BIGINT NOT NULL,
             created_ms BIGINT NOT NULL,
             created_by TEXT,
             PRIMARY KEY (tenant, name, version)
         );
         CREATE TABLE missions (
             id TEXT NOT NULL PRIMARY KEY,
             tenant TEXT NOT NULL,
             key_id TEXT,
             definition TEXT NOT NULL,
             version BIGINT NOT NULL,
             parent TEXT,
             queue TEXT NOT NULL,
             priority BIGINT NOT NULL,
             trace TEXT,
             phase TEXT NOT NULL,
             doc TEXT NOT NULL,
             inputs TEXT NOT NULL,
             output TEXT,
             fault TEXT,
             created_ms BIGINT NOT NULL,
             started_ms BIGINT,
             finished_ms BIGINT,
             deadline_ms BIGINT NOT NULL,
             retention_ms BIGINT NOT NULL,
             due_ms BIGINT,
             expires_ms BIGINT,
             changes BIGINT NOT NULL
         );
         CREATE INDEX missions_by_tenant ON missions (tenant, id);
         CREATE INDEX missions_active ON missions (tenant) WHERE finished_ms IS NULL;
         CREATE INDEX missions_due ON missions (due_ms) WHERE due_ms IS NOT NULL;
         CREATE INDEX missions_expired ON missions (expires_ms) WHERE expires_ms IS NOT NULL;
         CREATE TABLE mission_runs (
             mission TEXT NOT NULL,
             step BIGINT NOT NULL,
             item BIGINT NOT NULL,
             undo BOOLEAN NOT NULL,
             state TEXT NOT NULL,
             value TEXT,
             job TEXT,
             output TEXT,
             output_size BIGINT NOT NULL DEFAULT 0,
             fault TEXT,
             started_ms BIGINT,
             ended_ms BIGINT,
             PRIMARY KEY (mission, step, item, undo)
         );
         CREATE TABLE mission_approvals (
             mission TEXT NOT NULL,
             step BIGINT NOT NULL,
             tenant TEXT NOT NULL,
             step_name TEXT NOT NULL,
             message TEXT NOT NULL,
             asked_ms BIGINT NOT NULL,
             deadline_ms BIGINT,
             decided_ms BIGINT,
             approved BOOLEAN,
             decided_by TEXT,
             comment TEXT,
             PRIMARY KEY (mission, step)
         );
         CREATE INDEX mission_approvals_open ON mission_approvals (tenant, asked_ms) WHERE decided_ms IS NULL",
    )],
);
