//! Acknowledged (durable) writes per second on SQLite: many callers' transactions in one commit against a commit each.

use std::{
    hint::black_box,
    num::NonZeroUsize,
    sync::atomic::{AtomicI64, Ordering},
    time::Instant,
};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use paddock_platform::{
    params,
    store::{Migration, Migrations, Statement, Store, StoreOptions, testing::Fixture},
};
use tokio::runtime::Runtime;

const CALLERS: [u64; 3] = [1, 64, 256];

static INSERT: Statement = Statement::new("lab", "insert", "INSERT INTO things (id, name) VALUES (?1, ?2)");
static FIND: Statement = Statement::new("lab", "find", "SELECT name FROM things WHERE id = ?1");
const THINGS: Migrations = Migrations::new(
    "lab",
    &[Migration::new(1, "create things", "CREATE TABLE things (id BIGINT PRIMARY KEY, name TEXT NOT NULL)")],
);
static NEXT_ID: AtomicI64 = AtomicI64::new(0);

async fn open(fixture: &Fixture, group_max: usize) -> Store {
    let group_max = NonZeroUsize::new(group_max).unwrap_or(NonZeroUsize::MIN);
    let options = StoreOptions { group_max, ..fixture.options.clone() };
    let store = Store::open(&options, fixture.data_dir(), &fixture.tasks).await.expect("the store opens");
    store.migrate(&THINGS).await.expect("the schema is made");
    store
}

/// Each caller writes its transactions one after the other, waiting for every acknowledgement.
async fn write(store: &Store, callers: u64, each: u64) {
    let callers = (0..callers).map(|_| async {
        for _ in 0..each {
            let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
            store
                .write(move |tx| {
                    Box::pin(async move { tx.execute(&INSERT, params![id, "a name of usual length"]).await })
                })
                .await
                .expect("it is written");
        }
    });
    futures_util::future::join_all(callers).await;
}

fn writes(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime starts");
    let mut group = criterion.benchmark_group("store_write");
    group.sample_size(10);
    for callers in CALLERS {
        group.throughput(Throughput::Elements(callers));
        for (name, group_max) in [("group_commit", 256), ("commit_each", 1)] {
            group.bench_with_input(BenchmarkId::new(name, callers), &callers, |bencher, &callers| {
                bencher.to_async(&runtime).iter_custom(|rounds| async move {
                    let fixture = Fixture::sqlite();
                    let store = open(&fixture, group_max).await;
                    let started = Instant::now();
                    write(&store, callers, rounds).await;
                    let elapsed = started.elapsed();
                    store.close().await;
                    elapsed
                });
            });
        }
    }
    group.finish();
}

fn reads(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime starts");
    let mut group = criterion.benchmark_group("store_read");
    group.throughput(Throughput::Elements(1));
    let fixture = Fixture::sqlite();
    let store = runtime.block_on(async {
        let store = open(&fixture, 256).await;
        store.execute(&INSERT, params![-1_i64, "a name of usual length"]).await.expect("it is written");
        store
    });
    group.bench_function("by_key", |bencher| {
        bencher.to_async(&runtime).iter(|| async {
            black_box(store.query(&FIND, params![-1_i64]).await.expect("it is read"));
        });
    });
    group.finish();
    runtime.block_on(store.close());
}

criterion_group!(benches, writes, reads);
criterion_main!(benches);
