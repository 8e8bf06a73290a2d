//! A call from its first byte to the first of its answer.

use std::sync::Arc;

use axum::response::Response;
use bytes::Bytes;
use http::HeaderMap;
use metrics::counter;
use paddock_platform::identity::Caller;
use tracing::Instrument;

use super::{
    Gateway,
    admit::Admitted,
    answer::{
        estimated_tokens, failed, finish_whole, from_cache, json_response, keep, refusal, stream_response,
        write_route,
    },
    attempt::{Delivered, Whole},
    cache::Use,
    call::Call,
    failed::Failed,
    record::Record,
    semantic::Asked,
};
use crate::{
    dialect::{Api, failure, translate::parse},
    durable::Once,
    error::{ErrorKind, LlmError},
    govern::{Meter, Stage, can_look_into},
    metrics::LLM_REFUSED_TOTAL,
    routing::Route,
};

impl Gateway {
    /// Serves a call; failures are in the dialect of its api.
    pub(crate) async fn serve(&self, api: Api, caller: &Caller, headers: HeaderMap, body: Bytes) -> Response {
        self.serve_as(api, caller, headers, body, None).await
    }

    /// As [`Gateway::serve`], for a call that is made once.
    pub(crate) async fn serve_once(
        &self,
        api: Api,
        caller: &Caller,
        headers: HeaderMap,
        body: Bytes,
        once: Arc<Once>,
    ) -> Response {
        self.serve_as(api, caller, headers, body, Some(once)).await
    }

    async fn serve_as(
        &self,
        api: Api,
        caller: &Caller,
        headers: HeaderMap,
        body: Bytes,
        once: Option<Arc<Once>>,
    ) -> Response {
        match self.admit(api, caller, headers, body, once).await {
            Ok(admitted) => Box::pin(self.run(admitted)).await,
            Err(error) => {
                counter!(LLM_REFUSED_TOTAL, "reason" => error.label()).increment(1);
                failure::render(api.dialect(), &error)
            }
        }
    }

    async fn run(&self, admitted: Admitted) -> Response {
        let Admitted { call, routes, meters, claim } = admitted;
        let record = Record::new(self.inner(), &call, claim);
        let span = record.span().clone();
        let served = async {
            if call.api == Api::CountTokens
                && !routes[0].targets.iter().any(|target| target.provider.takes(call.api))
            {
                return estimated_tokens(&call, record);
            }
            self.answer(&call, &routes, &meters, record).await
        };
        served.instrument(span).await
    }

    async fn answer(
        &self,
        call: &Arc<Call>,
        routes: &[Arc<Route>],
        meters: &[Arc<Meter>],
        mut record: Record,
    ) -> Response {
        let cache = self.inner().cache.load_full();
        let usage = cache.use_of(call);
        if let Use::Full(key) = usage
            && let Some(kept) = cache.entries.get(&key).await
        {
            return from_cache("hit", &kept, call, routes, meters, record);
        }
        let asked = if usage == Use::Skip { None } else { self.asked(cache.semantic.as_ref(), call).await };
        if let Use::Full(key) = usage {
            if let Some(near) = asked.as_ref().and_then(Asked::nearest) {
                let mut response = from_cache("semantic", near.kept(), call, routes, meters, record);
                near.write_header(&mut response);
                return response;
            }
            if !call.facts.stream {
                return self.answer_once(call, routes, meters, record, (key, asked)).await;
            }
        }
        let delivered = self.deliver(call, routes, &mut record).await;
        let attempts = record.attempts;
        let route = routes.first().map(Arc::as_ref);
        let key = match usage {
            Use::Full(key) | Use::Refresh(key) => Some(key),
            Use::Skip => None,
        };
        match delivered {
            Ok(Delivered::Whole(whole)) => {
                let whole = match self.guard_answer(call, whole, &mut record).await {
                    Ok(whole) => whole,
                    Err(error) => return failed(call, &Failed::of(error), record),
                };
                if let Some(key) = key {
                    let kept = Arc::new(keep(&whole));
                    if let Some(asked) = asked {
                        asked.keep(&kept);
                    }
                    cache.entries.insert(key, kept).await;
                }
                let mut response = finish_whole(&whole, record);
                write_route(&mut response, &whole.served, route, attempts, meters, call);
                response
            }
            Ok(Delivered::Stream(relayed)) => {
                let served = relayed.served.clone();
                let kept = key.map(|key| cache.keeping(key, &served, asked));
                let mut response = stream_response(*relayed, record, kept);
                write_route(&mut response, &served, route, attempts, meters, call);
                response
            }
            Err(failure) => failed(call, &failure, record),
        }
    }

    /// An answer from the cache, or one that everybody who asks the same meanwhile shares.
    async fn answer_once(
        &self,
        call: &Arc<Call>,
        routes: &[Arc<Route>],
        meters: &[Arc<Meter>],
        record: Record,
        (key, asked): (super::cache::Key, Option<Asked>),
    ) -> Response {
        let cache = self.inner().cache.load_full();
        let mut waiting = Some(record);
        let mut led = None;
        let entry = {
            let (waiting, led) = (&mut waiting, &mut led);
            let compute = async move {
                let Some(mut record) = waiting.take() else {
                    return Err(Failed::of(LlmError::new(ErrorKind::Internal, "a call was led twice")));
                };
                match self.deliver(call, routes, &mut record).await {
                    Ok(Delivered::Whole(whole)) => {
                        let guarded = self.guard_answer(call, whole, &mut record).await;
                        *led = Some(record);
                        guarded.map(|whole| Arc::new(keep(&whole))).map_err(Failed::of)
                    }
                    Ok(Delivered::Stream(_)) => {
                        let error =
                            LlmError::new(ErrorKind::Internal, "a stream came where none was asked for");
                        *led = Some(record);
                        Err(Failed::of(error))
                    }
                    Err(failure) => {
                        *led = Some(record);
                        Err(failure)
                    }
                }
            };
            cache.entries.entry(key).or_try_insert_with(compute).await
        };
        match entry {
            Ok(entry) => {
                let how = if led.is_some() { "miss" } else { "hit" };
                let kept = entry.into_value();
                if let (Some(asked), true) = (asked, led.is_some()) {
                    asked.keep(&kept);
                }
                match led.or(waiting) {
                    Some(record) => from_cache(how, &kept, call, routes, meters, record),
                    None => json_response(kept.status, kept.body.clone()),
                }
            }
            Err(failure) => match led.or(waiting) {
                Some(record) => failed(call, &failure, record),
                None => refusal(call, &failure),
            },
        }
    }

    /// Passes a whole answer through the guards; what it cost is known and stays.
    async fn guard_answer(
        &self,
        call: &Call,
        mut whole: Whole,
        record: &mut Record,
    ) -> Result<Whole, LlmError> {
        record.usage = whole.usage;
        let guards = &call.plan.guards;
        if can_look_into(call.api) && guards.any(Stage::Answer, &call.tenant, &call.facts.model) {
            let mut body = parse(&whole.body)?;
            if self.pass_guards(Stage::Answer, call, &mut body).await? {
                whole.body = Bytes::from(body.to_string());
            }
        }
        record.keep(&whole.body);
        Ok(whole)
    }
}
