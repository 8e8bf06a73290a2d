use paddock_platform::{
    keys::NewKey,
    store::testing::{Fixture, on_each_engine},
    units::HumanDuration,
};

use super::*;

async fn open(fixture: &Fixture, options: BrowserOptions) -> (Sessions, Keys) {
    let store = fixture.open().await;
    let keys = Keys::open(store.clone(), &fixture.tasks).await.unwrap();
    let sessions = Sessions::open(store, keys.clone(), Section::fixed(options)).await.unwrap();
    (sessions, keys)
}

fn for_agent(agent: &str) -> SessionRequest {
    SessionRequest { agent_id: agent.to_owned(), label: "a test".to_owned() }
}

#[tokio::test]
async fn a_session_identifies_its_agent_until_it_is_revoked_also_after_a_restart() {
    on_each_engine(async |fixture| {
        let (sessions, _) = open(fixture, BrowserOptions::default()).await;
        let opened = sessions.create(&Caller::local(), for_agent("a")).await.unwrap();
        assert_eq!((opened.session.status.as_str(), opened.session_token.len()), ("active", 52));

        let (restarted, _) = open(fixture, BrowserOptions::default()).await;
        let caller = restarted.authenticate(&opened.session_token).await.unwrap().caller;
        assert_eq!(caller.session().unwrap().agent, "a");
        assert!(caller.may(Scope::write("browser")) && !caller.may(Scope::read("analysis")));
        assert_eq!(restarted.me(&caller).await.unwrap().id, opened.session.id);
        assert_eq!(restarted.list(&caller).await.unwrap_err().kind, FORBIDDEN);
        assert_eq!(restarted.create(&caller, for_agent("b")).await.unwrap_err().kind, FORBIDDEN);

        let other = restarted.create(&Caller::local(), for_agent("b")).await.unwrap().session;
        assert_eq!(restarted.revoke(&caller, &other.id).await.unwrap_err().kind, FORBIDDEN);
        assert_eq!(restarted.revoke(&caller, &opened.session.id).await.unwrap().status, "revoked");
        assert!(sessions.authenticate(&opened.session_token).await.is_err());
        assert_eq!(restarted.list(&Caller::local()).await.unwrap().len(), 2);
        assert_eq!(restarted.me(&Caller::local()).await.unwrap_err().kind, UNAUTHENTICATED);
    })
    .await;
}

#[tokio::test]
async fn a_session_may_no_more_than_its_key_and_ends_with_it() {
    on_each_engine(async |fixture| {
        let (sessions, keys) = open(fixture, BrowserOptions::default()).await;
        let new = NewKey {
            name: "k".to_owned(),
            tenant: "shop".parse().unwrap(),
            scopes: vec![Scope::admin("browser"), Scope::admin("jobs")],
            limits: KeyLimits::default(),
            expires_at: None,
        };
        let key = keys.create(new).await.unwrap().key;
        let bearer = keys.bearer(&key.id).await.unwrap().unwrap().caller;
        let opened = sessions.create(&bearer, for_agent("a")).await.unwrap();
        let caller = sessions.authenticate(&opened.session_token).await.unwrap().caller;
        assert_eq!((caller.tenant().as_str(), caller.key_id()), ("shop", Some(key.id.as_str())));
        assert!(!caller.may(Scope::admin("browser")) && !caller.may(Scope::read("jobs")));
        let stranger = Caller::local();
        assert!(sessions.get(&stranger, &opened.session.id).await.is_err());
        assert!(sessions.revoke(&stranger, &opened.session.id).await.is_err());

        keys.revoke(&key.id).await.unwrap();
        assert!(sessions.authenticate(&opened.session_token).await.is_err());
    })
    .await;
}

#[tokio::test]
async fn sessions_end_by_themselves_and_are_bounded() {
    on_each_engine(async |fixture| {
        let options = BrowserOptions {
            sessions_per_tenant_max: 1,
            session_lifetime: HumanDuration::from_secs(0),
            ..BrowserOptions::default()
        };
        let (sessions, _) = open(fixture, options.clone()).await;
        let ended = sessions.create(&Caller::local(), for_agent("a")).await.unwrap();
        assert_eq!(sessions.list(&Caller::local()).await.unwrap()[0].status, "expired");
        assert!(sessions.authenticate(&ended.session_token).await.is_err());

        let (sessions, _) =
            open(fixture, BrowserOptions { sessions_per_tenant_max: 1, ..BrowserOptions::default() }).await;
        sessions.create(&Caller::local(), for_agent("b")).await.unwrap();
        let refused = sessions.create(&Caller::local(), for_agent("c")).await.unwrap_err();
        assert_eq!(refused.kind, SESSIONS_EXHAUSTED);
        for agent in ["", " ", "a\nb", &"a".repeat(200)] {
            assert!(sessions.create(&Caller::local(), for_agent(agent)).await.is_err(), "{agent:?}");
        }
    })
    .await;
}
