//! Whether a call may be made, and where it may go.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::HeaderMap;
use paddock_platform::identity::Caller;
use serde_json::Value;

use super::{Gateway, call::Call, texts::texts_of};
use crate::{
    dialect::{Api, translate::parse},
    durable::Once,
    error::LlmError,
    govern::{Claim, Limits, Meter, Pico, Stage, can_look_into},
    routing::Route,
};

/// A call that may be made.
pub(super) struct Admitted {
    pub(super) call: Arc<Call>,
    pub(super) routes: Vec<Arc<Route>>,
    pub(super) meters: Arc<[Arc<Meter>]>,
    pub(super) claim: Claim,
}

impl Gateway {
    /// Whether a call could be made later, and how long it may take then.
    pub(crate) fn check(
        &self,
        api: Api,
        caller: &Caller,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Duration, LlmError> {
        let inner = self.inner();
        let plan = inner.plan.load_full();
        let call = Call::read(api, Arc::clone(&plan), caller, headers, body)?;
        call.refuse_stream()?;
        Limits::check_model(&plan.limits.of(caller, &inner.ledger), &call.facts.model)?;
        plan.resolve(&call.ask())?;
        Ok(plan.options.resilience.request_timeout.get())
    }

    /// Whether the call may be made, and where it may go.
    pub(super) async fn admit(
        &self,
        api: Api,
        caller: &Caller,
        headers: HeaderMap,
        body: Bytes,
        once: Option<Arc<Once>>,
    ) -> Result<Admitted, LlmError> {
        let inner = self.inner();
        let plan = inner.plan.load_full();
        let mut call = Call::read(api, Arc::clone(&plan), caller, headers, body)?;
        if once.is_some() {
            call.refuse_stream()?;
            call.once = once;
        }
        let meters = plan.limits.of(caller, &inner.ledger);
        Limits::check_model(&meters, &call.facts.model)?;
        if can_look_into(api) && plan.guards.any(Stage::Request, &call.tenant, &call.facts.model) {
            let mut body = parse(&call.body)?;
            if self.pass_guards(Stage::Request, &call, &mut body).await? {
                call.replace_body(Bytes::from(body.to_string()))?;
            }
        }
        let ask = call.ask();
        let routes = plan.resolve(&ask)?;
        let (tokens, cost) = if api == Api::CountTokens {
            (0, 0)
        } else {
            let targets = routes.iter().take(1).flat_map(|route| &route.targets);
            let dearest: Pico = targets.map(|target| target.estimate(&ask)).max().unwrap_or(0);
            (ask.tokens_in + ask.tokens_out, dearest)
        };
        let claim = Limits::claim(&meters, tokens, cost)?;
        Ok(Admitted { call: Arc::new(call), routes, meters, claim })
    }

    pub(super) async fn pass_guards(
        &self,
        stage: Stage,
        call: &Call,
        body: &mut Value,
    ) -> Result<bool, LlmError> {
        let mut texts = texts_of(body);
        let who = (&*call.tenant, call.facts.model.as_str());
        call.plan.guards.pass(&self.inner().http, stage, who, &mut texts).await
    }
}
