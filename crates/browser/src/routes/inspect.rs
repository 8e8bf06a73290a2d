//! Single facts about a page or an element.

use axum::extract::State;
use paddock_platform::{
    http::{Json, Query},
    problem::Problem,
};
use serde_json::Value;
use utoipa_axum::routes;

use super::Routes;
use crate::service::{BrowserService, Counted, Fact, InspectQuery, PageFacts, Target};

type Service = State<BrowserService>;

/// Those that act on a tab.
pub(super) fn in_tab() -> Routes {
    Routes::new()
        .routes(routes!(title))
        .routes(routes!(url))
        .routes(routes!(html))
        .routes(routes!(styles))
        .routes(routes!(value))
        .routes(routes!(attr))
        .routes(routes!(bounding_box))
        .routes(routes!(visible))
        .routes(routes!(enabled))
        .routes(routes!(checked))
        .routes(routes!(count))
}

/// Shows title and address of a page.
#[utoipa::path(get, path = "/title", tag = "browser", params(InspectQuery), responses((status = OK, body = PageFacts)))]
async fn title(
    State(service): Service,
    target: Target,
    Query(query): Query<InspectQuery>,
) -> Result<Json<PageFacts>, Problem> {
    Ok(Json(service.page_facts(&target, Fact::Page, query).await?))
}

/// Shows address and title of a page.
#[utoipa::path(get, path = "/url", tag = "browser", params(InspectQuery), responses((status = OK, body = PageFacts)))]
async fn url(
    State(service): Service,
    target: Target,
    Query(query): Query<InspectQuery>,
) -> Result<Json<PageFacts>, Problem> {
    Ok(Json(service.page_facts(&target, Fact::Page, query).await?))
}

/// Shows the markup of a page or an element.
#[utoipa::path(get, path = "/html", tag = "browser", params(InspectQuery), responses((status = OK, body = PageFacts)))]
async fn html(
    State(service): Service,
    target: Target,
    Query(query): Query<InspectQuery>,
) -> Result<Json<PageFacts>, Problem> {
    Ok(Json(service.page_facts(&target, Fact::Html, query).await?))
}

/// Shows the computed styles of a page's root or an element.
#[utoipa::path(get, path = "/styles", tag = "browser", params(InspectQuery), responses((status = OK, body = PageFacts)))]
async fn styles(
    State(service): Service,
    target: Target,
    Query(query): Query<InspectQuery>,
) -> Result<Json<PageFacts>, Problem> {
    Ok(Json(service.page_facts(&target, Fact::Styles, query).await?))
}

/// Shows what a control holds; passwords are masked.
#[utoipa::path(get, path = "/value", tag = "browser", params(InspectQuery), responses((status = OK, body = Object)))]
async fn value(
    State(service): Service,
    target: Target,
    Query(query): Query<InspectQuery>,
) -> Result<Json<Value>, Problem> {
    Ok(Json(service.element_fact(&target, Fact::Value, query).await?))
}

/// Shows an attribute of an element.
#[utoipa::path(get, path = "/attr", tag = "browser", params(InspectQuery), responses((status = OK, body = Object)))]
async fn attr(
    State(service): Service,
    target: Target,
    Query(query): Query<InspectQuery>,
) -> Result<Json<Value>, Problem> {
    Ok(Json(service.element_fact(&target, Fact::Attr, query).await?))
}

/// Shows where an element is, in CSS pixels of the viewport.
#[utoipa::path(get, path = "/box", tag = "browser", params(InspectQuery), responses((status = OK, body = Object)))]
async fn bounding_box(
    State(service): Service,
    target: Target,
    Query(query): Query<InspectQuery>,
) -> Result<Json<Value>, Problem> {
    Ok(Json(service.element_fact(&target, Fact::Box, query).await?))
}

/// Shows whether an element can be seen.
#[utoipa::path(get, path = "/visible", tag = "browser", params(InspectQuery), responses((status = OK, body = Object)))]
async fn visible(
    State(service): Service,
    target: Target,
    Query(query): Query<InspectQuery>,
) -> Result<Json<Value>, Problem> {
    Ok(Json(service.element_fact(&target, Fact::Visible, query).await?))
}

/// Shows whether an element takes input.
#[utoipa::path(get, path = "/enabled", tag = "browser", params(InspectQuery), responses((status = OK, body = Object)))]
async fn enabled(
    State(service): Service,
    target: Target,
    Query(query): Query<InspectQuery>,
) -> Result<Json<Value>, Problem> {
    Ok(Json(service.element_fact(&target, Fact::Enabled, query).await?))
}

/// Shows whether an element is checked.
#[utoipa::path(get, path = "/checked", tag = "browser", params(InspectQuery), responses((status = OK, body = Object)))]
async fn checked(
    State(service): Service,
    target: Target,
    Query(query): Query<InspectQuery>,
) -> Result<Json<Value>, Problem> {
    Ok(Json(service.element_fact(&target, Fact::Checked, query).await?))
}

/// Counts the elements that a selector names.
#[utoipa::path(get, path = "/count", tag = "browser", params(InspectQuery), responses((status = OK, body = Counted)))]
async fn count(
    State(service): Service,
    target: Target,
    Query(query): Query<InspectQuery>,
) -> Result<Json<Counted>, Problem> {
    Ok(Json(service.count(&target, query).await?))
}
