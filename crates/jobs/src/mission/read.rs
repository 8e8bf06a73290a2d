//! Reads a definition from YAML or JSON; what is wrong with it is told with its place.

use super::{Definition, Flaw, MissionError};

/// How a definition is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// JSON.
    Json,
    /// YAML 1.2.
    Yaml,
}

/// Reads a definition. It is not checked yet: see [`Missions::save`](super::Missions::save).
pub fn read(text: &str, format: Format) -> Result<Definition, MissionError> {
    let flaw = |field: &str, reason: &str| MissionError::Invalid(vec![Flaw::of_definition(field, reason)]);
    match format {
        Format::Json => {
            let mut deserializer = serde_json::Deserializer::from_str(text);
            serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
                let path = error.path().to_string();
                flaw(if path == "." { "definition" } else { &path }, &error.into_inner().to_string())
            })
        }
        Format::Yaml => {
            // In a line: what and where, without a drawing of the place. And of YAML 1.2, where `n` and `yes` are texts.
            let options = serde_saphyr::options! { with_snippet: false, strict_booleans: true };
            serde_saphyr::from_str_with_options(text, options)
                .map_err(|error| flaw("definition", &error.to_string()))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::*;

    use super::*;

    const YAML: &str = "
name: greet
steps:
  - name: hello
    tool: demo_echo
    if: ${inputs.loud}
    input: { text: \"${inputs.who}\" }
    timeout: 30s
";

    #[test]
    fn yaml_and_json_give_the_same_definition() {
        let yaml = read(YAML, Format::Yaml).unwrap();
        let json = serde_json::to_string(&yaml).unwrap();
        assert_eq!(read(&json, Format::Json).unwrap(), yaml);
        assert_eq!(yaml.steps[0].condition.as_deref(), Some("${inputs.loud}"));
    }

    #[test]
    fn a_mistake_is_told_with_its_place() {
        let unknown =
            read("name: a\nsteps:\n  - name: b\n    tol: x\n", Format::Yaml).unwrap_err().to_string();
        assert!(unknown.contains("tol") && unknown.contains('4'), "{unknown}");
        let json = read(r#"{"name": "a", "steps": [{"name": 7}]}"#, Format::Json).unwrap_err().to_string();
        assert!(json.contains("steps[0].name"), "{json}");
    }

    #[test]
    fn only_true_and_false_are_truth_values() {
        let read = read("name: y\nsteps: []\noutput: [n, yes, off, true]\n", Format::Yaml).unwrap();
        assert_eq!(read.name, "y");
        assert_eq!(read.output, Some(serde_json::json!(["n", "yes", "off", true])));
    }

    #[test]
    fn aliases_cannot_blow_a_definition_up() {
        let mut text = "name: a\nsteps: []\noutput:\n  l0: &l0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let refs = vec![format!("*l{}", level - 1); 10].join(", ");
            writeln!(text, "  l{level}: &l{level} [{refs}]").unwrap();
        }
        assert!(read(&text, Format::Yaml).is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in ".{0,200}") {
            let _ = read(&text, Format::Yaml);
            let _ = read(&text, Format::Json);
        }
    }
}
