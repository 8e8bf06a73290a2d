//! Nodes as YAML.

use std::fmt::{self, Write};

use super::{line::put, node::Node};

/// One node as an item of a YAML list. The members are those of the JSON form, which YAML reads as it is.
pub(super) fn write_yaml_node(out: &mut String, node: &Node) {
    let Ok(serde_json::Value::Object(members)) = serde_json::to_value(node) else { return };
    for (index, (name, value)) in members.iter().enumerate() {
        let lead = if index == 0 { "  - " } else { "    " };
        match value {
            serde_json::Value::String(text) => put(out, format_args!("{lead}{name}: {}\n", YamlText(text))),
            other => put(out, format_args!("{lead}{name}: {other}\n")),
        }
    }
}

/// A double-quoted YAML scalar: JSON's, with what YAML does not allow as it is escaped too.
pub(super) struct YamlText<'a>(pub(super) &'a str);

impl fmt::Display for YamlText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        self.0.chars().try_for_each(|character| match character {
            '"' => f.write_str("\\\""),
            '\\' => f.write_str("\\\\"),
            '\n' => f.write_str("\\n"),
            other
                if other.is_control()
                    || matches!(other, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}'..) =>
            {
                write!(f, "\\U{:08x}", u32::from(other))
            }
            other => f.write_char(other),
        })?;
        f.write_char('"')
    }
}
