//! `Page`: navigation, lifecycle, dialogs and screenshots.

use serde::{Deserialize, Serialize};

use super::{Empty, command, plain_commands};

plain_commands! {
    /// Reports the page's events.
    Enable = "Page.enable";
    /// Stops loading and navigating.
    StopLoading = "Page.stopLoading";
    /// Brings the page's window to the front.
    BringToFront = "Page.bringToFront";
    /// Crashes the renderer, for tests.
    Crash = "Page.crash";
}

/// Reports the steps of loading (`init`, `commit`, `DOMContentLoaded`, `load`, …) of every frame.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SetLifecycleEventsEnabled {
    /// On or off.
    pub enabled: bool,
}
command!(SetLifecycleEventsEnabled, "Page.setLifecycleEventsEnabled", Empty);

/// Goes to an address; answers when the new document is committed, or cannot be.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Navigate<'a> {
    /// The address.
    pub url: &'a str,
}

/// Reply of [`Navigate`].
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Navigated {
    /// The frame that navigated.
    pub frame_id: String,
    /// The new document; absent when only the fragment changed.
    pub loader_id: Option<String>,
    /// Chrome's name of the error, for example `net::ERR_CONNECTION_REFUSED`.
    pub error_text: Option<String>,
    /// The answer was a download.
    #[serde(default)]
    pub is_download: bool,
}
command!(Navigate<'a>, "Page.navigate", Navigated);

/// Asks for the frames.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct GetFrameTree {}

/// Reply of [`GetFrameTree`].
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FrameTreeReply {
    /// The tree.
    pub frame_tree: FrameTree,
}
command!(GetFrameTree, "Page.getFrameTree", FrameTreeReply);

/// The main frame; its children are not of interest here.
#[derive(Clone, Debug, Deserialize)]
pub struct FrameTree {
    /// The main frame.
    pub frame: Frame,
}

/// A frame with its present document.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Frame {
    /// Its id.
    pub id: String,
    /// The frame around it; none for the main frame.
    pub parent_id: Option<String>,
    /// The present document.
    pub loader_id: String,
    /// Its address.
    pub url: String,
    /// The address that could not be reached, when an error page is shown.
    pub unreachable_url: Option<String>,
    /// Media type of the document.
    #[serde(default)]
    pub mime_type: String,
}

/// Parameters of `Page.frameNavigated`.
#[derive(Clone, Debug, Deserialize)]
pub struct FrameNavigated {
    /// The frame with its new document.
    pub frame: Frame,
}

/// Parameters of `Page.navigatedWithinDocument`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NavigatedWithinDocument {
    /// The frame.
    pub frame_id: String,
    /// The new address.
    pub url: String,
}

/// Parameters of `Page.lifecycleEvent`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LifecycleEvent {
    /// The frame.
    pub frame_id: String,
    /// The document.
    pub loader_id: String,
    /// The step.
    pub name: String,
}

/// Parameters of `Page.javascriptDialogOpening`.
#[derive(Clone, Debug, Deserialize)]
pub struct JavascriptDialogOpening {
    /// `alert`, `confirm`, `prompt` or `beforeunload`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it says.
    #[serde(default)]
    pub message: String,
}

/// Answers a dialog.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HandleJavaScriptDialog<'a> {
    /// OK or Cancel.
    pub accept: bool,
    /// What is entered into a prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_text: Option<&'a str>,
}
command!(HandleJavaScriptDialog<'a>, "Page.handleJavaScriptDialog", Empty);

/// Parameters of `Page.windowOpen`.
#[derive(Clone, Debug, Deserialize)]
pub struct WindowOpen {
    /// What it is to show.
    #[serde(default)]
    pub url: String,
}

/// Parameters of `Page.frameScheduledNavigation`, `Page.frameRequestedNavigation` and `Page.frameStartedNavigating`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FrameNavigates {
    /// The frame.
    pub frame_id: String,
    /// Where it goes.
    #[serde(default)]
    pub url: String,
    /// Where the new document is to be shown: `currentTab`, `newTab`, `newWindow` or `download`.
    pub disposition: Option<String>,
}

/// Loads the document again.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reload {
    /// Whether nothing is taken from the cache.
    pub ignore_cache: bool,
}
command!(Reload, "Page.reload", Empty);

/// Asks for the tab's history.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct GetNavigationHistory {}

/// Reply of [`GetNavigationHistory`].
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NavigationHistory {
    /// Where in the history the tab is.
    pub current_index: usize,
    /// The documents, oldest first.
    pub entries: Vec<HistoryEntry>,
}
command!(GetNavigationHistory, "Page.getNavigationHistory", NavigationHistory);

/// A document of a tab's history.
#[derive(Clone, Debug, Deserialize)]
pub struct HistoryEntry {
    /// Its number.
    pub id: i64,
    /// Its address.
    pub url: String,
}

/// Goes to a document of the history.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NavigateToHistoryEntry {
    /// Its number.
    pub entry_id: i64,
}
command!(NavigateToHistoryEntry, "Page.navigateToHistoryEntry", Empty);

/// Runs a script in every new document before the page's own.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AddScriptToEvaluateOnNewDocument<'a> {
    /// The script.
    pub source: &'a str,
    /// The isolated world to run it in; the page's own if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub world_name: Option<&'a str>,
    /// Also in the document that is there now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_immediately: Option<bool>,
}
command!(AddScriptToEvaluateOnNewDocument<'a>, "Page.addScriptToEvaluateOnNewDocument", AddedScript);

/// Reply of [`AddScriptToEvaluateOnNewDocument`].
#[derive(Clone, Debug, Deserialize)]
pub struct AddedScript {
    /// What it is taken back by.
    pub identifier: String,
}

/// Takes a script back that ran in every new document.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct RemoveScriptToEvaluateOnNewDocument<'a> {
    /// Which.
    pub identifier: &'a str,
}
command!(RemoveScriptToEvaluateOnNewDocument<'a>, "Page.removeScriptToEvaluateOnNewDocument", Empty);

/// Makes, or finds, the isolated world of a name in a frame.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateIsolatedWorld<'a> {
    /// The frame.
    pub frame_id: &'a str,
    /// The world's name.
    pub world_name: &'a str,
}

/// Reply of [`CreateIsolatedWorld`].
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IsolatedWorld {
    /// Where to evaluate.
    pub execution_context_id: i64,
}
command!(CreateIsolatedWorld<'a>, "Page.createIsolatedWorld", IsolatedWorld);

/// Asks for the sizes of viewport and content.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct GetLayoutMetrics {}

/// Reply of [`GetLayoutMetrics`].
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LayoutMetrics {
    /// What is visible.
    pub css_layout_viewport: LayoutViewport,
    /// All of the content.
    pub css_content_size: Rect,
}
command!(GetLayoutMetrics, "Page.getLayoutMetrics", LayoutMetrics);

/// The viewport in CSS pixels.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LayoutViewport {
    /// Scrolled this far to the right.
    pub page_x: f64,
    /// Scrolled this far down.
    pub page_y: f64,
    /// Width without a scroll bar.
    pub client_width: f64,
    /// Height without a scroll bar.
    pub client_height: f64,
}

/// A rectangle in CSS pixels of the document.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Rect {
    /// Left edge.
    pub x: f64,
    /// Top edge.
    pub y: f64,
    /// Width.
    pub width: f64,
    /// Height.
    pub height: f64,
}

/// Part of the document to capture, in CSS pixels.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Clip {
    /// Left edge.
    pub x: f64,
    /// Top edge.
    pub y: f64,
    /// Width.
    pub width: f64,
    /// Height.
    pub height: f64,
    /// Factor on the device's scale.
    pub scale: f64,
}

/// Takes a picture.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CaptureScreenshot<'a> {
    /// `png` or `jpeg`.
    pub format: &'a str,
    /// 0 to 100, for JPEG.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quality: Option<u8>,
    /// Part of the document; the viewport if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip: Option<Clip>,
    /// Whether the part may lie outside of the viewport.
    pub capture_beyond_viewport: bool,
    /// Less compression for less time.
    pub optimize_for_speed: bool,
}

/// Reply of [`CaptureScreenshot`].
#[derive(Clone, Debug, Deserialize)]
pub struct Captured {
    /// The image in base64.
    pub data: String,
}
command!(CaptureScreenshot<'a>, "Page.captureScreenshot", Captured);

/// Prints the page. Lengths are inches; what is absent is Chrome's default.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PrintToPdf {
    /// Sideways.
    pub landscape: bool,
    /// With the lines above and below.
    pub display_header_footer: bool,
    /// With backgrounds.
    pub print_background: bool,
    /// Scale, 0.1 to 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale: Option<f64>,
    /// Width of the paper.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paper_width: Option<f64>,
    /// Height of the paper.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paper_height: Option<f64>,
    /// Upper margin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub margin_top: Option<f64>,
    /// Lower margin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub margin_bottom: Option<f64>,
    /// Left margin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub margin_left: Option<f64>,
    /// Right margin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub margin_right: Option<f64>,
    /// For example `1-3,5`; all if empty.
    pub page_ranges: String,
    /// HTML of the line above.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header_template: Option<String>,
    /// HTML of the line below.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub footer_template: Option<String>,
    /// Whether `@page` decides about the paper.
    #[serde(rename = "preferCSSPageSize")]
    pub prefer_css_page_size: bool,
    /// `ReturnAsBase64` or `ReturnAsStream`.
    pub transfer_mode: &'static str,
    /// With tags for screen readers.
    #[serde(rename = "generateTaggedPDF")]
    pub generate_tagged_pdf: bool,
    /// With an outline.
    pub generate_document_outline: bool,
}

/// Reply of [`PrintToPdf`].
#[derive(Clone, Debug, Deserialize)]
pub struct Printed {
    /// The document in base64; empty if it is a stream.
    #[serde(default)]
    pub data: String,
    /// The stream, if one was asked for.
    pub stream: Option<String>,
}
command!(PrintToPdf, "Page.printToPDF", Printed);
