//! What goes in and out of pages beside their looks: requests, cookies, files, many pages at once.

use std::fmt::Write;

use paddock_platform::{problem::Problem, tool::Tool};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{target, tool, view::TextView};
use crate::{
    ids::{InstanceId, TabId},
    network::{Entry, Filter},
    service::{
        Batch, BatchItem, BatchRequest, BatchResult, BodyQuery, BrowserService, CookieQuery, NewCookie, Pdf,
        PdfQuery, READ, SetCookiesRequest, Target, UploadRequest, WRITE, WaitFor,
    },
};

/// Requests that a list shows: the last ones.
const REQUESTS_SHOWN_MAX: usize = 100;
/// Bytes of a body and of an address that a model is shown.
const BODY_SHOWN_MAX: usize = 20_000;
const ADDRESS_SHOWN_MAX: usize = 300;

#[derive(Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Network {
    /// Part of the address.
    filter: Option<String>,
    /// Only what failed.
    failed: bool,
    /// One request of the list, with its body.
    request_id: Option<String>,
    tab_id: Option<TabId>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Cookies {
    action: CookieAction,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    value: Option<String>,
    /// The page's if absent.
    #[serde(default)]
    url: Option<String>,
    #[serde(default)]
    tab_id: Option<TabId>,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum CookieAction {
    Get,
    Set,
    Clear,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Print {
    landscape: bool,
    tab_id: Option<TabId>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Upload {
    /// In the server's directory for uploads.
    paths: Vec<String>,
    /// The file input; the first if absent.
    #[serde(default)]
    target: Option<String>,
    #[serde(default)]
    tab_id: Option<TabId>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct OpenMany {
    urls: Vec<String>,
    #[serde(default)]
    instance_id: Option<InstanceId>,
}

pub(super) fn tools(service: &BrowserService) -> Vec<Tool> {
    vec![network(service), cookies(service), pdf(service), upload(service), batch(service)]
}

fn network(service: &BrowserService) -> Tool {
    tool(
        service,
        READ,
        "browser_network",
        "Lists the requests of a page, or shows one.",
        |service, context, input: Network| async move {
            let target = target(context, input.tab_id);
            if let Some(id) = &input.request_id {
                return one_request(&service, &target, id).await;
            }
            let filter = Filter { filter: input.filter, ..Filter::default() };
            let mut entries = service.network(&target, &filter).await?.entries;
            entries.retain(|entry| !input.failed || entry.failed || entry.status >= 400);
            let left_out = entries.len().saturating_sub(REQUESTS_SHOWN_MAX);
            let mut text = if left_out > 0 { format!("… {left_out} earlier\n") } else { String::new() };
            for entry in &entries[left_out..] {
                let _ = writeln!(text, "{} {}", entry.request_id, line(entry));
            }
            Ok(TextView(if text.is_empty() { "no such request".to_owned() } else { text }))
        },
    )
}

async fn one_request(service: &BrowserService, target: &Target, id: &str) -> Result<TextView, Problem> {
    let query = BodyQuery { body: true, ..BodyQuery::default() };
    let detail = service.network_detail(target, id, query).await?;
    let mut text = line(&detail.entry);
    if let Some(data) = &detail.entry.post_data {
        let _ = write!(text, "\nsent: {}", cut(data, BODY_SHOWN_MAX));
    }
    match (&detail.response_body, &detail.body_error) {
        (Some(body), _) if detail.base64_encoded => {
            let _ = write!(text, "\nbody: {} bytes of base64", body.len());
        }
        (Some(body), _) => {
            let _ = write!(text, "\nbody: {}", cut(body, BODY_SHOWN_MAX));
        }
        (None, Some(error)) => {
            let _ = write!(text, "\nno body: {error}");
        }
        (None, None) => text.push_str("\nno body"),
    }
    Ok(TextView(text))
}

fn line(entry: &Entry) -> String {
    let Entry { method, url, resource_type, status, error, .. } = entry;
    let error = if error.is_empty() { String::new() } else { format!(" {error}") };
    format!("{status} {method} {resource_type} {}{error}", cut(url, ADDRESS_SHOWN_MAX))
}

fn cut(text: &str, max: usize) -> String {
    match text.len() {
        length if length > max => format!("{}… ({length} bytes)", &text[..text.floor_char_boundary(max)]),
        _ => text.to_owned(),
    }
}

fn cookies(service: &BrowserService) -> Tool {
    tool(
        service,
        WRITE,
        "browser_cookies",
        "Reads cookies, sets one, or clears all of the browser.",
        |service, context, input: Cookies| async move {
            let target = target(context, input.tab_id);
            let text = match input.action {
                CookieAction::Get => {
                    let query = CookieQuery { url: input.url, name: input.name, ..CookieQuery::default() };
                    let cookies = service.cookies(&target, query).await?.cookies;
                    let line = |cookie: &crate::service::CookieView| {
                        format!("{}={} ({}{})", cookie.name, cookie.value, cookie.domain, cookie.path)
                    };
                    cookies.iter().map(line).collect::<Vec<_>>().join("\n")
                }
                CookieAction::Set => {
                    set_cookie(&service, &target, input.name, input.value, input.url).await?
                }
                CookieAction::Clear => {
                    service.clear_cookies(&target).await?;
                    "cleared".to_owned()
                }
            };
            Ok(TextView(if text.is_empty() { "no cookies".to_owned() } else { text }))
        },
    )
    .destructive()
}

async fn set_cookie(
    service: &BrowserService,
    target: &Target,
    name: Option<String>,
    value: Option<String>,
    url: Option<String>,
) -> Result<String, Problem> {
    let needed = |field: &str| Problem::invalid_field(field, "is needed to set a cookie");
    let cookie = NewCookie {
        name: name.ok_or_else(|| needed("name"))?,
        value: value.ok_or_else(|| needed("value"))?,
        ..NewCookie::default()
    };
    let url = match url {
        Some(url) => url,
        None => service.cookies(target, CookieQuery::default()).await?.url,
    };
    let request = SetCookiesRequest { tab_id: None, url, cookies: vec![cookie] };
    let set = service.set_cookies(target, request).await?.set;
    Ok(if set == 1 { "set" } else { "Chrome refused the cookie" }.to_owned())
}

fn pdf(service: &BrowserService) -> Tool {
    tool(
        service,
        WRITE,
        "browser_pdf",
        "Prints a page into a PDF file on the server and tells its path.",
        |service, context, input: Print| async move {
            let query = PdfQuery {
                landscape: input.landscape,
                output: Some("file".to_owned()),
                ..PdfQuery::default()
            };
            match service.pdf(&target(context, input.tab_id), query).await? {
                Pdf::File(file) => Ok(TextView(format!("{} ({} bytes)", file.path, file.size))),
                Pdf::Raw(_) | Pdf::Document(_) => Err(Problem::invalid_field("output", "must be `file`")),
            }
        },
    )
}

fn upload(service: &BrowserService) -> Tool {
    tool(
        service,
        WRITE,
        "browser_upload",
        "Puts files of the server into a file input.",
        |service, context, input: Upload| async move {
            let request = UploadRequest {
                tab_id: None,
                selector: input.target,
                reference: None,
                files: Vec::new(),
                paths: input.paths,
            };
            let uploaded = service.upload(&target(context, input.tab_id), request).await?;
            Ok(TextView(format!("{} files chosen", uploaded.files)))
        },
    )
}

fn batch(service: &BrowserService) -> Tool {
    tool(
        service,
        WRITE,
        "browser_batch_navigate",
        "Opens many pages at once, each in a tab, and tells which tab has which.",
        |service, context, input: OpenMany| async move {
            let batch = Batch {
                urls: input.urls.into_iter().map(BatchItem::Url).collect(),
                concurrency: None,
                wait_for: Some(WaitFor::Load),
                timeout: None,
                stream: false,
            };
            let batch = service.check_batch(context.caller, input.instance_id, BatchRequest::Batch(batch))?;
            let results = service.batch(batch).await.results;
            Ok(TextView(results.iter().map(opened).collect::<Vec<_>>().join("\n")))
        },
    )
}

fn opened(result: &BatchResult) -> String {
    match (&result.tab_id, &result.error) {
        (Some(tab), None) => {
            let (url, title) = (result.url.as_deref(), result.title.as_deref());
            format!("{} {} \"{}\"", tab.as_str(), url.unwrap_or_default(), title.unwrap_or_default())
        }
        (_, error) => {
            let detail = error.as_ref().and_then(|error| error["detail"].as_str()).unwrap_or("failed");
            format!("! {}: {detail}", result.requested_url)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(cut("short", 10), "short");
        assert_eq!(cut("ééé", 3), "é… (6 bytes)");
    }
}
