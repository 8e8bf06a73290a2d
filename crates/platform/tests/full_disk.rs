//! A disk that is really full: a tiny file system of the test's own, which goes away with the process that uses it.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "all of it is test code")]

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use bytes::Bytes;
use paddock_platform::{
    blobs::{BlobError, Blobs, BlobsOptions},
    params,
    store::{Migration, Migrations, Statement, Store, StoreError, StoreOptions},
    task::Tasks,
};

/// Set in the child process: the directory that its file system is mounted on.
const CHILD_DIR: &str = "PADDOCK_TEST_FULL_DISK";

static INSERT: Statement = Statement::new("lab", "insert", "INSERT INTO things (name) VALUES (?1)");
static COUNT: Statement = Statement::new("lab", "count", "SELECT count(*) FROM things");
const THINGS: Migrations =
    Migrations::new("lab", &[Migration::new(1, "create things", "CREATE TABLE things (name TEXT NOT NULL)")]);

/// Runs one of the tests below again, as the child that has the tiny file system.
fn run_on_a_tiny_disk(test: &str) {
    let dir = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=2m tmpfs \"$0\" || exit 77; exec \"$@\"";
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script])
        .arg(dir.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(CHILD_DIR, dir.path())
        .stdin(Stdio::null())
        .output();
    let output = match output {
        Err(error) if error.kind() == ErrorKind::NotFound => return println!("skipped: no `unshare`"),
        output => output.unwrap(),
    };
    let text =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    if output.status.code() == Some(77) || text.contains("unshare failed") {
        return println!("skipped: a file system can be mounted only as root");
    }
    assert!(output.status.success(), "{text}");
}

fn child_dir() -> Option<PathBuf> {
    std::env::var_os(CHILD_DIR).map(PathBuf::from)
}

/// Takes all the space that is left.
fn fill(dir: &Path) -> PathBuf {
    let path = dir.join("filler");
    let error = fs::write(&path, vec![0_u8; 4 << 20]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    path
}

#[tokio::test]
async fn the_store_says_so_keeps_what_it_has_and_goes_on() {
    let Some(dir) = child_dir() else {
        return run_on_a_tiny_disk("the_store_says_so_keeps_what_it_has_and_goes_on");
    };
    let store = Store::open(&StoreOptions::default(), &dir, &Tasks::default()).await.unwrap();
    store.migrate(&THINGS).await.unwrap();
    store.execute(&INSERT, params!["kept"]).await.unwrap();
    let filler = fill(&dir);
    let large = "x".repeat(64 << 10);
    let mut kept = 1;
    let error = loop {
        match store.execute(&INSERT, params![&large]).await {
            Ok(_) => kept += 1,
            Err(error) => break error,
        }
        assert!(kept < 100, "nothing fails");
    };
    assert!(matches!(error, StoreError::DiskFull), "{error:?}");
    let count = async || store.query_first(&COUNT, params![]).await.unwrap().unwrap().get::<i64>(0).unwrap();
    assert_eq!(count().await, kept);
    fs::remove_file(filler).unwrap();
    store.execute(&INSERT, params![&large]).await.unwrap();
    assert_eq!(count().await, kept + 1);
}

#[tokio::test]
async fn the_blobs_say_so_keep_what_they_have_and_go_on() {
    let Some(dir) = child_dir() else {
        return run_on_a_tiny_disk("the_blobs_say_so_keep_what_they_have_and_go_on");
    };
    let blobs = Blobs::open(&BlobsOptions::default(), &dir).unwrap();
    let key = "lab/a.bin".parse().unwrap();
    blobs.put(&key, Bytes::from_static(b"kept")).await.unwrap();
    let filler = fill(&dir);
    let large = Bytes::from(vec![1_u8; 64 << 10]);
    let error = blobs.put(&key, large.clone()).await.unwrap_err();
    assert!(matches!(error, BlobError::DiskFull), "{error:?}");
    assert_eq!(blobs.get(&key).await.unwrap().bytes, "kept");
    fs::remove_file(filler).unwrap();
    blobs.put(&key, large.clone()).await.unwrap();
    assert_eq!(blobs.get(&key).await.unwrap().bytes, large);
}
