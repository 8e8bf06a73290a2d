//! The page at `/`: what runs, how it does, where the docs are, the last reports.

use askama::Template;
use axum::{
    Router,
    extract::State,
    response::{Html, IntoResponse, Response},
    routing::get,
};
use http::{HeaderValue, header};
use jiff::Timestamp;
use paddock_analysis::{Analyses, ReportSummary};
use paddock_browser::Fleet;
use paddock_platform::{
    health::{Health, Resource, Status},
    identity::{Caller, Scope},
    problem::Problem,
};

const REPORTS_SHOWN: u32 = 8;
/// The page loads nothing from anywhere and runs no script.
const PAGE_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// What the page is made from. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct StatusPage {
    health: Health,
    fleet: Fleet,
    analyses: Analyses,
    base: String,
    started: Timestamp,
}

impl StatusPage {
    /// A page about a server that starts now.
    pub(crate) fn new(health: Health, fleet: Fleet, analyses: Analyses, base: &str) -> Self {
        Self { health, fleet, analyses, base: base.to_owned(), started: Timestamp::now() }
    }
}

/// Serves it at `/`.
pub(crate) fn router(page: StatusPage) -> Router {
    Router::new().route("/", get(show)).with_state(page)
}

#[derive(Template)]
#[template(path = "status.html")]
struct StatusTemplate {
    version: &'static str,
    state: &'static str,
    state_class: &'static str,
    facts: Vec<(&'static str, String)>,
    resources: Vec<ResourceRow>,
    reports: Vec<ReportRow>,
    base: String,
}

struct ResourceRow {
    name: &'static str,
    status: &'static str,
    class: &'static str,
    detail: String,
}

struct ReportRow {
    href: String,
    title: String,
    url: String,
    score: String,
    class: &'static str,
    counts: String,
    when: String,
}

async fn show(State(page): State<StatusPage>, caller: Caller) -> Result<Response, Problem> {
    caller.require(Scope::read("server"))?;
    let readiness = page.health.readiness().await;
    let reports = if caller.may(Scope::read("analysis")) {
        page.analyses.archive().list(caller.tenant(), None, REPORTS_SHOWN).await?
    } else {
        Vec::new()
    };
    let (state, state_class) = words(readiness.status);
    let template = StatusTemplate {
        version: env!("CARGO_PKG_VERSION"),
        state,
        state_class,
        facts: facts(&page),
        resources: readiness.resources.iter().map(resource_row).collect(),
        reports: reports.iter().map(report_row).collect(),
        base: page.base.clone(),
    };
    let html = template.render().map_err(|error| Problem::internal("rendering the status page", &error))?;
    let headers = [
        (header::CONTENT_SECURITY_POLICY, PAGE_POLICY),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((headers, Html(html)).into_response())
}

fn facts(page: &StatusPage) -> Vec<(&'static str, String)> {
    let engine = page.fleet.engine().map_or_else(
        |_| "none".to_owned(),
        |engine| engine.path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
    );
    let instances = page.fleet.instances();
    let tabs: usize = instances.iter().map(|instance| instance.tabs).sum();
    vec![
        ("Up for", ago(page.started)),
        ("Address", page.base.trim_start_matches("http://").to_owned()),
        ("Engine", engine),
        ("Instances", instances.len().to_string()),
        ("Tabs", tabs.to_string()),
        ("Ready", page.fleet.ready().to_string()),
    ]
}

fn words(status: Status) -> (&'static str, &'static str) {
    match status {
        Status::Ok => ("Ready", "good"),
        Status::Degraded => ("Ready, with a limitation", "warn"),
        Status::Failed => ("Not ready", "bad"),
    }
}

fn resource_row(resource: &Resource) -> ResourceRow {
    let (status, class) = match resource.status {
        Status::Ok => ("ok", "good"),
        Status::Degraded => ("degraded", "warn"),
        Status::Failed => ("failed", "bad"),
    };
    let advice = resource.advice.as_ref().map_or_else(String::new, |advice| format!("; {advice}"));
    ResourceRow { name: resource.name, status, class, detail: format!("{}{advice}", resource.detail) }
}

fn report_row(report: &ReportSummary) -> ReportRow {
    ReportRow {
        href: format!("/analysis/{}/report.html", report.id),
        title: if report.title.is_empty() { "Untitled page".to_owned() } else { report.title.clone() },
        url: report.url.clone(),
        score: report.score.map_or_else(|| "–".to_owned(), |score| score.to_string()),
        class: match report.score {
            Some(score) if score >= 80 => "good",
            Some(score) if score >= 50 => "warn",
            Some(_) => "bad",
            None => "",
        },
        counts: format!("{} high, {} medium, {} low", report.high, report.medium, report.low),
        when: format!("{} ago", ago(report.generated_at)),
    }
}

/// A span of time in one unit, as a person would say it.
fn ago(since: Timestamp) -> String {
    let seconds = since.duration_until(Timestamp::now()).as_secs().max(0);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}
