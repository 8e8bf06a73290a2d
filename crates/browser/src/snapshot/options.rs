//! What to take a snapshot of.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Which nodes a snapshot holds.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Filter {
    /// All that has a meaning, and the text.
    #[default]
    All,
    /// What can be acted on, and named headings, images and cells to find one's way.
    Interactive,
}

/// A text that names no filter.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a filter; there are `all` and `interactive`")]
pub struct UnknownFilterError(String);

impl FromStr for Filter {
    type Err = UnknownFilterError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "" | "all" => Ok(Self::All),
            "interactive" => Ok(Self::Interactive),
            other => Err(UnknownFilterError(other.to_owned())),
        }
    }
}

/// What to take a snapshot of, and how much of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SnapshotOptions {
    /// Which nodes.
    pub filter: Filter,
    /// Deepest level of nodes below the root; all if absent.
    pub depth: Option<u32>,
    /// Only what is in the element that this selector names.
    pub selector: Option<String>,
    /// Whether to measure where each node is.
    pub boxes: bool,
    /// The reference of the frame that is meant instead of the page.
    pub within: Option<String>,
    /// It becomes a part of the snapshot around it: the document itself is no node.
    pub framed: bool,
    /// Number of the first reference when the document has given none yet: [`Snapshot::ref_next`] of the tab's last
    /// snapshot, so that a reference of an earlier document is unknown rather than another element.
    ///
    /// [`Snapshot::ref_next`]: super::Snapshot::ref_next
    pub refs_from: u32,
}

impl SnapshotOptions {
    /// The expression that takes the snapshot, in a world where [`SCRIPT`](super::SCRIPT) was evaluated. Its value is
    /// the text that [`Snapshot::parse`](super::Snapshot::parse) reads.
    pub fn expression(&self) -> String {
        format!("JSON.stringify({})", self.walk(None))
    }

    /// As [`SnapshotOptions::expression`], with letters of their own for the references of a frame.
    pub(crate) fn expression_in(&self, prefix: Option<&str>) -> String {
        format!("JSON.stringify({})", self.walk(prefix))
    }

    fn walk(&self, prefix: Option<&str>) -> String {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Options<'a> {
            filter: Filter,
            #[serde(skip_serializing_if = "Option::is_none")]
            depth: Option<u32>,
            #[serde(skip_serializing_if = "Option::is_none")]
            root: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            within: Option<&'a str>,
            #[serde(skip_serializing_if = "std::ops::Not::not")]
            framed: bool,
            boxes: bool,
            refs_from: u32,
            #[serde(skip_serializing_if = "Option::is_none")]
            prefix: Option<&'a str>,
        }
        let options = Options {
            filter: self.filter,
            depth: self.depth,
            root: self.selector.as_deref(),
            within: self.within.as_deref(),
            framed: self.framed,
            boxes: self.boxes,
            refs_from: self.refs_from,
            prefix,
        };
        let options = serde_json::to_string(&options).unwrap_or_default();
        format!("paddockAccessibility.walk({options})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_become_one_expression() {
        let options = SnapshotOptions {
            filter: Filter::Interactive,
            depth: Some(3),
            selector: Some("a[title=\"x\"]".to_owned()),
            boxes: true,
            refs_from: 7,
            ..SnapshotOptions::default()
        };
        assert_eq!(
            options.expression(),
            r#"JSON.stringify(paddockAccessibility.walk({"filter":"interactive","depth":3,"root":"a[title=\"x\"]","boxes":true,"refsFrom":7}))"#
        );
    }

    #[test]
    fn an_unknown_filter_is_refused_with_those_there_are() {
        assert_eq!("interactive".parse::<Filter>().unwrap(), Filter::Interactive);
        assert_eq!("".parse::<Filter>().unwrap(), Filter::All);
        let error = "visible".parse::<Filter>().unwrap_err();
        assert_eq!(error.to_string(), "`visible` is not a filter; there are `all` and `interactive`");
    }
}
