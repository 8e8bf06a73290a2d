//! All routes of all areas, and what the edge does for each.

use std::sync::Arc;

use axum::{Router, middleware};
use paddock_agents::a2a;
use paddock_browser::sessions;
use paddock_jobs::{live, mission, schedule, webhook};
use paddock_platform::{
    events,
    health::Health,
    http::{Edge, RouteRules, idempotent, openapi, require, tools},
    mcp,
    problem::Problem,
    telemetry::profile,
};
use paddock_registry::gateway;
use utoipa_axum::router::OpenApiRouter;

use super::{Parts, bearers::Bearers};
use crate::status_page::{self, StatusPage};

impl Parts {
    /// All routes behind the edge; of the areas only with `api`.
    pub(super) fn app(
        &self,
        bound: &[std::net::SocketAddr],
        base: &str,
        api: bool,
    ) -> Result<Router, Problem> {
        let config = self.live.current();
        self.agents.set_base(base);
        let health = self.health();
        let mut app = Router::new().merge(health.router()).merge(self.telemetry.metrics().router());
        if api {
            app = app.merge(self.areas(&health, base)?);
            if config.registry.root {
                app = app.merge(paddock_registry::root_routes(self.registry.clone(), &self.idempotency));
            }
        }
        let section = self.live.section(|config| &config.server);
        let bearers = Bearers { keys: self.keys.clone(), proofs: self.registry.proofs() };
        let mut edge = Edge::builder(section, bound).keys(Arc::new(bearers));
        if let Some(of_agents) = self.browser.sessions() {
            edge = edge.scheme(sessions::SCHEME, Arc::new(of_agents.clone()));
        }
        // These have deadlines of their own, which may be longer.
        let own = ["/analysis", tools::CALL_ROUTE, mcp::MCP_ROUTE, gateway::MCP_SERVER_ROUTE];
        let untimed = own
            .iter()
            .chain(paddock_browser::UNTIMED_ROUTES)
            .chain(paddock_jobs::UNTIMED_ROUTES)
            .chain(mission::UNTIMED_ROUTES)
            .chain(paddock_agents::UNTIMED_ROUTES)
            .chain(a2a::UNTIMED_ROUTES);
        for pattern in untimed {
            edge = edge.route(pattern, RouteRules::UNTIMED);
        }
        for pattern in paddock_registry::PUBLIC_ROUTES {
            edge = edge.route(pattern, RouteRules::PUBLIC);
        }
        for pattern in paddock_registry::ENTRANCE_ROUTES {
            edge = edge.route(pattern, RouteRules::ENTRANCE);
        }
        let streams = paddock_browser::STREAM_ROUTES
            .iter()
            .chain(paddock_jobs::STREAM_ROUTES)
            .chain(mission::STREAM_ROUTES)
            .chain(paddock_registry::STREAM_ROUTES)
            .chain(&[events::EVENTS_ROUTE]);
        for pattern in streams {
            edge = edge.route(pattern, RouteRules::STREAM);
        }
        let uploads = RouteRules::UNTIMED.with_body_max(paddock_agents::upload_max(&self.agents));
        edge = edge.route(paddock_agents::UPLOAD_ROUTE, uploads);
        let calls = RouteRules::UNTIMED.with_body_max(config.llm.body_max);
        for (pattern, is_anthropic) in paddock_llm::API_ROUTES {
            let failures = paddock_llm::render_failure(is_anthropic);
            edge = edge.route(pattern, calls).failures(pattern, failures);
        }
        if config.server.debug {
            app = app.merge(profile::router());
            for pattern in profile::PROFILE_ROUTES {
                edge = edge.route(pattern, profile::PROFILE_RULES);
            }
        }
        Ok(app.layer(edge.build()))
    }

    /// The routes of all areas.
    fn areas(&self, health: &Health, base: &str) -> Result<Router, Problem> {
        let once = middleware::from_fn_with_state(self.idempotency.clone(), idempotent);
        let (areas, api) = OpenApiRouter::with_openapi(openapi::base(env!("CARGO_PKG_VERSION")))
            .nest("/browser", paddock_browser::router(self.browser.clone()))
            .nest(
                "/analysis",
                paddock_analysis::routes(self.analyses.clone(), self.jobs.clone())
                    .route_layer(once.clone())
                    .route_layer(require("analysis")),
            )
            .nest(
                "/jobs",
                paddock_jobs::routes(self.jobs.clone())
                    .merge(live::routes(self.jobs.clone(), self.events.clone()))
                    .nest("/webhooks", webhook::routes(self.webhooks.clone()))
                    .route_layer(once.clone())
                    .route_layer(require("jobs")),
            )
            .nest("/jobs/schedules", schedule::routes(self.schedules.clone()).route_layer(require("jobs")))
            .nest(
                "/missions",
                mission::routes(self.missions.clone()).route_layer(once).route_layer(require("jobs")),
            )
            .nest("/agents", paddock_agents::routes(self.agents.clone()).route_layer(require("agents")))
            .merge(a2a::routes(self.agents.clone()))
            .nest("/llm", paddock_llm::router(self.models.gateway().clone(), Some(self.models.clone())))
            .nest("/registry", paddock_registry::routes(self.registry.clone(), &self.idempotency))
            .merge(events::router(self.events.clone()))
            .merge(tools::router(self.toolbox.clone()))
            .merge(mcp::router(self.mcp(), self.tasks.stop_token()))
            .merge(gateway::routes(self.mcp_servers.clone()))
            .split_for_parts();
        let page = StatusPage::new(health.clone(), self.browser.fleet().clone(), self.analyses.clone(), base);
        Ok(areas.merge(openapi::router(&api)?).merge(status_page::router(page)))
    }
}
