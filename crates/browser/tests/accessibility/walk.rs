//! What a snapshot of a page holds.

use paddock_browser::snapshot::{Checked, Filter, Format, SnapshotDiff, SnapshotError, SnapshotOptions};
use serde_json::json;

use crate::page::{Page, lines};

fn all() -> SnapshotOptions {
    SnapshotOptions::default()
}

fn interactive() -> SnapshotOptions {
    SnapshotOptions { filter: Filter::Interactive, ..all() }
}

const SHOP: &str = "<!doctype html><title>Shop</title>
    <header><nav aria-label=Main><a href=/>Home</a></nav></header>
    <main><h1>Mug</h1><p>A <b>good</b> mug <span>for tea</span>.</p>
      <form><label>Qty <input type=number value=1 required></label>
        <label>Size <select><option>S<option selected>M</select></label>
        <label><input type=checkbox checked> Gift wrap</label>
        <button disabled data-testid=buy>Add to cart</button></form>
      <div tabindex=0>custom</div><p></p></main>";

#[tokio::test]
async fn a_page_is_told_in_reading_order() {
    let page = Page::open(SHOP).await;
    let snapshot = page.snapshot(&all()).await;
    assert_eq!(snapshot.title, "Shop");
    assert_eq!(
        lines(&snapshot),
        [
            "RootWebArea \"Shop\"",
            "  banner",
            "    navigation \"Main\"",
            "      link \"Home\"",
            "  main",
            "    heading \"Mug\"",
            "    paragraph",
            "      StaticText \"A good mug for tea.\"",
            "    form",
            "      spinbutton \"Qty\"",
            "      combobox \"Size\"",
            "        option \"S\"",
            "        option \"M\"",
            "      checkbox \"Gift wrap\"",
            "      button \"Add to cart\"",
            "    generic \"custom\"",
        ]
    );
    let by_name = |name: &str| snapshot.nodes.iter().find(|node| node.name == name).unwrap();
    let quantity = by_name("Qty");
    assert_eq!(
        (quantity.value.as_deref(), quantity.label.as_deref(), quantity.required),
        (Some("1"), Some("Qty"), true)
    );
    assert_eq!(by_name("Size").value.as_deref(), Some("M"));
    assert_eq!((by_name("M").selected, by_name("S").selected), (true, false));
    assert_eq!(by_name("Gift wrap").checked, Some(Checked::True));
    let buy = by_name("Add to cart");
    assert_eq!(
        (buy.disabled, buy.testid.as_deref(), buy.tag.as_deref()),
        (true, Some("buy"), Some("button"))
    );
    assert_eq!(by_name("Mug").level, Some(1));
}

#[tokio::test]
async fn the_interactive_filter_keeps_what_can_be_acted_on_and_where_it_is() {
    let page = Page::open(SHOP).await;
    let snapshot = page.snapshot(&interactive()).await;
    assert_eq!(
        lines(&snapshot),
        [
            "link \"Home\"",
            "heading \"Mug\"",
            "spinbutton \"Qty\"",
            "combobox \"Size\"",
            "  option \"S\"",
            "  option \"M\"",
            "checkbox \"Gift wrap\"",
            "button \"Add to cart\"",
            "generic \"custom\"",
        ]
    );
    assert_eq!(snapshot.nodes[0].r#ref, "e0");
    assert!(snapshot.render(Format::Compact, None).body.contains("e7:button \"Add to cart\" -\n"));
}

#[tokio::test]
async fn references_outlive_changes_of_the_page() {
    let page = Page::open("<!doctype html><ul><li><a href=1>one</a><li><a href=2>two</a></ul>").await;
    let before = page.snapshot(&interactive()).await;
    page.main(
        "(() => { const [one, two] = document.links; const list = document.querySelector('ul');
          list.prepend(two.parentNode); one.remove();
          list.insertAdjacentHTML('afterbegin', '<li><a href=3>three</a>'); two.textContent = 'second'; })()",
    )
    .await;
    let after = page.snapshot(&interactive()).await;
    let refs: Vec<_> = after.nodes.iter().map(|node| (node.r#ref.as_str(), node.name.as_str())).collect();
    assert_eq!(refs, [("e2", "three"), ("e1", "second")]);
    let diff = SnapshotDiff::between(&before, &after);
    assert_eq!((diff.added.len(), diff.changed.len(), diff.removed.len()), (1, 1, 1));
    assert_eq!(diff.removed[0].r#ref, "e0");
    let resolved = page
        .isolated("['e0', 'e1', 'e2', 'e9', 'x'].map((ref) => paddockAccessibility.element(ref)?.textContent ?? null)")
        .await;
    assert_eq!(resolved, json!([null, "second", "three", null, null]));
}

#[tokio::test]
async fn a_later_document_goes_on_counting() {
    let page = Page::open("<!doctype html><a href=x>x</a>").await;
    let options = SnapshotOptions { refs_from: 40, ..interactive() };
    let snapshot = page.snapshot(&options).await;
    assert_eq!((snapshot.nodes[0].r#ref.as_str(), snapshot.ref_next), ("e40", 41));
    assert_eq!(page.isolated("paddockAccessibility.element('e0')").await, json!(null));
    assert_eq!(page.isolated("paddockAccessibility.element('e40').localName").await, "a");
}

#[tokio::test]
async fn what_is_not_shown_is_left_out() {
    let html = "<!doctype html><style>.o{opacity:0}.c{content-visibility:hidden}</style>
        <button hidden>1</button><button style='display:none'>2</button>
        <div style='visibility:hidden'><button>3</button><button style='visibility:visible'>shown</button></div>
        <div aria-hidden=true><button>4</button></div><div inert><button>5</button></div>
        <div class=c><button>6</button></div><details><summary>sum</summary>closed <button>7</button></details>
        <div style='display:contents'><button>contents</button></div><div class=o><button>clear</button>text</div>
        <template><button>8</button></template><noscript><button>9</button></noscript>";
    let page = Page::open(html).await;
    let snapshot = page.snapshot(&all()).await;
    assert_eq!(
        lines(&snapshot)[1..],
        [
            "  button \"shown\"",
            "  group",
            "    DisclosureTriangle \"sum\"",
            "  button \"contents\"",
            "  button \"clear\"",
            "  StaticText \"text\"",
        ]
    );
    let hidden: Vec<_> =
        snapshot.nodes.iter().filter(|node| node.hidden).map(|node| node.name.as_str()).collect();
    assert_eq!(hidden, ["clear", "text"], "what is transparent is marked");
    let states = page
        .isolated(
            "[...document.querySelectorAll('button')].map((b) => paddockAccessibility.isVisible(b) + ' ' +
             paddockAccessibility.isExposed(b))",
        )
        .await;
    assert_eq!(states[0], "false false");
    assert_eq!(states[4], "true false", "what is hidden from assistive technology alone is visible");
}

#[tokio::test]
async fn a_modal_dialog_is_all_there_is() {
    let html =
        "<!doctype html><button>behind</button><dialog aria-label=Cookies><button>Accept</button></dialog>";
    let page = Page::open(html).await;
    page.main("document.querySelector('dialog').showModal()").await;
    let snapshot = page.snapshot(&all()).await;
    assert_eq!(lines(&snapshot)[1..], ["  dialog \"Cookies\"", "    button \"Accept\""]);
    let accept = snapshot.nodes.last().unwrap();
    assert!(accept.focused, "showing the dialog focuses its button");
}

#[tokio::test]
async fn passwords_never_leave_the_page() {
    let html = "<!doctype html><label>Password <input type=password value=hunter2></label>
        <input aria-label=New autocomplete='section-a new-password' value=hunter2>
        <label>Repeat <input value=seen> <input type=checkbox></label>
        <label>Show <input type=password value=hunter2> <input type=checkbox id=c></label>";
    let page = Page::open(html).await;
    let text = page.isolated(&all().expression()).await.to_string();
    assert!(!text.contains("hunter2"), "{text}");
    let snapshot = page.snapshot(&all()).await;
    let values: Vec<_> = snapshot.nodes.iter().filter_map(|node| node.value.as_deref()).collect();
    assert_eq!(values, ["••••••••", "••••••••", "seen", "••••••••"]);
}

#[tokio::test]
async fn frames_of_the_same_origin_and_shadow_trees_are_entered() {
    let html = "<!doctype html><style>body{margin:0}iframe{border:2px solid;margin:10px}</style>
        <iframe title=Inner style='display:block' srcdoc=\"<body style='margin:5px'><button style='display:block'>framed</button>\"></iframe>
        <iframe title=Other src='data:text/html,<button>far</button>'></iframe><x-card><i>slotted</i></x-card>";
    let page = Page::open(html).await;
    page.main(
        "document.querySelector('x-card').attachShadow({mode: 'open'}).innerHTML =
         '<button><slot></slot></button><p>shadow text</p>'",
    )
    .await;
    let snapshot = page.snapshot(&SnapshotOptions { boxes: true, ..all() }).await;
    assert_eq!(
        lines(&snapshot)[1..],
        [
            "  Iframe \"Inner\"",
            "    button \"framed\"",
            "  Iframe \"Other\"",
            "  button \"slotted\"",
            "  paragraph",
            "    StaticText \"shadow text\"",
        ]
    );
    let framed = &snapshot.nodes[2];
    let place = framed.bounding_box.unwrap();
    assert_eq!((place.x, place.y), (17.0, 17.0), "margin, border of the frame and margin of its body");
    assert_eq!(framed.visible, Some(true));
    let rect = page
        .isolated(&format!("paddockAccessibility.rect(paddockAccessibility.element('{}'))", framed.r#ref))
        .await;
    assert_eq!((&rect["x"], &rect["y"]), (&json!(17), &json!(17)));
    assert!(snapshot.nodes[3].child_frame_url.as_deref().unwrap().starts_with("data:"));
}

#[tokio::test]
async fn a_snapshot_can_be_of_a_part() {
    let page = Page::open(SHOP).await;
    let part = |selector: &str| SnapshotOptions { selector: Some(selector.to_owned()), ..all() };
    let nav = page.snapshot(&part("css:nav")).await;
    assert_eq!(lines(&nav), ["navigation \"Main\"", "  link \"Home\""]);
    let by_ref = page.snapshot(&part(&nav.nodes[1].r#ref)).await;
    assert_eq!(by_ref.nodes, [paddock_browser::snapshot::Node { depth: 0, ..nav.nodes[1].clone() }]);
    assert!(matches!(page.try_snapshot(&part("#none")).await, Err(SnapshotError::NotFound)));
    assert!(matches!(page.try_snapshot(&part("e999")).await, Err(SnapshotError::NotFound)));
    assert!(matches!(page.try_snapshot(&part("a[[")).await, Err(SnapshotError::InvalidSelector)));
    let shallow = page.snapshot(&SnapshotOptions { depth: Some(1), ..all() }).await;
    assert_eq!(lines(&shallow), ["RootWebArea \"Shop\"", "  banner", "  main"]);
}

#[tokio::test]
async fn states_are_told() {
    let html = "<!doctype html><button aria-pressed=mixed aria-expanded=false>b</button>
        <div role=checkbox aria-checked=true tabindex=0>c</div><div role=tab aria-selected=true>t</div>
        <fieldset disabled><input aria-label=i></fieldset><div aria-disabled=true><a href=x>l</a></div>
        <input aria-label=bad aria-invalid=true readonly><div role=slider aria-valuenow=3 aria-label=s tabindex=0></div>
        <button aria-label=Close>× Pay</button><div role=heading aria-level=4>h</div>
        <div contenteditable aria-label=ed>typed <b>text</b></div>";
    let page = Page::open(html).await;
    let snapshot = page.snapshot(&interactive()).await;
    let told: Vec<_> = snapshot.nodes.iter().map(|node| serde_json::to_value(node).unwrap()).collect();
    let expect = |index: usize, fields: serde_json::Value| {
        for (field, value) in fields.as_object().unwrap() {
            assert_eq!(&told[index][field], value, "{field} of {}", told[index]);
        }
    };
    expect(0, json!({"name": "b", "pressed": "mixed", "expanded": false}));
    expect(1, json!({"name": "c", "checked": "true"}));
    expect(2, json!({"name": "t", "selected": true}));
    expect(3, json!({"name": "i", "disabled": true}));
    expect(4, json!({"name": "l", "disabled": true}));
    expect(5, json!({"name": "bad", "invalid": true, "readOnly": true}));
    expect(6, json!({"name": "s", "value": "3"}));
    expect(7, json!({"name": "Close", "text": "× Pay"}));
    expect(8, json!({"name": "h", "level": 4}));
    expect(9, json!({"name": "ed", "role": "textbox", "value": "typed text"}));
}
