//! Limits that several keys share.

use axum::{Extension, Router};
use paddock_platform::{
    config::Live,
    identity::{Caller, Scope, Tenant},
    store::testing::{Fixture, on_each_engine},
};
use serde_json::json;
use tower::ServiceExt;

use super::{Read, chat, options, post, read};
use crate::{Gateway, routes::router};

const TEAMS: &str = "
    [[providers]]
    name = 'p'
    url = 'sim:?tokens=10'
    models = ['m']
    [prices]
    m = { input = 1.0, output = 10.0 }
    [teams]
    red = ['k1', 'k2']
    blue = ['k3']
";

async fn open(fixture: &Fixture, limits: &str) -> Gateway {
    let live = Live::new(options(&format!("{TEAMS}{limits}")));
    let section = live.section(|options| options);
    Gateway::open(section, fixture.open().await, &fixture.tasks).await.unwrap()
}

/// A call with a key.
async fn call(gateway: &Gateway, key: &str) -> Read {
    let caller = Caller::with_key(key, "acme".parse::<Tenant>().unwrap(), vec![Scope::write("llm")]);
    let (app, _) = router(gateway.clone(), None).split_for_parts();
    let app: Router = app.layer(Extension(caller));
    let mut body = chat("m", "hello");
    body["max_tokens"] = json!(10);
    read(app.oneshot(post("/v1/chat/completions", &body)).await.unwrap()).await
}

#[tokio::test]
async fn keys_of_a_team_share_its_budget_also_after_a_restart() {
    on_each_engine(async |fixture| {
        let limits = "[[limits]]\nteam = 'red'\nday = { hard = 0.0005 }";
        let gateway = open(fixture, limits).await;
        let mut made = 0;
        for key in ["k1", "k2"].into_iter().cycle().take(100) {
            if call(&gateway, key).await.status != 200 {
                break;
            }
            made += 1;
        }
        assert!((3..10).contains(&made), "what one spends the other cannot: {made}");
        for key in ["k1", "k2"] {
            let refused = call(&gateway, key).await;
            assert_eq!(refused.json()["error"]["code"], "insufficient_quota", "{key}: {refused:?}");
            assert!(refused.text().contains("team red"), "{refused:?}");
        }
        assert_eq!(call(&gateway, "k3").await.status, 200, "another team has nothing to do with it");
        gateway.inner().ledger.flush().await.unwrap();
        let again = open(fixture, limits).await;
        assert_eq!(call(&again, "k2").await.status, 429);
        assert_eq!(call(&again, "k3").await.status, 200);
    })
    .await;
}

#[tokio::test]
async fn each_team_has_the_rate_of_all_teams_for_itself() {
    let fixture = Fixture::sqlite();
    let gateway = open(&fixture, "[[limits]]\nteam = '*'\nrpm = 2").await;
    let mut statuses = Vec::new();
    for key in ["k1", "k2", "k1", "k2", "k3", "k3", "k3", "nobody's", "nobody's", "nobody's"] {
        statuses.push(call(&gateway, key).await.status.as_u16());
    }
    assert_eq!(statuses, [200, 200, 429, 429, 200, 200, 429, 200, 200, 200]);
}
