//! `[bus]` of the configuration.

use std::{borrow::Cow, fmt, num::NonZeroUsize, path::PathBuf, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::{
    config::SecretRef,
    units::{HumanDuration, non_zero_duration},
};

/// How servers that share a store reach each other. Changes take effect after a restart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BusOptions {
    /// `local` (one server), or NATS: `nats://host:4222`, `tls://host:4222`; several servers of it with commas.
    pub url: BusUrl,
    /// NATS: where the token is, `env:NAME` or `file:/path`.
    pub token: Option<SecretRef>,
    /// NATS: the user.
    pub user: Option<String>,
    /// NATS: where the user's password is.
    pub password: Option<SecretRef>,
    /// NATS: a file of certificates that vouch for it, instead of those of the system; asks for TLS.
    pub tls_ca: Option<PathBuf>,
    /// How long making a connection may take.
    #[serde(deserialize_with = "non_zero_duration")]
    pub connect_timeout: HumanDuration,
    /// How much may wait to be sent, and to be taken by each part of the server that listens.
    pub pending_max: NonZeroUsize,
}

impl Default for BusOptions {
    fn default() -> Self {
        Self {
            url: BusUrl::Local,
            token: None,
            user: None,
            password: None,
            tls_ca: None,
            connect_timeout: HumanDuration::from_secs(5),
            pending_max: NonZeroUsize::new(4_096).unwrap_or(NonZeroUsize::MIN),
        }
    }
}

/// Which bus, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum BusUrl {
    /// Within this process.
    Local,
    /// NATS servers, with commas between them.
    Nats(String),
}

/// A text that names no bus.
#[derive(Debug, thiserror::Error)]
#[error("names no bus; write `local` or `nats://host:4222`, and the password elsewhere (`bus.password`)")]
pub struct ParseBusUrlError;

impl fmt::Display for BusUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("local"),
            Self::Nats(url) => f.write_str(url),
        }
    }
}

impl FromStr for BusUrl {
    type Err = ParseBusUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "local" {
            return Ok(Self::Local);
        }
        let is_server = |part: &str| {
            let url: Option<url::Url> = part.parse().ok();
            // A password in it would be shown wherever the configuration is.
            url.is_some_and(|url| {
                matches!(url.scheme(), "nats" | "tls") && url.has_host() && url.password().is_none()
            })
        };
        if text.split(',').all(is_server) { Ok(Self::Nats(text.to_owned())) } else { Err(ParseBusUrlError) }
    }
}

impl TryFrom<String> for BusUrl {
    type Error = ParseBusUrlError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<BusUrl> for String {
    fn from(url: BusUrl) -> Self {
        url.to_string()
    }
}

impl JsonSchema for BusUrl {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "BusUrl".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "description": "`local`, or `nats://host:4222`" })
    }
}
