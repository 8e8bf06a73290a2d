//! A transaction in progress, on either engine.

use super::{Params, Row, Statement, StoreError, Value, postgres::PostgresSession, sqlite::SqliteConnection};

/// One array per parameter.
fn transposed(rows: &[Params]) -> Params {
    let width = rows.first().map_or(0, Vec::len);
    let column =
        |index: usize| rows.iter().map(|row| row.get(index).cloned().unwrap_or(Value::Null)).collect();
    (0..width).map(|index| Value::Array(column(index))).collect()
}

/// What the body of [`Store::write`](super::Store::write) works with: all of it is kept, or nothing.
///
/// A statement that fails ends the transaction: later ones answer the same error, and the body's result does not
/// matter. The body awaits nothing but its own statements: others wait for the writer meanwhile.
pub struct Transaction {
    session: Session,
    failed: Option<StoreError>,
    roll_back: bool,
}

/// The connection is owned while the transaction runs: a future that holds a reference could not be sent.
pub(super) enum Session {
    Sqlite(SqliteConnection),
    Postgres(PostgresSession),
}

impl std::fmt::Debug for Transaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Transaction")
    }
}

impl Transaction {
    pub(super) const fn new(session: Session) -> Self {
        Self { session, failed: None, roll_back: false }
    }

    /// Runs a statement and returns its rows; with `RETURNING` also one that changes.
    pub async fn query(
        &mut self,
        statement: &'static Statement,
        params: Params,
    ) -> Result<Vec<Row>, StoreError> {
        self.check()?;
        let result = match &mut self.session {
            Session::Sqlite(connection) => connection.query(statement, &params),
            Session::Postgres(session) => session.query(statement, &params).await,
        };
        self.remember(result)
    }

    /// As [`Transaction::query`], for statements that return one row at most; further rows are ignored.
    pub async fn query_first(
        &mut self,
        statement: &'static Statement,
        params: Params,
    ) -> Result<Option<Row>, StoreError> {
        Ok(self.query(statement, params).await?.into_iter().next())
    }

    /// Runs a statement and returns how many rows it changed.
    pub async fn execute(
        &mut self,
        statement: &'static Statement,
        params: Params,
    ) -> Result<u64, StoreError> {
        self.check()?;
        let result = match &mut self.session {
            Session::Sqlite(connection) => connection.execute(statement, &params),
            Session::Postgres(session) => session.execute(statement, &params).await,
        };
        self.remember(result)
    }

    /// Runs a statement once per row of parameters, and returns how many rows it changed altogether.
    ///
    /// SQLite runs the text once per row. For PostgreSQL the statement has a text of its own, in which each parameter is
    /// an array with the values of all rows (`UNNEST(?1::bigint[], ?2::text[])`): one exchange, however many rows.
    pub async fn execute_each(
        &mut self,
        statement: &'static Statement,
        rows: &[Params],
    ) -> Result<u64, StoreError> {
        self.check()?;
        if rows.is_empty() {
            return Ok(0);
        }
        let result = match &mut self.session {
            Session::Sqlite(connection) => connection.execute_each(statement, rows),
            Session::Postgres(session) => session.execute(statement, &transposed(rows)).await,
        };
        self.remember(result)
    }

    /// As [`Transaction::execute_each`], and returns what all of them returned, in no particular order.
    pub async fn query_each(
        &mut self,
        statement: &'static Statement,
        rows: &[Params],
    ) -> Result<Vec<Row>, StoreError> {
        self.check()?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let result = match &mut self.session {
            Session::Sqlite(connection) => connection.query_each(statement, rows),
            Session::Postgres(session) => session.query(statement, &transposed(rows)).await,
        };
        self.remember(result)
    }

    /// Tells the other servers that share the store something, if this is kept: see [`Store::listen`](super::Store::listen).
    /// Up to 7,999 bytes.
    pub async fn notify(&mut self, channel: &'static str, text: String) -> Result<(), StoreError> {
        static NOTIFY: Statement = Statement::new("store", "notify", "SELECT pg_notify(?1, ?2)::text");
        if self.is_postgres() {
            self.query(&NOTIFY, crate::params![channel, text]).await?;
        }
        Ok(())
    }

    /// Keeps nothing of this transaction, whatever its body returns.
    pub fn roll_back(&mut self) {
        self.roll_back = true;
    }

    /// Runs several statements without parameters and, as far as it depends on this side, without a deadline: for
    /// migrations.
    pub(super) async fn batch(&mut self, sql: &'static str) -> Result<(), StoreError> {
        self.check()?;
        let result = match &mut self.session {
            Session::Sqlite(connection) => connection.batch(sql),
            Session::Postgres(session) => session.batch(sql).await,
        };
        self.remember(result)
    }

    pub(super) const fn is_postgres(&self) -> bool {
        matches!(self.session, Session::Postgres(_))
    }

    /// What becomes of the body's result: kept only if nothing failed on the way.
    pub(super) fn settle<T>(&mut self, result: Result<T, StoreError>) -> (Result<T, StoreError>, bool) {
        let result = match (result, self.failed.take()) {
            (Ok(_), Some(failed)) => Err(failed),
            (result, _) => result,
        };
        let keep = result.is_ok() && !std::mem::take(&mut self.roll_back);
        (result, keep)
    }

    pub(super) fn into_session(self) -> Session {
        self.session
    }

    fn check(&self) -> Result<(), StoreError> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    /// PostgreSQL refuses to go on after an error; SQLite must not differ.
    fn remember<T>(&mut self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(error) = &result {
            self.failed = Some(error.clone());
        }
        result
    }
}
