//! Rendering a snapshot: JSON and YAML for programs, text and one line per node for models.

use std::{collections::HashSet, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{
    budget::within_tokens,
    diff::SnapshotDiff,
    line::{COMPACT, HeadLine, TEXT, put, write_line},
    node::{Node, Snapshot},
    yaml::{YamlText, write_yaml_node},
};

/// Bytes of a node's line, about.
const LINE_SIZE: usize = 48;
/// References of removed nodes that a diff lists.
const REMOVED_SHOWN_MAX: usize = 200;

/// Shape of a rendered snapshot.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// `{url, title, count, nodes}`
    #[default]
    Json,
    /// One line per node: `e1:textbox "Name" val="x" *`.
    Compact,
    /// One indented line per node.
    Text,
    /// As JSON.
    Yaml,
}

/// A text that names no format.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a format of snapshots; there are `json`, `compact`, `text` and `yaml`")]
pub struct UnknownFormatError(String);

impl FromStr for Format {
    type Err = UnknownFormatError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "" | "json" => Ok(Self::Json),
            "compact" => Ok(Self::Compact),
            "text" => Ok(Self::Text),
            "yaml" => Ok(Self::Yaml),
            other => Err(UnknownFormatError(other.to_owned())),
        }
    }
}

impl Format {
    /// Media type of what is rendered in this format.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Yaml => "text/yaml; charset=utf-8",
            Self::Compact | Self::Text => "text/plain; charset=utf-8",
        }
    }

    pub(super) fn write_nodes(self, out: &mut String, nodes: &[&Node]) {
        for node in nodes {
            self.write_node(out, node);
        }
    }

    /// Writes one node as the format does.
    pub(super) fn write_node(self, out: &mut String, node: &Node) {
        match self {
            Self::Compact => write_line(out, node, &COMPACT, ""),
            Self::Text => write_line(out, node, &TEXT, ""),
            Self::Yaml => write_yaml_node(out, node),
            Self::Json => {
                out.push_str(&serde_json::to_string(node).unwrap_or_default());
                out.push(',');
            }
        }
    }
}

/// A snapshot as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// Media type of the body.
    pub content_type: &'static str,
    /// The snapshot in its format.
    pub body: String,
    /// Whether nodes were left out, by the walk or for the budget.
    pub truncated: bool,
}

impl Snapshot {
    /// Renders the snapshot, leaving nodes out until it is within `tokens_max`.
    pub fn render(&self, format: Format, tokens_max: Option<u32>) -> Rendered {
        let (nodes, over_budget) = within_tokens(&self.nodes, format, tokens_max);
        let truncated = over_budget || self.truncated;
        let note = Truncation { truncated, tokens_max: tokens_max.filter(|_| over_budget) };
        let count = nodes.len();
        let (title, url) = (&self.title, &self.url);
        let mut body = String::with_capacity(count * LINE_SIZE);
        match format {
            Format::Json => {
                body = serde_json::to_string(&Document::new(self, &nodes, note)).unwrap_or_default();
            }
            Format::Yaml => write_yaml(&mut body, self, &nodes, note),
            Format::Compact => {
                let (title, url) = (HeadLine(title), HeadLine(url));
                put(&mut body, format_args!("# {title} | {url} | {count} nodes{note}\n"));
                format.write_nodes(&mut body, &nodes);
            }
            Format::Text => {
                let (title, url) = (HeadLine(title), HeadLine(url));
                put(&mut body, format_args!("# {title}\n# {url}\n# {count} nodes{note}\n\n"));
                format.write_nodes(&mut body, &nodes);
            }
        }
        Rendered { content_type: format.content_type(), body, truncated }
    }

    /// Renders what differs from an earlier snapshot: a line for each node that is new (`[+]`) or says something else
    /// (`[~]`) and the references of those that are gone, or, in every format but the compact one, as JSON.
    pub fn render_diff(&self, previous: &Self, format: Format, tokens_max: Option<u32>) -> Rendered {
        let diff = SnapshotDiff::between(previous, self);
        if format == Format::Compact {
            self.render_marked(&diff, tokens_max)
        } else {
            self.render_changes(&diff, tokens_max)
        }
    }

    fn render_marked(&self, diff: &SnapshotDiff<'_>, tokens_max: Option<u32>) -> Rendered {
        let added: HashSet<&str> = diff.added.iter().map(|node| node.r#ref.as_str()).collect();
        let changed: HashSet<&str> = diff.changed.iter().map(|node| node.r#ref.as_str()).collect();
        let differs =
            |node: &&Node| added.contains(node.r#ref.as_str()) || changed.contains(node.r#ref.as_str());
        let lines: Vec<Node> = self.nodes.iter().filter(differs).cloned().collect();
        let (nodes, over_budget) = within_tokens(&lines, Format::Compact, tokens_max);
        let truncated = over_budget || self.truncated;
        let note = Truncation { truncated, tokens_max: tokens_max.filter(|_| over_budget) };
        let (title, url) = (HeadLine(&self.title), HeadLine(&self.url));
        let (plus, tilde, minus) = (diff.added.len(), diff.changed.len(), diff.removed.len());
        let mut body = String::new();
        let total = self.nodes.len();
        put(&mut body, format_args!("# {title} | {url} | {total} nodes | +{plus} ~{tilde} -{minus}{note}\n"));
        for node in nodes {
            let mark = if added.contains(node.r#ref.as_str()) { " [+]" } else { " [~]" };
            write_line(&mut body, node, &COMPACT, mark);
        }
        if !diff.removed.is_empty() {
            body.push_str("# removed:");
            for node in diff.removed.iter().take(REMOVED_SHOWN_MAX) {
                put(&mut body, format_args!(" {}", node.r#ref));
            }
            let more = diff.removed.len().saturating_sub(REMOVED_SHOWN_MAX);
            if more > 0 {
                put(&mut body, format_args!(" and {more} more"));
            }
            body.push('\n');
        }
        Rendered { content_type: Format::Compact.content_type(), body, truncated }
    }

    fn render_changes(&self, diff: &SnapshotDiff<'_>, tokens_max: Option<u32>) -> Rendered {
        #[derive(Serialize)]
        struct Changes<'a> {
            url: &'a str,
            title: &'a str,
            #[serde(flatten)]
            diff: &'a SnapshotDiff<'a>,
        }
        let (diff, over_budget) = diff.within_tokens(tokens_max);
        let changes = Changes { url: &self.url, title: &self.title, diff: &diff };
        Rendered {
            content_type: Format::Json.content_type(),
            body: serde_json::to_string(&changes).unwrap_or_default(),
            truncated: self.truncated || over_budget,
        }
    }
}

/// Whether and for what budget nodes were left out.
#[derive(Clone, Copy)]
struct Truncation {
    truncated: bool,
    tokens_max: Option<u32>,
}

impl fmt::Display for Truncation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.tokens_max {
            Some(tokens_max) => write!(f, " (truncated to ~{tokens_max} tokens)"),
            None if self.truncated => f.write_str(" (truncated)"),
            None => Ok(()),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    url: &'a str,
    title: &'a str,
    count: usize,
    nodes: &'a [&'a Node],
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
}

impl<'a> Document<'a> {
    fn new(snapshot: &'a Snapshot, nodes: &'a [&'a Node], note: Truncation) -> Self {
        Self {
            url: &snapshot.url,
            title: &snapshot.title,
            count: nodes.len(),
            nodes,
            truncated: note.truncated,
            max_tokens: note.tokens_max,
        }
    }
}

fn write_yaml(out: &mut String, snapshot: &Snapshot, nodes: &[&Node], note: Truncation) {
    put(out, format_args!("count: {}\n", nodes.len()));
    out.push_str(if nodes.is_empty() { "nodes: []\n" } else { "nodes:\n" });
    Format::Yaml.write_nodes(out, nodes);
    put(out, format_args!("title: {}\n", YamlText(&snapshot.title)));
    if note.truncated {
        out.push_str("truncated: true\n");
    }
    put(out, format_args!("url: {}\n", YamlText(&snapshot.url)));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::snapshot::{line::ends_line, node::Checked};

    fn node(number: u32, depth: u32, role: &str, name: &str) -> Node {
        Node {
            r#ref: format!("e{number}"),
            role: role.to_owned(),
            name: name.to_owned(),
            depth,
            ..Node::default()
        }
    }

    fn sign_in() -> Snapshot {
        let mail = Node { value: Some("a@b".to_owned()), focused: true, ..node(1, 1, "textbox", "Mail") };
        let stay = Node { checked: Some(Checked::False), ..node(2, 1, "checkbox", "Stay signed in") };
        let send = Node { disabled: true, hidden: true, ..node(3, 1, "button", "Sign \"in\"") };
        Snapshot {
            document: "d".to_owned(),
            url: "https://shop.example/".to_owned(),
            title: "Shop".to_owned(),
            nodes: vec![node(0, 0, "RootWebArea", "Shop"), mail, stay, send],
            ..Snapshot::default()
        }
    }

    #[test]
    fn compact_has_one_line_per_node() {
        let rendered = sign_in().render(Format::Compact, None);
        assert_eq!(rendered.content_type, "text/plain; charset=utf-8");
        assert_eq!(
            rendered.body,
            "# Shop | https://shop.example/ | 4 nodes\n\
             e0:RootWebArea \"Shop\"\n\
             e1:textbox \"Mail\" val=\"a@b\" *\n\
             e2:checkbox \"Stay signed in\" [ ]\n\
             e3:button \"Sign \\\"in\\\"\" - [hidden]\n"
        );
    }

    #[test]
    fn text_is_indented() {
        assert_eq!(
            sign_in().render(Format::Text, None).body,
            "# Shop\n# https://shop.example/\n# 4 nodes\n\n\
             e0 RootWebArea \"Shop\"\n  \
             e1 textbox \"Mail\" val=\"a@b\" [focused]\n  \
             e2 checkbox \"Stay signed in\" [unchecked]\n  \
             e3 button \"Sign \\\"in\\\"\" [disabled] [hidden]\n"
        );
    }

    #[test]
    fn json_is_the_default() {
        let rendered = sign_in().render("".parse().unwrap(), None);
        let document: serde_json::Value = serde_json::from_str(&rendered.body).unwrap();
        assert_eq!(document["url"], "https://shop.example/");
        assert_eq!(document["count"], 4);
        assert_eq!(
            document["nodes"][2],
            serde_json::json!({"ref": "e2", "role": "checkbox", "name": "Stay signed in", "depth": 1, "checked": "false"})
        );
        assert_eq!(document.get("truncated"), None);
    }

    #[test]
    fn yaml_quotes_what_the_page_says() {
        let snapshot = Snapshot { nodes: vec![node(0, 0, "link", "a: \"b\"\u{2028}\n# c")], ..sign_in() };
        assert_eq!(
            snapshot.render(Format::Yaml, None).body,
            "count: 1\nnodes:\n  - depth: 0\n    name: \"a: \\\"b\\\"\\U00002028\\n# c\"\n    ref: \"e0\"\n    \
             role: \"link\"\ntitle: \"Shop\"\nurl: \"https://shop.example/\"\n"
        );
    }

    #[test]
    fn a_budget_is_named_where_nodes_were_left_out() {
        let compact = sign_in().render(Format::Compact, Some(20));
        assert!(compact.truncated);
        assert!(
            compact.body.starts_with("# Shop | https://shop.example/ | 2 nodes (truncated to ~20 tokens)\n")
        );
        let json: serde_json::Value =
            serde_json::from_str(&sign_in().render(Format::Json, Some(60)).body).unwrap();
        assert_eq!((&json["truncated"], &json["maxTokens"]), (&true.into(), &60.into()));
        assert!(!sign_in().render(Format::Compact, Some(1000)).truncated);
    }

    #[test]
    fn a_compact_diff_shows_what_changed_and_nothing_else() {
        let before = sign_in();
        let mut after = sign_in();
        after.nodes[1].value = Some("c@d".to_owned());
        after.nodes[3] = node(4, 1, "button", "Send");
        assert_eq!(
            after.render_diff(&before, Format::Compact, None).body,
            "# Shop | https://shop.example/ | 4 nodes | +1 ~1 -1\n\
             e1:textbox \"Mail\" val=\"c@d\" * [~]\n\
             e4:button \"Send\" [+]\n\
             # removed: e3\n"
        );
    }

    #[test]
    fn a_diff_in_any_other_format_is_json() {
        let rendered = sign_in().render_diff(&sign_in(), Format::Text, None);
        assert_eq!(rendered.content_type, "application/json");
        let document: serde_json::Value = serde_json::from_str(&rendered.body).unwrap();
        assert_eq!(
            document["counts"],
            serde_json::json!({"added": 0, "changed": 0, "removed": 0, "total": 4})
        );
        assert_eq!(document["title"], "Shop");
    }

    proptest! {
        #[test]
        fn no_page_can_forge_the_head(title in any::<String>(), path in any::<String>(), tail in "[|\n\r\u{2028}\u{85}#]{0,8}") {
            let snapshot = Snapshot { title: title + &tail, url: path + &tail, ..sign_in() };
            let compact = snapshot.render(Format::Compact, None).body;
            let head = compact.lines().next().unwrap();
            prop_assert_eq!(head.split('|').count(), 3);
            prop_assert!(head.ends_with("| 4 nodes"));
            prop_assert_eq!(compact.chars().filter(|character| ends_line(*character)).count(), 5);
            let text = snapshot.render(Format::Text, None).body;
            prop_assert_eq!(text.chars().filter(|character| ends_line(*character)).count(), 8);
            let diff = snapshot.render_diff(&snapshot, Format::Compact, None).body;
            prop_assert_eq!(diff.chars().filter(|character| ends_line(*character)).count(), 1);
        }

        #[test]
        fn no_page_can_forge_a_line(name in any::<String>(), value in any::<String>()) {
            let forged = Node { value: Some(value), ..node(0, 0, "link", &name) };
            let snapshot = Snapshot { nodes: vec![forged], title: "t".to_owned(), ..Snapshot::default() };
            let compact = snapshot.render(Format::Compact, None).body;
            prop_assert_eq!(compact.matches('\n').count(), 2);
            prop_assert_eq!(snapshot.render(Format::Yaml, None).body.lines().count(), 9);
            let json = snapshot.render(Format::Json, None).body;
            let document: serde_json::Value = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(document["nodes"][0]["name"].as_str().unwrap(), name);
        }
    }
}
