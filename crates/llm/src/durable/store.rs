//! What is kept of calls that are made once, of files and of batches.

use paddock_platform::store::{Migration, Statement};

/// The tables.
pub(crate) const MIGRATION: Migration = Migration::new(
    2,
    "calls that are made once, files, batches",
    "CREATE TABLE llm_once (
         tenant TEXT NOT NULL, key TEXT NOT NULL, hash TEXT NOT NULL, at_ms BIGINT NOT NULL, lane TEXT NOT NULL,
         status BIGINT, body TEXT NOT NULL, route TEXT NOT NULL, simulated BIGINT NOT NULL,
         PRIMARY KEY (tenant, key)
     );
     CREATE INDEX llm_once_by_age ON llm_once (at_ms);
     CREATE TABLE llm_files (
         id TEXT PRIMARY KEY, tenant TEXT NOT NULL, name TEXT NOT NULL, purpose TEXT NOT NULL, bytes BIGINT NOT NULL,
         created_ms BIGINT NOT NULL, expires_ms BIGINT NOT NULL
     );
     CREATE INDEX llm_files_by_tenant ON llm_files (tenant, created_ms, id);
     CREATE INDEX llm_files_by_age ON llm_files (expires_ms);
     CREATE TABLE llm_batches (
         id TEXT PRIMARY KEY, tenant TEXT NOT NULL, job TEXT NOT NULL, endpoint TEXT NOT NULL,
         completion_window TEXT NOT NULL, input_file TEXT NOT NULL, output_file TEXT, error_file TEXT,
         status TEXT NOT NULL, errors TEXT, metadata TEXT, total BIGINT NOT NULL, completed BIGINT NOT NULL,
         failed BIGINT NOT NULL, created_ms BIGINT NOT NULL, expires_ms BIGINT NOT NULL, in_progress_ms BIGINT,
         cancelling_ms BIGINT, finalizing_ms BIGINT, ended_ms BIGINT
     );
     CREATE INDEX llm_batches_by_tenant ON llm_batches (tenant, created_ms, id);
     CREATE INDEX llm_batches_by_age ON llm_batches (created_ms)",
);

/// What is known of a call that is made once.
pub(crate) static FIND_ONCE: Statement = Statement::new(
    "llm",
    "find_once",
    "SELECT hash, lane, status, body, route, simulated FROM llm_once WHERE tenant = ?1 AND key = ?2",
);

/// Notes where a call goes, before it goes there.
pub(crate) static NOTE_LANE: Statement = Statement::new(
    "llm",
    "note_lane",
    "INSERT INTO llm_once (tenant, key, hash, at_ms, lane, body, route, simulated) VALUES (?1, ?2, ?3, ?4, ?5, '', '', 0)
     ON CONFLICT (tenant, key) DO UPDATE SET lane = excluded.lane",
);

/// Keeps the answer, unless there is one.
pub(crate) static KEEP_ONCE: Statement = Statement::new(
    "llm",
    "keep_once",
    "INSERT INTO llm_once (tenant, key, hash, at_ms, lane, status, body, route, simulated)
     VALUES (?1, ?2, ?3, ?4, '', ?5, ?6, ?7, ?8)
     ON CONFLICT (tenant, key) DO UPDATE SET status = excluded.status, body = excluded.body, route = excluded.route,
         simulated = excluded.simulated
     WHERE llm_once.status IS NULL",
);

/// Forgets what is older.
pub(crate) static EXPIRE_ONCE: Statement = Statement::new(
    "llm",
    "expire_once",
    "DELETE FROM llm_once WHERE at_ms < ?1 AND key IN (SELECT key FROM llm_once WHERE at_ms < ?1 LIMIT 1000)",
);

pub(super) static INSERT_FILE: Statement = Statement::new(
    "llm",
    "insert_file",
    "INSERT INTO llm_files (id, tenant, name, purpose, bytes, created_ms, expires_ms)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (id) DO NOTHING",
);

pub(super) static FIND_FILE: Statement = Statement::new(
    "llm",
    "find_file",
    "SELECT id, name, purpose, bytes, created_ms, expires_ms FROM llm_files WHERE tenant = ?1 AND id = ?2",
);

/// Files of a tenant, the newest first, after a time and an id.
pub(super) static LIST_FILES: Statement = Statement::new(
    "llm",
    "list_files",
    "SELECT id, name, purpose, bytes, created_ms, expires_ms FROM llm_files
     WHERE tenant = ?1 AND (created_ms < ?2 OR (created_ms = ?2 AND id < ?3)) AND purpose = COALESCE(?4, purpose)
     ORDER BY created_ms DESC, id DESC LIMIT ?5",
)
.with_postgres(
    "SELECT id, name, purpose, bytes, created_ms, expires_ms FROM llm_files
     WHERE tenant = ?1 AND (created_ms < ?2 OR (created_ms = ?2 AND id < ?3))
         AND purpose = COALESCE(?4::text, purpose)
     ORDER BY created_ms DESC, id DESC LIMIT ?5",
);

pub(super) static DELETE_FILE: Statement =
    Statement::new("llm", "delete_file", "DELETE FROM llm_files WHERE tenant = ?1 AND id = ?2");

/// Files whose time is over.
pub(super) static EXPIRED_FILES: Statement = Statement::new(
    "llm",
    "expired_files",
    "SELECT tenant, id FROM llm_files WHERE expires_ms < ?1 ORDER BY expires_ms LIMIT 100",
);

pub(super) static INSERT_BATCH: Statement = Statement::new(
    "llm",
    "insert_batch",
    "INSERT INTO llm_batches (id, tenant, job, endpoint, completion_window, input_file, status, metadata, total,
         completed, failed, created_ms, expires_ms)
     VALUES (?1, ?2, '', ?3, ?4, ?5, 'validating', ?6, 0, 0, 0, ?7, ?8)",
);

pub(super) static SET_BATCH_JOB: Statement =
    Statement::new("llm", "set_batch_job", "UPDATE llm_batches SET job = ?2 WHERE id = ?1");

pub(super) static FIND_BATCH: Statement = Statement::new(
    "llm",
    "find_batch",
    "SELECT id, job, endpoint, completion_window, input_file, output_file, error_file, status, errors, metadata, total,
         completed, failed, created_ms, expires_ms, in_progress_ms, cancelling_ms, finalizing_ms, ended_ms
     FROM llm_batches WHERE tenant = ?1 AND id = ?2",
);

/// Batches of a tenant, the newest first, after a time and an id.
pub(super) static LIST_BATCHES: Statement = Statement::new(
    "llm",
    "list_batches",
    "SELECT id, job, endpoint, completion_window, input_file, output_file, error_file, status, errors, metadata, total,
         completed, failed, created_ms, expires_ms, in_progress_ms, cancelling_ms, finalizing_ms, ended_ms
     FROM llm_batches WHERE tenant = ?1 AND (created_ms < ?2 OR (created_ms = ?2 AND id < ?3))
     ORDER BY created_ms DESC, id DESC LIMIT ?4",
);

/// The input was read and is right.
pub(super) static BEGIN_BATCH: Statement = Statement::new(
    "llm",
    "begin_batch",
    "UPDATE llm_batches SET status = 'in_progress', total = ?2, in_progress_ms = ?3
     WHERE id = ?1 AND status = 'validating'",
);

pub(super) static COUNT_BATCH: Statement =
    Statement::new("llm", "count_batch", "UPDATE llm_batches SET completed = ?2, failed = ?3 WHERE id = ?1");

/// Somebody wants it to end.
pub(super) static CANCEL_BATCH: Statement = Statement::new(
    "llm",
    "cancel_batch",
    "UPDATE llm_batches SET status = 'cancelling', cancelling_ms = ?2
     WHERE id = ?1 AND status IN ('validating', 'in_progress')",
);

/// Its files are written now.
pub(super) static FINALIZE_BATCH: Statement = Statement::new(
    "llm",
    "finalize_batch",
    "UPDATE llm_batches SET status = 'finalizing', finalizing_ms = ?2 WHERE id = ?1 AND status = 'in_progress'",
);

/// It ended.
pub(super) static END_BATCH: Statement = Statement::new(
    "llm",
    "end_batch",
    "UPDATE llm_batches SET status = ?2, ended_ms = ?3, completed = ?4, failed = ?5, output_file = ?6, error_file = ?7,
         errors = ?8, total = ?9
     WHERE id = ?1 AND status IN ('validating', 'in_progress', 'finalizing', 'cancelling')",
);

/// Forgets what is older.
pub(super) static EXPIRE_BATCHES: Statement = Statement::new(
    "llm",
    "expire_batches",
    "DELETE FROM llm_batches
     WHERE created_ms < ?1 AND status NOT IN ('validating', 'in_progress', 'finalizing', 'cancelling')",
);
