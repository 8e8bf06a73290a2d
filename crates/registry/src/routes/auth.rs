//! Proofs of namespaces, with the requests and answers of the official registry: at `v0.1/auth/…`, and where its publisher
//! looks for them, at `v0/auth/…`.

use axum::{Router, extract::State, routing::post};
use paddock_platform::{http::Json, problem::Problem};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::TAG;
use crate::{
    proof::{Presented, ProofMethod},
    registry::Registry,
};

/// Routes that nobody needs a key for, by their patterns: who asks there has none.
pub const ENTRANCE_ROUTES: &[&str] = &[
    "/registry/v0.1/auth/dns",
    "/registry/v0.1/auth/http",
    "/registry/v0.1/auth/github-oidc",
    "/registry/v0.1/auth/none",
    "/registry/v0/auth/dns",
    "/registry/v0/auth/http",
    "/registry/v0/auth/github-oidc",
    "/registry/v0/auth/none",
    "/v0.1/auth/dns",
    "/v0.1/auth/http",
    "/v0.1/auth/github-oidc",
    "/v0.1/auth/none",
    "/v0/auth/dns",
    "/v0/auth/http",
    "/v0/auth/github-oidc",
    "/v0/auth/none",
];

/// A time, signed with the key of a domain.
#[derive(Debug, Deserialize, ToSchema)]
struct SignedTime {
    /// The domain, for example `example.com`.
    domain: String,
    /// The time as it was signed, to the second.
    timestamp: String,
    /// The signature in hexadecimal.
    signed_timestamp: String,
}

/// What GitHub says of a workflow.
#[derive(Debug, Deserialize, ToSchema)]
struct WorkflowToken {
    /// The token, for the audience of this server.
    oidc_token: String,
}

/// The right to publish.
#[derive(Debug, Serialize, ToSchema)]
struct RegistryToken {
    /// What is presented as `Authorization: Bearer …`.
    registry_token: String,
    /// Until when it holds, in seconds since 1970.
    expires_at: i64,
}

pub(super) fn routes() -> OpenApiRouter<Registry> {
    OpenApiRouter::new()
        .routes(routes!(dns))
        .routes(routes!(http))
        .routes(routes!(github_oidc))
        .routes(routes!(none))
        .route("/v0/auth/dns", post(dns))
        .route("/v0/auth/http", post(http))
        .route("/v0/auth/github-oidc", post(github_oidc))
        .route("/v0/auth/none", post(none))
}

pub(super) fn root_routes() -> Router<Registry> {
    ["/v0.1", "/v0"].into_iter().fold(Router::new(), |router, version| {
        router
            .route(&format!("{version}/auth/dns"), post(dns))
            .route(&format!("{version}/auth/http"), post(http))
            .route(&format!("{version}/auth/github-oidc"), post(github_oidc))
            .route(&format!("{version}/auth/none"), post(none))
    })
}

/// Prove a domain by DNS
///
/// The time is signed with a key that a TXT record of the domain names: `v=MCPv1; k=ed25519; p=…`, the key in Base64, or
/// `k=ecdsap384`. The token publishes under `com.example` and all below it.
#[utoipa::path(post, path = "/v0.1/auth/dns", tag = TAG, request_body = SignedTime,
    responses((status = 200, description = "The right to publish", body = RegistryToken)))]
async fn dns(
    State(registry): State<Registry>,
    Json(signed): Json<SignedTime>,
) -> Result<Json<RegistryToken>, Problem> {
    exchange(&registry, signed.presented(ProofMethod::Dns)).await
}

/// Prove a domain by a file
///
/// The time is signed with a key that `https://DOMAIN/.well-known/mcp-registry-auth` names, written as in a TXT record. The
/// token publishes under `com.example` alone.
#[utoipa::path(post, path = "/v0.1/auth/http", tag = TAG, request_body = SignedTime,
    responses((status = 200, description = "The right to publish", body = RegistryToken)))]
async fn http(
    State(registry): State<Registry>,
    Json(signed): Json<SignedTime>,
) -> Result<Json<RegistryToken>, Problem> {
    exchange(&registry, signed.presented(ProofMethod::Http)).await
}

/// Prove a GitHub account by a workflow
///
/// The token publishes under `io.github.OWNER`, whoever owns the workflow's repository.
#[utoipa::path(post, path = "/v0.1/auth/github-oidc", tag = TAG, request_body = WorkflowToken,
    responses((status = 200, description = "The right to publish", body = RegistryToken)))]
async fn github_oidc(
    State(registry): State<Registry>,
    Json(workflow): Json<WorkflowToken>,
) -> Result<Json<RegistryToken>, Problem> {
    exchange(&registry, Presented::Workflow(workflow.oidc_token)).await
}

/// Prove nothing
///
/// Where the configuration allows it, anybody may publish under `io.modelcontextprotocol.anonymous`.
#[utoipa::path(post, path = "/v0.1/auth/none", tag = TAG,
    responses((status = 200, description = "The right to publish", body = RegistryToken)))]
async fn none(State(registry): State<Registry>) -> Result<Json<RegistryToken>, Problem> {
    exchange(&registry, Presented::Nothing).await
}

async fn exchange(registry: &Registry, presented: Presented) -> Result<Json<RegistryToken>, Problem> {
    let granted = registry.proofs().exchange(presented).await.map_err(|error| {
        let problem = Problem::from(error);
        let detail = problem.detail.clone();
        problem.with("error", detail)
    })?;
    Ok(Json(RegistryToken { registry_token: granted.token, expires_at: granted.expires_at.as_second() }))
}

impl SignedTime {
    fn presented(self, method: ProofMethod) -> Presented {
        let Self { domain, timestamp, signed_timestamp } = self;
        Presented::Signed { method, domain, timestamp, signature: signed_timestamp }
    }
}
