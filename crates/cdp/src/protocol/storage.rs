//! `Storage`: the cookies of a context, asked of the browser's own session.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Empty, command};

/// Asks for all cookies of a context.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GetCookies<'a> {
    /// Which context; the default one if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub browser_context_id: Option<&'a str>,
}

/// Cookies.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Cookies {
    /// The cookies.
    #[serde(default)]
    pub cookies: Vec<Cookie>,
}
command!(GetCookies<'a>, "Storage.getCookies", Cookies);

/// A cookie that is there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cookie {
    /// Name.
    pub name: String,
    /// Value.
    pub value: String,
    /// Host, with a leading dot if its subdomains get it too.
    #[serde(default)]
    pub domain: String,
    /// Path.
    #[serde(default)]
    pub path: String,
    /// When it expires, in seconds since 1970; -1 for one that ends with the session.
    #[serde(default)]
    pub expires: f64,
    /// Scripts do not see it.
    #[serde(default)]
    pub http_only: bool,
    /// Sent over TLS only.
    #[serde(default)]
    pub secure: bool,
    /// `Strict`, `Lax` or `None`; absent if the page did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same_site: Option<String>,
    /// The site at the top in which alone it is sent, for a partitioned one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition_key: Option<Value>,
}

/// Sets cookies of a context.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SetCookies<'a> {
    /// The cookies.
    pub cookies: &'a [CookieParam],
    /// Which context; the default one if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub browser_context_id: Option<&'a str>,
}
command!(SetCookies<'a>, "Storage.setCookies", Empty);

/// A cookie to set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CookieParam {
    /// Name.
    pub name: String,
    /// Value.
    pub value: String,
    /// The address that domain, path and scheme follow from where they are not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// Path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Sent over TLS only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secure: Option<bool>,
    /// Scripts do not see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_only: Option<bool>,
    /// `Strict`, `Lax` or `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same_site: Option<String>,
    /// When it expires, in seconds since 1970; with the session if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<f64>,
    /// The site at the top in which alone it is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition_key: Option<Value>,
}

impl From<Cookie> for CookieParam {
    fn from(cookie: Cookie) -> Self {
        Self {
            name: cookie.name,
            value: cookie.value,
            url: None,
            domain: Some(cookie.domain),
            path: Some(cookie.path),
            secure: Some(cookie.secure),
            http_only: Some(cookie.http_only),
            same_site: cookie.same_site,
            expires: (cookie.expires > 0.0).then_some(cookie.expires),
            partition_key: cookie.partition_key,
        }
    }
}

/// Forgets all cookies of a context.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClearCookies<'a> {
    /// Which context; the default one if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub browser_context_id: Option<&'a str>,
}
command!(ClearCookies<'a>, "Storage.clearCookies", Empty);
