//! A picture and a snapshot of the same moment.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use paddock_platform::problem::{CONFLICT, Problem};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;
use utoipa::IntoParams;

use super::{
    BrowserService, READ, Target,
    observe::{area_of, names_of, picture_format, scale_of},
};
use crate::{
    capture::CaptureWait,
    ids::TabId,
    screenshot::{Area, Format, Screenshot},
    snapshot::{Filter, Snapshot, SnapshotOptions},
};

/// What to capture.
#[derive(Clone, Debug, Deserialize, JsonSchema, IntoParams)]
#[serde(rename_all = "camelCase", default)]
#[into_params(parameter_in = Query)]
pub struct CaptureQuery {
    /// The tab; without one, the current tab.
    #[param(value_type = Option<String>)]
    pub tab_id: Option<TabId>,
    /// One element: the picture is cut to it, the snapshot is of what is in it.
    pub selector: Option<String>,
    /// `interactive` (the default) or `all`.
    #[param(inline)]
    pub filter: Option<Filter>,
    /// `jpeg` or `png`.
    pub format: Option<String>,
    /// Quality of a JPEG, 0 to 100; 80 if absent.
    pub quality: Option<u8>,
    /// Deepest level of the snapshot; -1 or absent for all.
    pub depth: Option<i32>,
    /// `file` (the default) writes the picture to a file of the server, `inline` puts it into the answer, `raw` is the
    /// picture alone.
    pub output: Option<String>,
    /// Until when the page is left to come to rest.
    #[param(inline)]
    pub wait: CaptureWait,
    /// Adds where each node is.
    pub with_bounds: bool,
    /// The whole page instead of what is visible.
    pub beyond_viewport: bool,
    /// Pixels of the picture per pixel of the page; 1 if absent.
    pub scale: Option<f64>,
    /// Fails when the page went to another document meanwhile.
    pub require_pair: bool,
    /// Stops animations and transitions meanwhile.
    pub no_animations: bool,
}

impl Default for CaptureQuery {
    fn default() -> Self {
        Self {
            tab_id: None,
            selector: None,
            filter: None,
            format: None,
            quality: None,
            depth: None,
            output: None,
            wait: CaptureWait::default(),
            with_bounds: true,
            beyond_viewport: false,
            scale: None,
            require_pair: false,
            no_animations: false,
        }
    }
}

/// What a capture is answered with.
pub(crate) enum Captured {
    Document(Value),
    Image(Format, Bytes),
}

impl BrowserService {
    /// Takes a picture and a snapshot of the same moment.
    pub(crate) async fn capture(&self, target: &Target, query: CaptureQuery) -> Result<Captured, Problem> {
        let tab = self.tab(target, READ).await?;
        let format = picture_format(query.format.as_deref(), query.quality)?;
        let output = query.output.as_deref().filter(|output| !output.is_empty()).unwrap_or("file");
        if !matches!(output, "file" | "inline" | "raw") {
            return Err(Problem::invalid_field("output", "must be `file`, `inline` or `raw`"));
        }
        tab.rest(query.wait).await;
        let started = Instant::now();
        let loader = || tab.0.page.with(|page| (page.main_frame.clone(), page.loader_id.clone()));
        let (frame_id, loader_id) = loader();
        if query.no_animations {
            tab.still(true).await?;
        }
        let selector = query.selector.clone().filter(|selector| !selector.is_empty());
        let area = area_of(selector.clone(), query.beyond_viewport);
        let filter = query.filter.unwrap_or(Filter::Interactive);
        let options = SnapshotOptions {
            filter,
            depth: query.depth.and_then(|depth| u32::try_from(depth).ok()),
            selector,
            boxes: query.with_bounds,
            ..SnapshotOptions::default()
        };
        let picture =
            Screenshot { area: area.clone(), format, scale: scale_of(query.scale), ..Screenshot::default() };
        let taken = tokio::join!(tab.snapshot(options), tab.screenshot(picture));
        if query.no_animations {
            tab.still(false).await?;
        }
        let ((snapshot, _), image) = (taken.0?, taken.1?);
        let navigated = loader().1 != loader_id;
        if navigated && query.require_pair {
            return Err(Problem::new(
                CONFLICT,
                "the page went to another document during the capture; try again",
            ));
        }
        if output == "raw" {
            return Ok(Captured::Image(format, image));
        }
        let viewport = tab.viewport().await.map_err(Problem::from)?;
        let origin = tab.picture_origin(&area).await?;
        let offset = match area {
            Area::Viewport => (0.0, 0.0),
            _ => (viewport.scroll_x - origin.0, viewport.scroll_y - origin.1),
        };
        let (name, extension) = names_of(format);
        let mut picture = json!({
            "format": name,
            "bytes": image.len(),
            "coordinateSpace": match area { Area::Viewport => "viewport", Area::FullPage { .. } => "document", _ => "clip" },
            "devicePixelRatio": viewport.ratio,
            "viewport": { "w": viewport.w, "h": viewport.h, "scrollX": viewport.scroll_x, "scrollY": viewport.scroll_y },
        });
        if let Area::Element { selector } = &area {
            let rect = tab.element_rect(selector).await?;
            picture["clip"] = json!({ "x": rect.x, "y": rect.y, "w": rect.width, "h": rect.height });
        }
        if output == "inline" {
            picture["base64"] = BASE64_STANDARD.encode(&image).into();
        } else {
            picture["path"] =
                self.write("captures", None, name, extension, image.to_vec()).await?.path.into();
        }
        let duration = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(Captured::Document(json!({
            "status": "ok",
            "tabId": tab.id(),
            "url": snapshot.url,
            "title": snapshot.title,
            "capturedAt": jiff::Timestamp::now().to_string(),
            "epoch": { "frameId": frame_id, "loaderId": loader_id, "domEpoch": format!("ep_{}", uuid::Uuid::now_v7().simple()) },
            "pairing": { "navigated": navigated, "captureDurationMs": duration },
            "image": picture,
            "snapshot": {
                "filter": filter,
                "nodeCount": snapshot.nodes.len(),
                "nodes": nodes(&snapshot, offset),
            },
        })))
    }
}

/// The nodes, with boxes in the coordinates of the picture.
fn nodes(snapshot: &Snapshot, offset: (f64, f64)) -> Vec<Value> {
    let node = |node: &crate::snapshot::Node| {
        let mut value = json!(node);
        if let Some(rect) = node.bounding_box {
            value["boundingBox"] =
                json!({ "x": rect.x + offset.0, "y": rect.y + offset.1, "w": rect.width, "h": rect.height });
        }
        value
    };
    snapshot.nodes.iter().map(node).collect()
}
