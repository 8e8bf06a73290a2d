//! `kill -9` loses nothing that was acknowledged.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use super::*;

/// Set in the child process: the store's URL and its data directory.
const CHILD_URL: &str = "PADDOCK_TEST_STORE_URL";
const CHILD_DIR: &str = "PADDOCK_TEST_STORE_DIR";
const ACKNOWLEDGED: &str = "acknowledged ";
/// So many are acknowledged before the child is killed.
const ACKNOWLEDGED_MIN: usize = 300;

static EXISTS: Statement = Statement::new("lab", "exists", "SELECT id FROM things WHERE id = ?1");

/// Not a test by itself: the process that is killed. It writes until then and prints what was acknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn child_that_writes_until_it_is_killed() {
    let (Ok(url), Ok(dir)) = (std::env::var(CHILD_URL), std::env::var(CHILD_DIR)) else { return };
    let options = StoreOptions { url: url.parse().unwrap(), ..StoreOptions::default() };
    let store = Store::open(&options, dir.as_ref(), &crate::task::Tasks::default()).await.unwrap();
    let writers = (0..16_i64).map(|writer| {
        let store = store.clone();
        async move {
            for number in 0_i64.. {
                let id = number * 16 + writer;
                store
                    .write(move |tx| {
                        Box::pin(async move {
                            tx.execute(&INSERT, params![id, "x"]).await?;
                            tx.execute(&INSERT_PART, params![id]).await
                        })
                    })
                    .await
                    .unwrap();
                println!("{ACKNOWLEDGED}{id}");
            }
        }
    });
    futures_util::future::join_all(writers).await;
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9() {
    on_each_engine(async |fixture| {
        open(fixture).await.close().await;
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "store::tests::durability::child_that_writes_until_it_is_killed",
                "--nocapture",
            ])
            .env(CHILD_URL, fixture.options.url.to_string())
            .env(CHILD_DIR, fixture.data_dir())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut acknowledged = lines
            .map_while(Result::ok)
            .filter_map(|line| line.split_once(ACKNOWLEDGED).map(|(_, id)| id.parse::<i64>().unwrap()));
        let mut ids: Vec<i64> = acknowledged.by_ref().take(ACKNOWLEDGED_MIN).collect();
        assert_eq!(ids.len(), ACKNOWLEDGED_MIN, "the child wrote");
        child.kill().unwrap();
        // What it still printed before it died counts, too, except for a line that was cut off.
        ids.extend(acknowledged);
        ids.pop();
        child.wait().unwrap();
        let store = open(fixture).await;
        for id in ids {
            assert!(store.query_first(&EXISTS, params![id]).await.unwrap().is_some(), "{id} is lost");
        }
    })
    .await;
}
