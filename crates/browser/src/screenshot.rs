//! Screenshots.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use paddock_cdp::protocol::page::{CaptureScreenshot, Clip, GetLayoutMetrics};
use serde::Deserialize;

use crate::{error::BrowserError, observe::Found, snapshot::BoundingBox, tab::Tab};

/// Sides of an image that Chrome draws reliably, in device pixels.
const SIDE_MAX: f64 = 16_384.0;
/// Pixels of a picture.
const AREA_MAX: f64 = 40e6;
/// Bounds of the scale.
const SCALE_MIN: f64 = 0.05;
const SCALE_MAX: f64 = 4.0;

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
    /// Pixels of the picture per pixel of the page, 0.05 to 4. A picture of more than 40 megapixels gets fewer.
    pub scale: f64,
    /// How long it may take.
    pub timeout: Duration,
}

impl Default for Screenshot {
    fn default() -> Self {
        Self {
            area: Area::default(),
            format: Format::default(),
            scale: 1.0,
            timeout: Duration::from_secs(20),
        }
    }
}

impl Tab {
    /// Takes a picture.
    pub async fn screenshot(&self, screenshot: Screenshot) -> Result<Bytes, BrowserError> {
        self.touch();
        let is_scaled = (screenshot.scale - 1.0).abs() > f64::EPSILON;
        let clip = match &screenshot.area {
            Area::Viewport if is_scaled => Some(self.visible_part().await?),
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
            clip: clip.map(|rect| to_clip(rect, screenshot.scale)),
            capture_beyond_viewport: clip.is_some(),
            optimize_for_speed: true,
        };
        let captured = self.session().send_within(&command, screenshot.timeout).await?;
        let image = BASE64_STANDARD.decode(captured.data).map_err(|_| BrowserError::Malformed("image"))?;
        Ok(image.into())
    }

    /// The viewport as a part of the document.
    async fn visible_part(&self) -> Result<Rect, BrowserError> {
        let viewport = self.session().send(&GetLayoutMetrics {}).await?.css_layout_viewport;
        let (width, height) = (viewport.client_width, viewport.client_height);
        Ok(Rect { x: viewport.page_x, y: viewport.page_y, width, height })
    }

    async fn whole_page(&self, height_max: u32) -> Result<Rect, BrowserError> {
        let size = self.session().send(&GetLayoutMetrics {}).await?.css_content_size;
        Ok(Rect { x: 0.0, y: 0.0, width: size.width, height: size.height.min(f64::from(height_max)) })
    }

    pub(crate) async fn element_rect(&self, selector: &str) -> Result<Rect, BrowserError> {
        let missing = || BrowserError::NoElement(selector.to_owned());
        let place = self.place_of(Some(selector)).ok_or_else(missing)?;
        match self.page_rect(&place, selector).await.map_err(BrowserError::Evaluate)? {
            Found::Here(BoundingBox { x, y, width, height }) if width >= 1.0 && height >= 1.0 => {
                Ok(Rect { x, y, width, height })
            }
            Found::Error(error) if error == "invalid_selector" => {
                Err(BrowserError::InvalidSelector(selector.to_owned()))
            }
            Found::Here(_) | Found::Error(_) => Err(missing()),
        }
    }
}

fn to_clip(rect: Rect, scale: f64) -> Clip {
    let Rect { x, y, width, height } = rect;
    let side = |length: f64| if length.is_finite() { length.clamp(1.0, SIDE_MAX) } else { 1.0 };
    let (width, height) = (side(width), side(height));
    // Both sides and their product have a bound: the picture is held in memory several times over.
    let longest = SIDE_MAX / width.max(height);
    let largest = (AREA_MAX / (width * height)).sqrt();
    let scale = scale.clamp(SCALE_MIN, SCALE_MAX).min(longest.max(SCALE_MIN)).min(largest);
    Clip { x: x.max(0.0), y: y.max(0.0), width, height, scale }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_picture_is_larger_than_may_be(
            width in 0.0..1e9_f64, height in 0.0..1e9_f64, scale in prop_oneof![0.0..100.0_f64, Just(f64::INFINITY)],
        ) {
            let clip = to_clip(Rect { x: 0.0, y: 0.0, width, height }, scale);
            prop_assert!(clip.width * clip.height * clip.scale * clip.scale <= AREA_MAX * 1.001);
            prop_assert!(clip.scale > 0.0 && clip.scale <= SCALE_MAX);
        }
    }
}
