//! A page on paper and in figures: PDF, timing, memory; and what an instance keeps beside its pages: cache, clipboard.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use paddock_cdp::protocol::{network::ClearBrowserCache, page::PrintToPdf};
use paddock_platform::{
    identity::{Caller, Scope},
    problem::Problem,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{BrowserService, Cleared, READ, Target, WRITE};
use crate::{
    clipboard::TEXT_SIZE_MAX,
    error::BrowserError,
    ids::{InstanceId, TabId},
    instance::Instance,
    timing::{PageMemory, PageTiming},
};

/// Characters of a header or footer.
const TEMPLATE_SIZE_MAX: usize = 64 << 10;

/// How a page is printed. Lengths are inches.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, ToSchema, IntoParams)]
#[serde(rename_all = "camelCase", default)]
#[into_params(parameter_in = Query)]
pub struct PdfQuery {
    /// The tab; without one, the tab that was used last.
    #[param(value_type = Option<String>)]
    pub tab_id: Option<TabId>,
    /// Sideways.
    pub landscape: bool,
    /// With backgrounds; true if absent.
    pub print_background: Option<bool>,
    /// Scale, 0.1 to 2.
    pub scale: Option<f64>,
    /// Width of the paper.
    pub paper_width: Option<f64>,
    /// Height of the paper.
    pub paper_height: Option<f64>,
    /// Upper margin.
    pub margin_top: Option<f64>,
    /// Lower margin.
    pub margin_bottom: Option<f64>,
    /// Left margin.
    pub margin_left: Option<f64>,
    /// Right margin.
    pub margin_right: Option<f64>,
    /// For example `1-3,5`; all if absent.
    pub page_ranges: Option<String>,
    /// With the lines above and below.
    pub display_header_footer: bool,
    /// HTML of the line above.
    pub header_template: Option<String>,
    /// HTML of the line below.
    pub footer_template: Option<String>,
    /// Whether `@page` decides about the paper.
    #[serde(rename = "preferCSSPageSize")]
    pub prefer_css_page_size: bool,
    /// With tags for screen readers.
    #[serde(rename = "generateTaggedPDF")]
    pub generate_tagged_pdf: bool,
    /// With an outline.
    pub generate_document_outline: bool,
    /// `file`: into a file of the server instead of the answer.
    pub output: Option<String>,
    /// Name of that file.
    pub path: Option<String>,
    /// The document itself instead of JSON.
    pub raw: bool,
}

/// A document in JSON.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PdfDocument {
    /// `pdf`.
    pub format: &'static str,
    /// The document in base64.
    pub base64: String,
}

/// A file on the server.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SavedFile {
    /// Where it is.
    pub path: String,
    /// Its bytes.
    pub size: usize,
}

/// A document, or where it is.
#[derive(Debug)]
pub enum Pdf {
    /// The document itself.
    Raw(Bytes),
    /// In JSON.
    Document(PdfDocument),
    /// In a file.
    File(SavedFile),
}

/// Times of a tab's page.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TimingView {
    /// The tab.
    pub tab_id: TabId,
    /// The times.
    #[serde(flatten)]
    pub timing: PageTiming,
}

/// What a tab takes of its renderer.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MetricsView {
    /// The tab.
    pub tab_id: TabId,
    /// Requests in its network log.
    pub network_entries: usize,
    /// What its page takes.
    pub memory: PageMemory,
}

/// Whether there is a cache to clear.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CacheStatus {
    /// Whether it can be cleared.
    pub can_clear: bool,
}

/// A text for the clipboard.
#[derive(Clone, Debug, Deserialize, JsonSchema, ToSchema)]
pub struct ClipboardText {
    /// The text; at most 64 KiB.
    pub text: String,
}

/// The text of a clipboard.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ClipboardView {
    /// The text.
    pub text: String,
}

/// A clipboard was changed.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct ClipboardWritten {
    /// True.
    pub success: bool,
}

impl PdfQuery {
    fn command(&self) -> Result<PrintToPdf, Problem> {
        let within = |field: &str, value: Option<f64>, min: f64, max: f64| match value {
            Some(value) if !(min..=max).contains(&value) => {
                Err(Problem::invalid_field(field, format!("must be {min} to {max}")))
            }
            value => Ok(value),
        };
        let template = |field: &str, text: &Option<String>| match text {
            Some(text) if text.len() > TEMPLATE_SIZE_MAX => Err(Problem::invalid_field(field, "is too long")),
            text => Ok(text.clone()),
        };
        Ok(PrintToPdf {
            landscape: self.landscape,
            display_header_footer: self.display_header_footer,
            print_background: self.print_background != Some(false),
            scale: within("scale", self.scale, 0.1, 2.0)?,
            paper_width: within("paperWidth", self.paper_width, 0.5, 200.0)?,
            paper_height: within("paperHeight", self.paper_height, 0.5, 200.0)?,
            margin_top: within("marginTop", self.margin_top, 0.0, 100.0)?,
            margin_bottom: within("marginBottom", self.margin_bottom, 0.0, 100.0)?,
            margin_left: within("marginLeft", self.margin_left, 0.0, 100.0)?,
            margin_right: within("marginRight", self.margin_right, 0.0, 100.0)?,
            page_ranges: self.page_ranges.clone().unwrap_or_default(),
            header_template: template("headerTemplate", &self.header_template)?,
            footer_template: template("footerTemplate", &self.footer_template)?,
            prefer_css_page_size: self.prefer_css_page_size,
            transfer_mode: "",
            generate_tagged_pdf: self.generate_tagged_pdf,
            generate_document_outline: self.generate_document_outline,
        })
    }
}

impl BrowserService {
    /// Prints a page.
    pub async fn pdf(&self, target: &Target, query: PdfQuery) -> Result<Pdf, Problem> {
        let command = query.command()?;
        let to_file = query.output.as_deref() == Some("file");
        let tab = self.tab(target, if to_file { WRITE } else { READ }).await?;
        let document = tab.pdf(command).await?;
        if to_file {
            let (size, exports) = (document.len(), &self.fleet.0.exports);
            let path = query.path.as_deref();
            let path = exports.write(target.caller.tenant(), path, ("page", "pdf"), document).await?;
            return Ok(Pdf::File(SavedFile { path: path.to_string_lossy().into_owned(), size }));
        }
        Ok(if query.raw {
            Pdf::Raw(document)
        } else {
            Pdf::Document(PdfDocument { format: "pdf", base64: BASE64_STANDARD.encode(document) })
        })
    }

    /// Times of a page.
    pub async fn timing(&self, target: &Target) -> Result<TimingView, Problem> {
        let tab = self.tab(target, READ).await?;
        Ok(TimingView { tab_id: tab.id().clone(), timing: tab.timing().await? })
    }

    /// What a page takes of its renderer.
    pub async fn metrics(&self, target: &Target) -> Result<MetricsView, Problem> {
        let tab = self.tab(target, READ).await?;
        let memory = tab.memory().await?;
        let network_entries = tab.0.environment.log.len();
        Ok(MetricsView { tab_id: tab.id().clone(), network_entries, memory })
    }

    /// Empties the HTTP cache of the current instance.
    pub async fn clear_cache(&self, target: &Target) -> Result<Cleared, Problem> {
        let instance = self.current_instance(target, WRITE).await?;
        empty_cache(&instance).await
    }

    /// Empties the HTTP cache of an instance.
    pub async fn clear_cache_of(&self, caller: &Caller, id: &InstanceId) -> Result<Cleared, Problem> {
        caller.require(WRITE)?;
        empty_cache(&self.own(caller, id)?).await
    }

    /// Whether the HTTP cache of an instance can be emptied.
    pub fn cache_status_of(&self, caller: &Caller, id: &InstanceId) -> Result<CacheStatus, Problem> {
        caller.require(READ)?;
        Ok(CacheStatus { can_clear: !self.own(caller, id)?.tabs().is_empty() })
    }

    /// Whether the HTTP cache of the current instance can be emptied.
    pub async fn cache_status(&self, target: &Target) -> Result<CacheStatus, Problem> {
        let instance = self.current_instance(target, READ).await?;
        Ok(CacheStatus { can_clear: !instance.tabs().is_empty() })
    }

    /// The text in the clipboard of the current instance.
    pub async fn clipboard(&self, target: &Target) -> Result<ClipboardView, Problem> {
        without_tab(target)?;
        Ok(ClipboardView { text: self.current_instance(target, READ).await?.clipboard() })
    }

    /// Puts a text into the clipboard of the current instance.
    pub async fn set_clipboard(
        &self,
        target: &Target,
        request: ClipboardText,
    ) -> Result<ClipboardWritten, Problem> {
        without_tab(target)?;
        if request.text.len() > TEXT_SIZE_MAX {
            return Err(Problem::invalid_field("text", format!("must have at most {TEXT_SIZE_MAX} bytes")));
        }
        self.current_instance(target, WRITE).await?.set_clipboard(request.text);
        Ok(ClipboardWritten { success: true })
    }

    /// The instance of the tab that is named or was used last; without a tab, the first that runs, or a new one.
    pub(super) async fn current_instance(&self, target: &Target, scope: Scope) -> Result<Instance, Problem> {
        target.caller.require(scope)?;
        let has_tab = || self.owned(&target.caller).any(|instance| !instance.tabs().is_empty());
        if target.tab.is_some() || has_tab() {
            let tab = self.tab(target, scope).await?;
            return self.own(&target.caller, tab.instance_id());
        }
        self.any_instance(&target.caller).await
    }
}

async fn empty_cache(instance: &Instance) -> Result<Cleared, Problem> {
    // Any of its pages can do it, and without pages there is nothing to empty.
    for tab in instance.tabs() {
        match tab.session().send(&ClearBrowserCache {}).await {
            Ok(_) => break,
            Err(error) if tab.is_closed() => tracing::debug!(error = %error, "a tab closed meanwhile"),
            Err(error) => return Err(BrowserError::from(error).into()),
        }
    }
    Ok(Cleared::new())
}

fn without_tab(target: &Target) -> Result<(), Problem> {
    match target.tab {
        Some(_) => Err(Problem::invalid_field("tabId", "a clipboard belongs to an instance, not to a tab")),
        None => Ok(()),
    }
}
