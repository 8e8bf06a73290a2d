//! The schema.
//!
//! Every index is partial but the one that lists: a job is only in those that its state needs, and one that has
//! succeeded costs nothing but its place in the list and in the order of expiry.

use paddock_platform::store::{Migration, Migrations};

pub(crate) const MIGRATIONS: Migrations = Migrations::new("jobs", &[CREATE, RESULTS]);

macro_rules! schema {
    ($key:literal, $with:literal, $after:literal) => {
        concat!(
            "CREATE TABLE jobs (
                 id ", $key, " PRIMARY KEY,
                 state INTEGER NOT NULL,
                 rank BIGINT NOT NULL,
                 attempt BIGINT NOT NULL,
                 spared BIGINT NOT NULL,
                 changes BIGINT NOT NULL,
                 run_at BIGINT NOT NULL,
                 lease BIGINT,
                 started BIGINT,
                 finished BIGINT,
                 expires BIGINT,
                 cancelling BOOLEAN NOT NULL,
                 paced BOOLEAN NOT NULL,
                 tenant TEXT NOT NULL,
                 queue TEXT NOT NULL,
                 pool TEXT NOT NULL,
                 kind TEXT NOT NULL,
                 worker TEXT,
                 unique_key TEXT,
                 concurrency_key TEXT,
                 parent TEXT,
                 key_id TEXT,
                 terms TEXT,
                 progress TEXT,
                 error TEXT,
                 result_size BIGINT,
                 history TEXT,
                 input TEXT NOT NULL,
                 result TEXT
             ) ", $with, ";
             CREATE INDEX jobs_by_tenant ON jobs (tenant, id);
             CREATE INDEX jobs_ready ON jobs (queue, pool, tenant, rank, id) WHERE state = 0;
             CREATE INDEX jobs_due ON jobs (run_at, queue) WHERE state = 1;
             CREATE INDEX jobs_running ON jobs (queue, tenant, lease) WHERE state = 2;
             CREATE INDEX jobs_remarkable ON jobs (state, tenant, id, queue) WHERE state IN (3, 5, 6, 7);
             CREATE INDEX jobs_keyed ON jobs (tenant, queue, concurrency_key, state, rank, id)
                 WHERE concurrency_key IS NOT NULL AND state IN (2, 8);
             CREATE UNIQUE INDEX jobs_unique ON jobs (tenant, unique_key) WHERE unique_key IS NOT NULL;
             CREATE INDEX jobs_expiring ON jobs (expires) WHERE expires IS NOT NULL;
             CREATE TABLE job_keys (
                 tenant TEXT NOT NULL,
                 queue TEXT NOT NULL,
                 concurrency_key TEXT NOT NULL,
                 paced_us BIGINT NOT NULL,
                 PRIMARY KEY (tenant, queue, concurrency_key)
             );
             CREATE TABLE job_queues (name TEXT NOT NULL PRIMARY KEY, mode TEXT NOT NULL);
             CREATE TABLE job_nodes (number BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL, seen BIGINT NOT NULL);
             CREATE TABLE job_meta (name TEXT NOT NULL PRIMARY KEY, content TEXT NOT NULL)",
            $after
        )
    };
}

/// On PostgreSQL a queue is rewritten all the time: its statistics and its dead rows are looked after by counts, not by
/// shares of a table that was empty a minute ago. Without statistics the planner sorts the whole backlog for every
/// claim.
const CREATE: Migration = Migration::new(1, "create jobs", schema!("INTEGER", "", "")).with_postgres(schema!(
    "BIGINT",
    "WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000, \
     autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000, \
     autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 10000, autovacuum_vacuum_cost_delay = 0)",
    ";
             ANALYZE jobs"
));

/// Results among the blobs, by attempt, and places of their own for deliveries.
const RESULTS: Migration = Migration::new(
    2,
    "note large results",
    "CREATE TABLE job_results (
         id BIGINT NOT NULL,
         attempt BIGINT NOT NULL,
         tenant TEXT NOT NULL,
         noted BIGINT NOT NULL,
         PRIMARY KEY (id, attempt)
     );
     INSERT INTO job_results (id, attempt, tenant, noted)
         SELECT id, attempt, tenant, 0 FROM jobs WHERE result_size IS NOT NULL;
     UPDATE jobs SET pool = ':deliveries' WHERE kind = 'webhook:deliver' AND state IN (0, 1, 2, 3, 8)",
);
