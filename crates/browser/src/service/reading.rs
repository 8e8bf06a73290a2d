//! Reading a page's text for a crawl: as it is served, and as visitors see it.

use std::time::Duration;

use paddock_cdp::protocol::emulation::SetScriptExecutionDisabled;
use paddock_platform::problem::Problem;
use serde_json::json;
use url::Url;

use super::{BrowserService, PageText, TabInUse, inspect::look};
use crate::{
    blocking::Blocking,
    crawl::{CrawledPage, PageSource},
    error::BrowserError,
    guard,
    navigate::{Navigation, Wait},
    survey::Survey,
};

/// Characters of one page's Markdown.
const MARKDOWN_CHARS_MAX: usize = 200_000;
/// How long a page that is read as visitors see it must be quiet first.
const QUIET: Duration = Duration::from_millis(500);

impl BrowserService {
    /// The page as the server sends it: its scripts do not run, its pictures are not loaded.
    pub(super) async fn read_as_served(
        &self,
        tab: &TabInUse,
        url: &Url,
        start: &Url,
    ) -> (CrawledPage, Vec<Url>) {
        let mut page = CrawledPage { url: url.to_string(), ..CrawledPage::default() };
        let mut links = Vec::new();
        let read = async {
            tab.session()
                .send(&SetScriptExecutionDisabled { value: true })
                .await
                .map_err(BrowserError::from)?;
            let blocking = Blocking { images: true, media: true, ads: false };
            tab.block(blocking).await.map_err(BrowserError::from)?;
            self.read_text(tab, url, Wait::loaded()).await
        };
        match read.await {
            Ok((navigation, survey, text)) => {
                page.status_code = navigation.status;
                page.content_type = navigation.mime;
                page.title = survey.title;
                page.schema = survey.structured;
                if !survey.description.is_empty() {
                    page.meta.insert("description", survey.description);
                }
                links = survey.links.iter().filter_map(|link| link.parse().ok()).collect();
                let web = links.iter().filter(|link: &&Url| matches!(link.scheme(), "http" | "https"));
                let (inside, outside): (Vec<&Url>, Vec<&Url>) =
                    web.partition(|link| link.origin() == start.origin());
                (page.internal_links, page.external_links) = (inside.len(), outside.len());
                self.take_text(&mut page, &text);
            }
            Err(problem) => page.error = Some(problem.detail),
        }
        (page, links)
    }

    /// The page as visitors see it. What was read before stays when that fails.
    pub(super) async fn read_as_shown(&self, tab: &TabInUse, url: &Url, page: &mut CrawledPage) {
        let read = async {
            tab.session()
                .send(&SetScriptExecutionDisabled { value: false })
                .await
                .map_err(BrowserError::from)?;
            tab.block(Blocking::default()).await.map_err(BrowserError::from)?;
            self.read_text(tab, url, Wait { quiet: QUIET, ..Wait::settled() }).await
        };
        match read.await {
            Ok((_, _, text)) if text.text.trim().is_empty() => {
                page.browser_error = Some("the page shows no text".to_owned());
            }
            Ok((navigation, survey, text)) => {
                page.source = PageSource::Browser;
                page.error = None;
                page.status_code = navigation.status.or(page.status_code);
                if page.content_type.is_empty() {
                    page.content_type = navigation.mime;
                }
                if !survey.title.is_empty() {
                    page.title = survey.title;
                }
                if !survey.description.is_empty() {
                    page.meta.entry("description").or_insert(survey.description);
                }
                self.take_text(page, &text);
            }
            Err(problem) => page.browser_error = Some(problem.detail),
        }
    }

    async fn read_text(
        &self,
        tab: &TabInUse,
        url: &Url,
        wait: Wait,
    ) -> Result<(Navigation, Survey, PageText), Problem> {
        let options = self.navigate_options(None, wait)?;
        let navigation = tab.navigate(url, options).await?;
        let survey = tab.survey().await.map_err(BrowserError::Evaluate)?;
        let argument = json!({ "raw": false, "lengthMax": MARKDOWN_CHARS_MAX });
        let text: PageText = look(tab, None, None, "readText", argument).await?;
        Ok((navigation, survey, text))
    }

    fn take_text(&self, page: &mut CrawledPage, text: &PageText) {
        let mut markdown = text.text.clone();
        let mode = self.options().content_guard;
        match guard::guard(mode, std::iter::once(text.text.as_str()), &mut markdown, false) {
            Ok(warning) => page.idpi_warning = warning,
            Err(problem) => {
                page.error = Some(problem.detail);
                markdown.clear();
            }
        }
        page.markdown = markdown;
        page.truncated = text.truncated;
    }
}
