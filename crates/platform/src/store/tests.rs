//! What both engines promise.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::{testing::on_each_engine, *};

static INSERT: Statement = Statement::new("lab", "insert", "INSERT INTO things (id, name) VALUES (?1, ?2)");
static UPSERT: Statement = Statement::new(
    "lab",
    "upsert",
    "INSERT INTO things (id, name) VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET name = excluded.name RETURNING name",
);
static FIND: Statement = Statement::new("lab", "find", "SELECT id, name FROM things WHERE id = ?1");
static COUNT: Statement = Statement::new("lab", "count", "SELECT count(*) AS n FROM things");
static INSERT_PART: Statement = Statement::new("lab", "insert_part", "INSERT INTO parts (thing) VALUES (?1)");
static WRONG: Statement = Statement::new("lab", "wrong", "SELECT nothing FROM nowhere");

const CREATE_THINGS: Migration =
    Migration::new(1, "create things", "CREATE TABLE things (id BIGINT PRIMARY KEY, name TEXT NOT NULL)");
const CREATE_PARTS: Migration =
    Migration::new(2, "create parts", "CREATE TABLE parts (thing BIGINT NOT NULL REFERENCES things (id))");
const THINGS: Migrations = Migrations::new("lab", &[CREATE_THINGS, CREATE_PARTS]);

async fn open(fixture: &testing::Fixture) -> Store {
    let store = fixture.open().await;
    store.migrate(&THINGS).await.unwrap();
    store
}

fn panics() -> Result<(), StoreError> {
    panic!("on purpose")
}

async fn count(store: &Store) -> i64 {
    store.query_first(&COUNT, params![]).await.unwrap().unwrap().get("n").unwrap()
}

#[tokio::test]
async fn what_was_written_is_read() {
    on_each_engine(async |fixture| {
        let store = open(fixture).await;
        assert_eq!(store.execute(&INSERT, params![1, "one"]).await.unwrap(), 1);
        let row = store.query_first(&FIND, params![1]).await.unwrap().unwrap();
        assert_eq!(row.get::<String>(1).unwrap(), "one");
        assert_eq!(row.get::<String>("name").unwrap(), "one");
        assert!(store.query(&FIND, params![2]).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn every_kind_of_value_survives() {
    static SAVE: Statement = Statement::new(
        "lab",
        "save_values",
        "INSERT INTO kinds (i, r, b, t, x, n) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    );
    static LOAD: Statement = Statement::new("lab", "load_values", "SELECT i, r, b, t, x, n FROM kinds");
    const KINDS: Migrations = Migrations::new(
        "lab",
        &[Migration::new(
            1,
            "create kinds",
            "CREATE TABLE kinds (i BIGINT, r REAL, b BOOLEAN, t TEXT, x BLOB, n TEXT)",
        )
        .with_postgres(
            "CREATE TABLE kinds (i BIGINT, r DOUBLE PRECISION, b BOOLEAN, t TEXT, x BYTEA, n TEXT)",
        )],
    );
    on_each_engine(async |fixture| {
        let store = fixture.open().await;
        store.migrate(&KINDS).await.unwrap();
        let values = params![i64::MIN, 0.1, true, "ü\n'?1", vec![0_u8, 255], None::<String>];
        store.execute(&SAVE, values).await.unwrap();
        let row = store.query_first(&LOAD, params![]).await.unwrap().unwrap();
        assert_eq!(row.get::<i64>(0).unwrap(), i64::MIN);
        assert!((row.get::<f64>(1).unwrap() - 0.1).abs() < f64::EPSILON);
        assert!(row.get::<bool>(2).unwrap());
        assert_eq!(row.get::<String>(3).unwrap(), "ü\n'?1");
        assert_eq!(row.get::<Vec<u8>>(4).unwrap(), [0, 255]);
        assert_eq!(row.get::<Option<String>>(5).unwrap(), None);
        assert!(matches!(row.get::<u32>(0), Err(StoreError::Column { .. })));
        assert!(matches!(row.get::<String>("none"), Err(StoreError::Column { .. })));
    })
    .await;
}

#[tokio::test]
async fn a_transaction_is_kept_whole_or_not_at_all() {
    on_each_engine(async |fixture| {
        let store = open(fixture).await;
        let name = store
            .write(|tx| {
                Box::pin(async move {
                    tx.execute(&INSERT, params![1, "one"]).await?;
                    let row = tx.query_first(&UPSERT, params![1, "uno"]).await?.expect("a row is returned");
                    row.get::<String>(0)
                })
            })
            .await
            .unwrap();
        assert_eq!(name, "uno");
        let failed = store
            .write(|tx| {
                Box::pin(async move {
                    tx.execute(&INSERT, params![2, "two"]).await?;
                    tx.execute(&INSERT, params![1, "one again"]).await
                })
            })
            .await;
        assert!(failed.unwrap_err().is_duplicate());
        assert_eq!(count(&store).await, 1);
    })
    .await;
}

#[tokio::test]
async fn a_statement_that_fails_ends_its_transaction_even_if_the_body_goes_on() {
    on_each_engine(async |fixture| {
        let store = open(fixture).await;
        store.execute(&INSERT, params![1, "one"]).await.unwrap();
        let result = store
            .write(|tx| {
                Box::pin(async move {
                    tx.execute(&INSERT, params![2, "two"]).await?;
                    let _ = tx.execute(&INSERT, params![1, "again"]).await;
                    let _ = tx.execute(&INSERT, params![3, "three"]).await;
                    Ok(())
                })
            })
            .await;
        assert!(result.unwrap_err().is_duplicate());
        assert_eq!(count(&store).await, 1);
    })
    .await;
}

#[tokio::test]
async fn a_body_may_decide_to_keep_nothing() {
    on_each_engine(async |fixture| {
        let store = open(fixture).await;
        let seen = store
            .write(|tx| {
                Box::pin(async move {
                    tx.execute(&INSERT, params![1, "one"]).await?;
                    tx.roll_back();
                    Ok("seen")
                })
            })
            .await;
        assert_eq!(seen.unwrap(), "seen");
        assert_eq!(count(&store).await, 0);
    })
    .await;
}

#[tokio::test]
async fn constraints_are_told_apart() {
    on_each_engine(async |fixture| {
        let store = open(fixture).await;
        store.execute(&INSERT, params![1, "one"]).await.unwrap();
        for (statement, params, expected) in [
            (&INSERT, params![1, "again"], ConstraintKind::Unique),
            (&INSERT, params![2, None::<String>], ConstraintKind::NotNull),
            (&INSERT_PART, params![99], ConstraintKind::ForeignKey),
        ] {
            match store.execute(statement, params).await {
                Err(StoreError::Constraint { kind, .. }) => assert_eq!(kind, expected),
                other => panic!("{expected:?}: {other:?}"),
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_wrong_statement_is_named_without_its_parameters() {
    on_each_engine(async |fixture| {
        let store = open(fixture).await;
        let error = store.query(&WRONG, params![]).await.unwrap_err().to_string();
        assert!(error.contains("lab.wrong"), "{error}");
        let error = store.query(&FIND, params![1, "hunter2"]).await.unwrap_err().to_string();
        assert!(error.contains("lab.find") && !error.contains("hunter2"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn a_body_that_panics_takes_nobody_with_it() {
    on_each_engine(async |fixture| {
        let store = open(fixture).await;
        let bystanders = (0..20).map(|id| store.execute(&INSERT, params![id, "bystander"]));
        let panicking = store.write(|tx| {
            Box::pin(async move {
                tx.execute(&INSERT, params![100, "lost"]).await?;
                panics()
            })
        });
        let (kept, panicked) = futures_util::join!(futures_util::future::join_all(bystanders), panicking);
        assert!(matches!(panicked, Err(StoreError::Panicked)));
        assert!(kept.into_iter().all(|kept| kept.is_ok()));
        assert_eq!(count(&store).await, 20);
    })
    .await;
}

#[tokio::test]
async fn one_of_many_simultaneous_changes_that_fails_takes_nobody_with_it() {
    on_each_engine(async |fixture| {
        let store = open(fixture).await;
        let changes = (0..200).map(|number| {
            let store = store.clone();
            async move {
                // Every tenth has a key that another one of them has, too.
                let id = if number % 10 == 0 { 1 } else { number + 1000 };
                store
                    .write(move |tx| {
                        Box::pin(async move {
                            tx.execute(&INSERT, params![id, "many"]).await?;
                            tx.execute(&INSERT_PART, params![id]).await
                        })
                    })
                    .await
            }
        });
        let results = futures_util::future::join_all(changes).await;
        let kept = results.iter().filter(|result| result.is_ok()).count();
        assert_eq!(kept, 181, "{:?}", results.iter().find(|result| result.is_err()));
        assert!(results.iter().all(|result| result.as_ref().err().is_none_or(StoreError::is_duplicate)));
        assert_eq!(count(&store).await, 181);
    })
    .await;
}

#[tokio::test]
async fn a_read_sees_what_was_acknowledged_before_it() {
    on_each_engine(async |fixture| {
        let store = open(fixture).await;
        for id in 0..100 {
            store.execute(&INSERT, params![id, "x"]).await.unwrap();
            assert_eq!(count(&store).await, id + 1);
        }
    })
    .await;
}

#[tokio::test]
async fn what_was_acknowledged_is_there_when_the_store_is_opened_again() {
    on_each_engine(async |fixture| {
        let store = open(fixture).await;
        store.execute(&INSERT, params![1, "one"]).await.unwrap();
        store.close().await;
        assert!(matches!(store.execute(&INSERT, params![2, "two"]).await, Err(StoreError::Closed)));
        assert!(matches!(store.query(&COUNT, params![]).await, Err(StoreError::Closed)));
        assert_eq!(count(&open(fixture).await).await, 1);
    })
    .await;
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_ended_and_the_store_goes_on() {
    static ENDLESS: Statement = Statement::new(
        "lab",
        "endless",
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
    )
    .with_postgres("SELECT CAST(1 AS BIGINT) FROM pg_sleep(1000)");
    on_each_engine(async |fixture| {
        open(fixture).await;
        let options =
            StoreOptions { statement_timeout: Duration::from_secs(1).into(), ..fixture.options.clone() };
        let store = Store::open(&options, fixture.data_dir(), &fixture.tasks).await.unwrap();
        let read = store.query(&ENDLESS, params![]).await;
        assert!(
            matches!(&read, Err(StoreError::Timeout { statement, .. }) if statement == "lab.endless"),
            "{read:?}"
        );
        let written = store
            .write(|tx| {
                Box::pin(async move {
                    tx.execute(&INSERT, params![1, "lost"]).await?;
                    tx.query(&ENDLESS, params![]).await
                })
            })
            .await;
        assert!(matches!(written, Err(StoreError::Timeout { .. })), "{written:?}");
        store.execute(&INSERT, params![2, "kept"]).await.unwrap();
        assert_eq!(count(&store).await, 1);
    })
    .await;
}

#[tokio::test]
async fn a_query_without_pages_is_bounded() {
    static MANY: Statement = Statement::new(
        "lab",
        "many",
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000) SELECT i FROM n",
    );
    on_each_engine(async |fixture| {
        let store = fixture.open().await;
        assert!(matches!(store.query(&MANY, params![]).await, Err(StoreError::TooManyRows(_))));
        store.ping(Duration::from_secs(30)).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn more_callers_than_the_store_takes_are_turned_away_in_time() {
    static SLOW: Statement = Statement::new(
        "lab",
        "slow",
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
    )
    .with_postgres("SELECT CAST(1 AS BIGINT) FROM pg_sleep(1000)");
    on_each_engine(async |fixture| {
        let one = std::num::NonZeroUsize::MIN;
        let options = StoreOptions {
            pool_size: one,
            readers: one,
            queue_max: one,
            acquire_timeout: Duration::from_millis(50).into(),
            statement_timeout: Duration::from_secs(1).into(),
            ..fixture.options.clone()
        };
        let store = Store::open(&options, fixture.data_dir(), &fixture.tasks).await.unwrap();
        let results = futures_util::future::join_all((0..4).map(|_| store.query(&SLOW, params![]))).await;
        assert!(results.iter().any(|result| matches!(result, Err(StoreError::Overloaded(_)))), "{results:?}");
        store.ping(Duration::from_secs(30)).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_the_store_usable() {
    on_each_engine(async |fixture| {
        let store = open(fixture).await;
        let entered = Arc::new(AtomicUsize::new(0));
        for number in 0..40 {
            let seen = Arc::clone(&entered);
            let abandoned = store.write(move |tx| {
                Box::pin(async move {
                    seen.fetch_add(1, Ordering::Relaxed);
                    tx.execute(&INSERT, params![100 + number, "abandoned"]).await
                })
            });
            // Polled once and dropped: on PostgreSQL in the midst of `BEGIN`.
            let mut abandoned = Box::pin(abandoned);
            let _ = futures_util::poll!(&mut abandoned);
        }
        store.execute(&INSERT, params![1, "one"]).await.unwrap();
        let (entered, kept) = (entered.load(Ordering::Relaxed), count(&store).await - 1);
        assert!(
            usize::try_from(kept).is_ok_and(|kept| kept <= entered),
            "{kept} were kept, {entered} had begun"
        );
        assert!(!fixture.is_postgres() || kept == 0, "{kept} were kept after their `BEGIN` was given up");
    })
    .await;
}

#[tokio::test]
async fn a_ping_answers() {
    on_each_engine(async |fixture| {
        let store = fixture.open().await;
        store.ping(Duration::from_secs(30)).await.unwrap();
        store.close().await;
        assert!(store.ping(Duration::from_secs(30)).await.is_err());
    })
    .await;
}

mod durability;
mod engines;
mod migrations;
