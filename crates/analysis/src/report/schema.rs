//! The JSON Schema of the report.

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::Report;

/// The JSON Schema (draft 2020-12) that every `report.json` validates against.
pub fn schema() -> Value {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Report>();
    schema.insert("$id".to_owned(), "urn:paddock:schema:analysis-report:1".into());
    schema.insert("title".to_owned(), "Paddock page analysis report".into());
    schema.to_value()
}
