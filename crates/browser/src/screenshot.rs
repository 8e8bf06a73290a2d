//! Screenshots.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use paddock_cdp::protocol::page::{CaptureScreenshot, Clip, GetLayoutMetrics};
use serde::Deserialize;

use crate::{error::BrowserError, evaluate::EvaluateError, tab::Tab};

/// How long finding an element may take.
const FIND_DEADLINE: Duration = Duration::from_secs(5);
/// Sides of an image that Chrome draws reliably, in device pixels.
const SIDE_MAX: f64 = 16_384.0;

/// A rectangle of the document in CSS pixels.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
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

/// What a screenshot shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Area {
    /// What is visible.
    #[default]
    Viewport,
    /// The whole document.
    FullPage {
        /// Cut off below this many CSS pixels.
        height_max: u32,
    },
    /// One element.
    Element {
        /// A reference of a snapshot (`e5`) or a CSS selector, of which the first match counts.
        selector: String,
    },
    /// A part of the document.
    Clip(Rect),
}

/// How a screenshot is encoded. WebP is left out: it takes twice the time of the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Lossless, compressed for speed.
    #[default]
    Png,
    /// With a quality of 0 to 100.
    Jpeg {
        /// The quality.
        quality: u8,
    },
}

impl Format {
    /// The media type.
    pub const fn mime(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg { .. } => "image/jpeg",
        }
    }
}

/// A picture to take.
#[derive(Clone, Debug)]
pub struct Screenshot {
    /// What it shows.
    pub area: Area,
    /// How it is encoded.
    pub format: Format,
    /// How long it may take.
    pub timeout: Duration,
}

impl Default for Screenshot {
    fn default() -> Self {
        Self { area: Area::default(), format: Format::default(), timeout: Duration::from_secs(20) }
    }
}

impl Tab {
    /// Takes a picture.
    pub async fn screenshot(&self, screenshot: Screenshot) -> Result<Bytes, BrowserError> {
        self.touch();
        let clip = match &screenshot.area {
            Area::Viewport => None,
            Area::FullPage { height_max } => Some(self.whole_page(*height_max).await?),
            Area::Element { selector } => Some(self.element_rect(selector).await?),
            Area::Clip(rect) => Some(*rect),
        };
        let (format, quality) = match screenshot.format {
            Format::Png => ("png", None),
            Format::Jpeg { quality } => ("jpeg", Some(quality.min(100))),
        };
        let command = CaptureScreenshot {
            format,
            quality,
            clip: clip.map(to_clip),
            capture_beyond_viewport: clip.is_some(),
            optimize_for_speed: true,
        };
        let captured = self.session().send_within(&command, screenshot.timeout).await?;
        let image = BASE64_STANDARD.decode(captured.data).map_err(|_| BrowserError::Malformed("image"))?;
        Ok(image.into())
    }

    async fn whole_page(&self, height_max: u32) -> Result<Rect, BrowserError> {
        let size = self.session().send(&GetLayoutMetrics {}).await?.css_content_size;
        Ok(Rect { x: 0.0, y: 0.0, width: size.width, height: size.height.min(f64::from(height_max)) })
    }

    async fn element_rect(&self, selector: &str) -> Result<Rect, BrowserError> {
        let selector_json = serde_json::Value::from(selector).to_string();
        let expression = format!("({ELEMENT_RECT})({selector_json})");
        let found = self.evaluate_accessibility(&expression, FIND_DEADLINE).await;
        match found
            .and_then(|value| serde_json::from_str::<Option<Rect>>(value.get()).map_err(EvaluateError::Type))
        {
            Ok(Some(rect)) if rect.width >= 1.0 && rect.height >= 1.0 => Ok(rect),
            Ok(_) => Err(BrowserError::NoElement(selector.to_owned())),
            Err(EvaluateError::Exception { .. }) => Err(BrowserError::InvalidSelector(selector.to_owned())),
            Err(EvaluateError::Call(error)) => Err(BrowserError::Call(error)),
            Err(_) => Err(BrowserError::Malformed("position of the element")),
        }
    }
}

/// The element's box in coordinates of the document.
const ELEMENT_RECT: &str = "selector => {
    const element = paddockAccessibility.find(selector);
    if (!element) return null;
    const { pageX, pageY, width, height } = paddockAccessibility.rect(element);
    return { x: pageX, y: pageY, width, height };
}";

fn to_clip(rect: Rect) -> Clip {
    let Rect { x, y, width, height } = rect;
    let side = |length: f64| length.clamp(1.0, SIDE_MAX);
    Clip { x: x.max(0.0), y: y.max(0.0), width: side(width), height: side(height), scale: 1.0 }
}
