//! The bundled shop page: the first thing that a newcomer sees analysed.

use std::path::PathBuf;

use paddock_analysis::{Analyses, AnalysisRequest, Screen, Target, no_progress};
use paddock_platform::{identity::Tenant, problem::error_chain};

use crate::cli::{complain, say};

const PAGE: &str = include_str!("../../../examples/shop.html");
const PAGE_KEY: &str = "demo";

/// Analyses the page on the running server and says where its report is and what to try next.
pub(crate) async fn run(analyses: Analyses, data: PathBuf, base: String) {
    let page = data.join("demo").join("shop.html");
    let written = tokio::fs::create_dir_all(data.join("demo")).await;
    let written = match written {
        Ok(()) => tokio::fs::write(&page, PAGE).await,
        Err(error) => Err(error),
    };
    if let Err(error) = written {
        complain(format_args!("the bundled shop page could not be written to {}: {error}", page.display()));
        return;
    }
    say(format_args!("analysing the bundled shop page on a desktop and a phone"));
    let request = AnalysisRequest {
        tenant: Tenant::local(),
        target: Target::File(page),
        screens: vec![Screen::Desktop, Screen::Mobile],
    };
    match analyses.run_now(&request, PAGE_KEY, &no_progress()).await {
        Ok(report) => {
            crate::summary::print(&report);
            let id = &report.id;
            say(format_args!(
                "
report   {base}/analysis/{id}/report.html
         {path}

next     {paddock} analyze https://your.shop --out report
         curl {base}/analysis -H 'Prefer: wait=60' -H 'Content-Type: application/json' -d '{{\"url\": \"https://your.shop\"}}'
         curl {base}/browser/navigate -H 'Content-Type: application/json' -d '{{\"url\": \"https://example.com\"}}'
         {base}/docs has every route
         Ctrl-C stops the server",
                paddock = std::env::current_exe().map_or_else(|_| "paddock".into(), |path| path.display().to_string()),
                path = data.join("blobs/analysis").join(id).join("report.html").display(),
            ));
        }
        Err(error) => {
            let error = error_chain(&error);
            complain(format_args!(
                "the bundled shop page could not be analysed: {error}; `paddock doctor` may know why"
            ));
        }
    }
}
