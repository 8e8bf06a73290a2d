//! What is particular to one engine.

use super::*;
use crate::units::ByteSize;

static FILL: Statement = Statement::new("lab", "fill", "INSERT INTO things (id, name) VALUES (?1, ?2)");
static EMPTY: Statement = Statement::new("lab", "empty", "DELETE FROM things");

#[tokio::test]
async fn a_full_disk_is_said_and_the_store_goes_on_when_there_is_space() {
    let mut fixture = testing::Fixture::sqlite();
    fixture.options.size_max = Some(ByteSize::bytes(256 << 10));
    let store = open(&fixture).await;
    let large = "x".repeat(16 << 10);
    let mut kept = 0;
    let error = loop {
        match store.execute(&FILL, params![kept, &large]).await {
            Ok(_) => kept += 1,
            Err(error) => break error,
        }
        assert!(kept < 100, "the maximum is ignored");
    };
    assert!(matches!(error, StoreError::DiskFull), "{error:?}");
    assert_eq!(crate::problem::Problem::from(error).kind, STORAGE_FULL);
    assert_eq!(count(&store).await, kept);

    let changes = (0..20).map(|number| store.execute(&FILL, params![1000 + number, &large]));
    let results = futures_util::future::join_all(changes).await;
    assert!(results.iter().any(|result| matches!(result, Err(StoreError::DiskFull))), "{results:?}");

    store.execute(&EMPTY, params![]).await.unwrap();
    store.execute(&FILL, params![1, &large]).await.unwrap();
    assert_eq!(count(&store).await, 1);
}

#[tokio::test]
async fn a_transaction_that_awaits_something_else_is_rolled_back() {
    let fixture = testing::Fixture::sqlite();
    let store = open(&fixture).await;
    let result = store
        .write(|tx| {
            Box::pin(async move {
                tx.execute(&INSERT, params![1, "one"]).await?;
                tokio::task::yield_now().await;
                Ok(())
            })
        })
        .await;
    assert!(matches!(result, Err(StoreError::Suspended)));
    assert_eq!(count(&store).await, 0);
}

#[tokio::test]
async fn sqlite_commits_durably_and_enforces_references() {
    static SYNCHRONOUS: Statement = Statement::new("lab", "synchronous", "PRAGMA synchronous");
    static JOURNAL: Statement = Statement::new("lab", "journal", "PRAGMA journal_mode");
    static FOREIGN_KEYS: Statement = Statement::new("lab", "foreign_keys", "PRAGMA foreign_keys");
    let fixture = testing::Fixture::sqlite();
    let store = fixture.open().await;
    let settings = store
        .write(|tx| {
            Box::pin(async move {
                let synchronous: i64 = tx.query_first(&SYNCHRONOUS, params![]).await?.unwrap().get(0)?;
                let journal: String = tx.query_first(&JOURNAL, params![]).await?.unwrap().get(0)?;
                let foreign_keys: i64 = tx.query_first(&FOREIGN_KEYS, params![]).await?.unwrap().get(0)?;
                Ok((synchronous, journal, foreign_keys))
            })
        })
        .await
        .unwrap();
    assert_eq!(settings, (2, "wal".to_owned(), 1));
}

#[tokio::test]
async fn a_reader_does_not_write() {
    let fixture = testing::Fixture::sqlite();
    let store = open(&fixture).await;
    assert!(store.query(&INSERT, params![1, "one"]).await.is_err());
    assert_eq!(count(&store).await, 0);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_said_to_be_damaged() {
    let fixture = testing::Fixture::sqlite();
    std::fs::write(
        fixture.data_dir().join("test.db"),
        "this is no database, but long enough to be one".repeat(200),
    )
    .unwrap();
    let error = Store::open(&fixture.options, fixture.data_dir(), &fixture.tasks).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
}

#[tokio::test]
async fn a_directory_that_cannot_be_made_is_named() {
    let fixture = testing::Fixture::sqlite();
    std::fs::write(fixture.data_dir().join("file"), "").unwrap();
    let options = StoreOptions { url: "sqlite:file/sub/test.db".parse().unwrap(), ..fixture.options.clone() };
    let error = Store::open(&options, fixture.data_dir(), &fixture.tasks).await.unwrap_err().to_string();
    assert!(error.contains("file/sub/test.db"), "{error}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_said_in_time() {
    let fixture = testing::Fixture::sqlite();
    // Port 9 is `discard`, which nothing here serves.
    let options = StoreOptions {
        url: "postgres://paddock@127.0.0.1:9/paddock".parse().unwrap(),
        ..StoreOptions::default()
    };
    let error = Store::open(&options, fixture.data_dir(), &fixture.tasks).await.unwrap_err();
    assert!(matches!(error, StoreError::Open { .. }), "{error:?}");
    assert!(error.to_string().contains("127.0.0.1:9"), "{error}");
}

#[tokio::test]
async fn a_missing_password_variable_is_named() {
    let fixture = testing::Fixture::sqlite();
    let options = StoreOptions {
        url: "postgres://paddock@127.0.0.1:9/paddock".parse().unwrap(),
        password: Some("env:PADDOCK_TEST_NO_SUCH_PASSWORD".parse().unwrap()),
        ..StoreOptions::default()
    };
    let error = Store::open(&options, fixture.data_dir(), &fixture.tasks).await.unwrap_err().to_string();
    assert!(error.contains("PADDOCK_TEST_NO_SUCH_PASSWORD"), "{error}");
}

#[tokio::test]
async fn connections_that_the_server_ends_are_replaced() {
    static END_OTHERS: Statement = Statement::new("lab", "end_others", "SELECT 1").with_postgres(
        "SELECT CAST(count(pg_terminate_backend(pid)) AS BIGINT) FROM pg_stat_activity \
         WHERE pid <> pg_backend_pid() AND datname = current_database() AND state = 'idle'",
    );
    let Some(fixture) = testing::Fixture::postgres().await else { return };
    let store = open(&fixture).await;
    let other = fixture.open().await;
    for id in 0..5 {
        other.query(&END_OTHERS, params![]).await.unwrap();
        store
            .write(move |tx| Box::pin(async move { tx.execute(&INSERT, params![id, "x"]).await }))
            .await
            .unwrap();
        other.query(&END_OTHERS, params![]).await.unwrap();
        assert_eq!(count(&store).await, id + 1);
    }
}

#[tokio::test]
async fn a_store_that_must_be_encrypted_refuses_a_server_that_cannot() {
    let Some(fixture) = testing::Fixture::postgres().await else { return };
    let options = StoreOptions {
        url: format!("{}&sslmode=require", fixture.options.url).parse().unwrap(),
        ..fixture.options.clone()
    };
    let error = Store::open(&options, fixture.data_dir(), &fixture.tasks).await.unwrap_err().to_string();
    assert!(error.contains("TLS") || error.contains("tls"), "{error}");
}

#[tokio::test]
async fn a_connection_is_encrypted_and_the_server_must_be_trusted() {
    static IS_ENCRYPTED: Statement = Statement::new("lab", "is_encrypted", "SELECT 1")
        .with_postgres("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()");
    let Some(fixture) = testing::Fixture::postgres_with_tls().await else { return };
    let store = fixture.open().await;
    let row = store.query_first(&IS_ENCRYPTED, params![]).await.unwrap().unwrap();
    assert!(row.get::<bool>(0).unwrap());
    let options = StoreOptions { tls_ca: None, ..fixture.options.clone() };
    let error = Store::open(&options, fixture.data_dir(), &fixture.tasks).await.unwrap_err().to_string();
    assert!(error.contains("certificate"), "{error}");
    let options =
        StoreOptions { tls_ca: Some(fixture.data_dir().join("none.pem")), ..fixture.options.clone() };
    let error = Store::open(&options, fixture.data_dir(), &fixture.tasks).await.unwrap_err().to_string();
    assert!(error.contains("none.pem"), "{error}");
}

#[tokio::test]
async fn a_read_that_nobody_waits_for_any_more_holds_nobody_up() {
    static BACKEND: Statement = Statement::new("lab", "backend", "SELECT pg_backend_pid()");
    static SLEEP: Statement = Statement::new("lab", "sleep", "SELECT CAST(pg_sleep(3) AS TEXT)");
    let Some(mut fixture) = testing::Fixture::postgres().await else { return };
    fixture.options.pool_size = 1.try_into().unwrap();
    let store = fixture.open().await;
    let backend = async || store.query(&BACKEND, params![]).await.unwrap()[0].get::<i32>(0).unwrap();
    let first = backend().await;
    let given_up = tokio::time::timeout(Duration::from_millis(100), store.query(&SLEEP, params![])).await;
    assert!(given_up.is_err());
    assert_ne!(backend().await, first, "the busy connection is not handed to the next");
}

#[tokio::test]
async fn a_statement_without_end_does_not_hold_up_the_shutdown() {
    static ENDLESS: Statement = Statement::new(
        "lab",
        "endless",
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
    );
    let mut fixture = testing::Fixture::sqlite();
    fixture.options.statement_timeout = Duration::from_millis(300).into();
    let store = fixture.open().await;
    fixture.tasks.stop(Duration::from_secs(20)).await.unwrap();
    let endless = store.query(&ENDLESS, params![]);
    let (result, ()) = tokio::time::timeout(Duration::from_secs(20), async {
        tokio::join!(endless, async {
            tokio::task::yield_now().await;
            store.close().await;
        })
    })
    .await
    .expect("the statement must end");
    assert!(matches!(result, Err(StoreError::Timeout { .. })), "{result:?}");
}

#[tokio::test]
async fn a_migration_may_take_longer_than_a_statement() {
    const SLOW: Migration = Migration::new(
        1,
        "slow",
        "CREATE TABLE slow AS WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500000) \
         SELECT max(i) AS i FROM n",
    )
    .with_postgres("SELECT pg_sleep(0.8); CREATE TABLE slow (i BIGINT)");
    on_each_engine(async |fixture| {
        let options =
            StoreOptions { statement_timeout: Duration::from_millis(300).into(), ..fixture.options.clone() };
        let store = Store::open(&options, fixture.data_dir(), &fixture.tasks).await.unwrap();
        store.migrate(&Migrations::new("lab", &[SLOW])).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_nul_in_a_text_is_the_askers_mistake_on_each_engine() {
    on_each_engine(async |fixture| {
        let store = open(fixture).await;
        let refused = |result: Result<(), StoreError>| {
            let problem = crate::problem::Problem::from(result.unwrap_err());
            assert_eq!(problem.kind, crate::problem::INVALID_REQUEST, "{problem}");
        };
        refused(store.query(&FIND_BY_NAME, params!["a\0b"]).await.map(drop));
        refused(store.execute(&INSERT, params![1, "a\0b"]).await.map(drop));
        let written = store
            .write(|tx| Box::pin(async move { tx.execute(&INSERT, params![1, "a\0b"]).await.map(drop) }));
        refused(written.await);
        assert_eq!(count(&store).await, 0);
        store.execute(&INSERT, params![1, "ab"]).await.unwrap();
    })
    .await;
}

static FIND_BY_NAME: Statement =
    Statement::new("lab", "find_by_name", "SELECT id FROM things WHERE name = ?1");

#[tokio::test]
async fn rows_that_a_change_returns_may_be_left_where_they_are() {
    on_each_engine(async |fixture| {
        let store = open(fixture).await;
        assert_eq!(store.execute(&UPSERT, params![1, "one"]).await.unwrap(), 1);
        assert_eq!(store.execute(&COUNT, params![]).await.unwrap(), 1);
        assert_eq!(count(&store).await, 1);
    })
    .await;
}
