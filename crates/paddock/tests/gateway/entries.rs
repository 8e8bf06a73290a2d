//! Servers that are entries of the registry.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use serde_json::json;

use crate::{
    SECRET,
    suite::node,
    support::{self, TestServer, paddock, text},
    wait_for_tools,
};

/// Stands for a runner of packages: it notes how it was called, and runs what the package would have been.
fn write_runner(path: &Path, calls: &Path) {
    let program = support::page("crates/registry/tests/gateway/server.mjs");
    let script = format!(
        "#!/bin/sh\nprintf '%s\\n' \"$@\" > '{0}.next'\nmv '{0}.next' '{0}'\nexec '{1}' '{2}'\n",
        calls.display(),
        node().display(),
        program.display()
    );
    fs::write(path, script).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn an_entry_that_was_published_here_is_run_and_its_tools_are_called() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let (bin, calls, secret, entry) = (at("bin"), at("calls"), at("secret"), at("server.json"));
    fs::create_dir(&bin).unwrap();
    write_runner(&bin.join("npx"), &calls);
    fs::write(&secret, SECRET).unwrap();
    let package = json!({
        "registryType": "npm",
        "identifier": "@acme/weather",
        "version": "1.2.0",
        "transport": {"type": "stdio"},
        "packageArguments": [
            {"type": "positional", "valueHint": "root"},
            {"type": "named", "name": "--mode", "value": "fast"},
        ],
        "environmentVariables": [{"name": "LEVEL", "default": "of-the-entry"}, {"name": "API_KEY", "isSecret": true}],
    });
    let server_json = json!({
        "$schema": "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json",
        "name": "com.acme/weather",
        "description": "Tells the weather",
        "version": "1.2.0",
        "packages": [package],
    });
    fs::write(&entry, server_json.to_string()).unwrap();

    let servers = format!(
        "registry.gateway.servers=[{{ name = 'weather', entry = {{ name = 'com.acme/weather', version = '1.2.0' }}, \
         variables = {{ root = '/srv/weather' }}, secrets = {{ API_KEY = 'file:{}' }} }}]",
        secret.display()
    );
    let flags = [
        "registry.sources=[{ name = \"ours\", managed = {} }]",
        "registry.views=[{ name = \"default\", sources = [\"ours\"] }]",
        &servers,
        "browser.warm=0",
    ];
    let flags: Vec<&str> = flags.into_iter().flat_map(|flag| ["--set", flag]).collect();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let server = TestServer::start_with_env(&[("PATH", path.as_str())], &flags);
    let command = |args: &[&str]| {
        let output = paddock().arg("registry").args(args).args(["--server", &server.base]).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", text(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(!calls.exists(), "nothing is run before there is an entry");
    command(&["publish", entry.to_str().unwrap()]);
    wait_for_tools(&server, 1);
    let called = fs::read_to_string(&calls).unwrap();
    assert_eq!(
        called.lines().collect::<Vec<_>>(),
        ["-y", "@acme/weather@1.2.0", "/srv/weather", "--mode", "fast"]
    );
    let said = command(&["call", "weather__echo", r#"{"text": "it is sunny"}"#]);
    assert!(said.contains("it is sunny"), "{said}");
    let environment = command(&["call", "weather__env"]);
    assert!(environment.contains("of-the-entry") && environment.contains("[secret]"), "{environment}");
    assert!(!environment.contains(SECRET), "{environment}");
}
