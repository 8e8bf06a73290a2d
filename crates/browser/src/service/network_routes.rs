//! The rules about requests of a tab.

use paddock_platform::problem::{CONFLICT, NOT_FOUND, Problem};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{BrowserService, READ, TabInUse, Target, WRITE};
use crate::{error::BrowserError, ids::TabId, network::Route};

/// The rules of a tab.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteList {
    /// The tab.
    pub tab_id: TabId,
    /// The rules, in the order in which they are asked.
    pub rules: Vec<Route>,
}

/// The rules of a tab after a change.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoutesChanged {
    /// True.
    pub ok: bool,
    /// The tab.
    pub tab_id: TabId,
    /// Rules that were removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub removed: Option<usize>,
    /// The rules, in the order in which they are asked.
    pub rules: Vec<Route>,
}

/// Which rules are removed.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, ToSchema, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct RouteQuery {
    /// Those of this pattern; all if absent.
    pub pattern: Option<String>,
}

impl BrowserService {
    /// The rules of a tab.
    pub async fn routes(&self, target: &Target) -> Result<RouteList, Problem> {
        let tab = self.tab(target, READ).await?;
        Ok(RouteList { tab_id: tab.id().clone(), rules: rules_of(&tab) })
    }

    /// Adds a rule, or replaces the one of the same pattern, method and kind.
    pub async fn add_route(&self, target: &Target, route: Route) -> Result<RoutesChanged, Problem> {
        route.check().map_err(|error| Problem::invalid_field(error.field, &error.detail))?;
        let tab = self.tab(target, WRITE).await?;
        if !tab.0.environment.interception.add(route) {
            return Err(Problem::new(CONFLICT, "the tab has 100 rules, which is the maximum"));
        }
        self.apply_routes(&tab, None).await
    }

    /// Removes the rules of a pattern, or all.
    pub async fn remove_routes(&self, target: &Target, query: RouteQuery) -> Result<RoutesChanged, Problem> {
        let tab = self.tab(target, WRITE).await?;
        if rules_of(&tab).is_empty() {
            return Err(Problem::new(NOT_FOUND, "the tab has no rules"));
        }
        let pattern = query.pattern.filter(|pattern| !pattern.is_empty());
        let removed = tab.0.environment.interception.remove(pattern.as_deref());
        self.apply_routes(&tab, Some(removed)).await
    }

    async fn apply_routes(&self, tab: &TabInUse, removed: Option<usize>) -> Result<RoutesChanged, Problem> {
        let applied = tab.0.environment.interception.apply(tab.session(), &self.fleet.0.tasks).await;
        applied.map_err(BrowserError::from)?;
        Ok(RoutesChanged { ok: true, tab_id: tab.id().clone(), removed, rules: rules_of(tab) })
    }
}

fn rules_of(tab: &TabInUse) -> Vec<Route> {
    tab.0.environment.interception.routes().iter().map(|route| (**route).clone()).collect()
}
