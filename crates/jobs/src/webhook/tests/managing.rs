use paddock_platform::{
    params,
    problem::Problem,
    store::{
        Statement,
        testing::{Fixture, on_each_engine},
    },
};
use serde_json::json;

use super::*;
use crate::{
    JobError,
    webhook::{Rotation, WebhookChange, WebhookError, WebhookState},
};

fn new(url: &str) -> NewWebhook {
    NewWebhook { url: url.to_owned(), ..NewWebhook::default() }
}

fn slug<T: std::fmt::Debug>(result: Result<T, WebhookError>) -> &'static str {
    Problem::from(result.unwrap_err()).kind.slug
}

#[tokio::test]
async fn a_webhook_is_its_tenants_alone() {
    on_each_engine(async |fixture: &Fixture| {
        let bed = Bed::start(fixture, options()).await;
        let (id, _) = bed.webhook("https://public.example/hook", &["job.*"]).await;
        let theirs = stranger();
        let tenant = theirs.tenant();
        assert!(bed.webhooks.list(tenant).await.unwrap().is_empty());
        assert_eq!(slug(bed.webhooks.get(tenant, &id).await), "not-found");
        assert_eq!(slug(bed.webhooks.change(tenant, &id, WebhookChange::default()).await), "not-found");
        assert_eq!(slug(bed.webhooks.rotate(tenant, &id, &Rotation::default()).await), "not-found");
        assert_eq!(slug(bed.webhooks.ping(tenant, &id).await), "not-found");
        assert_eq!(slug(bed.webhooks.deliveries(tenant, &id, &DeliveryFilter::default(), 1).await), "not-found");
        assert_eq!(slug(bed.webhooks.redrive(tenant, &id, None).await), "not-found");
        assert_eq!(slug(bed.webhooks.delete(tenant, &id).await), "not-found");
        let job = NewJob { webhook: Some(id.to_string()), ..NewJob::kind("resize", json!({})) };
        assert!(matches!(bed.jobs.enqueue(&theirs, job).await, Err(JobError::Invalid { field, .. }) if field == "webhook"));
        assert_eq!(bed.webhooks.list(bed.tenant()).await.unwrap()[0].id, id);
    })
    .await;
}

#[tokio::test]
async fn a_webhook_into_a_private_network_is_refused_when_it_is_made_and_when_a_job_names_it() {
    let fixture = Fixture::sqlite();
    let bed = Bed::start(&fixture, WebhookOptions { allow: Vec::new(), ..options() }).await;
    bed.names.turn();
    for url in [
        "https://127.0.0.1/",
        "https://[::1]:8080/",
        "https://169.254.169.254/latest",
        &format!("https://{TURNING}/"),
    ] {
        assert_eq!(slug(bed.webhooks.create(&bed.caller, new(url)).await), "webhook-refused", "{url}");
        let job = NewJob { webhook: Some(url.to_owned()), ..NewJob::kind("resize", json!({})) };
        let refused = bed.jobs.enqueue(&bed.caller, job).await.unwrap_err();
        assert!(refused.to_string().contains("may not reach"), "{refused}");
    }
    for url in
        ["", "nothing", "ftp://public.example/", "http://public.example/", "https://user:pw@public.example/"]
    {
        assert_eq!(slug(bed.webhooks.create(&bed.caller, new(url)).await), "webhook-refused", "{url}");
    }
    let (id, _) = bed.webhook("https://public.example/", &[]).await;
    let change = WebhookChange { url: Some("https://10.0.0.1/".to_owned()), ..WebhookChange::default() };
    assert_eq!(slug(bed.webhooks.change(bed.tenant(), &id, change).await), "webhook-refused");
    let jobs = bed.jobs.list(bed.tenant(), &crate::JobFilter::default(), None, 10).await.unwrap();
    assert!(jobs.is_empty(), "nothing half-accepted");
    fixture.tasks.stop(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn a_url_is_one_webhook_whoever_named_it_first() {
    on_each_engine(async |fixture: &Fixture| {
        let bed = Bed::start(fixture, options()).await;
        let url = "https://public.example/hook";
        let named = NewJob { webhook: Some(url.to_owned()), ..NewJob::kind("resize", json!({})) };
        for _ in 0..2 {
            bed.jobs.enqueue(&bed.caller, named.clone()).await.unwrap();
        }
        let found = bed.webhooks.list(bed.tenant()).await.unwrap();
        assert!(found.len() == 1 && found[0].ad_hoc, "{found:?}");
        let made = bed.webhooks.create(&bed.caller, new(url)).await.unwrap();
        assert_eq!((&made.webhook.id, made.webhook.ad_hoc), (&found[0].id, false));
        assert_eq!(slug(bed.webhooks.create(&bed.caller, new(url)).await), "webhook-exists");
        let theirs = bed.webhooks.create(&stranger(), new(url)).await.unwrap();
        assert_ne!(theirs.webhook.id, made.webhook.id);
    })
    .await;
}

#[tokio::test]
async fn there_are_no_more_webhooks_than_may_be() {
    let fixture = Fixture::sqlite();
    let bed = Bed::start(&fixture, WebhookOptions { endpoints_max: 2, ..options() }).await;
    for number in 0..2 {
        bed.webhook(&format!("https://public.example/{number}"), &[]).await;
    }
    assert_eq!(
        slug(bed.webhooks.create(&bed.caller, new("https://public.example/2")).await),
        "webhooks-full"
    );
    let job =
        NewJob { webhook: Some("https://public.example/3".to_owned()), ..NewJob::kind("resize", json!({})) };
    assert!(matches!(bed.jobs.enqueue(&bed.caller, job).await, Err(JobError::Refused(_))));
    assert!(bed.webhooks.create(&stranger(), new("https://public.example/2")).await.is_ok());
    fixture.tasks.stop(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn what_is_changed_is_changed_and_the_rest_stays() {
    on_each_engine(async |fixture: &Fixture| {
        let bed = Bed::start(fixture, options()).await;
        let (id, _) = bed.webhook("https://public.example/hook", &["job.*"]).await;
        let change = WebhookChange {
            description: Some("ours".to_owned()),
            enabled: Some(false),
            ..Default::default()
        };
        let changed = bed.webhooks.change(bed.tenant(), &id, change).await.unwrap();
        assert_eq!((changed.state, changed.description.as_str()), (WebhookState::Disabled, "ours"));
        assert_eq!((changed.url.as_str(), changed.events.len()), ("https://public.example/hook", 1));
        let (other, _) = bed.webhook("https://public.example/other", &[]).await;
        let taken =
            WebhookChange { url: Some("https://public.example/hook".to_owned()), ..Default::default() };
        assert_eq!(slug(bed.webhooks.change(bed.tenant(), &other, taken).await), "webhook-exists");
        let long = WebhookChange { description: Some("a".repeat(201)), ..Default::default() };
        assert_eq!(slug(bed.webhooks.change(bed.tenant(), &other, long).await), "invalid-request");
        bed.webhooks.delete(bed.tenant(), &other).await.unwrap();
        assert_eq!(slug(bed.webhooks.get(bed.tenant(), &other).await), "not-found");
    })
    .await;
}

#[tokio::test]
async fn a_given_secret_is_used_and_is_nowhere_in_the_clear() {
    static ROWS: Statement = Statement::new("webhooks", "test_rows", "SELECT secret FROM webhook_endpoints");
    on_each_engine(async |fixture: &Fixture| {
        let (bed, receiver) = (Bed::start(fixture, options()).await, Receiver::start(&fixture.tasks).await);
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let given = NewWebhook { secret: Some(secret.to_owned()), ..new(&receiver.url()) };
        let made = bed.webhooks.create(&bed.caller, given).await.unwrap();
        assert_eq!(made.secret, secret);
        bed.webhooks.ping(bed.tenant(), &made.webhook.id).await.unwrap();
        let secret: SigningSecret = secret.parse().unwrap();
        assert!(receiver.got()[0].is_signed_with(&secret));
        let stored: bytes::Bytes = bed.store.query(&ROWS, params![]).await.unwrap()[0].get("secret").unwrap();
        assert!(!stored.windows(24).any(|window| window == secret.as_bytes()));
        let bad = NewWebhook { secret: Some("whsec_c2hvcnQ=".to_owned()), ..new("https://public.example/") };
        let refused = bed.webhooks.create(&bed.caller, bad).await.unwrap_err();
        assert!(
            refused.to_string().contains("24 to 64 bytes") && !refused.to_string().contains("c2hvcnQ"),
            "{refused}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_ping_says_what_came_of_it() {
    let fixture = Fixture::sqlite();
    let (bed, receiver) = (Bed::start(&fixture, options()).await, Receiver::start(&fixture.tasks).await);
    let (id, _) = bed.webhook(&receiver.url(), &[]).await;
    receiver.answer([status(500)]);
    let failed = bed.webhooks.ping(bed.tenant(), &id).await.unwrap();
    assert_eq!((failed.state, failed.attempts[0].status), (DeliveryState::Dropped, Some(500)));
    let good = bed.webhooks.ping(bed.tenant(), &id).await.unwrap();
    assert_eq!(good.state, DeliveryState::Delivered);
    assert_eq!(receiver.got()[1].json()["data"], json!({ "webhook": id }));
    let listed = bed.deliveries(&id).await;
    assert_eq!(listed.iter().map(|one| &one.id).collect::<Vec<_>>(), [&good.id, &failed.id]);
    assert!(listed.iter().all(|one| one.body.is_none()));
    let (closed, _) = bed.webhook("http://127.0.0.1:1/", &[]).await;
    let unreachable = bed.webhooks.ping(bed.tenant(), &closed).await.unwrap();
    assert!(unreachable.attempts[0].error.as_deref().unwrap().contains("was not reached"));
    fixture.tasks.stop(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn old_deliveries_are_forgotten_and_the_count_says_what_is_dead() {
    on_each_engine(async |fixture: &Fixture| {
        let brief =
            WebhookOptions { retention: HumanDuration::from_millis(0), retries: Vec::new(), ..options() };
        let (bed, receiver) = (Bed::start(fixture, brief).await, Receiver::start(&fixture.tasks).await);
        let (id, _) = bed.webhook(&receiver.url(), &[]).await;
        receiver.answer([status(500)]);
        bed.ended_job(Some(id.as_str()), Ok(json!(1))).await;
        bed.delivery_in(&id, DeliveryState::Dead).await;
        bed.webhooks.count().await.unwrap();
        let finding = bed.webhooks.health();
        assert!(finding.detail.contains("1 dead deliveries") && finding.advice.is_some(), "{finding:?}");
        bed.until("it is forgotten", async || {
            bed.webhooks.forget().await.unwrap();
            bed.deliveries(&id).await.is_empty().then_some(())
        })
        .await;
        bed.webhooks.count().await.unwrap();
        assert!(bed.webhooks.health().advice.is_none());
    })
    .await;
}
