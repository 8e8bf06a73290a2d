//! Finding the DevTools socket of a Chrome that somebody else started, where that is allowed.
//!
//! Only loopback addresses and hosts that the operator lists are connected to, and the connection goes to the host and
//! port that were asked for, whatever Chrome says of itself.

use std::{net::IpAddr, time::Duration};

use futures_util::StreamExt;
use http::StatusCode;
use paddock_platform::problem::{FORBIDDEN, Problem, ProblemKind};
use serde::Deserialize;
use url::{Host, Url};

/// The Chrome cannot be connected to.
pub const ATTACH_FAILED: ProblemKind =
    ProblemKind::new("attach-failed", StatusCode::BAD_GATEWAY, "Browser not reached");

/// How long it may take to say where its socket is.
const ASK_DEADLINE: Duration = Duration::from_secs(5);
/// Bytes of that answer.
const ANSWER_SIZE_MAX: usize = 64 << 10;
/// What the path of a browser's socket begins with.
const BROWSER_PATH: &str = "/devtools/browser/";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    web_socket_debugger_url: String,
}

/// The browser's socket behind `ws://host:port/devtools/browser/…`, `http://host:port` or
/// `http://host:port/json/version`.
pub(crate) async fn socket_of(text: &str, hosts: &[String]) -> Result<Url, Problem> {
    let wrong = |detail: &str| Problem::invalid_field("cdpUrl", detail);
    let url: Url = text.parse().map_err(|error| wrong(&format!("is no address: {error}")))?;
    let host = url.host().ok_or_else(|| wrong("names no host"))?;
    if !is_allowed(&host, hosts) {
        let detail = format!("`{host}` is neither a loopback address nor in `[browser] attach_hosts`");
        return Err(Problem::new(FORBIDDEN, detail).with("field", "cdpUrl"));
    }
    match url.scheme() {
        "ws" | "wss" if url.path().starts_with(BROWSER_PATH) => Ok(url),
        "ws" | "wss" => Err(wrong("must be a browser's socket, `ws://host:port/devtools/browser/…`")),
        "http" | "https" if matches!(url.path(), "/" | "/json/version" | "/json/version/") => ask(url).await,
        _ => Err(wrong("must begin with `ws://` or `http://`")),
    }
}

fn is_allowed(host: &Host<&str>, hosts: &[String]) -> bool {
    let is_loopback = match host {
        Host::Ipv4(address) => IpAddr::from(*address).is_loopback(),
        Host::Ipv6(address) => IpAddr::from(*address).is_loopback(),
        Host::Domain(name) => name.eq_ignore_ascii_case("localhost"),
    };
    let name = host.to_string();
    let name = name.trim_matches(['[', ']']);
    is_loopback || hosts.iter().any(|allowed| allowed.trim_matches(['[', ']']).eq_ignore_ascii_case(name))
}

/// Asks a Chrome for its socket.
async fn ask(mut url: Url) -> Result<Url, Problem> {
    url.set_path("/json/version");
    url.set_query(None);
    let failed = |detail: String| Problem::new(ATTACH_FAILED, detail);
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(ASK_DEADLINE)
        .build()
        .map_err(|error| Problem::internal("making a client for DevTools", &error))?;
    let answer = client.get(url.clone()).send().await;
    let answer = answer.and_then(reqwest::Response::error_for_status);
    let answer = answer.map_err(|error| failed(format!("no Chrome answers at {url}: {error}")))?;
    let mut bytes = Vec::new();
    let mut parts = answer.bytes_stream();
    while let Some(part) = parts.next().await {
        let part = part.map_err(|error| failed(format!("{url} broke off: {error}")))?;
        if bytes.len() + part.len() > ANSWER_SIZE_MAX {
            return Err(failed(format!("{url} says too much")));
        }
        bytes.extend_from_slice(&part);
    }
    let socket = serde_json::from_slice::<Version>(&bytes).ok();
    let socket = socket.and_then(|version| version.web_socket_debugger_url.parse::<Url>().ok());
    let path = socket.map(|socket| socket.path().to_owned()).filter(|path| path.starts_with(BROWSER_PATH));
    let path = path.ok_or_else(|| failed(format!("{url} names no browser's socket")))?;
    url.set_path(&path);
    // Both are special schemes with the same parts.
    let scheme = if url.scheme() == "https" { "wss" } else { "ws" };
    url.set_scheme(scheme).map_err(|()| failed(format!("{url} names no browser's socket")))?;
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_this_machine_and_listed_hosts_are_connected_to() {
        let listed = ["browsers.example".to_owned(), "::2".to_owned()];
        let path = "/devtools/browser/1";
        for good in [
            "ws://127.0.0.1:9222",
            "ws://[::1]:9222",
            "ws://localhost",
            "ws://browsers.example:1",
            "ws://[::2]",
        ] {
            let url = format!("{good}{path}");
            assert_eq!(socket_of(&url, &listed).await.unwrap().as_str(), url);
        }
        for bad in ["ws://10.0.0.1", "ws://127.0.0.1.example", "ws://evil.example", "ws://[::3]"] {
            let problem = socket_of(&format!("{bad}{path}"), &listed).await.unwrap_err();
            assert_eq!(problem.kind, FORBIDDEN, "{bad}");
        }
        for bad in
            ["", "ws://127.0.0.1/devtools/page/1", "ftp://127.0.0.1", "http://127.0.0.1/admin", "data:x"]
        {
            assert_eq!(
                socket_of(bad, &listed).await.unwrap_err().kind.status,
                StatusCode::BAD_REQUEST,
                "{bad}"
            );
        }
    }

    #[tokio::test]
    async fn an_address_where_nobody_listens_says_so() {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert_eq!(socket_of(&format!("http://{closed}"), &[]).await.unwrap_err().kind, ATTACH_FAILED);
    }
}
