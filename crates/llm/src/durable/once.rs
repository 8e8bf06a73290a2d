//! Calls that are made once, whatever happens to the server meanwhile.
//!
//! Such a call has a key of its caller's. Before it goes out, it is written down where it goes; the provider is told a key
//! that is made of the tenant's and the caller's, so that one that honours it does not do the work twice. The answer is
//! kept in the transaction that counts what it used. So whoever makes the same call again, because nobody heard how it
//! went, gets the answer that is there, or asks the same place under the same key; and it is counted once.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body_util::BodyExt;
use jiff::Timestamp;
use paddock_platform::{identity::Caller, params, problem::Problem, store::StoreError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::store::{FIND_ONCE, KEEP_ONCE, NOTE_LANE};
use crate::{
    dialect::Api,
    error::{ErrorKind, LlmError},
    gateway::{Gateway, X_ROUTE, problem_of},
    govern::{Dims, Entry, Ledger},
};

/// What providers take keys of repeated calls from.
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A call that is made once, while it is made.
#[derive(Debug)]
pub(crate) struct Once {
    tenant: String,
    key: String,
    /// Of what is asked: a key stands for one request.
    hash: String,
    /// Where it went before, if it did.
    pub(crate) lane: Option<String>,
    used: Mutex<Option<(Dims, Entry)>>,
}

/// What came of a call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CallOutput {
    /// The status that the call was answered with.
    pub status: u16,
    /// The answer, as the vendor's API has it.
    pub body: Value,
    /// Where the call went: `provider/model; credential=…; strategy=…; attempts=…`.
    pub route: String,
    /// Whether it was simulated.
    pub simulated: bool,
    /// When a refused call may be made again, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl Once {
    /// What the provider is told.
    pub(crate) fn header(&self) -> HeaderValue {
        let mut hasher = blake3::Hasher::new();
        for part in [&self.tenant, &self.key] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        let name = format!("paddock-{}", &hasher.finalize().to_hex()[..32]);
        HeaderValue::try_from(name).unwrap_or_else(|_| HeaderValue::from_static("paddock"))
    }

    /// Takes what was used: it is counted when the answer is kept.
    pub(crate) fn used(&self, dims: Dims, entry: Entry) {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = Some((dims, entry));
    }

    fn take_used(&self) -> Option<(Dims, Entry)> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Gateway {
    /// Makes a call that nobody waits for as a stream, once for each key of a tenant: the answer that there is, or else a
    /// new one. A refusal or failure is not kept.
    pub(crate) async fn call_once(
        &self,
        caller: &Caller,
        api: Api,
        headers: HeaderMap,
        body: Bytes,
        key: &str,
    ) -> Result<CallOutput, Problem> {
        let tenant = caller.tenant().as_str().to_owned();
        let hash = blake3::hash(&[api.path().as_bytes(), &body].concat()).to_hex().to_string();
        let known = self.find_once(&tenant, key, &hash).await?;
        let lane = match known {
            Some((_, Some(output))) => return Ok(output),
            Some((lane, None)) => Some(lane),
            None => None,
        };
        let once = Arc::new(Once { tenant, key: key.to_owned(), hash, lane, used: Mutex::default() });
        let response = self.serve_once(api, caller, headers, body, Arc::clone(&once)).await;
        let output = read(response).await?;
        if output.status == StatusCode::OK.as_u16() {
            self.keep_once(&once, output).await
        } else {
            Ok(output)
        }
    }

    async fn find_once(
        &self,
        tenant: &str,
        key: &str,
        hash: &str,
    ) -> Result<Option<(String, Option<CallOutput>)>, Problem> {
        let rows = self.inner().store.query(&FIND_ONCE, params![tenant, key]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        if row.get::<String>(0)? != hash {
            let error = LlmError::invalid("idempotency_key", "was used for another request");
            return Err(error.into());
        }
        let Some(status) = row.get::<Option<u16>>(2)? else { return Ok(Some((row.get(1)?, None))) };
        let body = serde_json::from_str(&row.get::<String>(3)?)
            .map_err(|error| Problem::internal("reading a kept answer", &error))?;
        let simulated = row.get::<i64>(5)? != 0;
        let output = CallOutput { status, body, route: row.get(4)?, simulated, retry_after_ms: None };
        Ok(Some((row.get(1)?, Some(output))))
    }

    /// Writes down where a call goes, before it does.
    pub(crate) async fn note_lane(&self, once: &Once, lane: String) -> Result<(), StoreError> {
        let row = params![once.tenant.clone(), once.key.clone(), once.hash.clone(), Timestamp::now(), lane];
        self.inner().store.execute(&NOTE_LANE, row).await.map(drop)
    }

    /// Keeps an answer and counts what it used, both or neither. Gives the answer that is kept: another's, if somebody
    /// else was sooner.
    async fn keep_once(&self, once: &Once, output: CallOutput) -> Result<CallOutput, Problem> {
        let used = once.take_used();
        let row = params![
            once.tenant.clone(),
            once.key.clone(),
            once.hash.clone(),
            Timestamp::now(),
            output.status,
            // PostgreSQL keeps no NUL; in JSON there is none but escaped.
            output.body.to_string(),
            output.route.clone(),
            i64::from(output.simulated),
        ];
        let counted = used.clone();
        let write = self.inner().store.write(move |tx| {
            Box::pin(async move {
                if tx.execute(&KEEP_ONCE, row).await? == 0 {
                    return Ok(false);
                }
                if let Some((dims, entry)) = counted {
                    Ledger::add_in(tx, &dims, &entry).await?;
                }
                Ok(true)
            })
        });
        if write.await? {
            if let Some((dims, entry)) = used {
                self.inner().ledger.note_spend(&dims, &entry);
            }
            return Ok(output);
        }
        let kept = self.find_once(&once.tenant, &once.key, &once.hash).await?;
        kept.and_then(|(_, output)| output).ok_or_else(|| {
            let gone = LlmError::new(ErrorKind::Internal, "the answer was forgotten while it was made");
            Problem::from(gone)
        })
    }
}

/// Reads an answer to its end.
async fn read(response: axum::response::Response) -> Result<CallOutput, Problem> {
    let (parts, body) = response.into_parts();
    let bytes =
        body.collect().await.map_err(|error| Problem::internal("reading an answer", &error))?.to_bytes();
    let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let body = serde_json::from_slice(&bytes).unwrap_or_else(|_| json!(String::from_utf8_lossy(&bytes)));
    Ok(CallOutput {
        status: parts.status.as_u16(),
        body,
        route: text(X_ROUTE).to_owned(),
        simulated: text("x-paddock-simulated") == "true",
        retry_after_ms: text("retry-after-ms").parse().ok(),
    })
}

impl CallOutput {
    /// The answer, or the refusal as a problem with its status.
    pub(crate) fn into_result(self) -> Result<Self, Problem> {
        match StatusCode::from_u16(self.status) {
            Ok(status) if status.is_success() => Ok(self),
            status => {
                let wait = self.retry_after_ms.map(Duration::from_millis);
                let status = status.unwrap_or(StatusCode::BAD_GATEWAY);
                let mut problem = problem_of(status, self.body.to_string().as_bytes());
                problem.retry_after = wait;
                Err(problem)
            }
        }
    }
}
