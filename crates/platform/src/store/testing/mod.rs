//! For tests of everything that stands on the store: the same test against SQLite and PostgreSQL.
//!
//! ```no_run
//! # use paddock_platform::{params, store::{Migration, Migrations, Statement, testing}};
//! # static COUNT: Statement = Statement::new("jobs", "count", "SELECT count(*) FROM jobs");
//! # const MIGRATIONS: Migrations = Migrations::new("jobs", &[]);
//! # async fn example() {
//! testing::on_each_engine(async |fixture| {
//!     let store = fixture.open().await;
//!     store.migrate(&MIGRATIONS).await.unwrap();
//!     assert!(store.query(&COUNT, params![]).await.unwrap().len() == 1);
//! })
//! .await;
//! # }
//! ```
//!
//! PostgreSQL is a private server of the test process, on a Unix socket in a temporary directory. It ends with the
//! process, however that ends. Where PostgreSQL is not installed the test says `skipped: …` and goes on, unless
//! `PADDOCK_REQUIRE_POSTGRES=1` is set.
#![expect(clippy::panic, clippy::print_stdout, reason = "this is test code, which other crates' tests share")]

mod postgres;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use postgres::Server;

use super::{Store, StoreOptions, StoreUrl};
use crate::task::Tasks;

/// How long a test waits for its tasks to end.
const STOP_WAIT: Duration = Duration::from_secs(30);

/// An empty store's place: options to open it with, as often as the test likes.
#[derive(Debug)]
pub struct Fixture {
    /// What to open the store with.
    pub options: StoreOptions,
    /// The tasks of the stores that were opened.
    pub tasks: Tasks,
    directory: Directory,
    server: Option<Arc<Server>>,
}

impl Fixture {
    /// A place for a SQLite store.
    pub fn sqlite() -> Self {
        let options =
            StoreOptions { url: StoreUrl::Sqlite(PathBuf::from("test.db")), ..StoreOptions::default() };
        Self { options, tasks: Tasks::default(), directory: Directory::create("paddock-store"), server: None }
    }

    /// An empty database on the test process's PostgreSQL; `None` if there is no PostgreSQL.
    pub async fn postgres() -> Option<Self> {
        let Some(server) = postgres::server() else {
            skip("PostgreSQL is not installed (`apt-get install postgresql`)");
            return None;
        };
        let options = StoreOptions {
            url: StoreUrl::Postgres(server.create_database().await),
            ..StoreOptions::default()
        };
        let directory = Directory::create("paddock-store");
        Some(Self { options, tasks: Tasks::default(), directory, server: Some(server) })
    }

    /// As [`Fixture::postgres`], on a server of its own that keeps what it acknowledges: for measuring, and for killing.
    pub async fn durable_postgres() -> Option<Self> {
        let Some(server) = postgres::durable_server() else {
            skip("PostgreSQL is not installed (`apt-get install postgresql`)");
            return None;
        };
        let url = StoreUrl::Postgres(server.create_database().await);
        let options = StoreOptions { url, ..StoreOptions::default() };
        let directory = Directory::create("paddock-store");
        Some(Self { options, tasks: Tasks::default(), directory, server: Some(Arc::new(server)) })
    }

    /// As [`Fixture::postgres`], on a server that speaks TLS and that `options.tls_ca` trusts.
    pub async fn postgres_with_tls() -> Option<Self> {
        let Some(server) = postgres::tls_server() else {
            skip("PostgreSQL or OpenSSL is not installed (`apt-get install postgresql openssl`)");
            return None;
        };
        let url = format!("{}&sslmode=require", server.create_database().await);
        let options = StoreOptions {
            url: StoreUrl::Postgres(url),
            tls_ca: Some(server.certificate()),
            ..StoreOptions::default()
        };
        let directory = Directory::create("paddock-store");
        Some(Self { options, tasks: Tasks::default(), directory, server: Some(Arc::new(server)) })
    }

    /// Whether it is PostgreSQL's.
    pub fn is_postgres(&self) -> bool {
        matches!(self.options.url, StoreUrl::Postgres(_))
    }

    /// The data directory.
    pub fn data_dir(&self) -> &Path {
        &self.directory.0
    }

    /// Ends its PostgreSQL, as its administrator does. Only of [`Fixture::durable_postgres`], which keeps what it acknowledged
    /// and is nobody else's. Blocking.
    pub fn stop_postgres(&self) {
        self.server.as_ref().expect("it is PostgreSQL's").stop();
    }

    /// Starts it again, and waits until it answers. Blocking.
    pub fn resume_postgres(&self) {
        self.server.as_ref().expect("it is PostgreSQL's").resume();
    }

    /// Opens the store; a second one is another server's view of the same data.
    pub async fn open(&self) -> Store {
        Store::open(&self.options, self.data_dir(), &self.tasks).await.expect("the store opens")
    }
}

/// Says that a test does nothing, which is a failure where PostgreSQL is required.
fn skip(reason: &str) {
    let required = std::env::var("PADDOCK_REQUIRE_POSTGRES").as_deref() == Ok("1");
    assert!(!required, "PADDOCK_REQUIRE_POSTGRES=1 is set, and {reason}");
    println!("skipped: {reason}");
}

/// Runs a test against SQLite and then against PostgreSQL.
pub async fn on_each_engine(test: impl AsyncFn(&Fixture)) {
    let sqlite = Fixture::sqlite();
    test(&sqlite).await;
    sqlite.tasks.stop(STOP_WAIT).await.expect("the tasks end");
    if let Some(postgres) = Fixture::postgres().await {
        test(&postgres).await;
        postgres.tasks.stop(STOP_WAIT).await.expect("the tasks end");
    }
}

/// A temporary directory that removes itself.
#[derive(Debug)]
struct Directory(PathBuf);

impl Directory {
    fn create(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("{name}-{}", uuid::Uuid::now_v7().simple()));
        std::fs::create_dir(&path).expect("a temporary directory can be created");
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
