//! One request of the network log, and its body: from what was kept, or from Chrome.

use std::time::Duration;

use paddock_platform::problem::Problem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{BrowserService, READ, TabInUse, Target};
use crate::{
    ids::TabId,
    network::{Entry, retain::Body},
};

/// How long a request for a body waits until it has been fetched in advance.
const RETAINED_WAIT: Duration = Duration::from_secs(2);
const RETAINED_WAIT_MAX: Duration = Duration::from_secs(30);

/// How a body is asked for.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, IntoParams)]
#[serde(rename_all = "camelCase", default)]
#[into_params(parameter_in = Query)]
pub struct BodyQuery {
    /// With the body.
    pub body: bool,
    /// `auto`, `retained-preferred`, `retained-only` or `live-only`: from what was kept, or from Chrome.
    pub body_mode: Option<String>,
    /// As `retained-preferred`, unless `bodyMode` says otherwise.
    pub wait_retained: bool,
    /// Milliseconds to wait for a body that is being fetched; 2000 if absent, at most 30000.
    pub timeout_ms: Option<u64>,
}

/// One request.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkDetail {
    /// The request.
    pub entry: Entry,
    /// The tab.
    pub tab_id: TabId,
    /// The answer's body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_body: Option<String>,
    /// The body is in base64.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub base64_encoded: bool,
    /// `retained` or `live`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_source: Option<&'static str>,
    /// The body was fetched when it came.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub body_retained: bool,
    /// Only the beginning was kept.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub body_truncated: bool,
    /// Why there is no body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_error: Option<String>,
}

impl BrowserService {
    /// One request of a tab.
    pub async fn network_detail(
        &self,
        target: &Target,
        request_id: &str,
        query: BodyQuery,
    ) -> Result<NetworkDetail, Problem> {
        let tab = self.tab(target, READ).await?;
        let entry = tab.0.environment.log.get(request_id);
        let entry = entry.ok_or_else(|| Problem::not_found("request", request_id))?;
        let wanted = query.body && entry.finished;
        let mut detail = NetworkDetail {
            entry,
            tab_id: tab.id().clone(),
            response_body: None,
            base64_encoded: false,
            body_source: None,
            body_retained: false,
            body_truncated: false,
            body_error: None,
        };
        if wanted {
            detail.add_body(&tab, &query).await;
        }
        Ok(detail)
    }
}

/// A body for an export: what was kept, or what Chrome still has.
pub(super) async fn body_of(tab: &TabInUse, entry: &Entry) -> Option<Body> {
    if let Some(body) = tab.0.environment.log.bodies.get(&entry.request_id) {
        return Some((*body).clone());
    }
    tab.response_body(&entry.request_id).await.ok()
}

impl NetworkDetail {
    async fn add_body(&mut self, tab: &TabInUse, query: &BodyQuery) {
        let default = if query.wait_retained { "retained-preferred" } else { "auto" };
        let mode = query.body_mode.as_deref().unwrap_or(default).to_ascii_lowercase().replace('-', "");
        let request_id = self.entry.request_id.clone();
        let bodies = &tab.0.environment.log.bodies;
        let wait = match mode.as_str() {
            "retainedpreferred" | "retainedonly" if tab.0.shared.options.current().network_bodies => {
                query.timeout_ms.map_or(RETAINED_WAIT, Duration::from_millis).min(RETAINED_WAIT_MAX)
            }
            _ => Duration::ZERO,
        };
        let retained = if mode == "liveonly" { None } else { bodies.wait(&request_id, wait).await };
        if let Some(body) = retained {
            self.response_body = Some(body.text.clone());
            self.base64_encoded = body.is_base64;
            self.body_truncated = body.truncated;
            self.body_retained = true;
            self.body_source = Some("retained");
            return;
        }
        if mode == "retainedonly" {
            self.body_error = Some("the body was not kept (`[browser] network_bodies`)".to_owned());
            return;
        }
        match tab.response_body(&request_id).await {
            Ok(body) => {
                self.response_body = Some(body.text);
                self.base64_encoded = body.is_base64;
                self.body_source = Some("live");
            }
            Err(_) => self.body_error = Some("Chrome does not have the body any more".to_owned()),
        }
    }
}
