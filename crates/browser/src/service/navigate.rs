//! Going to an address.

use std::time::Duration;

use paddock_platform::problem::Problem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::{IntoParams, ToSchema};

use super::{BrowserService, TabInUse, Target, WRITE, browser_choice::check_browser, timeout_of};
use crate::{
    blocking::Blocking,
    error::{BrowserError, PAGE_UNRESPONSIVE},
    ids::{InstanceId, TabId},
    navigate::{NavigateOptions, Navigation, Wait},
    page::Stage,
    wait::{Condition, Presence},
};

/// Longest wait for a title, in seconds.
const TITLE_WAIT_SECS_MAX: f64 = 30.0;

/// Goes to an address.
#[derive(Clone, Debug, Deserialize, JsonSchema, ToSchema, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct NavigateRequest {
    /// Where to go: http or https.
    #[schema(value_type = String)]
    #[param(value_type = String)]
    pub url: Url,
    /// The tab to use; without one, the current tab of the session or agent, or a new tab.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    pub tab_id: Option<TabId>,
    /// The instance for a new tab; without one, the first that runs, or a new one.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    pub instance_id: Option<InstanceId>,
    /// Opens a new tab even if `tabId` is given.
    #[serde(default)]
    pub new_tab: bool,
    /// Seconds that it may take; `[browser] navigation_timeout` if absent.
    #[serde(default)]
    #[schemars(range(min = 0.001, max = 600))]
    pub timeout: Option<f64>,
    /// When the page counts as being there: `none` (its first bytes), `dom` (parsed), `load`, or `networkidle` (loaded,
    /// then network and DOM quiet).
    #[serde(default)]
    #[param(inline)]
    pub wait_for: Option<WaitFor>,
    /// Waits for an element as well: until it can be seen.
    #[serde(default)]
    pub wait_selector: Option<String>,
    /// Seconds to wait for the page to have a title.
    #[serde(default)]
    pub wait_title: Option<f64>,
    /// Loads no images.
    #[serde(default)]
    pub block_images: bool,
    /// Loads no images, fonts, audio and video.
    #[serde(default)]
    pub block_media: bool,
    /// Loads nothing from well-known hosts of advertisements and trackers.
    #[serde(default)]
    pub block_ads: bool,
    /// Closes cookie and consent banners.
    #[serde(default)]
    pub dismiss_banners: bool,
    /// `chrome`: every instance has the same browser.
    #[serde(default)]
    pub browser: Option<String>,
}

/// When a page counts as being there.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum WaitFor {
    /// Its first bytes.
    None,
    /// Parsed.
    #[serde(alias = "domcontentloaded")]
    Dom,
    /// Loaded.
    Load,
    /// Loaded, then network and DOM quiet.
    #[serde(alias = "network-idle")]
    NetworkIdle,
    /// The element of `waitSelector` can be seen.
    Selector,
}

impl WaitFor {
    pub(crate) fn wait(self) -> Wait {
        match self {
            Self::None => Wait { until: Stage::Committed, ..Wait::loaded() },
            Self::Dom => Wait { until: Stage::Parsed, ..Wait::loaded() },
            Self::Load | Self::Selector => Wait::loaded(),
            Self::NetworkIdle => Wait::settled(),
        }
    }
}

/// A tab that went somewhere.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Navigated {
    /// The tab.
    pub tab_id: TabId,
    /// Its instance.
    pub instance_id: InstanceId,
    /// Where it is.
    pub url: String,
    /// Title of the page.
    pub title: String,
    /// The navigation in detail; absent when a tab was opened without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub navigation: Option<Navigation>,
}

impl BrowserService {
    /// Goes to an address in the tab that the request names, or in a new one.
    pub async fn navigate(
        &self,
        target: Target,
        request: NavigateRequest,
        wait_default: WaitFor,
    ) -> Result<Navigated, Problem> {
        target.caller.require(WRITE)?;
        check_browser(request.browser.as_deref())?;
        let target = target.or(request.tab_id.clone());
        let wait = request.wait_for.unwrap_or(wait_default).wait();
        let options = self.navigate_options(request.timeout, wait)?;
        let tab = self.tab_to_navigate(&target, request.instance_id.as_ref(), request.new_tab).await?;
        let blocking =
            Blocking { images: request.block_images, media: request.block_media, ads: request.block_ads };
        tab.block(blocking).await.map_err(BrowserError::from)?;
        let mut navigated = self.go(&tab, &request.url, options).await?;
        let condition = request.wait_selector.filter(|selector| !selector.is_empty());
        if let Some(selector) = condition {
            let condition = Condition::Selector { selector: selector.clone(), state: Presence::Visible };
            if !tab.wait_for(&condition, options.timeout).await? {
                let detail =
                    format!("the page is there, but no element matches `{selector}` after the timeout");
                return Err(Problem::new(PAGE_UNRESPONSIVE, detail).with("tabId", tab.id().as_str()));
            }
        }
        if let Some(secs) = request.wait_title.filter(|secs| *secs > 0.0) {
            let longest = Duration::from_secs_f64(secs.min(TITLE_WAIT_SECS_MAX));
            tab.wait_for(&Condition::Title(String::new()), longest).await?;
            navigated.title = tab.info().await?.title;
        }
        if request.dismiss_banners {
            tab.dismiss_banners().await?;
        }
        Ok(navigated)
    }

    pub(super) async fn go(
        &self,
        tab: &TabInUse,
        url: &url::Url,
        options: NavigateOptions,
    ) -> Result<Navigated, Problem> {
        tab.is_unread();
        let with_tab = |problem: Problem| problem.with("tabId", tab.id().as_str());
        let navigation = tab.navigate(url, options).await.map_err(|error| with_tab(error.into()))?;
        Ok(Navigated {
            tab_id: tab.id().clone(),
            instance_id: tab.instance_id().clone(),
            url: navigation.url.to_string(),
            title: navigation.title.clone(),
            navigation: Some(navigation),
        })
    }

    pub(super) fn navigate_options(
        &self,
        timeout: Option<f64>,
        wait: Wait,
    ) -> Result<NavigateOptions, Problem> {
        let default = self.fleet.0.options.current().navigation_timeout.get();
        Ok(NavigateOptions { timeout: timeout_of(timeout, default)?, wait, allow_file: false })
    }
}
