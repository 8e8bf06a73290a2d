use super::*;
use crate::{
    http::{KeyLimits, RateLimit},
    identity::{Scope, Tenant},
    problem::UNAUTHENTICATED,
    store::testing::{Fixture, on_each_engine},
};

async fn open(fixture: &Fixture) -> Keys {
    Keys::open(fixture.open().await, &fixture.tasks).await.unwrap()
}

fn new_key() -> NewKey {
    NewKey {
        name: "ci".to_owned(),
        tenant: "shop".parse().unwrap(),
        scopes: vec![Scope::write("analysis"), Scope::read("browser")],
        limits: KeyLimits { rate: Some(RateLimit::per_second(10)), ..KeyLimits::default() },
        expires_at: None,
    }
}

fn is_refused(result: &Result<Authenticated, AuthenticateError>) -> bool {
    matches!(result, Err(AuthenticateError::Refused))
}

#[tokio::test]
async fn a_key_that_was_created_is_accepted_with_its_tenant_scopes_and_limits() {
    on_each_engine(async |fixture| {
        let keys = open(fixture).await;
        let created = keys.create(new_key()).await.unwrap();
        let found = keys.authenticate(created.token.expose()).await.unwrap();
        assert_eq!(found.caller.key_id(), Some(created.key.id.as_str()));
        assert_eq!(*found.caller.tenant(), "shop".parse::<Tenant>().unwrap());
        assert!(found.caller.may(Scope::read("analysis")) && !found.caller.may(Scope::write("browser")));
        assert_eq!(found.limits, new_key().limits);
    })
    .await;
}

#[tokio::test]
async fn unknown_malformed_and_wrong_tokens_are_refused_alike() {
    on_each_engine(async |fixture| {
        let keys = open(fixture).await;
        let created = keys.create(new_key()).await.unwrap();
        let token = created.token.expose();
        let wrong_secret = format!("{}A", &token[..token.len() - 1]);
        let wrong_secret =
            if wrong_secret == token { format!("{}B", &token[..token.len() - 1]) } else { wrong_secret };
        let unknown = token.replace(&created.key.id, "0123456789abcdef");
        for token in ["", "pdk_", "Bearer x", &token[1..], &format!("{token}x"), &wrong_secret, &unknown] {
            let result = keys.authenticate(token).await;
            assert!(is_refused(&result), "{token}");
            let problem = Problem::from(result.unwrap_err());
            assert_eq!(problem.detail, "the key is unknown, expired or revoked");
            assert_eq!(problem.kind, UNAUTHENTICATED);
        }
    })
    .await;
}

#[tokio::test]
async fn a_key_that_was_revoked_is_refused_at_once() {
    on_each_engine(async |fixture| {
        let keys = open(fixture).await;
        let created = keys.create(new_key()).await.unwrap();
        let token = created.token.expose();
        keys.authenticate(token).await.unwrap();
        let revoked = keys.revoke(&created.key.id).await.unwrap();
        assert_eq!(revoked.state(Timestamp::now()), KeyState::Revoked);
        assert!(is_refused(&keys.authenticate(token).await));
        assert_eq!(keys.revoke(&created.key.id).await.unwrap().revoked_at, revoked.revoked_at);
        assert!(matches!(keys.revoke("0123456789abcdef").await, Err(KeysError::Unknown(_))));
    })
    .await;
}

#[tokio::test]
async fn a_revocation_reaches_other_servers_within_the_cache_time() {
    on_each_engine(async |fixture| {
        let here = open(fixture).await;
        let there = Keys::open_with_ttl(fixture.open().await, &fixture.tasks, Duration::from_millis(100));
        let there = there.await.unwrap();
        let created = here.create(new_key()).await.unwrap();
        let token = created.token.expose();
        there.authenticate(token).await.unwrap();
        here.revoke(&created.key.id).await.unwrap();
        let refused = async {
            while there.authenticate(token).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), refused).await.expect("the revocation arrives");
    })
    .await;
}

#[tokio::test]
async fn an_expired_key_is_refused() {
    on_each_engine(async |fixture| {
        let keys = open(fixture).await;
        let soon = Timestamp::now() + Duration::from_millis(300);
        let created = keys.create(NewKey { expires_at: Some(soon), ..new_key() }).await.unwrap();
        let refused = async {
            while keys.authenticate(created.token.expose()).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), refused).await.expect("the key expires");
        assert!(!keys.any_active().await.unwrap());
        assert_eq!(keys.list().await.unwrap()[0].state(Timestamp::now()), KeyState::Expired);
    })
    .await;
}

#[tokio::test]
async fn a_known_key_is_accepted_without_the_store() {
    on_each_engine(async |fixture| {
        let store = fixture.open().await;
        let ttl = Duration::from_hours(1);
        let keys = Keys::open_with_ttl(store.clone(), &fixture.tasks, ttl).await.unwrap();
        let created = keys.create(new_key()).await.unwrap();
        keys.authenticate(created.token.expose()).await.unwrap();
        store.close().await;
        keys.authenticate(created.token.expose()).await.unwrap();
        let unknown = keys.authenticate(&Token::random().unwrap().to_string()).await;
        assert!(matches!(unknown, Err(AuthenticateError::Unavailable(_))), "{unknown:?}");
    })
    .await;
}

#[tokio::test]
async fn keys_are_listed_with_their_last_use_and_without_secrets() {
    on_each_engine(async |fixture| {
        let keys = open(fixture).await;
        assert!(!keys.any_active().await.unwrap());
        let first = keys.create(new_key()).await.unwrap();
        let second = keys.create(NewKey { name: "other".to_owned(), ..new_key() }).await.unwrap();
        assert!(keys.any_active().await.unwrap());
        // Uses are recorded in the order in which they come: whoever only knows the id would show up by then.
        let wrong = second.token.expose().replace(&second.token.expose()[40..], &first.token.expose()[40..]);
        assert!(is_refused(&keys.authenticate(&wrong).await));
        keys.authenticate(first.token.expose()).await.unwrap();
        let used = async {
            loop {
                let listed = keys.list().await.unwrap();
                if listed[0].last_used_at.is_some() {
                    return listed;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let listed = tokio::time::timeout(Duration::from_mins(1), used).await.expect("the use is recorded");
        assert_eq!(listed[1].last_used_at, None, "a wrong secret is no use of the key");
        let ids: Vec<_> = listed.iter().map(|key| key.id.as_str()).collect();
        assert_eq!(ids.len(), 2);
        assert!(ids.contains(&first.key.id.as_str()) && ids.contains(&second.key.id.as_str()));
        let shown = serde_json::to_string(&listed).unwrap();
        let secret = first.token.expose().rsplit_once(&first.key.id).unwrap().1;
        assert!(!shown.contains(secret) && shown.contains("analysis:write"), "{shown}");
    })
    .await;
}

#[tokio::test]
async fn a_key_without_name_scope_or_future_is_not_created() {
    let fixture = Fixture::sqlite();
    let keys = open(&fixture).await;
    for (new, field) in [
        (NewKey { name: " ".to_owned(), ..new_key() }, "name"),
        (NewKey { name: "x".repeat(101), ..new_key() }, "name"),
        (NewKey { scopes: Vec::new(), ..new_key() }, "scopes"),
        (NewKey { expires_at: Some(Timestamp::UNIX_EPOCH), ..new_key() }, "expires_at"),
    ] {
        let problem = Problem::from(keys.create(new).await.unwrap_err());
        assert!(problem.detail.contains(field), "{}", problem.detail);
    }
    assert!(keys.list().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_key_that_ended_long_ago_is_forgotten() {
    static AGE: crate::store::Statement =
        crate::store::Statement::new("keys", "age", "UPDATE keys SET revoked_at = 0 WHERE id = ?1");
    on_each_engine(async |fixture| {
        let store = fixture.open().await;
        let keys = Keys::open(store.clone(), &fixture.tasks).await.unwrap();
        let old = keys.create(new_key()).await.unwrap();
        keys.revoke(&keys.create(new_key()).await.unwrap().key.id).await.unwrap();
        store.execute(&AGE, params![old.key.id]).await.unwrap();
        keys.create(new_key()).await.unwrap();
        assert_eq!(keys.list().await.unwrap().len(), 2);
    })
    .await;
}
