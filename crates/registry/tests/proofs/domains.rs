//! Domains whose TXT records name a key.

use aws_lc_rs::{
    encoding::{AsBigEndian, EcPublicKeyCompressedBin},
    rand::SystemRandom,
    signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use axum::http::{Method, StatusCode};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use paddock_platform::identity::Caller;
use serde_json::json;

use crate::{
    dns::DnsServer,
    harness::{
        NOT_OWNED, REFUSED, Signer, UNCHECKED, bearer, hexadecimal, present, publish, published, publisher,
        time, token,
    },
    support::{TestRegistry, caller, eventually, server},
};

fn config(dns: &DnsServer) -> String {
    format!("[publish]\nproofs = [\"dns\"]\ndns_servers = [\"{}\"]\n", dns.address)
}

/// A registry, a server that knows the domain's key, and the key.
async fn start() -> (TestRegistry, DnsServer, Signer) {
    let (dns, signer) = (DnsServer::start().await, Signer::new());
    dns.set("example.com", &["v=spf1 -all", &signer.record()]);
    (TestRegistry::with(&config(&dns)).await, dns, signer)
}

#[tokio::test]
async fn a_domain_publishes_under_itself_and_all_below() {
    let (test, _dns, signer) = start().await;
    let by = publisher(&test, "dns", &signer.proof("Example.com", 0)).await;
    let names = ["com.example/tool", "com.example.team/tool", "com.examples/tool", "com.other/tool"];
    assert_eq!(published(&test, &by, &names).await, ["com.example/tool", "com.example.team/tool"]);
    let log = test.get("/registry/audit").await.json();
    assert_eq!(log["items"][0]["key"], "dns:example.com");
    let path = "/registry/v0.1/servers/com.example%2Ftool/versions/1.0.0";
    let withdrawn = test.send_as(by, Method::DELETE, path, &json!(null)).await;
    assert_eq!(withdrawn.status, StatusCode::OK, "{}", withdrawn.json());
    assert_eq!(test.names("/registry/v0.1/servers").await, ["com.example.team/tool@1.0.0"]);
}

#[tokio::test]
async fn keys_of_p_384_and_long_records_are_read_too() {
    let (test, dns, _) = start().await;
    let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
    let key: EcPublicKeyCompressedBin<'_> = pair.public_key().as_be_bytes().unwrap();
    let key = BASE64_STANDARD.encode(key.as_ref());
    // Longer than one string of a record.
    let record = format!("{}v=MCPv1; k=ecdsap384; p={key}", "x".repeat(230));
    dns.set("corp.example", &[&record]);
    let time = time(0);
    let signature = pair.sign(&SystemRandom::new(), time.as_bytes()).unwrap();
    let proof = json!({
        "domain": "corp.example", "timestamp": time, "signed_timestamp": hexadecimal(signature.as_ref()),
    });
    let by = publisher(&test, "dns", &proof).await;
    assert_eq!(publish(&test, &by, "example.corp/tool").await.status, StatusCode::OK);
}

#[tokio::test]
async fn what_proves_nothing_is_refused_with_the_reason() {
    let (test, dns, signer) = start().await;
    dns.set("other.com", &[&Signer::new().record()]);
    dns.set("empty.com", &["v=spf1 -all"]);
    let mut wrong = signer.proof("example.com", 0);
    wrong["signed_timestamp"] = hexadecimal(&[7; 64]).into();
    let mut shifted = signer.proof("example.com", 0);
    shifted["timestamp"] = time(1).into();
    for (proof, reason) in [
        (signer.proof("example.com", -60), "clock"),
        (signer.proof("example.com", 60), "clock"),
        (signer.proof("other.com", 0), "none of the keys"),
        (signer.proof("empty.com", 0), "no record"),
        (signer.proof("unknown.com", 0), "no record"),
        (signer.proof("www.example.com", 0), "no record"),
        (wrong, "none of the keys"),
        (shifted, "none of the keys"),
    ] {
        let refused = present(&test, "dns", &proof).await;
        let problem = refused.json();
        assert_eq!(
            (refused.status, &problem["type"]),
            (StatusCode::UNAUTHORIZED, &json!(REFUSED)),
            "{proof}"
        );
        assert!(problem["detail"].as_str().unwrap().contains(reason), "{problem}");
    }
}

#[tokio::test]
async fn what_is_no_proof_at_all_is_a_mistake_of_the_request() {
    let (test, _dns, signer) = start().await;
    for (member, value) in [
        ("domain", json!("127.0.0.1")),
        ("domain", json!("example.com/../x")),
        ("domain", json!("localhost")),
        ("timestamp", json!("yesterday")),
        ("timestamp", json!("2026-01-01T00:00:00")),
        ("signed_timestamp", json!("not hexadecimal")),
        ("signed_timestamp", json!(5)),
    ] {
        let mut proof = signer.proof("example.com", 0);
        proof[member] = value.clone();
        let refused = present(&test, "dns", &proof).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{member} {value}");
    }
    for method in ["http", "github-oidc", "none"] {
        let body =
            json!({"domain": "example.com", "timestamp": "", "signed_timestamp": "", "oidc_token": ""});
        let off = present(&test, method, &body).await;
        assert_eq!(off.status, StatusCode::NOT_FOUND, "{method}");
        assert!(off.json()["detail"].as_str().unwrap().contains("[registry.publish] proofs"));
    }
}

#[tokio::test]
async fn a_proof_is_good_once_for_whatever_domain() {
    let (test, dns, signer) = start().await;
    dns.set("second.com", &[&signer.record()]);
    let proof = signer.proof("example.com", 0);
    token(&test, "dns", &proof).await;
    let again = present(&test, "dns", &proof).await;
    assert_eq!((again.status, &again.json()["type"]), (StatusCode::UNAUTHORIZED, &json!(REFUSED)));
    assert!(again.json()["detail"].as_str().unwrap().contains("used already"));
    let mut elsewhere = proof.clone();
    elsewhere["domain"] = "second.com".into();
    assert_eq!(present(&test, "dns", &elsewhere).await.status, StatusCode::UNAUTHORIZED);
    token(&test, "dns", &signer.proof("example.com", 2)).await;
    // The store knows it, also for another server.
    let options = toml::from_str(&config(&dns)).unwrap();
    let test = TestRegistry::start_on(test.stop().await, options).await;
    assert_eq!(present(&test, "dns", &proof).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_token_outlives_a_restart_and_not_its_time() {
    let (test, dns, signer) = start().await;
    let lasting = token(&test, "dns", &signer.proof("example.com", 0)).await;
    let short = toml::from_str(&format!("{}token_lifetime = \"2s\"\n", config(&dns))).unwrap();
    let test = TestRegistry::start_on(test.stop().await, short).await;
    let granted = present(&test, "dns", &signer.proof("example.com", 2)).await.json();
    let passing = granted["registry_token"].as_str().unwrap();
    eventually("the token expires", async || bearer(&test, passing).await.is_none().then_some(())).await;
    let by = bearer(&test, &lasting).await.unwrap();
    assert_eq!(publish(&test, &by, "com.example/tool").await.status, StatusCode::OK);
    for unknown in ["pub_", "pub_0123", &format!("{lasting}0"), &lasting[1..], "pdk_0123456789abcdef_x"] {
        assert!(bearer(&test, unknown).await.is_none(), "{unknown}");
    }
}

#[tokio::test]
async fn a_key_that_was_replaced_proves_nothing_any_more() {
    let (test, dns, signer) = start().await;
    token(&test, "dns", &signer.proof("example.com", 0)).await;
    let next = Signer::new();
    dns.set("example.com", &[&next.record()]);
    assert_eq!(present(&test, "dns", &signer.proof("example.com", 2)).await.status, StatusCode::UNAUTHORIZED);
    token(&test, "dns", &next.proof("example.com", 0)).await;
}

#[tokio::test]
async fn without_an_answer_of_dns_nothing_is_decided() {
    let config = "[publish]\nproofs = [\"dns\"]\ndns_servers = [\"127.0.0.1:1\"]\ntimeout = \"5s\"\n";
    let test = TestRegistry::with(config).await;
    let unchecked = present(&test, "dns", &Signer::new().proof("example.com", 0)).await;
    assert_eq!(unchecked.json()["type"], UNCHECKED);
    assert!(!unchecked.header("retry-after").is_empty());
}

#[tokio::test]
async fn a_namespace_that_somebody_has_is_not_proven_away_and_a_proven_one_not_taken() {
    let dns = DnsServer::start().await;
    let signer = Signer::new();
    dns.set("example.com", &[&signer.record()]);
    let given = "[[namespaces]]\nnamespace = \"com.example.core\"\ntenants = [\"acme\"]\n";
    let test = TestRegistry::with(&format!("{}{given}", config(&dns))).await;
    let by = publisher(&test, "dns", &signer.proof("example.com", 0)).await;
    let names = ["com.example.core/tool", "com.Example.Core/tool", "com.example/tool"];
    assert_eq!(published(&test, &by, &names).await, ["com.example/tool"], "the configuration gave one away");

    let test = TestRegistry::with(&config(&dns)).await;
    let acme = caller("acme", &["registry:write"]);
    assert_eq!(published(&test, &acme, &["com.example/first"]).await, ["com.example/first"]);
    let by = publisher(&test, "dns", &signer.proof("example.com", 0)).await;
    let names = ["com.example/tool", "com.Example/tool", "com.example.team/tool"];
    assert_eq!(published(&test, &by, &names).await, ["com.example.team/tool"], "one was taken first");
    let refused = publish(&test, &acme, "com.example.team/other").await;
    assert_eq!(refused.json()["type"], NOT_OWNED);
}

#[tokio::test]
async fn the_official_publisher_finds_all_that_it_asks_for() {
    let (dns, signer) = (DnsServer::start().await, Signer::new());
    dns.set("example.com", &[&signer.record()]);
    let config =
        format!("{}[[views]]\nname = \"default\"\nsources = [\"local\"]\npublic = true\n", config(&dns));
    let test = TestRegistry::with(&config).await;
    for (seconds, base) in [(0, ""), (2, "/registry")] {
        let version = format!("1.0.{seconds}");
        let path = |rest: &str| format!("{base}/v0/{rest}");
        let proof = signer.proof("example.com", seconds);
        let granted = test.send_as(Caller::anonymous(), Method::POST, &path("auth/dns"), &proof).await.json();
        let by = bearer(&test, granted["registry_token"].as_str().unwrap()).await.unwrap();
        let server = server("com.example/tool", &version);
        let answer = test.send_as(by.clone(), Method::POST, &path("publish"), &server).await;
        assert_eq!((answer.status, &answer.json()["server"]), (StatusCode::OK, &server));
        let detail = path(&format!("servers/com.example%2Ftool/versions/{version}"));
        let found = test.get_as(by.clone(), &format!("{detail}?include_deleted=true")).await.json();
        assert_eq!(found["_meta"]["io.modelcontextprotocol.registry/official"]["status"], "active");
        let change = json!({"status": "deprecated", "statusMessage": "use another"});
        let changed = test.send_as(by, Method::PATCH, &format!("{detail}/status"), &change).await;
        assert_eq!(changed.status, StatusCode::OK, "{}", changed.json());
    }
}
