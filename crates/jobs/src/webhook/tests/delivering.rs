use axum::response::IntoResponse;
use http::{StatusCode, header};
use paddock_platform::{
    events::EventFilter,
    store::testing::{Fixture, on_each_engine},
    units::HumanDuration,
};
use serde_json::{Map, json};

use super::*;
use crate::{
    JobContext, JobFilter, JobKind, JobState, Outcome,
    webhook::{DELIVER, DisabledReason, Rotation, WebhookState},
};

#[tokio::test]
async fn a_jobs_end_is_told_once_and_signed() {
    on_each_engine(async |fixture: &Fixture| {
        let (bed, receiver) = (Bed::start(fixture, options()).await, Receiver::start(&fixture.tasks).await);
        let (webhook, secret) = bed.webhook(&receiver.url(), &[]).await;
        let job = bed.ended_job(Some(webhook.as_str()), Ok(json!({ "width": 64 }))).await;
        let delivery = bed.delivery_in(&webhook, DeliveryState::Delivered).await;
        let got = receiver.got();
        assert_eq!((got.len(), got[0].path.as_str()), (1, "hook"));
        assert!(got[0].is_signed_with(&secret));
        assert_eq!(got[0].header("webhook-id"), delivery.id.as_str());
        assert_eq!(got[0].header("content-type"), "application/json");
        let event = got[0].json();
        assert_eq!(
            (event["type"].as_str(), event["data"]["state"].as_str()),
            (Some("job.succeeded"), Some("succeeded"))
        );
        assert_eq!(event["data"]["id"], job.to_string());
        assert_eq!(event["data"]["kind"], "resize");
        assert_eq!(event["data"]["result"], json!({ "width": 64 }));
        assert_eq!(event["timestamp"], event["data"]["finished_at"]);
        assert_eq!((delivery.attempts.len(), delivery.attempts[0].status), (1, Some(204)));
        assert_eq!(delivery.job.as_deref(), Some(job.to_string().as_str()));
        let whole = bed.webhooks.delivery(bed.tenant(), &delivery.id).await.unwrap();
        assert_eq!(whole.body.as_deref(), Some(got[0].body.as_str()));
    })
    .await;
}

#[tokio::test]
async fn a_receiver_that_fails_is_tried_again_with_the_same_id_and_body() {
    on_each_engine(async |fixture: &Fixture| {
        let (bed, receiver) = (Bed::start(fixture, options()).await, Receiver::start(&fixture.tasks).await);
        let (webhook, secret) = bed.webhook(&receiver.url(), &[]).await;
        receiver.answer([(StatusCode::BAD_GATEWAY, "no\u{7} backend").into_response(), status(500)]);
        bed.ended_job(Some(webhook.as_str()), Err("bad-image")).await;
        let delivery = bed.delivery_in(&webhook, DeliveryState::Delivered).await;
        let got = receiver.got();
        assert_eq!(got.len(), 3);
        assert!(got.iter().all(|got| got.is_signed_with(&secret)));
        assert!(got.iter().all(|again| again.header("webhook-id") == got[0].header("webhook-id")));
        assert!(got.iter().all(|again| again.body == got[0].body));
        assert_eq!(got[0].json()["data"]["error"], json!({ "class": "bad-image", "message": "it is so" }));
        let attempts = &delivery.attempts;
        assert_eq!(
            attempts.iter().map(|attempt| attempt.status).collect::<Vec<_>>(),
            [Some(502), Some(500), Some(204)]
        );
        assert_eq!(attempts[0].answer.as_deref(), Some("no  backend"));
        let webhook = bed.webhooks.get(bed.tenant(), &webhook).await.unwrap();
        assert_eq!((webhook.state, webhook.failures), (WebhookState::Enabled, 0));
    })
    .await;
}

#[tokio::test]
async fn what_is_tried_as_often_as_may_be_is_dead_until_it_is_redriven() {
    on_each_engine(async |fixture: &Fixture| {
        let (bed, receiver) = (Bed::start(fixture, options()).await, Receiver::start(&fixture.tasks).await);
        let (webhook, _) = bed.webhook(&receiver.url(), &["job.*"]).await;
        let filter = EventFilter::new(&bed.events, &bed.caller, Some("jobs.webhooks")).unwrap();
        let mut watch = bed.events.watch(filter, None).unwrap();
        receiver.answer((0..3).map(|_| status(500)));
        bed.ended_job(None, Ok(json!(1))).await;
        let delivery = bed.delivery_in(&webhook, DeliveryState::Dead).await;
        assert_eq!(delivery.attempts.len(), 3);
        let event = watch.events.recv().await.unwrap();
        assert!(event.kind == "dead" && event.text.contains(delivery.id.as_str()), "{}", event.text);
        let job = bed.until("its job is dead", async || {
            let filter =
                crate::JobFilter { kind: Some(super::super::DELIVER.to_owned()), ..Default::default() };
            let jobs = bed.jobs.list(bed.tenant(), &filter, None, 10).await.unwrap();
            jobs.into_iter().find(|job| job.state == crate::JobState::Dead)
        });
        assert_eq!(job.await.error.unwrap().class, "undeliverable");
        assert_eq!(bed.webhooks.redrive(bed.tenant(), &webhook, None).await.unwrap(), 1);
        let delivered = bed.delivery_in(&webhook, DeliveryState::Delivered).await;
        assert_eq!((delivered.id, delivered.attempts.len()), (delivery.id, 4));
        assert_eq!(bed.webhooks.redrive(bed.tenant(), &webhook, None).await.unwrap(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_receiver_that_answers_410_is_told_no_more() {
    on_each_engine(async |fixture: &Fixture| {
        let (bed, receiver) = (Bed::start(fixture, options()).await, Receiver::start(&fixture.tasks).await);
        let (webhook, _) = bed.webhook(&receiver.url(), &["*"]).await;
        receiver.answer([status(410)]);
        bed.ended_job(None, Ok(json!(1))).await;
        bed.delivery_in(&webhook, DeliveryState::Dropped).await;
        let gone = bed.webhooks.get(bed.tenant(), &webhook).await.unwrap();
        assert_eq!((gone.state, gone.reason), (WebhookState::Disabled, Some(DisabledReason::Gone)));
        // Jobs that name it are still accepted; nothing is sent.
        bed.ended_job(Some(webhook.as_str()), Ok(json!(2))).await;
        bed.until("the second is dropped", async || {
            let deliveries = bed.deliveries(&webhook).await;
            (deliveries.len() == 2 && deliveries.iter().all(|one| one.state == DeliveryState::Dropped))
                .then_some(())
        })
        .await;
        assert_eq!(receiver.got().len(), 1);
        let change = crate::webhook::WebhookChange { enabled: Some(true), ..Default::default() };
        let enabled = bed.webhooks.change(bed.tenant(), &webhook, change).await.unwrap();
        assert_eq!((enabled.state, enabled.failures), (WebhookState::Enabled, 0));
        bed.ended_job(None, Ok(json!(3))).await;
        bed.delivery_in(&webhook, DeliveryState::Delivered).await;
    })
    .await;
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let fixture = Fixture::sqlite();
    let (bed, receiver) = (Bed::start(&fixture, options()).await, Receiver::start(&fixture.tasks).await);
    let (webhook, _) = bed.webhook(&receiver.url(), &[]).await;
    let elsewhere = (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, "/elsewhere")]);
    receiver.answer((0..3).map(|_| elsewhere.clone().into_response()));
    bed.ended_job(Some(webhook.as_str()), Ok(json!(1))).await;
    let delivery = bed.delivery_in(&webhook, DeliveryState::Dead).await;
    assert!(receiver.got().iter().all(|got| got.path == "hook"));
    assert!(delivery.attempts[0].error.as_deref().unwrap().contains("not followed"));
    fixture.tasks.stop(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn a_name_that_turns_to_this_machine_after_it_was_registered_gains_nothing() {
    let fixture = Fixture::sqlite();
    let closed = WebhookOptions { allow: Vec::new(), ..options() };
    let (bed, receiver) = (Bed::start(&fixture, closed).await, Receiver::start(&fixture.tasks).await);
    let port = receiver.url().rsplit(':').next().unwrap().to_owned();
    let (webhook, _) = bed.webhook(&format!("https://{TURNING}:{port}"), &[]).await;
    bed.names.turn();
    bed.ended_job(Some(webhook.as_str()), Ok(json!(1))).await;
    let delivery = bed.delivery_in(&webhook, DeliveryState::Dead).await;
    let error = delivery.attempts[0].error.as_deref().unwrap();
    assert!(
        error.contains("127.0.0.1 is in 127.0.0.0/8 (loopback)") && error.contains("[jobs.webhooks] allow"),
        "{error}"
    );
    assert!(receiver.got().is_empty());
    fixture.tasks.stop(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn a_webhook_that_fails_in_a_row_is_left_alone_and_loses_nothing() {
    on_each_engine(async |fixture: &Fixture| {
        let careful = WebhookOptions {
            breaker_failures: 2,
            breaker_pause: HumanDuration::from_secs(600),
            retries: vec![HumanDuration::from_millis(1); 9],
            ..options()
        };
        let (bed, receiver) = (Bed::start(fixture, careful).await, Receiver::start(&fixture.tasks).await);
        let (webhook, _) = bed.webhook(&receiver.url(), &["job.*"]).await;
        receiver.answer([status(500), status(500)]);
        bed.ended_job(None, Ok(json!(1))).await;
        bed.until("the webhook is paused", async || {
            let found = bed.webhooks.get(bed.tenant(), &webhook).await.unwrap();
            (found.state == WebhookState::Paused && found.failures == 2).then_some(())
        })
        .await;
        for number in 0..3 {
            bed.ended_job(None, Ok(json!(number))).await;
        }
        bed.until("all were put off", async || {
            let deliveries = bed.deliveries(&webhook).await;
            let waits =
                deliveries.iter().filter(|one| one.state == DeliveryState::Pending && one.next_at.is_some());
            (waits.count() == 4).then_some(())
        })
        .await;
        assert_eq!(receiver.got().len(), 2, "a pause costs no tries");
        // A ping that arrives ends the pause.
        let ping = bed.webhooks.ping(bed.tenant(), &webhook).await.unwrap();
        assert_eq!((ping.state, ping.event.as_str()), (DeliveryState::Delivered, "webhook.ping"));
        let found = bed.webhooks.get(bed.tenant(), &webhook).await.unwrap();
        assert_eq!((found.state, found.failures), (WebhookState::Enabled, 0));
    })
    .await;
}

#[tokio::test]
async fn a_receiver_that_has_too_much_is_left_alone_for_as_long_as_it_asks() {
    let fixture = Fixture::sqlite();
    let (bed, receiver) = (Bed::start(&fixture, options()).await, Receiver::start(&fixture.tasks).await);
    let (webhook, _) = bed.webhook(&receiver.url(), &[]).await;
    receiver.answer([(StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "1200")]).into_response()]);
    bed.ended_job(Some(webhook.as_str()), Ok(json!(1))).await;
    let next = bed
        .until("it was tried", async || {
            let found = bed.deliveries(&webhook).await;
            found.into_iter().find(|one| !one.attempts.is_empty()).and_then(|one| one.next_at)
        })
        .await;
    let wait = next.duration_since(jiff::Timestamp::now()).as_secs();
    assert!((1_100..=1_300).contains(&wait), "{wait}");
    let found = bed.webhooks.get(bed.tenant(), &webhook).await.unwrap();
    assert_eq!((found.state, found.failures), (WebhookState::Paused, 0), "asking for a pause is no failure");
    fixture.tasks.stop(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn a_webhook_that_only_fails_for_days_is_disabled() {
    let fixture = Fixture::sqlite();
    let impatient = WebhookOptions { disable_after: HumanDuration::from_millis(0), ..options() };
    let (bed, receiver) = (Bed::start(&fixture, impatient).await, Receiver::start(&fixture.tasks).await);
    let (webhook, _) = bed.webhook(&receiver.url(), &[]).await;
    receiver.answer([status(500), status(500)]);
    bed.ended_job(Some(webhook.as_str()), Ok(json!(1))).await;
    bed.until("it is disabled", async || {
        let found = bed.webhooks.get(bed.tenant(), &webhook).await.unwrap();
        (found.reason == Some(DisabledReason::Failing)).then_some(())
    })
    .await;
    fixture.tasks.stop(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn a_large_result_is_left_out() {
    let fixture = Fixture::sqlite();
    let (bed, receiver) = (Bed::start(&fixture, options()).await, Receiver::start(&fixture.tasks).await);
    let (webhook, _) = bed.webhook(&receiver.url(), &[]).await;
    let job = bed.ended_job(Some(webhook.as_str()), Ok(json!("a".repeat(30_000)))).await;
    bed.delivery_in(&webhook, DeliveryState::Delivered).await;
    let got = receiver.got().remove(0);
    assert!(got.body.len() < 20_000);
    let data = got.json()["data"].clone();
    assert_eq!((data["result"].is_null(), data["result_size"].as_u64()), (true, Some(30_002)));
    assert_eq!(data["links"]["result"], format!("/jobs/{job}/result"));
    fixture.tasks.stop(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn while_a_secret_is_replaced_both_sign() {
    on_each_engine(async |fixture: &Fixture| {
        let (bed, receiver) = (Bed::start(fixture, options()).await, Receiver::start(&fixture.tasks).await);
        let (webhook, first) = bed.webhook(&receiver.url(), &[]).await;
        let rotated = bed.webhooks.rotate(bed.tenant(), &webhook, &Rotation::default()).await.unwrap();
        let second: SigningSecret = rotated.secret.parse().unwrap();
        assert!(rotated.webhook.previous_secret_until.is_some() && first != second);
        bed.webhooks.ping(bed.tenant(), &webhook).await.unwrap();
        let at_once = Rotation { overlap: Some(HumanDuration::from_millis(0)), secret: None };
        let third: SigningSecret =
            bed.webhooks.rotate(bed.tenant(), &webhook, &at_once).await.unwrap().secret.parse().unwrap();
        bed.webhooks.ping(bed.tenant(), &webhook).await.unwrap();
        let got = receiver.got();
        assert!(got[0].is_signed_with(&first) && got[0].is_signed_with(&second));
        assert!(got[1].is_signed_with(&third) && !got[1].is_signed_with(&second));
    })
    .await;
}

#[tokio::test]
async fn only_the_events_that_it_wants_are_told_and_of_its_own_tenant() {
    let fixture = Fixture::sqlite();
    let (bed, receiver) = (Bed::start(&fixture, options()).await, Receiver::start(&fixture.tasks).await);
    let (webhook, _) = bed.webhook(&receiver.url(), &["job.failed"]).await;
    bed.ended_job(None, Ok(json!(1))).await;
    let theirs = Bed { caller: stranger(), ..clone_of(&bed) };
    theirs.ended_job(None, Err("their-failure")).await;
    bed.ended_job(None, Err("our-failure")).await;
    bed.delivery_in(&webhook, DeliveryState::Delivered).await;
    let classes: Vec<Value> =
        receiver.got().iter().map(|got| got.json()["data"]["error"]["class"].clone()).collect();
    assert_eq!(classes, ["our-failure"]);
    fixture.tasks.stop(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn ends_that_no_webhook_wants_are_written_together() {
    let fixture = Fixture::sqlite();
    let bed = Bed::start(&fixture, options()).await;
    let unreachable = "http://127.0.0.1:9/hook";
    let (webhook, _) = bed.webhook(unreachable, &["job.failed", "job.dead"]).await;
    let registry = bed.jobs.registry();
    let job = bed.jobs.enqueue(&bed.caller, NewJob::kind("resize", json!({}))).await.unwrap().id;
    let job = bed.jobs.get(bed.tenant(), job).await.unwrap();
    let wanted = [JobState::Succeeded, JobState::Cancelled, JobState::Failed, JobState::Dead];
    assert_eq!(wanted.map(|end| registry.is_wanted(&job, end)), [false, false, true, true]);
    let theirs = Job { tenant: stranger().tenant().clone(), ..job.clone() };
    assert_eq!(wanted.map(|end| registry.is_wanted(&theirs, end)), [false; 4]);
    // One that names a webhook is told of however it ends.
    let mut named = job;
    named.terms.webhook = Some(webhook.to_string());
    assert_eq!(wanted.map(|end| registry.is_wanted(&named, end)), [true; 4]);
    fixture.tasks.stop(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn a_job_that_is_cancelled_while_it_succeeds_is_told_as_cancelled() {
    on_each_engine(async |fixture: &Fixture| {
        let (bed, receiver) = (Bed::start(fixture, options()).await, Receiver::start(&fixture.tasks).await);
        let (webhook, _) = bed.webhook(&receiver.url(), &["job.cancelled"]).await;
        let claimed = bed.claimed_job(None).await;
        bed.jobs.cancel(bed.tenant(), claimed.id).await.unwrap();
        let done = Completion { id: claimed.id, attempt: claimed.attempt, result: json!(1) };
        bed.jobs.complete(&bed.caller, vec![done]).await.unwrap();
        bed.delivery_in(&webhook, DeliveryState::Delivered).await;
        let got = receiver.got();
        assert_eq!((got.len(), got[0].json()["type"].as_str()), (1, Some("job.cancelled")));
        assert!(got[0].json()["data"]["result"].is_null());
    })
    .await;
}

/// Never ends.
struct Hang;

impl JobKind for Hang {
    fn run(&self, _: JobContext) -> BoxFuture<'static, Result<Outcome, JobFailure>> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn deliveries_and_jobs_take_no_places_of_each_other() {
    let fixture = Fixture::sqlite();
    let narrow = WebhookOptions { concurrency: 2, parallel_max: 64, ..options() };
    let bed = Bed::start_with(&fixture, narrow, 1).await;
    bed.jobs.registry().add_kind("lab:hang", Arc::new(Hang));
    let receiver = Receiver::start(&fixture.tasks).await;
    let (webhook, _) = bed.webhook(&receiver.url(), &[]).await;
    let hanging = bed.jobs.enqueue(&bed.caller, NewJob::kind("lab:hang", json!({}))).await.unwrap().id;
    let running = async |id| bed.jobs.get(bed.tenant(), id).await.unwrap().state == JobState::Running;
    bed.until("the only place is taken", async || running(hanging).await.then_some(())).await;
    bed.ended_job(Some(webhook.as_str()), Ok(json!(1))).await;
    bed.delivery_in(&webhook, DeliveryState::Delivered).await;
    assert!(running(hanging).await);

    // A receiver that never answers takes both places of deliveries, and none of the jobs'.
    let deaf = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (deaf_webhook, _) = bed.webhook(&format!("http://{}/", deaf.local_addr().unwrap()), &[]).await;
    for _ in 0..4 {
        bed.ended_job(Some(deaf_webhook.as_str()), Ok(json!(1))).await;
    }
    let mut kept = Vec::new();
    while kept.len() < 2 {
        kept.push(deaf.accept().await.unwrap());
    }
    bed.jobs.cancel(bed.tenant(), hanging).await.unwrap();
    let next = bed.jobs.enqueue(&bed.caller, NewJob::kind("lab:hang", json!({}))).await.unwrap().id;
    bed.until("another job runs", async || running(next).await.then_some(())).await;
    let deliveries =
        JobFilter { kind: Some(DELIVER.to_owned()), state: Some(JobState::Running), ..JobFilter::default() };
    assert_eq!(bed.jobs.list(bed.tenant(), &deliveries, None, 10).await.unwrap().len(), 2);
    fixture.tasks.stop(PATIENCE).await.unwrap();
}

fn clone_of(bed: &Bed) -> Bed {
    Bed {
        store: bed.store.clone(),
        jobs: bed.jobs.clone(),
        webhooks: bed.webhooks.clone(),
        events: bed.events.clone(),
        names: bed.names.clone(),
        caller: bed.caller.clone(),
    }
}

#[tokio::test]
async fn what_is_told_in_a_transaction_is_told_if_that_is_kept() {
    on_each_engine(async |fixture: &Fixture| {
        let (bed, receiver) = (Bed::start(fixture, options()).await, Receiver::start(&fixture.tasks).await);
        let (webhook, _) = bed.webhook(&receiver.url(), &["mission.*"]).await;
        for kept in [false, true] {
            let webhooks = bed.webhooks.clone();
            let told = bed.store.write(move |tx| {
                Box::pin(async move {
                    if !kept {
                        tx.roll_back();
                    }
                    let data: Map<String, Value> = [("kept".to_owned(), kept.into())].into_iter().collect();
                    webhooks.tell_in(tx, &Tenant::local(), "mission.succeeded", None, &data).await
                })
            });
            let told = told.await.unwrap();
            assert_eq!(told.len(), 1);
            if kept {
                bed.jobs.announce(&told);
            }
        }
        bed.delivery_in(&webhook, DeliveryState::Delivered).await;
        assert_eq!(bed.deliveries(&webhook).await.len(), 1);
        assert_eq!(receiver.got()[0].json()["data"], json!({ "kept": true }));
    })
    .await;
}

#[tokio::test]
async fn a_delivery_whose_job_is_cancelled_is_dropped() {
    let fixture = Fixture::sqlite();
    let slow = WebhookOptions { retries: vec![HumanDuration::from_secs(3_600)], ..options() };
    let (bed, receiver) = (Bed::start(&fixture, slow).await, Receiver::start(&fixture.tasks).await);
    let (webhook, _) = bed.webhook(&receiver.url(), &[]).await;
    receiver.answer([status(500)]);
    bed.ended_job(Some(webhook.as_str()), Ok(json!(1))).await;
    let job = bed
        .until("it waits for its next try", async || {
            let filter =
                crate::JobFilter { kind: Some(super::super::DELIVER.to_owned()), ..Default::default() };
            let jobs = bed.jobs.list(bed.tenant(), &filter, None, 10).await.unwrap();
            jobs.into_iter().find(|job| job.state == crate::JobState::Scheduled)
        })
        .await;
    bed.jobs.cancel(bed.tenant(), job.id).await.unwrap();
    bed.delivery_in(&webhook, DeliveryState::Dropped).await;
    fixture.tasks.stop(PATIENCE).await.unwrap();
}
