//! `Browser`: the process itself, downloads and permissions.

use serde::{Deserialize, Serialize};

use super::{Empty, command, plain_commands};

plain_commands! {
    /// Asks Chrome to exit.
    Close = "Browser.close";
}

/// Asks for the version.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct GetVersion {}

/// Reply of [`GetVersion`].
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    /// Product and version, for example `HeadlessChrome/156.0.1`.
    pub product: String,
    /// The default user agent.
    pub user_agent: String,
}
command!(GetVersion, "Browser.getVersion", Version);

/// What happens to downloads of a context.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SetDownloadBehavior<'a> {
    /// `deny`, `allow`, `allowAndName` or `default`.
    pub behavior: &'a str,
    /// Which context; the default one if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub browser_context_id: Option<&'a str>,
    /// The directory that they go to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub download_path: Option<&'a str>,
    /// Whether downloads are reported as events.
    pub events_enabled: bool,
}
command!(SetDownloadBehavior<'a>, "Browser.setDownloadBehavior", Empty);

/// Grants permissions and refuses all others without a prompt.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GrantPermissions<'a> {
    /// Names of the permissions that are granted.
    pub permissions: &'a [&'a str],
    /// Which context; the default one if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub browser_context_id: Option<&'a str>,
}
command!(GrantPermissions<'a>, "Browser.grantPermissions", Empty);

/// Parameters of `Browser.downloadWillBegin`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DownloadWillBegin {
    /// The frame that it began in.
    #[serde(default)]
    pub frame_id: String,
    /// Names the download; with `allowAndName` its file too.
    pub guid: String,
    /// Where it comes from.
    #[serde(default)]
    pub url: String,
    /// The name that the server or the page suggests.
    #[serde(default)]
    pub suggested_filename: String,
}

/// Parameters of `Browser.downloadProgress`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DownloadProgress {
    /// Which.
    pub guid: String,
    /// Bytes that were promised.
    #[serde(default)]
    pub total_bytes: f64,
    /// Bytes that came.
    #[serde(default)]
    pub received_bytes: f64,
    /// `inProgress`, `completed` or `canceled`.
    #[serde(default)]
    pub state: String,
}

/// Breaks a download off.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CancelDownload<'a> {
    /// Which.
    pub guid: &'a str,
    /// Which context; the default one if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub browser_context_id: Option<&'a str>,
}
command!(CancelDownload<'a>, "Browser.cancelDownload", Empty);
