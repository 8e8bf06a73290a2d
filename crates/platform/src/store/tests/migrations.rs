//! Migrations on both engines.

use super::*;

fn error_of(result: Result<(), StoreError>) -> MigrationError {
    match result {
        Err(StoreError::Migration(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn migrating_again_changes_nothing_and_new_steps_are_added() {
    const ADD_NOTE: Migration = Migration::new(
        3,
        "add note",
        "ALTER TABLE things ADD COLUMN note TEXT; CREATE INDEX notes ON things (note);",
    );
    const LATER: Migrations = Migrations::new("lab", &[CREATE_THINGS, CREATE_PARTS, ADD_NOTE]);
    static NOTE: Statement = Statement::new("lab", "note", "SELECT note FROM things");
    on_each_engine(async |fixture| {
        let store = open(fixture).await;
        store.execute(&INSERT, params![1, "one"]).await.unwrap();
        store.migrate(&THINGS).await.unwrap();
        store.migrate(&LATER).await.unwrap();
        assert_eq!(store.query(&NOTE, params![]).await.unwrap().len(), 1);
        let newer = error_of(store.migrate(&THINGS).await);
        assert!(matches!(newer, MigrationError::Newer { found: 3, known: 2, .. }), "{newer}");
    })
    .await;
}

#[tokio::test]
async fn a_step_that_was_edited_after_it_was_applied_is_refused() {
    const OTHER_PARTS: Migration =
        Migration::new(2, "create parts", "CREATE TABLE parts (thing BIGINT NOT NULL)");
    const EDITED: Migrations = Migrations::new("lab", &[CREATE_THINGS, OTHER_PARTS]);
    on_each_engine(async |fixture| {
        let store = open(fixture).await;
        let error = error_of(store.migrate(&EDITED).await);
        assert!(matches!(error, MigrationError::Edited { version: 2, .. }), "{error}");
    })
    .await;
}

#[tokio::test]
async fn a_step_that_fails_leaves_nothing_of_it_and_all_before_it() {
    const BREAK: Migration =
        Migration::new(2, "break", "CREATE TABLE half (id BIGINT); CREATE TABLE things (id BIGINT)");
    const BROKEN: Migrations = Migrations::new("lab", &[CREATE_THINGS, BREAK]);
    static HALF: Statement = Statement::new("lab", "half", "SELECT id FROM half");
    on_each_engine(async |fixture| {
        let store = fixture.open().await;
        let error = error_of(store.migrate(&BROKEN).await);
        assert!(matches!(error, MigrationError::Failed { version: 2, .. }), "{error}");
        assert_eq!(count(&store).await, 0);
        assert!(store.query(&HALF, params![]).await.is_err());
        store.migrate(&THINGS).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn areas_do_not_see_each_others_steps() {
    const OTHER: Migrations = Migrations::new(
        "jobs",
        &[Migration::new(1, "create jobs", "CREATE TABLE jobs (id BIGINT PRIMARY KEY)")],
    );
    on_each_engine(async |fixture| {
        let store = open(fixture).await;
        store.migrate(&OTHER).await.unwrap();
        store.migrate(&THINGS).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn servers_that_start_together_migrate_once() {
    on_each_engine(async |fixture| {
        let stores = futures_util::future::join_all((0..4).map(|_| fixture.open())).await;
        let migrated =
            futures_util::future::join_all(stores.iter().map(|store| store.migrate(&THINGS))).await;
        assert!(migrated.iter().all(Result::is_ok), "{migrated:?}");
    })
    .await;
}

#[tokio::test]
async fn steps_with_a_gap_are_refused() {
    const GAP: Migrations = Migrations::new("lab", &[Migration::new(2, "second", "SELECT 1")]);
    let fixture = testing::Fixture::sqlite();
    let error = error_of(fixture.open().await.migrate(&GAP).await);
    assert!(matches!(error, MigrationError::Numbering { .. }));
}
