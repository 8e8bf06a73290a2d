//! The area's tools: the same calls as its routes.

use paddock_platform::{identity::Scope, problem::Problem, tool::Tool};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    analyses::{Analyses, AnalysisInput},
    report::Report,
    service::tool_progress,
    store::ReportSummary,
};

/// How many reports `analysis_list` gives.
const LIST_LIMIT: u32 = 50;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Serialize, JsonSchema)]
struct ReportList {
    /// The newest reports, the newest first.
    reports: Vec<ReportSummary>,
}

/// The tools of this area.
pub fn tools(analyses: &Analyses) -> Vec<Tool> {
    vec![run(analyses.clone()), list(analyses.clone())]
}

/// The tool that analyses: what a job of `POST /analysis` calls.
pub(crate) const RUN: &str = "analysis_run";

fn run(analyses: Analyses) -> Tool {
    Tool::new(
        RUN,
        "Analyses a web page on desktop and mobile: what costs it visitors and customers, as findings with evidence, \
         selector, measured value and recommendation.",
        Scope::write("analysis"),
        move |context, input: AnalysisInput| {
            let analyses = analyses.clone();
            async move {
                let progress = tool_progress(context.progress);
                let report: Result<Report, Problem> = analyses.run(&context.caller, input, &progress).await;
                report
            }
        },
    )
}

fn list(analyses: Analyses) -> Tool {
    Tool::new(
        "analysis_list",
        "Lists the newest page analyses with their scores.",
        Scope::read("analysis"),
        move |context, _: Nothing| {
            let analyses = analyses.clone();
            async move {
                let reports = analyses.archive().list(context.caller.tenant(), None, LIST_LIMIT).await;
                reports.map(|reports| ReportList { reports }).map_err(Problem::from)
            }
        },
    )
}
