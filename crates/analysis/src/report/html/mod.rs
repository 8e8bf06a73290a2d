//! The report as one self-contained HTML file: styles and pictures inline, no script, no request.

mod chart;
mod view;
pub(super) mod vitals;

use askama::Template;

use super::{Images, RenderError, Report};

/// Bytes of pictures that are embedded at most; those of the least urgent flaws are left out first.
pub const EMBEDDED_BYTES_MAX: usize = 1_400_000;

/// The report as an HTML document. Pictures that `images` lacks are left out.
pub fn render(report: &Report, images: &Images) -> Result<String, RenderError> {
    view::Page::new(report, images).render().map_err(RenderError::Html)
}
