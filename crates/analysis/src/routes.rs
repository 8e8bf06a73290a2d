//! `/analysis`: pages in, reports out.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use paddock_platform::{
    http::{Cursor, Etag, Json, Page, PageQuery, Path, Query, page_limit},
    identity::Caller,
    problem::Problem,
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    analyses::{Analyses, AnalysisInput},
    report::Report,
    store::ReportSummary,
};

const TAG: &str = "analysis";
/// Reports quote pages; nothing in them may run or load, wherever they are opened.
const REPORT_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'; sandbox allow-popups allow-popups-to-escape-sandbox",
);

/// The area's routes, to be nested under `/analysis`.
pub fn routes(analyses: Analyses) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(show, remove))
        .routes(routes!(file))
        .routes(routes!(shot))
        .with_state(analyses)
}

/// Analyse a page
///
/// Looks at the page on the asked screens and answers with the report; its HTML form is under the `Location`. A recent
/// report of the same page is answered instead of looking again, unless `fresh` is true.
#[utoipa::path(post, path = "/", tag = TAG, request_body = AnalysisInput, responses(
    (status = 201, description = "The page was analysed", body = serde_json::Value),
    (status = 200, description = "A recent report of the same page", body = serde_json::Value),
))]
async fn create(
    State(analyses): State<Analyses>,
    caller: Caller,
    Json(input): Json<AnalysisInput>,
) -> Result<Response, Problem> {
    let (report, cached) = analyses.run(&caller, input).await?;
    let status = if cached { StatusCode::OK } else { StatusCode::CREATED };
    let location = format!("/analysis/{}", report.id);
    Ok((status, [(header::LOCATION, location)], Json::<Report>(report)).into_response())
}

/// List reports
///
/// The newest first.
#[utoipa::path(get, path = "/", tag = TAG, params(PageQuery), responses(
    (status = 200, description = "A page of reports", body = Page<ReportSummary>),
))]
async fn list(
    State(analyses): State<Analyses>,
    caller: Caller,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<ReportSummary>>, Problem> {
    let (limit, after) = match &query.cursor {
        Some(cursor) => {
            let cursor: Cursor<(), (i64, String)> = Cursor::decode(cursor)?;
            (cursor.limit, Some(cursor.after))
        }
        None => (page_limit(query.limit)?, None),
    };
    let reports = analyses.archive().list(caller.tenant(), after, limit + 1).await?;
    let key = |report: &ReportSummary| (report.generated_at.as_millisecond(), report.id.clone());
    Page::from_overfetched(reports, limit, &(), key).map(Json)
}

/// A report as JSON
#[utoipa::path(get, path = "/{id}", tag = TAG, params(("id" = String, Path, description = "The report")), responses(
    (status = 200, description = "The report", body = serde_json::Value),
))]
async fn show(
    State(analyses): State<Analyses>,
    caller: Caller,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    answer_file(&analyses, &caller, &headers, &id, "report.json").await
}

/// Forget a report
#[utoipa::path(delete, path = "/{id}", tag = TAG, params(("id" = String, Path, description = "The report")), responses(
    (status = 204, description = "It is gone"),
))]
async fn remove(
    State(analyses): State<Analyses>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    if analyses.archive().delete(caller.tenant(), &id).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Problem::not_found("report", id))
}

/// A report as a file
///
/// `report.html` (one self-contained page), `report.md` or `report.json`.
#[utoipa::path(get, path = "/{id}/{file}", tag = TAG, params(
    ("id" = String, Path, description = "The report"),
    ("file" = String, Path, description = "`report.html`, `report.md` or `report.json`"),
), responses((status = 200, description = "The file")))]
async fn file(
    State(analyses): State<Analyses>,
    caller: Caller,
    headers: HeaderMap,
    Path((id, file)): Path<(String, String)>,
) -> Result<Response, Problem> {
    answer_file(&analyses, &caller, &headers, &id, &file).await
}

/// A picture of a report
#[utoipa::path(get, path = "/{id}/shots/{file}", tag = TAG, params(
    ("id" = String, Path, description = "The report"),
    ("file" = String, Path, description = "The picture's name as the report gives it"),
), responses((status = 200, description = "The picture")))]
async fn shot(
    State(analyses): State<Analyses>,
    caller: Caller,
    headers: HeaderMap,
    Path((id, file)): Path<(String, String)>,
) -> Result<Response, Problem> {
    answer_file(&analyses, &caller, &headers, &id, &format!("shots/{file}")).await
}

async fn answer_file(
    analyses: &Analyses,
    caller: &Caller,
    headers: &HeaderMap,
    id: &str,
    name: &str,
) -> Result<Response, Problem> {
    let file = analyses
        .archive()
        .file(caller.tenant(), id, name)
        .await?
        .ok_or_else(|| Problem::not_found("report file", format!("{id}/{name}")))?;
    let mut response = Etag::of(&file.bytes).answer(headers, file.content_type, file.bytes);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, REPORT_POLICY);
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(response)
}
