//! The example configuration, written from the defaults and the docs of the options types, so that it cannot be stale.

use std::fmt::Write;

use paddock_platform::config;
use serde_json::Value;

use crate::config::Config;

const LINE_WIDTH: usize = 110;
const HEADER: &str = "\
# Paddock's configuration: every key, with its default. Everything may be left out.
#
# A key is set here, by an environment variable (`PADDOCK_BROWSER__INSTANCES_MAX=50`) or by a flag
# (`--set browser.instances_max=50`); later ones win. Durations are written `30s` or `1h 30m`, sizes `2MiB`. Secrets
# are never literals: `env:NAME` or `file:/path`. A running server follows changes of this file; `paddock config check`
# tells whether it is right, `paddock config show` what is in force and why.
";

/// The example file.
pub(crate) fn toml() -> Result<String, toml::ser::Error> {
    let schema = config::schema::<Config>();
    let defaults = toml::Table::try_from(Config::default())?;
    let mut out = String::from(HEADER);
    write_table(&mut out, &schema, &schema, &defaults, "");
    Ok(out)
}

fn write_table(out: &mut String, root: &Value, schema: &Value, table: &toml::Table, path: &str) {
    let properties = &resolve(root, schema)["properties"];
    let (tables, values): (Vec<_>, Vec<_>) = properties
        .as_object()
        .into_iter()
        .flatten()
        .partition(|(key, _)| matches!(table.get(*key), Some(toml::Value::Table(_))));
    for (key, property) in values {
        out.push('\n');
        write_doc(out, root, property);
        match table.get(key) {
            Some(value) => {
                let _ = writeln!(out, "# {key} = {value}");
            }
            // A key without a default is optional: the docs say what it is for.
            None => {
                let _ = writeln!(out, "# {key} =");
            }
        }
    }
    for (key, property) in tables {
        let Some(toml::Value::Table(inner)) = table.get(key) else { continue };
        let inner_path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        out.push('\n');
        write_doc(out, root, property);
        let _ = writeln!(out, "[{inner_path}]");
        if resolve(root, property)["properties"].is_object() {
            write_table(out, root, property, inner, &inner_path);
        } else {
            // A map: whose keys are the user's, with what is in it by default.
            for (key, value) in inner {
                let _ = writeln!(out, "# {key} = {value}");
            }
        }
    }
}

fn resolve<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    schema["$ref"]
        .as_str()
        .and_then(|reference| reference.strip_prefix('#'))
        .and_then(|pointer| root.pointer(pointer))
        .unwrap_or(schema)
}

fn write_doc(out: &mut String, root: &Value, property: &Value) {
    let doc = property["description"].as_str().or_else(|| resolve(root, property)["description"].as_str());
    let mut line = String::from("#");
    for word in doc.unwrap_or_default().split_whitespace() {
        if line.len() + 1 + word.len() > LINE_WIDTH {
            let _ = writeln!(out, "{line}");
            line.truncate(1);
        }
        line.push(' ');
        line.push_str(word);
    }
    if line.len() > 1 {
        let _ = writeln!(out, "{line}");
    }
}

#[cfg(test)]
mod tests {
    use paddock_platform::config::Loader;

    use super::*;

    /// Run with `UPDATE_EXAMPLE=1` after changing an option.
    #[test]
    fn the_example_in_the_repository_is_current() {
        let path = "../../paddock.example.toml";
        let example = toml().unwrap();
        if std::env::var_os("UPDATE_EXAMPLE").is_some() {
            std::fs::write(path, &example).unwrap();
        }
        let kept = std::fs::read_to_string(path).unwrap_or_default();
        assert!(kept == example, "run `paddock config example > paddock.example.toml`");
    }

    #[test]
    fn the_example_with_every_key_uncommented_is_a_valid_configuration() {
        let example = toml().unwrap();
        let uncommented: String = example
            .lines()
            .filter(|line| !line.ends_with(" ="))
            .map(|line| match line.strip_prefix("# ") {
                Some(rest) if rest.split(" = ").next().is_some_and(is_key) => format!("{rest}\n"),
                _ => format!("{line}\n"),
            })
            .collect();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &uncommented).unwrap();
        let loaded = Loader::new().with_file(file.path()).load::<Config>().unwrap();
        let defaults = toml::Table::try_from(Config::default()).unwrap();
        assert_eq!(toml::Table::try_from(loaded.config).unwrap(), defaults);
    }

    fn is_key(text: &str) -> bool {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    }
}
