//! Audits and crawls.

use axum::extract::State;
use paddock_platform::{
    http::{Json, Path},
    problem::Problem,
};
use utoipa_axum::routes;

use super::Routes;
use crate::{
    audit::{AuditReport, PageAudit},
    crawl::CrawlReport,
    ids::InstanceId,
    service::{AuditPageRequest, AuditRequest, BrowserService, ScrapeRequest, TabA11y, Target},
};

type Service = State<BrowserService>;

pub(super) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(audit_page))
        .routes(routes!(audit))
        .routes(routes!(audit_in))
        .routes(routes!(scrape))
        .routes(routes!(scrape_in))
}

/// Those that act on a tab.
pub(super) fn in_tab() -> Routes {
    Routes::new().routes(routes!(a11y))
}

/// Judges the accessibility of the page by a few rules. `POST /analysis` looks far more closely.
#[utoipa::path(get, path = "/a11y/audit", tag = "browser", params(("tabId" = Option<String>, Query)),
    responses((status = OK, body = TabA11y)))]
async fn a11y(State(service): Service, target: Target) -> Result<Json<TabA11y>, Problem> {
    Ok(Json(service.a11y(&target).await?))
}

/// Opens a page in a tab of its own and tells what it loads and logs, what can be acted on, and what a few rules say.
#[utoipa::path(post, path = "/audit/page", tag = "browser", request_body = AuditPageRequest,
    responses((status = OK, body = PageAudit)))]
async fn audit_page(
    State(service): Service,
    target: Target,
    Json(request): Json<AuditPageRequest>,
) -> Result<Json<PageAudit>, Problem> {
    Ok(Json(service.audit_page(&target, None, request).await?))
}

/// As `/audit/page`, of many pages: those that are named, of a sitemap, or of the client's own crawl.
#[utoipa::path(post, path = "/audit", tag = "browser", request_body = AuditRequest,
    responses((status = OK, body = AuditReport)))]
async fn audit(
    State(service): Service,
    target: Target,
    Json(request): Json<AuditRequest>,
) -> Result<Json<AuditReport>, Problem> {
    Ok(Json(service.audit(&target, None, request).await?))
}

/// As `/audit`, in one instance.
#[utoipa::path(post, path = "/instances/{id}/audit", tag = "browser", params(("id" = String, Path)),
    request_body = AuditRequest, responses((status = OK, body = AuditReport)))]
async fn audit_in(
    State(service): Service,
    target: Target,
    Path(id): Path<InstanceId>,
    Json(request): Json<AuditRequest>,
) -> Result<Json<AuditReport>, Problem> {
    Ok(Json(service.audit(&target, Some(&id), request).await?))
}

/// Reads the pages of a site as Markdown: first as they are served, and where that says too little as visitors see them.
#[utoipa::path(post, path = "/scrape", tag = "browser", request_body = ScrapeRequest,
    responses((status = OK, body = CrawlReport)))]
async fn scrape(
    State(service): Service,
    target: Target,
    Json(request): Json<ScrapeRequest>,
) -> Result<Json<CrawlReport>, Problem> {
    Ok(Json(service.scrape(&target, None, request).await?))
}

/// As `/scrape`, in one instance.
#[utoipa::path(post, path = "/instances/{id}/scrape", tag = "browser", params(("id" = String, Path)),
    request_body = ScrapeRequest, responses((status = OK, body = CrawlReport)))]
async fn scrape_in(
    State(service): Service,
    target: Target,
    Path(id): Path<InstanceId>,
    Json(request): Json<ScrapeRequest>,
) -> Result<Json<CrawlReport>, Problem> {
    Ok(Json(service.scrape(&target, Some(&id), request).await?))
}
