//! One PostgreSQL connection while a caller has it.

use std::{sync::Arc, time::Instant};

use deadpool_postgres::{Client, Object};
use futures_util::TryStreamExt;
use tokio::time::error::Elapsed;
use tokio_postgres::error::SqlState;

use super::{Limits, NETWORK_GRACE};
use crate::store::{
    ConstraintKind, Durability, Params, ROWS_MAX, Row, Statement, StoreError, Value, value::refuse_nul,
};

/// A connection from the pool. It goes back there, unless its state is in doubt: then it is closed.
pub(in crate::store) struct PostgresSession {
    /// `None` once it is given back or closed.
    client: Option<Client>,
    in_transaction: bool,
    /// A statement runs. Whoever drops the session meanwhile leaves a connection that others would have to wait for.
    busy: bool,
    limits: Limits,
}

impl PostgresSession {
    pub(super) const fn new(client: Client, limits: Limits) -> Self {
        Self { client: Some(client), in_transaction: false, busy: false, limits }
    }

    pub(in crate::store) async fn query(
        &mut self,
        statement: &Statement,
        params: &Params,
    ) -> Result<Vec<Row>, StoreError> {
        refuse_nul(params)?;
        self.timed(statement, async |client: &Client| {
            let prepared = client.prepare_cached(statement.postgres()).await?;
            let columns: Arc<[Box<str>]> =
                prepared.columns().iter().map(|column| Box::from(column.name())).collect();
            let stream = client.query_raw(&prepared, params).await?;
            futures_util::pin_mut!(stream);
            let mut rows = Vec::new();
            while let Some(row) = stream.try_next().await? {
                if rows.len() == ROWS_MAX {
                    return Ok(Err(StoreError::TooManyRows(statement.to_string())));
                }
                let values = (0..columns.len()).map(|index| row.try_get::<_, Value>(index));
                rows.push(Row::new(Arc::clone(&columns), values.collect::<Result<_, _>>()?));
            }
            Ok(Ok(rows))
        })
        .await?
    }

    pub(in crate::store) async fn execute(
        &mut self,
        statement: &Statement,
        params: &Params,
    ) -> Result<u64, StoreError> {
        refuse_nul(params)?;
        self.timed(statement, async |client: &Client| {
            let prepared = client.prepare_cached(statement.postgres()).await?;
            client.execute_raw(&prepared, params).await
        })
        .await
    }

    /// Runs several statements without a deadline of this side. The network still has one.
    pub(in crate::store) async fn batch(&mut self, sql: &str) -> Result<(), StoreError> {
        static BATCH: Statement = Statement::new("store", "batch", "");
        let client = self.client.as_ref().ok_or_else(broken)?;
        self.busy = true;
        let result = client.batch_execute(sql).await;
        self.busy = false;
        self.judge(&BATCH, Ok(result))
    }

    pub(super) async fn begin(&mut self, durability: Durability) -> Result<(), StoreError> {
        self.in_transaction = true;
        self.control(match durability {
            Durability::Fsync => "BEGIN",
            Durability::Os => "BEGIN; SET LOCAL synchronous_commit = off",
        })
        .await
    }

    /// Ends the transaction; the connection goes back to the pool if that succeeds.
    pub(super) async fn end(mut self, keep: bool) -> Result<(), StoreError> {
        let ended = self.control(if keep { "COMMIT" } else { "ROLLBACK" }).await;
        self.in_transaction = ended.is_err();
        ended
    }

    async fn control(&mut self, sql: &str) -> Result<(), StoreError> {
        static CONTROL: Statement = Statement::new("store", "control", "");
        let client = self.client.as_ref().ok_or_else(broken)?;
        let limit = self.limits.statement_timeout;
        self.busy = true;
        let result = tokio::time::timeout(limit + NETWORK_GRACE, client.batch_execute(sql)).await;
        self.busy = false;
        self.judge(&CONTROL, result)
    }

    async fn timed<T>(
        &mut self,
        statement: &Statement,
        run: impl AsyncFnOnce(&Client) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, StoreError> {
        let client = self.client.as_ref().ok_or_else(broken)?;
        let limit = self.limits.statement_timeout;
        let started = Instant::now();
        self.busy = true;
        let result = tokio::time::timeout(limit + NETWORK_GRACE, run(client)).await;
        self.busy = false;
        self.limits.clock.observe(statement, started);
        self.judge(statement, result)
    }

    /// The result as the caller sees it. A connection that broke or fell silent does not go back to the pool.
    fn judge<T>(
        &mut self,
        statement: &Statement,
        result: Result<Result<T, tokio_postgres::Error>, Elapsed>,
    ) -> Result<T, StoreError> {
        let limit = self.limits.statement_timeout;
        let Ok(result) = result else {
            self.close();
            return Err(StoreError::Timeout { statement: statement.to_string(), limit });
        };
        result.map_err(|error| {
            let error = error_of(statement, &error, limit);
            if matches!(error, StoreError::Unavailable(_)) {
                self.close();
            }
            error
        })
    }

    /// Closes the connection instead of giving it back; the server rolls back what was open.
    fn close(&mut self) {
        if let Some(client) = self.client.take() {
            drop(Object::take(client));
        }
    }
}

impl Drop for PostgresSession {
    fn drop(&mut self) {
        if self.in_transaction || self.busy {
            self.close();
        }
    }
}

fn broken() -> StoreError {
    StoreError::Unavailable("the connection was closed after a timeout".to_owned())
}

/// An error of the server or the connection. Never with PostgreSQL's `DETAIL`: that quotes values.
fn error_of(statement: &Statement, error: &tokio_postgres::Error, limit: std::time::Duration) -> StoreError {
    let Some(server) = error.as_db_error() else {
        return if error.is_closed() || is_io(error) {
            StoreError::Unavailable(reason_of(error))
        } else {
            StoreError::statement(statement, reason_of(error))
        };
    };
    let message = server.message().to_owned();
    let constraint = |kind| StoreError::Constraint { kind, detail: message.clone() };
    match *server.code() {
        SqlState::UNIQUE_VIOLATION => constraint(ConstraintKind::Unique),
        SqlState::FOREIGN_KEY_VIOLATION => constraint(ConstraintKind::ForeignKey),
        SqlState::NOT_NULL_VIOLATION => constraint(ConstraintKind::NotNull),
        SqlState::CHECK_VIOLATION => constraint(ConstraintKind::Check),
        SqlState::T_R_SERIALIZATION_FAILURE
        | SqlState::T_R_DEADLOCK_DETECTED
        | SqlState::LOCK_NOT_AVAILABLE => StoreError::Conflict(message),
        SqlState::QUERY_CANCELED => StoreError::Timeout { statement: statement.to_string(), limit },
        SqlState::DISK_FULL => StoreError::DiskFull,
        SqlState::IO_ERROR => StoreError::Io(message),
        SqlState::DATA_CORRUPTED | SqlState::INDEX_CORRUPTED => StoreError::Corrupt(message),
        SqlState::ADMIN_SHUTDOWN
        | SqlState::CRASH_SHUTDOWN
        | SqlState::CANNOT_CONNECT_NOW
        | SqlState::TOO_MANY_CONNECTIONS
        | SqlState::READ_ONLY_SQL_TRANSACTION => StoreError::Unavailable(message),
        _ => StoreError::statement(statement, message),
    }
}

fn is_io(error: &tokio_postgres::Error) -> bool {
    std::error::Error::source(error).is_some_and(<dyn std::error::Error>::is::<std::io::Error>)
}

/// The whole chain: PostgreSQL's driver says "db error" and nothing else at the top.
pub(super) fn reason_of(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(server) => server.message().to_owned(),
        None => crate::problem::error_chain(error),
    }
}
