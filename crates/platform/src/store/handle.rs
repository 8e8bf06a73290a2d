//! The handle.

use std::{path::Path, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use metrics::gauge;
use tokio::sync::broadcast;

use super::{
    Durability, Migrations, Params, Row, Statement, StoreError, StoreOptions, StoreUrl, Transaction,
    metrics::{STORE_CONNECTIONS, STORE_WAITING},
    migration,
    postgres::Postgres,
    sqlite::Sqlite,
};
use crate::{params, task::Tasks};

/// How often the connections are counted.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(30);
/// Fewer free connections than this are worth a warning.
const FREE_CONNECTIONS_LOW: usize = 3;

static PING: Statement = Statement::new("store", "ping", "SELECT 1");

/// Everything durable that is not a blob. Cheap to clone; see the [module](super) for the model.
#[derive(Clone)]
pub struct Store(Arc<Engine>);

enum Engine {
    Sqlite(Sqlite),
    Postgres(Box<Postgres>),
}

/// How busy an engine is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) used: usize,
    pub(super) idle: usize,
    pub(super) max: usize,
    pub(super) waiting: usize,
}

impl Load {
    const fn free(self) -> usize {
        self.max.saturating_sub(self.used)
    }

    /// A store with few connections is short of them only when all are used.
    fn is_short(self) -> bool {
        self.free() < FREE_CONNECTIONS_LOW.min((self.max / 4).max(1))
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({})", self.engine())
    }
}

impl Store {
    /// Opens the store that the options name; creates the SQLite file if there is none. It does not migrate.
    pub async fn open(options: &StoreOptions, data_dir: &Path, tasks: &Tasks) -> Result<Self, StoreError> {
        let engine = match options.url.resolve()? {
            StoreUrl::Sqlite(path) => Engine::Sqlite(Sqlite::open(options, data_dir.join(path)).await?),
            StoreUrl::Postgres(url) => Engine::Postgres(Box::new(Postgres::connect(options, &url).await?)),
            StoreUrl::Secret(_) => return Err(StoreError::Options("the URL was not resolved".to_owned())),
        };
        let store = Self(Arc::new(engine));
        store.spawn_sampler(tasks);
        Ok(store)
    }

    /// `sqlite` or `postgres`, for logs and status pages.
    pub fn engine(&self) -> &'static str {
        match &*self.0 {
            Engine::Sqlite(_) => "sqlite",
            Engine::Postgres(_) => "postgres",
        }
    }

    /// Brings an area's schema to what the code expects. Safe to run on several servers at once.
    pub async fn migrate(&self, migrations: &Migrations) -> Result<(), StoreError> {
        migration::migrate(self, *migrations).await
    }

    /// Reads. Sees every change that was acknowledged before.
    pub async fn query(&self, statement: &'static Statement, params: Params) -> Result<Vec<Row>, StoreError> {
        match &*self.0 {
            Engine::Sqlite(sqlite) => sqlite.query(statement, params).await,
            Engine::Postgres(postgres) => postgres.query(statement, &params).await,
        }
    }

    /// As [`Store::query`], for statements that return one row at most; further rows are ignored.
    pub async fn query_first(
        &self,
        statement: &'static Statement,
        params: Params,
    ) -> Result<Option<Row>, StoreError> {
        Ok(self.query(statement, params).await?.into_iter().next())
    }

    /// Changes with one statement; returns how many rows it changed. Durable once it returns.
    pub async fn execute(&self, statement: &'static Statement, params: Params) -> Result<u64, StoreError> {
        match &*self.0 {
            Engine::Sqlite(sqlite) => sqlite.execute(statement, params).await,
            Engine::Postgres(postgres) => postgres.execute(statement, &params).await,
        }
    }

    /// Runs a transaction; durable once it returns. Dropping the future leaves open whether it was kept.
    ///
    /// ```
    /// # use paddock_platform::{params, store::{Statement, Store, StoreError}};
    /// # static TAKE: Statement = Statement::new("lab", "take", "UPDATE a SET n = n - 1 WHERE id = ?1");
    /// # static GIVE: Statement = Statement::new("lab", "give", "UPDATE a SET n = n + 1 WHERE id = ?1");
    /// # async fn transfer(store: &Store, from: String, to: String) -> Result<(), StoreError> {
    /// store
    ///     .write(|tx| {
    ///         Box::pin(async move {
    ///             tx.execute(&TAKE, params![from]).await?;
    ///             tx.execute(&GIVE, params![to]).await?;
    ///             Ok(())
    ///         })
    ///     })
    ///     .await
    /// # }
    /// ```
    pub async fn write<T, F>(&self, body: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'t> FnOnce(&'t mut Transaction) -> BoxFuture<'t, Result<T, StoreError>> + Send + 'static,
    {
        self.write_with(Durability::Fsync, body).await
    }

    /// As [`Store::write`], for what may be lost with the machine.
    pub async fn write_with<T, F>(&self, durability: Durability, body: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'t> FnOnce(&'t mut Transaction) -> BoxFuture<'t, Result<T, StoreError>> + Send + 'static,
    {
        match &*self.0 {
            Engine::Sqlite(sqlite) => sqlite.write(durability, body).await,
            Engine::Postgres(postgres) => postgres.write(durability, body).await,
        }
    }

    /// Whether other servers may use it at the same time.
    pub fn is_shared(&self) -> bool {
        matches!(&*self.0, Engine::Postgres(_))
    }

    /// What servers that share this store tell each other on a channel, with [`Transaction::notify`]; this server hears
    /// itself, too. An empty text says that something may have been missed: look. Nobody shares SQLite: there it is
    /// silent.
    pub fn listen(&self, channel: &'static str, tasks: &Tasks) -> broadcast::Receiver<String> {
        match &*self.0 {
            Engine::Sqlite(_) => broadcast::channel(1).1,
            Engine::Postgres(postgres) => postgres.listen(channel, tasks),
        }
    }

    /// Whether the store answers, reads and (SQLite) takes writes, within the deadline: for `/readyz`.
    pub async fn ping(&self, deadline: Duration) -> Result<(), StoreError> {
        let ping = async {
            self.query(&PING, params![]).await?;
            match &*self.0 {
                Engine::Sqlite(sqlite) => {
                    sqlite.write(Durability::Fsync, |_| Box::pin(async { Ok(()) })).await
                }
                Engine::Postgres(_) => Ok(()),
            }
        };
        let timeout = StoreError::Timeout { statement: PING.to_string(), limit: deadline };
        tokio::time::timeout(deadline, ping).await.unwrap_or(Err(timeout))
    }

    /// Finishes what is queued and closes the files. Calls after it answer [`StoreError::Closed`].
    pub async fn close(&self) {
        match &*self.0 {
            Engine::Sqlite(sqlite) => sqlite.close().await,
            Engine::Postgres(postgres) => postgres.close(),
        }
    }

    fn load(&self) -> Load {
        match &*self.0 {
            Engine::Sqlite(sqlite) => sqlite.load(),
            Engine::Postgres(postgres) => postgres.load(),
        }
    }

    fn spawn_sampler(&self, tasks: &Tasks) {
        let engine = Arc::downgrade(&self.0);
        let stopping = tasks.stop_token();
        tasks.spawn("store-sampler", async move {
            let mut interval = tokio::time::interval(SAMPLE_INTERVAL);
            loop {
                tokio::select! {
                    _ = interval.tick() => {}
                    () = stopping.cancelled() => return,
                }
                let Some(engine) = engine.upgrade() else { return };
                report(Self(engine).load());
            }
        });
    }
}

fn report(load: Load) {
    let Load { used, idle, max, waiting } = load;
    let free = load.free();
    for (state, count) in [("used", used), ("idle", idle), ("free", free), ("max", max)] {
        gauge!(STORE_CONNECTIONS, "state" => state).set(count as f64);
    }
    gauge!(STORE_WAITING).set(waiting as f64);
    if load.is_short() {
        tracing::warn!(
            free,
            max,
            waiting,
            "few free store connections; raise `store.pool_size` or `store.readers`"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::Load;

    #[test]
    fn few_free_connections_are_few_for_the_size_of_the_store() {
        let is_short = |max, used| Load { used, idle: 0, max, waiting: 0 }.is_short();
        assert!(!is_short(25, 22) && is_short(25, 23));
        assert!(!is_short(4, 3) && is_short(4, 4));
        assert!(!is_short(1, 0) && is_short(1, 1));
    }
}
