//! The statements. States are numbers here: 0 queued, 1 scheduled, 2 running, 3 waiting, 4 succeeded, 5 failed,
//! 6 cancelled, 7 dead, 8 held.

use paddock_platform::store::Statement;

macro_rules! statement {
    ($name:ident, $label:literal, $sql:expr) => {
        pub(crate) static $name: Statement = Statement::new("jobs", $label, $sql);
    };
    ($name:ident, $label:literal, $sql:expr, postgres: $postgres:expr) => {
        pub(crate) static $name: Statement = Statement::new("jobs", $label, $sql).with_postgres($postgres);
    };
}

/// What [`row::job`](super::row::job) reads.
macro_rules! columns {
    () => {
        "id, tenant, queue, pool, kind, state, rank, run_at, attempt, spared, changes, lease, started, finished, \
         expires, cancelling, worker, unique_key, concurrency_key, parent, key_id, terms, progress, error, \
         result_size, history, input, result"
    };
}

/// What [`row::claimed`](super::row::claimed) reads; the rest is known.
macro_rules! claimed {
    () => {
        "id, kind, rank, run_at, attempt, spared, changes, paced, unique_key, concurrency_key, parent, key_id, terms, \
         progress, error, input"
    };
}

/// Columns of a new job, beside constants.
macro_rules! inserted {
    () => {
        "INSERT INTO jobs (id, tenant, queue, pool, kind, state, rank, run_at, unique_key, concurrency_key, parent, \
         key_id, terms, input, attempt, spared, changes, cancelling, paced) "
    };
}

macro_rules! insert_values {
    () => {
        "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, 0, 0, 1, FALSE, FALSE)"
    };
}

macro_rules! insert_unnest {
    () => {
        "SELECT n.*, 0, 0, 1, FALSE, FALSE FROM UNNEST(?1::bigint[], ?2::text[], ?3::text[], ?4::text[], \
         ?5::text[], ?6::integer[], ?7::bigint[], ?8::bigint[], ?9::text[], ?10::text[], ?11::text[], ?12::text[], \
         ?13::text[], ?14::text[]) AS n"
    };
}

macro_rules! unless_known {
    () => {
        " ON CONFLICT (tenant, unique_key) WHERE unique_key IS NOT NULL DO NOTHING RETURNING id"
    };
}

statement!(
    INSERT_EACH, "insert", concat!(inserted!(), insert_values!()),
    postgres: concat!(inserted!(), insert_unnest!())
);
statement!(
    INSERT_UNIQUE_EACH, "insert_unique", concat!(inserted!(), insert_values!(), unless_known!()),
    postgres: concat!(inserted!(), insert_unnest!(), unless_known!())
);
statement!(
    BY_UNIQUE_KEY,
    "find_by_unique_key",
    concat!("SELECT ", columns!(), " FROM jobs WHERE tenant = ?1 AND unique_key = ?2")
);
statement!(FIND, "find", concat!("SELECT ", columns!(), " FROM jobs WHERE id = ?1 AND tenant = ?2"));
statement!(FIND_ANY, "find_any", concat!("SELECT ", columns!(), " FROM jobs WHERE id = ?1"));
statement!(
    FIND_LOCKED, "find_locked", concat!("SELECT ", columns!(), " FROM jobs WHERE id = ?1 AND tenant = ?2"),
    postgres: concat!("SELECT ", columns!(), " FROM jobs WHERE id = ?1 AND tenant = ?2 FOR UPDATE")
);

// ===== claiming =====

// Takes from one lane. The order comes out of the index: no sort, whatever waits.
macro_rules! claim {
    ($from:literal, $to:literal) => {
        concat!(
            "UPDATE jobs SET state = 2, attempt = attempt + 1, changes = changes + 1, started = ?5, lease = ?6, \
             worker = ?7, finished = NULL WHERE id ", $from,
            "SELECT id FROM jobs WHERE state = 0 AND queue = ?1 AND pool = ?2 AND tenant = ?3 \
             ORDER BY rank, id LIMIT ?4", $to, " RETURNING ", claimed!()
        )
    };
}

statement!(
    CLAIM, "claim", claim!("IN (", ")"),
    postgres: claim!("= ANY(ARRAY(", " FOR UPDATE SKIP LOCKED))")
);
// Until the table has statistics, the planner would rather sort everything that waits than walk the index.
statement!(
    PLAN_BY_INDEX, "plan_by_index", "SELECT 1",
    postgres: "SELECT set_config('enable_bitmapscan', 'off', true), set_config('enable_seqscan', 'off', true), \
               set_config('enable_sort', 'off', true)"
);
statement!(
    NEXT_LANE,
    "next_lane",
    "SELECT queue, pool, tenant FROM jobs WHERE state = 0 AND (queue, pool, tenant) > (?1, ?2, ?3) \
     ORDER BY queue, pool, tenant LIMIT 1"
);
statement!(
    LANE_HEAD,
    "lane_head",
    "SELECT id, run_at FROM jobs WHERE state = 0 AND queue = ?1 AND pool = ?2 AND tenant = ?3 \
     ORDER BY rank, id LIMIT 1"
);
// One decision about a name at a time; SQLite has one writer anyway.
statement!(
    LOCK, "lock", "SELECT ?1",
    postgres: "SELECT pg_advisory_xact_lock(hashtextextended(?1, 5))::text"
);
statement!(COUNT_RUNNING, "count_running", "SELECT count(*) FROM jobs WHERE state = 2 AND queue = ?1");
statement!(
    COUNT_RUNNING_OF_TENANT,
    "count_running_of_tenant",
    "SELECT count(*) FROM jobs WHERE state = 2 AND queue = ?1 AND tenant = ?2"
);
statement!(
    COUNT_RUNNING_OF_KEY,
    "count_running_of_key",
    "SELECT count(*) FROM jobs WHERE tenant = ?1 AND queue = ?2 AND concurrency_key = ?3 AND state IN (2, 8) \
     AND state = 2"
);
// These take back a claim within its transaction: nobody has seen it.
statement!(
    HOLD,
    "hold",
    "UPDATE jobs SET state = 8, attempt = attempt - 1, changes = changes - 1, started = NULL, lease = NULL, \
     worker = NULL WHERE id = ?1"
);
statement!(
    POSTPONE,
    "postpone",
    "UPDATE jobs SET state = 1, attempt = attempt - 1, changes = changes - 1, started = NULL, lease = NULL, \
     worker = NULL, paced = TRUE, run_at = ?2 WHERE id = ?1"
);
// The next free moment of a key, in microseconds: `?4` is now, `?5` the distance between two.
statement!(
    PACE, "pace",
    "INSERT INTO job_keys (tenant, queue, concurrency_key, paced_us) VALUES (?1, ?2, ?3, ?4 + ?5) \
     ON CONFLICT (tenant, queue, concurrency_key) DO UPDATE SET paced_us = \
     CASE WHEN job_keys.paced_us > ?4 THEN job_keys.paced_us ELSE ?4 END + ?5 RETURNING paced_us",
    postgres: "INSERT INTO job_keys (tenant, queue, concurrency_key, paced_us) \
     VALUES (?1, ?2, ?3, ?4::bigint + ?5::bigint) \
     ON CONFLICT (tenant, queue, concurrency_key) DO UPDATE SET paced_us = \
     GREATEST(job_keys.paced_us, ?4::bigint) + ?5::bigint RETURNING paced_us"
);
statement!(FORGET_KEYS, "forget_keys", "DELETE FROM job_keys WHERE paced_us < ?1");
statement!(
    LET_GO,
    "let_go",
    "UPDATE jobs SET state = 0 WHERE id = (SELECT id FROM jobs WHERE tenant = ?1 AND queue = ?2 \
     AND concurrency_key = ?3 AND state IN (2, 8) AND state = 8 ORDER BY rank, id LIMIT 1) RETURNING pool"
);
statement!(
    HELD_KEYS,
    "held_keys",
    "SELECT DISTINCT tenant, queue, concurrency_key FROM jobs WHERE concurrency_key IS NOT NULL \
     AND state IN (2, 8) AND state = 8 LIMIT 1000"
);

// ===== ending =====

macro_rules! finish_set {
    ($given:literal, $state:expr) => {
        concat!(
            "UPDATE jobs SET state = ",
            $state,
            ", finished = ",
            $given,
            "4, expires = ",
            $given,
            "5, result = ",
            $given,
            "6, result_size = ",
            $given,
            "7, error = ",
            $given,
            "8, lease = NULL, cancelling = FALSE, \
             changes = changes + 1"
        )
    };
}

// Somebody may have asked for its end while it ran: then that is how it ended.
statement!(
    FINISH_EACH, "finish",
    concat!(
        finish_set!("?", "CASE WHEN cancelling THEN 6 ELSE ?3 END"),
        " WHERE id = ?1 AND attempt = ?2 AND state = 2 RETURNING id, state, changes"
    ),
    postgres: concat!(
        finish_set!("e.c", "CASE WHEN cancelling THEN 6 ELSE e.c3 END"),
        " FROM UNNEST(?1::bigint[], ?2::bigint[], ?3::integer[], ?4::bigint[], ?5::bigint[], ?6::text[], \
         ?7::bigint[], ?8::text[]) AS e(c1, c2, c3, c4, c5, c6, c7, c8) \
         WHERE jobs.id = e.c1 AND jobs.attempt = e.c2 AND jobs.state = 2 RETURNING jobs.id, jobs.state, jobs.changes"
    )
);
// A job that does not run.
statement!(
    FINISH_IDLE,
    "finish_idle",
    concat!(
        finish_set!("?", "?3"),
        " WHERE id = ?1 AND attempt = ?2 AND state IN (0, 1, 3, 8) RETURNING id, state, changes"
    )
);

/// Puts the attempt that the columns describe among those of the past: of very many the second is dropped.
macro_rules! remember {
    ($now:literal, $outcome:literal, $error:literal) => {
        concat!(
            "json_insert(CASE WHEN json_array_length(history) >= 100 THEN json_remove(history, '$[1]') \
             ELSE COALESCE(history, '[]') END, '$[#]', \
             json_array(attempt, worker, started, ",
            $now,
            ", ",
            $outcome,
            ", json(",
            $error,
            ")))"
        )
    };
}

macro_rules! remember_postgres {
    ($now:literal, $outcome:literal, $error:literal) => {
        concat!(
            "((CASE WHEN jsonb_array_length(history::jsonb) >= 100 THEN history::jsonb - 1 \
             ELSE COALESCE(history, '[]')::jsonb END) || jsonb_build_array(jsonb_build_array(attempt, worker, \
             started, ", $now, "::bigint, ", $outcome, "::text, ", $error, "::text::jsonb)))::text"
        )
    };
}

macro_rules! again {
    ($history:expr) => {
        concat!(
            "UPDATE jobs SET state = ?3, run_at = ?4, history = ",
            $history,
            ", error = COALESCE(?7, error), \
             spared = spared + ?8, started = NULL, lease = NULL, paced = FALSE, changes = changes + 1 \
             WHERE id = ?1 AND attempt = ?2 AND state = 2 AND NOT cancelling RETURNING id, state, changes"
        )
    };
}

statement!(
    AGAIN, "again", again!(remember!("?5", "?6", "?7")),
    postgres: again!(remember_postgres!("?5", "?6", "?7"))
);

macro_rules! resume {
    ($guard:literal) => {
        concat!(
            "UPDATE jobs SET state = 0, run_at = ?3, spared = attempt, changes = changes + 1 \
             WHERE id = ?1 AND attempt = ?2 AND ",
            $guard,
            " RETURNING id, state, changes"
        )
    };
}

statement!(RESUME, "resume", resume!("state = 3"));

macro_rules! redrive {
    ($history:expr) => {
        concat!(
            "UPDATE jobs SET state = 0, run_at = ?3, spared = attempt, finished = NULL, expires = NULL, \
             result = NULL, result_size = NULL, progress = NULL, changes = changes + 1, history = ", $history,
            ", started = NULL WHERE id = ?1 AND attempt = ?2 AND state IN (5, 6, 7) RETURNING id, state, changes"
        )
    };
}

// The last attempt is in the columns still, unless the job was cancelled between two.
statement!(
    REDRIVE, "redrive",
    redrive!(concat!(
        "CASE WHEN started IS NULL THEN history ELSE ", remember!("finished", "?4", "error"), " END"
    )),
    postgres: redrive!(concat!(
        "CASE WHEN started IS NULL THEN history ELSE ", remember_postgres!("finished", "?4", "error"), " END"
    ))
);

statement!(
    ASK_TO_CANCEL,
    "ask_to_cancel",
    "UPDATE jobs SET cancelling = TRUE, changes = changes + 1 WHERE id = ?1 AND state = 2 \
     RETURNING id, state, changes"
);

macro_rules! beat {
    ($given:literal) => {
        concat!(
            "UPDATE jobs SET lease = ",
            $given,
            "3, progress = COALESCE(",
            $given,
            "4, progress), \
             changes = changes + ",
            $given,
            "5"
        )
    };
}

statement!(
    BEAT_EACH, "heartbeat",
    concat!(beat!("?"), " WHERE id = ?1 AND attempt = ?2 AND state = 2 RETURNING id, cancelling, changes"),
    postgres: concat!(
        beat!("e.c"),
        " FROM UNNEST(?1::bigint[], ?2::bigint[], ?3::bigint[], ?4::text[], ?5::bigint[]) AS e(c1, c2, c3, c4, c5) \
         WHERE jobs.id = e.c1 AND jobs.attempt = e.c2 AND jobs.state = 2 \
         RETURNING jobs.id, jobs.cancelling, jobs.changes"
    )
);

// ===== upkeep =====

macro_rules! due {
    ($from:literal, $to:literal) => {
        concat!(
            "UPDATE jobs SET state = 0, changes = changes + 1 WHERE id ",
            $from,
            "SELECT id FROM jobs WHERE state = 1 AND run_at <= ?1 ORDER BY run_at LIMIT ?2",
            $to,
            " RETURNING id, tenant, queue, pool, kind, attempt, changes, parent"
        )
    };
}

statement!(DUE, "due", due!("IN (", ")"), postgres: due!("= ANY(ARRAY(", " FOR UPDATE SKIP LOCKED))"));
statement!(NEXT_DUE, "next_due", "SELECT min(run_at) FROM jobs WHERE state = 1");
statement!(
    LOST,
    "lost",
    concat!("SELECT ", columns!(), " FROM jobs WHERE state = 2 AND lease <= ?1 LIMIT ?2")
);
// What a server ran that is no more; nobody else uses this store.
statement!(
    ORPHANED,
    "orphaned",
    concat!("SELECT ", columns!(), " FROM jobs WHERE state = 2 AND (pool = '' OR pool LIKE ':%') LIMIT ?1")
);
statement!(EXPIRED, "expired", "SELECT id FROM jobs WHERE expires <= ?1 ORDER BY expires LIMIT ?2");
statement!(
    FORGET_EACH, "forget", "DELETE FROM jobs WHERE id = ?1 AND expires IS NOT NULL",
    postgres: "DELETE FROM jobs WHERE id = ANY(?1::bigint[]) AND expires IS NOT NULL"
);
statement!(
    NOTE_RESULT,
    "note_result",
    "INSERT INTO job_results (id, attempt, tenant, noted) VALUES (?1, ?2, ?3, ?4) \
     ON CONFLICT (id, attempt) DO UPDATE SET noted = excluded.noted"
);
// Of jobs that are gone, and of attempts that are not the one whose result counts.
statement!(
    UNUSED_RESULTS,
    "unused_results",
    "SELECT r.id, r.attempt, r.tenant FROM job_results r LEFT JOIN jobs j ON j.id = r.id WHERE j.id IS NULL \
     OR (r.noted < ?1 AND (j.attempt <> r.attempt OR (j.state <> 2 AND j.result_size IS NULL))) LIMIT ?2"
);
statement!(FORGET_RESULT, "forget_result", "DELETE FROM job_results WHERE id = ?1 AND attempt = ?2");
statement!(LARGEST, "largest_id", "SELECT max(id) FROM jobs");

// ===== looking =====

macro_rules! list {
    ($where:literal) => {
        concat!(
            "SELECT id, tenant, queue, pool, kind, state, rank, run_at, attempt, spared, changes, lease, started, \
             finished, expires, cancelling, worker, unique_key, concurrency_key, parent, key_id, terms, progress, \
             error, result_size, NULL, '', NULL FROM jobs WHERE tenant = ?1 AND id < ?2 AND ",
            $where,
            " AND (?3 = '' OR queue = ?3) AND (?4 = '' OR kind = ?4) ORDER BY id DESC LIMIT ?5"
        )
    };
}

statement!(LIST, "list", list!("TRUE"));
statement!(LIST_QUEUED, "list_queued", list!("state IN (0, 8)"));
statement!(LIST_SCHEDULED, "list_scheduled", list!("state = 1"));
statement!(LIST_RUNNING, "list_running", list!("state = 2"));
statement!(LIST_WAITING, "list_waiting", list!("state IN (3, 5, 6, 7) AND state = 3"));
statement!(LIST_SUCCEEDED, "list_succeeded", list!("state = 4"));
statement!(LIST_FAILED, "list_failed", list!("state IN (3, 5, 6, 7) AND state = 5"));
statement!(LIST_CANCELLED, "list_cancelled", list!("state IN (3, 5, 6, 7) AND state = 6"));
statement!(LIST_DEAD, "list_dead", list!("state IN (3, 5, 6, 7) AND state = 7"));

// Each of these is answered out of an index. `?1` is a tenant, or empty for all.
statement!(
    COUNT,
    "count",
    "SELECT queue, 0, count(*) FROM jobs WHERE state = 0 AND (?1 = '' OR tenant = ?1) GROUP BY queue \
     UNION ALL SELECT queue, 1, count(*) FROM jobs WHERE state = 1 AND (?1 = '' OR tenant = ?1) GROUP BY queue \
     UNION ALL SELECT queue, 2, count(*) FROM jobs WHERE state = 2 AND (?1 = '' OR tenant = ?1) GROUP BY queue \
     UNION ALL SELECT queue, state, count(*) FROM jobs WHERE state IN (3, 5, 6, 7) AND (?1 = '' OR tenant = ?1) \
     GROUP BY queue, state \
     UNION ALL SELECT queue, 8, count(*) FROM jobs WHERE concurrency_key IS NOT NULL AND state IN (2, 8) \
     AND state = 8 AND (?1 = '' OR tenant = ?1) GROUP BY queue"
);

// ===== servers, queues =====

statement!(MODES, "queue_modes", "SELECT name, mode FROM job_queues");
statement!(
    SET_MODE,
    "set_queue_mode",
    "INSERT INTO job_queues (name, mode) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET mode = excluded.mode"
);
statement!(
    NOW, "now", "SELECT 0",
    postgres: "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
);
statement!(NODES, "nodes", "SELECT number, name, seen FROM job_nodes ORDER BY number");
statement!(
    TAKE_NODE,
    "take_node",
    "INSERT INTO job_nodes (number, name, seen) VALUES (?1, ?2, ?3) \
     ON CONFLICT (number) DO UPDATE SET name = excluded.name, seen = excluded.seen"
);
statement!(SEE_NODE, "see_node", "UPDATE job_nodes SET seen = ?3 WHERE number = ?1 AND name = ?2");
statement!(LEAVE_NODE, "leave_node", "DELETE FROM job_nodes WHERE number = ?1 AND name = ?2");
statement!(META, "meta", "SELECT content FROM job_meta WHERE name = ?1");
statement!(
    SET_META,
    "set_meta",
    "INSERT INTO job_meta (name, content) VALUES (?1, ?2) ON CONFLICT (name) DO NOTHING"
);
