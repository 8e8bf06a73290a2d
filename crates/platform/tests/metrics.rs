//! What an operator sees: the exact metric names and labels, and the slow-query log.
#![expect(clippy::unwrap_used, reason = "all of it is test code")]

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use metrics_exporter_prometheus::PrometheusBuilder;
use paddock_platform::{
    blobs,
    cache::{self, Cache, CacheSpec},
    config, keys, params,
    store::{self, Statement, Store, StoreOptions, testing::on_each_engine},
    units::ByteSize,
};

static FIND: Statement = Statement::new("lab", "find", "SELECT ?1");
static DAWDLE: Statement = Statement::new(
    "lab",
    "dawdle",
    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) \
     SELECT count(*), CAST(?1 AS TEXT) FROM n",
);

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn statements_are_measured_and_slow_ones_logged_without_their_parameters() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).init();
    let metrics = PrometheusBuilder::new().install_recorder().unwrap();
    store::metrics::describe();
    config::metrics::describe();
    keys::describe();
    blobs::describe();
    cache::describe();

    on_each_engine(async |fixture| {
        let options = StoreOptions { slow_query: Duration::from_millis(1).into(), ..fixture.options.clone() };
        let store = Store::open(&options, fixture.data_dir(), &fixture.tasks).await.unwrap();
        log.0.lock().unwrap().clear();
        store.query(&DAWDLE, params!["hunter2"]).await.unwrap();
        store.query(&FIND, params!["hunter2"]).await.unwrap();
        store.close().await;
        let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert!(log.contains("slow query") && log.contains("dawdle") && log.contains("lab"), "{log}");
        assert!(!log.contains("hunter2"), "{log}");
    })
    .await;

    let pages = Cache::<String>::new(
        CacheSpec { name: "lab_pages", ttl: Duration::from_hours(1), weight_max: ByteSize::mib(1) },
        |page| page.len() as u64,
    );
    pages.insert("a", "x".to_owned()).await;
    pages.get("a").await;
    pages.get("b").await;

    let rendered = metrics.render();
    for expected in [
        r#"store_query_duration_seconds_count{area="lab",statement="dawdle"}"#,
        r#"store_query_duration_seconds_count{area="lab",statement="find"}"#,
        r#"store_wait_duration_seconds_count{kind="read"}"#,
        r#"store_connections{state="free"}"#,
        "store_waiting 0",
        r#"cache_hits_total{cache="lab_pages"} 1"#,
        r#"cache_misses_total{cache="lab_pages"} 1"#,
        "# HELP store_query_duration_seconds ",
    ] {
        assert!(rendered.contains(expected), "`{expected}` is not in\n{rendered}");
    }
}
