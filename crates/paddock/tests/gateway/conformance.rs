//! The official conformance suite, through the gateway and on Paddock's own tools.

use std::collections::BTreeSet;

use crate::{
    start,
    suite::{Check, Reference, checks, everything, node, passed, stateless},
    support::TestServer,
};

const WITH_SESSIONS: &str = "2025-11-25";
const WITHOUT_SESSIONS: &str = "2026-07-28";

#[test]
fn the_conformance_suite_passes_as_much_through_the_gateway_as_without_it() {
    let (reference, legacy) = (Reference::everything("streamableHttp"), Reference::everything("sse"));
    let server = start(&format!(
        "{{ name = 'remote', url = '{}', sessions_max = 200 }}, \
         {{ name = 'legacy', url = '{}', transport = 'sse', sessions_max = 200 }}, \
         {{ name = 'program', command = ['{}', '{}', 'stdio'], sessions_max = 200 }}",
        reference.url,
        legacy.url,
        node().display(),
        everything().display()
    ));
    let without = passed(&checks(&reference.url, WITH_SESSIONS));
    assert!(without.len() > 20, "{without:?}");
    for name in ["remote", "legacy", "program"] {
        let through = passed(&checks(&format!("{}/mcp/{name}", server.base), WITH_SESSIONS));
        // Not scored: streams that are taken up again by event ids, which a program or an older server does not give.
        // And what a stream says, where an answer was there at once and came as JSON, which is as right.
        let is_scored = |check: &&String| {
            !check.starts_with("server-sse-polling ")
                && !check.starts_with("server-sse-multiple-streams server-sse-streams-functional ")
        };
        let lost: Vec<&String> = without.difference(&through).filter(is_scored).collect();
        assert!(lost.is_empty(), "/mcp/{name} loses {lost:?}");
    }
}

#[test]
fn servers_without_sessions_conform_as_much_through_the_gateway_as_without_it() {
    let (reference, own) = (Reference::stateless(), TestServer::start_plain(&["--set", "browser.warm=0"]));
    let own = format!("{}/mcp", own.base);
    let server = start(&format!(
        "{{ name = 'remote', url = '{}' }}, {{ name = 'program', command = ['{}', '{}'] }}, \
         {{ name = 'paddock', url = '{own}' }}",
        reference.url,
        node().display(),
        stateless().display()
    ));
    for (url, names) in [(&reference.url, &["remote", "program"][..]), (&own, &["paddock"][..])] {
        let without = passed(&checks(url, WITHOUT_SESSIONS));
        assert!(without.len() > 20, "{url}: {without:?}");
        for name in names {
            let through = passed(&checks(&format!("{}/mcp/{name}", server.base), WITHOUT_SESSIONS));
            let lost: Vec<&String> = without.difference(&through).collect();
            assert!(lost.is_empty(), "/mcp/{name} loses {lost:?}");
        }
    }
}

/// Scenarios that ask for the tools, prompts and resources of the suite's own server, or for features that a server need
/// not have and Paddock's tools do not: each with what it asks for.
const OF_FIXTURES: &[(&str, &str)] = &[
    ("tools-call-", "tools `test_…`"),
    ("elicitation-", "tools `test_elicitation_…`"),
    ("input-required-result-", "tools `test_input_required_result_…`"),
    ("json-schema-2020-12", "the tool `json_schema_2020_12_tool`"),
    ("server-sse-polling", "the tool `test_reconnection`"),
    ("completion-complete", "the prompt `test_prompt_with_arguments`"),
    ("prompts-get-", "prompts `test_…`"),
    ("tasks-", "the extension `tasks`, and tools `test_tool_with_task`"),
    ("resources-read-", "resources `test://static-…`"),
    ("resources-templates-read", "the template `test://template/{id}/data`"),
    ("resources-subscribe", "the resource `test://watched-resource`"),
    ("resources-unsubscribe", "the resource `test://watched-resource`"),
    ("logging-set-level", "the feature `logging`"),
];

/// Checks that ask for the feature `prompts` among others that need none; by 2026-07-28 what is not declared is not there.
const OF_PROMPTS: &[&str] = &["prompts-list", "sep-2549-prompts-list-caching-hints"];

fn is_of_fixtures(check: &Check) -> bool {
    let asks = || OF_FIXTURES.iter().any(|(scenario, _)| check.scenario.starts_with(scenario));
    // What is said has to be well-formed whatever it is about.
    check.id != "wire-schema-valid"
        && (check.is_untestable || asks() || OF_PROMPTS.contains(&check.id.as_str()))
}

/// Everything that needs none of the fixtures passes, and each such scenario has something that does.
fn assert_conforms(url: &str, revision: &str, scenarios: &[&str]) {
    let checks = checks(url, revision);
    let failed: Vec<&Check> =
        checks.iter().filter(|check| check.has_failed() && !is_of_fixtures(check)).collect();
    assert!(failed.is_empty(), "{revision}: {failed:#?}");
    let passed: BTreeSet<&str> = checks
        .iter()
        .filter(|check| check.has_passed() && check.id != "wire-schema-valid")
        .map(|check| check.scenario.as_str())
        .collect();
    for scenario in scenarios {
        assert!(passed.contains(scenario), "{revision}: nothing of {scenario} passes: {passed:?}");
    }
}

#[test]
fn the_conformance_suite_passes_on_paddocks_own_tools_but_for_its_fixtures() {
    let server = TestServer::start_plain(&["--set", "browser.warm=0"]);
    let url = format!("{}/mcp", server.base);
    let scenarios = [
        "server-initialize",
        "server-session-lifecycle",
        "server-sse-multiple-streams",
        "ping",
        "tools-list",
        "dns-rebinding-protection",
    ];
    assert_conforms(&url, WITH_SESSIONS, &scenarios);
    let scenarios = [
        "server-stateless",
        "server-sse-multiple-streams",
        "tools-list",
        "dns-rebinding-protection",
        "caching",
        "http-header-validation",
    ];
    assert_conforms(&url, WITHOUT_SESSIONS, &scenarios);
}
