//! Reading, setting and clearing cookies.

use paddock_cdp::protocol::storage::{Cookie, CookieParam};
use paddock_platform::{identity::Caller, problem::Problem};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{BrowserService, Target, WRITE};
use crate::{
    cookies::COOKIES_MAX,
    ids::{InstanceId, TabId},
};

/// Which cookies.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, IntoParams)]
#[serde(rename_all = "camelCase", default)]
#[into_params(parameter_in = Query)]
pub struct CookieQuery {
    /// The tab; without one, the tab that was used last.
    #[param(value_type = Option<String>)]
    pub tab_id: Option<TabId>,
    /// Those sent to this address; that of the page if absent.
    pub url: Option<String>,
    /// Only the one of this name.
    pub name: Option<String>,
}

/// A cookie.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CookieView {
    /// Name.
    pub name: String,
    /// Value.
    pub value: String,
    /// Host, with a leading dot if its subdomains get it too.
    pub domain: String,
    /// Path.
    pub path: String,
    /// Sent over TLS only.
    pub secure: bool,
    /// Scripts do not see it.
    pub http_only: bool,
    /// `Strict`, `Lax`, `None`, or empty.
    pub same_site: String,
    /// When it expires, in seconds since 1970; absent if it ends with the session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<f64>,
}

impl From<Cookie> for CookieView {
    fn from(cookie: Cookie) -> Self {
        Self {
            name: cookie.name,
            value: cookie.value,
            domain: cookie.domain,
            path: cookie.path,
            secure: cookie.secure,
            http_only: cookie.http_only,
            same_site: cookie.same_site.unwrap_or_default(),
            expires: (cookie.expires > 0.0).then_some(cookie.expires),
        }
    }
}

/// Cookies of an address.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct CookieList {
    /// The address.
    pub url: String,
    /// The cookies.
    pub cookies: Vec<CookieView>,
    /// How many.
    pub count: usize,
}

/// Sets cookies.
#[derive(Clone, Debug, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SetCookiesRequest {
    /// The tab; without one, the tab that was used last.
    #[serde(default)]
    pub tab_id: Option<TabId>,
    /// The address that they are for.
    pub url: String,
    /// The cookies.
    #[schemars(length(min = 1, max = 1000))]
    pub cookies: Vec<NewCookie>,
}

impl SetCookiesRequest {
    /// The cookies that are any, and how many were asked for.
    fn params(self) -> Result<(Vec<CookieParam>, usize), Problem> {
        let total = self.cookies.len();
        if self.url.is_empty() {
            return Err(Problem::invalid_field("url", "must not be empty"));
        }
        if total == 0 || total > COOKIES_MAX {
            return Err(Problem::invalid_field("cookies", format!("must have 1 to {COOKIES_MAX} items")));
        }
        let cookies = self.cookies.into_iter().filter_map(|cookie| cookie.param(&self.url)).collect();
        Ok((cookies, total))
    }
}

/// A cookie to set.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NewCookie {
    /// Name.
    pub name: String,
    /// Value.
    pub value: String,
    /// Host; that of the address if absent.
    pub domain: Option<String>,
    /// Path.
    pub path: Option<String>,
    /// Sent over TLS only.
    pub secure: Option<bool>,
    /// Scripts do not see it.
    pub http_only: Option<bool>,
    /// `Strict`, `Lax` or `None`, in any case.
    pub same_site: Option<String>,
    /// When it expires, in seconds since 1970; with the session if absent or 0.
    pub expires: Option<f64>,
}

impl NewCookie {
    fn param(self, url: &str) -> Option<CookieParam> {
        let same_site = match self.same_site.as_deref().map(str::to_ascii_lowercase).as_deref() {
            Some("strict") => Some("Strict".to_owned()),
            Some("lax") => Some("Lax".to_owned()),
            Some("none") => Some("None".to_owned()),
            _ => None,
        };
        let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
        (!self.name.is_empty() && !self.value.is_empty()).then(|| CookieParam {
            name: self.name,
            value: self.value,
            url: Some(url.to_owned()),
            domain: filled(self.domain),
            path: filled(self.path),
            secure: self.secure,
            http_only: self.http_only,
            same_site,
            expires: self.expires.filter(|expires| *expires > 0.0),
            partition_key: None,
        })
    }
}

/// How many cookies were set.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema, ToSchema)]
pub struct CookiesSet {
    /// Those that were.
    pub set: usize,
    /// Those that Chrome refused, or that have no name or value.
    pub failed: usize,
    /// All of the request.
    pub total: usize,
}

/// All cookies of the instance are gone.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct Cleared {
    /// `cleared`.
    pub status: String,
}

impl Cleared {
    pub(super) fn new() -> Self {
        Self { status: "cleared".to_owned() }
    }
}

impl BrowserService {
    /// The cookies that would be sent to an address.
    pub async fn cookies(&self, target: &Target, query: CookieQuery) -> Result<CookieList, Problem> {
        // Cookies are what logins consist of: reading them is more than looking.
        let tab = self.tab(target, WRITE).await?;
        let url = match query.url.filter(|url| !url.is_empty()) {
            Some(url) => url,
            None => tab.info().await?.url,
        };
        let mut cookies = tab.cookies_for(&url).await?;
        if let Some(name) = query.name.filter(|name| !name.is_empty()) {
            cookies.retain(|cookie| cookie.name == name);
        }
        let cookies: Vec<CookieView> = cookies.into_iter().map(Into::into).collect();
        Ok(CookieList { url, count: cookies.len(), cookies })
    }

    /// Sets cookies.
    pub async fn set_cookies(
        &self,
        target: &Target,
        request: SetCookiesRequest,
    ) -> Result<CookiesSet, Problem> {
        let (cookies, total) = request.params()?;
        let tab = self.tab(target, WRITE).await?;
        let set = self.own(&target.caller, tab.instance_id())?.set_cookies(&cookies).await?;
        Ok(CookiesSet { set, failed: total - set, total })
    }

    /// Sets cookies of an instance, whether it has tabs or not.
    pub async fn set_cookies_of(
        &self,
        caller: &Caller,
        id: &InstanceId,
        request: SetCookiesRequest,
    ) -> Result<CookiesSet, Problem> {
        caller.require(WRITE)?;
        let (cookies, total) = request.params()?;
        let instance = self.own(caller, id)?;
        let _awake = instance.enter().await?;
        let set = instance.set_cookies(&cookies).await?;
        Ok(CookiesSet { set, failed: total - set, total })
    }

    /// Forgets all cookies of the tab's instance.
    pub async fn clear_cookies(&self, target: &Target) -> Result<Cleared, Problem> {
        let tab = self.tab(target, WRITE).await?;
        self.own(&target.caller, tab.instance_id())?.clear_cookies().await?;
        Ok(Cleared::new())
    }
}
