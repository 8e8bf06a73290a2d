//! What is wrong with a page's safety, by a few rules, from what was read anyway.

use serde::Serialize;
use url::Url;
use utoipa::ToSchema;

use super::RequestEntry;
use crate::survey::Form;

/// Parts of paths that no public site should answer.
const PRIVATE_PATHS: [&str; 6] = [".env", ".git", ".htaccess", ".htpasswd", "wp-config.php", "id_rsa"];

/// Something unsafe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecurityFinding {
    /// Which rule: `mixed-content`, `insecure-form-action`, `insecure-password-form`, `exposed-endpoint` or
    /// `directory-listing`.
    pub rule_id: &'static str,
    /// `low`, `medium` or `high`.
    pub severity: &'static str,
    /// What it is.
    pub detail: String,
    /// The page.
    pub url: String,
}

fn is_plain(url: &str) -> bool {
    url.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http://"))
}

fn private_path(url: &str) -> Option<&'static str> {
    let path = Url::parse(url).ok()?.path().to_ascii_lowercase();
    PRIVATE_PATHS.into_iter().find(|private| path.contains(private))
}

/// What the rules say of a page, rule by rule in the page's order.
pub(crate) fn security(
    url: &str,
    title: &str,
    requests: &[RequestEntry],
    forms: &[Form],
) -> Vec<SecurityFinding> {
    let is_secure = url.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"));
    let finding =
        |rule_id, severity, detail| SecurityFinding { rule_id, severity, detail, url: url.to_owned() };
    let mut found = Vec::new();
    for request in requests.iter().filter(|request| is_secure && is_plain(&request.url)) {
        let detail = format!("the page comes over https and loads {} without", request.url);
        found.push(finding("mixed-content", "high", detail));
    }
    for form in forms.iter().filter(|form| is_plain(&form.action)) {
        if form.password {
            let detail = format!("password form submits over plain http to {}", form.action);
            found.push(finding("insecure-password-form", "high", detail));
        } else if is_secure {
            let detail = format!("a form of a page over https sends without encryption to {}", form.action);
            found.push(finding("insecure-form-action", "medium", detail));
        }
    }
    let answered = requests.iter().filter(|request| request.status.is_some_and(|status| status < 400));
    for request in answered {
        if let Some(private) = private_path(&request.url) {
            let detail = format!("`{private}` is answered at {}", request.url);
            found.push(finding("exposed-endpoint", "medium", detail));
        }
    }
    if title.trim().starts_with("Index of /") {
        let detail = format!("the server lists a directory: {}", title.trim());
        found.push(finding("directory-listing", "low", detail));
    }
    found
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn request(url: &str, status: u16) -> RequestEntry {
        RequestEntry {
            url: url.to_owned(),
            method: "GET".to_owned(),
            status: Some(status),
            status_text: String::new(),
            resource_type: String::new(),
            mime_type: String::new(),
            start_time: Timestamp::UNIX_EPOCH,
            duration: None,
            size: 0,
            failed: false,
            error: String::new(),
        }
    }

    fn form(action: &str, password: bool) -> Form {
        Form { action: action.to_owned(), password }
    }

    fn rules(url: &str, title: &str, requests: &[RequestEntry], forms: &[Form]) -> Vec<&'static str> {
        security(url, title, requests, forms).into_iter().map(|finding| finding.rule_id).collect()
    }

    #[test]
    fn each_rule_finds_its_case() {
        let page = "https://shop.test/";
        assert_eq!(rules(page, "", &[request("http://cdn.test/x.js", 200)], &[]), ["mixed-content"]);
        assert_eq!(rules(page, "", &[], &[form("http://shop.test/q", false)]), ["insecure-form-action"]);
        assert_eq!(
            rules("http://shop.test/", "", &[], &[form("http://shop.test/login", true)]),
            ["insecure-password-form"]
        );
        assert_eq!(
            rules(page, "", &[request("https://shop.test/.git/HEAD", 200)], &[]),
            ["exposed-endpoint"]
        );
        assert_eq!(rules(page, "Index of /backup", &[], &[]), ["directory-listing"]);
    }

    #[test]
    fn what_is_safe_is_not_found() {
        let page = "https://shop.test/";
        let requests = [
            request("https://shop.test/a.js", 200),
            request("https://shop.test/.env", 404),
            request("https://shop.test/?next=.git", 200),
        ];
        let forms = [form("https://shop.test/login", true), form("mailto:a@shop.test", false)];
        assert!(rules(page, "Index", &requests, &forms).is_empty());
        assert!(rules("http://shop.test/", "", &[], &[form("http://shop.test/q", false)]).is_empty());
    }
}
