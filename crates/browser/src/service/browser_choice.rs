//! Which browser a request wants: Pinchtab's clients can name one, and every instance here has the same.

use http::StatusCode;
use paddock_platform::problem::{Problem, ProblemKind};

/// A browser that there is elsewhere and not here.
const BROWSER_CONFLICT: ProblemKind =
    ProblemKind::new("browser-conflict", StatusCode::CONFLICT, "Another browser");

/// Names of the browser that there is.
const OURS: [&str; 4] = ["", "chrome", "chromium", "headless-shell"];
/// Names of browsers that Pinchtab has and this server has not.
const PINCHTABS: [&str; 3] = ["cloak", "ghost-chrome", "edge"];

/// Refuses to be another browser than the one that there is.
pub(super) fn check_browser(name: Option<&str>) -> Result<(), Problem> {
    match name.map(str::trim).unwrap_or_default() {
        name if OURS.contains(&name) => Ok(()),
        name if PINCHTABS.contains(&name) => {
            let detail = format!("the browsers of this server are `chrome`; `{name}` is not one of them");
            Err(Problem::new(BROWSER_CONFLICT, detail).with("field", "browser"))
        }
        name => Err(Problem::invalid_field(
            "browser",
            format!("`{}` is no browser; there is `chrome`", name.escape_default()),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_browser_that_there_is_can_be_named() {
        for ours in [None, Some(""), Some("chrome"), Some(" chromium ")] {
            assert!(check_browser(ours).is_ok(), "{ours:?}");
        }
        assert_eq!(check_browser(Some("ghost-chrome")).unwrap_err().kind.status, StatusCode::CONFLICT);
        assert_eq!(check_browser(Some("lynx")).unwrap_err().kind.status, StatusCode::BAD_REQUEST);
    }
}
