//! The `[registry.gateway]` section.

use std::{collections::BTreeMap, path::PathBuf};

use globset::Glob;
use paddock_platform::{
    config::SecretRef,
    units::{ByteSize, HumanDuration},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::config::is_label;

/// MCP servers that are run or reached on behalf of agents. Without any, nothing runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GatewayOptions {
    /// The servers.
    pub servers: Vec<GatewayServerOptions>,
    /// Which tools which callers may call. Whom no rule names may call everything that the servers' own `tools` leave.
    pub rules: Vec<GatewayRuleOptions>,
    /// As many tools of these servers are listed to a client; where a caller has more, it is given `tools_search` and
    /// `tools_call` instead.
    pub tools_listed_max: usize,
    /// How many tools one server may have.
    pub tools_max: usize,
    /// How many processes may run, over all servers.
    pub processes_max: usize,
}

impl Default for GatewayOptions {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            rules: Vec::new(),
            tools_listed_max: 30,
            tools_max: 10_000,
            processes_max: 64,
        }
    }
}

/// One MCP server: exactly one of `entry`, `url` and `command`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GatewayServerOptions {
    /// Its name, as it stands in `/mcp/NAME` and before the `__` in the names of its tools: 1 to 63 of `a-z`, `0-9` and
    /// `-`.
    #[schemars(regex(pattern = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"))]
    pub name: String,
    /// An entry of the registry's default view: its remote is reached, or its package run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entry: Option<GatewayEntryOptions>,
    /// Where it is reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<Url>,
    /// What it speaks at `url`.
    #[serde(skip_serializing_if = "RemoteKind::is_default")]
    pub transport: RemoteKind,
    /// The program that is run, and its arguments; it speaks over its standard input and output.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// The directory that the program is run in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<PathBuf>,
    /// Variables of the program's environment, which has `PATH`, `HOME`, `LANG`, `TMPDIR` and proxies' names beside them
    /// and nothing else of the server's.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Headers of the requests to `url`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Further variables or headers, whose values are secrets: `env:NAME` or `file:/path`. They are taken out of whatever
    /// the server answers or logs.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, SecretRef>,
    /// Where the token for `Authorization: Bearer` is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<SecretRef>,
    /// Values for what the entry leaves open: `{name}` in its URL and arguments.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, String>,
    /// Which of its tools there are, by globs of their own names.
    #[serde(skip_serializing_if = "ToolRules::is_empty")]
    pub tools: ToolRules,
    /// How long one call may take.
    pub timeout: HumanDuration,
    /// How long it may take to answer for the first time; `npx` and `uvx` fetch packages in it.
    pub start_timeout: HumanDuration,
    /// How long it may be unused before it is stopped.
    pub idle_after: HumanDuration,
    /// How long it is left alone at most after it failed again and again.
    pub backoff_max: HumanDuration,
    /// How many calls may run at once; one more is answered 503.
    pub concurrency_max: usize,
    /// How many of them may be of one key; one more is answered 429.
    pub concurrency_per_key_max: usize,
    /// How many sessions clients may have at `/mcp/NAME`. A program is run once for each.
    pub sessions_max: usize,
    /// How large one message may be.
    pub message_size_max: ByteSize,
    /// How much data memory each process of the program may have.
    pub memory_max: ByteSize,
}

impl Default for GatewayServerOptions {
    fn default() -> Self {
        Self {
            name: String::new(),
            entry: None,
            url: None,
            transport: RemoteKind::default(),
            command: Vec::new(),
            directory: None,
            env: BTreeMap::new(),
            headers: BTreeMap::new(),
            secrets: BTreeMap::new(),
            token: None,
            variables: BTreeMap::new(),
            tools: ToolRules::default(),
            timeout: HumanDuration::from_secs(60),
            start_timeout: HumanDuration::from_secs(60),
            idle_after: HumanDuration::from_secs(600),
            backoff_max: HumanDuration::from_secs(300),
            concurrency_max: 32,
            concurrency_per_key_max: 16,
            sessions_max: 16,
            message_size_max: ByteSize::mib(8),
            memory_max: ByteSize::mib(2048),
        }
    }
}

/// A version of a server in the registry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GatewayEntryOptions {
    /// Its name.
    pub name: String,
    /// Its version, or `latest` for whatever the registry takes for that.
    pub version: String,
}

/// What is spoken at a URL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RemoteKind {
    /// Streamable HTTP, since protocol 2025-03-26.
    #[default]
    StreamableHttp,
    /// HTTP with server-sent events, of protocol 2024-11-05.
    Sse,
}

impl RemoteKind {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Which tools: those that no `deny` matches and, where there is an `allow`, that it does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ToolRules {
    /// One of these globs must match, if there are any.
    pub allow: Vec<String>,
    /// None of these may match.
    pub deny: Vec<String>,
}

/// What some callers may call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GatewayRuleOptions {
    /// Tenants that it is about.
    pub tenants: Vec<String>,
    /// Keys that it is about, by their ids.
    pub keys: Vec<String>,
    /// Globs of `server__tool`: a caller that has rules with `allow` may call what one of them matches, and no more.
    pub allow: Vec<String>,
    /// Globs of `server__tool` that it may not call, whatever allows them.
    pub deny: Vec<String>,
}

impl ToolRules {
    /// Whether everything passes.
    pub fn is_empty(&self) -> bool {
        self.allow.is_empty() && self.deny.is_empty()
    }
}

impl GatewayOptions {
    /// Why they cannot be used, if they cannot.
    pub(crate) fn mistake(&self) -> Option<String> {
        let mut names = std::collections::BTreeSet::new();
        for server in &self.servers {
            if let Some(mistake) = server.mistake() {
                return Some(format!("gateway server `{}` {mistake}", server.name));
            }
            if !names.insert(&server.name) {
                return Some(format!("two gateway servers are called `{}`", server.name));
            }
        }
        for rule in &self.rules {
            if rule.tenants.is_empty() && rule.keys.is_empty() {
                return Some("a gateway rule names neither `tenants` nor `keys`".to_owned());
            }
            if let Some(mistake) = bad_glob(rule.allow.iter().chain(&rule.deny)) {
                return Some(format!("a gateway rule {mistake}"));
            }
        }
        None
    }
}

impl GatewayServerOptions {
    fn mistake(&self) -> Option<String> {
        let ways = [self.entry.is_some(), self.url.is_some(), !self.command.is_empty()];
        if !is_label(&self.name) {
            return Some("needs a name of 1 to 63 of a-z, 0-9 and `-`".to_owned());
        }
        if ways.into_iter().filter(|way| *way).count() != 1 {
            return Some("needs exactly one of `entry`, `url` and `command`".to_owned());
        }
        if self.url.as_ref().is_some_and(|url| !matches!(url.scheme(), "http" | "https")) {
            return Some("needs an `http` or `https` `url`".to_owned());
        }
        if !self.command.is_empty() && (!self.headers.is_empty() || self.token.is_some()) {
            return Some(
                "is a command, which has `env` and `secrets` but no `headers` and no `token`".to_owned(),
            );
        }
        let bounds = [
            self.concurrency_max,
            self.concurrency_per_key_max,
            self.sessions_max,
            self.message_size_max.as_usize(),
        ];
        if bounds.contains(&0) {
            return Some("has a maximum of zero".to_owned());
        }
        let is_no_name = |name: &&String| http::HeaderName::try_from(name.as_str()).is_err();
        if let Some(name) = self.headers.keys().chain(self.secrets.keys()).find(is_no_name) {
            return Some(format!("has `{name}`, which names neither a header nor a variable"));
        }
        bad_glob(self.tools.allow.iter().chain(&self.tools.deny))
    }
}

fn bad_glob<'g>(mut globs: impl Iterator<Item = &'g String>) -> Option<String> {
    let glob = globs.find(|glob| Glob::new(glob).is_err())?;
    Some(format!("has `{glob}`, which is not a pattern"))
}
