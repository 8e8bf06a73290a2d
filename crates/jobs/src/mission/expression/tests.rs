use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn environment() -> Environment {
    let mut environment = Environment {
        inputs: json!({"url": "https://a.example/", "tags": ["x", "y"], "a/b": 1, "n": 3, "ok": true}),
        mission: json!({"id": "m1"}),
        item: Some((json!({"id": 7}), 2)),
        ..Environment::default()
    };
    let scored = StepValue {
        output: json!({"score": 61.5, "items": [{"id": "first"}]}),
        state: "succeeded",
        error: Value::Null,
    };
    environment.steps.insert("score".to_owned(), scored);
    environment.steps.insert("left-out".to_owned(), StepValue { state: "skipped", ..StepValue::default() });
    environment
}

fn evaluated(text: &str) -> Result<Value, String> {
    let expression = parse(text).map_err(|error| error.to_string())?;
    expression.evaluate(&environment()).map(std::borrow::Cow::into_owned).map_err(|error| error.to_string())
}

#[test]
fn references_reach_inputs_items_and_outputs() {
    for (text, value) in [
        ("inputs.url", json!("https://a.example/")),
        ("inputs#/a~1b", json!(1)),
        ("inputs#'/a~1b'", json!(1)),
        ("inputs.tags[1]", json!("y")),
        ("item.id", json!(7)),
        ("index", json!(2)),
        ("mission.id", json!("m1")),
        ("steps.score.output#/items/0/id", json!("first")),
        ("steps.score.output.items[0].id", json!("first")),
        ("steps.score.state", json!("succeeded")),
        ("steps.left-out.output", json!(null)),
    ] {
        assert_eq!(evaluated(text), Ok(value), "{text}");
    }
}

#[test]
fn conditions_compare_and_combine() {
    for (text, truth) in [
        ("steps.score.output#/score >= 60", true),
        ("steps.score.output#/score>=60&&inputs.ok", true),
        ("!inputs.ok || inputs.n == 3.0", true),
        ("inputs.n < -1e3", false),
        ("'x' in inputs.tags", true),
        ("'url' in inputs && 'example' in inputs.url", true),
        ("steps.left-out.state == 'skipped'", true),
        ("length(inputs.tags) == 2 && (inputs.n > 5 || length('äöü') == 3)", true),
        ("exists(steps.score.output#/score) && !exists(steps.score.output#/nothing)", true),
        ("default(steps.left-out.output#/score, 0) == 0", true),
        ("inputs.url != \"it's\"", true),
        ("'it\\'s' == \"it's\"", true),
    ] {
        assert_eq!(evaluated(text), Ok(Value::Bool(truth)), "{text}");
    }
}

#[test]
fn both_sides_are_looked_at_only_as_far_as_needed() {
    assert_eq!(evaluated("inputs.ok || inputs.missing"), Ok(json!(true)));
    assert_eq!(evaluated("!inputs.ok && inputs.missing"), Ok(json!(false)));
}

#[test]
fn what_is_not_there_is_an_error_and_never_null() {
    assert_eq!(evaluated("inputs.nothing").unwrap_err(), "there is nothing at `inputs#/nothing`");
    assert_eq!(
        evaluated("steps.left-out.output#/a").unwrap_err(),
        "there is nothing at `steps.left-out.output#/a`"
    );
    assert!(evaluated("inputs.tags[9]").is_err());
}

#[test]
fn types_are_not_guessed() {
    assert_eq!(evaluated("!inputs.n").unwrap_err(), "what `!` negates is a number, it must be true or false");
    assert!(evaluated("inputs.n < 'x'").is_err());
    assert!(evaluated("inputs.url && true").is_err());
    assert!(evaluated("1 in inputs.n").is_err());
    assert!(evaluated("length(inputs.n)").is_err());
}

#[test]
fn a_mistake_is_told_with_its_place() {
    for (text, expected) in [
        ("", "expected a value, found the end at character 1"),
        ("inputs.", "expected a name, found the end at character 8"),
        (
            "inptus.url",
            "`inptus` is nothing to refer to; there are `inputs`, `item`, `index`, `output`, `mission` and `steps` at character 1",
        ),
        ("steps.a.outptu", "a step has `output`, `state` and `error`, not `outptu` at character 15"),
        ("1 = 2", "expected an operator or the end, found `=` at character 3"),
        ("(1 == 2", "expected `)`, found the end at character 8"),
        ("inputs.tags == [1]", "expected a value, found `[` at character 16"),
        ("'open", "a text is not closed at character 1"),
        ("inputs#a", "`a` is not a JSON pointer; one begins with `/` at character 9"),
    ] {
        assert_eq!(parse(text).unwrap_err().to_string(), expected, "{text}");
    }
}

#[test]
fn deep_nesting_is_refused() {
    assert!(parse(&format!("{}1{}", "(".repeat(500), ")".repeat(500))).is_err());
    assert!(parse(&format!("{}true", "!".repeat(500))).is_err());
}

#[test]
fn a_text_that_is_one_expression_keeps_its_type() {
    let rendered = |value: Value| Template::parse(&value).unwrap().render(&environment());
    assert_eq!(rendered(json!("${inputs.n}")), Ok(json!(3)));
    assert_eq!(
        rendered(json!("n is ${inputs.n}, tags ${inputs.tags}")),
        Ok(json!("n is 3, tags [\"x\",\"y\"]"))
    );
    assert_eq!(
        rendered(json!({"a": ["${item}", "$5", "$${inputs.n}"]})),
        Ok(json!({"a": [{"id": 7}, "$5", "${inputs.n}"]}))
    );
    assert_eq!(rendered(json!("${'}'}")), Ok(json!("}")));
    assert_eq!(rendered(json!({"plain": "$${x}"})), Ok(json!({"plain": "${x}"})));
}

#[test]
fn every_wrong_text_of_a_template_is_told_with_its_path() {
    let errors =
        Template::parse(&json!({"a": "${", "b": [{"c": "${nope}"}], "d": "${inputs.n}"})).unwrap_err();
    let paths: Vec<&str> = errors.iter().map(|error| error.path.as_str()).collect();
    assert_eq!(paths, ["a", "b[0].c"]);
}

#[test]
fn references_of_a_template_are_known_before_it_runs() {
    let template =
        Template::parse(&json!({"a": "${steps.b.output} and ${default(steps.c.output#/x, inputs.y)}"}))
            .unwrap();
    let mut seen = Vec::new();
    template.visit(&mut |reference| seen.push(reference.to_string()));
    assert_eq!(seen, ["steps.b.output", "steps.c.output#/x", "inputs#/y"]);
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,80}") {
        let _ = parse(&text);
        let _ = Template::parse_text(&text);
    }

    #[test]
    fn near_expressions_do_not_make_the_parser_panic(text in "[a-z.\\[\\]#/'\"()!&|<>=, $\\{\\}0-9é-]{0,60}") {
        if let Ok(expression) = parse(&text) {
            let _ = expression.evaluate(&environment());
        }
        let _ = Template::parse_text(&text);
    }

    #[test]
    fn a_reference_is_read_as_it_is_written(parts in prop::collection::vec("[a-zA-Z0-9~/ '.é]{0,6}", 0..4)) {
        let reference = Reference { root: Root::Inputs, path: parts };
        let written = reference.to_string();
        let quoted = match written.split_once('#') {
            Some((root, pointer)) => format!("{root}#\"{pointer}\""),
            None => written,
        };
        prop_assert_eq!(parse(&quoted), Ok(Expression::Reference(reference)));
    }

    #[test]
    fn a_text_without_expressions_stays_as_it_is(text in "[^$]{0,40}") {
        let read = Template::parse_text(&text);
        prop_assert_eq!(read, Ok(Template::Literal(Value::String(text))));
    }
}
