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
