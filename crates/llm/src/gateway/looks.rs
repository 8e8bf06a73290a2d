//! What callers may see: models, usage, decisions, explanations.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use paddock_platform::{
    identity::{Caller, Scope},
    problem::Problem,
};
use serde_json::Value;

use super::{Decision, Gateway, call::Call};
use crate::{
    dialect::Api,
    error::LlmError,
    govern::{LogFilter, LoggedCall, UsageFilter},
    routes::{UsageQuery, UsageReport},
    routing::{Ask, Explanation, explain},
};

impl Gateway {
    /// Names that a caller can use, with the provider that serves each first.
    pub fn models_for(&self, caller: &Caller) -> Vec<(String, String)> {
        let plan = self.inner().plan.load();
        let meters = plan.limits.of(caller, &self.inner().ledger);
        let models = plan.models().into_iter();
        models.filter(|(name, _)| meters.iter().all(|meter| meter.allows(name))).collect()
    }

    /// That there is no such model, with the nearest that there is.
    pub(crate) fn unknown_model(&self, model: &str) -> LlmError {
        let plan = self.inner().plan.load();
        let ask = Ask { model, ..Ask::default() };
        plan.resolve(&ask).err().unwrap_or_else(|| plan.unknown(model))
    }

    /// Where a chat completion would go, and why.
    pub(crate) fn explain(
        &self,
        caller: &Caller,
        headers: HeaderMap,
        request: &Value,
    ) -> Result<Explanation, Problem> {
        let plan = self.inner().plan.load_full();
        let body = Bytes::from(request.to_string());
        let call = Call::read(Api::Chat, Arc::clone(&plan), caller, headers, body)?;
        Ok(explain(&plan, &call.ask())?)
    }

    /// The last decisions of the caller's tenant, or of all for administrators.
    pub(crate) fn decisions(&self, caller: &Caller, limit: usize) -> Vec<Decision> {
        let sees_all = caller.may(Scope::admin("llm"));
        let tenant = (!sees_all).then(|| caller.tenant().as_str());
        self.inner().decisions.last(tenant, limit)
    }

    /// What was used.
    pub(crate) async fn usage(&self, caller: &Caller, query: &UsageQuery) -> Result<UsageReport, Problem> {
        if query.all {
            caller.require(Scope::admin("llm"))?;
        }
        let (from_hour, to_hour) = query.hours()?;
        let filter = UsageFilter {
            from_hour,
            to_hour,
            tenant: (!query.all).then(|| caller.tenant().as_str().to_owned()),
            key: query.key.clone(),
            group: query.group,
        };
        let rows = self.inner().ledger.usage(&filter).await?;
        let moment = |hour: i64| jiff::Timestamp::from_second(hour * 3600).unwrap_or_default().to_string();
        Ok(UsageReport {
            from: moment(from_hour),
            to: moment(to_hour),
            cost_usd: rows.iter().map(|row| row.cost_usd).sum(),
            rows,
        })
    }

    /// Calls in the log.
    pub(crate) async fn logged(&self, filter: LogFilter) -> Result<Vec<LoggedCall>, Problem> {
        Ok(self.inner().log.list(filter).await?)
    }
}
