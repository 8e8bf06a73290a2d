//! PostgreSQL: a pool of connections.

mod listen;
mod session;
mod tls;
mod types;

use std::{panic::AssertUnwindSafe, time::Duration};

use deadpool_postgres::{Manager, ManagerConfig, Pool, PoolError, RecyclingMethod, Runtime, TimeoutType};
use futures_util::{FutureExt, future::BoxFuture};
use metrics::histogram;
use tokio::sync::broadcast;
use tokio_postgres::config::Host;

use listen::Line;
pub(super) use session::PostgresSession;

use super::{
    Durability, Params, Row, Statement, StoreError, StoreOptions, Transaction,
    handle::Load,
    metrics::{STORE_COMMIT_DURATION_SECONDS, STORE_WAIT_DURATION_SECONDS, StatementClock},
    transaction::Session,
};
use crate::task::Tasks;

/// How much longer than the server a caller waits for a statement: then it is the network that is gone.
const NETWORK_GRACE: Duration = Duration::from_secs(5);

/// Reads a URL; `sslmode` may also be one of libpq's that verify, because ours always does.
pub(super) fn parse_url(url: &str) -> Result<tokio_postgres::Config, tokio_postgres::Error> {
    url.replace("sslmode=verify-full", "sslmode=require")
        .replace("sslmode=verify-ca", "sslmode=require")
        .parse()
}

/// The engine over one database.
pub(super) struct Postgres {
    pool: Pool,
    limits: Limits,
    /// For connections beside the pool.
    line: Line,
}

/// What a session needs of the options.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    statement_timeout: Duration,
    acquire_timeout: Duration,
    clock: StatementClock,
}

impl Postgres {
    pub(super) async fn connect(options: &StoreOptions, url: &str) -> Result<Self, StoreError> {
        let limits = Limits {
            statement_timeout: options.statement_timeout.get(),
            acquire_timeout: options.acquire_timeout.get(),
            clock: StatementClock { slow_after: options.slow_query.get() },
        };
        let config = connection_config(options, url)?;
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let tls = tls::connector(options, &config)?;
        let line = Line::new(config.clone(), tls.clone());
        let manager = match tls {
            Some(tls) => Manager::from_config(config, tls, recycling),
            None => Manager::from_config(config, tokio_postgres::NoTls, recycling),
        };
        let pool = Pool::builder(manager)
            .max_size(options.pool_size.get())
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(limits.acquire_timeout))
            .create_timeout(Some(options.connect_timeout.get()))
            .recycle_timeout(Some(options.connect_timeout.get()))
            .build()
            .map_err(|error| StoreError::Options(error.to_string()))?;
        let postgres = Self { pool, limits, line };
        // The first connection says whether URL, password and TLS are right.
        let first = postgres.pool.get().await;
        first
            .map(drop)
            .map_err(|error| StoreError::Open { store: display(options), reason: reason_of(&error) })?;
        Ok(postgres)
    }

    pub(super) async fn query(
        &self,
        statement: &'static Statement,
        params: &Params,
    ) -> Result<Vec<Row>, StoreError> {
        let first = self.session().await?.query(statement, params).await;
        match first {
            // The connection died while it lay in the pool; a read may simply be repeated.
            Err(StoreError::Unavailable(_)) => self.fresh_session().await?.query(statement, params).await,
            result => result,
        }
    }

    pub(super) async fn execute(
        &self,
        statement: &'static Statement,
        params: &Params,
    ) -> Result<u64, StoreError> {
        self.session().await?.execute(statement, params).await
    }

    pub(super) async fn write<T, F>(&self, durability: Durability, body: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'t> FnOnce(&'t mut Transaction) -> BoxFuture<'t, Result<T, StoreError>> + Send + 'static,
    {
        let mut transaction = Transaction::new(Session::Postgres(self.begin(durability).await?));
        let result = AssertUnwindSafe(async { body(&mut transaction).await }).catch_unwind().await;
        let (result, keep) = transaction.settle(result.unwrap_or(Err(StoreError::Panicked)));
        let Session::Postgres(session) = transaction.into_session() else {
            unreachable!("it was put in above")
        };
        let started = std::time::Instant::now();
        let ended = session.end(keep).await;
        if keep {
            histogram!(STORE_COMMIT_DURATION_SECONDS).record(started.elapsed());
        }
        // A failed rollback only means that the connection is gone, and the transaction with it.
        result.and_then(|value| if keep { ended.map(|()| value) } else { Ok(value) })
    }

    /// Opens a transaction; once more if the connection turns out to have died in the pool.
    async fn begin(&self, durability: Durability) -> Result<PostgresSession, StoreError> {
        let mut session = self.session().await?;
        match session.begin(durability).await {
            Err(StoreError::Unavailable(_)) => {
                session = self.fresh_session().await?;
                session.begin(durability).await?;
            }
            begun => begun?,
        }
        Ok(session)
    }

    async fn session(&self) -> Result<PostgresSession, StoreError> {
        let started = std::time::Instant::now();
        let client = self.pool.get().await.map_err(|error| match error {
            PoolError::Timeout(TimeoutType::Wait) => StoreError::Overloaded(self.limits.acquire_timeout),
            PoolError::Closed => StoreError::Closed,
            error => StoreError::Unavailable(reason_of(&error)),
        })?;
        histogram!(STORE_WAIT_DURATION_SECONDS, "kind" => "connection").record(started.elapsed());
        Ok(PostgresSession::new(client, self.limits))
    }

    /// A session whose connection did not lie in the pool: where one was dead the others probably are.
    async fn fresh_session(&self) -> Result<PostgresSession, StoreError> {
        self.pool.retain(|_, _| false);
        self.session().await
    }

    /// What is announced on a channel, as long as somebody listens.
    pub(super) fn listen(&self, channel: &'static str, tasks: &Tasks) -> broadcast::Receiver<String> {
        self.line.clone().listen(channel, tasks)
    }

    pub(super) fn close(&self) {
        self.pool.close();
    }

    pub(super) fn load(&self) -> Load {
        let status = self.pool.status();
        let used = status.size.saturating_sub(status.available);
        Load { used, idle: status.available, max: status.max_size, waiting: status.waiting }
    }
}

fn connection_config(options: &StoreOptions, url: &str) -> Result<tokio_postgres::Config, StoreError> {
    let mut config = parse_url(url).map_err(|error| StoreError::Options(error.to_string()))?;
    if let Some(password) = &options.password {
        let password = password.resolve().map_err(|error| StoreError::Options(error.to_string()))?;
        config.password(password.expose());
    }
    if config.get_application_name().is_none() {
        config.application_name("paddock");
    }
    if !url.contains("sslmode=") {
        // On this machine nobody listens in; beyond it TLS is the rule, and `sslmode=disable` the exception.
        // An address, where there is one, is what is connected to, whatever the name says.
        let is_remote = config.get_hosts().iter().any(|host| !is_local(host))
            || config.get_hostaddrs().iter().any(|address| !address.to_canonical().is_loopback());
        config.ssl_mode(if is_remote {
            tokio_postgres::config::SslMode::Require
        } else {
            tokio_postgres::config::SslMode::Disable
        });
    }
    let timeout = options.statement_timeout.get();
    let own = config.get_options().map(|own| format!("{own} ")).unwrap_or_default();
    // The second ends transactions whose body waits for something else.
    let millis = timeout.as_millis();
    config.options(format!(
        "{own}-c statement_timeout={millis} -c idle_in_transaction_session_timeout={millis}"
    ));
    config.connect_timeout(options.connect_timeout.get());
    config.keepalives_idle(Duration::from_secs(30));
    config.tcp_user_timeout(timeout + NETWORK_GRACE);
    Ok(config)
}

fn is_local(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
    }
}

fn display(options: &StoreOptions) -> String {
    options.url.to_string()
}

fn reason_of(error: &PoolError) -> String {
    match error {
        PoolError::Timeout(TimeoutType::Create) => "connecting took too long".to_owned(),
        PoolError::Backend(error) => session::reason_of(error),
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use tokio_postgres::config::SslMode;

    use super::*;

    #[test]
    fn only_what_stays_on_this_machine_goes_without_tls() {
        for (url, mode) in [
            ("postgres://p@localhost/p", SslMode::Disable),
            ("postgres://p@127.0.0.1/p", SslMode::Disable),
            ("postgres://p@%2Frun%2Fpostgresql/p", SslMode::Disable),
            ("postgres://p@localhost/p?hostaddr=127.0.0.1", SslMode::Disable),
            ("postgres://p@db.example/p", SslMode::Require),
            ("postgres://p@localhost/p?hostaddr=192.0.2.7", SslMode::Require),
            ("postgres:///p?user=p&hostaddr=192.0.2.7", SslMode::Require),
            ("postgres://p@db.example/p?sslmode=disable", SslMode::Disable),
        ] {
            let config = connection_config(&StoreOptions::default(), url).unwrap();
            assert_eq!(config.get_ssl_mode(), mode, "{url}");
        }
    }
}
