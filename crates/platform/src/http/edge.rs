//! The one layer that every request passes: ids, guard, identity, limits, deadline, problems, metrics.
//!
//! One layer rather than one per concern: the concerns share what they find out (the caller decides the limit, the
//! matched route the exemptions, the trace id goes into every failure), and a request pays for one future instead of a
//! dozen. The order is: where from (guard), how often (address, then everybody, so that one address cannot use up what
//! is there for all), how many at once, who (key), how often (key), how long, and at last the handler.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    panic::AssertUnwindSafe,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use axum::{
    extract::{ConnectInfo, MatchedPath, Request},
    response::{IntoResponse, Response},
};
use futures_util::{FutureExt, future::BoxFuture};
use http::{HeaderName, HeaderValue, Method, Uri, header};
use metrics::{Gauge, counter, gauge};
use tower::{Layer, Service};
use tracing::Instrument;

use super::{
    address::{Client, metered_address},
    answer::render_problem,
    authenticate::{Authenticate, AuthenticateError, KeyLimits, NoKeys, credentials, token, token_in_query},
    body::limit_body,
    compress::{compress, vary},
    endpoint::{Endpoint, FailureFormat, RouteRules},
    metrics::{
        HTTP_PANICS_TOTAL, HTTP_REQUESTS_IN_FLIGHT, HTTP_REQUESTS_LIMITED_TOTAL, HTTP_REQUESTS_SHED_TOTAL,
    },
    options::ServerOptions,
    policy::{Policies, Policy, Rules},
    rate::{InFlight, Meter, Meters, RateLimit, Taken},
    trace::{CURRENT, CurrentRequest, TRACEPARENT, TraceContext, X_REQUEST_ID},
};
use crate::{
    config::Section,
    identity::Caller,
    problem::{DEADLINE_EXCEEDED, INTERNAL, OVERLOADED, Problem, RATE_LIMITED, UNAUTHENTICATED},
    telemetry::spans,
};

/// `X-Response-Time`, in development: how long the answer took, in milliseconds.
pub const X_RESPONSE_TIME: HeaderName = HeaderName::from_static("x-response-time");
/// Clients (addresses, keys) whose requests are counted at once.
const METERS_MAX: usize = 65_536;
/// How long finding out whose key it is may take.
const AUTHENTICATE_TIMEOUT: Duration = Duration::from_secs(5);
/// When to come back after being refused for too many requests in flight.
const RETRY_AFTER_SHED: Duration = Duration::from_secs(1);

/// Builds an [`Edge`].
pub struct EdgeBuilder {
    section: Section<ServerOptions>,
    bound: Vec<SocketAddr>,
    keys: Arc<dyn Authenticate>,
    schemes: Vec<(&'static str, Arc<dyn Authenticate>)>,
    rules: Rules,
    failures: HashMap<&'static str, FailureFormat>,
}

impl EdgeBuilder {
    /// Who knows the keys.
    #[must_use]
    pub fn keys(mut self, keys: Arc<dyn Authenticate>) -> Self {
        self.keys = keys;
        self
    }

    /// Who knows credentials of a further scheme, presented as `Authorization: SCHEME …`. Whoever presents one must hold
    /// it, also on a server that needs no key.
    #[must_use]
    pub fn scheme(mut self, scheme: &'static str, authenticate: Arc<dyn Authenticate>) -> Self {
        self.schemes.push((scheme, authenticate));
        self
    }

    /// Exempts a route, given by its pattern as it was registered, for example `/tools/{name}`.
    #[must_use]
    pub fn route(mut self, pattern: &'static str, rules: RouteRules) -> Self {
        self.rules.insert(pattern, rules);
        self
    }

    /// Gives a route's failures another form, those of the edge included.
    #[must_use]
    pub fn failures(mut self, pattern: &'static str, format: FailureFormat) -> Self {
        self.failures.insert(pattern, format);
        self
    }

    /// The layer; add it to the router with `Router::layer` after all routes.
    pub fn build(self) -> Edge {
        Edge(Arc::new(Shared {
            policies: Policies::new(self.section, self.bound),
            keys: self.keys,
            schemes: self.schemes,
            rules: self.rules,
            failures: self.failures,
            local: Caller::local(),
            anonymous: Caller::anonymous(),
            by_address: Meters::new("ip", METERS_MAX),
            by_key: Meters::new("key", METERS_MAX),
            places: Arc::new(Meter::new("concurrency", RateLimit::Unlimited)),
            in_flight: OnceLock::new(),
        }))
    }
}

/// The layer that every request passes. Cheap to clone.
#[derive(Clone)]
pub struct Edge(Arc<Shared>);

impl Edge {
    /// Starts from the options and the addresses that the server is bound to ([`Server::addresses`]): these decide
    /// which names are its own, and whether a key is needed. Probes and metrics are exempt as they must be; other
    /// exemptions follow.
    ///
    /// [`Server::addresses`]: super::Server::addresses
    pub fn builder(section: Section<ServerOptions>, bound: &[SocketAddr]) -> EdgeBuilder {
        let rules = Rules::from([
            ("/healthz", RouteRules::LIVENESS),
            ("/readyz", RouteRules::PROBE),
            ("/metrics", RouteRules::UNLIMITED),
        ]);
        EdgeBuilder {
            section,
            bound: bound.to_vec(),
            keys: Arc::new(NoKeys),
            schemes: Vec::new(),
            rules,
            failures: HashMap::new(),
        }
    }
}

impl<S> Layer<S> for Edge {
    type Service = EdgeService<S>;

    /// Called once per route and method: each gets its own place for what is known of its endpoint.
    fn layer(&self, inner: S) -> EdgeService<S> {
        EdgeService { shared: Arc::clone(&self.0), endpoint: Arc::default(), inner }
    }
}

/// The service that [`Edge`] makes of a route.
#[derive(Clone)]
pub struct EdgeService<S> {
    shared: Arc<Shared>,
    endpoint: Arc<OnceLock<Endpoint>>,
    inner: S,
}

impl<S> Service<Request> for EdgeService<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let (shared, endpoint) = (Arc::clone(&self.shared), Arc::clone(&self.endpoint));
        let inner = self.inner.clone();
        Box::pin(async move {
            let endpoint = endpoint.get_or_init(|| shared.endpoint_of(&request));
            Ok(shared.handle(endpoint, inner, request).await)
        })
    }
}

struct Shared {
    policies: Policies,
    keys: Arc<dyn Authenticate>,
    schemes: Vec<(&'static str, Arc<dyn Authenticate>)>,
    rules: Rules,
    failures: HashMap<&'static str, FailureFormat>,
    local: Caller,
    anonymous: Caller,
    by_address: Meters<IpAddr>,
    by_key: Meters<String>,
    /// Counts the requests in flight; apart from rates, so that changing one does not touch the other.
    places: Arc<Meter>,
    in_flight: OnceLock<Gauge>,
}

/// What is remembered of a request while its handler has it.
struct Exchange {
    started: Instant,
    method: Method,
    uri: Uri,
    current: CurrentRequest,
    policy: Arc<Policy>,
    taken: Option<Taken>,
}

/// Leave to proceed: the places that the request holds until its answer is ready.
#[derive(Default)]
struct Admission {
    _places: [Option<InFlight>; 2],
}

impl Shared {
    fn endpoint_of(&self, request: &Request) -> Endpoint {
        match request.extensions().get::<MatchedPath>() {
            Some(path) => {
                let name = path.as_str();
                let rules = self.rules.get(name).copied().unwrap_or_default();
                Endpoint::new(name, rules, self.failures.get(name).copied())
            }
            None => Endpoint::new("other", RouteRules::default(), None),
        }
    }

    async fn handle<S>(&self, endpoint: &Endpoint, inner: S, mut request: Request) -> Response
    where
        S: Service<Request, Response = Response, Error = Infallible> + Send,
        S::Future: Send,
    {
        let started = Instant::now();
        let mut trace = TraceContext::begin(request.headers());
        let span = spans::begin(&mut trace, request.method(), endpoint.name());
        let mut exchange = Exchange {
            started,
            method: request.method().clone(),
            uri: request.uri().clone(),
            current: CurrentRequest { id: trace.request_id(request.headers()), trace },
            policy: self.policies.current(started),
            taken: None,
        };
        let response = match self.admit(endpoint, &mut request, &mut exchange).await {
            Ok(_admission) => {
                self.in_flight().increment(1.0);
                let _count = DecrementOnDrop(self.in_flight());
                run(inner, request, endpoint, &exchange).instrument(span.clone()).await
            }
            Err(problem) => problem.into_response(),
        };
        let response = exchange.finish(endpoint, response).await;
        spans::end(&span, response.status());
        response
    }

    fn in_flight(&self) -> &Gauge {
        self.in_flight.get_or_init(|| gauge!(HTTP_REQUESTS_IN_FLIGHT))
    }

    /// Guard, limits and identity, in the order that the module describes. Leaves the caller in the request.
    async fn admit(
        &self,
        endpoint: &Endpoint,
        request: &mut Request,
        exchange: &mut Exchange,
    ) -> Result<Admission, Problem> {
        let policy = Arc::clone(&exchange.policy);
        let (options, rules) = (&policy.options, endpoint.rules);
        let host = policy.guard.check_host(request.headers(), request.uri(), request.version())?;
        let refused = policy.guard.check_origin(request.headers(), host).err();
        let is_foreign = refused.is_some();
        if let Some(refused) = refused.filter(|_| !(rules.public && is_safe(request.method()))) {
            return Err(refused);
        }
        if rules.keyless && rules.unlimited {
            request.extensions_mut().insert(self.anonymous.clone());
            limit_body(request, options.body_max, None)?;
            return Ok(Admission::default());
        }
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip());
        let client = peer.map(|peer| Client::of(peer, request.headers(), &options.trusted_proxies));
        // A router that is called without a server has no peer: then the addresses it was told decide alone.
        let mut required = options.keys_required
            || !self.policies.is_loopback()
            || client.is_some_and(|client| !client.is_local)
            || is_foreign;
        let has_form = |token: &str| self.keys.has_form_of_key(token);
        let headers = request.headers();
        let of_scheme = self.schemes.iter().find_map(|(scheme, authenticate)| {
            credentials(headers, scheme).map(|token| (authenticate, token))
        });
        let in_query = || token_in_query(request.uri().query()).filter(|_| rules.key_in_query);
        let of_key = token(headers, has_form).or_else(in_query).filter(|token| required || has_form(token));
        let presented = of_scheme.or(of_key.map(|token| (&self.keys, token)));
        let mut presented = presented.filter(|_| !rules.keyless);
        if let Some(client) = client
            && (!rules.unlimited || presented.is_some())
        {
            let address = metered_address(client.address);
            let meter = self.by_address.get(&address, options.rates.per_ip, exchange.started);
            match take(&meter, &mut exchange.taken) {
                // A probe is answered in any case; as nobody's, if whose it is would cost more than is left.
                Err(_) if rules.open && rules.unlimited => (presented, required) = (None, true),
                taken => taken?,
            }
        }
        let place = if rules.unlimited { None } else { Some(self.enter(&policy)?) };
        let (caller, limits) = match presented {
            None if !required => (self.local.clone(), KeyLimits::default()),
            None if rules.public && is_safe(request.method()) => {
                (self.anonymous.clone(), KeyLimits::default())
            }
            presented => self.identify(presented, rules).await?,
        };
        let key_place = match (caller.key_id(), rules.unlimited) {
            (Some(key), false) => {
                let limit = limits.rate.unwrap_or(options.rates.per_key);
                let meter = self.by_key.get(key, limit, exchange.started);
                take(&meter, &mut exchange.taken)?;
                limits.concurrency_max.map(|max| enter_as_key(&meter, max)).transpose()?
            }
            _ => None,
        };
        request.extensions_mut().insert(caller);
        let body_time_max = rules.untimed.then(|| options.timeout.get());
        limit_body(request, rules.body_max.unwrap_or(options.body_max), body_time_max)?;
        Ok(Admission { _places: [place, key_place] })
    }

    /// A place among all requests, as far as the server's own limits leave any.
    fn enter(&self, policy: &Policy) -> Result<InFlight, Problem> {
        if let Some(taken) = policy.global.take()
            && taken.refused
        {
            counter!(HTTP_REQUESTS_LIMITED_TOTAL, "limit" => taken.name).increment(1);
            return Err(Problem::new(
                OVERLOADED,
                format!("the server gets more requests than {}, its maximum", RateLimit::AtMost(taken.rate)),
            )
            .with("limit", taken.name)
            .retry_after(taken.reset));
        }
        self.places.enter(policy.options.concurrency_max.get()).ok_or_else(|| {
            counter!(HTTP_REQUESTS_SHED_TOTAL).increment(1);
            Problem::new(OVERLOADED, "the server works on as many requests as it can; try again shortly")
                .retry_after(RETRY_AFTER_SHED)
        })
    }

    /// Whose key it is. A key that is presented must hold, and where one is needed there must be one.
    async fn identify(
        &self,
        presented: Option<(&Arc<dyn Authenticate>, &str)>,
        rules: RouteRules,
    ) -> Result<(Caller, KeyLimits), Problem> {
        let refused = match presented {
            None => Problem::new(
                UNAUTHENTICATED,
                "this server needs a key; send it as `Authorization: Bearer KEY` or `X-Api-Key: KEY`",
            ),
            Some((authenticate, token)) => {
                let checked =
                    tokio::time::timeout(AUTHENTICATE_TIMEOUT, authenticate.authenticate(token)).await;
                match checked.unwrap_or_else(|late| Err(AuthenticateError::Unavailable(late.into()))) {
                    Ok(authenticated) => return Ok((authenticated.caller, authenticated.limits)),
                    Err(error) => error.into(),
                }
            }
        };
        // A probe without a key, or with a stale one, still gets its answer: it needs none.
        if rules.open { Ok((self.anonymous.clone(), KeyLimits::default())) } else { Err(refused) }
    }
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

struct DecrementOnDrop<'a>(&'a Gauge);

impl Drop for DecrementOnDrop<'_> {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// Counts the request against a limit; the last limit that applied is the one that the answer's headers tell of.
fn take(meter: &Meter, last: &mut Option<Taken>) -> Result<(), Problem> {
    let Some(taken) = meter.take() else { return Ok(()) };
    *last = Some(taken);
    if !taken.refused {
        return Ok(());
    }
    counter!(HTTP_REQUESTS_LIMITED_TOTAL, "limit" => taken.name).increment(1);
    let whose = if taken.name == "key" { "with this key" } else { "from this address" };
    let limit = RateLimit::AtMost(taken.rate);
    Err(Problem::new(RATE_LIMITED, format!("more requests {whose} than {limit}; slow down"))
        .with("limit", taken.name)
        .retry_after(taken.reset))
}

fn enter_as_key(meter: &Meter, max: u32) -> Result<InFlight, Problem> {
    meter.enter(max as usize).ok_or_else(|| {
        counter!(HTTP_REQUESTS_LIMITED_TOTAL, "limit" => "key_concurrency").increment(1);
        Problem::new(RATE_LIMITED, format!("this key has {max} requests in flight already, its maximum"))
            .with("limit", "key_concurrency")
            .retry_after(RETRY_AFTER_SHED)
    })
}

/// The handler, with its deadline, behind compression; a panic is an answer too.
async fn run<S>(mut inner: S, request: Request, endpoint: &Endpoint, exchange: &Exchange) -> Response
where
    S: Service<Request, Response = Response, Error = Infallible> + Send,
    S::Future: Send,
{
    let handler = async move {
        let answer = if request.headers().contains_key(header::ACCEPT_ENCODING) {
            compress(inner, request).await
        } else {
            inner.call(request).await
        };
        let mut answer = answer.unwrap_or_else(|never| match never {});
        vary(&mut answer);
        answer
    };
    let handler = CURRENT.scope(exchange.current.clone(), AssertUnwindSafe(handler).catch_unwind());
    let deadline = exchange.policy.options.timeout.get();
    let answer = if endpoint.rules.untimed {
        Ok(handler.await)
    } else {
        tokio::time::timeout(deadline, handler).await
    };
    match answer {
        Ok(Ok(response)) => response,
        Ok(Err(panic)) => {
            counter!(HTTP_PANICS_TOTAL).increment(1);
            let message = panic_message(panic.as_ref());
            exchange.log(|| tracing::error!(endpoint = endpoint.name(), message, "a handler panicked"));
            Problem::new(INTERNAL, "the handler failed; the server's log has the cause under the trace id")
                .into_response()
        }
        Err(_) => Problem::new(
            DEADLINE_EXCEEDED,
            format!("no answer within {}, the server's `server.timeout`", exchange.policy.options.timeout),
        )
        .into_response(),
    }
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&'static str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

impl Exchange {
    /// Logs with the request's ids.
    fn log(&self, log: impl FnOnce()) {
        CURRENT.sync_scope(self.current.clone(), log);
    }

    async fn finish(&self, endpoint: &Endpoint, response: Response) -> Response {
        let trace = &self.current.trace;
        let mut response = if response.status().is_client_error() || response.status().is_server_error() {
            let trace_id = trace.trace_id_hex();
            let asked = (self.method.as_str(), self.uri.path());
            render_problem(response, asked, trace_id.as_ref(), endpoint.failures).await
        } else {
            response
        };
        let took = self.started.elapsed();
        let headers = response.headers_mut();
        headers.insert(X_REQUEST_ID, self.current.id.clone());
        headers.insert(TRACEPARENT, trace.to_traceparent());
        if let Some(taken) = &self.taken {
            for (name, value) in taken.headers() {
                headers.insert(name, value);
            }
        }
        if self.policy.options.debug {
            let text = format!("{:.3}ms", took.as_secs_f64() * 1e3);
            headers.insert(
                X_RESPONSE_TIME,
                HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("")),
            );
        }
        endpoint.record(&self.method, response.status(), took);
        if tracing::enabled!(tracing::Level::DEBUG) {
            let status = response.status().as_u16();
            self.log(|| tracing::debug!(method = %self.method, path = self.uri.path(), status, "answered"));
        }
        if took >= self.policy.options.slow_request.get() {
            self.log(|| {
                tracing::warn!(
                    method = %self.method,
                    path = self.uri.path(),
                    endpoint = endpoint.name(),
                    status = response.status().as_u16(),
                    duration_ms = took.as_millis() as u64,
                    "slow request"
                );
            });
        }
        response
    }
}
