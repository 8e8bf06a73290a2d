//! Acting on pages, waiting for them, and what is said of them afterwards.

#![expect(clippy::unwrap_used, reason = "in functions that tests share")]

mod support;

use std::time::Duration;

use paddock_browser::{
    Action, ActionError, ActionKind, Aim, ClickMode, Condition, DialogAnswer, LoadState, Outcome, Presence,
    Tab, World,
    snapshot::{Filter, SnapshotOptions},
};
use serde_json::{Value, json};
use support::{TestFleet, eventually};

const PATIENCE: Duration = Duration::from_secs(20);

/// A tab that shows this.
async fn showing(fleet: &TestFleet, html: &str) -> Tab {
    let tab = fleet.tab().await;
    fleet.visit(&tab, "/title/acting").await.unwrap();
    let html = Value::from(html);
    evaluate(&tab, &format!("document.body.innerHTML = {html}")).await;
    tab
}

async fn evaluate(tab: &Tab, expression: &str) -> Value {
    let value = tab.evaluate(expression, World::Main, PATIENCE).await.unwrap();
    serde_json::from_str(value.get()).unwrap()
}

async fn act(tab: &Tab, kind: ActionKind, selector: &str) -> Result<Outcome, ActionError> {
    tab.act(&Action::new(kind, Aim::Element(selector.to_owned()))).await
}

#[tokio::test]
async fn a_click_arrives_as_that_of_a_user() {
    let fleet = TestFleet::start().await;
    let tab = showing(&fleet, "<div style='height:3000px'></div><button id=b>Buy</button>").await;
    evaluate(
        &tab,
        "window.events = []; for (const t of ['pointerdown','mousedown','mouseup','click','dblclick'])
        b.addEventListener(t, (e) => events.push(t + e.isTrusted + e.detail)); 0",
    )
    .await;
    let done = act(&tab, ActionKind::Click, "role:button Buy").await.unwrap();
    assert!(done.success && done.clicked);
    let expected = json!(["pointerdowntrue0", "mousedowntrue1", "mouseuptrue1", "clicktrue1"]);
    assert_eq!(evaluate(&tab, "events").await, expected);
    act(&tab, ActionKind::DoubleClick, "#b").await.unwrap();
    assert_eq!(evaluate(&tab, "events.at(-1)").await, json!("dblclicktrue2"));
    fleet.finish().await;
}

#[tokio::test]
async fn what_would_not_get_the_event_is_named_with_its_reason() {
    let fleet = TestFleet::start().await;
    let tab = showing(
        &fleet,
        "<button id=covered>a</button><button id=off disabled>b</button><button id=none style='display:none'>c</button>
         <button id=flat style='all:unset;display:block;width:0;height:0;overflow:hidden'></button><input id=ro readonly>
         <div id=veil style='position:fixed;inset:0;background:#eee'>veil</div>",
    )
    .await;
    let error = act(&tab, ActionKind::Click, "#covered").await.unwrap_err();
    assert!(matches!(&error, ActionError::Covered { by, .. } if by.id == "veil"), "{error}");
    assert!(error.to_string().contains("element is occluded"), "{error}");
    let mut past = Action::new(ActionKind::Click, Aim::Element("#covered".to_owned()));
    past.mode = ClickMode::Dom;
    tab.act(&past).await.unwrap();
    evaluate(&tab, "veil.remove()").await;
    act(&tab, ActionKind::Click, "#covered").await.unwrap();
    assert!(matches!(act(&tab, ActionKind::Click, "#off").await, Err(ActionError::Disabled(_))));
    let error = act(&tab, ActionKind::Click, "#none").await.unwrap_err();
    assert!(
        matches!(&error, ActionError::Hidden { reason, .. } if reason.contains("display: none")),
        "{error}"
    );
    assert!(matches!(act(&tab, ActionKind::Click, "#flat").await, Err(ActionError::Hidden { .. })));
    assert!(matches!(act(&tab, ActionKind::Fill, "#ro").await, Err(ActionError::Unfit { .. })));
    assert!(matches!(act(&tab, ActionKind::Click, "#missing").await, Err(ActionError::NoElement { .. })));
    assert!(matches!(
        act(&tab, ActionKind::Click, "[broken:::").await,
        Err(ActionError::InvalidSelector { .. })
    ));
    fleet.finish().await;
}

#[tokio::test]
async fn fields_are_typed_into_filled_in_chosen_from_and_checked() {
    let fleet = TestFleet::start().await;
    let tab = showing(
        &fleet,
        "<label>Name <input id=name value=Ann></label><textarea id=notes>old</textarea><input id=day type=date>
         <select id=land><option value=de>Germany<option value=uk>United Kingdom</select>
         <label><input id=ok type=checkbox style='position:absolute;opacity:0;width:0;height:0'> Agree</label>",
    )
    .await;
    evaluate(&tab, "window.keys = ''; window.changes = 0; document.addEventListener('keydown', (e) => { keys += e.key; });
        document.addEventListener('change', () => { changes += 1; }); 0").await;
    let text = |kind, selector: &str, text: &str| {
        let mut action = Action::new(kind, Aim::Element(selector.to_owned()));
        action.text = text.to_owned();
        action.value = text.to_owned();
        action
    };
    tab.act(&text(ActionKind::Type, "label:Name", " Lee é!")).await.unwrap();
    assert_eq!(evaluate(&tab, "document.getElementById('name').value").await, json!("Ann Lee é!"));
    assert_eq!(evaluate(&tab, "keys").await, json!(" Lee !"));
    tab.act(&text(ActionKind::Fill, "#notes", "two\nlines")).await.unwrap();
    assert_eq!(evaluate(&tab, "notes.value").await, json!("two\nlines"));
    tab.act(&text(ActionKind::Fill, "#notes", "")).await.unwrap();
    assert_eq!(evaluate(&tab, "notes.value").await, json!(""));
    tab.act(&text(ActionKind::Fill, "#day", "2026-11-20")).await.unwrap();
    assert_eq!(evaluate(&tab, "day.value").await, json!("2026-11-20"));
    let chosen = tab.act(&text(ActionKind::Select, "#land", "kingdom")).await.unwrap();
    assert_eq!(chosen.selected.as_deref(), Some("uk"));
    let error = tab.act(&text(ActionKind::Select, "#land", "Atlantis")).await.unwrap_err();
    assert!(error.to_string().contains("Germany, United Kingdom"), "{error}");
    assert_eq!(act(&tab, ActionKind::Check, "#ok").await.unwrap().checked, Some(true));
    assert_eq!(evaluate(&tab, "ok.checked").await, json!(true));
    assert_eq!(act(&tab, ActionKind::Uncheck, "text:Agree").await.unwrap().checked, Some(false));
    fleet.finish().await;
}

#[tokio::test]
async fn shadow_trees_and_frames_of_any_origin_are_part_of_the_page() {
    let fleet = TestFleet::start().await;
    let elsewhere = fleet.url("/").to_string().replace("127.0.0.1", "localhost");
    let tab = showing(
        &fleet,
        &format!("<div id=host></div><iframe id=near></iframe><iframe src='{elsewhere}'></iframe>"),
    )
    .await;
    evaluate(&tab, "host.attachShadow({ mode: 'open' }).innerHTML = '<button onclick=\"this.textContent = 1\">In shadow</button>';
        near.contentDocument.body.innerHTML = '<button onclick=\"this.textContent = 2\">In frame</button>'; 0").await;
    tab.wait_for(&Condition::Load(LoadState::NetworkIdle(Duration::from_millis(100))), PATIENCE)
        .await
        .unwrap();
    let (snapshot, _) =
        tab.snapshot(SnapshotOptions { boxes: true, ..SnapshotOptions::default() }).await.unwrap();
    let find =
        |name: &str| snapshot.nodes.iter().find(|node| node.name == name).map(|node| node.r#ref.clone());
    act(&tab, ActionKind::Click, "text:In shadow").await.unwrap();
    act(&tab, ActionKind::Click, &find("In frame").unwrap()).await.unwrap();
    assert_eq!(
        evaluate(&tab, "[host.shadowRoot.textContent, near.contentDocument.body.textContent]").await,
        json!(["1", "2"])
    );
    let apart = snapshot.nodes.iter().find(|node| node.r#ref.starts_with("ea")).unwrap();
    assert!(apart.depth > 0 && !apart.name.is_empty(), "{apart:?}");
    act(&tab, ActionKind::Hover, &apart.r#ref).await.unwrap();
    fleet.finish().await;
}

#[tokio::test]
async fn references_live_as_long_as_their_element_and_name_what_is_in_its_place() {
    let fleet = TestFleet::start().await;
    let tab = showing(&fleet, "<button id=one>Save</button><button>Other</button>").await;
    let options = SnapshotOptions { filter: Filter::Interactive, ..SnapshotOptions::default() };
    let (before, _) = tab.snapshot(options.clone()).await.unwrap();
    let save = before.nodes.iter().find(|node| node.name == "Save").unwrap().r#ref.clone();
    evaluate(&tab, "document.body.prepend(document.createElement('button')); one.textContent = 'Saved'")
        .await;
    let (after, previous) = tab.snapshot(options).await.unwrap();
    assert!(previous.is_some());
    assert!(after.nodes.iter().any(|node| node.r#ref == save && node.name == "Saved"));
    let (_, other) = tab.snapshot(SnapshotOptions::default()).await.unwrap();
    assert!(other.is_none(), "snapshots of something else are not compared");
    evaluate(&tab, "one.outerHTML = '<button>Saved</button>'").await;
    match act(&tab, ActionKind::Click, &save).await {
        Err(ActionError::StaleRef { was: Some((_, name)), nearest: Some(nearest), .. }) => {
            assert_eq!(name, "Saved");
            act(&tab, ActionKind::Click, &nearest).await.unwrap();
        }
        other => panic!("{other:?}"),
    }
    fleet.visit(&tab, "/").await.unwrap();
    assert!(matches!(act(&tab, ActionKind::Click, &save).await, Err(ActionError::StaleRef { .. })));
    fleet.finish().await;
}

#[tokio::test]
async fn a_dialog_is_answered_as_announced_or_blocks_until_it_is() {
    let fleet = TestFleet::start().await;
    let tab = showing(&fleet, "<button id=b onclick='window.said = prompt(\"Who?\")'>Ask</button>").await;
    let mut action = Action::new(ActionKind::Click, Aim::Element("#b".to_owned()));
    action.dialog = Some(DialogAnswer { accept: true, text: Some("Ann".to_owned()) });
    let done = tab.act(&action).await.unwrap();
    assert_eq!(done.dialog.unwrap().message, "Who?");
    assert_eq!(evaluate(&tab, "said").await, json!("Ann"));
    action.dialog = None;
    assert!(matches!(tab.act(&action).await, Err(ActionError::DialogOpen(_))));
    assert!(tab.snapshot(SnapshotOptions::default()).await.is_err());
    assert!(tab.evaluate("1", World::Main, PATIENCE).await.is_err());
    tab.answer_dialog(false, None).await.unwrap();
    assert_eq!(evaluate(&tab, "said").await, json!(null));
    assert!(tab.answer_dialog(true, None).await.is_err());
    fleet.finish().await;
}

#[tokio::test]
async fn waits_end_with_what_they_wait_for_also_after_a_navigation() {
    let fleet = TestFleet::start().await;
    let tab = showing(&fleet, "<p id=p>wait</p>").await;
    let selector = |selector: &str, state| Condition::Selector { selector: selector.to_owned(), state };
    evaluate(&tab, "setTimeout(() => { p.textContent = 'now'; window.ready = true; }, 50); 0").await;
    assert!(tab.wait_for(&Condition::Text("now".to_owned()), PATIENCE).await.unwrap());
    assert!(tab.wait_for(&Condition::Function("window.ready".to_owned()), PATIENCE).await.unwrap());
    evaluate(&tab, "setTimeout(() => { p.style.display = 'none'; }, 50); 0").await;
    assert!(tab.wait_for(&selector("#p", Presence::Hidden), PATIENCE).await.unwrap());
    let short = Duration::from_millis(150);
    assert!(!tab.wait_for(&selector("#p", Presence::Visible), short).await.unwrap());
    assert!(tab.wait_for(&selector("[::", Presence::Visible), short).await.is_err());
    let there = fleet.url("/");
    evaluate(&tab, &format!("setTimeout(() => {{ location.href = '{there}' }}, 50); 0")).await;
    let end = selector("#end", Presence::Visible);
    let url = Condition::Url("127.0.0.1:*/".to_owned());
    let (found, went) = tokio::join!(tab.wait_for(&end, PATIENCE), tab.wait_for(&url, PATIENCE));
    assert!(found.unwrap() && went.unwrap());
    fleet.finish().await;
}

#[tokio::test]
async fn an_element_that_moves_is_clicked_where_it_comes_to_rest() {
    let fleet = TestFleet::start().await;
    let tab = showing(&fleet, "<button id=b style='position:absolute;left:0;top:200px'>Run</button>").await;
    evaluate(&tab, "window.hit = null; b.onclick = (e) => { hit = e.clientX; };
        let x = 0; const step = () => { x += 25; b.style.left = x + 'px'; if (x < 500) requestAnimationFrame(step); }; step(); 0").await;
    act(&tab, ActionKind::Click, "#b").await.unwrap();
    assert!(evaluate(&tab, "hit").await.as_f64().unwrap() >= 500.0);
    fleet.finish().await;
}

/// What a snapshot has Chrome told: commands, and their bytes.
async fn cost_of_snapshot(tab: &Tab) -> (u64, u64) {
    let before = tab.session().sent();
    tab.snapshot(SnapshotOptions::default()).await.unwrap();
    let after = tab.session().sent();
    (after.0 - before.0, after.1 - before.1)
}

#[tokio::test]
async fn a_page_that_was_expected_to_be_looked_at_has_the_script_before_it_is() {
    let fleet = TestFleet::start().await;
    let tab = fleet.tab().await;
    fleet.visit(&tab, "/title/first").await.unwrap();
    // The script and the question: the world is there since the page settled.
    let (calls, bytes) = cost_of_snapshot(&tab).await;
    assert!(calls == 2 && (50_000..100_000).contains(&bytes), "{calls} commands, {bytes} bytes");
    let (calls, bytes) = cost_of_snapshot(&tab).await;
    assert!(calls == 1 && bytes < 1000, "{calls} commands, {bytes} bytes");

    let before = tab.session().sent();
    fleet.visit(&tab, "/title/second").await.unwrap();
    eventually("the script is sent ahead", || tab.session().sent().1 - before.1 > 50_000).await;
    let (calls, bytes) = cost_of_snapshot(&tab).await;
    assert!(calls == 1 && bytes < 1000, "{calls} commands, {bytes} bytes");

    // Nobody looks at this one: nothing is sent ahead into its documents.
    let third = fleet.tab().await;
    let before = third.session().sent();
    fleet.visit(&third, "/title/third").await.unwrap();
    fleet.visit(&third, "/title/fourth").await.unwrap();
    assert!(third.session().sent().1 - before.1 < 10_000);
    fleet.finish().await;
}

#[tokio::test]
async fn a_tab_that_is_looked_at_has_its_script_in_each_document_without_being_sent_it_again() {
    let fleet = TestFleet::start().await;
    let tab = fleet.tab().await;
    for path in ["/title/first", "/title/second"] {
        fleet.visit(&tab, path).await.unwrap();
        tab.snapshot(SnapshotOptions::default()).await.unwrap();
    }
    // With scripts and without, with frames, and on its way by itself to another page.
    for path in ["/title/third", "/late", "/frame", "/script-redirect"] {
        let before = tab.session().sent().1;
        fleet.visit(&tab, path).await.unwrap();
        let (seen, _) = tab.snapshot(SnapshotOptions::default()).await.unwrap();
        let bytes = tab.session().sent().1 - before;
        assert!(bytes < 20_000, "{path}: {bytes} bytes");
        assert!(!seen.nodes.is_empty(), "{path}");
    }
    fleet.visit(&tab, "/").await.unwrap();
    let framed = "new Promise(done => { const frame = document.createElement('iframe');
        frame.srcdoc = '<script>1</script>'; frame.onload = () => done(frames.length); document.body.append(frame); })";
    assert_eq!(evaluate(&tab, framed).await, 1);
    let in_frame = "Object.hasOwn(document.querySelector('iframe').contentWindow, 'paddockAccessibility')";
    let in_frame: bool = tab.evaluate_as(in_frame, World::Isolated, PATIENCE).await.unwrap();
    assert!(!in_frame, "a frame of the page's own needs no script");

    // Nobody looked at the last one: from the next on, the tab is left alone until somebody looks.
    fleet.visit(&tab, "/title/fourth").await.unwrap();
    fleet.visit(&tab, "/title/fifth").await.unwrap();
    let there = "Object.hasOwn(globalThis, 'paddockAccessibility')";
    let there: bool = tab.evaluate_as(there, World::Isolated, PATIENCE).await.unwrap();
    assert!(!there);
    let (_, bytes) = cost_of_snapshot(&tab).await;
    assert!(bytes > 50_000, "{bytes} bytes");
    fleet.finish().await;
}

#[tokio::test]
async fn the_script_is_there_whatever_happens_to_the_document() {
    let fleet = TestFleet::start().await;
    let tab = fleet.tab().await;
    for round in 0..6 {
        fleet.visit(&tab, &format!("/title/round-{round}")).await.unwrap();
        // The page replaces its document behind our back, while it is looked at.
        let (looked, _) = tokio::join!(
            tab.snapshot(SnapshotOptions::default()),
            tab.evaluate("location.reload()", World::Main, PATIENCE),
        );
        drop(looked);
        let again = async {
            let title = format!("round-{round}");
            while !tab.snapshot(SnapshotOptions::default()).await.is_ok_and(|(seen, _)| seen.title == title) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, again).await.unwrap();
    }
    fleet.finish().await;
}

#[tokio::test]
async fn several_tabs_of_an_instance_are_opened_at_a_time_and_none_twice() {
    let fleet = TestFleet::start().await;
    let instance = fleet.instance().await;
    let opened =
        futures_util::future::join_all((0..12).map(|_| instance.open(paddock_browser::TabSpec::default())))
            .await;
    let targets: std::collections::BTreeSet<String> =
        opened.iter().map(|tab| tab.as_ref().unwrap().session().target_id().to_owned()).collect();
    assert_eq!((targets.len(), instance.tabs().len()), (12, 12));
    // A window that a page opens meanwhile becomes one tab too.
    let tab = opened[0].as_ref().unwrap();
    fleet.visit(tab, "/title/opener").await.unwrap();
    let (popup, more) = tokio::join!(
        tab.evaluate("void window.open('about:blank')", World::Main, PATIENCE),
        futures_util::future::join_all((0..4).map(|_| instance.open(paddock_browser::TabSpec::default()))),
    );
    popup.unwrap();
    assert!(more.iter().all(Result::is_ok));
    eventually("the window is a tab", || instance.tabs().len() == 17).await;
    fleet.finish().await;
}
