//! `[blobs]` of the configuration.

use std::{fmt, path::PathBuf, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::{
    config::SecretRef,
    units::{ByteSize, HumanDuration, non_zero_duration},
};

/// Where screenshots, reports and downloads are kept. Changes take effect after a restart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BlobsOptions {
    /// `file:blobs` (relative to the data directory) or `s3://bucket/prefix`.
    pub url: BlobsUrl,
    /// S3: where the access key's id is, `env:NAME` or `file:/path`; otherwise as in AWS's own tools.
    pub access_key_id: Option<SecretRef>,
    /// S3: where the access key's secret is.
    pub secret_access_key: Option<SecretRef>,
    /// S3: the region.
    pub region: Option<String>,
    /// S3: the server, if it is not Amazon's.
    pub endpoint: Option<Url>,
    /// How large a blob may be.
    pub size_max: ByteSize,
    /// How long an operation may take, repetitions included.
    #[serde(deserialize_with = "non_zero_duration")]
    pub timeout: HumanDuration,
}

impl Default for BlobsOptions {
    fn default() -> Self {
        Self {
            url: BlobsUrl::File(PathBuf::from("blobs")),
            access_key_id: None,
            secret_access_key: None,
            region: None,
            endpoint: None,
            size_max: ByteSize::mib(64),
            timeout: HumanDuration::from_secs(30),
        }
    }
}

/// Which storage, and where in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum BlobsUrl {
    /// A directory, relative to the data directory.
    File(PathBuf),
    /// A bucket of any S3-compatible storage.
    S3 {
        /// Its name.
        bucket: String,
        /// What every key is put below; may be empty.
        prefix: String,
    },
}

/// A text that is not a blob storage's URL.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a blob storage; write `file:blobs` or `s3://bucket/prefix`")]
pub struct ParseBlobsUrlError(String);

impl fmt::Display for BlobsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::S3 { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            Self::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

impl FromStr for BlobsUrl {
    type Err = ParseBlobsUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseBlobsUrlError(text.to_owned());
        if let Some(path) = text.strip_prefix("file:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.is_empty() { Err(error()) } else { Ok(Self::File(PathBuf::from(path))) };
        }
        let (bucket, prefix) = match text.strip_prefix("s3://").ok_or_else(error)? {
            rest if rest.contains('/') => rest.split_once('/').ok_or_else(error)?,
            bucket => (bucket, ""),
        };
        let valid = !bucket.is_empty()
            && bucket.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.');
        if !valid {
            return Err(error());
        }
        Ok(Self::S3 { bucket: bucket.to_owned(), prefix: prefix.trim_matches('/').to_owned() })
    }
}

impl TryFrom<String> for BlobsUrl {
    type Error = ParseBlobsUrlError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<BlobsUrl> for String {
    fn from(url: BlobsUrl) -> Self {
        url.to_string()
    }
}

impl JsonSchema for BlobsUrl {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "BlobsUrl".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^(file:|s3://)" })
    }
}
