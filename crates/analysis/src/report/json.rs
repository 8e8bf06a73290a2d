//! The report as JSON; its schema is published as `docs/analysis-report.schema.json`.

use super::{RenderError, Report};

/// The report as a JSON document, indented, with a line break at its end.
pub fn render(report: &Report) -> Result<String, RenderError> {
    let mut document = serde_json::to_string_pretty(report).map_err(RenderError::Json)?;
    document.push('\n');
    Ok(document)
}
