//! The engine against closures: what it counts, and what it does when it is stopped.
#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use paddock_lab::{
    driver::{
        Call, Driver, Failure, Outcome, Seat, Session,
        in_process::{InProcess, InProcessAsync},
    },
    engine::{Load, Measured, Observer, Pattern, Step, generate},
    record::Interval,
    schedule::{Schedule, Stage},
};
use tokio_util::sync::CancellationToken;

fn step(name: &str, weight: u32, driver: impl Driver + 'static) -> Step {
    Step {
        name: name.to_owned(),
        driver_name: "in_process",
        weight,
        timeout: Duration::from_secs(5),
        checks: Vec::new(),
        driver: Arc::new(driver),
    }
}

fn open(rate_per_s: f64, millis: u64) -> Pattern {
    Pattern::Open(Schedule::constant(rate_per_s, Duration::from_millis(millis)).unwrap())
}

fn run(load: Load) -> Measured {
    generate(load, &mut (), &CancellationToken::new()).unwrap()
}

#[test]
fn every_operation_of_the_schedule_is_carried_out_once_and_counted() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&seen);
    let driver = InProcess::new(move |index| {
        sink.lock().unwrap().push(index);
        Ok(())
    });
    let mut load = Load::new(open(20_000.0, 500), vec![step("count", 1, driver)]);
    load.workers = 3;
    let measured = run(load);
    let mut seen = seen.lock().unwrap().clone();
    seen.sort_unstable();
    assert!(seen.iter().copied().eq(0..10_000));
    let step = &measured.steps[0];
    assert_eq!((step.offered, step.completed, step.errors.len()), (10_000, 10_000, 0));
    assert_eq!((step.latency.count, step.service.count, step.lag.count), (10_000, 10_000, 10_000));
    assert_eq!(measured.pacer.offered, 10_000);
    assert_eq!(measured.intervals.iter().map(|interval| interval.offered).sum::<u64>(), 10_000);
    assert_eq!(measured.intervals.iter().map(|interval| interval.completed).sum::<u64>(), 10_000);
    assert!(step.latency.max_us >= step.service.p50_us);
    assert_eq!(measured.partial, None);
    assert!(measured.duration_s >= 0.5);
}

#[test]
fn a_stall_of_the_target_is_in_the_latency_of_everything_that_was_due_meanwhile() {
    // One seat that stands still for 300 ms once: what comes due behind it waits, and its wait is its latency.
    let driver = InProcessAsync::new(|index| {
        Box::pin(async move {
            if index == 100 {
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
            Ok(())
        })
    });
    let mut load = Load::new(open(1_000.0, 600), vec![step("stall", 1, driver)]);
    load.in_flight_max = 1;
    load.workers = 1;
    let measured = run(load);
    let step = &measured.steps[0];
    assert_eq!(step.completed, 600);
    // Half of the 600 were due in the stall and waited 150 ms on average: their tenth highest is above 250 ms.
    assert!(step.latency.p95_us > 200_000.0, "{}", step.latency.p95_us);
    assert!(step.service.p95_us < 100_000.0, "{}", step.service.p95_us);
    // It is the target's doing, not the generator's.
    assert!(step.lag.p95_us < 100_000.0, "{}", step.lag.p95_us);
    assert!(measured.waited >= 250, "{}", measured.waited);
    assert_eq!(step.extra["wait"].count, measured.waited);
}

#[test]
fn steps_have_their_share_by_weight_and_the_choice_repeats_from_the_seed() {
    let load = || {
        let steps =
            vec![step("often", 3, InProcess::new(|_| Ok(()))), step("seldom", 1, InProcess::new(|_| Ok(())))];
        Load::new(open(20_000.0, 200), steps)
    };
    let (first, second) = (run(load()), run(load()));
    let counts = |measured: &Measured| measured.steps.iter().map(|step| step.completed).collect::<Vec<_>>();
    assert_eq!(counts(&first), counts(&second));
    assert_eq!(counts(&first), [3_000, 1_000]);
}

#[test]
fn the_warm_up_is_carried_out_and_not_measured() {
    let calls = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&calls);
    let driver = InProcess::new(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
        Ok(())
    });
    let mut load = Load::new(open(1_000.0, 300), vec![step("warm", 1, driver)]);
    load.warm_up = Duration::from_millis(200);
    let measured = run(load);
    assert_eq!(calls.load(Ordering::Relaxed), 500);
    assert_eq!((measured.steps[0].offered, measured.steps[0].completed), (300, 300));
    assert!(measured.duration_s < 10.0);
}

#[test]
fn errors_are_counted_by_kind_with_the_first_as_example() {
    let driver = InProcess::new(|index| match index % 4 {
        0 => Err(Failure::new("broken", format!("number {index} is broken"))),
        1 => Err(Failure::new("lost", "gone")),
        _ => Ok(()),
    });
    let mut load = Load::new(open(2_000.0, 200), vec![step("fail", 1, driver)]);
    load.in_flight_max = 1;
    let measured = run(load);
    let step = &measured.steps[0];
    assert_eq!((step.errors["broken"], step.errors["lost"], step.completed), (100, 100, 400));
    let check = &measured.checks[0];
    assert_eq!((check.passed, check.failed), (200, 200));
    assert_eq!(check.example.as_deref(), Some("number 0 is broken"));
}

#[test]
fn users_wait_for_their_answer_think_and_stop_after_the_last_iteration() {
    let in_flight = Arc::new(AtomicU64::new(0));
    let most = Arc::new(AtomicU64::new(0));
    let (current, highest) = (Arc::clone(&in_flight), Arc::clone(&most));
    let driver = InProcessAsync::new(move |_| {
        let (current, highest) = (Arc::clone(&current), Arc::clone(&highest));
        Box::pin(async move {
            highest.fetch_max(current.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(5)).await;
            current.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        })
    });
    let pattern = Pattern::Closed {
        users: 4,
        think_time: Duration::from_millis(5),
        duration: None,
        iterations: Some(50),
    };
    let measured = run(Load::new(pattern, vec![step("user", 1, driver)]));
    assert_eq!((measured.steps[0].offered, measured.steps[0].completed), (50, 50));
    assert!(most.load(Ordering::SeqCst) <= 4);
    assert_eq!(measured.waited, 0);
    // Fifty operations by four users, ten milliseconds each, one after the other.
    assert!(measured.duration_s > 0.1, "{}", measured.duration_s);
}

#[test]
fn an_operation_that_hangs_is_given_up_at_its_deadline_and_counts_with_its_whole_time() {
    let driver = InProcessAsync::new(|index| {
        Box::pin(async move {
            if index == 5 {
                std::future::pending::<()>().await;
            }
            Ok(())
        })
    });
    let mut hanging = step("hang", 1, driver);
    hanging.timeout = Duration::from_millis(150);
    let measured = run(Load::new(open(100.0, 200), vec![hanging]));
    let step = &measured.steps[0];
    assert_eq!((step.completed, step.errors["timeout"]), (20, 1));
    assert!(step.latency.max_us >= 150_000.0);
}

struct StopAfter {
    seconds: u64,
    token: CancellationToken,
    seen: Vec<Interval>,
}

impl Observer for StopAfter {
    fn interval(&mut self, interval: &Interval) {
        self.seen.push(interval.clone());
        if self.seen.len() as u64 >= self.seconds {
            self.token.cancel();
        }
    }
}

#[test]
fn an_interrupted_run_keeps_what_was_measured_and_says_so() {
    let driver = InProcessAsync::new(|index| {
        Box::pin(async move {
            // The first never ends: interrupting does not wait for it.
            if index == 0 {
                std::future::pending::<()>().await;
            }
            Ok(())
        })
    });
    let mut forever = step("forever", 1, driver);
    forever.timeout = Duration::from_hours(1);
    let token = CancellationToken::new();
    let mut observer = StopAfter { seconds: 1, token: token.clone(), seen: Vec::new() };
    let load = Load::new(open(100.0, 3_600_000), vec![forever]);
    let measured = generate(load, &mut observer, &token).unwrap();
    let partial = measured.partial.unwrap();
    assert!(partial.starts_with("interrupted"), "{partial}");
    let step = &measured.steps[0];
    assert_eq!(step.errors["unfinished"], 1);
    assert!(step.completed > 50 && step.offered >= step.completed, "{} {}", step.offered, step.completed);
    assert!(!observer.seen.is_empty());
}

#[test]
fn a_target_that_stops_answering_ends_the_run_early_with_its_last_error() {
    let dead = Arc::new(AtomicBool::new(false));
    let state = Arc::clone(&dead);
    let driver = InProcess::new(move |index| {
        state.store(index >= 20, Ordering::Relaxed);
        if index >= 20 { Err(Failure::new("connect-refused", "nobody listens")) } else { Ok(()) }
    });
    let mut load = Load::new(open(50.0, 3_600_000), vec![step("dying", 1, driver)]);
    load.abort_after = Duration::from_millis(1_500);
    let measured = run(load);
    let partial = measured.partial.unwrap();
    assert!(partial.contains("did not answer") && partial.contains("nobody listens"), "{partial}");
    assert!(measured.steps[0].completed >= 20);
}

#[test]
fn one_failure_and_silence_after_it_does_not_end_the_run() {
    // Due every second; the first fails, and nothing else is due for longer than `abort_after`.
    let driver = InProcess::new(|index| if index == 0 { Err(Failure::new("reset", "once")) } else { Ok(()) });
    let mut load = Load::new(open(1.0, 3_000), vec![step("rare", 1, driver)]);
    load.abort_after = Duration::from_millis(300);
    let measured = run(load);
    assert_eq!(measured.partial, None);
    assert_eq!((measured.steps[0].completed, measured.steps[0].errors["reset"]), (3, 1));
}

#[test]
fn sparse_arrivals_are_in_one_interval_each_in_order() {
    let stages = [
        Stage { to_per_s: 2.0, duration: Duration::from_secs(1) },
        Stage { to_per_s: 0.0, duration: Duration::ZERO },
        Stage { to_per_s: 0.0, duration: Duration::from_secs(2) },
        Stage { to_per_s: 2.0, duration: Duration::ZERO },
        Stage { to_per_s: 2.0, duration: Duration::from_secs(1) },
    ];
    let schedule = Schedule::stages(2.0, &stages).unwrap();
    let token = CancellationToken::new();
    let mut observer = StopAfter { seconds: u64::MAX, token: token.clone(), seen: Vec::new() };
    let load = Load::new(Pattern::Open(schedule), vec![step("x", 1, InProcess::new(|_| Ok(())))]);
    let measured = generate(load, &mut observer, &token).unwrap();
    let seen: Vec<(f64, u64)> = measured.intervals.iter().map(|i| (i.at_s, i.offered)).collect();
    assert!(seen.windows(2).all(|pair| pair[0].0 < pair[1].0), "{seen:?}");
    assert_eq!(seen.iter().map(|(_, offered)| offered).sum::<u64>(), 4, "{seen:?}");
    assert_eq!((seen[0], seen[3]), ((0.0, 2), (3.0, 2)), "{seen:?}");
    assert_eq!(observer.seen, measured.intervals);
}

#[test]
fn a_driver_decides_what_an_error_is() {
    #[derive(Debug)]
    struct Refusing;
    struct RefusingSession;
    impl Driver for Refusing {
        fn session(&self, _: Seat) -> Box<dyn Session> {
            Box::new(RefusingSession)
        }
    }
    impl Session for RefusingSession {
        fn execute<'a>(&'a mut self, call: Call<'a>) -> BoxFuture<'a, Outcome> {
            // Its statuses are not those of HTTP: 500 is good, 7 is not.
            let status = if call.index.is_multiple_of(2) { 500 } else { 7 };
            let refusal = (status == 7).then(|| "seven".into());
            Box::pin(std::future::ready(Outcome { status: Some(status), refusal, ..Outcome::default() }))
        }
    }
    let measured = run(Load::new(open(500.0, 200), vec![step("refusing", 1, Refusing)]));
    assert_eq!(measured.steps[0].errors, [("seven".to_owned(), 50)].into());
}

#[test]
fn a_load_out_of_bounds_is_refused_before_anything_starts() {
    let ok = || vec![step("x", 1, InProcess::new(|_| Ok(())))];
    let mut none = Load::new(open(1.0, 1_000), ok());
    none.in_flight_max = 0;
    let mut weightless = Load::new(open(1.0, 1_000), ok());
    weightless.steps[0].weight = 0;
    let stepless = Load::new(open(1.0, 1_000), Vec::new());
    let users =
        |users, iterations| Pattern::Closed { users, think_time: Duration::ZERO, duration: None, iterations };
    let endless = Load::new(users(1, None), ok());
    let crowd = Load::new(users(1_000_000, Some(1)), ok());
    for load in [none, weightless, stepless, endless, crowd] {
        let error = generate(load, &mut (), &CancellationToken::new()).unwrap_err();
        assert!(!error.to_string().is_empty());
    }
}

#[test]
fn a_staged_load_is_seen_in_the_intervals() {
    let stages = [
        Stage { to_per_s: 200.0, duration: Duration::from_secs(1) },
        Stage { to_per_s: 600.0, duration: Duration::ZERO },
        Stage { to_per_s: 600.0, duration: Duration::from_secs(1) },
    ];
    let schedule = Schedule::stages(200.0, &stages).unwrap();
    let measured = run(Load::new(Pattern::Open(schedule), vec![step("x", 1, InProcess::new(|_| Ok(())))]));
    let offered: Vec<u64> = measured.intervals.iter().take(2).map(|interval| interval.offered).collect();
    assert_eq!(offered, [200, 600]);
}
