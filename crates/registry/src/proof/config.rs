//! `[registry.publish]` of the configuration: how those who hold no key prove that a namespace is theirs.

use std::{fmt, net::SocketAddr, time::Duration};

use paddock_platform::{
    egress::Destination,
    units::{HumanDuration, non_zero_duration},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

/// What stands for the domain in `http_url`.
const DOMAIN: &str = "{domain}";
/// The namespace of those who prove nothing, as the official registry calls it.
const ANONYMOUS_NAMESPACE: &str = "io.modelcontextprotocol.anonymous";
const DNS_SERVERS_MAX: usize = 8;
/// The right to publish is for one run of a publisher.
const TOKEN_LIFETIME_MAX: Duration = Duration::from_hours(1);
/// A signature that was seen by others is good for twice this.
const CLOCK_SKEW_MAX: Duration = Duration::from_mins(5);

/// A way to prove that a namespace is one's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProofMethod {
    /// A time, signed with a key that a TXT record of the domain names.
    Dns,
    /// A time, signed with a key that the domain serves.
    Http,
    /// A token of a workflow that runs at GitHub.
    GithubOidc,
    /// Nothing at all: anybody may publish under `io.modelcontextprotocol.anonymous`.
    None,
}

impl ProofMethod {
    /// Its name in the configuration, in metrics, and at the end of its route.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Http => "http",
            Self::GithubOidc => "github-oidc",
            Self::None => "none",
        }
    }
}

impl fmt::Display for ProofMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How those who hold no key prove that a namespace is theirs, and publish under it for a moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PublishOptions {
    /// The proofs that are taken: `dns`, `http`, `github-oidc`, and `none`, which lets anybody publish under
    /// `io.modelcontextprotocol.anonymous`. Without any, publishing needs a key.
    pub proofs: Vec<ProofMethod>,
    /// Whom GitHub's tokens must be for: the audience that the workflow asks for, such as this server's own URL. Needed for
    /// `github-oidc`. Another server must not have the same one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub github_audience: Option<String>,
    /// Who signs GitHub's tokens; a server of GitHub Enterprise has an issuer of its own.
    pub github_issuer: String,
    /// Where the key of a domain is served; `{domain}` stands for it.
    pub http_url: String,
    /// DNS servers that are asked for TXT records, as `address:port`. Without any, those of the system.
    pub dns_servers: Vec<SocketAddr>,
    /// What may be reached for a proof beside the public internet: hosts, `*.domains` and networks. Plain http is for these
    /// alone.
    pub allow: Vec<Destination>,
    /// How far the clock of whoever signs may be off.
    pub clock_skew_max: HumanDuration,
    /// How long looking up a key may take.
    #[serde(deserialize_with = "non_zero_duration")]
    pub timeout: HumanDuration,
    /// How long the right to publish lasts.
    #[serde(deserialize_with = "non_zero_duration")]
    pub token_lifetime: HumanDuration,
}

impl Default for PublishOptions {
    fn default() -> Self {
        Self {
            proofs: Vec::new(),
            github_audience: None,
            github_issuer: "https://token.actions.githubusercontent.com".to_owned(),
            http_url: format!("https://{DOMAIN}/.well-known/mcp-registry-auth"),
            dns_servers: Vec::new(),
            allow: Vec::new(),
            clock_skew_max: HumanDuration::from_secs(15),
            timeout: HumanDuration::from_secs(10),
            token_lifetime: HumanDuration::from_secs(300),
        }
    }
}

impl PublishOptions {
    /// Where the key of a domain is served.
    pub(super) fn http_url_of(&self, domain: &str) -> Result<Url, url::ParseError> {
        Url::parse(&self.http_url.replace(DOMAIN, domain))
    }

    /// Where the issuer of GitHub's tokens serves its keys.
    pub(super) fn github_keys_url(&self) -> Result<Url, url::ParseError> {
        Url::parse(&format!("{}/.well-known/jwks", self.github_issuer.trim_end_matches('/')))
    }

    /// The namespace that nobody proves.
    pub(super) const fn anonymous_namespace() -> &'static str {
        ANONYMOUS_NAMESPACE
    }

    /// Why they cannot be used, if they cannot.
    pub(crate) fn mistake(&self) -> Option<String> {
        let said = |what: &str| Some(format!("`publish` {what}"));
        let has_audience = self.github_audience.as_ref().is_some_and(|audience| !audience.is_empty());
        if self.proofs.contains(&ProofMethod::GithubOidc) && !has_audience {
            return said("takes GitHub's tokens and has no `github_audience` that they must be for");
        }
        if !self.github_keys_url().as_ref().is_ok_and(is_web) {
            return said("has a `github_issuer` that is no https URL");
        }
        if !self.http_url.contains(DOMAIN) || !self.http_url_of("example.com").as_ref().is_ok_and(is_web) {
            return said("has an `http_url` that is no https URL with `{domain}` in it");
        }
        if self.dns_servers.len() > DNS_SERVERS_MAX {
            return said("names more than 8 `dns_servers`");
        }
        if self.token_lifetime.get() > TOKEN_LIFETIME_MAX {
            return said("has a `token_lifetime` of more than an hour");
        }
        if self.clock_skew_max.get() > CLOCK_SKEW_MAX {
            return said("has a `clock_skew_max` of more than five minutes");
        }
        None
    }
}

fn is_web(url: &Url) -> bool {
    matches!(url.scheme(), "https" | "http") && url.host_str().is_some_and(|host| !host.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(text: &str) -> PublishOptions {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn nothing_is_taken_as_a_proof_by_default() {
        let options = options("");
        assert_eq!((options.proofs.len(), options.mistake()), (0, None));
        assert_eq!(
            options.http_url_of("a.example").unwrap().as_str(),
            "https://a.example/.well-known/mcp-registry-auth"
        );
        assert_eq!(
            options.github_keys_url().unwrap().as_str(),
            "https://token.actions.githubusercontent.com/.well-known/jwks"
        );
    }

    #[test]
    fn what_would_let_others_in_or_nobody_is_a_mistake() {
        for text in [
            "proofs = [\"github-oidc\"]",
            "proofs = [\"github-oidc\"]\ngithub_audience = \"\"",
            "http_url = \"https://keys.example/mcp\"",
            "http_url = \"file:///etc/{domain}\"",
            "http_url = \"{domain}/mcp\"",
            "github_issuer = \"file:///x\"",
            "token_lifetime = \"2h\"",
            "clock_skew_max = \"1h\"",
        ] {
            assert!(options(text).mistake().is_some(), "{text}");
        }
        for text in [
            "proofs = [\"dns\", \"http\", \"none\"]",
            "proofs = [\"github-oidc\"]\ngithub_audience = \"https://registry.example\"",
            "http_url = \"http://keys.internal:8080/{domain}\"",
        ] {
            assert_eq!(options(text).mistake(), None, "{text}");
        }
        assert!(toml::from_str::<PublishOptions>("proofs = [\"password\"]").is_err());
    }
}
