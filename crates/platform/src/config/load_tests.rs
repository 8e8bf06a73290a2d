use std::{collections::BTreeMap, num::NonZeroUsize};

use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::{
    config::SecretRef,
    units::{ByteSize, HumanDuration},
};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Config {
    server: Server,
    browser: Browser,
    jobs: Jobs,
    llm: Llm,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Server {
    listen: String,
    timeout: HumanDuration,
    body_max: ByteSize,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:7070".to_owned(),
            timeout: HumanDuration::from_secs(60),
            body_max: ByteSize::mib(2),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Browser {
    instances_max: NonZeroUsize,
    engine: String,
    allow: Vec<String>,
    headless: bool,
}

impl Default for Browser {
    fn default() -> Self {
        Self {
            instances_max: NonZeroUsize::new(200).unwrap(),
            engine: "headless-shell".to_owned(),
            allow: Vec::new(),
            headless: true,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Jobs {
    concurrency: u16,
    queues: BTreeMap<String, u32>,
    token: Option<SecretRef>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Llm {
    providers: Vec<Provider>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Provider {
    name: String,
    #[serde(default)]
    weight: u32,
    #[serde(default)]
    dialect: Dialect,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Dialect {
    #[default]
    Openai,
    Anthropic,
}

fn load(file: &str, env: &[(&str, &str)], set: &[&str]) -> Result<Loaded<Config>, String> {
    Loader::new()
        .with_file("paddock.toml")
        .with_env(env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
        .with_set(set.iter().map(|text| (*text).to_owned()))
        .load_with(Some(file))
        .map_err(|error| error.to_string())
}

fn problem(file: &str) -> String {
    load(file, &[], &[]).unwrap_err()
}

#[test]
fn an_empty_file_is_the_defaults() {
    assert_eq!(load("", &[], &[]).unwrap().config, Config::default());
    assert_eq!(Loader::new().load::<Config>().unwrap().config, Config::default());
}

#[test]
fn a_flag_is_over_a_variable_is_over_the_file_is_over_the_default() {
    let file = "[browser]\ninstances_max = 1\nengine = \"chromium\"\n[server]\nlisten = \"0.0.0.0:1\"\n";
    let env = [("PADDOCK_BROWSER__INSTANCES_MAX", "2"), ("PADDOCK_BROWSER__ENGINE", "/opt/chrome")];
    let loaded = load(file, &env, &["browser.instances_max=3"]).unwrap();
    assert_eq!(loaded.config.browser.instances_max.get(), 3);
    assert_eq!(loaded.config.browser.engine, "/opt/chrome");
    assert_eq!(loaded.config.server.listen, "0.0.0.0:1");
    assert_eq!(loaded.origin("browser.instances_max").to_string(), "--set browser.instances_max");
    assert_eq!(loaded.origin("browser.engine").to_string(), "PADDOCK_BROWSER__ENGINE");
    assert_eq!(loaded.origin("server.listen").to_string(), "paddock.toml:5");
    assert_eq!(loaded.origin("server.timeout"), Origin::Default);
}

#[test]
fn an_unknown_key_is_answered_with_its_line_and_the_nearest_key() {
    assert_eq!(
        problem("# sizes\n\n[browser]\nengine = \"chromium\"\ninstance_max = 5\n"),
        "paddock.toml:5: unknown key `browser.instance_max`; did you mean `browser.instances_max`?"
    );
    assert_eq!(problem("[brwser]\n"), "paddock.toml:1: unknown key `brwser`; did you mean `browser`?");
    assert_eq!(problem("[browser]\nzzz = 1\n"), "paddock.toml:2: unknown key `browser.zzz`");
    assert_eq!(
        problem("[[llm.providers]]\nname = \"a\"\nwieght = 1\n"),
        "paddock.toml:3: unknown key `llm.providers[0].wieght`; did you mean `llm.providers[0].weight`?"
    );
}

#[test]
fn a_key_in_the_wrong_section_is_answered_with_the_right_one() {
    let error = problem("[server]\ninstances_max = 5\n");
    assert!(error.ends_with("did you mean `browser.instances_max`?"), "{error}");
}

#[test]
fn an_unknown_variable_or_flag_is_named() {
    assert_eq!(
        load("", &[("PADDOCK_BROWSER__INSTANCE_MAX", "5")], &[]).unwrap_err(),
        "PADDOCK_BROWSER__INSTANCE_MAX: unknown key `browser.instance_max`; \
         did you mean `PADDOCK_BROWSER__INSTANCES_MAX`?"
    );
    assert_eq!(
        load("", &[], &["browser.instance_max=5"]).unwrap_err(),
        "--set browser.instance_max: unknown key `browser.instance_max`; did you mean `browser.instances_max`?"
    );
}

#[test]
fn a_variable_with_too_few_underscores_is_answered_and_foreign_ones_are_left_alone() {
    let error = load("", &[("PADDOCK_BROWSER_INSTANCES_MAX", "5")], &[]).unwrap_err();
    assert_eq!(error, "PADDOCK_BROWSER_INSTANCES_MAX: is not read; write `PADDOCK_BROWSER__INSTANCES_MAX`");
    load("", &[("PADDOCK_LOG", "debug"), ("PADDOCK_DATA", "/tmp"), ("BROWSER__X", "1")], &[]).unwrap();
}

#[test]
fn an_ill_typed_value_is_answered_with_its_line_and_what_is_expected() {
    for (file, expected) in [
        (
            "[browser]\ninstances_max = \"many\"",
            "paddock.toml:2: `browser.instances_max`: invalid type: string \"many\", expected a whole number, 1 or more",
        ),
        ("[browser]\ninstances_max = 0", "expected a whole number, 1 or more"),
        (
            "[browser]\nheadless = 1",
            "paddock.toml:2: `browser.headless`: invalid type: integer `1`, expected true or false",
        ),
        ("[browser]\nallow = \"x\"", "expected an array"),
        ("[jobs]\nconcurrency = 70000", "expected a whole number from 0 to 65535"),
        ("[jobs.queues]\nlow = -1", "paddock.toml:2: `jobs.queues.low`: "),
        ("[server]\ntimeout = 30", "expected a duration such as \"30s\""),
        ("[server]\ntimeout = \"soon\"", "paddock.toml:2: `server.timeout`: `soon` is not a duration"),
        ("[server]\nbody_max = \"2 potatoes\"", "is not a size"),
        (
            "[[llm.providers]]\nname = \"a\"\ndialect = \"french\"",
            "paddock.toml:3: `llm.providers[0].dialect`",
        ),
        ("\n[[llm.providers]]\nweight = 1", "paddock.toml:2: `llm.providers[0]`: missing field `name`"),
        ("server = 5", "paddock.toml:1: `server`: "),
    ] {
        let error = problem(file);
        assert!(error.contains(expected), "{file}\n  gave: {error}\n  want: {expected}");
    }
}

#[test]
fn all_problems_are_reported_at_once_in_order() {
    let error = load(
        "[browser]\nheadless = 1\ninstances_max = \"x\"\nspeed = 3\n[server]\ntimeout = 5\n",
        &[("PADDOCK_JOBS__CONCURRENCY", "lots")],
        &["server.colour=red", "nonsense"],
    )
    .unwrap_err();
    let origins: Vec<_> = error.lines().map(|line| line.split(": ").next().unwrap()).collect();
    assert_eq!(
        origins,
        [
            "paddock.toml:2",
            "paddock.toml:3",
            "paddock.toml:4",
            "paddock.toml:6",
            "PADDOCK_JOBS__CONCURRENCY",
            "--set nonsense",
            "--set server.colour",
        ],
        "{error}"
    );
}

#[test]
fn broken_toml_is_answered_with_its_line() {
    let error = problem("[server]\nlisten = \"a\nx = [1,\n");
    assert!(error.starts_with("paddock.toml:2: "), "{error}");
    let error = problem("[server]\nlisten = \"a\"\nlisten = \"b\"\n");
    assert!(error.starts_with("paddock.toml:3: duplicate key"), "{error}");
}

#[test]
fn a_value_of_a_variable_is_toml_where_it_parses_and_text_where_text_is_wanted() {
    let env = [
        ("PADDOCK_BROWSER__ALLOW", "[\"10.0.0.0/8\", '::1/128']"),
        ("PADDOCK_BROWSER__HEADLESS", "false"),
        ("PADDOCK_BROWSER__ENGINE", "5"),
        ("PADDOCK_SERVER__TIMEOUT", "5s"),
        ("PADDOCK_SERVER__BODY_MAX", "1024"),
        ("PADDOCK_SERVER__LISTEN", "\"quoted:1\""),
        ("PADDOCK_JOBS__QUEUES__LOW", "7"),
        ("PADDOCK_JOBS__TOKEN", "env:JOBS_TOKEN"),
    ];
    let config = load("", &env, &["jobs.queues={ high = 9 }"]).unwrap().config;
    assert_eq!(config.browser.allow, ["10.0.0.0/8", "::1/128"]);
    assert!(!config.browser.headless);
    assert_eq!(config.browser.engine, "5");
    assert_eq!(config.server.timeout, HumanDuration::from_secs(5));
    assert_eq!(config.server.body_max, ByteSize::bytes(1024));
    assert_eq!(config.server.listen, "quoted:1");
    assert_eq!(config.jobs.queues, BTreeMap::from([("high".to_owned(), 9), ("low".to_owned(), 7)]));
}

#[test]
fn an_element_of_an_array_can_be_set_by_its_number() {
    let file = "[[llm.providers]]\nname = \"a\"\n[[llm.providers]]\nname = \"b\"\n";
    let loaded = load(file, &[], &["llm.providers.1.weight=4"]).unwrap();
    assert_eq!(loaded.config.llm.providers[1].weight, 4);
    let error = load(file, &[], &["llm.providers.7.weight=4"]).unwrap_err();
    assert!(error.contains("nothing to set `7` in"), "{error}");
}

#[test]
fn a_literal_secret_is_refused_and_not_repeated() {
    let error = problem("[jobs]\ntoken = \"sk-live-1234\"\n");
    assert!(error.starts_with("paddock.toml:2: `jobs.token`: a secret is never written here"), "{error}");
    assert!(!error.contains("1234"), "{error}");
}

#[test]
fn what_is_shown_names_every_source_and_loads_again_to_the_same() {
    let file = "[browser]\ninstances_max = 7\nallow = [\"10.0.0.0/8\"]\n[jobs.queues]\nlow = 1\n\
                [[llm.providers]]\nname = \"a\\nb\"\n";
    let env = [("PADDOCK_SERVER__LISTEN", "0.0.0.0:80")];
    let loaded = load(file, &env, &["browser.headless=false"]).unwrap();
    let shown = loaded.to_annotated_toml().unwrap();
    for line in [
        "instances_max = 7  # paddock.toml:2",
        "allow = [\"10.0.0.0/8\"]  # paddock.toml:3",
        "low = 1  # paddock.toml:5",
        "listen = \"0.0.0.0:80\"  # PADDOCK_SERVER__LISTEN",
        "headless = false  # --set browser.headless",
        "timeout = \"1m\"  # default",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "`{line}` is not in\n{shown}");
    }
    assert!(shown.find("[server]") < shown.find("[browser]"), "in the order of the type\n{shown}");
    assert_eq!(load(&shown, &[], &[]).unwrap().config, loaded.config, "{shown}");
}

#[test]
fn a_file_that_was_asked_for_must_exist_and_one_at_its_customary_place_need_not() {
    let path = tempfile::tempdir().unwrap().path().join("none.toml");
    let error = Loader::new().with_file(&path).load::<Config>().unwrap_err().to_string();
    assert!(error.contains("none.toml"), "{error}");
    assert_eq!(Loader::new().with_file_if_present(&path).load::<Config>().unwrap().file, None);
}

#[test]
fn a_huge_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("huge.toml");
    std::fs::write(&path, "#".repeat(2 << 20)).unwrap();
    let error = Loader::new().with_file(&path).load::<Config>().unwrap_err().to_string();
    assert!(error.contains("larger than"), "{error}");
}

proptest! {
    #[test]
    fn no_text_makes_the_loader_panic(file in "([\\[\\]a-z.=\" \n0-9#{},-]{0,60})", value in ".{0,20}") {
        let _ = load(&file, &[("PADDOCK_SERVER__LISTEN", &value)], &[&value]);
    }

    #[test]
    fn any_text_survives_a_variable(text in "[^\"']{0,20}") {
        let loaded = load("", &[("PADDOCK_SERVER__LISTEN", &text)], &[]).unwrap();
        prop_assert_eq!(loaded.config.server.listen, text);
    }
}
