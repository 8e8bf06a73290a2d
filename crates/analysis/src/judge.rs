//! From captures to a report: apply the rules, score, illustrate. Computation only.

use std::time::Instant;

use jiff::Timestamp;
use url::Url;
use uuid::Uuid;

use crate::{
    AnalysisRequest, Finding, Finished, Screen, Target,
    capture::Capture,
    facts::{Facts, Timing},
    page_type::{PageType, classify},
    report::{
        self, Analysis, CheckedRule, Environment, IllustrateOptions, NotChecked, Report, ScreenSize, Vitals,
    },
    rules,
};

/// Tasks over this block the main thread (Total Blocking Time, web.dev/tbt).
const BLOCKING_MS: f64 = 50.0;

/// What does not depend on the captures.
#[derive(Debug)]
pub(crate) struct Subject {
    target: String,
    engine: String,
    started: Instant,
}

impl Subject {
    pub(crate) fn new(request: &AnalysisRequest, engine: String, started: Instant) -> Self {
        let target = match &request.target {
            Target::Url(url) => without_credentials(url),
            Target::File(path) => {
                Url::from_file_path(path).map_or_else(|()| path.display().to_string(), Url::into)
            }
        };
        Self { target, engine, started }
    }
}

/// A report is handed on; the password of a staging server is not.
fn without_credentials(url: &Url) -> String {
    let mut url = url.clone();
    // An address that cannot have credentials has none.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.into()
}

/// Makes the report of a page out of what its screens showed.
pub(crate) fn judge(subject: Subject, captures: Vec<Capture>) -> Finished {
    let (page_type, findings) = apply_rules(&captures);
    let first = captures.first();
    let mut report = Report::new(Analysis {
        id: Uuid::now_v7().simple().to_string(),
        url: subject.target,
        final_url: first.map(|capture| without_credentials(&capture.navigation.url)).unwrap_or_default(),
        title: first.map(|capture| capture.navigation.title.clone()).unwrap_or_default(),
        page_type: page_type.name().to_owned(),
        generated_at: Timestamp::now(),
        duration_ms: 0,
        environment: environment(subject.engine, &captures),
        findings,
        vitals: captures.iter().map(vitals).collect(),
        rules: captures
            .iter()
            .flat_map(|capture| rules::applied(&capture.facts, page_type))
            .map(|rule| CheckedRule { id: rule.id.into(), category: rule.category })
            .collect(),
        not_checked: captures
            .iter()
            .flat_map(not_checked)
            .chain(never_looked_at(&captures))
            .chain(never_checked())
            .collect(),
    });
    let shots: Vec<report::Screenshot> =
        captures.into_iter().filter_map(|capture| capture.shot.ok()).collect();
    let images = report::illustrate(&mut report, &shots, &IllustrateOptions::default());
    report.duration_ms = u64::try_from(subject.started.elapsed().as_millis()).unwrap_or(u64::MAX);
    Finished { report, images }
}

fn apply_rules(captures: &[Capture]) -> (PageType, Vec<Finding>) {
    let on = |screen| captures.iter().find(|capture| capture.screen == screen).map(|capture| &capture.facts);
    match (on(Screen::Desktop), on(Screen::Mobile)) {
        (Some(desktop), Some(mobile)) => {
            (rules::page_type(desktop, mobile), rules::evaluate(desktop, mobile))
        }
        (Some(one), None) | (None, Some(one)) => (classify(one), rules::evaluate_one(one)),
        (None, None) => (classify(&Facts::default()), Vec::new()),
    }
}

fn environment(engine: String, captures: &[Capture]) -> Environment {
    let size = |capture: &Capture| ScreenSize {
        screen: capture.screen,
        width: capture.emulation.width,
        height: capture.emulation.height,
        scale: capture.emulation.scale,
    };
    Environment {
        paddock: env!("CARGO_PKG_VERSION").to_owned(),
        engine,
        screens: captures.iter().map(size).collect(),
    }
}

fn vitals(capture: &Capture) -> Vitals {
    let timing = &capture.facts.timing;
    Vitals {
        screen: capture.screen,
        lcp_ms: timing.lcp.as_ref().map(|lcp| lcp.time_ms),
        cls: timing.observed.then(|| rules::cumulative_layout_shift(timing)),
        fcp_ms: timing.fcp_ms,
        ttfb_ms: timing.ttfb_ms,
        tbt_ms: timing.observed.then(|| blocking_ms(timing)),
        inp_ms: timing.interactions.iter().map(|it| it.duration_ms).max_by(f64::total_cmp),
        bytes: Some(capture.navigation.bytes),
        requests: Some(capture.navigation.requests),
    }
}

/// Main-thread time beyond 50 ms per task, between first paint and the end of observation.
fn blocking_ms(timing: &Timing) -> f64 {
    let since = timing.fcp_ms.unwrap_or_default();
    let late = timing.long_tasks.iter().filter(|task| task.start_ms + task.duration_ms > since);
    late.map(|task| (task.duration_ms - BLOCKING_MS).max(0.0)).sum()
}

fn not_checked(capture: &Capture) -> Vec<NotChecked> {
    let Capture { screen, navigation, facts, shot, probe_error, .. } = capture;
    let mut list = Vec::new();
    let mut add = |what: String, why: &str| {
        list.push(NotChecked { what: what.into(), why: why.to_owned().into() });
    };
    if !navigation.settled {
        let why = "the page did not finish loading or did not settle in time; it was looked at as it was";
        add(format!("what the {screen} page shows later"), why);
    }
    if facts.truncated {
        add(format!("the end of the {screen} page"), "it has more elements than are read");
    }
    if !facts.timing.observed {
        add(format!("the speed of the {screen} page"), "it could not be observed from the start");
    }
    if facts.timing.interactions.is_empty() {
        let why = match probe_error {
            Some(error) => error,
            None => "nothing on it could be pressed without leaving it or sending something",
        };
        add(format!("how quickly the {screen} page answers input"), why);
    }
    if let Err(why) = shot {
        add(format!("pictures of the {screen} page"), why);
    }
    list
}

/// What this analysis had no look at, or cannot read.
fn never_looked_at(captures: &[Capture]) -> Vec<NotChecked> {
    let mut list = Vec::new();
    for (screen, what) in [(Screen::Mobile, "a phone"), (Screen::Desktop, "a desktop")] {
        if captures.iter().all(|capture| capture.screen != screen) {
            let why = "it was not among the screens that were asked for";
            list.push(NotChecked { what: format!("the page on {what}").into(), why: why.into() });
        }
    }
    if let Some(capture) = captures.iter().find(|capture| !rules::is_english(&capture.facts)) {
        let lang = &capture.facts.page.lang;
        let why = format!("rules about wording read English, and the page says it is in `{lang}`");
        list.push(NotChecked { what: "what the text says and leaves out".into(), why: why.into() });
    }
    list
}

/// What no report of this kind says anything about.
fn never_checked() -> Vec<NotChecked> {
    [
        ("whether the offer is right", "rules see how a page presents an offer, not whether people want it"),
        ("steps after this page", "one page was looked at: no cart, no checkout, no form was sent"),
        ("content of frames from other sites", "they are drawn in the pictures and not read"),
        ("speed for real visitors", "loading was measured once, here, over this connection"),
    ]
    .into_iter()
    .map(|(what, why)| NotChecked { what: what.into(), why: why.into() })
    .collect()
}
