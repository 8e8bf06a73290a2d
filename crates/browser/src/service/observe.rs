//! Looking at a page: snapshots, pictures, evaluation.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use paddock_platform::problem::Problem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::{BrowserService, READ, Target, WRITE, timeout_of};
use crate::{
    action::ActionError,
    capture::Label,
    evaluate::{EVALUATION_FAILED, World},
    guard,
    ids::TabId,
    screenshot::{Area, Format, Screenshot},
    snapshot::{self, Filter, Rendered, SnapshotOptions},
};

/// How long an evaluation may take when the request names no time.
const EVALUATION_TIMEOUT: Duration = Duration::from_secs(30);
/// Height at which a picture of a whole page is cut, in CSS pixels.
const PICTURE_HEIGHT_MAX: u32 = 16_000;
/// Quality of JPEG pictures when the request names none.
const PICTURE_QUALITY: u8 = 80;

/// Which snapshot.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, IntoParams)]
#[serde(rename_all = "camelCase", default)]
#[into_params(parameter_in = Query)]
pub struct SnapshotQuery {
    /// The tab; without one, the tab that was used last.
    #[param(value_type = Option<String>)]
    pub tab_id: Option<TabId>,
    /// `all`, or `interactive`: what can be acted on, and headings to find one's way.
    #[param(inline)]
    pub filter: snapshot::Filter,
    /// As `filter=interactive`.
    pub interactive: bool,
    /// Deepest level; -1 or absent for all.
    pub depth: Option<i32>,
    /// Only what is in the first element that this names: a reference (`e5`) or CSS.
    pub selector: Option<String>,
    /// About how many tokens the answer may take.
    pub max_tokens: Option<u32>,
    /// Only what changed since the last snapshot of the tab.
    pub diff: bool,
    /// `json`, `compact`, `text` or `yaml`.
    #[param(inline)]
    pub format: Option<snapshot::Format>,
    /// As `format=compact`.
    pub compact: bool,
    /// Adds where each node is.
    pub boxes: bool,
    /// Stops animations and transitions meanwhile.
    pub no_animations: bool,
    /// `file` writes the snapshot to a file of the server and answers with its path.
    pub output: Option<String>,
    /// Name of the file, within the server's directory for snapshots.
    pub path: Option<String>,
}

/// Something was written to a file of the server.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct Written {
    /// Where.
    pub path: String,
    /// Bytes.
    pub size: usize,
    /// Its format.
    pub format: String,
    /// When.
    pub timestamp: String,
}

/// A snapshot, for the tool.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct SnapshotView {
    /// Where the tab is.
    pub url: String,
    /// Title of the page.
    pub title: String,
    /// The page, in the format that was asked for.
    pub snapshot: String,
    /// Whether nodes were left out.
    pub truncated: bool,
    /// What is to be known of text that addresses a model.
    #[serde(rename = "idpiWarning", skip_serializing_if = "Option::is_none")]
    pub idpi_warning: Option<String>,
}

/// Which picture.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, IntoParams)]
#[serde(rename_all = "camelCase", default)]
#[into_params(parameter_in = Query)]
pub struct ScreenshotQuery {
    /// The tab; without one, the tab that was used last.
    #[param(value_type = Option<String>)]
    pub tab_id: Option<TabId>,
    /// `jpeg` or `png`.
    pub format: Option<String>,
    /// Quality of a JPEG, 0 to 100; 80 if absent.
    #[schemars(range(max = 100))]
    pub quality: Option<u8>,
    /// One element: a reference (`e5`) or CSS.
    pub selector: Option<String>,
    /// The whole page instead of what is visible.
    pub beyond_viewport: bool,
    /// The image itself instead of JSON.
    pub raw: bool,
    /// Pixels of the picture per pixel of the page, 0.05 to 4; 1 if absent.
    pub scale: Option<f64>,
    /// Labels everything that can be acted on with its reference.
    pub annotate: bool,
    /// `file` writes the picture to a file of the server and answers with its path.
    pub output: Option<String>,
}

/// A picture that was taken.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) format: Format,
    pub(crate) image: Bytes,
    /// The labels on it, if it has some.
    pub(crate) labels: Option<Vec<Label>>,
}

/// Which labels to put on the page.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, IntoParams)]
#[serde(rename_all = "camelCase", default)]
#[into_params(parameter_in = Query)]
pub struct AnnotateQuery {
    /// The tab; without one, the current tab.
    #[param(value_type = Option<String>)]
    pub tab_id: Option<TabId>,
    /// Only what is in this element.
    pub selector: Option<String>,
    /// Takes the labels off.
    pub clear: bool,
}

/// A picture in JSON.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct Picture {
    /// `jpeg` or `png`.
    pub format: String,
    /// The image in base64.
    pub base64: String,
    /// The labels on it, if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotations: Option<Vec<Label>>,
}

/// Evaluates JavaScript.
#[derive(Clone, Debug, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EvaluateRequest {
    /// The expression; a promise is awaited.
    pub expression: String,
    /// The tab; without one, the tab that was used last.
    #[serde(default)]
    pub tab_id: Option<TabId>,
    /// Seconds that it may take; 30 if absent.
    #[serde(default)]
    #[schemars(range(min = 0.001, max = 600))]
    pub timeout: Option<f64>,
}

/// The value of an expression.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct Evaluated {
    /// The value; `undefined` is null.
    pub result: Value,
}

impl BrowserService {
    /// A snapshot in the format that the query names.
    pub async fn snapshot(
        &self,
        target: &Target,
        query: SnapshotQuery,
        format_default: snapshot::Format,
    ) -> Result<(Rendered, SnapshotView), Problem> {
        let tab = self.tab(target, READ).await?;
        let options = SnapshotOptions {
            filter: if query.interactive { Filter::Interactive } else { query.filter },
            depth: query.depth.and_then(|depth| u32::try_from(depth).ok()),
            selector: query.selector,
            boxes: query.boxes,
            ..SnapshotOptions::default()
        };
        let format = match query.format {
            Some(format) => format,
            None if query.compact => snapshot::Format::Compact,
            None => format_default,
        };
        if query.no_animations {
            tab.still(true).await?;
        }
        let taken = tab.snapshot(options).await;
        if query.no_animations {
            tab.still(false).await?;
        }
        let (snapshot, previous) = taken?;
        let mut rendered = match previous.filter(|_| query.diff) {
            Some(previous) => snapshot.render_diff(&previous, format, query.max_tokens),
            None => snapshot.render(format, query.max_tokens),
        };
        let is_json = format == snapshot::Format::Json;
        let texts = snapshot.nodes.iter().flat_map(|node| [Some(node.name.as_str()), node.text.as_deref()]);
        let mode = self.fleet.0.options.current().content_guard;
        let idpi_warning = guard::guard(mode, texts.flatten(), &mut rendered.body, is_json)?;
        if let Some(warning) = &idpi_warning {
            put_warning(&mut rendered.body, warning, is_json);
        }
        let view = SnapshotView {
            url: snapshot.url.clone(),
            title: snapshot.title.clone(),
            snapshot: String::new(),
            truncated: rendered.truncated,
            idpi_warning,
        };
        Ok((rendered, view))
    }

    /// Writes a snapshot to a file of the server.
    pub(crate) async fn write_snapshot(
        &self,
        rendered: Rendered,
        path: Option<&str>,
    ) -> Result<Written, Problem> {
        let (format, extension) = match rendered.content_type {
            json if json == snapshot::Format::Json.content_type() => ("json", "json"),
            yaml if yaml == snapshot::Format::Yaml.content_type() => ("yaml", "yaml"),
            _ => ("text", "txt"),
        };
        self.write("snapshots", path, format, extension, rendered.body.into_bytes()).await
    }

    pub(super) async fn write(
        &self,
        folder: &'static str,
        path: Option<&str>,
        format: &str,
        extension: &str,
        content: Vec<u8>,
    ) -> Result<Written, Problem> {
        let size = content.len();
        let path = self.fleet.0.write_output(folder, path, extension, content).await?;
        Ok(Written {
            path: path.to_string_lossy().into_owned(),
            size,
            format: format.to_owned(),
            timestamp: jiff::Timestamp::now().to_string(),
        })
    }

    /// A picture.
    pub async fn screenshot(
        &self,
        target: &Target,
        query: ScreenshotQuery,
    ) -> Result<(Format, Bytes), Problem> {
        self.take_picture(target, query).await.map(|taken| (taken.format, taken.image))
    }

    pub(crate) async fn take_picture(
        &self,
        target: &Target,
        query: ScreenshotQuery,
    ) -> Result<Taken, Problem> {
        let tab = self.tab(target, READ).await?;
        let format = picture_format(query.format.as_deref(), query.quality)?;
        let area = area_of(query.selector, query.beyond_viewport);
        let screenshot = Screenshot { area, format, scale: scale_of(query.scale), ..Screenshot::default() };
        if query.annotate {
            let (image, labels) = tab.annotated_screenshot(screenshot).await?;
            return Ok(Taken { format, image, labels: Some(labels) });
        }
        Ok(Taken { format, image: tab.screenshot(screenshot).await?, labels: None })
    }

    /// Writes a picture to a file of the server.
    pub(crate) async fn write_picture(&self, taken: &Taken) -> Result<Written, Problem> {
        let (format, extension) = names_of(taken.format);
        self.write("screenshots", None, format, extension, taken.image.to_vec()).await
    }

    /// Puts labels on the page of a tab, or takes them off.
    pub async fn annotate(&self, target: &Target, query: AnnotateQuery) -> Result<Value, Problem> {
        let tab = self.tab(target, WRITE).await?;
        if query.clear {
            tab.clear_annotations().await?;
            return Ok(serde_json::json!({ "cleared": true }));
        }
        let selector = query.selector.filter(|selector| !selector.trim().is_empty());
        let labels = tab.annotate(selector.as_deref()).await.map_err(|error| match error {
            // What the query names is wrong, not what the path names.
            error @ ActionError::NoElement { .. } => Problem::invalid_field("selector", error),
            error => error.into(),
        })?;
        Ok(serde_json::json!({ "annotated": labels.len(), "annotations": labels }))
    }

    /// Evaluates an expression in the page's own world.
    pub async fn evaluate(&self, target: &Target, request: EvaluateRequest) -> Result<Evaluated, Problem> {
        let timeout = timeout_of(request.timeout, EVALUATION_TIMEOUT)?;
        let tab = self.tab(target, WRITE).await?;
        let value = tab.evaluate(&request.expression, World::Main, timeout).await?;
        let result = serde_json::from_str(value.get()).map_err(|_| {
            Problem::new(EVALUATION_FAILED, "the value of the expression is nested too deeply")
        })?;
        Ok(Evaluated { result })
    }
}

/// Puts a warning into a snapshot: as a member of the JSON, or as a comment after the first line.
fn put_warning(body: &mut String, warning: &str, is_json: bool) {
    if is_json && body.starts_with("{\"") {
        body.insert_str(1, &format!("\"idpiWarning\":{},", Value::from(warning)));
    } else if !is_json {
        let at = body.find('\n').map_or(body.len(), |at| at + 1);
        body.insert_str(at, &format!("# idpiWarning: {}\n", warning.replace('\n', " ")));
    }
}

/// A picture as JSON carries it.
pub(crate) fn picture(format: Format, image: &Bytes, annotations: Option<Vec<Label>>) -> Picture {
    let (name, _) = names_of(format);
    Picture { format: name.to_owned(), base64: BASE64_STANDARD.encode(image), annotations }
}

/// A format's name and the ending of its files.
pub(super) const fn names_of(format: Format) -> (&'static str, &'static str) {
    match format {
        Format::Png => ("png", "png"),
        Format::Jpeg { .. } => ("jpeg", "jpg"),
    }
}

pub(super) fn picture_format(name: Option<&str>, quality: Option<u8>) -> Result<Format, Problem> {
    match name {
        Some("png") => Ok(Format::Png),
        None | Some("" | "jpeg" | "jpg") => {
            Ok(Format::Jpeg { quality: quality.unwrap_or(PICTURE_QUALITY).min(100) })
        }
        Some(_) => Err(Problem::invalid_field("format", "must be `jpeg` or `png`")),
    }
}

pub(super) fn area_of(selector: Option<String>, beyond_viewport: bool) -> Area {
    match selector.filter(|selector| !selector.is_empty()) {
        Some(selector) => Area::Element { selector },
        None if beyond_viewport => Area::FullPage { height_max: PICTURE_HEIGHT_MAX },
        None => Area::Viewport,
    }
}

/// A scale that is none is as good as absent.
pub(super) fn scale_of(given: Option<f64>) -> f64 {
    given.filter(|scale| scale.is_finite() && *scale > 0.0).unwrap_or(1.0)
}
