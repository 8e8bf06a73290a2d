//! Blobs: named bytes that are too large for the store, such as screenshots, reports and downloads.
//!
//! A [`BlobKey`] is a path that begins with the area, `analysis/0199…/report.html`. Its extension is its content type,
//! so that the type is kept wherever the bytes are: a directory keeps nothing else. A blob is there whole or not at
//! all, and is durable once [`Blobs::put`] returns.

mod key;
mod options;

use std::{
    io,
    path::Path,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use futures_util::TryStreamExt;
use http::StatusCode;
use jiff::Timestamp;
use metrics::{Unit, counter, describe_counter, describe_histogram, histogram};
use object_store::{
    Attribute, Attributes, ClientOptions, ObjectMeta, ObjectStore, ObjectStoreExt, PutOptions, RetryConfig,
    aws::AmazonS3Builder, local::LocalFileSystem, path::Path as ObjectPath, prefix::PrefixStore,
};

pub use key::{BlobKey, ParseBlobKeyError};
pub use options::{BlobsOptions, BlobsUrl, ParseBlobsUrlError};

use crate::{
    config::SecretError,
    problem::{BODY_TOO_LARGE, Problem, ProblemKind},
    store::{RETRY_AFTER_FULL, STORAGE_FULL},
    units::ByteSize,
};

/// How long operations took, by `operation` and `outcome`.
pub const BLOB_OPERATION_DURATION_SECONDS: &str = "blob_operation_duration_seconds";
/// Bytes by `direction`: `written`, `read`.
pub const BLOB_BYTES_TOTAL: &str = "blob_bytes_total";

/// The blobs cannot be reached; trying again makes sense.
pub const BLOBS_UNAVAILABLE: ProblemKind =
    ProblemKind::new("blobs-unavailable", StatusCode::SERVICE_UNAVAILABLE, "Blob storage unavailable");

/// The most blobs that one list returns.
pub const LIST_MAX: usize = 10_000;
/// How often a failed request to S3 is repeated within the timeout.
const RETRIES_MAX: usize = 3;

/// Registers unit and help of this module's metrics.
pub fn describe() {
    describe_histogram!(BLOB_OPERATION_DURATION_SECONDS, Unit::Seconds, "Duration of operations on blobs");
    describe_counter!(BLOB_BYTES_TOTAL, Unit::Bytes, "Bytes of blobs, by direction");
}

/// The blob storage did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The options cannot be used.
    #[error("the blob storage's configuration cannot be used: {0}")]
    Options(String),
    /// A credential cannot be read.
    #[error("the blob storage's credentials cannot be read")]
    Secret(#[from] SecretError),
    /// Nothing is there under that key.
    #[error("no blob `{0}`")]
    NotFound(BlobKey),
    /// What should be saved is larger than `blobs.size_max`.
    #[error("blob `{key}` has {size}, which is more than the {size_max} of `blobs.size_max`")]
    TooLarge {
        /// Which blob.
        key: BlobKey,
        /// How large it is.
        size: ByteSize,
        /// How large it may be.
        size_max: ByteSize,
    },
    /// What is stored is larger than `blobs.size_max`: the maximum was lowered, or somebody else put it there.
    #[error(
        "blob `{key}` is stored with {size}, which is more than the {size_max} of `blobs.size_max`; raise it to read the blob"
    )]
    StoredTooLarge {
        /// Which blob.
        key: BlobKey,
        /// How large it is.
        size: ByteSize,
        /// How large it may be.
        size_max: ByteSize,
    },
    /// There are more below a prefix than one list returns.
    #[error("there are more than {LIST_MAX} blobs below `{0}`")]
    TooMany(String),
    /// There is no space left.
    #[error("the blob storage is full: nothing was saved; free disk space and try again")]
    DiskFull,
    /// It did not answer in time.
    #[error("the blob storage did not answer within {}s", .0.as_secs_f64())]
    Timeout(Duration),
    /// The credentials are not accepted, or do not suffice.
    #[error("the blob storage refused access")]
    Refused(#[source] object_store::Error),
    /// Anything else.
    #[error("the blob storage failed")]
    Storage(#[source] object_store::Error),
}

impl From<BlobError> for Problem {
    fn from(error: BlobError) -> Self {
        match error {
            BlobError::NotFound(key) => Self::not_found("blob", key),
            BlobError::TooLarge { .. } => Self::new(BODY_TOO_LARGE, error.to_string()),
            BlobError::DiskFull => {
                tracing::error!(%error, "blob storage full");
                Self::new(STORAGE_FULL, error.to_string()).retry_after(RETRY_AFTER_FULL)
            }
            BlobError::Timeout(_) | BlobError::Storage(_) => {
                tracing::error!(error = crate::problem::error_chain(&error), "blob storage unavailable");
                Self::new(BLOBS_UNAVAILABLE, "the blob storage cannot do this now; try again")
                    .retry_after(Duration::from_secs(5))
            }
            _ => Self::internal("using the blob storage", &error),
        }
    }
}

/// A blob with its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// What it holds.
    pub bytes: Bytes,
    /// Its media type.
    pub content_type: &'static str,
    /// When it was written.
    pub modified_at: Timestamp,
}

/// What a list says of a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobMeta {
    /// Its key.
    pub key: BlobKey,
    /// How large it is.
    pub size: ByteSize,
    /// When it was written.
    pub modified_at: Timestamp,
}

/// The blob storage. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Blobs {
    store: Arc<dyn ObjectStore>,
    size_max: ByteSize,
    timeout: Duration,
    keeps_attributes: bool,
}

impl Blobs {
    /// Opens the storage that the options name; creates the directory if there is none.
    pub fn open(options: &BlobsOptions, data_dir: &Path) -> Result<Self, BlobError> {
        let (store, keeps_attributes): (Arc<dyn ObjectStore>, bool) = match &options.url {
            BlobsUrl::File(path) => (Arc::new(open_directory(&data_dir.join(path))?), false),
            BlobsUrl::S3 { bucket, prefix } => (open_s3(options, bucket, prefix)?, true),
        };
        Ok(Self { store, size_max: options.size_max, timeout: options.timeout.get(), keeps_attributes })
    }

    /// Saves a blob, over one of the same key.
    pub async fn put(&self, key: &BlobKey, bytes: Bytes) -> Result<(), BlobError> {
        let size = ByteSize::bytes(bytes.len() as u64);
        self.check_size(key, size)?;
        let mut options = PutOptions::default();
        if self.keeps_attributes {
            // Whoever fetches the object without Paddock, by a link or a browser, learns its type, too.
            options.attributes = Attributes::from_iter([(Attribute::ContentType, key.content_type())]);
        }
        let path = path_of(key);
        self.timed("put", self.store.put_opts(&path, bytes.into(), options), key).await?;
        counter!(BLOB_BYTES_TOTAL, "direction" => "written").increment(size.get());
        Ok(())
    }

    /// Reads a blob.
    pub async fn get(&self, key: &BlobKey) -> Result<Blob, BlobError> {
        let path = path_of(key);
        let read = async {
            let found = self.store.get(&path).await?;
            let modified_at = modified(&found.meta);
            // Somebody else may have put it there: it is not read into memory before its size is known.
            let size = ByteSize::bytes(found.meta.size);
            if size > self.size_max {
                return Ok(Err(size));
            }
            Ok(Ok((found.bytes().await?, modified_at)))
        };
        let (bytes, modified_at) = self
            .timed("get", read, key)
            .await?
            .map_err(|size| BlobError::StoredTooLarge { key: key.clone(), size, size_max: self.size_max })?;
        counter!(BLOB_BYTES_TOTAL, "direction" => "read").increment(bytes.len() as u64);
        Ok(Blob { bytes, content_type: key.content_type(), modified_at })
    }

    /// Removes a blob; one that is not there is as good as removed.
    pub async fn delete(&self, key: &BlobKey) -> Result<(), BlobError> {
        let path = path_of(key);
        match self.timed("delete", self.store.delete(&path), key).await {
            Err(BlobError::NotFound(_)) => Ok(()),
            result => result,
        }
    }

    /// The blobs below a prefix of whole segments (`analysis/0199…`), by key; at most [`LIST_MAX`].
    pub async fn list(&self, prefix: &str) -> Result<Vec<BlobMeta>, BlobError> {
        let path = ObjectPath::parse(prefix).map_err(|error| BlobError::Options(error.to_string()))?;
        let started = Instant::now();
        let listing = async {
            let mut found = Vec::new();
            let mut objects = self.store.list(Some(&path));
            while let Some(object) = objects.try_next().await.map_err(|error| error_of(error, None))? {
                // What is no key was not put here by us.
                let Ok(key) = object.location.as_ref().parse::<BlobKey>() else { continue };
                if found.len() == LIST_MAX {
                    return Err(BlobError::TooMany(prefix.to_owned()));
                }
                let (size, modified_at) = (ByteSize::bytes(object.size), modified(&object));
                found.push(BlobMeta { key, size, modified_at });
            }
            Ok(found)
        };
        let result = tokio::time::timeout(self.timeout, listing)
            .await
            .unwrap_or(Err(BlobError::Timeout(self.timeout)));
        record("list", started, result.is_ok());
        let mut found = result?;
        found.sort_by(|one, other| one.key.cmp(&other.key));
        Ok(found)
    }

    fn check_size(&self, key: &BlobKey, size: ByteSize) -> Result<(), BlobError> {
        if size > self.size_max {
            return Err(BlobError::TooLarge { key: key.clone(), size, size_max: self.size_max });
        }
        Ok(())
    }

    async fn timed<T>(
        &self,
        operation: &'static str,
        run: impl Future<Output = object_store::Result<T>>,
        key: &BlobKey,
    ) -> Result<T, BlobError> {
        let started = Instant::now();
        let result = match tokio::time::timeout(self.timeout, run).await {
            Ok(result) => result.map_err(|error| error_of(error, Some(key))),
            Err(_) => Err(BlobError::Timeout(self.timeout)),
        };
        record(
            operation,
            started,
            !matches!(&result, Err(error) if !matches!(error, BlobError::NotFound(_))),
        );
        result
    }
}

fn record(operation: &'static str, started: Instant, ok: bool) {
    let outcome = if ok { "ok" } else { "error" };
    histogram!(BLOB_OPERATION_DURATION_SECONDS, "operation" => operation, "outcome" => outcome)
        .record(started.elapsed());
}

fn path_of(key: &BlobKey) -> ObjectPath {
    ObjectPath::from(key.as_str())
}

fn modified(meta: &ObjectMeta) -> Timestamp {
    Timestamp::from_millisecond(meta.last_modified.timestamp_millis()).unwrap_or_default()
}

fn open_directory(path: &Path) -> Result<LocalFileSystem, BlobError> {
    let unusable = |error: String| BlobError::Options(format!("directory {}: {error}", path.display()));
    std::fs::create_dir_all(path).map_err(|error| unusable(error.to_string()))?;
    let store = LocalFileSystem::new_with_prefix(path).map_err(|error| unusable(error.to_string()))?;
    // Apart from the start: with many blobs looking at all directories takes a while.
    let (directory, opened_at) = (path.to_owned(), SystemTime::now());
    let removing = move || {
        if let Err(error) = remove_staged(&directory, opened_at) {
            tracing::warn!(%error, "blobs that were not written to their end could not be removed");
        }
    };
    std::thread::Builder::new()
        .name("blobs-cleanup".to_owned())
        .spawn(removing)
        .map_err(|error| unusable(error.to_string()))?;
    Ok(store.with_fsync(true).with_automatic_cleanup(true))
}

/// Removes what a crash left: a blob is written beside its place, under its name, `#` and a number, which no key has.
/// What is written after the storage was opened is in use.
fn remove_staged(directory: &Path, opened_at: SystemTime) -> io::Result<()> {
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        let entries = match std::fs::read_dir(directory) {
            // Empty directories are removed as blobs are.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            // A link is neither, and not followed.
            let kind = entry.file_type()?;
            if kind.is_dir() {
                directories.push(entry.path());
            } else if kind.is_file()
                && is_staged(&entry.file_name().to_string_lossy())
                && entry.metadata().and_then(|meta| meta.modified()).is_ok_and(|at| at < opened_at)
            {
                std::fs::remove_file(entry.path())?;
            }
        }
    }
    Ok(())
}

fn is_staged(name: &str) -> bool {
    let number = name.rsplit_once('#').map_or("", |(_, number)| number);
    !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
}

fn open_s3(options: &BlobsOptions, bucket: &str, prefix: &str) -> Result<Arc<dyn ObjectStore>, BlobError> {
    let timeout = options.timeout.get();
    let retry = RetryConfig { max_retries: RETRIES_MAX, retry_timeout: timeout, ..RetryConfig::default() };
    let client =
        ClientOptions::new().with_timeout(timeout).with_connect_timeout(timeout.min(Duration::from_secs(5)));
    let mut builder =
        AmazonS3Builder::from_env().with_client_options(client).with_retry(retry).with_bucket_name(bucket);
    if let Some(region) = &options.region {
        builder = builder.with_region(region);
    }
    if let Some(endpoint) = &options.endpoint {
        builder = builder
            .with_endpoint(endpoint.as_str().trim_end_matches('/'))
            .with_allow_http(endpoint.scheme() == "http");
    }
    if let Some(id) = &options.access_key_id {
        builder = builder.with_access_key_id(id.resolve()?.expose());
    }
    if let Some(secret) = &options.secret_access_key {
        builder = builder.with_secret_access_key(secret.resolve()?.expose());
    }
    let store = builder.build().map_err(|error| BlobError::Options(error.to_string()))?;
    Ok(if prefix.is_empty() { Arc::new(store) } else { Arc::new(PrefixStore::new(store, prefix)) })
}

fn error_of(error: object_store::Error, key: Option<&BlobKey>) -> BlobError {
    match (&error, key) {
        (object_store::Error::NotFound { .. }, Some(key)) => BlobError::NotFound(key.clone()),
        (object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. }, _) => {
            BlobError::Refused(error)
        }
        _ if is_full(&error) => BlobError::DiskFull,
        _ => BlobError::Storage(error),
    }
}

/// Whether the system said so, anywhere in the chain of causes.
fn is_full(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
        if matches!(kind, Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)) {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests;
