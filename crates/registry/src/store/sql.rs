//! Tables and statements.

use paddock_platform::store::{Migration, Migrations, Statement};

macro_rules! tables {
    ($bytes:literal) => {
        concat!(
            "CREATE TABLE registry_content (
                 source TEXT NOT NULL, part BIGINT NOT NULL, data ",
            $bytes,
            " NOT NULL, PRIMARY KEY (source, part)
             );
             CREATE TABLE registry_sources (
                 name TEXT NOT NULL PRIMARY KEY, fingerprint TEXT NOT NULL, mark TEXT NOT NULL, synced_ms BIGINT NOT NULL
             );
             CREATE TABLE registry_syncs (
                 id TEXT NOT NULL PRIMARY KEY, source TEXT NOT NULL, started_ms BIGINT NOT NULL, record TEXT NOT NULL
             );
             CREATE INDEX registry_syncs_by_source ON registry_syncs (source, started_ms);
             CREATE TABLE registry_published (
                 name TEXT NOT NULL, version TEXT NOT NULL, server ",
            $bytes,
            " NOT NULL, status TEXT NOT NULL, status_message TEXT, status_changed_ms BIGINT NOT NULL,
                 published_ms BIGINT NOT NULL, changed_ms BIGINT NOT NULL, claims TEXT NOT NULL, tenant TEXT NOT NULL,
                 PRIMARY KEY (name, version)
             );
             CREATE INDEX registry_published_by_change ON registry_published (changed_ms);
             CREATE TABLE registry_namespaces (
                 namespace TEXT NOT NULL PRIMARY KEY, tenant TEXT NOT NULL, key_id TEXT, taken_ms BIGINT NOT NULL
             );
             CREATE TABLE registry_admin (
                 kind TEXT NOT NULL, name TEXT NOT NULL, options TEXT NOT NULL, created_ms BIGINT NOT NULL,
                 updated_ms BIGINT NOT NULL, PRIMARY KEY (kind, name)
             );
             CREATE TABLE registry_audit (
                 id TEXT NOT NULL PRIMARY KEY, at_ms BIGINT NOT NULL, tenant TEXT NOT NULL, key_id TEXT,
                 event TEXT NOT NULL, target TEXT NOT NULL, detail TEXT NOT NULL
             );
             CREATE INDEX registry_audit_by_time ON registry_audit (at_ms, id)"
        )
    };
}

macro_rules! vectors {
    ($bytes:literal) => {
        concat!(
            "CREATE TABLE registry_vectors (
                 space TEXT NOT NULL, hash TEXT NOT NULL, vector ",
            $bytes,
            " NOT NULL, PRIMARY KEY (space, hash)
             )"
        )
    };
}

pub(super) const MIGRATIONS: Migrations = Migrations::new(
    "registry",
    &[
        Migration::new(1, "registry", tables!("BLOB")).with_postgres(tables!("BYTEA")),
        Migration::new(2, "proofs of namespaces", PROOFS),
        Migration::new(3, "embeddings", vectors!("BLOB")).with_postgres(vectors!("BYTEA")),
    ],
);

const PROOFS: &str = "CREATE TABLE registry_proofs (
        token TEXT NOT NULL PRIMARY KEY, once TEXT NOT NULL UNIQUE, subject TEXT NOT NULL, names TEXT NOT NULL,
        expires_ms BIGINT NOT NULL, kept_ms BIGINT NOT NULL
    );
    CREATE INDEX registry_proofs_by_end ON registry_proofs (kept_ms)";

macro_rules! statements {
    ($($ident:ident = $name:literal: $sql:expr;)*) => {
        $(pub(super) static $ident: Statement = Statement::new("registry", $name, $sql);)*
    };
}

statements! {
    LOAD_CONTENT = "load_content": "SELECT part, data FROM registry_content WHERE source = ?1 ORDER BY part";
    SAVE_PART = "save_part": "INSERT INTO registry_content (source, part, data) VALUES (?1, ?2, ?3)
        ON CONFLICT (source, part) DO UPDATE SET data = excluded.data";
    DELETE_PART = "delete_part": "DELETE FROM registry_content WHERE source = ?1 AND part = ?2";
    DELETE_CONTENT = "delete_content": "DELETE FROM registry_content WHERE source = ?1";
    FIND_SOURCE = "find_source": "SELECT fingerprint, mark, synced_ms FROM registry_sources WHERE name = ?1";
    SAVE_SOURCE = "save_source": "INSERT INTO registry_sources (name, fingerprint, mark, synced_ms) VALUES (?1, ?2, ?3, ?4)
        ON CONFLICT (name) DO UPDATE SET fingerprint = excluded.fingerprint, mark = excluded.mark,
            synced_ms = excluded.synced_ms";
    LIST_SOURCES = "list_sources": "SELECT name FROM registry_sources";
    DELETE_SOURCE = "delete_source": "DELETE FROM registry_sources WHERE name = ?1";
    ADD_SYNC = "add_sync": "INSERT INTO registry_syncs (id, source, started_ms, record) VALUES (?1, ?2, ?3, ?4)";
    PRUNE_SYNCS = "prune_syncs": "DELETE FROM registry_syncs WHERE source = ?1 AND id NOT IN
        (SELECT id FROM registry_syncs WHERE source = ?1 ORDER BY started_ms DESC, id DESC LIMIT ?2)";
    LIST_SYNCS = "list_syncs": "SELECT record FROM registry_syncs WHERE source = ?1 ORDER BY started_ms DESC, id DESC LIMIT ?2";
    DELETE_SYNCS = "delete_syncs": "DELETE FROM registry_syncs WHERE source = ?1";
    PUBLISH = "publish": "INSERT INTO registry_published (name, version, server, status, status_message, status_changed_ms,
            published_ms, changed_ms, claims, tenant)
        VALUES (?1, ?2, ?3, 'active', NULL, ?4, ?4, ?4, ?5, ?6) ON CONFLICT (name, version) DO NOTHING";
    CLAIMS_OF_NAME = "claims_of_name": "SELECT claims FROM registry_published WHERE name = ?1 ORDER BY published_ms LIMIT 1";
    EDIT = "edit": "UPDATE registry_published SET server = ?3, changed_ms = ?4 WHERE name = ?1 AND version = ?2";
    SET_STATUS = "set_status": "UPDATE registry_published SET status = ?3, status_message = ?4,
            status_changed_ms = CASE WHEN status = ?3 THEN status_changed_ms ELSE ?5 END, changed_ms = ?5
        WHERE name = ?1 AND version = ?2";
    SET_STATUS_OF_ALL = "set_status_of_all": "UPDATE registry_published SET status = ?2, status_message = ?3,
            status_changed_ms = CASE WHEN status = ?2 THEN status_changed_ms ELSE ?4 END, changed_ms = ?4
        WHERE name = ?1";
    SET_CLAIMS = "set_claims": "UPDATE registry_published SET claims = ?2, changed_ms = ?3 WHERE name = ?1";
    CHANGED_SINCE = "changed_since": "SELECT name, version, server, status, status_message, status_changed_ms, published_ms,
            changed_ms, claims FROM registry_published WHERE changed_ms >= ?1 ORDER BY changed_ms, name, version LIMIT ?2";
    FIND_PUBLISHED = "find_published": "SELECT name, version, server, status, status_message, status_changed_ms, published_ms,
            changed_ms, claims FROM registry_published WHERE name = ?1 AND version = ?2";
    FIND_NAMESPACE = "find_namespace": "SELECT tenant FROM registry_namespaces WHERE namespace = ?1";
    FIND_OTHER_OWNER = "find_other_owner": "SELECT tenant FROM registry_namespaces
        WHERE lower(namespace) = ?1 AND tenant <> ?2 LIMIT 1";
    TAKE_NAMESPACE = "take_namespace": "INSERT INTO registry_namespaces (namespace, tenant, key_id, taken_ms)
        VALUES (?1, ?2, ?3, ?4) ON CONFLICT (namespace) DO NOTHING";
    LIST_ADMIN = "list_admin": "SELECT kind, name, options, created_ms, updated_ms FROM registry_admin ORDER BY created_ms, name";
    SAVE_ADMIN = "save_admin": "INSERT INTO registry_admin (kind, name, options, created_ms, updated_ms)
        VALUES (?1, ?2, ?3, ?4, ?4)
        ON CONFLICT (kind, name) DO UPDATE SET options = excluded.options, updated_ms = excluded.updated_ms";
    DELETE_ADMIN = "delete_admin": "DELETE FROM registry_admin WHERE kind = ?1 AND name = ?2";
    ADD_AUDIT = "add_audit": "INSERT INTO registry_audit (id, at_ms, tenant, key_id, event, target, detail)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    LIST_AUDIT = "list_audit": "SELECT id, at_ms, tenant, key_id, event, target, detail FROM registry_audit
        WHERE at_ms < ?1 OR (at_ms = ?1 AND id < ?2) ORDER BY at_ms DESC, id DESC LIMIT ?3";
    ADD_PROOF = "add_proof": "INSERT INTO registry_proofs (token, once, subject, names, expires_ms, kept_ms)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING";
    FIND_PROOF = "find_proof": "SELECT subject, names, expires_ms FROM registry_proofs WHERE token = ?1";
    COUNT_PROOFS = "count_proofs": "SELECT count(*), count(*) FILTER (WHERE subject = ?1) FROM registry_proofs";
    PRUNE_PROOFS = "prune_proofs": "DELETE FROM registry_proofs WHERE kept_ms < ?1";
    LOAD_VECTORS = "load_vectors": "SELECT hash, vector FROM registry_vectors WHERE space = ?1 AND hash > ?2
        ORDER BY hash LIMIT ?3";
    KEEP_VECTOR = "keep_vector": "INSERT INTO registry_vectors (space, hash, vector) VALUES (?1, ?2, ?3)
        ON CONFLICT (space, hash) DO UPDATE SET vector = excluded.vector";
    COUNT_VECTORS = "count_vectors": "SELECT count(*) FROM registry_vectors WHERE space = ?1";
    DELETE_VECTORS = "delete_vectors": "DELETE FROM registry_vectors WHERE space = ?1";
    FORGET_OTHER_VECTORS = "forget_other_vectors": "DELETE FROM registry_vectors WHERE space <> ?1";
    PRUNE_AUDIT = "prune_audit": "DELETE FROM registry_audit WHERE at_ms < ?1";
}
