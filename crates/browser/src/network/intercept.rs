//! Applying a tab's rules to its requests, and its credentials to demands for them.
//!
//! Requests that match a rule's pattern are held by Chrome until this has decided. Nothing stays held: a request whose
//! event was dropped is let go by starting over, and Chrome lets go of all of them when the session ends.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use futures_util::{StreamExt, stream};
use paddock_cdp::{
    CallError, Event, Session, Subscription,
    protocol::fetch::{
        AuthChallengeResponse, AuthRequired, ContinueRequest, ContinueWithAuth, Disable, Enable, FailRequest,
        FulfillRequest, Header, RequestPattern, RequestPaused,
    },
};
use paddock_platform::task::Tasks;

use super::route::{ROUTES_MAX, Route, RouteAction};

const EVENTS: &[&str] = &["Fetch.requestPaused", "Fetch.authRequired"];
/// Held requests that wait for a decision; at more, all are let go.
const HELD_MAX: usize = 1024;
/// Decisions on their way to Chrome at a time.
const DECISIONS_MAX: usize = 16;
/// Demands for credentials that were answered once; a second demand means that they are wrong.
const ANSWERED_MAX: usize = 256;

/// User and password for hosts that demand them.
pub(crate) struct Credentials {
    pub(crate) username: String,
    pub(crate) password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

/// The rules of a tab.
#[derive(Debug, Default)]
pub(crate) struct Interception {
    state: Mutex<State>,
    /// One change at a time reaches Chrome.
    changing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    routes: Vec<Arc<Route>>,
    credentials: Option<Arc<Credentials>>,
    answered: Vec<String>,
    /// The session that a task decides for.
    served: Option<String>,
}

impl Interception {
    /// The rules in force, in the order in which they are asked.
    pub(crate) fn routes(&self) -> Vec<Arc<Route>> {
        self.lock().routes.clone()
    }

    /// Rules to begin with.
    pub(crate) fn of(routes: Vec<Arc<Route>>) -> Self {
        Self { state: Mutex::new(State { routes, ..State::default() }), ..Self::default() }
    }

    /// Adds a rule, or replaces the one of the same pattern, method and kind. False when there are too many.
    pub(crate) fn add(&self, route: Route) -> bool {
        let mut state = self.lock();
        let same = |known: &Route| {
            known.pattern == route.pattern
                && known.method.eq_ignore_ascii_case(&route.method)
                && known.resource_type.eq_ignore_ascii_case(&route.resource_type)
        };
        match state.routes.iter().position(|known| same(known)) {
            Some(known) => state.routes[known] = Arc::new(route),
            None if state.routes.len() >= ROUTES_MAX => return false,
            None => state.routes.push(Arc::new(route)),
        }
        true
    }

    /// Removes the rules of a pattern, or all. How many there were.
    pub(crate) fn remove(&self, pattern: Option<&str>) -> usize {
        let mut state = self.lock();
        let before = state.routes.len();
        state.routes.retain(|route| pattern.is_some_and(|pattern| route.pattern != pattern));
        before - state.routes.len()
    }

    pub(crate) fn set_credentials(&self, credentials: Option<Credentials>) {
        let mut state = self.lock();
        state.credentials = credentials.map(Arc::new);
        state.answered.clear();
    }

    /// Whether there is anything to decide.
    pub(crate) fn is_idle(&self) -> bool {
        let state = self.lock();
        state.routes.is_empty() && state.credentials.is_none()
    }

    /// Puts the rules in force for a session, and starts deciding for it.
    pub(crate) async fn apply(self: &Arc<Self>, session: &Session, tasks: &Tasks) -> Result<(), CallError> {
        let _changing = self.changing.lock().await;
        if self.is_idle() {
            return session.send(&Disable {}).await.map(drop);
        }
        let is_new = {
            let mut state = self.lock();
            let is_new = state.served.as_deref() != Some(session.id());
            state.served = Some(session.id().to_owned());
            is_new
        };
        if is_new {
            let events = session.subscribe(EVENTS, HELD_MAX);
            tasks.spawn("browser_intercept", Arc::clone(self).run(session.clone(), events));
        }
        self.enable(session).await
    }

    async fn enable(&self, session: &Session) -> Result<(), CallError> {
        let (patterns, handle_auth_requests) = {
            let state = self.lock();
            let mut patterns: Vec<_> = state.routes.iter().map(|route| route.request_pattern()).collect();
            if state.credentials.is_some() {
                // Chrome asks for credentials only of requests that it holds.
                patterns.push(RequestPattern { url_pattern: "*".to_owned(), resource_type: None });
            }
            (patterns, state.credentials.is_some())
        };
        session.send(&Enable { patterns: &patterns, handle_auth_requests }).await.map(drop)
    }

    async fn run(self: Arc<Self>, session: Session, events: Subscription) {
        let held = stream::unfold(events, |mut events| async move {
            let event = events.next().await?;
            Some(((event, events.dropped()), events))
        });
        let lost = Mutex::new(0);
        held.for_each_concurrent(DECISIONS_MAX, |(event, dropped)| {
            let is_loss = {
                let mut lost = lost.lock().unwrap_or_else(PoisonError::into_inner);
                std::mem::replace(&mut *lost, dropped) < dropped
            };
            let (this, session) = (&self, &session);
            async move {
                if is_loss {
                    // Disabling lets go of what nobody would decide on.
                    session.send(&Disable {}).await.ok();
                    if !this.is_idle() {
                        this.enable(session).await.ok();
                    }
                }
                if let Err(error) = this.decide(session, &event).await {
                    tracing::debug!(error = %error, "a held request was not decided on");
                }
            }
        })
        .await;
    }

    async fn decide(&self, session: &Session, event: &Event) -> Result<(), CallError> {
        if event.method == "Fetch.authRequired" {
            return match event.parse::<AuthRequired>() {
                Ok(demand) => self.answer_demand(session, &demand).await,
                Err(_) => Ok(()),
            };
        }
        let Ok(held) = event.parse::<RequestPaused>() else { return Ok(()) };
        let (url, method) = (held.request.url.as_str(), held.request.method.as_str());
        let route = self.lock().routes.iter().find(|r| r.matches(url, method, &held.resource_type)).cloned();
        let request_id = held.request_id.as_str();
        match route.as_deref() {
            Some(Route { action: RouteAction::Abort, .. }) => {
                session.send(&FailRequest { request_id, error_reason: "BlockedByClient" }).await.map(drop)
            }
            Some(route @ Route { action: RouteAction::Fulfill, .. }) => {
                let headers = [Header { name: "Content-Type", value: route.content_type() }];
                let command = FulfillRequest {
                    request_id,
                    response_code: route.status.unwrap_or(200),
                    response_headers: &headers,
                    body: &BASE64_STANDARD.encode(&route.body),
                };
                session.send(&command).await.map(drop)
            }
            _ => session.send(&ContinueRequest { request_id }).await.map(drop),
        }
    }

    async fn answer_demand(&self, session: &Session, demand: &AuthRequired) -> Result<(), CallError> {
        let credentials = {
            let mut state = self.lock();
            let again = state.answered.contains(&demand.request_id);
            if !again {
                if state.answered.len() == ANSWERED_MAX {
                    state.answered.remove(0);
                }
                state.answered.push(demand.request_id.clone());
            }
            state.credentials.clone().filter(|_| !again && demand.auth_challenge.source != "Proxy")
        };
        let auth_challenge_response = match &credentials {
            Some(credentials) => AuthChallengeResponse {
                response: "ProvideCredentials",
                username: Some(&credentials.username),
                password: Some(&credentials.password),
            },
            None => AuthChallengeResponse { response: "CancelAuth", username: None, password: None },
        };
        let command = ContinueWithAuth { request_id: &demand.request_id, auth_challenge_response };
        session.send(&command).await.map(drop)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(pattern: &str, action: RouteAction) -> Route {
        Route { pattern: pattern.to_owned(), action, ..Route::default() }
    }

    #[test]
    fn a_rule_of_the_same_pattern_replaces_the_one_before() {
        let rules = Interception::default();
        assert!(rules.add(route("*.png", RouteAction::Abort)));
        assert!(rules.add(route("*.png", RouteAction::Continue)));
        assert!(rules.add(route("api", RouteAction::Fulfill)));
        assert_eq!(rules.routes().len(), 2);
        assert_eq!(rules.routes()[0].action, RouteAction::Continue);
        assert_eq!(rules.remove(Some("*.png")), 1);
        assert_eq!(rules.remove(None), 1);
        assert!(rules.is_idle());
    }

    #[test]
    fn rules_are_bounded() {
        let rules = Interception::default();
        for number in 0..ROUTES_MAX {
            assert!(rules.add(route(&number.to_string(), RouteAction::Abort)));
        }
        assert!(!rules.add(route("one more", RouteAction::Abort)));
    }
}
