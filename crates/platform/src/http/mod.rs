//! The HTTP server: its edge, what handlers are written with, and what it serves about itself.
//!
//! A request's way: a connection of the [`Server`] (bounded in number, with a deadline for its headers) → the axum
//! router finds the route → the [`Edge`], one layer around every route: ids, `Host`/`Origin` guard, identity, rate and
//! concurrency limits, deadline, body limit, compression, metrics → [`require`]: the scope → the handler. A handler
//! returns `Result<Json<T>, Problem>`; whatever else fails on the way is a [`Problem`](crate::problem::Problem) too.
//!
//! Handlers use [`Json`], [`Query`] and [`Path`] of this module, whose refusals name the field; [`Caller`] as an
//! argument says who asks; lists answer a [`Page`]; routes that create things wear [`idempotent`].
//!
//! Areas contribute `OpenApiRouter`s. [`openapi`] merges what they declare into `/openapi.json` and renders `/docs`;
//! [`tools`] serves the toolbox.
//!
//! [`Caller`]: crate::identity::Caller

mod address;
mod answer;
mod authenticate;
mod body;
mod compress;
mod connection;
mod docs;
mod edge;
mod endpoint;
mod etag;
mod extract;
mod guard;
mod idempotency;
pub mod metrics;
pub mod openapi;
mod options;
mod page;
mod policy;
mod prefer;
mod prepared;
mod rate;
mod require;
mod server;
mod stall;
mod stream;
pub mod tools;
mod trace;

pub use address::{ListenAddress, ParseListenError, ParseNetworkError, ProxyNetwork};
pub use answer::UNSUPPORTED_MEDIA_TYPE;
pub use authenticate::{Authenticate, AuthenticateError, Authenticated, KeyLimits, NoKeys, X_API_KEY};
pub use edge::{Edge, EdgeBuilder, EdgeService, X_RESPONSE_TIME};
pub use endpoint::{FailureFormat, RouteRules};
pub use etag::Etag;
pub use extract::{Json, Path, Query, body_problem, parse_json, parse_query};
pub use idempotency::{
    AnswerStore, AnswersInMemory, AnswersInStore, IDEMPOTENCY_KEY, IDEMPOTENCY_KEY_REUSED,
    IDEMPOTENCY_REPLAYED, Idempotency, KeptAnswer, idempotent,
};
pub use options::{RateLimits, ServerOptions};
pub use page::{Cursor, PAGE_LIMIT_DEFAULT, PAGE_LIMIT_MAX, Page, PageQuery, page_limit};
pub use prefer::{Preference, WAIT_MAX};
pub use prepared::Prepared;
pub use rate::{ParseRateError, Period, Rate, RateLimit};
pub use require::{Require, RequireService, require, require_scope};
pub use server::{Drained, Server, ServerError};
#[cfg(test)]
pub(crate) use trace::CURRENT;
pub(crate) use trace::parse_traceparent;
pub use trace::{CurrentRequest, TRACEPARENT, TraceContext, X_REQUEST_ID, current_request};
