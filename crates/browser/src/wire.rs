//! Commands to Chrome that keeping and restoring the state of instances needs.

use paddock_cdp::protocol::{Command, Empty};
use serde::{Deserialize, Serialize};

use crate::saved::SavedCookie;

/// All cookies of a context.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GetCookies<'a> {
    /// Which context; the default one if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) browser_context_id: Option<&'a str>,
}

/// Reply of [`GetCookies`].
#[derive(Deserialize)]
pub(crate) struct Cookies {
    pub(crate) cookies: Vec<SavedCookie>,
}

impl Command for GetCookies<'_> {
    const METHOD: &'static str = "Storage.getCookies";
    type Reply = Cookies;
}

/// Gives a context cookies.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SetCookies<'a> {
    pub(crate) cookies: &'a [SavedCookie],
    /// Which context; the default one if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) browser_context_id: Option<&'a str>,
}

impl Command for SetCookies<'_> {
    const METHOD: &'static str = "Storage.setCookies";
    type Reply = Empty;
}

/// What an origin stores.
#[derive(Serialize)]
pub(crate) struct GetUsage<'a> {
    pub(crate) origin: &'a str,
}

/// Reply of [`GetUsage`].
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StorageUsage {
    pub(crate) usage_breakdown: Vec<UsageOfKind>,
}

/// What an origin stores in one kind of storage.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UsageOfKind {
    pub(crate) storage_type: String,
    pub(crate) usage: f64,
}

impl Command for GetUsage<'_> {
    const METHOD: &'static str = "Storage.getUsageAndQuota";
    type Reply = StorageUsage;
}

/// Has requests not be answered by service workers.
#[derive(Serialize)]
pub(crate) struct SetBypassServiceWorker {
    pub(crate) bypass: bool,
}

impl Command for SetBypassServiceWorker {
    const METHOD: &'static str = "Network.setBypassServiceWorker";
    type Reply = Empty;
}

/// Reports changes of web storage.
#[derive(Serialize)]
pub(crate) struct EnableDomStorage {}

impl Command for EnableDomStorage {
    const METHOD: &'static str = "DOMStorage.enable";
    type Reply = Empty;
}

/// Runs a script in every new document, in an isolated world.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AddScript<'a> {
    pub(crate) source: &'a str,
    pub(crate) world_name: &'a str,
}

/// Reply of [`AddScript`], and its opposite.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ScriptId {
    pub(crate) identifier: String,
}

impl Command for AddScript<'_> {
    const METHOD: &'static str = "Page.addScriptToEvaluateOnNewDocument";
    type Reply = ScriptId;
}

/// Forgets such a script.
impl Command for ScriptId {
    const METHOD: &'static str = "Page.removeScriptToEvaluateOnNewDocument";
    type Reply = Empty;
}
