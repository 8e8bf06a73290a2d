//! The report of a page analysis: one model, three written forms, and the pictures that go with them.
//!
//! An analysis hands over what it found as an [`Analysis`]; [`Report::new`] puts the findings into a stable order,
//! numbers them by flaw (the same flaw on desktop and mobile shares a number), and scores the page.
//! [`illustrate`] then cuts one annotated crop per finding out of a full-page screenshot per screen, and draws an
//! overview with the numbers where the findings are. What it yields, [`Images`], is kept beside the report:
//!
//! ```text
//! Analysis ── Report::new ──▶ Report ── illustrate(&mut report, screenshots) ──▶ Images
//!                               │                                                  │
//!                               └── html / markdown / json ── write(dir, formats) ──┘
//! ```
//!
//! The forms are [`html::render`] (one self-contained file: no script, no request), [`markdown::render`] and
//! [`json::render`], whose schema is [`schema`]. [`write()`] puts them into a directory so that a failure leaves
//! no half-written report. Everything here is computation or blocking file work: callers on an async runtime run it
//! through `spawn_blocking`.

mod assemble;
mod canvas;
mod crop;
mod digits;
pub mod html;
mod illustrate;
pub mod json;
pub mod markdown;
mod model;
mod overview;
mod schema;
mod score;
mod summary;
mod wording;
mod write;

pub use assemble::{Analysis, CheckedRule};
pub use illustrate::{IllustrateOptions, Image, Images, Screenshot, illustrate};
pub use model::*;
pub use schema::schema;
pub use summary::Flaw;
pub use write::{Format, REPORT_NOT_WRITTEN, UnknownFormat, WriteError, write};

/// A report could not be put into the form asked for; a defect of this code, never of the page.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// The HTML template failed.
    #[error("the report could not be rendered as HTML")]
    Html(#[source] askama::Error),
    /// Serialisation failed.
    #[error("the report could not be rendered as JSON")]
    Json(#[source] serde_json::Error),
}

/// A report in one form.
pub fn render(format: Format, report: &Report, images: &Images) -> Result<String, RenderError> {
    match format {
        Format::Html => html::render(report, images),
        Format::Json => json::render(report),
        Format::Markdown => Ok(markdown::render(report)),
    }
}
