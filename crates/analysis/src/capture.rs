//! One screen's look at a page: load it, read its facts, photograph it.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use metrics::{counter, histogram};
use paddock_browser::{
    Area, BrowserError, Emulation, EvaluateError, Fleet, Format, InstanceGuard, InstanceSpec, NavigateError,
    NavigateOptions, Navigation, Screenshot, Tab, TabSpec, Wait,
};
use url::Url;

use crate::{
    AnalysisError, AnalysisOptions, AnalysisRequest, Progress, Screen, Stage, Target,
    facts::{self, Facts},
    metrics::{ANALYSIS_RETRIES_TOTAL, ANALYSIS_STAGE_DURATION_SECONDS},
    report,
};

/// How long a full-page screenshot may take.
const SHOT_DEADLINE: Duration = Duration::from_secs(20);
/// Quality of the screenshot that crops are cut from: high, because they are encoded again.
const SHOT_QUALITY: u8 = 90;

/// What one screen showed.
#[derive(Debug)]
pub(crate) struct Capture {
    pub(crate) screen: Screen,
    pub(crate) emulation: Emulation,
    pub(crate) navigation: Navigation,
    pub(crate) facts: Facts,
    /// None if the page could not be photographed; the reason is said in the report.
    pub(crate) shot: Result<report::Screenshot, String>,
    /// Why the probe ended early, if it did.
    pub(crate) probe_error: Option<String>,
}

/// How a page is shown on a screen.
pub(crate) fn emulation(screen: Screen) -> Emulation {
    match screen {
        Screen::Desktop => Emulation::desktop(),
        Screen::Mobile => Emulation::mobile(),
    }
}

/// What captures work with.
pub(crate) struct Camera<'a> {
    pub(crate) fleet: &'a Fleet,
    pub(crate) options: &'a AnalysisOptions,
    pub(crate) progress: &'a Progress,
}

impl Camera<'_> {
    /// Looks at the page; once more if the browser dies meanwhile.
    pub(crate) async fn capture(
        &self,
        request: &AnalysisRequest,
        screen: Screen,
    ) -> Result<Capture, AnalysisError> {
        match self.attempt(request, screen).await {
            Err(error) if is_crash(&error) => {
                let error = paddock_platform::problem::error_chain(&error);
                tracing::warn!(error, %screen, "the browser died during an analysis; looking again");
                counter!(ANALYSIS_RETRIES_TOTAL).increment(1);
                self.attempt(request, screen).await
            }
            outcome => outcome,
        }
    }

    async fn attempt(&self, request: &AnalysisRequest, screen: Screen) -> Result<Capture, AnalysisError> {
        let spec = InstanceSpec { name: "analysis".to_owned(), ..InstanceSpec::new(request.tenant.clone()) };
        // Goes back to the fleet also when the analysis is given up halfway.
        let instance = InstanceGuard::new(self.fleet.create(spec).await?);
        let emulation = emulation(screen);
        let scripts: Vec<Arc<str>> = vec![facts::vitals_script().into()];
        let tab = instance.open(TabSpec { emulation: emulation.clone(), scripts }).await?;

        facts::prepare(&tab).await.map_err(BrowserError::from)?;

        (self.progress)(Stage::Loading(screen));
        let navigation = self.timed("load", screen, self.navigate(&tab, &request.target)).await?;
        (self.progress)(Stage::Reading(screen));
        let mut facts = self
            .timed("facts", screen, facts::collect(&tab, screen))
            .await
            .map_err(|source| AnalysisError::Unreadable { screen, source })?;
        (self.progress)(Stage::Shooting(screen));
        let shot = self.timed("shot", screen, self.photograph(&tab, screen, &emulation)).await;
        let shot = match shot {
            Err(error) if is_lost(&error) => return Err(error.into()),
            shot => shot.map_err(|error| paddock_platform::problem::error_chain(&error)),
        };
        let mut probe_error = None;
        // Last, because it presses buttons. Without it only the answer to input is unknown, and the report says so.
        if let Err(error) = self.timed("probe", screen, facts::probe(&tab, &mut facts)).await {
            let error = paddock_platform::problem::error_chain(&error);
            tracing::debug!(error, %screen, "the probe failed");
            probe_error = Some(error);
        }
        Ok(Capture { screen, emulation, navigation, facts, shot, probe_error })
    }

    async fn timed<T>(&self, stage: &'static str, screen: Screen, work: impl Future<Output = T>) -> T {
        let started = Instant::now();
        let outcome = work.await;
        let screen = match screen {
            Screen::Desktop => "desktop",
            Screen::Mobile => "mobile",
        };
        histogram!(ANALYSIS_STAGE_DURATION_SECONDS, "stage" => stage, "screen" => screen)
            .record(started.elapsed());
        outcome
    }

    async fn navigate(&self, tab: &Tab, target: &Target) -> Result<Navigation, AnalysisError> {
        let (url, allow_file) = match target {
            Target::Url(url) => (url.clone(), false),
            Target::File(path) => (file_url(path).await?, true),
        };
        let timeout = self.options.navigation_timeout.get();
        let wait = Wait { load_max: timeout.min(Wait::settled().load_max), ..Wait::settled() };
        let navigation = tab.navigate(&url, NavigateOptions { timeout, wait, allow_file }).await?;
        if let Some(status) = navigation.status.filter(|status| *status >= 400) {
            return Err(AnalysisError::HttpStatus { url: navigation.url, status });
        }
        if !navigation.is_html() {
            let (url, mime) = (navigation.url.to_string(), navigation.mime);
            return Err(NavigateError::NotAPage { url, mime }.into());
        }
        Ok(navigation)
    }

    async fn photograph(
        &self,
        tab: &Tab,
        screen: Screen,
        emulation: &Emulation,
    ) -> Result<report::Screenshot, BrowserError> {
        let bytes = tab
            .screenshot(Screenshot {
                area: Area::FullPage { height_max: self.options.shot_height_max },
                format: Format::Jpeg { quality: SHOT_QUALITY },
                timeout: SHOT_DEADLINE,
            })
            .await?;
        Ok(report::Screenshot { screen, bytes, scale: emulation.scale, fold: emulation.height })
    }
}

async fn file_url(path: &Path) -> Result<Url, AnalysisError> {
    let error = |source| AnalysisError::File { path: path.to_owned(), source };
    let path = tokio::fs::canonicalize(path).await.map_err(error)?;
    // Opening it tells what Chrome would only show as an error page.
    tokio::fs::File::open(&path).await.map_err(error)?;
    Url::from_file_path(&path).map_err(|()| error(std::io::Error::other("not an absolute path")))
}

/// Whether another browser may do better.
fn is_crash(error: &AnalysisError) -> bool {
    match error {
        AnalysisError::Navigate(error) => error.is_transient(),
        AnalysisError::Browser(error) => is_lost(error),
        AnalysisError::Unreadable { source: EvaluateError::Call(error), .. } => error.is_session_lost(),
        _ => false,
    }
}

fn is_lost(error: &BrowserError) -> bool {
    match error {
        BrowserError::InstanceLost { .. } => true,
        BrowserError::Call(error) => error.is_session_lost(),
        _ => false,
    }
}
