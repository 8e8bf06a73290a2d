//! The HTML form: complete, self-contained and inert.

use std::collections::HashSet;

use paddock_analysis::report::{Images, Report, html};
use proptest::prelude::*;

use crate::{
    pictures::illustrated,
    sample,
    structure::{Tag, tags},
};

const HOSTILE: [&str; 8] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "' onmouseover='alert(1)",
    "</style></title></pre></code><h1>",
    "javascript:alert(1)",
    "https://example.com/\"onclick=\"alert(1)",
    "{{ 7 * 7 }} {% raw %} ${x} <!-- -->",
    "\u{202e}\u{0} \u{1f4a9} &amp; &lt; ]]>",
];

fn of<'a>(tags: &'a [Tag<'a>], name: &str) -> Vec<&'a Tag<'a>> {
    tags.iter().filter(|tag| tag.name == name).collect()
}

/// Nothing in the document may run, load or lead anywhere but to the web and to itself.
fn assert_inert(html: &str) -> Result<(), String> {
    let tags = tags(html)?;
    for tag in &tags {
        if matches!(tag.name, "script" | "iframe" | "object" | "embed" | "link" | "base") {
            return Err(format!("a `{}`", tag.name));
        }
        for (key, value) in &tag.attributes {
            let fine = match *key {
                "href" => ["#", "https://", "http://"].iter().any(|prefix| value.starts_with(prefix)),
                "src" => value.starts_with("data:image/"),
                "style" => !value.contains("url("),
                key => !key.starts_with("on"),
            };
            if !fine {
                return Err(format!("{key}={value} in `{}`", tag.name));
            }
        }
    }
    Ok(())
}

#[test]
fn every_flaw_is_shown_once_with_its_number() {
    let (report, images) = illustrated(sample::mug_shop());
    let html = html::render(&report, &images).unwrap();
    let tags = tags(&html).unwrap();
    let articles: Vec<_> = of(&tags, "article").iter().filter_map(|tag| tag.attribute("id")).collect();
    let expected: Vec<_> = (1..=report.summary.flaws).map(|number| format!("finding-{number}")).collect();
    assert_eq!(articles, expected);
    assert!(html.contains("Desktop and mobile"), "a flaw of both screens is one entry");
}

#[test]
fn links_within_the_report_lead_somewhere() {
    let (report, images) = illustrated(sample::mug_shop());
    let html = html::render(&report, &images).unwrap();
    let tags = tags(&html).unwrap();
    let ids: Vec<_> = tags.iter().filter_map(|tag| tag.attribute("id")).collect();
    let unique: HashSet<_> = ids.iter().collect();
    assert_eq!(ids.len(), unique.len(), "ids are unique");
    let references = ["for", "aria-labelledby"];
    for tag in &tags {
        let link = tag.attribute("href").and_then(|href| href.strip_prefix('#'));
        for id in references.iter().filter_map(|key| tag.attribute(key)).chain(link) {
            assert!(unique.contains(&id), "`{id}` is nowhere");
        }
    }
}

#[test]
fn the_report_loads_nothing_and_runs_nothing() {
    for analysis in [sample::mug_shop(), sample::many(40), sample::analysis("Good", "https://example.com/")] {
        let (report, images) = illustrated(analysis);
        let html = html::render(&report, &images).unwrap();
        assert_inert(&html).unwrap();
        let style = &html[html.find("<style>").unwrap()..html.find("</style>").unwrap()];
        assert!(!style.contains("url(") && !style.contains("@import"), "styles load nothing");
    }
}

#[test]
fn hostile_text_stays_text() {
    for text in HOSTILE {
        let (report, images) = illustrated(sample::hostile(text));
        let html = html::render(&report, &images).unwrap();
        assert_inert(&html).unwrap_or_else(|error| panic!("{text}: {error}"));
        let unmarked = tags(&html).unwrap();
        assert!(of(&unmarked, "h1").len() == 1, "{text}");
        if text.contains('<') {
            assert!(!html.contains(text), "{text}");
        }
    }
}

#[test]
fn every_picture_says_what_it_shows() {
    let (report, images) = illustrated(sample::mug_shop());
    let html = html::render(&report, &images).unwrap();
    let tags = tags(&html).unwrap();
    let pictures = of(&tags, "img");
    let crops = report.findings.iter().filter(|finding| finding.crop.is_some()).count();
    assert_eq!(pictures.len(), crops + 2, "a crop per finding and an overview per screen");
    for picture in pictures {
        assert!(picture.attribute("alt").is_some_and(|alt| alt.len() > 10));
        assert!(picture.attribute("width").is_some() && picture.attribute("height").is_some());
    }
}

#[test]
fn headings_descend_one_level_at_a_time() {
    let (report, images) = illustrated(sample::mug_shop());
    let html = html::render(&report, &images).unwrap();
    let mut last = 0;
    for tag in tags(&html).unwrap() {
        if let Some(level) = tag.name.strip_prefix('h').and_then(|level| level.parse::<u8>().ok()) {
            assert!(level <= last + 1, "h{level} after h{last}");
            last = level;
        }
    }
}

#[test]
fn a_page_without_flaws_says_so_and_offers_no_filter() {
    let report = Report::new(sample::analysis("Good", "https://example.com/"));
    let html = html::render(&report, &Images::default()).unwrap();
    assert!(html.contains("Nothing found") && html.contains("Not checked"));
    assert!(of(&tags(&html).unwrap(), "form").is_empty());
}

#[test]
fn a_report_with_a_hundred_findings_stays_small_enough_to_send() {
    let (report, images) = illustrated(sample::many(100));
    let html = html::render(&report, &images).unwrap();
    assert!(html.len() < 3 << 20, "{} bytes", html.len());
    assert_eq!(of(&tags(&html).unwrap(), "article").len(), 100);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn any_text_stays_text(text in "\\PC{0,60}|[<>&\"'/a-z =:]{0,40}") {
        let report = Report::new(sample::hostile(&text));
        let html = html::render(&report, &Images::default()).unwrap();
        prop_assert_eq!(assert_inert(&html), Ok(()));
    }
}
