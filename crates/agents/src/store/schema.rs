//! The schema.
//!
//! The inbox is clustered by agent and order: a message is written to one tree and removed from it, and what waits for an
//! agent is one range. What was seen is kept for a while after it was handled, so that a message that is sent again is
//! known.

use paddock_platform::store::{Migration, Migrations};

pub(crate) const MIGRATIONS: Migrations = Migrations::new("agents", &[CREATE, LATER, SHARE]);

macro_rules! schema {
    ($clustered:literal, $bytes:literal, $serial:literal) => {
        concat!(
            "CREATE TABLE agents (
                 tenant TEXT NOT NULL,
                 name TEXT NOT NULL,
                 version BIGINT NOT NULL,
                 status BIGINT NOT NULL,
                 key_id TEXT,
                 scopes TEXT NOT NULL,
                 created_at BIGINT NOT NULL,
                 updated_at BIGINT NOT NULL,
                 PRIMARY KEY (tenant, name)
             );
             CREATE TABLE agent_versions (
                 tenant TEXT NOT NULL,
                 name TEXT NOT NULL,
                 version BIGINT NOT NULL,
                 definition TEXT NOT NULL,
                 created_at BIGINT NOT NULL,
                 PRIMARY KEY (tenant, name, version)
             );
             CREATE TABLE agent_state (
                 agent TEXT NOT NULL,
                 entry TEXT NOT NULL,
                 content ",
            $bytes,
            " NOT NULL,
                 PRIMARY KEY (agent, entry)
             )",
            $clustered,
            ";
             CREATE TABLE agent_inbox (
                 agent TEXT NOT NULL,
                 place BIGINT NOT NULL,
                 attempts BIGINT NOT NULL,
                 envelope TEXT NOT NULL,
                 content ",
            $bytes,
            " NOT NULL,
                 PRIMARY KEY (agent, place)
             )",
            $clustered,
            ";
             CREATE TABLE agent_seen (
                 agent TEXT NOT NULL,
                 message ",
            $bytes,
            " NOT NULL,
                 place BIGINT NOT NULL,
                 seen_at BIGINT NOT NULL,
                 PRIMARY KEY (agent, message)
             )",
            $clustered,
            ";
             CREATE INDEX agent_seen_by_age ON agent_seen (seen_at);
             CREATE TABLE agent_dead_letters (
                 number ",
            $serial,
            ",
                 tenant TEXT NOT NULL,
                 at BIGINT NOT NULL,
                 letter TEXT NOT NULL
             );
             CREATE INDEX agent_dead_letters_by_tenant ON agent_dead_letters (tenant, number);
             CREATE TABLE agent_entries (
                 number ",
            $serial,
            ",
                 tenant TEXT NOT NULL,
                 conversation TEXT NOT NULL,
                 at BIGINT NOT NULL,
                 kind TEXT NOT NULL,
                 agent TEXT,
                 entry TEXT NOT NULL
             );
             CREATE INDEX agent_entries_by_conversation ON agent_entries (tenant, conversation, number);
             CREATE INDEX agent_entries_by_age ON agent_entries (at)"
        )
    };
}

const CREATE: Migration = Migration::new(
    1,
    "create agents",
    schema!(" WITHOUT ROWID", "BLOB", "INTEGER PRIMARY KEY AUTOINCREMENT"),
)
.with_postgres(schema!("", "BYTEA", "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"));

macro_rules! later {
    ($clustered:literal, $bytes:literal) => {
        concat!(
            "CREATE TABLE agent_reminders (
                 agent TEXT NOT NULL,
                 message ",
            $bytes,
            " NOT NULL,
                 due_at BIGINT NOT NULL,
                 envelope TEXT NOT NULL,
                 content ",
            $bytes,
            " NOT NULL,
                 PRIMARY KEY (agent, message)
             )",
            $clustered,
            ";
             CREATE TABLE agent_schedules (
                 agent TEXT NOT NULL PRIMARY KEY,
                 spec TEXT NOT NULL,
                 due_at BIGINT NOT NULL
             );
             CREATE TABLE agent_splits (
                 tenant TEXT NOT NULL,
                 name TEXT NOT NULL,
                 version BIGINT NOT NULL,
                 weight_ppm BIGINT NOT NULL,
                 since BIGINT NOT NULL,
                 key_id TEXT,
                 scopes TEXT NOT NULL,
                 PRIMARY KEY (tenant, name)
             )"
        )
    };
}

const LATER: Migration = Migration::new(
    2,
    "keep what is to happen later, and shares of versions",
    later!(" WITHOUT ROWID", "BLOB"),
)
.with_postgres(later!("", "BYTEA"));
// Nobody shares SQLite: there is nothing to keep of that.
const SHARE: Migration = Migration::new(3, "share agents among servers", "").with_postgres(
    "CREATE SEQUENCE agent_places;
     SELECT setval('agent_places', greatest(1,
         (SELECT coalesce(max(place), 0) FROM agent_inbox), (SELECT coalesce(max(place), 0) FROM agent_seen)));
     CREATE SEQUENCE agent_epochs;
     CREATE TABLE agent_nodes (
         node TEXT PRIMARY KEY,
         name TEXT NOT NULL,
         labels TEXT NOT NULL,
         weight BIGINT NOT NULL,
         started_at BIGINT NOT NULL,
         renewed_at BIGINT NOT NULL,
         expires_at BIGINT NOT NULL,
         awake BIGINT NOT NULL,
         is_full BOOLEAN NOT NULL,
         seen BIGINT NOT NULL
     );
     CREATE TABLE agent_owners (
         agent TEXT PRIMARY KEY,
         node TEXT NOT NULL,
         epoch BIGINT NOT NULL
     );
     CREATE INDEX agent_owners_by_epoch ON agent_owners (epoch);
     CREATE INDEX agent_owners_by_node ON agent_owners (node);
     CREATE TABLE agent_arrivals (
         agent TEXT NOT NULL,
         place BIGINT NOT NULL,
         PRIMARY KEY (agent, place)
     )",
);
