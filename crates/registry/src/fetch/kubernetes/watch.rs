//! Watches: the cluster tells when something differs, and then everything is listed again.
//!
//! A watch is a doorbell and carries nothing in: whatever it misses is found by the next sync, which comes at the source's
//! interval in any case. So one that cannot be kept is given up until then.

use std::time::Duration;

use bytes::BytesMut;
use futures_util::{StreamExt, future::select_all};
use serde::Deserialize;
use serde_json::Value;

use super::{Clients, Listed, Seen, cluster::Cluster, hash_of, id_of};
use crate::{
    error::FetchError,
    fetch::send,
    format::{FormatError, kubernetes::exported},
    kubernetes::KubernetesOptions,
};

/// Changes come in groups: they are listed together.
const SETTLE_DELAY: Duration = Duration::from_millis(250);
/// The cluster ends watches as it likes; they are opened again after this.
const REOPEN_DELAY: Duration = Duration::from_secs(1);
/// The cluster no longer knows where to begin: a list tells, and is not asked for all the time.
const EXPIRED_DELAY: Duration = Duration::from_secs(5);
/// One watch lasts at most this long, so that it is opened with a fresh token now and then.
const WATCH_MAX: Duration = Duration::from_mins(5);
/// How much longer than it was told the cluster may take to end one.
const GRACE: Duration = Duration::from_secs(30);
/// How large one event may be: resources are a megabyte at most.
const EVENT_SIZE_MAX: usize = 4 << 20;

#[derive(Deserialize)]
struct Event {
    r#type: String,
    object: Value,
}

/// What an event means.
#[derive(Debug, PartialEq, Eq)]
enum Meaning {
    /// Something that is exported, or was, is no longer as it was listed.
    Differs,
    /// Nothing for us.
    Nothing,
    /// What was watched from is too long ago.
    Expired,
}

/// Ends when something that is exported, or was, is no longer as it was listed. Waits for ever where nobody tells.
pub(crate) async fn changed(options: &KubernetesOptions, clients: &Clients, seen: &Seen) {
    let watches = seen.lists.iter().map(|list| Box::pin(differs(options, clients, list, seen)));
    let watches: Vec<_> = watches.collect();
    if watches.is_empty() {
        std::future::pending::<()>().await;
    }
    select_all(watches).await;
    tokio::time::sleep(SETTLE_DELAY).await;
}

async fn differs(options: &KubernetesOptions, clients: &Clients, list: &Listed, seen: &Seen) {
    let mut version = list.version.clone();
    loop {
        match follow(options, clients, list, &mut version, seen).await {
            Ok(Meaning::Differs) => return,
            Ok(Meaning::Expired) => return tokio::time::sleep(EXPIRED_DELAY).await,
            Ok(Meaning::Nothing) => tokio::time::sleep(REOPEN_DELAY).await,
            Err(error) => {
                let error = paddock_platform::problem::error_chain(&error);
                tracing::debug!(error, path = list.path, "a watch is given up until the next sync");
                std::future::pending::<()>().await;
            }
        }
    }
}

/// Follows one watch to its end, or to what it is for.
async fn follow(
    options: &KubernetesOptions,
    clients: &Clients,
    list: &Listed,
    version: &mut String,
    seen: &Seen,
) -> Result<Meaning, FetchError> {
    let cluster = Cluster::open(options, clients).await?;
    let mut url = cluster.url(&list.path);
    url.query_pairs_mut()
        .append_pair("watch", "true")
        .append_pair("allowWatchBookmarks", "true")
        .append_pair("resourceVersion", version)
        .append_pair("timeoutSeconds", &WATCH_MAX.as_secs().to_string());
    let shown = crate::fetch::url::shown(&url);
    let request = cluster.get(url).timeout(WATCH_MAX + GRACE);
    let response = match send(request, &shown).await {
        Err(FetchError::Status { status: 410, .. }) => return Ok(Meaning::Expired),
        response => response?,
    };
    let mut chunks = response.bytes_stream();
    let mut buffer = BytesMut::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|source| FetchError::Http { url: shown.clone(), source })?;
        buffer.extend_from_slice(&chunk);
        while let Some(end) = memchr::memchr(b'\n', &buffer) {
            let line = buffer.split_to(end + 1);
            let event =
                serde_json::from_slice(&line).map_err(|error| FormatError::Json(error.to_string()))?;
            match meaning(&event, list.kind, version, seen) {
                Meaning::Nothing => {}
                meaning => return Ok(meaning),
            }
        }
        if buffer.len() > EVENT_SIZE_MAX {
            return Err(FormatError::Json("an event is too large".to_owned()).into());
        }
    }
    Ok(Meaning::Nothing)
}

fn meaning(event: &Event, kind: &str, version: &mut String, seen: &Seen) -> Meaning {
    let object = &event.object;
    let known = seen.exported.get(id_of(object)).copied();
    let now = match event.r#type.as_str() {
        "ERROR" => return Meaning::Expired,
        "ADDED" | "MODIFIED" => exported(object, kind).map(|resource| hash_of(&resource)),
        "DELETED" => None,
        // A bookmark only says how far it has come.
        _ => known,
    };
    if let Some(come_to) = object["metadata"]["resourceVersion"].as_str() {
        version.replace_range(.., come_to);
    }
    if now == known { Meaning::Nothing } else { Meaning::Differs }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn resource(url: &str, phase: &str) -> Value {
        json!({
            "metadata": {
                "namespace": "mcp", "name": "weather", "uid": "u1", "resourceVersion": "7",
                "annotations": {
                    "toolhive.stacklok.dev/registry-export": "true",
                    "toolhive.stacklok.dev/registry-url": url,
                },
            },
            "spec": {"image": "weather:1.0.0"},
            "status": {"phase": phase},
        })
    }

    fn seen() -> Seen {
        let known = exported(&resource("https://a.example", "Ready"), "MCPServer").unwrap();
        Seen { exported: [("u1".to_owned(), hash_of(&known))].into(), ..Seen::default() }
    }

    fn meaning_of(r#type: &str, object: Value) -> (Meaning, String) {
        let mut version = "1".to_owned();
        let event = Event { r#type: r#type.to_owned(), object };
        (meaning(&event, "MCPServer", &mut version, &seen()), version)
    }

    #[test]
    fn only_what_an_entry_would_say_is_a_change() {
        let same = meaning_of("MODIFIED", resource("https://a.example", "Pending"));
        assert_eq!(same, (Meaning::Nothing, "7".to_owned()));
        assert_eq!(meaning_of("MODIFIED", resource("https://b.example", "Ready")).0, Meaning::Differs);
        assert_eq!(meaning_of("DELETED", resource("https://a.example", "Ready")).0, Meaning::Differs);
        let mut hidden = resource("https://a.example", "Ready");
        hidden["metadata"]["annotations"]["toolhive.stacklok.dev/registry-export"] = "false".into();
        assert_eq!(meaning_of("MODIFIED", hidden.clone()).0, Meaning::Differs);
        hidden["metadata"]["uid"] = "u2".into();
        assert_eq!(meaning_of("ADDED", hidden.clone()).0, Meaning::Nothing);
        assert_eq!(meaning_of("DELETED", hidden).0, Meaning::Nothing);
    }

    #[test]
    fn bookmarks_move_the_beginning_and_errors_ask_for_a_list() {
        let bookmark = meaning_of("BOOKMARK", json!({"metadata": {"resourceVersion": "90"}}));
        assert_eq!(bookmark, (Meaning::Nothing, "90".to_owned()));
        assert_eq!(meaning_of("ERROR", json!({"kind": "Status", "code": 410})).0, Meaning::Expired);
    }
}
