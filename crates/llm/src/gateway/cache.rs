//! Answers that are kept: the very same request of the same tenant is answered again.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderValue, StatusCode};
use moka::future::Cache;
use serde_json::Value;

use super::{
    call::Call,
    record::Served,
    semantic::{Asked, Semantic},
};
use crate::{
    config::CacheOptions,
    dialect::{Api, usage::Usage},
};

/// What a caller says about the cache: `skip` neither asks nor keeps, `refresh` keeps without asking.
pub(super) const X_CACHE: &str = "x-paddock-cache";
/// Members that do not change what is answered.
pub(super) const IRRELEVANT: [&str; 7] =
    ["user", "metadata", "store", "stream_options", "prompt_cache_key", "safety_identifier", "service_tier"];
/// A stream that is longer is not kept.
const KEPT_MAX: usize = 4 << 20;
/// What an entry costs beside its body.
const ENTRY_OVERHEAD: usize = 512;

/// The hash of a request.
pub(super) type Key = [u8; 32];

/// An answer that is kept.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) status: StatusCode,
    pub(super) content_type: HeaderValue,
    pub(super) body: Bytes,
    pub(super) usage: Usage,
    pub(super) served: Served,
}

/// What a call may do with the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// It is looked up and kept.
    Full(Key),
    /// It is kept, over what is there.
    Refresh(Key),
    Skip,
}

/// The cache. Without a time to live it keeps nothing.
#[derive(Clone, Debug)]
pub(crate) struct AnswerCache {
    pub(super) entries: Cache<Key, Arc<Kept>>,
    pub(super) semantic: Option<Arc<Semantic>>,
    ttl: Duration,
}

impl AnswerCache {
    pub(crate) fn new(options: &CacheOptions) -> Self {
        let ttl = options.ttl.get();
        let weigh =
            |_: &Key, kept: &Arc<Kept>| u32::try_from(kept.body.len() + ENTRY_OVERHEAD).unwrap_or(u32::MAX);
        let builder = Cache::builder().max_capacity(options.weight_max.get()).weigher(weigh);
        let builder = if ttl.is_zero() { builder } else { builder.time_to_live(ttl) };
        Self { entries: builder.build(), semantic: Semantic::new(options), ttl }
    }

    /// What a call may do with it.
    pub(super) fn use_of(&self, call: &Call) -> Use {
        let cacheable = matches!(call.api, Api::CountTokens) || call.facts.continues;
        if self.ttl.is_zero() || cacheable {
            return Use::Skip;
        }
        let Some(key) = key_of(call) else { return Use::Skip };
        match call.header(X_CACHE) {
            Some("skip") => Use::Skip,
            Some("refresh") => Use::Refresh(key),
            _ if call.header("cache-control").is_some_and(|value| value.contains("no-store")) => Use::Skip,
            _ if call.header("cache-control").is_some_and(|value| value.contains("no-cache")) => {
                Use::Refresh(key)
            }
            _ => Use::Full(key),
        }
    }

    /// Keeps a stream while it passes.
    pub(super) fn keeping(&self, key: Key, served: &Served, asked: Option<Asked>) -> Keeping {
        let entries = self.entries.clone();
        Keeping { entries, key, body: Some(Vec::new()), served: served.clone(), asked }
    }
}

/// The same whatever the order of members and the spaces between them; another for each tenant.
fn key_of(call: &Call) -> Option<Key> {
    let mut body: Value = serde_json::from_slice(&call.body).ok()?;
    let members = body.as_object_mut()?;
    for name in IRRELEVANT {
        members.remove(name);
    }
    let mut hasher = blake3::Hasher::new();
    for part in [call.tenant.as_bytes(), call.api.path().as_bytes(), body.to_string().as_bytes()] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    // A stream with its usage at the end is another than one without.
    hasher.update(&[u8::from(call.facts.include_usage)]);
    Some(*hasher.finalize().as_bytes())
}

/// A stream that is being kept.
pub(super) struct Keeping {
    entries: Cache<Key, Arc<Kept>>,
    key: Key,
    body: Option<Vec<u8>>,
    served: Served,
    /// The question that it answers, for those in other words.
    asked: Option<Asked>,
}

impl Keeping {
    pub(super) fn keep(&mut self, piece: &[u8]) {
        match &mut self.body {
            Some(body) if body.len() + piece.len() <= KEPT_MAX => body.extend_from_slice(piece),
            _ => self.body = None,
        }
    }

    /// The stream is whole.
    pub(super) fn store(self) {
        let Some(body) = self.body else { return };
        let kept = Kept {
            status: StatusCode::OK,
            content_type: HeaderValue::from_static("text/event-stream"),
            body: Bytes::from(body),
            usage: Usage::default(),
            served: self.served,
        };
        let kept = Arc::new(kept);
        if let Some(asked) = self.asked {
            asked.keep(&kept);
        }
        // It has room at once, or is not kept: nobody waits for a cache here.
        let _ = self.entries.insert(self.key, kept).now_or_never();
    }
}
