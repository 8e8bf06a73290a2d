use proptest::prelude::*;

use super::*;

const OURS: &str = "OURS";

fn info(id: &str, kind: &str, context: &str) -> Value {
    json!({ "targetId": id, "type": kind, "browserContextId": context, "url": "about:blank", "title": "" })
}

fn gatekeeper() -> Gatekeeper {
    let mut gatekeeper = Gatekeeper::new(OURS, Arc::from("ROOT"));
    let sent = drain(&mut gatekeeper);
    assert!(sent[0].contains("setDiscoverTargets"), "{sent:?}");
    gatekeeper.reply(1, &Ok(Payload::from_json(&json!({}))));
    for (id, kind, context) in [("P1", "page", OURS), ("T1", "tab", OURS), ("X1", "page", "THEIRS")] {
        create(&mut gatekeeper, id, kind, context);
    }
    assert!(drain(&mut gatekeeper).is_empty());
    gatekeeper
}

fn create(gatekeeper: &mut Gatekeeper, id: &str, kind: &str, context: &str) {
    event(gatekeeper, "ROOT", "Target.targetCreated", &json!({ "targetInfo": info(id, kind, context) }));
}

fn event(gatekeeper: &mut Gatekeeper, session: &str, method: &str, params: &Value) {
    gatekeeper.event(&Arc::from(session), method, &Payload::from_json(params));
}

fn say(gatekeeper: &mut Gatekeeper, command: &Value) -> Vec<String> {
    gatekeeper.client(&command.to_string()).unwrap();
    drain(gatekeeper)
}

/// What is sent, as `> session method params` to Chrome and as it is to the client.
fn drain(gatekeeper: &mut Gatekeeper) -> Vec<String> {
    let mut sent = Vec::new();
    while let Some(output) = gatekeeper.output() {
        sent.push(match output {
            Output::Chrome { session, token, method, params } => {
                format!("> {token} {session} {method} {params}")
            }
            Output::Client(text) => text,
            Output::Close => "close".to_owned(),
        });
    }
    sent
}

#[test]
fn a_client_that_attaches_to_all_is_attached_to_the_instances_pages_before_it_is_answered() {
    let mut gatekeeper = gatekeeper();
    let command = json!({ "id": 7, "method": "Target.setAutoAttach",
        "params": { "autoAttach": true, "waitForDebuggerOnStart": true, "flatten": true } });
    let sent = say(&mut gatekeeper, &command);
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert!(sent[0].starts_with("> 2 ROOT Target.attachToTarget") && sent[0].contains("\"P1\""), "{sent:?}");
    let attached =
        json!({ "sessionId": "S1", "targetInfo": info("P1", "page", OURS), "waitingForDebugger": false });
    event(&mut gatekeeper, "ROOT", "Target.attachedToTarget", &attached);
    gatekeeper.reply(2, &Ok(Payload::from_json(&json!({ "sessionId": "S1" }))));
    let sent = drain(&mut gatekeeper);
    assert!(
        sent[0].contains("Target.attachedToTarget") && !sent[0].contains("\"sessionId\":\"ROOT\""),
        "{sent:?}"
    );
    assert_eq!(sent[1], r#"{"id":7,"result":{}}"#);
    // A page that appears later is attached to; another instance's is not.
    create(&mut gatekeeper, "P2", "page", OURS);
    create(&mut gatekeeper, "X2", "page", "THEIRS");
    let sent = drain(&mut gatekeeper);
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert!(sent[0].contains("\"P2\""), "{sent:?}");
}

#[test]
fn a_new_page_is_attached_before_its_creator_is_answered() {
    let mut gatekeeper = gatekeeper();
    let filter = json!({ "autoAttach": true, "flatten": true, "filter": [{ "type": "service_worker" }, { "type": "page" }] });
    say(&mut gatekeeper, &json!({ "id": 1, "method": "Target.setAutoAttach", "params": filter }));
    gatekeeper.reply(2, &Ok(Payload::from_json(&json!({}))));
    drain(&mut gatekeeper);
    let sent = say(
        &mut gatekeeper,
        &json!({ "id": 2, "method": "Target.createTarget", "params": { "url": "about:blank" } }),
    );
    assert!(sent[0].contains(r#""browserContextId":"OURS""#), "{sent:?}");
    create(&mut gatekeeper, "P3", "page", OURS);
    assert!(drain(&mut gatekeeper)[0].starts_with("> 4 "));
    gatekeeper.reply(3, &Ok(Payload::from_json(&json!({ "targetId": "P3" }))));
    assert!(drain(&mut gatekeeper).is_empty(), "answered before the page was attached");
    gatekeeper.reply(4, &Ok(Payload::from_json(&json!({ "sessionId": "S3" }))));
    assert_eq!(drain(&mut gatekeeper), [r#"{"id":2,"result":{"targetId":"P3"}}"#]);
}

#[test]
fn another_instance_is_neither_seen_nor_touched() {
    let mut gatekeeper = gatekeeper();
    let sent = say(
        &mut gatekeeper,
        &json!({ "id": 1, "method": "Target.getTargets", "params": { "filter": [{}] } }),
    );
    assert!(sent[0].contains("P1") && sent[0].contains("T1") && !sent[0].contains("X1"), "{sent:?}");
    let sent = say(
        &mut gatekeeper,
        &json!({ "id": 2, "method": "Target.setDiscoverTargets",
        "params": { "discover": true, "filter": [{}] } }),
    );
    assert_eq!(sent.len(), 3, "{sent:?}");
    event(
        &mut gatekeeper,
        "ROOT",
        "Target.targetInfoChanged",
        &json!({ "targetInfo": info("X1", "page", "THEIRS") }),
    );
    event(&mut gatekeeper, "ROOT", "Target.targetDestroyed", &json!({ "targetId": "X1" }));
    assert!(drain(&mut gatekeeper).is_empty());
    for (method, params) in [
        ("Target.attachToTarget", json!({ "targetId": "X1", "flatten": true })),
        ("Target.closeTarget", json!({ "targetId": "X1" })),
        ("Target.activateTarget", json!({ "targetId": "X1" })),
        ("Target.getTargetInfo", json!({ "targetId": "X1" })),
        ("Browser.getWindowForTarget", json!({ "targetId": "X1" })),
        ("Browser.setWindowBounds", json!({ "windowId": 1, "bounds": {} })),
        ("Target.createTarget", json!({ "url": "about:blank", "browserContextId": "THEIRS" })),
        ("Storage.getCookies", json!({ "browserContextId": "THEIRS" })),
        ("Target.createTarget", json!({ "url": "file:///etc/passwd" })),
        ("Target.detachFromTarget", json!({ "sessionId": "ROOT" })),
    ] {
        let sent = say(&mut gatekeeper, &json!({ "id": 3, "method": method, "params": params }));
        assert!(sent.len() == 1 && sent[0].starts_with(r#"{"id":3,"error""#), "{method}: {sent:?}");
    }
    let sent = say(&mut gatekeeper, &json!({ "id": 4, "method": "Page.enable", "sessionId": "SOMEBODYS" }));
    assert!(sent[0].contains("-32001"), "{sent:?}");
    let sent = say(&mut gatekeeper, &json!({ "id": 5, "method": "Storage.clearCookies" }));
    assert!(sent[0].contains(r#"{"browserContextId":"OURS"}"#), "{sent:?}");
}

#[test]
fn a_page_session_passes_what_concerns_the_page_and_nothing_else() {
    let mut gatekeeper = gatekeeper();
    let attached =
        json!({ "sessionId": "S1", "targetInfo": info("P1", "page", OURS), "waitingForDebugger": false });
    event(&mut gatekeeper, "ROOT", "Target.attachedToTarget", &attached);
    drain(&mut gatekeeper);
    let on_page = |method: &str, params: Value| json!({ "id": 9, "method": method, "params": params, "sessionId": "S1" });
    let sent = say(&mut gatekeeper, &on_page("Runtime.evaluate", json!({ "expression": "1" })));
    assert_eq!(sent, [r#"> 2 S1 Runtime.evaluate {"expression":"1"}"#]);
    gatekeeper.reply(2, &Err(ErrorBody { code: -1, message: "no".to_owned(), data: None }));
    assert_eq!(drain(&mut gatekeeper), [r#"{"id":9,"error":{"code":-1,"message":"no"},"sessionId":"S1"}"#]);
    for (method, params) in [
        ("Page.navigate", json!({ "url": "file:///etc/passwd" })),
        ("Target.getTargetInfo", json!({ "targetId": "X1" })),
        ("Tracing.start", json!({})),
        ("Storage.clearDataForOrigin", json!({ "browserContextId": "THEIRS", "origin": "*" })),
    ] {
        let sent = say(&mut gatekeeper, &on_page(method, params));
        assert!(sent[0].contains("\"error\""), "{method}: {sent:?}");
    }
    event(&mut gatekeeper, "S1", "Page.loadEventFired", &json!({ "timestamp": 1 }));
    assert_eq!(
        drain(&mut gatekeeper),
        [r#"{"method":"Page.loadEventFired","params":{"timestamp":1},"sessionId":"S1"}"#]
    );
    // Its child in another context would be nobody's; it is let go at once.
    let foreign = json!({ "sessionId": "S2", "targetInfo": info("X2", "iframe", "THEIRS"), "waitingForDebugger": false });
    event(&mut gatekeeper, "S1", "Target.attachedToTarget", &foreign);
    let sent = drain(&mut gatekeeper);
    assert!(sent.len() == 1 && sent[0].contains("> ") && sent[0].contains("detachFromTarget"), "{sent:?}");
}

#[test]
fn closing_the_browser_only_says_goodbye() {
    let mut gatekeeper = gatekeeper();
    let sent = say(&mut gatekeeper, &json!({ "id": 1, "method": "Browser.close" }));
    assert_eq!(sent, [r#"{"id":1,"result":{}}"#, "close"]);
}

proptest! {
    #[test]
    fn no_command_names_a_foreign_context_or_target_to_chrome(
        method in prop::sample::select(vec![
            "Target.createTarget", "Target.attachToTarget", "Target.closeTarget", "Target.getTargetInfo",
            "Storage.getCookies", "Storage.clearDataForOrigin", "Browser.grantPermissions",
            "Browser.getWindowForTarget", "Target.disposeBrowserContext", "Target.getTargets",
        ]),
        session in prop::option::of(Just("S1")),
        foreign in prop::sample::select(vec!["targetId", "browserContextId"]),
    ) {
        let mut gatekeeper = gatekeeper();
        let attached = json!({ "sessionId": "S1", "targetInfo": info("P1", "page", OURS), "waitingForDebugger": false });
        event(&mut gatekeeper, "ROOT", "Target.attachedToTarget", &attached);
        drain(&mut gatekeeper);
        let mut params = json!({ "targetId": "P1", "url": "about:blank", "flatten": true });
        params[foreign] = json!("X1");
        let sent = say(&mut gatekeeper, &json!({ "id": 1, "method": method, "params": params, "sessionId": session }));
        prop_assert!(sent.iter().all(|sent| !sent.starts_with("> ") || !sent.contains("X1")), "{:?}", sent);
    }

    #[test]
    fn no_message_breaks_the_state(text in "[ -~]{0,64}") {
        gatekeeper().client(&text).ok();
    }
}

#[test]
fn the_browsers_own_context_is_named_in_no_command() {
    let mut gatekeeper = Gatekeeper::of_default_context(OURS, Arc::from("ROOT"));
    drain(&mut gatekeeper);
    for params in [json!({}), json!({ "browserContextId": OURS })] {
        let sent =
            say(&mut gatekeeper, &json!({ "id": 1, "method": "Storage.getCookies", "params": params }));
        assert!(sent[0].starts_with("> ") && !sent[0].contains("browserContextId"), "{sent:?}");
    }
    let command =
        json!({ "id": 2, "method": "Storage.getCookies", "params": { "browserContextId": "THEIRS" } });
    assert!(say(&mut gatekeeper, &command)[0].contains("Failed to find browser context"));
}
