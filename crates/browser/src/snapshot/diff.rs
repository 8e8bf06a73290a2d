//! What changed between two snapshots.

use std::collections::HashMap;

use serde::{Serialize, Serializer, ser::SerializeStruct};

use super::{
    budget::estimate_tokens,
    format::Format,
    node::{Node, Snapshot},
};

/// The nodes that differ between two snapshots. As references are stable, so is their comparison: an element that was
/// renamed is changed, not removed and added.
#[derive(Clone, Debug, PartialEq)]
pub struct SnapshotDiff<'a> {
    /// Nodes that were not there before.
    pub added: Vec<&'a Node>,
    /// Nodes that say something else than before, as they are now. Their place does not count.
    pub changed: Vec<&'a Node>,
    /// Nodes that are no longer there, as they were.
    pub removed: Vec<&'a Node>,
    /// Number of nodes now.
    pub total: usize,
}

impl<'a> SnapshotDiff<'a> {
    /// Compares two snapshots; nothing is common to those of different documents.
    pub fn between(previous: &'a Snapshot, current: &'a Snapshot) -> Self {
        let same_document = previous.document == current.document;
        let mut before: HashMap<&str, &Node> =
            previous.nodes.iter().map(|node| (node.r#ref.as_str(), node)).collect();
        let mut diff =
            Self { added: Vec::new(), changed: Vec::new(), removed: Vec::new(), total: current.nodes.len() };
        for node in &current.nodes {
            let known = if same_document { before.remove(node.r#ref.as_str()) } else { None };
            match known {
                None => diff.added.push(node),
                Some(old) if says_the_same(old, node) => {}
                Some(_) => diff.changed.push(node),
            }
        }
        diff.removed =
            previous.nodes.iter().filter(|node| before.contains_key(node.r#ref.as_str())).collect();
        diff
    }

    /// What of it fits into a number of tokens as JSON, and whether something was left out. What was removed is told
    /// last: its reader only has to forget it.
    pub(super) fn within_tokens(&self, tokens_max: Option<u32>) -> (Self, bool) {
        let Some(tokens_max) = tokens_max else { return (self.clone(), false) };
        let mut left = tokens_max;
        let mut take = |nodes: &[&'a Node]| -> Vec<&'a Node> {
            let fits = |node: &&&Node| {
                let length = serde_json::to_string(node).map_or(0, |text| text.chars().count());
                let cost = u32::try_from(estimate_tokens(length, Format::Json)).unwrap_or(u32::MAX);
                let fits = cost <= left;
                left -= if fits { cost } else { 0 };
                fits
            };
            nodes.iter().filter(fits).copied().collect()
        };
        let kept = Self {
            added: take(&self.added),
            changed: take(&self.changed),
            removed: take(&self.removed),
            total: self.total,
        };
        let is_less = kept.added.len() + kept.changed.len() + kept.removed.len()
            < self.added.len() + self.changed.len() + self.removed.len();
        (kept, is_less)
    }
}

fn says_the_same(old: &Node, new: &Node) -> bool {
    let place = |node: &Node| Node { depth: 0, bounding_box: None, visible: None, ..node.clone() };
    // The fields that change most, before the copies are made.
    old.name == new.name && old.value == new.value && old.focused == new.focused && place(old) == place(new)
}

impl Serialize for SnapshotDiff<'_> {
    /// `{diff: true, added, changed, removed, counts: {added, changed, removed, total}}`
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Counts {
            added: usize,
            changed: usize,
            removed: usize,
            total: usize,
        }
        let counts = Counts {
            added: self.added.len(),
            changed: self.changed.len(),
            removed: self.removed.len(),
            total: self.total,
        };
        let mut document = serializer.serialize_struct("SnapshotDiff", 5)?;
        document.serialize_field("diff", &true)?;
        document.serialize_field("added", &self.added)?;
        document.serialize_field("changed", &self.changed)?;
        document.serialize_field("removed", &self.removed)?;
        document.serialize_field("counts", &counts)?;
        document.end()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn node(number: u32, name: &str) -> Node {
        Node {
            r#ref: format!("e{number}"),
            role: "button".to_owned(),
            name: name.to_owned(),
            ..Node::default()
        }
    }

    fn snapshot(document: &str, nodes: Vec<Node>) -> Snapshot {
        Snapshot { document: document.to_owned(), nodes, ..Snapshot::default() }
    }

    fn refs<'a>(nodes: &'a [&Node]) -> Vec<&'a str> {
        nodes.iter().map(|node| node.r#ref.as_str()).collect()
    }

    #[test]
    fn nodes_are_compared_by_their_reference() {
        let before = snapshot("d", vec![node(0, "same"), node(1, "old name"), node(2, "gone")]);
        let after = snapshot("d", vec![node(3, "new"), node(1, "new name"), node(0, "same")]);
        let diff = SnapshotDiff::between(&before, &after);
        assert_eq!(refs(&diff.added), ["e3"]);
        assert_eq!(refs(&diff.changed), ["e1"]);
        assert_eq!(refs(&diff.removed), ["e2"]);
    }

    #[test]
    fn a_node_that_only_moved_is_unchanged() {
        let before = snapshot("d", vec![node(0, "x")]);
        let moved = Node { depth: 4, visible: Some(true), ..node(0, "x") };
        assert!(SnapshotDiff::between(&before, &snapshot("d", vec![moved])).changed.is_empty());
        let checked = Node { selected: true, ..node(0, "x") };
        assert_eq!(SnapshotDiff::between(&before, &snapshot("d", vec![checked])).changed.len(), 1);
    }

    #[test]
    fn documents_have_nothing_in_common() {
        let before = snapshot("one", vec![node(0, "x")]);
        let after = snapshot("two", vec![node(0, "x")]);
        let diff = SnapshotDiff::between(&before, &after);
        assert_eq!((refs(&diff.added), refs(&diff.removed)), (vec!["e0"], vec!["e0"]));
    }

    #[test]
    fn a_diff_is_serialised_with_its_counts() {
        let before = snapshot("d", vec![node(0, "x")]);
        let after = snapshot("d", vec![]);
        let diff = serde_json::to_value(SnapshotDiff::between(&before, &after)).unwrap();
        assert_eq!(diff["diff"], true);
        assert_eq!(diff["removed"][0]["ref"], "e0");
        assert_eq!(diff["counts"], serde_json::json!({"added": 0, "changed": 0, "removed": 1, "total": 0}));
    }

    proptest! {
        #[test]
        fn every_node_is_accounted_for_once(
            before in proptest::collection::btree_map(0_u32..12, "[ab]", 0..10),
            after in proptest::collection::btree_map(0_u32..12, "[ab]", 0..10),
        ) {
            let nodes = |names: &std::collections::BTreeMap<u32, String>| {
                names.iter().map(|(number, name)| node(*number, name)).collect()
            };
            let previous = snapshot("d", nodes(&before));
            let current = snapshot("d", nodes(&after));
            let diff = SnapshotDiff::between(&previous, &current);
            let unchanged = before.iter().filter(|(number, name)| after.get(number) == Some(name)).count();
            prop_assert_eq!(diff.added.len() + diff.changed.len() + unchanged, after.len());
            prop_assert_eq!(diff.removed.len() + diff.changed.len() + unchanged, before.len());
            let same = SnapshotDiff::between(&current, &current);
            prop_assert!(same.added.is_empty() && same.changed.is_empty() && same.removed.is_empty());
        }
    }
}
