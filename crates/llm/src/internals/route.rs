//! A route decision by itself.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use paddock_platform::identity::Caller;

use crate::{
    config::LlmOptions,
    dialect::Api,
    gateway::Call,
    routing::{Lanes, Plan, choose},
    upstream::http_client,
};

/// Decides where calls go, and makes none.
pub struct Decider {
    plan: Arc<Plan>,
    call: Call,
}

impl std::fmt::Debug for Decider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Decider")
    }
}

impl Decider {
    /// A configuration, and the chat completion that is decided about.
    ///
    /// # Panics
    /// If either is wrong.
    #[expect(clippy::expect_used, reason = "what a benchmark gives is right")]
    pub fn new(options: LlmOptions, caller: &Caller, body: Bytes) -> Self {
        let http = http_client(std::time::Duration::from_secs(1));
        let plan = Plan::new(options, &http, &Arc::<Lanes>::default(), None).expect("a configuration");
        let plan = Arc::new(plan);
        let call =
            Call::read(Api::Chat, Arc::clone(&plan), caller, HeaderMap::new(), body).expect("a request");
        Self { plan, call }
    }

    /// Reads what a decision needs of a body, as each call does.
    pub fn read(&self, caller: &Caller, body: &Bytes) -> bool {
        Call::read(Api::Chat, Arc::clone(&self.plan), caller, HeaderMap::new(), body.clone()).is_ok()
    }

    /// Decides: from the model's name to a credential that has a place, which is given back at once.
    pub fn decide(&self) -> bool {
        let ask = self.call.ask();
        let Ok(routes) = self.plan.resolve(&ask) else { return false };
        choose(&self.plan, &routes, &ask, &[]).is_ok()
    }
}
