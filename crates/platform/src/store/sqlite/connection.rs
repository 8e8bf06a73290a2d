//! One SQLite connection: opening it, running statements, reading its errors.

use std::{
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use rusqlite::{
    Connection, ErrorCode, OpenFlags, ffi,
    types::{ToSqlOutput, ValueRef},
};

use super::{DeadlineSlot, Settings};
use crate::store::{
    ConstraintKind, ROWS_MAX, Row, Statement, StoreError, Value,
    metrics::StatementClock,
    value::{Params, refuse_nul},
};

/// How often a lock that SQLite does not wait for is asked for again.
const LOCK_POLL: Duration = Duration::from_millis(5);
/// Prepared statements kept per connection.
const STATEMENTS_CACHED_MAX: usize = 256;
/// The write-ahead log is cut back to this when it is checkpointed.
const WAL_SIZE_MAX: i64 = 64 << 20;
/// SQLite's default, which the size maximum is counted in.
const PAGE_SIZE: i64 = 4096;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum OpenMode {
    Read,
    Write,
}

/// One connection with its limits.
pub(in crate::store) struct SqliteConnection {
    connection: Connection,
    deadline: DeadlineSlot,
    statement_timeout: Duration,
    clock: StatementClock,
}

impl SqliteConnection {
    pub(super) fn open(settings: &Settings, mode: OpenMode) -> Result<Self, StoreError> {
        let open_error =
            |reason: String| StoreError::Open { store: settings.path.display().to_string(), reason };
        if mode == OpenMode::Write
            && let Some(parent) = settings.path.parent()
        {
            std::fs::create_dir_all(parent).map_err(|error| open_error(error.to_string()))?;
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_EXRESCODE;
        let connection = Connection::open_with_flags(&settings.path, flags)
            .and_then(|connection| configure(&connection, settings, mode).map(|()| connection))
            .map_err(|error| match error_of(&error) {
                Some(StoreError::DiskFull) => StoreError::DiskFull,
                Some(StoreError::Corrupt(reason)) => StoreError::Corrupt(reason),
                _ => open_error(error.to_string()),
            })?;
        Ok(Self {
            connection,
            deadline: DeadlineSlot::default(),
            statement_timeout: settings.statement_timeout,
            clock: settings.clock,
        })
    }

    pub(super) fn deadline_slot(&self) -> DeadlineSlot {
        Arc::clone(&self.deadline)
    }

    pub(super) fn interrupt_handle(&self) -> rusqlite::InterruptHandle {
        self.connection.get_interrupt_handle()
    }

    /// Whether no transaction is open: after a failed statement, whether SQLite rolled all of it back.
    pub(super) fn is_idle(&self) -> bool {
        self.connection.is_autocommit()
    }

    /// Runs `BEGIN`, `COMMIT` and their like, which no deadline may interrupt.
    pub(super) fn control(&self, sql: &str) -> Result<(), StoreError> {
        self.connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.raw_execute())
            .map(drop)
            .map_err(|error| error_of(&error).unwrap_or_else(|| StoreError::Io(error.to_string())))
    }

    pub(in crate::store) fn query(
        &self,
        statement: &Statement,
        params: &Params,
    ) -> Result<Vec<Row>, StoreError> {
        refuse_nul(params)?;
        self.timed(statement, || {
            let mut prepared = self.connection.prepare_cached(statement.sqlite())?;
            bind(&mut prepared, params)?;
            let columns: Arc<[Box<str>]> = prepared.column_names().map(Box::from).collect();
            let mut rows = Vec::new();
            let mut found = prepared.raw_query();
            while let Some(row) = found.next()? {
                if rows.len() == ROWS_MAX {
                    return Ok(Err(StoreError::TooManyRows(statement.to_string())));
                }
                let values = (0..columns.len()).map(|index| row.get_ref(index).map(value_of));
                rows.push(Row::new(Arc::clone(&columns), values.collect::<Result<_, _>>()?));
            }
            Ok(Ok(rows))
        })?
    }

    pub(in crate::store) fn execute(
        &self,
        statement: &Statement,
        params: &Params,
    ) -> Result<u64, StoreError> {
        refuse_nul(params)?;
        self.timed(statement, || {
            let mut prepared = self.connection.prepare_cached(statement.sqlite())?;
            bind(&mut prepared, params)?;
            if prepared.column_count() == 0 {
                return prepared.raw_execute().map(|changed| changed as u64);
            }
            // With `RETURNING`, or a query: its rows are not asked for, and counted as PostgreSQL does.
            let (mut count, mut found) = (0, prepared.raw_query());
            while found.next()?.is_some() {
                count += 1;
            }
            Ok(count)
        })
    }

    /// Runs a statement once per row of parameters; prepared and timed once.
    pub(in crate::store) fn execute_each(
        &self,
        statement: &Statement,
        rows: &[Params],
    ) -> Result<u64, StoreError> {
        rows.iter().try_for_each(refuse_nul)?;
        self.timed(statement, || {
            let mut prepared = self.connection.prepare_cached(statement.sqlite())?;
            let mut changed = 0;
            for params in rows {
                bind(&mut prepared, params)?;
                changed += prepared.raw_execute()? as u64;
            }
            Ok(changed)
        })
    }

    /// As [`SqliteConnection::execute_each`], with what they return.
    pub(in crate::store) fn query_each(
        &self,
        statement: &Statement,
        rows: &[Params],
    ) -> Result<Vec<Row>, StoreError> {
        rows.iter().try_for_each(refuse_nul)?;
        self.timed(statement, || {
            let mut prepared = self.connection.prepare_cached(statement.sqlite())?;
            let columns: Arc<[Box<str>]> = prepared.column_names().map(Box::from).collect();
            let mut returned = Vec::with_capacity(rows.len());
            for params in rows {
                bind(&mut prepared, params)?;
                let mut found = prepared.raw_query();
                while let Some(row) = found.next()? {
                    let values = (0..columns.len()).map(|index| row.get_ref(index).map(value_of));
                    returned.push(Row::new(Arc::clone(&columns), values.collect::<Result<_, _>>()?));
                }
            }
            Ok(returned)
        })
    }

    pub(in crate::store) fn batch(&self, sql: &str) -> Result<(), StoreError> {
        self.connection.execute_batch(sql).map_err(|error| {
            error_of(&error).unwrap_or_else(|| StoreError::Statement {
                statement: "store.batch".to_owned(),
                reason: error.to_string(),
            })
        })
    }

    fn timed<T>(
        &self,
        statement: &Statement,
        run: impl FnOnce() -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let started = Instant::now();
        self.set_deadline(Some(started + self.statement_timeout));
        let result = run();
        self.set_deadline(None);
        self.clock.observe(statement, started);
        result.map_err(|error| match error_of(&error) {
            Some(StoreError::Timeout { .. }) => {
                StoreError::Timeout { statement: statement.to_string(), limit: self.statement_timeout }
            }
            Some(error) => error,
            None => StoreError::statement(statement, error.to_string()),
        })
    }

    fn set_deadline(&self, deadline: Option<Instant>) {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner) = deadline;
    }
}

/// Switches to the write-ahead log. SQLite does not wait for the lock that this takes on a new file, so that of two who
/// open one at once the second asks again.
fn write_ahead(connection: &Connection, wait_max: Duration) -> rusqlite::Result<()> {
    let started = Instant::now();
    loop {
        match connection.pragma_update(None, "journal_mode", "WAL") {
            Err(error) if is_busy(&error) && started.elapsed() < wait_max => {
                std::thread::sleep(LOCK_POLL);
            }
            outcome => return outcome,
        }
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked)
    )
}

fn configure(connection: &Connection, settings: &Settings, mode: OpenMode) -> rusqlite::Result<()> {
    connection.busy_timeout(settings.lock_timeout)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED_MAX);
    if mode == OpenMode::Write {
        connection.pragma_update(None, "page_size", PAGE_SIZE)?;
        write_ahead(connection, settings.lock_timeout)?;
        connection.pragma_update(None, "journal_size_limit", WAL_SIZE_MAX)?;
        if let Some(size_max) = settings.size_max {
            connection.pragma_update(None, "max_page_count", (size_max / PAGE_SIZE).max(1))?;
        }
    } else {
        connection.pragma_update(None, "query_only", true)?;
    }
    // FULL: a commit is on the disk before it is acknowledged, also when the power fails.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "trusted_schema", false)
}

fn bind(statement: &mut rusqlite::CachedStatement<'_>, params: &Params) -> rusqlite::Result<()> {
    let expected = statement.parameter_count();
    if expected != params.len() {
        return Err(rusqlite::Error::InvalidParameterCount(params.len(), expected));
    }
    for (index, value) in params.iter().enumerate() {
        statement.raw_bind_parameter(index + 1, value)?;
    }
    Ok(())
}

impl rusqlite::ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Int(number) => ValueRef::Integer(*number),
            Self::Real(number) => ValueRef::Real(*number),
            Self::Bool(flag) => ValueRef::Integer((*flag).into()),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Blob(bytes) => ValueRef::Blob(bytes),
            Self::Array(_) => {
                return Err(rusqlite::Error::ToSqlConversionFailure("an array is for PostgreSQL".into()));
            }
        }))
    }
}

fn value_of(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Int(number),
        ValueRef::Real(number) => Value::Real(number),
        ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Value::from(bytes),
    }
}

/// The failures that have a variant of their own; `None` for defects of the statement.
fn error_of(error: &rusqlite::Error) -> Option<StoreError> {
    let rusqlite::Error::SqliteFailure(code, message) = error else { return None };
    let reason = || message.clone().unwrap_or_else(|| code.to_string());
    Some(match code.code {
        ErrorCode::DiskFull => StoreError::DiskFull,
        ErrorCode::SystemIoFailure
        | ErrorCode::ReadOnly
        | ErrorCode::CannotOpen
        | ErrorCode::PermissionDenied => StoreError::Io(reason()),
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => StoreError::Corrupt(reason()),
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed => {
            StoreError::Unavailable("another process holds the database's lock".to_owned())
        }
        ErrorCode::OperationInterrupted => {
            StoreError::Timeout { statement: String::new(), limit: Duration::ZERO }
        }
        ErrorCode::ConstraintViolation => {
            let kind = match code.extended_code {
                ffi::SQLITE_CONSTRAINT_UNIQUE
                | ffi::SQLITE_CONSTRAINT_PRIMARYKEY
                | ffi::SQLITE_CONSTRAINT_ROWID => ConstraintKind::Unique,
                ffi::SQLITE_CONSTRAINT_FOREIGNKEY => ConstraintKind::ForeignKey,
                ffi::SQLITE_CONSTRAINT_NOTNULL => ConstraintKind::NotNull,
                ffi::SQLITE_CONSTRAINT_CHECK => ConstraintKind::Check,
                _ => return None,
            };
            StoreError::Constraint { kind, detail: reason() }
        }
        _ => return None,
    })
}
