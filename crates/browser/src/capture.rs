//! Pictures with labels, and pictures together with the snapshot of the same moment.

use std::time::Duration;

use bytes::Bytes;
use paddock_cdp::protocol::page::GetLayoutMetrics;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::timeout;
use utoipa::ToSchema;

use crate::{
    action::{ActionError, Fault},
    error::BrowserError,
    evaluate::{EvaluateError, World},
    frames::{LOOK_DEADLINE, Realm},
    screenshot::{Area, Screenshot},
    tab::Tab,
    wait::{Condition, LoadState},
};

/// Labels of one picture.
const LABELS_MAX: usize = 500;
/// How long a page that is to come to rest before a capture may take.
const STABLE_MAX: Duration = Duration::from_millis(750);
/// How long nothing may be loading for it to be at rest.
const STABLE_QUIET: Duration = Duration::from_millis(100);
/// How long a page that is to be loaded before a capture may take.
const LOADED_MAX: Duration = Duration::from_secs(2);

/// A rectangle as labels have it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct LabelBox {
    /// Left edge.
    pub x: f64,
    /// Top edge.
    pub y: f64,
    /// Width.
    pub w: f64,
    /// Height.
    pub h: f64,
}

/// A label of something that can be acted on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct Label {
    /// Its reference.
    pub r#ref: String,
    /// Its role.
    pub role: String,
    /// Its name.
    pub name: String,
    /// Where it is, in CSS pixels of the picture.
    pub r#box: LabelBox,
}

#[derive(Debug, Deserialize)]
struct Labelled {
    found: Vec<Label>,
    #[serde(rename = "scrollX")]
    scroll_x: f64,
    #[serde(rename = "scrollY")]
    scroll_y: f64,
    url: String,
    title: String,
}

/// How long a capture waits for the page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CaptureWait {
    /// Until nothing loads any more, but not for long.
    #[default]
    Stable,
    /// Until the document is loaded.
    Load,
    /// Not at all.
    None,
}

impl Tab {
    /// What can be acted on, with boxes in document coordinates.
    async fn labels(&self, selector: Option<&str>, offscreen: bool) -> Result<Labelled, ActionError> {
        let place = self.place_of(selector).unwrap_or_default();
        let mut argument = json!({ "offscreen": offscreen, "max": LABELS_MAX });
        if let Some(within) = &place.within {
            argument["within"] = within.as_str().into();
        }
        if let Some(selector) = selector {
            argument["selector"] = selector.into();
        }
        let expression = format!("paddockAccessibility.labelled({argument})");
        let answer: Value = self.ask(&place.realm, &expression, LOOK_DEADLINE).await?;
        if answer.get("error").is_some() {
            let mut fault: Fault = serde_json::from_value(answer).unwrap_or_default();
            if fault.error == "not_found" {
                "no_element".clone_into(&mut fault.error);
            }
            return Err(ActionError::of_fault(fault, selector.unwrap_or_default()));
        }
        let mut labelled: Labelled =
            serde_json::from_value(answer).map_err(|error| ActionError::Page(EvaluateError::Type(error)))?;
        for label in &mut labelled.found {
            label.r#box.x += labelled.scroll_x;
            label.r#box.y += labelled.scroll_y;
        }
        Ok(labelled)
    }

    /// Takes a picture on which everything that can be acted on has its reference.
    pub async fn annotated_screenshot(
        &self,
        screenshot: Screenshot,
    ) -> Result<(Bytes, Vec<Label>), AnnotateError> {
        let (selector, offscreen) = match &screenshot.area {
            Area::Element { selector } => (Some(selector.clone()), true),
            Area::FullPage { .. } => (None, true),
            Area::Viewport | Area::Clip(_) => (None, false),
        };
        let labelled = self.labels(selector.as_deref(), offscreen).await?;
        let origin = self.picture_origin(&screenshot.area).await?;
        let items = serde_json::to_string(&labelled.found).unwrap_or_default();
        let drawing = Drawing(Some(self));
        let draw = format!("({DRAW})({items})");
        self.evaluate_in_place(&draw, World::Isolated, LOOK_DEADLINE).await.map_err(ActionError::from)?;
        let image = self.screenshot(screenshot).await;
        drawing.remove().await;
        let labels = labelled.found.into_iter().map(|label| {
            let LabelBox { x, y, w, h } = label.r#box;
            Label { r#box: LabelBox { x: x - origin.0, y: y - origin.1, w, h }, ..label }
        });
        // What only touches the picture from outside is not on it.
        let labels = labels.filter(|label| label.r#box.x >= -0.5 && label.r#box.y >= -0.5);
        let labels = labels.map(|mut label| {
            label.r#box.x = label.r#box.x.max(0.0);
            label.r#box.y = label.r#box.y.max(0.0);
            label
        });
        Ok((image?, labels.collect()))
    }

    /// Top left corner of a picture in the coordinates of the document.
    pub(crate) async fn picture_origin(&self, area: &Area) -> Result<(f64, f64), BrowserError> {
        match area {
            Area::FullPage { .. } => Ok((0.0, 0.0)),
            Area::Clip(rect) => Ok((rect.x, rect.y)),
            Area::Element { selector } => {
                let rect = self.element_rect(selector).await?;
                Ok((rect.x.max(0.0), rect.y.max(0.0)))
            }
            Area::Viewport => {
                let viewport = self.session().send(&GetLayoutMetrics {}).await?.css_layout_viewport;
                Ok((viewport.page_x, viewport.page_y))
            }
        }
    }

    /// Puts labels on the page for people to click: each copies what names its element. They stay until they are
    /// cleared or the page goes away.
    pub async fn annotate(&self, selector: Option<&str>) -> Result<Vec<Label>, ActionError> {
        #[derive(Serialize)]
        struct Item<'a> {
            #[serde(flatten)]
            label: &'a Label,
            css: String,
            xpath: String,
        }
        #[derive(Default, Deserialize)]
        struct Paths {
            css: String,
            xpath: String,
        }
        let labelled = self.labels(selector, true).await?;
        let place = self.place_of(selector).unwrap_or_default();
        let refs: Vec<&str> = labelled.found.iter().map(|label| label.r#ref.as_str()).collect();
        let refs = serde_json::to_string(&refs).unwrap_or_default();
        let expression = format!("({refs}).map((ref) => paddockAccessibility.pathsOf(ref))");
        let paths: Vec<Paths> = self.ask(&place.realm, &expression, LOOK_DEADLINE).await?;
        let items: Vec<Item<'_>> = labelled
            .found
            .iter()
            .zip(paths)
            .map(|(label, paths)| Item { label, css: paths.css, xpath: paths.xpath })
            .collect();
        let items = serde_json::to_string(&items).unwrap_or_default();
        let page = json!({ "url": labelled.url, "title": labelled.title });
        let expression = format!("({ANNOTATE})({items},{page})");
        self.evaluate_in_place(&expression, World::Main, LOOK_DEADLINE).await?;
        Ok(labelled.found)
    }

    /// Takes the labels off the page.
    pub async fn clear_annotations(&self) -> Result<(), ActionError> {
        let expression = format!("document.getElementById('{ANNOTATIONS_ID}')?.remove()");
        self.evaluate_in_place(&expression, World::Isolated, LOOK_DEADLINE).await?;
        Ok(())
    }

    /// Lets the page come to rest before a capture, as far as asked.
    pub(crate) async fn rest(&self, wait: CaptureWait) {
        match wait {
            CaptureWait::None => {}
            CaptureWait::Load => {
                self.wait_for(&Condition::Load(LoadState::ReadyState), LOADED_MAX).await.ok();
            }
            CaptureWait::Stable => {
                let idle = Condition::Load(LoadState::NetworkIdle(STABLE_QUIET));
                timeout(STABLE_MAX, self.wait_for(&idle, STABLE_MAX)).await.ok();
            }
        }
    }

    /// Stops what moves by itself, or lets it go on.
    pub(crate) async fn still(&self, still: bool) -> Result<(), ActionError> {
        let expression = format!("({STILL})({still})");
        self.evaluate_in_place(&expression, World::Isolated, LOOK_DEADLINE).await?;
        Ok(())
    }

    /// Scale and size of the viewport, for those who map a picture to the page.
    pub(crate) async fn viewport(&self) -> Result<Viewport, ActionError> {
        let expression =
            "({ratio: devicePixelRatio, w: innerWidth, h: innerHeight, scrollX: scrollX, scrollY: scrollY})";
        Ok(self.ask(&Realm::PAGE, expression, LOOK_DEADLINE).await?)
    }
}

/// The visible part of a page.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Viewport {
    pub(crate) ratio: f64,
    pub(crate) w: f64,
    pub(crate) h: f64,
    pub(crate) scroll_x: f64,
    pub(crate) scroll_y: f64,
}

/// A picture with labels that was not taken.
#[derive(Debug, thiserror::Error)]
pub enum AnnotateError {
    /// What is to be labelled was not found.
    #[error(transparent)]
    Labels(Box<ActionError>),
    /// The picture was not taken.
    #[error(transparent)]
    Picture(#[from] BrowserError),
}

impl From<ActionError> for AnnotateError {
    fn from(error: ActionError) -> Self {
        Self::Labels(Box::new(error))
    }
}

impl From<AnnotateError> for paddock_platform::problem::Problem {
    fn from(error: AnnotateError) -> Self {
        match error {
            AnnotateError::Labels(error) => (*error).into(),
            AnnotateError::Picture(error) => error.into(),
        }
    }
}

/// Labels on the page for the moment of a picture; taken off also when the caller goes away.
struct Drawing<'a>(Option<&'a Tab>);

impl Drawing<'_> {
    async fn remove(mut self) {
        if let Some(tab) = self.0.take() {
            tab.evaluate_in_place(ERASE, World::Isolated, LOOK_DEADLINE).await.ok();
        }
    }
}

impl Drop for Drawing<'_> {
    fn drop(&mut self) {
        if let Some(tab) = self.0.take() {
            let tab = tab.clone();
            let tasks = tab.0.shared.tasks.clone();
            tasks.spawn("browser_erase_labels", async move {
                tab.evaluate_in_place(ERASE, World::Isolated, LOOK_DEADLINE).await.ok();
            });
        }
    }
}

/// The id that Pinchtab's clients look for.
const ANNOTATIONS_ID: &str = "__pinchtab_annotations_interactive__";
const ERASE: &str = "document.getElementById('__pinchtab_annotations__')?.remove()";

/// Draws the labels of a picture, out of reach of the page's styles and of the pointer.
const DRAW: &str = "(items) => {
    document.getElementById('__pinchtab_annotations__')?.remove();
    const root = document.createElement('div');
    root.id = '__pinchtab_annotations__';
    root.style.cssText = 'all:initial;position:absolute;left:0;top:0;width:0;height:0;z-index:2147483647;pointer-events:none';
    const shadow = root.attachShadow({ mode: 'closed' });
    for (const { ref, box } of items) {
        const frame = document.createElement('div');
        frame.style.cssText = `position:absolute;left:${box.x}px;top:${box.y}px;width:${box.w}px;height:${box.h}px;` +
            'box-sizing:border-box;border:2px solid #e11d48';
        const label = document.createElement('div');
        label.textContent = ref;
        label.style.cssText = 'position:absolute;left:0;top:0;background:#e11d48;color:#fff;padding:0 3px;' +
            'font:bold 11px/14px sans-serif;white-space:nowrap';
        frame.append(label);
        shadow.append(frame);
    }
    document.documentElement.append(root);
    return items.length;
}";

/// Puts labels on the page that copy what names their element when they are clicked.
const ANNOTATE: &str = "(items, page) => {
    const id = '__pinchtab_annotations_interactive__';
    document.getElementById(id)?.remove();
    if (items.length === 0) return 0;
    const root = document.createElement('div');
    root.id = id;
    root.style.cssText = 'position:absolute;left:0;top:0;width:0;height:0;z-index:2147483646';
    for (const { ref, role, name, box, css, xpath } of items) {
        const frame = document.createElement('div');
        frame.style.cssText = `position:absolute;left:${box.x}px;top:${box.y}px;width:${box.w}px;height:${box.h}px;` +
            'box-sizing:border-box;border:2px solid #2563eb;pointer-events:none';
        const label = document.createElement('div');
        label.textContent = ref;
        label.title = `Copy what names ${role} ${name}`;
        label.style.cssText = `position:absolute;left:${box.x}px;top:${Math.max(0, box.y - 14)}px;background:#2563eb;` +
            'color:#fff;padding:0 3px;font:bold 11px/14px sans-serif;white-space:nowrap;cursor:copy;pointer-events:auto';
        label.addEventListener('click', (event) => {
            event.preventDefault();
            event.stopPropagation();
            const text = [`Page: ${page.title} (${page.url})`, `Element: ${ref}`, `Role: ${role}`, `Name: ${name}`,
                `CSS: ${css}`, `XPath: ${xpath}`].join('\\n');
            window.__ptLastCopied = text;
            navigator.clipboard?.writeText(text).catch(() => {});
        });
        root.append(frame, label);
    }
    document.documentElement.append(root);
    return items.length;
}";

/// Stops animations and transitions by a style sheet of its own.
const STILL: &str = "(still) => {
    const id = '__paddock_still__';
    document.getElementById(id)?.remove();
    if (!still) return;
    const style = document.createElement('style');
    style.id = id;
    style.textContent = '*,*::before,*::after{animation:none!important;transition:none!important;scroll-behavior:auto!important;caret-color:transparent!important}';
    document.documentElement.append(style);
}";
