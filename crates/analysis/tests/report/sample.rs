//! Analyses to report on: a bad product page, one without flaws, one with many, and one full of hostile text.

#![expect(clippy::unnecessary_wraps, reason = "the fields they fill in are optional")]

use paddock_analysis::{
    Bound, Category, Evidence, Finding, Measured, Rect, Screen, Severity, Source,
    report::{Analysis, CheckedRule, Environment, NotChecked, ScreenSize, Vitals},
};

pub(crate) const DESKTOP_ONLY: [(Screen, Option<Rect>); 1] = [(Screen::Desktop, None)];

pub(crate) fn rect(x: f64, y: f64, width: f64, height: f64) -> Option<Rect> {
    Some(Rect { x, y, width, height })
}

/// A finding to fill in.
pub(crate) fn finding(rule: &'static str, severity: Severity, category: Category) -> Finding {
    Finding {
        rule: rule.into(),
        severity,
        category,
        viewport: Screen::Desktop,
        title: "A flaw".into(),
        selector: "body".into(),
        rect: None,
        evidence: Evidence { statement: "something was seen".into(), count: 1, ..Evidence::default() },
        why: "It costs customers.".into(),
        recommendation: "Mend it.".into(),
        impact: 5,
        confidence: 8,
        effort: 2,
        priority: 20,
        sources: Vec::new(),
        fingerprint: format!(
            "{:016x}",
            rule.bytes().fold(7_u64, |hash, byte| hash.wrapping_mul(31) + u64::from(byte))
        ),
    }
}

fn measured(
    name: &'static str,
    value: f64,
    bound: Bound,
    threshold: f64,
    unit: &'static str,
) -> Option<Measured> {
    Some(Measured { name: name.into(), value, threshold, bound, unit: unit.into() })
}

fn wcag(title: &'static str, page: &str) -> Source {
    Source { title: title.into(), url: format!("https://www.w3.org/WAI/WCAG22/Understanding/{page}").into() }
}

/// The finding on each of the screens.
fn on(finding: &Finding, places: &[(Screen, Option<Rect>)]) -> Vec<Finding> {
    places
        .iter()
        .map(|(viewport, rect)| Finding { viewport: *viewport, rect: *rect, ..finding.clone() })
        .collect()
}

/// An analysis of a page of that title without findings.
pub(crate) fn analysis(title: &str, url: &str) -> Analysis {
    let rule = |id: &'static str, category| CheckedRule { id: id.into(), category };
    Analysis {
        id: "01932c5e-7f00-7c3a-8d21-5b1f0e2a9c44".to_owned(),
        url: url.to_owned(),
        final_url: url.to_owned(),
        title: title.to_owned(),
        page_type: "product".to_owned(),
        generated_at: "2026-11-20T16:30:00Z".parse().expect("a timestamp"),
        duration_ms: 1340,
        environment: Environment {
            paddock: "0.1.0".to_owned(),
            engine: "HeadlessChrome/156.0.7204.49".to_owned(),
            screens: vec![
                ScreenSize { screen: Screen::Desktop, width: 1440, height: 900, scale: 1.0 },
                ScreenSize { screen: Screen::Mobile, width: 390, height: 844, scale: 2.0 },
            ],
        },
        findings: Vec::new(),
        vitals: vec![
            Vitals {
                screen: Screen::Desktop,
                lcp_ms: Some(1240.0),
                cls: Some(0.021),
                fcp_ms: Some(310.4),
                ttfb_ms: Some(12.0),
                tbt_ms: Some(0.0),
                inp_ms: Some(24.0),
                bytes: Some(182_400),
                requests: Some(7),
            },
            Vitals {
                screen: Screen::Mobile,
                lcp_ms: Some(2810.0),
                cls: Some(0.31),
                fcp_ms: Some(420.0),
                ttfb_ms: Some(14.0),
                tbt_ms: Some(260.0),
                inp_ms: None,
                bytes: Some(1_182_400),
                requests: Some(7),
            },
        ],
        rules: vec![
            rule("headline.generic", Category::Headline),
            rule("headline.missing_h1", Category::Headline),
            rule("cta.disabled", Category::Cta),
            rule("cta.vague_label", Category::Cta),
            rule("cta.none_above_fold", Category::Cta),
            rule("cta.too_small", Category::Cta),
            rule("form.unlabelled", Category::Form),
            rule("trust.no_reviews", Category::Trust),
            rule("trust.no_guarantee", Category::Trust),
            rule("trust.no_privacy_or_contact", Category::Trust),
            rule("price.missing", Category::Price),
            rule("shipping.missing", Category::Price),
            rule("returns.missing", Category::Price),
            rule("gallery.single_image", Category::Price),
            rule("contrast.low", Category::Contrast),
            rule("text.too_small", Category::Contrast),
            rule("nav.too_many_links", Category::Navigation),
            rule("mobile.tap_target_small", Category::Mobile),
            rule("mobile.horizontal_scroll", Category::Mobile),
            rule("perf.lcp", Category::Performance),
            rule("perf.cls", Category::Performance),
            rule("seo.weak_title", Category::Seo),
            rule("schema.no_product", Category::Seo),
            rule("copy.hard_to_read", Category::Content),
        ],
        not_checked: vec![
            NotChecked {
                what: "pop-ups that appear later than five seconds".into(),
                why: "the page was looked at for five seconds after it had loaded".into(),
            },
            NotChecked {
                what: "checkout".into(),
                why: "only the one page was opened; nothing was put into the cart".into(),
            },
        ],
    }
}

/// A product page with many flaws, where they are on the real page.
pub(crate) fn mug_shop() -> Analysis {
    use Category::{Contrast, Cta, Form, Headline, Mobile, Price, Seo, Trust};
    use Screen::{Desktop, Mobile as Phone};
    use Severity::{High, Low, Medium};

    let button = [(Desktop, rect(180.0, 1243.6, 53.4, 22.0)), (Phone, rect(24.0, 738.4, 53.4, 22.0))];
    let nowhere = [(Desktop, None), (Phone, None)];
    let mut findings = Vec::new();

    let mut it = finding("cta.disabled", High, Cta);
    it.title = "The buy button cannot be pressed".into();
    it.selector = "#atc".into();
    it.evidence.statement = "The button \"Submit\" is disabled when the page has loaded.".into();
    it.evidence.snippet =
        "<button id=\"atc\" disabled style=\"background:#eee;color:#aaa\">Submit</button>".into();
    it.why = "A visitor who has decided to buy meets a dead end, and nothing says what is missing.".into();
    it.recommendation =
        "Keep the button enabled. When an option is still to be chosen, say so beside it after the press: \"Choose a colour first\"."
            .into();
    (it.impact, it.confidence, it.effort, it.priority) = (10, 9, 2, 90);
    findings.extend(on(&it, &button));

    let mut it = finding("cta.vague_label", High, Cta);
    it.title = "The main button does not say what it does".into();
    it.selector = "#atc".into();
    it.evidence.statement = "The label reads \"Submit\".".into();
    it.why =
        "People press a button when they know what happens next. \"Submit\" names the form, not the outcome."
            .into();
    it.recommendation = "Name the outcome: \"Add to cart\", or \"Add to cart, $24\".".into();
    (it.impact, it.confidence, it.effort, it.priority) = (7, 9, 1, 88);
    it.sources = vec![Source {
        title: "Google, Retail UX Playbook: descriptive calls to action".into(),
        url: "https://services.google.com/fh/files/events/pdf_retail_ux_playbook.pdf".into(),
    }];
    findings.extend(on(&it, &button));

    let mut it = finding("price.missing", High, Price);
    it.title = "The price is not on the page".into();
    it.selector = "#price".into();
    it.evidence.statement = "The only text about the price reads \"Price shown in cart\".".into();
    it.why = "Without a price most visitors do not begin; they compare elsewhere.".into();
    it.recommendation =
        "Show the price beside the product's name, with tax and shipping said in the same place.".into();
    (it.impact, it.confidence, it.effort, it.priority) = (9, 9, 3, 76);
    findings.extend(on(
        &it,
        &[(Desktop, rect(180.0, 1977.6, 1080.0, 18.0)), (Phone, rect(24.0, 1472.4, 342.0, 18.0))],
    ));

    let mut it = finding("contrast.low", High, Contrast);
    it.title = "Text can hardly be told from its background".into();
    it.selector = "#atc".into();
    it.evidence.statement = "Grey #aaaaaa on #eeeeee.".into();
    it.evidence.measured = measured("contrast ratio", 2.0, Bound::AtLeast, 4.5, ":1");
    it.evidence.count = 3;
    it.why = "On a phone in daylight, and for one in twelve men, such text disappears.".into();
    it.recommendation = "Darken the label to at least #6b6b6b on this background, or give the button a strong colour of its own with white text.".into();
    (it.impact, it.confidence, it.effort, it.priority) = (7, 10, 1, 72);
    it.sources = vec![wcag("WCAG 2.2, 1.4.3 Contrast (Minimum)", "contrast-minimum")];
    findings.extend(on(&it, &button));

    let mut it = finding("headline.generic", High, Headline);
    it.title = "The headline is an article number".into();
    it.selector = "main > h1".into();
    it.evidence.statement = "The heading reads \"MUG-350-GRN-02\".".into();
    it.why =
        "The headline is what is read most. An article number says nothing about the product or its benefit."
            .into();
    it.recommendation =
        "Lead with what it is and why it is good: \"Green steel mug that keeps coffee hot for 6 hours\"."
            .into();
    (it.impact, it.confidence, it.effort, it.priority) = (8, 9, 1, 70);
    findings.extend(on(
        &it,
        &[(Desktop, rect(180.0, 57.0, 1080.0, 50.6)), (Phone, rect(24.0, 49.0, 342.0, 36.8))],
    ));

    let mut it = finding("cta.none_above_fold", High, Cta);
    it.title = "No call to action in the first screen".into();
    it.selector = "body".into();
    it.evidence.statement = "The first button starts far below the first screen.".into();
    it.evidence.above_fold = Some(false);
    it.evidence.measured = measured("distance from the top", 1244.0, Bound::AtMost, 900.0, "px");
    it.why = "57 % of the viewing time is spent above the fold.".into();
    it.recommendation = "Place image and buy box side by side on wide screens.".into();
    (it.impact, it.confidence, it.effort, it.priority) = (8, 9, 5, 52);
    it.sources = vec![Source {
        title: "Nielsen Norman Group, Scrolling and Attention (2018)".into(),
        url: "https://www.nngroup.com/articles/scrolling-and-attention/".into(),
    }];
    findings.extend(on(&it, &[(Desktop, rect(0.0, 0.0, 1440.0, 2123.6))]));

    let mut it = finding("form.unlabelled", Medium, Form);
    it.title = "Choices without a label".into();
    it.selector = "main > form > select:nth-of-type(1)".into();
    it.evidence.statement = "Three selects read only \"Choose\".".into();
    it.evidence.count = 3;
    it.why =
        "Nobody can tell colour from size without opening each list, and screen readers cannot tell at all."
            .into();
    it.recommendation = "Put a visible label over each: \"Colour\", \"Size\", \"Lid\".".into();
    (it.impact, it.confidence, it.effort, it.priority) = (6, 10, 1, 50);
    it.sources = vec![wcag("WCAG 2.2, 3.3.2 Labels or Instructions", "labels-or-instructions")];
    findings.extend(on(
        &it,
        &[(Desktop, rect(180.0, 1106.6, 1080.0, 45.0)), (Phone, rect(24.0, 601.4, 342.0, 45.0))],
    ));

    let mut it = finding("trust.no_reviews", Medium, Trust);
    it.title = "No reviews".into();
    it.selector = "main".into();
    it.evidence.statement = "Neither a rating, nor a review, nor rating data was found.".into();
    it.why = "Buyers look for other buyers before they trust a shop that they do not know.".into();
    it.recommendation =
        "Show the average rating with the number of reviews near the price, linked to the reviews.".into();
    (it.impact, it.confidence, it.effort, it.priority) = (7, 8, 5, 40);
    findings.extend(on(&it, &nowhere));

    let mut it = finding("shipping.missing", Medium, Price);
    it.title = "Nothing about shipping".into();
    it.selector = "main".into();
    it.evidence.statement = "No text mentions delivery, its cost or its time.".into();
    it.why = "Unexpected costs are the most frequent reason to leave a cart.".into();
    it.recommendation =
        "Say cost and time of delivery directly under the buy button: \"Free delivery in 2 to 3 days\"."
            .into();
    (it.impact, it.confidence, it.effort, it.priority) = (7, 8, 2, 39);
    findings.extend(on(&it, &nowhere));

    let mut it = finding("mobile.tap_target_small", Medium, Mobile);
    it.title = "The button is too small for a thumb".into();
    it.selector = "#atc".into();
    it.evidence.statement = "The button is 53 × 22 px.".into();
    it.evidence.measured = measured("height", 22.0, Bound::AtLeast, 24.0, "px");
    it.evidence.above_fold = Some(true);
    it.why = "A target that is missed twice is not tried a third time.".into();
    it.recommendation = "Make it as wide as the screen allows and at least 48 px high.".into();
    (it.impact, it.confidence, it.effort, it.priority) = (6, 10, 1, 36);
    it.sources = vec![wcag("WCAG 2.2, 2.5.8 Target Size (Minimum)", "target-size-minimum")];
    findings.extend(on(&it, &button[1..]));

    let mut it = finding("perf.cls", Medium, Category::Performance);
    it.title = "The page jumps while it loads".into();
    it.evidence.statement = "The image pushes the text down when it arrives.".into();
    it.evidence.measured = measured("cumulative layout shift", 0.31, Bound::AtMost, 0.1, "");
    it.selector = "main > img".into();
    it.why = "People press the wrong thing, or lose the line they were reading.".into();
    it.recommendation = "Reserve the image's space with its width and height.".into();
    (it.impact, it.confidence, it.effort, it.priority) = (5, 9, 2, 30);
    findings.extend(on(&it, &[(Phone, rect(24.0, 97.8, 342.0, 320.6))]));

    let mut it = finding("copy.hard_to_read", Low, Category::Content);
    it.title = "The description is a data sheet".into();
    it.selector = "main > p:nth-of-type(1)".into();
    it.evidence.statement = "One paragraph of eight measurements and codes.".into();
    it.evidence.snippet = "Material: stainless steel 18/8. Capacity: 350 ml. Dimensions: 82 x 82 x 90 mm. Finish: powder coat RAL 6005.".into();
    it.evidence.measured = measured("reading grade", 14.2, Bound::AtMost, 10.0, "");
    it.why = "Visitors look for what it does for them.".into();
    it.recommendation =
        "Say three benefits in plain words, and move the measurements into a table below.".into();
    (it.impact, it.confidence, it.effort, it.priority) = (4, 7, 3, 18);
    findings.extend(on(
        &it,
        &[(Desktop, rect(180.0, 1026.0, 1080.0, 48.0)), (Phone, rect(24.0, 434.0, 342.0, 144.0))],
    ));

    let mut it = finding("seo.weak_title", Low, Seo);
    it.title = "The page's title is one word".into();
    it.selector = "head > title".into();
    it.evidence.statement = "The title reads \"Product\".".into();
    it.evidence.measured = measured("length", 7.0, Bound::AtLeast, 20.0, "characters");
    it.why = "It is the headline of the search result.".into();
    it.recommendation =
        "Name product, benefit and shop: \"Green steel mug, 350 ml, keeps hot 6 h | MugShop\".".into();
    (it.impact, it.confidence, it.effort, it.priority) = (4, 9, 1, 16);
    findings.extend(on(&it, &DESKTOP_ONLY));

    Analysis { findings, ..analysis("Product", "https://mugshop.example/p/mug-350-grn-02?ref=spring") }
}

/// As many flaws as asked for, over the whole page and all categories.
pub(crate) fn many(flaws: u32) -> Analysis {
    const CATEGORIES: [Category; 6] =
        [Category::Cta, Category::Form, Category::Trust, Category::Contrast, Category::Mobile, Category::Seo];
    const RULES: [&str; 5] =
        ["cta.too_small", "form.unlabelled", "contrast.low", "text.too_small", "seo.weak_title"];
    let findings = (0..flaws).map(|index| {
        let severity = [Severity::High, Severity::Medium, Severity::Low][index as usize % 3];
        let mut it = finding("contrast.low", severity, CATEGORIES[index as usize % CATEGORIES.len()]);
        it.rule = RULES[index as usize / 4 % RULES.len()].into();
        it.title = format!("Flaw {index} of many on this page").into();
        it.selector = format!("main > section:nth-of-type({index}) > div.card > p.text-muted > a.btn");
        it.fingerprint = format!("{index:016x}");
        it.priority = (100 - index % 100) as u8;
        it.viewport = if index % 2 == 0 { Screen::Desktop } else { Screen::Mobile };
        it.rect = rect(f64::from(index % 7) * 50.0, f64::from(index) * 40.0, 160.0, 30.0);
        it.evidence.measured =
            measured("contrast ratio", 1.1 + f64::from(index % 30) / 10.0, Bound::AtLeast, 4.5, ":1");
        it
    });
    Analysis { findings: findings.collect(), ..analysis("A page with many flaws", "https://example.com/") }
}

/// Every text is an attempt to break out of the report.
pub(crate) fn hostile(text: &str) -> Analysis {
    let mut it = finding("cta.vague_label", Severity::High, Category::Cta);
    it.title = text.to_owned().into();
    it.selector = text.into();
    it.evidence.statement = text.into();
    it.evidence.snippet = text.into();
    it.evidence.measured = Some(Measured {
        name: text.to_owned().into(),
        value: 1.0,
        threshold: 2.0,
        bound: Bound::AtLeast,
        unit: text.to_owned().into(),
    });
    it.why = text.to_owned().into();
    it.recommendation = text.to_owned().into();
    it.sources = vec![Source { title: text.to_owned().into(), url: text.to_owned().into() }];
    it.rect = rect(10.0, 10.0, 50.0, 20.0);
    it.fingerprint = text.into();
    let mut analysis = analysis(text, text);
    analysis.final_url = format!("javascript:{text}");
    analysis.page_type = text.into();
    analysis.id = text.into();
    analysis.environment.engine = text.into();
    analysis.not_checked = vec![NotChecked { what: text.to_owned().into(), why: text.to_owned().into() }];
    analysis.findings = vec![it];
    analysis
}
