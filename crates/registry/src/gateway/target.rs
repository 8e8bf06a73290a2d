//! What a configured server is: a program or a place, with all that it is told, secrets among it.

use std::{collections::BTreeMap, sync::Arc};

use http::{HeaderMap, HeaderName, HeaderValue, header};
use paddock_platform::config::{Secret, SecretError};
use serde_json::Value;
use url::Url;

use super::{
    config::{GatewayServerOptions, RemoteKind},
    secrets::Mask,
};

/// How a server is run or reached.
#[derive(Clone, Debug)]
pub(super) enum Way {
    Program { command: Vec<String>, env: Vec<(String, String)> },
    Remote { kind: RemoteKind, url: Url, headers: HeaderMap },
}

/// A server as it is to be used now.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) way: Way,
    pub(super) mask: Arc<Mask>,
}

/// A server cannot be used as it is configured.
#[derive(Debug, thiserror::Error)]
pub(super) enum TargetError {
    #[error("the registry has no entry `{0}`")]
    NoEntry(String),
    #[error("the entry has neither a remote nor a package that can be run here ({0})")]
    NoWay(String),
    #[error("the entry asks for `{0}`; give it in `variables`, `env`, `headers` or `secrets`")]
    Missing(String),
    #[error("the entry's URL `{0}` is none")]
    Url(String),
    #[error("`{0}` cannot be a header or has a value that cannot be one")]
    Header(String),
    #[error(transparent)]
    Secret(#[from] SecretError),
}

impl Target {
    /// `entry` is the `server.json` that the options name.
    pub(super) fn of(options: &GatewayServerOptions, entry: Option<&Value>) -> Result<Self, TargetError> {
        let mut secrets: BTreeMap<&str, Secret> = BTreeMap::new();
        for (name, reference) in &options.secrets {
            secrets.insert(name, reference.resolve()?);
        }
        let token = options.token.as_ref().map(paddock_platform::config::SecretRef::resolve).transpose()?;
        let mask = Arc::new(Mask::of(secrets.values().chain(&token)));
        let given = Given { options, secrets, token };
        let way = match (&options.url, entry) {
            (Some(url), _) => {
                Way::Remote { kind: options.transport, url: url.clone(), headers: given.headers(&[])? }
            }
            (None, _) if !options.command.is_empty() => {
                Way::Program { command: options.command.clone(), env: given.env() }
            }
            (None, Some(entry)) => given.entry(entry)?,
            (None, None) => {
                let name = options.entry.as_ref().map(|entry| format!("{}@{}", entry.name, entry.version));
                return Err(TargetError::NoEntry(name.unwrap_or_default()));
            }
        };
        Ok(Self { way, mask })
    }
}

/// What the configuration gives a server.
struct Given<'o> {
    options: &'o GatewayServerOptions,
    secrets: BTreeMap<&'o str, Secret>,
    token: Option<Secret>,
}

fn items<'v>(value: &'v Value, member: &str) -> &'v [Value] {
    value[member].as_array().map_or(&[], Vec::as_slice)
}

impl Given<'_> {
    fn env(&self) -> Vec<(String, String)> {
        let plain = self.options.env.iter().map(|(name, value)| (name.clone(), value.clone()));
        let secret = self.secrets.iter().map(|(name, value)| ((*name).to_owned(), value.expose().to_owned()));
        plain.chain(secret).collect()
    }

    /// The headers that are given, and those of an entry that have a value.
    fn headers(&self, asked: &[Value]) -> Result<HeaderMap, TargetError> {
        let mut headers = HeaderMap::new();
        let mut add = |name: &str, value: &str, is_secret: bool| {
            let bad = || TargetError::Header(name.to_owned());
            let mut value = HeaderValue::try_from(value).map_err(|_| bad())?;
            value.set_sensitive(is_secret);
            headers.insert(HeaderName::try_from(name).map_err(|_| bad())?, value);
            Ok::<_, TargetError>(())
        };
        for input in asked {
            let name = input["name"].as_str().unwrap_or_default();
            let is_given = |known: &str| known.eq_ignore_ascii_case(name);
            let given = self.options.headers.keys().any(|known| is_given(known))
                || self.secrets.keys().any(|known| is_given(known))
                || self.token.is_some() && is_given("authorization");
            if !given && let Some(value) = self.value_of(input, name)? {
                add(name, &value, false)?;
            }
        }
        for (name, value) in &self.options.headers {
            add(name, value, false)?;
        }
        for (name, value) in &self.secrets {
            add(name, value.expose(), true)?;
        }
        if let Some(token) = &self.token {
            add(header::AUTHORIZATION.as_str(), &format!("Bearer {}", token.expose()), true)?;
        }
        Ok(headers)
    }

    /// What an entry asks for: its value, with what is left open filled in, or its default.
    fn value_of(&self, input: &Value, name: &str) -> Result<Option<String>, TargetError> {
        if let Some(value) = self.options.variables.get(name) {
            return Ok(Some(value.clone()));
        }
        match input["value"].as_str().or_else(|| input["default"].as_str()) {
            Some(text) => self.filled(text, &input["variables"]).map(Some),
            None if input["isRequired"] == true => Err(TargetError::Missing(name.to_owned())),
            None => Ok(None),
        }
    }

    /// A text with every `{name}` replaced.
    fn filled(&self, text: &str, variables: &Value) -> Result<String, TargetError> {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, (name, after))) =
            rest.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?)))
        {
            filled.push_str(before);
            let given = self.options.variables.get(name).map(String::as_str);
            let value = given.or_else(|| variables[name]["value"].as_str());
            let value = value.or_else(|| variables[name]["default"].as_str());
            filled.push_str(value.ok_or_else(|| TargetError::Missing(name.to_owned()))?);
            rest = after;
        }
        filled.push_str(rest);
        Ok(filled)
    }

    /// A remote is reached rather than a package run: nothing of others then runs on this machine.
    fn entry(&self, entry: &Value) -> Result<Way, TargetError> {
        for remote in items(entry, "remotes") {
            let kind = match remote["type"].as_str() {
                Some("streamable-http") => RemoteKind::StreamableHttp,
                Some("sse") => RemoteKind::Sse,
                _ => continue,
            };
            let text = self.filled(remote["url"].as_str().unwrap_or_default(), &remote["variables"])?;
            let url = Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
            let url = url.ok_or(TargetError::Url(text))?;
            return Ok(Way::Remote { kind, url, headers: self.headers(items(remote, "headers"))? });
        }
        let mut reasons = Vec::new();
        for package in items(entry, "packages") {
            let kind = package["registryType"].as_str().unwrap_or_default();
            if package["transport"]["type"].as_str().is_some_and(|transport| transport != "stdio") {
                reasons.push(format!("a package of {kind} does not speak over standard input"));
                continue;
            }
            match runner_of(kind, is_here) {
                Some(runner) => return self.package(package, runner),
                None => reasons.push(format!("nothing here runs packages of {kind}")),
            }
        }
        Err(TargetError::NoWay(reasons.join("; ")))
    }

    fn package(&self, package: &Value, runner: Runner) -> Result<Way, TargetError> {
        let mut env = self.env();
        for input in items(package, "environmentVariables") {
            let name = input["name"].as_str().unwrap_or_default();
            if env.iter().all(|(known, _)| known != name)
                && let Some(value) = self.value_of(input, name)?
            {
                env.push((name.to_owned(), value));
            }
        }
        let (identifier, version) = (
            package["identifier"].as_str().unwrap_or_default(),
            package["version"].as_str().filter(|version| !version.is_empty()),
        );
        let mut command = vec![runner.program().to_owned()];
        let before = match runner {
            Runner::Npx => vec!["-y".to_owned()],
            Runner::Uvx => Vec::new(),
            Runner::Docker | Runner::Podman => {
                let named = env.iter().flat_map(|(name, _)| ["-e".to_owned(), name.clone()]);
                ["run", "-i", "--rm"].map(str::to_owned).into_iter().chain(named).collect()
            }
        };
        command.extend(before);
        command.extend(self.arguments(items(package, "runtimeArguments"))?);
        let separator = match runner {
            Runner::Npx => "@",
            Runner::Uvx => "==",
            Runner::Docker | Runner::Podman => ":",
        };
        command.push(match version {
            // An image's identifier may have its tag already.
            Some(version) if !identifier.rsplit('/').next().is_some_and(|last| last.contains(':')) => {
                format!("{identifier}{separator}{version}")
            }
            _ => identifier.to_owned(),
        });
        command.extend(self.arguments(items(package, "packageArguments"))?);
        Ok(Way::Program { command, env })
    }

    fn arguments(&self, asked: &[Value]) -> Result<Vec<String>, TargetError> {
        let mut arguments = Vec::new();
        for input in asked {
            let is_named = input["type"] == "named";
            let name = input["name"].as_str().or_else(|| input["valueHint"].as_str()).unwrap_or_default();
            let value = self.value_of(input, name.trim_start_matches('-'))?;
            if is_named && value.is_some() {
                arguments.push(name.to_owned());
            }
            arguments.extend(value);
        }
        Ok(arguments)
    }
}

/// What runs packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Runner {
    Npx,
    Uvx,
    Docker,
    Podman,
}

impl Runner {
    const fn program(self) -> &'static str {
        match self {
            Self::Npx => "npx",
            Self::Uvx => "uvx",
            Self::Docker => "docker",
            Self::Podman => "podman",
        }
    }
}

/// What runs packages of a kind on this machine, if there is something.
fn runner_of(kind: &str, is_here: impl Fn(&str) -> bool) -> Option<Runner> {
    let candidates: &[Runner] = match kind {
        "npm" => &[Runner::Npx],
        "pypi" => &[Runner::Uvx],
        "oci" => &[Runner::Docker, Runner::Podman],
        _ => &[],
    };
    candidates.iter().copied().find(|runner| is_here(runner.program()))
}

fn is_here(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::gateway::config::GatewayEntryOptions;

    fn options() -> GatewayServerOptions {
        let entry = GatewayEntryOptions { name: "a.b/c".to_owned(), version: "1.0.0".to_owned() };
        GatewayServerOptions { name: "c".to_owned(), entry: Some(entry), ..GatewayServerOptions::default() }
    }

    #[test]
    fn the_remote_of_an_entry_is_filled_in_and_given_its_secrets() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        std::fs::write(&file, "tok-123456").unwrap();
        let mut options = options();
        options.token = Some(format!("file:{}", file.display()).parse().unwrap());
        options.variables.insert("tenant".to_owned(), "acme".to_owned());
        let entry = json!({"remotes": [{"type": "streamable-http", "url": "https://{tenant}.example/{path}",
            "variables": {"path": {"default": "mcp"}},
            "headers": [{"name": "Authorization", "isRequired": true}, {"name": "X-Plan", "value": "free"}]}]});
        let target = Target::of(&options, Some(&entry)).unwrap();
        let Way::Remote { url, headers, .. } = target.way else { panic!("a remote") };
        assert_eq!(url.as_str(), "https://acme.example/mcp");
        assert_eq!(headers["authorization"], "Bearer tok-123456");
        assert_eq!(headers["x-plan"], "free");
        assert_eq!(target.mask.clean_text("tok-123456"), "[secret]");
        assert!(!format!("{headers:?}").contains("tok-123456"));
    }

    #[test]
    fn what_an_entry_asks_for_and_nobody_gives_is_named() {
        let entry = json!({"remotes": [{"type": "sse", "url": "https://{tenant}.example/sse"}]});
        let error = Target::of(&options(), Some(&entry)).unwrap_err().to_string();
        assert!(error.contains("`tenant`"), "{error}");
        let entry = json!({"packages": [{"registryType": "cargo", "identifier": "x"}]});
        let error = Target::of(&options(), Some(&entry)).unwrap_err().to_string();
        assert!(error.contains("packages of cargo"), "{error}");
        assert!(matches!(Target::of(&options(), None), Err(TargetError::NoEntry(_))));
    }

    #[test]
    fn a_package_becomes_a_command() {
        let mut options = options();
        options.variables.insert("root".to_owned(), "/srv".to_owned());
        let entry = json!({"registryType": "npm", "identifier": "@a/b", "version": "1.2.3",
            "packageArguments": [
                {"type": "positional", "valueHint": "root"}, {"type": "named", "name": "--mode", "value": "fast"},
                {"type": "named", "name": "--quiet", "isRequired": false}],
            "environmentVariables": [{"name": "LEVEL", "default": "info"}]});
        let given = Given { options: &options, secrets: BTreeMap::new(), token: None };
        let Way::Program { command, env } = given.package(&entry, Runner::Npx).unwrap() else {
            panic!("a program")
        };
        assert_eq!(command, ["npx", "-y", "@a/b@1.2.3", "/srv", "--mode", "fast"]);
        assert_eq!(env, [("LEVEL".to_owned(), "info".to_owned())]);
        let entry = json!({"registryType": "pypi", "identifier": "a-b", "version": "0.4.1",
            "runtimeArguments": [{"type": "named", "name": "--python", "value": "3.13"}],
            "packageArguments": [{"type": "positional", "value": "serve"}]});
        let Way::Program { command, .. } = given.package(&entry, Runner::Uvx).unwrap() else {
            panic!("a program")
        };
        assert_eq!(command, ["uvx", "--python", "3.13", "a-b==0.4.1", "serve"]);
    }

    #[test]
    fn an_image_is_run_by_what_there_is_with_the_names_of_its_variables_alone() {
        let mut options = options();
        options.env.insert("LEVEL".to_owned(), "info".to_owned());
        let given = Given { options: &options, secrets: BTreeMap::new(), token: None };
        for (runner, identifier, image) in [
            (Runner::Docker, "ghcr.io/a/b:2", "ghcr.io/a/b:2"),
            (Runner::Podman, "localhost:5000/a/b", "localhost:5000/a/b:2"),
        ] {
            let entry = json!({"identifier": identifier, "version": "2"});
            let Way::Program { command, env } = given.package(&entry, runner).unwrap() else {
                panic!("a program")
            };
            assert_eq!(command, [runner.program(), "run", "-i", "--rm", "-e", "LEVEL", image]);
            assert_eq!(env, [("LEVEL".to_owned(), "info".to_owned())]);
        }
        assert_eq!(runner_of("oci", |_| true), Some(Runner::Docker));
        assert_eq!(runner_of("oci", |program| program == "podman"), Some(Runner::Podman));
        assert_eq!(runner_of("oci", |program| program == "npx"), None);
    }
}
