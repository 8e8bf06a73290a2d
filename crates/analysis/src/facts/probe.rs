//! The probe: how long the page takes to answer a press.
//!
//! It runs last, after the facts and the screenshots, because a press changes the page. A few actions are clicked with
//! real input events; a slow answer is tried twice, so that a busy machine is not taken for a slow page. From the first
//! press until the tab is closed no HTTP request leaves the page, no window opens and no socket sends: neither a
//! navigation nor an order can come of it.

use std::{cmp::Reverse, time::Duration};

use paddock_browser::{
    EvaluateError, Tab, World,
    cdp::{Command, Subscription, protocol::Empty},
};
use serde::{Deserialize, Serialize};

use super::{Action, ElementIndex, Facts, Interaction};

/// Actions that are clicked.
const CLICKS_MAX: usize = 4;
/// How many screens down actions are looked for.
const SCREENS_MAX: f64 = 3.0;
/// A press that is answered faster needs no second try.
const SLOW_MS: f64 = 200.0;
const PRESS_DEADLINE: Duration = Duration::from_secs(4);
const REQUESTS_MAX: usize = 256;

/// Keeps links and forms from their default action; the page's own handlers run.
const GUARD: &str = "(() => { for (const type of ['click', 'auxclick', 'submit']) \
    addEventListener(type, (event) => event.preventDefault()); })()";
/// Ways out of the page that are no HTTP requests of its tab. In the page's own world, where they are called.
const NO_WAY_OUT: &str = "(() => { for (const [owner, name, value] of [[globalThis, 'open', () => null], \
    [WebSocket.prototype, 'send', () => {}], [globalThis.RTCDataChannel?.prototype, 'send', () => {}]]) \
    if (owner) Object.defineProperty(owner, name, { value, writable: false, configurable: false }); })()";
/// Brings a height of the page into the middle of the screen; returns how far the page is scrolled, and the time.
const REACH: &str = "(() => { scrollTo({ top: MIDDLE - innerHeight / 2, behavior: 'instant' }); return [scrollY, performance.now()]; })()";
/// The slowest interaction since a moment, once it has been painted.
const ANSWER: &str = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(() => { \
    const events = globalThis.paddockVitals ? paddockVitals.state.events.filter((e) => e.time >= SINCE) : []; \
    const worst = events.reduce((a, b) => (b.duration > (a?.duration ?? 0) ? b : a), null); \
    done(worst && { duration_ms: worst.duration, processing_ms: Math.max(...events.map((e) => e.processing)) }); \
    }, 40))))";

/// Clicks and notes in the facts how long the page took to answer. A page without scripts, or with nothing safe to
/// click, is left alone. The tab is to be closed afterwards: its requests stay held. An error keeps what was measured.
pub async fn probe(tab: &Tab, facts: &mut Facts) -> Result<(), EvaluateError> {
    let targets: Vec<Candidate> = candidates(facts);
    if targets.is_empty() {
        return Ok(());
    }
    let session = tab.session();
    let mut requests = session.subscribe(&["Fetch.requestPaused"], REQUESTS_MAX);
    let fence = FenceUp { patterns: [Pattern { url_pattern: "*" }] };
    session.send(&fence).await.map_err(EvaluateError::Call)?;
    let clicks = async {
        tab.evaluate(GUARD, World::Isolated, PRESS_DEADLINE).await?;
        tab.evaluate(NO_WAY_OUT, World::Main, PRESS_DEADLINE).await?;
        for target in targets {
            if let Some(interaction) = press_twice(tab, &target).await? {
                facts.timing.interactions.push(interaction);
            }
        }
        Ok(())
    };
    tokio::select! {
        outcome = clicks => outcome,
        () = hold(tab, &mut requests) => Ok(()),
    }
}

/// Stops every request, until the tab is gone.
async fn hold(tab: &Tab, requests: &mut Subscription) {
    while let Some(event) = requests.next().await {
        let Ok(paused) = event.parse::<RequestPaused>() else { continue };
        let stop = Stop { request_id: paused.request_id, error_reason: "Aborted" };
        if let Err(error) = tab.session().send(&stop).await {
            tracing::debug!(error = %error, "a held request was not answered");
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Candidate {
    element: Option<ElementIndex>,
    x: f64,
    y: f64,
}

/// What may be pressed: what looks most like a button first, what sends a form last.
fn candidates(facts: &Facts) -> Vec<Candidate> {
    if facts.page.scripts == 0 || !facts.timing.observed {
        return Vec::new();
    }
    let reach = facts.viewport.fold * SCREENS_MAX;
    let mut pressable: Vec<&Action> =
        facts.actions.iter().filter(|a| is_pressable(a) && a.rect.y < reach).collect();
    let sends = |a: &Action| a.form >= 0 && matches!(a.kind.as_str(), "submit" | "image");
    pressable.sort_by_key(|a| (sends(a), !a.href.is_empty(), Reverse(a.look), a.toggles));
    pressable
        .into_iter()
        .take(CLICKS_MAX)
        .map(|a| Candidate {
            element: a.element,
            x: a.rect.x + a.rect.width / 2.0,
            y: a.rect.y + a.rect.height / 2.0,
        })
        .collect()
}

fn is_pressable(action: &Action) -> bool {
    let elsewhere = ["mailto:", "tel:", "sms:", "blob:"].iter().any(|scheme| action.href.starts_with(scheme));
    action.rect.x >= 0.0 && action.covered < 0.2 && !action.disabled && !elsewhere && action.kind != "reset"
}

/// One press, and a second one if the first was slow; the better of both counts.
async fn press_twice(tab: &Tab, target: &Candidate) -> Result<Option<Interaction>, EvaluateError> {
    let Some(first) = press_within(tab, target).await? else { return Ok(None) };
    let best = if first.duration_ms < SLOW_MS {
        first
    } else {
        match press_within(tab, target).await? {
            Some(second) => Answer {
                duration_ms: first.duration_ms.min(second.duration_ms),
                processing_ms: first.processing_ms.min(second.processing_ms),
            },
            // Nothing to press any more: one try is no proof.
            None => return Ok(None),
        }
    };
    Ok(Some(Interaction {
        element: target.element,
        duration_ms: best.duration_ms,
        processing_ms: best.processing_ms,
    }))
}

/// A press that is not answered in time took at least that long.
async fn press_within(tab: &Tab, target: &Candidate) -> Result<Option<Answer>, EvaluateError> {
    let deadline_ms = PRESS_DEADLINE.as_secs_f64() * 1000.0;
    match press(tab, target).await {
        Err(EvaluateError::Timeout { .. }) => {
            Ok(Some(Answer { duration_ms: deadline_ms, processing_ms: deadline_ms }))
        }
        outcome => outcome,
    }
}

async fn press(tab: &Tab, target: &Candidate) -> Result<Option<Answer>, EvaluateError> {
    let reach = REACH.replace("MIDDLE", &target.y.to_string());
    let (scrolled, since): (f64, f64) = tab.evaluate_as(&reach, World::Isolated, PRESS_DEADLINE).await?;
    for kind in ["mouseMoved", "mousePressed", "mouseReleased"] {
        let down = kind != "mouseMoved";
        let event = MouseEvent {
            kind,
            x: target.x,
            y: target.y - scrolled,
            button: if down { "left" } else { "none" },
            click_count: u32::from(down),
        };
        tab.session().send_within(&event, PRESS_DEADLINE).await.map_err(EvaluateError::Call)?;
    }
    tab.evaluate_as(&ANSWER.replace("SINCE", &since.to_string()), World::Isolated, PRESS_DEADLINE).await
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct Answer {
    duration_ms: f64,
    processing_ms: f64,
}

#[derive(Serialize)]
struct FenceUp {
    patterns: [Pattern; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Pattern {
    url_pattern: &'static str,
}

impl Command for FenceUp {
    const METHOD: &'static str = "Fetch.enable";
    type Reply = Empty;
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Stop {
    request_id: String,
    error_reason: &'static str,
}

impl Command for Stop {
    const METHOD: &'static str = "Fetch.failRequest";
    type Reply = Empty;
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestPaused {
    request_id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MouseEvent {
    #[serde(rename = "type")]
    kind: &'static str,
    x: f64,
    y: f64,
    button: &'static str,
    click_count: u32,
}

impl Command for MouseEvent {
    const METHOD: &'static str = "Input.dispatchMouseEvent";
    type Reply = Empty;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Rect,
        facts::{Page, Timing, Viewport},
    };

    fn facts(actions: Vec<Action>) -> Facts {
        Facts {
            page: Page { scripts: 1, ..Page::default() },
            viewport: Viewport { width: 1440.0, height: 900.0, fold: 900.0, ..Viewport::default() },
            timing: Timing { observed: true, ..Timing::default() },
            actions,
            ..Facts::default()
        }
    }

    fn action(label: &str) -> Action {
        Action {
            label: label.into(),
            above_fold: true,
            rect: Rect { x: 10.0, y: 10.0, width: 100.0, height: 40.0 },
            form: -1,
            ..Action::default()
        }
    }

    #[test]
    fn what_cannot_be_pressed_or_leads_elsewhere_is_left_alone() {
        assert_eq!(candidates(&facts(vec![action("Find my cabin")])).len(), 1);
        let call = Action { href: "tel:+441170000000".into(), ..action("Call us") };
        let covered = Action { covered: 1.0, ..action("Find my cabin") };
        let disabled = Action { disabled: true, ..action("Find my cabin") };
        let reset = Action { kind: "reset".into(), ..action("Clear") };
        assert_eq!(candidates(&facts(vec![call, covered, disabled, reset])), []);
    }

    #[test]
    fn buttons_are_pressed_before_links_and_links_before_forms() {
        let link =
            Action { href: "/x".into(), rect: Rect { x: 1.0, ..Rect::default() }, ..action("Go there") };
        let submit = Action {
            form: 0,
            kind: "submit".into(),
            rect: Rect { x: 2.0, ..Rect::default() },
            ..action("Send")
        };
        let order: Vec<f64> =
            candidates(&facts(vec![submit, link, action("Open")])).iter().map(|c| c.x).collect();
        assert_eq!(order, [60.0, 1.0, 2.0]);
    }

    #[test]
    fn a_page_without_scripts_is_left_alone() {
        let still = Facts { page: Page::default(), ..facts(vec![action("Find my cabin")]) };
        assert_eq!(candidates(&still), []);
    }
}
