//! What was used, and by whom.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, header};
use jiff::{Timestamp, ToSpan};
use paddock_platform::{
    http::{Cursor, Json, Page, PageQuery, Query, page_limit},
    identity::Caller,
    problem::Problem,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::TAG;
use crate::{
    gateway::Gateway,
    govern::{LogFilter, LoggedCall, UsageGroup, UsageRow},
};

/// What usage is asked for.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct UsageQuery {
    /// From this moment (RFC 3339), by the hour; a day ago where it is left out.
    pub(crate) from: Option<String>,
    /// Until this moment, by the hour; now where it is left out.
    pub(crate) to: Option<String>,
    /// What it is added up by: `model`, `provider`, `credential`, `key`, `tenant`, `day`, `hour`.
    #[param(inline)]
    pub(crate) group: UsageGroup,
    /// Of this key alone.
    pub(crate) key: Option<String>,
    /// Of all tenants; wants the scope `llm:admin`.
    pub(crate) all: bool,
    /// `csv` for a table; JSON otherwise.
    pub(crate) format: Option<String>,
}

/// What was used.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub(crate) struct UsageReport {
    /// From this hour on.
    pub(crate) from: String,
    /// Until this hour.
    pub(crate) to: String,
    /// One row for each group.
    pub(crate) rows: Vec<UsageRow>,
    /// What all rows cost, in US dollars.
    pub(crate) cost_usd: f64,
}

impl UsageQuery {
    /// The hours that are asked for, since 1970; the end is not included.
    pub(crate) fn hours(&self) -> Result<(i64, i64), Problem> {
        let moment = |name: &str, text: &Option<String>, default: Timestamp| match text {
            None => Ok(default),
            Some(text) => text
                .parse::<Timestamp>()
                .map_err(|_| Problem::invalid_field(name, "is a moment such as 2026-11-30T00:00:00Z")),
        };
        let now = Timestamp::now();
        let from = moment("from", &self.from, now - 24.hours())?;
        let to = moment("to", &self.to, now)?;
        Ok((from.as_second().div_euclid(3600), to.as_second().div_euclid(3600) + 1))
    }
}

/// Usage and cost
///
/// What the tenant used, exact to the token where providers say, and what it cost.
#[utoipa::path(get, path = "/usage", tag = TAG, params(UsageQuery), responses(
    (status = 200, description = "The usage, as JSON or CSV", body = UsageReport),
))]
pub(super) async fn usage(
    State(gateway): State<Gateway>,
    caller: Caller,
    headers: HeaderMap,
    Query(query): Query<UsageQuery>,
) -> Result<Response, Problem> {
    let report = gateway.usage(&caller, &query).await?;
    let accepts_csv =
        headers.get(header::ACCEPT).is_some_and(|accepted| accepted.as_bytes().starts_with(b"text/csv"));
    match query.format.as_deref() {
        Some("csv") => Ok(csv(&report)),
        None if accepts_csv => Ok(csv(&report)),
        None | Some("json") => Ok(Json(report).into_response()),
        Some(_) => Err(Problem::invalid_field("format", "is `json` or `csv`")),
    }
}

fn csv(report: &UsageReport) -> Response {
    use std::fmt::Write;
    let mut table = String::from(
        "group,requests,failures,cached,estimated,input_tokens,output_tokens,cache_read_tokens,cache_write_tokens,\
         reasoning_tokens,cost_usd\n",
    );
    for row in &report.rows {
        let _ = writeln!(
            table,
            "{},{},{},{},{},{},{},{},{},{},{:.12}",
            quoted(&row.group),
            row.requests,
            row.failures,
            row.cached,
            row.estimated,
            row.input_tokens,
            row.output_tokens,
            row.cache_read_tokens,
            row.cache_write_tokens,
            row.reasoning_tokens,
            row.cost_usd
        );
    }
    ([(header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8"))], table).into_response()
}

/// A cell; what a spreadsheet would take for a formula is text.
fn quoted(cell: &str) -> String {
    let is_formula = cell.starts_with(['=', '+', '-', '@']);
    let cell = if is_formula { format!("'{cell}") } else { cell.to_owned() };
    if cell.contains([',', '"', '\n']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell }
}

/// The request log
///
/// The newest first, of the tenant.
#[utoipa::path(get, path = "/requests", tag = TAG, params(PageQuery), responses(
    (status = 200, description = "A page of calls", body = Page<LoggedCall>),
))]
pub(super) async fn requests(
    State(gateway): State<Gateway>,
    caller: Caller,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<LoggedCall>>, Problem> {
    let (limit, before) = match &query.cursor {
        Some(cursor) => {
            let cursor: Cursor<(), (i64, String)> = Cursor::decode(cursor)?;
            (cursor.limit, Some(cursor.after))
        }
        None => (page_limit(query.limit)?, None),
    };
    let tenant = caller.tenant().as_str().to_owned();
    let calls = gateway.logged(LogFilter { tenant, before, limit: limit + 1 }).await?;
    let key = |call: &LoggedCall| (call.at.as_millisecond(), call.id.clone());
    Page::from_overfetched(calls, limit, &(), key).map(Json)
}
