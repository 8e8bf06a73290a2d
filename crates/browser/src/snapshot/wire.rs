//! Reading what the walk returns: rows with indices instead of repeated words.

use serde::Deserialize;

use super::node::{BoundingBox, Checked, Node, Snapshot, Tier};

/// A snapshot could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The selector names nothing that is in the page now.
    #[error("no element matches the selector; take a snapshot without it to see what is there")]
    NotFound,
    /// The selector is not one.
    #[error(
        "the selector is not valid: neither a reference such as `e5`, nor CSS, nor of another known form"
    )]
    InvalidSelector,
    /// The page returned something else than a snapshot.
    #[error("the page did not return a snapshot")]
    Malformed(#[source] serde_json::Error),
    /// A row refers to a word that is not in its table.
    #[error("the page returned a snapshot that contradicts itself")]
    Inconsistent,
}

const DISABLED: u32 = 1;
const FOCUSED: u32 = 2;
const HIDDEN: u32 = 4;
const REQUIRED: u32 = 8;
const INVALID: u32 = 16;
const READ_ONLY: u32 = 32;
const IN_VIEWPORT: u32 = 64;
const LABELLED: u32 = 128;
const ACTIONABLE: u32 = 256;
const CONTEXT: u32 = 512;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Walked {
    document: String,
    url: String,
    title: String,
    outcome: Outcome,
    roles: Vec<String>,
    tags: Vec<String>,
    nodes: Vec<Row>,
    #[serde(default = "main_prefix")]
    prefix: String,
    ref_next: u32,
    truncated: bool,
}

fn main_prefix() -> String {
    "e".to_owned()
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Ok,
    NotFound,
    InvalidSelector,
}

/// `[ref, depth, role, name, tag, flags, details?]`
#[derive(Deserialize)]
struct Row(u32, u32, usize, String, usize, u32, #[serde(default)] Details);

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Details {
    value: Option<String>,
    label: Option<String>,
    placeholder: Option<String>,
    alt: Option<String>,
    title: Option<String>,
    testid: Option<String>,
    text: Option<String>,
    level: Option<u32>,
    checked: Option<Checked>,
    pressed: Option<Checked>,
    expanded: Option<bool>,
    selected: bool,
    r#box: Option<[f64; 4]>,
    child_frame_url: Option<String>,
    child_frame_name: Option<String>,
    apart: bool,
}

impl Snapshot {
    /// Reads the value of [`SnapshotOptions::expression`](super::SnapshotOptions::expression).
    pub fn parse(text: &str) -> Result<Self, SnapshotError> {
        let walked: Walked = serde_json::from_str(text).map_err(SnapshotError::Malformed)?;
        match walked.outcome {
            Outcome::Ok => {}
            Outcome::NotFound => return Err(SnapshotError::NotFound),
            Outcome::InvalidSelector => return Err(SnapshotError::InvalidSelector),
        }
        // With room for all of them: nodes are large, and growing would copy them again and again.
        let mut nodes = Vec::with_capacity(walked.nodes.len());
        for row in walked.nodes {
            let node = row.into_node(&walked.prefix, &walked.roles, &walked.tags);
            nodes.push(node.ok_or(SnapshotError::Inconsistent)?);
        }
        Ok(Self {
            nodes,
            document: walked.document,
            url: walked.url,
            title: walked.title,
            ref_next: walked.ref_next,
            truncated: walked.truncated,
        })
    }
}

impl Row {
    fn into_node(self, prefix: &str, roles: &[String], tags: &[String]) -> Option<Node> {
        let Self(number, depth, role, name, tag, flags, details) = self;
        let is = |flag| flags & flag != 0;
        let bounding_box = details.r#box.map(|[x, y, width, height]| BoundingBox { x, y, width, height });
        Some(Node {
            r#ref: format!("{prefix}{number}"),
            role: roles.get(role)?.clone(),
            depth,
            value: details.value,
            label: if is(LABELLED) { Some(name.clone()) } else { details.label },
            name,
            placeholder: details.placeholder,
            alt: details.alt,
            title: details.title,
            testid: details.testid,
            text: details.text,
            tag: Some(tags.get(tag)?.clone()).filter(|tag| !tag.is_empty()),
            level: details.level,
            checked: details.checked,
            pressed: details.pressed,
            expanded: details.expanded,
            selected: details.selected,
            disabled: is(DISABLED),
            focused: is(FOCUSED),
            hidden: is(HIDDEN),
            required: is(REQUIRED),
            invalid: is(INVALID),
            read_only: is(READ_ONLY),
            visible: bounding_box.map(|_| is(IN_VIEWPORT)),
            bounding_box,
            child_frame_id: None,
            child_frame_url: details.child_frame_url,
            child_frame_name: details.child_frame_name,
            apart: details.apart,
            tier: if is(ACTIONABLE) {
                Tier::Actionable
            } else if is(CONTEXT) {
                Tier::Context
            } else {
                Tier::Rest
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn walked(outcome: &str, nodes: &str) -> String {
        format!(
            r#"{{"document":"d","url":"https://shop.example/","title":"Shop","outcome":"{outcome}",
            "roles":["RootWebArea","textbox"],"tags":["html","input",""],"nodes":{nodes},"refNext":9,"visits":3,
            "truncated":false}}"#
        )
    }

    #[test]
    fn rows_become_nodes() {
        let text = walked(
            "ok",
            r#"[[0,0,0,"Shop",0,0],[7,1,1,"Mail",1,201,{"value":"a@b","placeholder":"you@…","box":[1,2.5,3,4]}]]"#,
        );
        let snapshot = Snapshot::parse(&text).unwrap();
        assert_eq!(snapshot.ref_next, 9);
        assert_eq!(
            serde_json::to_value(&snapshot.nodes).unwrap(),
            serde_json::json!([
                {"ref": "e0", "role": "RootWebArea", "name": "Shop", "depth": 0, "tag": "html"},
                {"ref": "e7", "role": "textbox", "name": "Mail", "depth": 1, "tag": "input", "value": "a@b",
                 "label": "Mail", "placeholder": "you@…", "disabled": true, "required": true,
                 "boundingBox": {"x": 1.0, "y": 2.5, "width": 3.0, "height": 4.0}, "visible": true},
            ])
        );
    }

    #[test]
    fn each_way_to_fail_is_told_apart() {
        let fails = |text: &str| Snapshot::parse(text).unwrap_err();
        assert!(matches!(fails(&walked("not_found", "[]")), SnapshotError::NotFound));
        assert!(matches!(fails(&walked("invalid_selector", "[]")), SnapshotError::InvalidSelector));
        assert!(matches!(fails(&walked("ok", r#"[[0,0,9,"",0,0]]"#)), SnapshotError::Inconsistent));
        assert!(matches!(fails("null"), SnapshotError::Malformed(_)));
    }

    proptest! {
        #[test]
        fn no_answer_of_a_page_makes_the_reader_panic(
            rows in proptest::collection::vec((any::<u32>(), any::<u32>(), 0_usize..4, ".{0,8}", 0_usize..4, any::<u32>()), 0..8)
        ) {
            let rows = serde_json::to_string(&rows).unwrap();
            if let Ok(snapshot) = Snapshot::parse(&walked("ok", &rows)) {
                prop_assert!(snapshot.nodes.iter().all(|node| !node.role.is_empty()));
            }
        }
    }
}
