//! Roles and names, one table per step of the computation. Each case marks its element with `data-t`; `#` in an id
//! stands for the number of the case.

use serde_json::{Value, json};

use crate::page::Page;

/// `(html, role, name)`
type Case = (&'static str, &'static str, &'static str);

async fn check(cases: &[Case]) {
    let case = |(index, (html, ..)): (usize, &Case)| {
        format!("<div>{}</div>", html.replace('#', &format!("-{index}")))
    };
    let html = cases.iter().enumerate().map(case).collect::<Vec<_>>().concat();
    let page = Page::open(&format!("<!doctype html><title>Cases</title>{html}")).await;
    let answers = page
        .isolated(
            "(() => { const a = paddockAccessibility; return a.cached(() =>
              [...document.querySelectorAll('[data-t]')].map((t) => [a.role(t), a.name(t)])); })()",
        )
        .await;
    let answers = answers.as_array().unwrap();
    assert_eq!(answers.len(), cases.len(), "each case marks one element");
    let wrong: Vec<(&str, &Value, Value)> = cases
        .iter()
        .zip(answers)
        .map(|((html, role, name), answer)| (*html, answer, json!([role, name])))
        .filter(|(_, answer, expected)| *answer != expected)
        .collect();
    assert!(wrong.is_empty(), "html, got, expected: {wrong:#?}");
}

#[tokio::test]
async fn an_explicit_role_is_taken_if_it_is_one() {
    check(&[
        ("<div data-t role=button>x</div>", "button", "x"),
        ("<div data-t role='nonsense BUTTON link'>x</div>", "button", "x"),
        ("<div data-t role='widget'>x</div>", "generic", ""),
        ("<a data-t href=x role=none>x</a>", "link", "x"),
        ("<h2 data-t role=none>x</h2>", "none", ""),
        ("<h2 data-t role=presentation aria-label=y>x</h2>", "heading", "y"),
        ("<ul role=none><li data-t>x</ul>", "none", ""),
        ("<table role=presentation><tr><td data-t>x</table>", "none", ""),
        ("<div data-t role=region>x</div>", "generic", ""),
        ("<div data-t role=region aria-label=n>x</div>", "region", "n"),
        ("<div data-t role=img aria-label=n></div>", "image", "n"),
        ("<input data-t type=checkbox role=switch aria-label=n>", "switch", "n"),
    ])
    .await;
}

#[tokio::test]
async fn elements_have_the_roles_that_html_gives_them() {
    check(&[
        ("<a data-t>x</a>", "generic", ""),
        ("<a data-t href=x>x</a>", "link", "x"),
        ("<header data-t>x</header>", "banner", ""),
        ("<article><header data-t>x</header></article>", "sectionheader", ""),
        ("<div role=main><footer data-t>x</footer></div>", "sectionfooter", ""),
        ("<footer data-t>x</footer>", "contentinfo", ""),
        ("<section data-t>x</section>", "generic", ""),
        ("<section data-t aria-label=n>x</section>", "region", "n"),
        ("<section><aside data-t>x</aside></section>", "generic", ""),
        ("<section><aside data-t aria-label=n>x</aside></section>", "complementary", "n"),
        ("<aside data-t>x</aside>", "complementary", ""),
        ("<table><tr><th data-t>x<th>y</table>", "columnheader", "x"),
        ("<table><tr><th data-t>x<td>y</table>", "rowheader", "x"),
        ("<table><tr><th data-t scope=col>x<td>y</table>", "columnheader", "x"),
        ("<table><tr><td data-t>x</table>", "cell", "x"),
        ("<table role=grid><tr><td data-t>x</table>", "gridcell", "x"),
        ("<img data-t alt='' src=x>", "none", ""),
        ("<img data-t alt=x src=x>", "image", "x"),
        ("<img data-t src=x>", "image", ""),
        ("<input data-t>", "textbox", ""),
        ("<input data-t type=' text'>", "textbox", ""),
        ("<input data-t type=EMAIL list=l>", "combobox", ""),
        ("<input data-t type=number>", "spinbutton", ""),
        ("<input data-t type=range>", "slider", ""),
        ("<input data-t type=search>", "searchbox", ""),
        ("<input data-t type=date>", "Date", ""),
        ("<select data-t><option>x</select>", "combobox", ""),
        ("<select data-t multiple></select>", "listbox", ""),
        ("<select data-t size=2></select>", "listbox", ""),
        ("<details><summary data-t>x</summary></details>", "DisclosureTriangle", "x"),
        ("<summary data-t>x</summary>", "generic", ""),
        ("<ul><li data-t>x</ul>", "listitem", ""),
        ("<div data-t contenteditable>x</div>", "textbox", ""),
        ("<nav data-t>x</nav>", "navigation", ""),
        ("<svg data-t><title>x</title></svg>", "image", "x"),
    ])
    .await;
}

#[tokio::test]
async fn references_name_first_and_may_be_hidden() {
    check(&[
        ("<span id=a#>A</span><span id=b#>B</span><button data-t aria-labelledby='a# b#'>x</button>", "button", "A B"),
        ("<span id=h# hidden>hidden <b>all</b></span><button data-t aria-labelledby=h#>x</button>", "button", "hidden all"),
        ("<span id=p#>shown <i hidden>not</i></span><button data-t aria-labelledby=p#>x</button>", "button", "shown"),
        ("<button data-t id=s# aria-labelledby='s# o#' aria-label=Delete></button><span id=o#>file</span>", "button", "Delete file"),
        ("<span id=c# aria-labelledby=d#>C</span><span id=d#>D</span><button data-t aria-labelledby=c#>x</button>", "button", "C"),
        ("<button data-t aria-labelledby=missing>x</button>", "button", "x"),
        ("<button data-t id=l# aria-labelledby=m#>x</button><span id=m#><span aria-labelledby=l#>M</span></span>", "button", "M"),
        ("<input data-t aria-labelledby=v#><select id=v#><option>a<option selected>b</select>", "textbox", "b"),
    ])
    .await;
}

#[tokio::test]
async fn labels_and_native_texts_name_controls() {
    check(&[
        ("<label for=i#>Mail</label><input data-t id=i#>", "textbox", "Mail"),
        ("<label>Mail <input data-t></label>", "textbox", "Mail"),
        ("<label for=j#>One</label><label for=j#>Two</label><input data-t id=j#>", "textbox", "One Two"),
        ("<label for=k# hidden>Unseen</label><input data-t id=k# placeholder=Seen>", "textbox", "Seen"),
        (
            "<label for=f#>Flash <input value=3> times <input data-t id=f# type=checkbox></label>",
            "checkbox",
            "Flash 3 times",
        ),
        ("<label>Size <select data-t><option>S</select></label>", "combobox", "Size"),
        ("<input data-t aria-label=aria placeholder=p title=t>", "textbox", "aria"),
        ("<input data-t placeholder=p title=t>", "textbox", "t"),
        ("<input data-t placeholder=p>", "textbox", "p"),
        ("<input data-t type=submit>", "button", "Submit"),
        ("<input data-t type=reset value=Back>", "button", "Back"),
        ("<input data-t type=image alt=Go src=x>", "button", "Go"),
        ("<input data-t type=button value=Press title=t>", "button", "Press"),
        ("<fieldset data-t><legend>Ship <b>to</b></legend></fieldset>", "group", "Ship to"),
        ("<table data-t><caption>Prices</caption><tr><td>1<td>2</table>", "table", "Prices"),
        ("<figure data-t><img alt=i src=x><figcaption>Cap</figcaption></figure>", "figure", "Cap"),
        ("<a data-t href=x><img alt=Home src=x></a>", "link", "Home"),
        ("<iframe data-t title=Map></iframe>", "Iframe", "Map"),
        ("<select><optgroup data-t label=Group></select>", "group", "Group"),
        ("<label for=z#>z</label><button data-t id=z#>own</button>", "button", "z"),
    ])
    .await;
}

#[tokio::test]
async fn content_names_what_it_is_in() {
    check(&[
        ("<h1 data-t>Two <em>words</em></h1>", "heading", "Two words"),
        ("<button data-t><span>One</span><span>word</span></button>", "button", "Oneword"),
        ("<button data-t><div>Two</div><div>words</div></button>", "button", "Two words"),
        ("<button data-t>a<br>b</button>", "button", "a b"),
        ("<button data-t>a<span hidden>b</span><span style='visibility:hidden'>c</span></button>", "button", "a"),
        ("<button data-t>a<span aria-hidden=true>b</span></button>", "button", "a"),
        ("<button data-t><span aria-label=Close>x</span></button>", "button", "Close"),
        ("<a data-t href=x>\u{a0} \n a \t b </a>", "link", "a b"),
        ("<style>.q#::before{content:'be'}.q#::after{content:'af' / 'alt'}</style><button data-t class=q#>x</button>", "button", "bexalt"),
        ("<style>.i#::before{content:'\\e001'}</style><button data-t class=i#>x</button>", "button", "x"),
        ("<button data-t></button>", "button", ""),
        ("<button data-t title=T></button>", "button", "T"),
        ("<p data-t aria-label=n>x</p>", "paragraph", ""),
        ("<p data-t>x</p>", "paragraph", ""),
        ("<div data-t role=tab>x <button>y</button></div>", "tab", "x y"),
        ("<select><option data-t>  a  b </select>", "option", "a b"),
        ("<div data-t role=button aria-owns=w#>x</div><span id=w#>y</span>", "button", "xy"),
    ])
    .await;
}

#[tokio::test]
async fn names_pass_through_shadow_trees_and_slots() {
    let page = Page::open("<!doctype html><x-button>slotted <b>text</b></x-button>").await;
    page.main(
        "(() => { const root = document.querySelector('x-button').attachShadow({mode: 'open'});
          root.innerHTML = '<span id=l>inner</span><button><slot></slot></button><input aria-labelledby=l>'; })()",
    )
    .await;
    let names = page
        .isolated(
            "[...document.querySelector('x-button').shadowRoot.querySelectorAll('button, input')]
             .map(paddockAccessibility.name)",
        )
        .await;
    assert_eq!(names, json!(["slotted text", "inner"]));
}

#[tokio::test]
async fn descriptions_come_from_references_and_titles() {
    let html =
        "<!doctype html><p id=d>more</p><button aria-describedby=d>x</button><button title=t>x</button>
        <button title=t></button><button aria-description=said>x</button>";
    let page = Page::open(html).await;
    let described =
        page.isolated("[...document.querySelectorAll('button')].map(paddockAccessibility.description)").await;
    assert_eq!(described, json!(["more", "t", "", "said"]));
}
