//! Looking at a page: snapshots, pictures, evaluation.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use paddock_platform::problem::{INTERNAL, Problem};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::{BrowserService, READ, Target, WRITE, timeout_of};
use crate::{
    evaluate::World,
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
}

/// A picture in JSON.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct Picture {
    /// `jpeg` or `png`.
    pub format: String,
    /// The image in base64.
    pub base64: String,
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
            refs_from: 0,
        };
        let format = match query.format {
            Some(format) => format,
            None if query.compact => snapshot::Format::Compact,
            None => format_default,
        };
        let (snapshot, previous) = tab.snapshot(options).await?;
        let mut rendered = match previous.filter(|_| query.diff) {
            Some(previous) => snapshot.render_diff(&previous, format, query.max_tokens),
            None => snapshot.render(format, query.max_tokens),
        };
        let is_json = format == snapshot::Format::Json;
        let texts = snapshot.nodes.iter().flat_map(|node| [Some(node.name.as_str()), node.text.as_deref()]);
        let mode = self.fleet.0.options.current().content_guard;
        let idpi_warning = guard::guard(mode, texts.flatten(), &mut rendered.body, is_json);
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

    /// A picture.
    pub async fn screenshot(
        &self,
        target: &Target,
        query: ScreenshotQuery,
    ) -> Result<(Format, Bytes), Problem> {
        let tab = self.tab(target, READ).await?;
        let format = match query.format.as_deref() {
            Some("png") => Format::Png,
            None | Some("" | "jpeg" | "jpg") => {
                Format::Jpeg { quality: query.quality.unwrap_or(PICTURE_QUALITY) }
            }
            Some(_) => return Err(Problem::invalid_field("format", "must be `jpeg` or `png`")),
        };
        let area = match query.selector.filter(|selector| !selector.is_empty()) {
            Some(selector) => Area::Element { selector },
            None if query.beyond_viewport => Area::FullPage { height_max: PICTURE_HEIGHT_MAX },
            None => Area::Viewport,
        };
        let image = tab.screenshot(Screenshot { area, format, ..Screenshot::default() }).await?;
        Ok((format, image))
    }

    /// Evaluates an expression in the page's own world.
    pub async fn evaluate(&self, target: &Target, request: EvaluateRequest) -> Result<Evaluated, Problem> {
        let timeout = timeout_of(request.timeout, EVALUATION_TIMEOUT)?;
        let tab = self.tab(target, WRITE).await?;
        let value = tab.evaluate(&request.expression, World::Main, timeout).await?;
        let result = serde_json::from_str(value.get())
            .map_err(|_| Problem::new(INTERNAL, "the value of the expression is nested too deeply"))?;
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
pub(crate) fn picture(format: Format, image: &Bytes) -> Picture {
    let name = match format {
        Format::Png => "png",
        Format::Jpeg { .. } => "jpeg",
    };
    Picture { format: name.to_owned(), base64: BASE64_STANDARD.encode(image) }
}
