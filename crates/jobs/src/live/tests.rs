use std::time::Duration;

use futures_util::{StreamExt, pin_mut};
use paddock_platform::{
    blobs::{Blobs, BlobsOptions},
    config::Section,
    events::{EventFilter, Events, EventsOptions},
    identity::Caller,
    store::testing::{Fixture, on_each_engine},
    tool::Toolbox,
};
use serde_json::json;

use super::{follow::Follow, publish};
use crate::{Jobs, JobsOptions, NewJob, Role};

async fn start(fixture: &Fixture) -> (Jobs, Events) {
    let blobs = Blobs::open(&BlobsOptions::default(), fixture.data_dir()).unwrap();
    let section = Section::fixed(JobsOptions::default());
    let jobs = Jobs::open(fixture.open().await, blobs, section, &fixture.tasks).await.unwrap();
    let events = Events::new(&EventsOptions::default(), fixture.tasks.stop_token());
    publish(&jobs, &events, &fixture.tasks);
    (jobs, events)
}

#[tokio::test]
async fn the_queues_events_are_read_only_while_somebody_watches() {
    on_each_engine(async |fixture: &Fixture| {
        let (jobs, events) = start(fixture).await;
        let before = jobs.0.events.receiver_count();
        let caller = Caller::local();
        jobs.enqueue(&caller, NewJob::kind("resize", json!({}))).await.unwrap();
        let filter = EventFilter::new(&events, &caller, Some("jobs.states")).unwrap();
        let mut watch = events.watch(filter, None).unwrap();
        assert_eq!(jobs.0.events.receiver_count(), before + 1, "whoever is let in misses nothing");
        let id = jobs.enqueue(&caller, NewJob::kind("resize", json!({}))).await.unwrap().id;
        let event = watch.events.recv().await.unwrap();
        assert!(watch.filter.admits(&event), "{}", event.text);
        assert!(
            event.text.contains(&id.to_string()) && event.text.contains("\"state\":\"queued\""),
            "{}",
            event.text
        );
    })
    .await;
}

#[tokio::test]
async fn a_job_is_followed_from_where_its_watcher_was() {
    on_each_engine(async |fixture: &Fixture| {
        let (jobs, events) = start(fixture).await;
        let caller = Caller::local();
        let id = jobs.enqueue(&caller, NewJob::kind("resize", json!({}))).await.unwrap().id;
        let follow =
            |seen| Follow::begin(jobs.clone(), caller.tenant().clone(), id, seen, events.place().unwrap());
        let known = follow(Some(1)).await.unwrap().expect("it goes on").stream();
        let new = follow(None).await.unwrap().expect("it goes on").stream();
        jobs.cancel(caller.tenant(), id).await.unwrap();
        assert_eq!(known.count().await, 1, "only what it had not seen");
        pin_mut!(new);
        assert!(new.next().await.is_some() && new.next().await.is_some() && new.next().await.is_none());
        let changes = jobs.get(caller.tenant(), id).await.unwrap().changes;
        assert!(follow(Some(changes)).await.unwrap().is_none(), "nothing more will come");
        assert!(follow(Some(changes - 1)).await.unwrap().is_some());
        let elsewhere = "other".parse().unwrap();
        assert!(Follow::begin(jobs.clone(), elsewhere, id, None, events.place().unwrap()).await.is_err());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_followed_to_its_end_on_another_server() {
    let Some(fixture) = Fixture::postgres().await else { return };
    let ((front, events), (back, _)) = (start(&fixture).await, start(&fixture).await);
    for jobs in [&front, &back] {
        let role = Role { works: false, queues: Vec::new() };
        jobs.run(Toolbox::new([]).unwrap(), role).await.unwrap();
    }
    let caller = Caller::local();
    let id = front.enqueue(&caller, NewJob::kind("resize", json!({}))).await.unwrap().id;
    let place = events.place().unwrap();
    let follow = Follow::begin(front.clone(), caller.tenant().clone(), id, None, place).await.unwrap();
    let follow = follow.expect("it goes on").stream();
    pin_mut!(follow);
    assert!(follow.next().await.is_some());
    back.cancel(caller.tenant(), id).await.unwrap();
    let ended = tokio::time::timeout(Duration::from_mins(1), follow.next()).await;
    assert!(ended.expect("what the other server did is heard").is_some());
    assert!(follow.next().await.is_none());
}
