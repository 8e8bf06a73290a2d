//! `Target`: contexts, targets and sessions.

use serde::{Deserialize, Serialize};

use super::{Empty, command};

/// Makes an isolated context: own cookies, storage and cache.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateBrowserContext<'a> {
    /// Dispose it when this connection closes.
    pub dispose_on_detach: bool,
    /// The proxy of its pages; the browser's if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_server: Option<&'a str>,
    /// What is reached past that proxy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_bypass_list: Option<&'a str>,
}

/// The new context.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BrowserContextCreated {
    /// Its id.
    pub browser_context_id: String,
}
command!(CreateBrowserContext<'a>, "Target.createBrowserContext", BrowserContextCreated);

/// Closes a context with all its pages.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DisposeBrowserContext<'a> {
    /// Which.
    pub browser_context_id: &'a str,
}
command!(DisposeBrowserContext<'a>, "Target.disposeBrowserContext", Empty);

/// Opens a page.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateTarget<'a> {
    /// Its first address.
    pub url: &'a str,
    /// The context that it belongs to; the default one if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub browser_context_id: Option<&'a str>,
    /// Width of its window in CSS pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// Height of its window in CSS pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// A window of its own, so that it is never a background tab.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_window: Option<bool>,
}

/// The new page.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetCreatedReply {
    /// Its id.
    pub target_id: String,
}
command!(CreateTarget<'a>, "Target.createTarget", TargetCreatedReply);

/// Closes a target.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CloseTarget<'a> {
    /// Which.
    pub target_id: &'a str,
}
command!(CloseTarget<'a>, "Target.closeTarget", Empty);

/// Opens a session with a target.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AttachToTarget<'a> {
    /// Which.
    pub target_id: &'a str,
    /// Always true here: flat sessions are the only ones that the client speaks.
    pub flatten: bool,
}

/// The new session.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttachedToTarget {
    /// Its id.
    pub session_id: String,
}
command!(AttachToTarget<'a>, "Target.attachToTarget", AttachedToTarget);

/// Opens another session with the browser itself.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct AttachToBrowserTarget {}
command!(AttachToBrowserTarget, "Target.attachToBrowserTarget", AttachedToTarget);

/// Closes a session, with all that were opened through it.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DetachFromTarget<'a> {
    /// Which.
    pub session_id: &'a str,
}
command!(DetachFromTarget<'a>, "Target.detachFromTarget", Empty);

/// Reports targets that appear, change, crash and go, as events of the browser's session.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SetDiscoverTargets {
    /// On or off.
    pub discover: bool,
}
command!(SetDiscoverTargets, "Target.setDiscoverTargets", Empty);

/// Asks for a target's address and title; answered by the browser process, also while the page is busy.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GetTargetInfo<'a> {
    /// Which.
    pub target_id: &'a str,
}
command!(GetTargetInfo<'a>, "Target.getTargetInfo", TargetInfoReply);

/// All targets there are.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct GetTargets {}

/// Reply of [`GetTargets`].
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetInfos {
    /// One per target.
    pub target_infos: Vec<TargetInfo>,
}
command!(GetTargets, "Target.getTargets", TargetInfos);

/// Contexts that were made, without the default one.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct GetBrowserContexts {}

/// Reply of [`GetBrowserContexts`].
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BrowserContexts {
    /// Their ids.
    pub browser_context_ids: Vec<String>,
    /// The id of the default one, from Chromes that say it.
    pub default_browser_context_id: Option<String>,
}
command!(GetBrowserContexts, "Target.getBrowserContexts", BrowserContexts);

/// Reply of [`GetTargetInfo`], and parameters of `Target.targetCreated`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetInfoReply {
    /// The target.
    pub target_info: TargetInfo,
}

/// What Chrome says about a target.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetInfo {
    /// Its id.
    pub target_id: String,
    /// `page`, `iframe`, `worker`, `browser`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// Title of the page.
    #[serde(default)]
    pub title: String,
    /// Its address.
    #[serde(default)]
    pub url: String,
    /// The target that opened it.
    pub opener_id: Option<String>,
    /// The context that it belongs to.
    pub browser_context_id: Option<String>,
}

/// Parameters of `Target.detachedFromTarget`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DetachedFromTarget {
    /// The session that ended.
    pub session_id: String,
}
