//! Pages that work against the script.

use paddock_browser::snapshot::SnapshotOptions;
use serde_json::json;

use crate::page::{Page, lines};

#[tokio::test]
async fn named_elements_do_not_shadow_the_platform() {
    let members = [
        "attributes",
        "children",
        "childNodes",
        "firstChild",
        "nextSibling",
        "parentNode",
        "nodeType",
        "localName",
        "getAttribute",
        "hasAttribute",
        "getRootNode",
        "shadowRoot",
        "checkVisibility",
        "ownerDocument",
        "isConnected",
        "namespaceURI",
        "matches",
        "closest",
        "querySelector",
        "title",
        "id",
        "tagName",
        "assignedSlot",
    ];
    let inputs: String = members.map(|member| format!("<input name={member} aria-label={member}>")).concat();
    let globals: String = [
        "title",
        "body",
        "querySelector",
        "querySelectorAll",
        "documentElement",
        "activeElement",
        "getElementById",
        "styleSheets",
    ]
    .map(|name| format!("<img name={name} alt='{name}' src=x>"))
    .concat();
    let html = format!(
        "<!doctype html><title>Shop</title><form aria-label=Trap>{inputs}</form>{globals}
         <a id=paddockAccessibility href=x>trap</a><a id=innerWidth href=x>trap</a>"
    );
    let page = Page::open(&html).await;
    let snapshot = page.snapshot(&SnapshotOptions { boxes: true, ..SnapshotOptions::default() }).await;
    let lines = lines(&snapshot);
    assert_eq!(snapshot.title, "Shop");
    assert_eq!(lines[1], "  form \"Trap\"");
    for (index, member) in members.iter().enumerate() {
        assert_eq!(lines[index + 2], format!("    textbox \"{member}\""));
    }
    assert_eq!(lines.len(), 2 + members.len() + 8 + 2);
}

#[tokio::test]
async fn a_label_of_svg_labels_nothing_and_breaks_nothing() {
    let html = "<!doctype html><svg><label for=i>No</label></svg><label for=i>Mail</label><input id=i>";
    let page = Page::open(html).await;
    assert_eq!(page.main("document.querySelector('label').namespaceURI").await, "http://www.w3.org/2000/svg");
    let lines = lines(&page.snapshot(&SnapshotOptions::default()).await);
    assert!(lines.contains(&"  textbox \"Mail\"".to_owned()), "{lines:#?}");
}

#[tokio::test]
async fn what_a_page_redefines_is_not_used_and_nothing_is_left_in_it() {
    let page = Page::open("<!doctype html><button id=b>x</button>").await;
    page.main(
        "(() => { window.calls = 0;
          for (const [object, name] of [[Element.prototype, 'getAttribute'], [Node.prototype, 'firstChild'],
            [window, 'getComputedStyle'], [Array.prototype, 'push'], [Map.prototype, 'get'], [JSON, 'stringify']])
            Object.defineProperty(object, name, { get() { window.calls += 1; return () => 'stolen'; } });
          new MutationObserver(() => { window.calls += 1; }).observe(document, { attributes: true, childList: true,
            characterData: true, subtree: true });
          document.addEventListener('focus', () => { window.calls += 1; }, true); })()",
    )
    .await;
    let before = page.main("document.documentElement.outerHTML").await;
    let snapshot = page.snapshot(&SnapshotOptions::default()).await;
    assert_eq!(lines(&snapshot)[1..], ["  button \"x\""]);
    assert_eq!(page.main("document.documentElement.outerHTML").await, before);
    assert_eq!(page.main("[window.calls, typeof paddockAccessibility]").await, json!([0, "undefined"]));
}

#[tokio::test]
async fn the_script_may_be_evaluated_again() {
    let page = Page::open("<!doctype html><a href=x>x</a><a href=y>y</a>").await;
    let before = page.snapshot(&SnapshotOptions::default()).await;
    page.isolated(&paddock_browser::snapshot::SCRIPT).await;
    assert_eq!(page.snapshot(&SnapshotOptions::default()).await, before);
}

#[tokio::test]
async fn endless_and_circular_pages_end() {
    let html = "<!doctype html><title>t</title><div id=a aria-owns=b>a</div><div id=b aria-owns=a>b</div>
        <div id=o role=group aria-owns=o>own</div><button id=l1 aria-labelledby=l2>1</button>
        <button id=l2 aria-labelledby=l1>2</button><label for=l1 id=lab aria-labelledby=l1>lab</label>";
    let page = Page::open(html).await;
    page.main(
        "(() => { let deep = document.body; for (let i = 0; i < 3000; i += 1) deep = deep.appendChild(document.createElement('b'));
          deep.textContent = 'bottom'; let host = document.createElement('div'); document.body.append(host);
          for (let i = 0; i < 200; i += 1) { const inner = document.createElement('div');
            host.attachShadow({ mode: 'open' }).append(inner, 'x'); host = inner; }
          const link = document.createElement('a'); link.href = 'x'; link.textContent = 'long '.repeat(100000);
          document.body.append(link);
          const list = document.createElement('ul'); for (let i = 0; i < 30000; i += 1) list.append(document.createElement('li'));
          for (const item of list.children) item.textContent = 'item'; document.body.append(list); })()",
    )
    .await;
    let snapshot = page.snapshot(&SnapshotOptions::default()).await;
    assert!(snapshot.truncated);
    assert!(snapshot.nodes.len() <= 20_000);
    assert!(snapshot.nodes.iter().all(|node| node.name.chars().count() <= 1000));
    assert!(snapshot.nodes.iter().any(|node| node.name.ends_with('…')));
}

#[tokio::test]
async fn a_page_that_keeps_replacing_its_content_does_not_grow_the_memory_of_references() {
    let page = Page::open("<!doctype html><main></main>").await;
    let options = SnapshotOptions::default();
    let replace = "document.querySelector('main').innerHTML = '<a href=x>x</a>'.repeat(6000)";
    page.main("window.gone = null").await;
    let first = {
        page.main(replace).await;
        page.snapshot(&options).await.nodes[2].r#ref.clone()
    };
    for _ in 0..6 {
        page.main(replace).await;
        page.snapshot(&options).await;
    }
    let resolved = page.isolated(&format!("paddockAccessibility.element('{first}')")).await;
    assert_eq!(resolved, json!(null));
    let last = page.snapshot(&options).await;
    assert!(last.ref_next > 30_000, "numbers are not given again");
    let found = format!("paddockAccessibility.element('{}').localName", last.nodes[2].r#ref);
    assert_eq!(page.isolated(&found).await, "a");
}

/// Builds small random pages that refer to themselves in every way there is, and walks each.
const RANDOM_PAGES: &str = r"(() => {
  let state = SEED;
  const random = (max) => { state = (Math.imul(state, 1103515245) + 12345) >>> 0; return (state >>> 8) % max; };
  const pick = (list) => list[random(list.length)];
  const tags = ['div', 'span', 'a', 'button', 'input', 'select', 'option', 'optgroup', 'label', 'table', 'tr', 'td',
    'th', 'ul', 'li', 'details', 'summary', 'fieldset', 'legend', 'figure', 'figcaption', 'img', 'slot', 'dialog',
    'form', 'section', 'textarea', 'svg', 'iframe', 'p', 'h2', 'output', 'map', 'area', 'q'];
  const roles = ['button', 'none', 'presentation', 'img', 'textbox', 'combobox', 'listbox', 'option', 'row', 'grid',
    'tab', 'heading', 'nonsense', 'region', 'checkbox', 'slider', 'treeitem'];
  const id = () => 'i' + random(8);
  const attributes = [['id', id], ['for', id], ['aria-labelledby', () => id() + ' ' + id()], ['aria-owns', id],
    ['aria-describedby', id], ['aria-label', () => pick(['', ' ', 'label'])], ['role', () => pick(roles)],
    ['hidden', () => ''], ['inert', () => ''], ['aria-hidden', () => 'true'], ['tabindex', () => pick(['0', '-1', 'x'])],
    ['style', () => pick(['display:contents', 'visibility:hidden', 'opacity:0', 'content-visibility:hidden', 'display:block'])],
    ['contenteditable', () => ''], ['open', () => ''], ['href', () => '#'], ['type', () => pick(['password', 'image', 'submit',
    'checkbox', 'range', 'hidden'])], ['value', () => 'v'], ['title', () => 't'], ['alt', () => pick(['', 'alt'])],
    ['name', () => pick(['children', 'parentNode', 'id', 'getAttribute'])], ['aria-valuenow', () => '1'],
    ['aria-checked', () => pick(['true', 'mixed', ''])], ['multiple', () => ''], ['disabled', () => '']];
  const failures = [];
  let walked = 0;
  for (let round = 0; round < ROUNDS; round += 1) {
    document.body.textContent = '';
    const nodes = [document.body.appendChild(document.createElement('main'))];
    for (let count = 0; count < 40; count += 1) {
      const node = document.createElement(pick(tags));
      for (let number = random(4); number > 0; number -= 1) {
        const [name, value] = pick(attributes);
        node.setAttribute(name, value());
      }
      if (random(2)) Node.prototype.appendChild.call(node, document.createTextNode(pick(['text', ' ', '  two words '])));
      let parent = pick(nodes);
      if (random(8) === 0) { try { parent = parent.attachShadow({ mode: 'open' }); } catch { /* not one that may */ } }
      Node.prototype.appendChild.call(parent, node);
      nodes.push(node);
    }
    const html = document.body.innerHTML;
    try {
      const all = paddockAccessibility.walk({ boxes: true });
      const some = paddockAccessibility.walk({ filter: 'interactive' });
      if (all.truncated || some.nodes.length > all.nodes.length) throw new Error('implausible');
      walked += all.nodes.length;
      const refs = all.nodes.map((row) => row[0]);
      if (new Set(refs).size !== refs.length) throw new Error('a node twice');
      for (const node of nodes) {
        const alone = [paddockAccessibility.role(node), paddockAccessibility.name(node)];
        const cached = paddockAccessibility.cached(() => [paddockAccessibility.role(node), paddockAccessibility.name(node)]);
        if (alone.join() !== cached.join()) throw new Error('cached differs: ' + alone + ' / ' + cached);
        paddockAccessibility.description(node);
        paddockAccessibility.rect(node);
      }
    } catch (error) {
      failures.push(error.stack.slice(0, 300) + ' in ' + html);
    }
  }
  if (walked < ROUNDS * 5) failures.push('the pages say next to nothing');
  return failures.slice(0, 3);
})()";

#[tokio::test]
async fn no_tangle_of_elements_breaks_the_walk() {
    let page = Page::open("<!doctype html><title>t</title><body></body>").await;
    for seed in [1, 7, 23, 99] {
        let script = RANDOM_PAGES.replace("SEED", &seed.to_string()).replace("ROUNDS", "60");
        assert_eq!(page.isolated(&script).await, json!([]), "seed {seed}");
    }
}

#[tokio::test]
async fn words_of_a_page_are_never_members_of_a_table() {
    let html = "<!doctype html><title>t</title>
        <h2 role=heading aria-level=1e300>huge</h2><button aria-pressed=__proto__>pressed</button>
        <button aria-pressed=constructor>constructed</button><input type=constructor aria-label=typed>
        <div role=constructor>role</div><div role=__proto__ tabindex=0>proto</div>";
    let page = Page::open(html).await;
    page.main(
        "document.body.append(document.createElement('constructor'), document.createElement('tostring'))",
    )
    .await;
    let snapshot = page.snapshot(&SnapshotOptions { boxes: true, ..SnapshotOptions::default() }).await;
    let lines = lines(&snapshot);
    for expected in ["heading \"huge\"", "button \"pressed\"", "button \"constructed\"", "textbox \"typed\""]
    {
        assert!(lines.iter().any(|line| line.trim() == expected), "{expected}: {lines:?}");
    }
    assert!(
        snapshot
            .nodes
            .iter()
            .all(|node| node.pressed.is_none() && node.level.is_none_or(|level| level < 100))
    );
}

#[tokio::test]
async fn halves_of_characters_do_not_break_the_answer() {
    let page = Page::open("<!doctype html><title>t</title><button id=b>x</button>").await;
    page.main(
        "(() => { document.title = 'a\\ud800b'; b.setAttribute('title', '\\udc00'); b.textContent = 'c\\ud83d';
          const long = document.createElement('button'); long.textContent = 'x'.repeat(498) + '\u{1f600}'.repeat(5);
          document.body.append(long); })()",
    )
    .await;
    let snapshot = page.snapshot(&SnapshotOptions::default()).await;
    assert_eq!(snapshot.title, "a\u{fffd}b");
    assert_eq!(snapshot.nodes.iter().filter(|node| node.role == "button").count(), 2);
}

#[tokio::test]
async fn a_page_that_says_too_much_is_cut_and_says_so() {
    let page = Page::open("<!doctype html><title>t</title><body></body>").await;
    page.main(
        "(() => { const html = '<p>' + 'x'.repeat(900) + '</p>'; document.body.innerHTML = html.repeat(6000); })()",
    )
    .await;
    let snapshot = page.snapshot(&SnapshotOptions::default()).await;
    assert!(snapshot.truncated);
    let said: usize = snapshot.nodes.iter().map(|node| node.name.len()).sum();
    assert!(said < 5_000_000, "{said}");
}

#[tokio::test]
async fn what_holds_a_secret_is_masked_whatever_role_it_has() {
    let html = "<!doctype html><title>t</title>
        <input role=slider autocomplete=one-time-code value=123456 aria-valuetext=123456 aria-label=code>
        <input role=spinbutton type=password value=hunter2 aria-label=word><input role=combobox type=password value=hunter3>";
    let page = Page::open(html).await;
    let snapshot = page.snapshot(&SnapshotOptions::default()).await;
    let text = serde_json::to_string(&snapshot.nodes).unwrap();
    for secret in ["123456", "hunter2", "hunter3"] {
        assert!(!text.contains(secret), "{text}");
    }
}
