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
