//! The scripts that measure, put together from their parts.

use std::sync::LazyLock;

use serde_json::json;

use crate::Screen;

/// Observers of web vitals: given to a tab before navigation, for the isolated world.
pub const VITALS: &str = include_str!("../../js/vitals.js");

/// What a script without readable timers is allowed, in milliseconds since navigation start.
const OBSERVE_UNKNOWN_MS: u32 = 2500;
/// No page is observed longer than this for its timers' sake.
const OBSERVE_MAX_MS: u32 = 6000;

const PARTS: &str = concat!(
    include_str!("../../js/facts/dom.js"),
    include_str!("../../js/facts/paint.js"),
    include_str!("../../js/facts/locate.js"),
    include_str!("../../js/facts/text.js"),
    include_str!("../../js/facts/actions.js"),
    include_str!("../../js/facts/forms.js"),
    include_str!("../../js/facts/layers.js"),
    include_str!("../../js/facts/media.js"),
    include_str!("../../js/facts/page.js"),
    include_str!("../../js/facts/vitals.js"),
    include_str!("../../js/facts.js"),
);

static DESKTOP: LazyLock<String> = LazyLock::new(|| assemble(Screen::Desktop));
static MOBILE: LazyLock<String> = LazyLock::new(|| assemble(Screen::Mobile));

fn assemble(screen: Screen) -> String {
    let options = match screen {
        Screen::Desktop => json!({ "screen": "desktop", "width": 1440, "height": 900, "touch": false }),
        Screen::Mobile => json!({ "screen": "mobile", "width": 390, "height": 844, "touch": true }),
    };
    format!("(() => {{\n\"use strict\";\n{PARTS}\nreturn collect({options});\n}})()")
}

/// The expression whose value is a screen's [`super::Facts`]; evaluate `accessibility.js` before it, in the same world.
pub fn facts_script(screen: Screen) -> &'static str {
    match screen {
        Screen::Desktop => &DESKTOP,
        Screen::Mobile => &MOBILE,
    }
}

/// The script for a tab's `scripts`, see [`VITALS`].
pub fn vitals_script() -> &'static str {
    VITALS
}

/// The expression whose value is until when, in milliseconds since navigation start, a settled page should still be
/// observed: 0 for one without scripts, later for one whose timers are yet to run. What comes late is then seen on
/// every run and not only on slow ones.
pub fn observe_until_script() -> String {
    format!(
        "globalThis.paddockVitals ? Math.max(0, paddockVitals.observeUntil({OBSERVE_UNKNOWN_MS}, {OBSERVE_MAX_MS}) - performance.now()) : 0"
    )
}
