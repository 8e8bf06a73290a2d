use std::{convert::Infallible, sync::atomic::AtomicUsize};

use futures_util::future::join_all;
use tokio::sync::Notify;

use super::*;

const PAGES: CacheSpec =
    CacheSpec { name: "lab_pages", ttl: Duration::from_hours(1), weight_max: ByteSize::mib(1) };

fn pages() -> Cache<Arc<str>> {
    Cache::new(PAGES, |page| page.len() as u64)
}

async fn computed(cache: &Cache<Arc<str>>, key: &str, value: &str) -> String {
    let compute = || async { Ok::<_, Infallible>(Arc::from(value)) };
    cache.get_or_compute(key, compute).await.unwrap().to_string()
}

#[tokio::test]
async fn a_value_is_computed_once_and_then_found() {
    let cache = pages();
    assert_eq!(cache.get("a").await, None);
    assert_eq!(computed(&cache, "a", "first").await, "first");
    assert_eq!(computed(&cache, "a", "second").await, "first");
    assert_eq!(cache.get("a").await.as_deref(), Some("first"));
}

#[tokio::test]
async fn many_who_ask_at_once_share_one_computation() {
    let (cache, computations) = (pages(), AtomicUsize::new(0));
    let ask = || {
        cache.get_or_compute("a", || async {
            tokio::task::yield_now().await;
            let number = computations.fetch_add(1, Ordering::Relaxed);
            Ok::<_, Infallible>(Arc::from(number.to_string()))
        })
    };
    let answers = join_all((0..100).map(|_| ask())).await;
    assert!(answers.iter().all(|answer| answer.as_ref().unwrap().as_ref() == "0"));
    assert_eq!(computations.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn an_error_is_shared_by_those_who_waited_and_not_kept() {
    let cache = pages();
    let fail = || {
        cache.get_or_compute("a", || async {
            tokio::task::yield_now().await;
            Err::<Arc<str>, _>("broken".to_owned())
        })
    };
    let answers = join_all((0..5).map(|_| fail())).await;
    assert!(answers.iter().all(|answer| **answer.as_ref().unwrap_err() == "broken"));
    assert_eq!(computed(&cache, "a", "mended").await, "mended");
}

#[tokio::test]
async fn another_one_computes_when_the_first_goes_away() {
    let cache = pages();
    let mut first = Box::pin(cache.get_or_compute("a", std::future::pending::<Result<Arc<str>, Infallible>>));
    assert!(futures_util::poll!(&mut first).is_pending());
    let mut second = Box::pin(computed(&cache, "a", "second"));
    assert!(futures_util::poll!(&mut second).is_pending());
    drop(first);
    assert_eq!(second.await, "second");
}

#[tokio::test]
async fn keys_are_forgotten_one_by_one_by_prefix_and_all() {
    let cache = pages();
    for key in ["shop/1", "shop/2", "blog/1", "shopping"] {
        cache.insert(key, Arc::from(key)).await;
    }
    cache.invalidate("shop/1").await;
    assert_eq!(cache.get("shop/1").await, None);
    assert!(cache.get("shop/2").await.is_some());
    cache.invalidate_prefix("shop/").await;
    assert_eq!(cache.get("shop/2").await, None);
    assert!(cache.get("blog/1").await.is_some() && cache.get("shopping").await.is_some());
    cache.insert("shop/2", Arc::from("again")).await;
    assert!(cache.get("shop/2").await.is_some(), "what comes after an invalidation stays");
    cache.clear().await;
    assert_eq!(cache.get("blog/1").await, None);
}

#[tokio::test]
async fn what_was_being_computed_during_an_invalidation_is_not_kept() {
    for by_prefix in [false, true] {
        let (cache, go) = (pages(), Notify::new());
        let mut early = Box::pin(cache.get_or_compute("shop/1", || async {
            go.notified().await;
            Ok::<_, Infallible>(Arc::from("old"))
        }));
        assert!(futures_util::poll!(&mut early).is_pending());
        if by_prefix {
            cache.invalidate_prefix("shop/").await;
        } else {
            cache.invalidate("shop/1").await;
        }
        // Asks after the invalidation, and waits for a computation that began before it.
        let mut late = Box::pin(computed(&cache, "shop/1", "new"));
        assert!(futures_util::poll!(&mut late).is_pending());
        go.notify_one();
        assert_eq!(early.await.unwrap().as_ref(), "old");
        assert_eq!(late.await, "new");
        assert_eq!(cache.get("shop/1").await.as_deref(), Some("new"));
        assert!(cache.0.flights.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn the_weight_has_a_maximum() {
    let cache = pages();
    for number in 0..200 {
        cache.insert(&number.to_string(), Arc::from("x".repeat(32 << 10))).await;
    }
    cache.0.entries.run_pending_tasks().await;
    assert!(cache.0.entries.weighted_size() <= PAGES.weight_max.get());
    assert!(cache.0.entries.entry_count() > 0);
    // Heavier than the whole cache: given to the caller, not kept.
    let huge = "x".repeat(2 << 20);
    assert_eq!(computed(&cache, "huge", &huge).await, huge);
    cache.0.entries.run_pending_tasks().await;
    assert_eq!(cache.get("huge").await, None);
}

#[tokio::test]
async fn a_value_that_is_too_old_is_gone() {
    let cache = Cache::<Arc<str>>::new(PAGES.with_ttl(Duration::from_millis(30)), |page| page.len() as u64);
    cache.insert("a", Arc::from("x")).await;
    let gone = async {
        while cache.get("a").await.is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), gone).await.expect("the value ages");
}
