//! What every bus does, within the process and over NATS.

use std::time::Duration;

use bytes::Bytes;

use super::{Bus, BusError, BusOptions, BusUrl, testing::NatsServer};
use crate::task::Tasks;

/// Far longer than anything takes that works.
const PATIENCE: Duration = Duration::from_secs(30);

/// A bus over a NATS server.
async fn connect(nats: &NatsServer) -> Bus {
    let options = BusOptions { url: nats.url().parse().unwrap(), ..BusOptions::default() };
    let bus = Bus::connect(&options, &Tasks::default()).await.unwrap();
    until(|| bus.is_up()).await;
    bus
}

async fn until(mut is_so: impl FnMut() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("it happens");
}

/// Two ends of each kind of bus.
async fn on_each_bus(test: impl AsyncFn(&Bus, &Bus)) {
    let local = Bus::local();
    test(&local, &local.clone()).await;
    if let Some(nats) = NatsServer::start() {
        test(&connect(&nats).await, &connect(&nats).await).await;
    }
}

#[tokio::test]
async fn what_is_published_is_heard_by_all_who_listen_and_in_order() {
    on_each_bus(async |here, there| {
        let (mut first, mut second) =
            (here.subscribe("news").await.unwrap(), there.subscribe("news").await.unwrap());
        let mut other = there.subscribe("other").await.unwrap();
        // A subscription is there once an answer comes through the same connection.
        let ready = tokio::join!(answer_once(there, "ready"), ask(here, "ready"));
        assert_eq!(ready.1, Bytes::from_static(b"yes"));
        for number in 0..100_u8 {
            here.publish("news", Bytes::from(vec![number])).await.unwrap();
        }
        for listener in [&mut first, &mut second] {
            for number in 0..100_u8 {
                let heard = tokio::time::timeout(PATIENCE, listener.next()).await.unwrap().unwrap();
                assert_eq!(heard.body[..], [number]);
            }
        }
        here.publish("other", Bytes::from_static(b"x")).await.unwrap();
        assert_eq!(tokio::time::timeout(PATIENCE, other.next()).await.unwrap().unwrap().body, "x");
    })
    .await;
}

async fn answer_once(bus: &Bus, subject: &str) {
    let mut questions = bus.subscribe(subject).await.unwrap();
    let asked = tokio::time::timeout(PATIENCE, questions.next()).await.unwrap().unwrap();
    asked.answer(Bytes::from_static(b"yes")).await.unwrap();
}

/// Asks until somebody listens.
async fn ask(bus: &Bus, subject: &str) -> Bytes {
    loop {
        match bus.request(subject, Bytes::new(), PATIENCE).await {
            Err(BusError::NobodyListens) => tokio::time::sleep(Duration::from_millis(5)).await,
            answered => return answered.unwrap(),
        }
    }
}

#[tokio::test]
async fn who_asks_hears_the_answer_or_that_there_is_none() {
    on_each_bus(async |here, there| {
        let nobody = here.request("nobody", Bytes::new(), PATIENCE).await;
        assert!(matches!(nobody, Err(BusError::NobodyListens)), "{nobody:?}");
        let ((), answer) = tokio::join!(answer_once(there, "question"), ask(here, "question"));
        assert_eq!(answer, "yes");
        // One who listens and does not answer.
        let _silent = here.subscribe("silent").await.unwrap();
        let silence = here.request("silent", Bytes::new(), Duration::from_millis(50)).await;
        assert!(matches!(silence, Err(BusError::Timeout(_))), "{silence:?}");
    })
    .await;
}

#[tokio::test]
async fn a_bus_that_is_gone_says_so_at_once_and_comes_back_with_its_subscriptions() {
    let Some(mut nats) = NatsServer::start() else { return };
    let bus = connect(&nats).await;
    let mut news = bus.subscribe("news").await.unwrap();
    nats.stop();
    until(|| !bus.is_up()).await;
    let gone = bus.publish("news", Bytes::new()).await;
    assert!(matches!(gone, Err(BusError::Unreachable(_))), "{gone:?}");
    let gone = bus.request("news", Bytes::new(), PATIENCE).await;
    assert!(matches!(gone, Err(BusError::Unreachable(_))), "{gone:?}");
    assert!(nats.resume());
    until(|| bus.is_up()).await;
    let heard = async {
        // The subscription is made again soon after the connection.
        loop {
            bus.publish("news", Bytes::from_static(b"again")).await.unwrap();
            if let Ok(heard) = tokio::time::timeout(Duration::from_millis(100), news.next()).await {
                return heard;
            }
        }
    };
    assert_eq!(tokio::time::timeout(PATIENCE, heard).await.unwrap().unwrap().body, "again");
}

#[tokio::test]
async fn what_is_too_large_is_refused() {
    let Some(nats) = NatsServer::start() else { return };
    let bus = connect(&nats).await;
    let large = Bytes::from(vec![0; bus.body_max() + 1]);
    let refused = bus.publish("news", large).await;
    assert!(matches!(refused, Err(BusError::TooLarge { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_user_without_a_password_is_a_mistake_and_not_nobody() {
    let url = BusUrl::Nats("nats://127.0.0.1:4222".to_owned());
    let options = BusOptions { url, user: Some("paddock".to_owned()), ..BusOptions::default() };
    let refused = Bus::connect(&options, &Tasks::default()).await;
    assert!(matches!(refused, Err(BusError::Options(_))), "{refused:?}");
}

#[test]
fn a_bus_is_named_without_a_password() {
    for text in ["local", "nats://127.0.0.1:4222", "tls://a.example:4222", "nats://a:4222,nats://b:4222"] {
        assert_eq!(text.parse::<BusUrl>().unwrap().to_string(), text);
    }
    for text in ["", "nats", "http://a", "nats://", "nats://me:secret@a:4222", "nats://a:4222,"] {
        assert!(text.parse::<BusUrl>().is_err(), "{text}");
    }
}
