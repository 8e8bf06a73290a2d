//! The self-test, with this test binary as the server that is frozen.

#![expect(clippy::unwrap_used, reason = "a test that cannot prepare has to stop")]

use std::{io::Read as _, time::Duration};

use paddock_lab::{
    fixture,
    selftest::{FreezePlan, SelfTest},
    verdict::Level,
};
use tokio_util::sync::CancellationToken;

const SERVER_VARIABLE: &str = "PADDOCK_LAB_TEST_SERVER";

/// Not a test: the process that gets frozen, when another test starts this binary with the variable set.
#[tokio::test]
async fn the_server_that_is_frozen() {
    if std::env::var_os(SERVER_VARIABLE).is_none() {
        return;
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("\nlistening on {}", listener.local_addr().unwrap());
    // Ends with the pipe to whoever started it.
    let ended = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    fixture::serve(listener, async {
        let _ = ended.await;
    })
    .await;
}

fn server() -> Vec<String> {
    let exe = std::env::current_exe().unwrap().to_string_lossy().into_owned();
    let set = format!("{SERVER_VARIABLE}=1");
    ["env", &set, &exe, "--exact", "the_server_that_is_frozen", "--nocapture"].map(str::to_owned).to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_target_shows_its_whole_freeze() {
    let test = SelfTest {
        server: server(),
        burner: vec!["false".to_owned()],
        freeze: FreezePlan {
            rate_per_s: 200.0,
            duration: Duration::from_millis(1_500),
            at: Duration::from_millis(400),
            length: Duration::from_millis(600),
            connections: 10,
        },
        rivals: false,
        full: false,
    };
    let frozen = test.frozen_target(&CancellationToken::new()).await;
    assert_ne!(frozen.level, Level::Invalid, "{frozen:?}");
    // The p99 is compared with theory by the self-test itself; on a machine that is busy with other tests it may be off,
    // so that here only what no scheduling can explain away is required.
    let p99 = |name: &str| {
        let value = &frozen.figures.iter().find(|(figure, _)| figure == name).unwrap().1;
        let (_, p99) = value.split_once(" / ").unwrap();
        p99.trim_end_matches(" ms").replace(',', "").parse::<f64>().unwrap()
    };
    let (found, expected) = (p99("p90 / p99 of Paddock"), p99("p90 / p99 worked out"));
    assert!(found > 0.9 * expected && found < 3.0 * expected, "{frozen:?}");
}

#[tokio::test]
async fn a_server_that_does_not_come_up_makes_the_case_invalid() {
    let test = SelfTest {
        server: vec!["false".to_owned()],
        burner: vec!["false".to_owned()],
        freeze: FreezePlan::default(),
        rivals: false,
        full: true,
    };
    let stop = CancellationToken::new();
    assert_eq!(test.frozen_target(&stop).await.level, Level::Invalid);
    let cases = test.gate_on_processes(&stop).await;
    let no_change = cases.iter().find(|case| case.name == "gate on no change").unwrap();
    assert!(no_change.note.as_ref().unwrap().contains("failed in warm-up 1"), "{no_change:?}");
}
