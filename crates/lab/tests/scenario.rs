//! Scenario files: what is refused, in which words, and that the published schema says the same.
#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

use std::path::{Path, PathBuf};

use paddock_lab::scenario::{Scenario, schema};
use proptest::prelude::*;

const OK: &str = r#"
name = "example"
description = "An example."

[variables]
base = "http://127.0.0.1:${port}"
port = 8080
user = { random = { min = 1, max = 9 } }

[[steps]]
name = "ping"
http = { url = "${base}/ping?user=${user}" }
checks = [{ status = [200] }, { body_contains = "pong" }]

[short]
schedule = { constant = { rate_per_s = 100, duration = "1s" } }

[full]
schedule = { stages = { from_per_s = 10, stages = [{ to_per_s = 100, duration = "10s" }] } }

[[thresholds]]
metric = "latency_p99_ms"
op = "<="
target = 10
action = "look at the slow requests"
"#;

fn parse(text: &str) -> Result<Scenario, String> {
    Scenario::parse(Path::new("example.toml"), text.to_owned()).map_err(|error| error.to_string())
}

/// The message for the example with one text in the place of another.
fn error(from: &str, to: &str) -> String {
    assert!(OK.contains(from), "{from}");
    parse(&OK.replacen(from, to, 1)).unwrap_err()
}

#[test]
fn the_example_is_accepted() {
    let scenario = parse(OK).unwrap();
    assert_eq!(scenario.file.steps[0].get_ref().driver.get_ref().name(), "http");
}

#[test]
fn an_unknown_key_is_named_with_file_line_and_the_nearest_valid_key() {
    for (from, to, expected) in [
        (
            "description =",
            "descripton =",
            "example.toml:3:1: unknown key `descripton`; did you mean `description`?",
        ),
        ("http = {", "htpp = {", "unknown key `htpp`; did you mean `http`?"),
        ("{ url =", "{ ulr =", "example.toml:12:10: unknown key `ulr`; did you mean `url`?"),
        ("rate_per_s", "rate_per_sec", "unknown key `rate_per_sec`; did you mean `rate_per_s`?"),
        ("constant =", "constnat =", "unknown value `constnat`; did you mean `constant`?"),
        ("body_contains", "body_contain", "unknown value `body_contain`; did you mean `body_contains`?"),
        ("random =", "randm =", "unknown key `randm`; did you mean `random`?"),
        ("action =", "acton =", "unknown key `acton`; did you mean `action`?"),
    ] {
        let message = error(from, to);
        assert!(message.contains(expected), "{message}");
        assert!(message.starts_with("example.toml:"), "{message}");
    }
}

#[test]
fn a_missing_variable_is_named_with_its_line() {
    let message = error("${base}/ping", "${bsae}/ping");
    assert_eq!(message, "example.toml:12:1: there is no variable `bsae`; did you mean `base`?");
    let message = error("http://127.0.0.1:${port}", "http://127.0.0.1:${prot}");
    assert!(message.contains("`base`: there is no variable `prot`; did you mean `port`?"), "{message}");
    let message = error("port = 8080", "port = \"${base}\"");
    assert!(message.contains("refers to itself"), "{message}");
    let message = error("port = 8080", "port = \"${user}\"");
    assert!(message.contains("refers to a variable that changes"), "{message}");
}

#[test]
fn an_impossible_schedule_is_refused_with_its_reason_and_line() {
    for (to, expected) in [
        ("constant = { rate_per_s = 0, duration = \"1s\" }", "not a single arrival"),
        ("constant = { rate_per_s = -5, duration = \"1s\" }", "a rate of -5 per second cannot be offered"),
        ("constant = { rate_per_s = 5, duration = \"0s\" }", "a duration of 0ns is not possible"),
        ("constant = { rate_per_s = 5, duration = \"soon\" }", "`soon` is not a duration"),
        ("closed = { users = 0, iterations = 1 }", "`users` is 0"),
        ("closed = { users = 1 }", "users need a `duration` or a number of `iterations`"),
        ("burst = { size = 0, every = \"1s\", duration = \"1s\" }", "not a single arrival"),
    ] {
        let message = error("constant = { rate_per_s = 100, duration = \"1s\" }", to);
        assert!(message.contains(expected) && message.starts_with("example.toml:1"), "{message}");
    }
    let message = error("[short]", "[short]\nin_flight_max = 0");
    assert!(message.contains("`in_flight_max` is 0; it must be between 1 and"), "{message}");
}

#[test]
fn iterations_that_would_leave_steps_out_are_refused() {
    let schedule =
        ("constant = { rate_per_s = 100, duration = \"1s\" }", "closed = { users = 1, iterations = 2 }");
    let text = OK.replacen(schedule.0, schedule.1, 1);
    let with_weight = |weight| text.replacen("http = {", &format!("weight = {weight}\nhttp = {{"), 1);
    parse(&with_weight(2)).unwrap();
    let message = parse(&with_weight(3)).unwrap_err();
    assert!(message.contains("`iterations` is 2, and the weights of the steps sum up to 3"), "{message}");
}

#[test]
fn what_a_step_cannot_do_is_found_before_anything_starts() {
    for (to, expected) in [
        ("http = { url = \"ftp://x/\" }", "has the scheme `ftp`"),
        ("http = { url = \"/ping\" }", "has no scheme"),
        ("http = { url = \"http://x/\", method = \"G T\" }", "`G T` is not a method"),
        ("http = { url = \"http://x/\", version = \"3\" }", "unknown value `3`"),
        (
            "http = { url = \"http://x/\", headers = { \"a b\" = \"c\" } }",
            "`a b` is not the name of a header",
        ),
        ("command = { run = [] }", "needs at least a program"),
        ("command = { run = [\"x\"], figures = { cpu_s = \"cpu\" } }", "`cpu` is not a JSON pointer"),
        ("websocket = { url = \"http://x/\", message = \"a\" }", "must begin with `ws://`"),
        ("sse = { url = \"http://x/\", events_max = 0 }", "must be at least 1"),
        ("weight = 2", "the step has no driver"),
        (
            "http = { url = \"http://x/\" }\nsse = { url = \"http://x/\" }",
            "one driver; this one has `http` and `sse`",
        ),
        ("http = { url = \"http://x/\" }\nweight = 0", "`weight` is 0"),
    ] {
        let message = error("http = { url = \"${base}/ping?user=${user}\" }", to);
        assert!(message.contains(expected) && message.starts_with("example.toml:"), "{expected}: {message}");
    }
}

#[test]
fn set_up_provides_variables_to_what_comes_after_it() {
    let setup = "[[setup]]\nfree_port = { variable = \"own\" }\n[[setup]]\nserver = { name = \"web\", run = [\"web\", \
                 \"${own}\"], ready = \"http://127.0.0.1:${own}/\" }\n[[steps]]";
    parse(&OK.replacen("[[steps]]", setup, 1)).unwrap();
    let early = "[[setup]]\ncommand = { run = [\"x\", \"${own}\"] }\n[[setup]]\nfree_port = { variable = \"own\" }\n[[steps]]";
    let message = error("[[steps]]", early);
    assert!(message.contains("there is no variable `own`"), "{message}");
    let message = error("[[steps]]", "[[setup]]\nsite = { variable = \"s\", dir = \"nowhere\" }\n[[steps]]");
    assert!(message.contains("there is no directory"), "{message}");
    let message =
        error("[[steps]]", "[[setup]]\nserver = { name = \"lab\", run = [\"x\"], ready = \"x\" }\n[[steps]]");
    assert!(message.contains("the name `lab` is taken"), "{message}");
}

#[test]
fn a_data_file_gives_its_rows_and_says_what_is_wrong_with_it() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("users.csv"), "id,name\n1,a\n").unwrap();
    let with = |table: &str| {
        let text =
            OK.replacen("user = { random = { min = 1, max = 9 } }", &format!("user = {{ {table} }}"), 1);
        Scenario::parse(&dir.path().join("x.toml"), text).map_err(|error| error.to_string())
    };
    assert!(with("file = \"users.csv\", column = \"id\"").is_ok());
    for (table, expected) in [
        ("file = \"users.csv\", column = \"di\"", "has no column `di`"),
        ("file = \"none.csv\", column = \"id\"", "cannot read"),
        ("file = \"users.csv\"", "`file` needs a `column`"),
        ("random = { min = 2, max = 1 }", "`min` (2) must not be above `max` (1)"),
        ("column = \"id\"", "exactly one of"),
        ("env = \"X\", random = { min = 1, max = 2 }", "exactly one of"),
    ] {
        let message = with(table).unwrap_err();
        assert!(message.contains(expected) && message.contains("x.toml:8:1: `user`"), "{message}");
    }
}

#[test]
fn what_is_measured_last_and_what_is_a_difference_is_checked() {
    let with = |text: &str| parse(&OK.replacen("[short]", &format!("{text}\n[short]"), 1));
    with("[differences]\nadded_ms = { of = \"a_ms\", less = \"b_ms\" }").unwrap();
    with("[[teardown]]\nmeasure = { run = [\"x\", \"${port}\"], figures = { left_count = \"/left\" } }")
        .unwrap();
    for (text, expected) in [
        ("[differences]\nadded_ms = { of = \"a_ms\", less = \"b_s\" }", "and `b_s` has another"),
        ("[differences]\nadded_ms = { of = \"a_ms\" }", "less"),
        ("[[teardown]]\nmeasure = { run = [\"x\"] }", "`measure` needs `figures`"),
        (
            "[[teardown]]\nmeasure = { run = [\"${prot}\"], figures = { a_ms = \"/a\" } }",
            "did you mean `port`?",
        ),
        (
            "[[teardown]]\nmeasure = { run = [\"x\"], figures = { a_ms = \"a\" } }",
            "`a` is not a JSON pointer",
        ),
    ] {
        let message = with(text).unwrap_err();
        assert!(message.contains(expected) && message.starts_with("example.toml:"), "{expected}: {message}");
    }
}

#[test]
fn thresholds_and_names_are_checked() {
    let message = error("target = 10", "target = 10\nacceptable = 5");
    assert!(message.contains("must not be stricter"), "{message}");
    let message = error("name = \"ping\"", "name = \"p i n g\"");
    assert!(message.contains("it must be 1 to 64 letters"), "{message}");
    let message = error("[short]", "[[steps]]\nname = \"ping\"\nhttp = { url = \"http://x/\" }\n[short]");
    assert!(message.contains("two steps called `ping`"), "{message}");
}

/// The repository: tests run in the directory of their crate.
fn root() -> PathBuf {
    Path::new("../..").canonicalize().unwrap()
}

#[test]
fn the_published_schema_is_current() {
    let path = root().join("docs/scenario.schema.json");
    let current = format!("{:#}\n", schema());
    let published = std::fs::read_to_string(&path).unwrap_or_default();
    if std::env::var_os("PADDOCK_UPDATE_DOCS").is_some() {
        std::fs::write(&path, &current).unwrap();
    } else {
        assert!(
            published == current,
            "docs/scenario.schema.json is out of date: run the tests once with PADDOCK_UPDATE_DOCS=1"
        );
    }
}

#[test]
fn every_scenario_is_valid_and_the_schema_agrees() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let mut count = 0;
    for entry in std::fs::read_dir(root().join("scenarios")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let scenario = Scenario::read(&path).unwrap();
        assert_eq!(path.file_stem().unwrap().to_str().unwrap(), scenario.file.name);
        let document: serde_json::Value = toml::from_str(&scenario.text).unwrap();
        let errors: Vec<String> = validator.iter_errors(&document).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{}: {errors:?}", path.display());
        count += 1;
    }
    assert!(count >= 5, "{count}");
    let document: serde_json::Value = toml::from_str(&OK.replacen("http = {", "htpp = {", 1)).unwrap();
    assert!(!validator.is_valid(&document));
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(cut in 0_usize..OK.len(), garbage in "[\\[\\]{}=\"a-z0-9\\n.$ ]{0,12}") {
        let mut text = OK.to_owned();
        if text.is_char_boundary(cut) {
            text.insert_str(cut, &garbage);
        }
        let _ = parse(&text);
    }
}
