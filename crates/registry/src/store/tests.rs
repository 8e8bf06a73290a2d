use std::{collections::BTreeSet, sync::Arc};

use jiff::Timestamp;
use paddock_platform::{
    identity::{Caller, Scope, Tenant},
    store::testing::{Fixture, on_each_engine},
};
use serde_json::json;

use super::*;
use crate::{
    claims::Claims,
    entry::Status,
    read::Refused,
    semantic::{Row, Vectors},
    testing::{draft, supply},
};

async fn open(fixture: &Fixture) -> RegistryStore {
    RegistryStore::open(fixture.open().await).await.unwrap()
}

fn caller(tenant: &str) -> Caller {
    Caller::with_key(
        format!("key-of-{tenant}"),
        tenant.parse::<Tenant>().unwrap(),
        vec![Scope::write("registry")],
    )
}

fn publication(name: &str, version: &str) -> Publication {
    Publication {
        name: name.to_owned(),
        version: version.to_owned(),
        server: b"{}".to_vec(),
        claims: Claims::default(),
        takes_namespace: true,
    }
}

#[tokio::test]
async fn content_is_kept_by_its_parts() {
    on_each_engine(async |fixture| {
        let store = open(fixture).await;
        let drafts = (0..50).map(|index| draft(&format!("a.b/s{index}"), "1.0.0")).collect();
        let content = supply("one", drafts).content;
        let names: Vec<Arc<str>> = content.entries.iter().map(|entry| Arc::clone(&entry.name)).collect();
        store.save_content("one", &Claims::default(), Arc::clone(&content), &names).await.unwrap();
        let fewer =
            supply("one", (1..50).map(|index| draft(&format!("a.b/s{index}"), "1.0.0")).collect()).content;
        store.save_content("one", &Claims::default(), fewer, [&names[0]]).await.unwrap();
        store.save_refused("one", &[Refused::new("x", "1", "too-large", "is too large")]).await.unwrap();
        let (kept, refused) = store.load_content("one").await.unwrap();
        assert_eq!(kept.len(), 49);
        assert_eq!(refused[0].name, "x");
        assert_eq!(store.load_content("two").await.unwrap().0.len(), 0);
    })
    .await;
}

#[tokio::test]
async fn sources_are_remembered_until_they_are_forgotten() {
    on_each_engine(async |fixture| {
        let store = open(fixture).await;
        let mark = Mark { hash: "abc".to_owned(), since_ms: Some(7), ..Mark::default() };
        let remembered = Remembered { fingerprint: "f".to_owned(), mark: mark.clone(), synced_ms: 9 };
        for name in ["one", "two"] {
            store.remember(name, &remembered).await.unwrap();
        }
        store.forget_all_but(&BTreeSet::from(["one".to_owned()])).await.unwrap();
        assert_eq!(store.remembered("one").await.unwrap().mark, mark);
        assert_eq!(store.remembered("two").await.unwrap().mark, Mark::default());
    })
    .await;
}

#[tokio::test]
async fn a_history_keeps_the_last_syncs() {
    on_each_engine(async |fixture| {
        let store = open(fixture).await;
        for index in 0..5 {
            let record = SyncRecord {
                id: format!("s{index}"),
                started_at: Timestamp::from_millisecond(1_000 + index).unwrap(),
                took_ms: 1,
                outcome: SyncOutcome::Changed,
                entries: 1,
                quarantined: 0,
                added: 1,
                changed: 0,
                removed: 0,
                added_names: vec!["a.b/c@1".to_owned()],
                changed_names: Vec::new(),
                removed_names: Vec::new(),
                error: None,
            };
            store.add_sync("one", &record, 3).await.unwrap();
        }
        let ids: Vec<String> =
            store.syncs("one", 10).await.unwrap().into_iter().map(|record| record.id).collect();
        assert_eq!(ids, ["s4", "s3", "s2"]);
    })
    .await;
}

#[tokio::test]
async fn a_version_is_published_once() {
    on_each_engine(async |fixture| {
        let store = open(fixture).await;
        let acme = caller("acme");
        let publish =
            async |version: &str| store.publish(publication("com.acme/x", version), &acme).await.unwrap();
        assert_eq!(publish("1.0.0").await, Publishing::Published);
        assert_eq!(publish("1.0.0").await, Publishing::Exists);
        assert_eq!(publish("1.0.1").await, Publishing::Published);
        assert_eq!(store.changed_since(i64::MIN, 10).await.unwrap().len(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_namespace_belongs_to_whoever_publishes_first() {
    on_each_engine(async |fixture| {
        let store = open(fixture).await;
        assert_eq!(
            store.publish(publication("com.acme/x", "1"), &caller("acme")).await.unwrap(),
            Publishing::Published
        );
        assert_eq!(
            store.publish(publication("com.acme/y", "1"), &caller("other")).await.unwrap(),
            Publishing::NotOwned
        );
        assert_eq!(store.namespace_owner("com.acme").await.unwrap().unwrap().as_str(), "acme");
        assert_eq!(store.namespace_owner("com.other").await.unwrap(), None);
        store.publish(publication("io.github.Acme/x", "1"), &caller("acme")).await.unwrap();
        let of_others = async |namespace: &str, tenant: &str| {
            store.is_namespace_of_others(namespace, &tenant.parse().unwrap()).await.unwrap()
        };
        assert!(of_others("io.github.acme", "other").await && of_others("io.github.ACME", "other").await);
        assert!(!of_others("io.github.acme", "acme").await && !of_others("com.other", "other").await);
    })
    .await;
}

#[tokio::test]
async fn all_versions_of_a_server_have_the_same_claims() {
    on_each_engine(async |fixture| {
        let store = open(fixture).await;
        let acme = caller("acme");
        store.publish(publication("com.acme/x", "1"), &acme).await.unwrap();
        let mut other = publication("com.acme/x", "2");
        other.claims = Claims::from_pairs([("team", &["a"])]);
        assert_eq!(store.publish(other.clone(), &acme).await.unwrap(), Publishing::ClaimsDiffer);
        assert_eq!(store.set_claims("com.acme/x", &other.claims).await.unwrap(), 1);
        assert_eq!(store.publish(other, &acme).await.unwrap(), Publishing::Published);
    })
    .await;
}

#[tokio::test]
async fn a_status_is_set_on_one_version_or_on_all() {
    on_each_engine(async |fixture| {
        let store = open(fixture).await;
        for version in ["1", "2"] {
            store.publish(publication("com.acme/x", version), &caller("acme")).await.unwrap();
        }
        let message = Some("use y".to_owned());
        let one = store.set_status("com.acme/x", Some("1"), Status::Deprecated, message).await.unwrap();
        assert_eq!(one, 1);
        let published = store.published("com.acme/x", "1").await.unwrap().unwrap();
        assert_eq!(
            (published.status, published.status_message.as_deref()),
            (Status::Deprecated, Some("use y"))
        );
        assert_eq!(store.set_status("com.acme/x", None, Status::Deleted, None).await.unwrap(), 2);
        assert_eq!(store.published("com.acme/x", "2").await.unwrap().unwrap().status, Status::Deleted);
        assert!(store.published("com.acme/x", "3").await.unwrap().is_none());
    })
    .await;
}

#[tokio::test]
async fn the_log_tells_who_did_what_the_newest_first() {
    on_each_engine(async |fixture| {
        let store = open(fixture).await;
        for target in ["a", "b", "c"] {
            store.audit(&caller("acme"), "entry.publish", target, json!({"n": 1})).await.unwrap();
        }
        let first = store.audit_log(None, 2).await.unwrap();
        assert_eq!(first.iter().map(|record| record.target.as_str()).collect::<Vec<_>>(), ["c", "b"]);
        assert_eq!((first[0].tenant.as_str(), first[0].key.as_deref()), ("acme", Some("key-of-acme")));
        let after = (first[1].at.as_millisecond(), first[1].id.clone());
        let rest = store.audit_log(Some(after), 2).await.unwrap();
        assert_eq!(rest.iter().map(|record| record.target.as_str()).collect::<Vec<_>>(), ["a"]);
    })
    .await;
}

#[tokio::test]
async fn what_administrators_made_is_kept_until_it_is_removed() {
    on_each_engine(async |fixture| {
        let store = open(fixture).await;
        store.make("source", "one", "{}".to_owned()).await.unwrap();
        store.make("source", "one", "{\"a\":1}".to_owned()).await.unwrap();
        let made = store.made().await.unwrap();
        assert_eq!((made.len(), made[0].options.as_str()), (1, "{\"a\":1}"));
        assert!(store.unmake("source", "one").await.unwrap());
        assert!(!store.unmake("source", "one").await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn a_proof_is_kept_once_and_found_by_its_token_alone() {
    on_each_engine(async |fixture| {
        let store = open(fixture).await;
        let expires_at = Timestamp::from_second(Timestamp::now().as_second() + 60).unwrap();
        let (subject, names) = ("dns:a.example".to_owned(), vec!["example.a".to_owned()]);
        let proof = KeptProof { subject, names, expires_at };
        let keep = async |token: &str, once: &str, until: Timestamp| {
            store.keep_proof(token, once, &proof, until).await.unwrap()
        };
        assert_eq!(keep("pub_1", "one", expires_at).await, Some(true));
        assert_eq!(keep("pub_2", "one", expires_at).await, Some(false));
        assert_eq!(store.proof("pub_1").await.unwrap(), Some(proof.clone()));
        assert_eq!(store.proof("pub_2").await.unwrap(), None);
        assert_eq!(keep("pub_3", "two", Timestamp::UNIX_EPOCH).await, Some(true));
        assert_eq!(keep("pub_4", "two", expires_at).await, Some(true), "what is over is forgotten");
        assert_eq!(store.proof("pub_3").await.unwrap(), None);
        let mut kept = 0;
        while keep(&format!("pub_more_{kept}"), &format!("more {kept}"), expires_at).await.is_some() {
            kept += 1;
        }
        assert_eq!(kept, 98, "one subject has so many at once");
        let other = KeptProof { subject: "dns:b.example".to_owned(), ..proof.clone() };
        assert_eq!(store.keep_proof("pub_b", "b", &other, expires_at).await.unwrap(), Some(true));
    })
    .await;
}

#[tokio::test]
async fn vectors_are_kept_by_their_texts_and_of_one_space_at_a_time() {
    on_each_engine(async |fixture| {
        let store = open(fixture).await;
        let row_of = |number: u16| {
            let mut text = [0; 16];
            text[..2].copy_from_slice(&number.to_be_bytes());
            (text, Row::of(&[f32::from(number) + 1.0, 1.0]))
        };
        let rows: Vec<_> = (0..1_200).map(row_of).collect();
        for batch in rows.chunks(400) {
            store.keep_vectors("m", batch).await.unwrap();
        }
        store.keep_vectors("m", &rows[..10]).await.unwrap();
        assert_eq!(store.vectors_count("m").await.unwrap(), 1_200);
        let loaded = store.load_vectors("m", 10_000).await.unwrap();
        assert_eq!((loaded.len(), &loaded[&rows[700].0]), (1_200, &rows[700].1));
        let wanted: Vec<_> = rows[..5].iter().map(|(text, _)| (*text, *text)).collect();
        let vectors = Vectors::default().next("m", &wanted, &loaded);
        store.replace_vectors("m", &vectors).await.unwrap();
        assert_eq!(store.vectors_count("m").await.unwrap(), 5);
        assert_eq!(store.load_vectors("other", 10).await.unwrap().len(), 0);
        assert_eq!(store.vectors_count("m").await.unwrap(), 0, "no model compares them");
    })
    .await;
}
