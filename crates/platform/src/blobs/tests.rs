use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    sync::{Mutex, PoisonError},
};

use axum::{
    Router,
    extract::{Query, Request, State},
    response::{IntoResponse, Response},
};
use http::{Method, header};

use super::*;
use crate::problem::INTERNAL;
use crate::task::Tasks;

fn key(text: &str) -> BlobKey {
    text.parse().unwrap()
}

fn in_directory(dir: &tempfile::TempDir) -> Blobs {
    Blobs::open(&BlobsOptions::default(), dir.path()).unwrap()
}

/// What every storage promises.
async fn keeps_promises(blobs: &Blobs) {
    let report = key("analysis/1/report.html");
    assert!(matches!(blobs.get(&report).await, Err(BlobError::NotFound(_))));
    blobs.put(&report, Bytes::from_static(b"<p>first")).await.unwrap();
    blobs.put(&report, Bytes::from_static(b"<p>second")).await.unwrap();
    let found = blobs.get(&report).await.unwrap();
    assert_eq!(
        (found.bytes.as_ref(), found.content_type),
        (b"<p>second".as_ref(), "text/html; charset=utf-8")
    );

    blobs.put(&key("analysis/1/a.png"), Bytes::from_static(b"png")).await.unwrap();
    blobs.put(&key("analysis/10/b.png"), Bytes::new()).await.unwrap();
    let listed = blobs.list("analysis/1").await.unwrap();
    let keys: Vec<_> = listed.iter().map(|meta| (meta.key.as_str(), meta.size.get())).collect();
    assert_eq!(keys, [("analysis/1/a.png", 3), ("analysis/1/report.html", 9)]);
    assert!(blobs.list("browser").await.unwrap().is_empty());

    blobs.delete(&report).await.unwrap();
    blobs.delete(&report).await.unwrap();
    assert!(matches!(blobs.get(&report).await, Err(BlobError::NotFound(_))));
}

#[tokio::test]
async fn a_directory_keeps_blobs() {
    let dir = tempfile::tempdir().unwrap();
    keeps_promises(&in_directory(&dir)).await;
    assert!(dir.path().join("blobs/analysis/1/a.png").exists());
}

#[tokio::test]
async fn a_blob_larger_than_the_maximum_is_neither_written_nor_read() {
    let dir = tempfile::tempdir().unwrap();
    let options = BlobsOptions { size_max: ByteSize::bytes(10), ..BlobsOptions::default() };
    let blobs = Blobs::open(&options, dir.path()).unwrap();
    let error = blobs.put(&key("lab/a.bin"), Bytes::from(vec![0; 11])).await.unwrap_err();
    assert!(matches!(&error, BlobError::TooLarge { .. }), "{error}");
    assert_eq!(Problem::from(error).kind, BODY_TOO_LARGE);
    assert!(matches!(blobs.get(&key("lab/a.bin")).await, Err(BlobError::NotFound(_))));
    fs::create_dir_all(dir.path().join("blobs/lab")).unwrap();
    fs::write(dir.path().join("blobs/lab/b.bin"), [0; 11]).unwrap();
    let error = blobs.get(&key("lab/b.bin")).await.unwrap_err();
    assert!(matches!(error, BlobError::StoredTooLarge { .. }), "{error}");
    assert_eq!(Problem::from(error).kind, INTERNAL, "who asks for it has sent nothing that is too large");
}

#[tokio::test]
async fn a_reader_never_sees_half_a_blob() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = in_directory(&dir);
    let name = key("lab/a.bin");
    let versions = [Bytes::from(vec![1_u8; 200_000]), Bytes::from(vec![2_u8; 300_000])];
    blobs.put(&name, versions[0].clone()).await.unwrap();
    let write = async {
        for round in 0..40 {
            blobs.put(&name, versions[round % 2].clone()).await.unwrap();
        }
    };
    let read = async {
        for _ in 0..40 {
            let found = blobs.get(&name).await.unwrap().bytes;
            assert!(versions.contains(&found), "{} bytes", found.len());
        }
    };
    futures_util::join!(write, read);
    assert_eq!(blobs.list("lab").await.unwrap().len(), 1, "nothing unfinished is left");
}

#[tokio::test]
async fn a_full_disk_is_told_apart() {
    // The one file that is always full; its error takes the way that a directory's would.
    let source = fs::File::options().write(true).open("/dev/full").unwrap().write_all(b"x").unwrap_err();
    let error = object_store::Error::Generic { store: "LocalFileSystem", source: Box::new(source) };
    let error = error_of(error, None);
    assert!(matches!(error, BlobError::DiskFull), "{error:?}");
    assert_eq!(Problem::from(error).kind, STORAGE_FULL);
}

#[tokio::test]
async fn a_directory_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("blobs"), "a file").unwrap();
    let error = Blobs::open(&BlobsOptions::default(), dir.path()).unwrap_err().to_string();
    assert!(error.contains("blobs"), "{error}");
}

#[test]
fn a_url_survives_being_printed_and_others_are_refused() {
    for text in ["file:blobs", "file:/var/lib/paddock/blobs", "s3://bucket", "s3://bucket/a/b"] {
        assert_eq!(text.parse::<BlobsUrl>().unwrap().to_string(), text);
    }
    for text in ["", "blobs", "file:", "s3://", "s3://Bucket/x", "s3:///x", "gs://x"] {
        assert!(text.parse::<BlobsUrl>().is_err(), "{text}");
    }
}

type Objects = Arc<Mutex<BTreeMap<String, (Option<String>, Bytes)>>>;

/// As much of the S3 protocol as Paddock uses: it checks how we speak it, not how S3 behaves.
async fn answer_as_s3(
    State(objects): State<Objects>,
    Query(query): Query<BTreeMap<String, String>>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let authorization = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if !authorization.is_some_and(|text| text.contains("Credential=test-id/")) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let mut objects = objects.lock().unwrap_or_else(PoisonError::into_inner);
    let path = parts.uri.path().trim_start_matches("/bucket").trim_start_matches('/').to_owned();
    let modified = (header::LAST_MODIFIED, "Fri, 20 Nov 2026 12:00:00 GMT");
    match parts.method {
        Method::PUT => {
            let content_type =
                parts.headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap().to_owned());
            objects.insert(path, (content_type, body));
            [(header::ETAG, "\"1\"")].into_response()
        }
        Method::GET if query.contains_key("list-type") => {
            let prefix = query.get("prefix").cloned().unwrap_or_default();
            let mut answer = "<ListBucketResult><IsTruncated>false</IsTruncated>".to_owned();
            for (path, (_, bytes)) in objects.iter().filter(|(path, _)| path.starts_with(&prefix)) {
                let (modified, size) = ("2026-11-20T12:00:00.000Z", bytes.len().to_string());
                answer +=
                    &["<Contents><Key>", path, "</Key><LastModified>", modified, "</LastModified>"].concat();
                answer += &["<ETag>1</ETag><Size>", &size, "</Size></Contents>"].concat();
            }
            (answer + "</ListBucketResult>").into_response()
        }
        Method::GET => match objects.get(&path) {
            Some((_, bytes)) => ([modified, (header::ETAG, "\"1\"")], bytes.clone()).into_response(),
            None => StatusCode::NOT_FOUND.into_response(),
        },
        Method::DELETE => {
            objects.remove(&path);
            StatusCode::NO_CONTENT.into_response()
        }
        // Objects are also deleted in bulk: `POST ?delete` with a list of keys.
        Method::POST => {
            let text = String::from_utf8(body.to_vec()).unwrap();
            let mut answer = "<DeleteResult>".to_owned();
            for deleted in text.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next()) {
                objects.remove(deleted);
                answer += &["<Deleted><Key>", deleted, "</Key></Deleted>"].concat();
            }
            (answer + "</DeleteResult>").into_response()
        }
        _ => StatusCode::METHOD_NOT_ALLOWED.into_response(),
    }
}

async fn s3(tasks: &Tasks, dir: &tempfile::TempDir, id: &str) -> (BlobsOptions, Objects) {
    let objects = Objects::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().fallback(answer_as_s3).with_state(Arc::clone(&objects));
    let stopping = tasks.stop_token();
    tasks.spawn("s3", async move {
        axum::serve(listener, router).with_graceful_shutdown(stopping.cancelled_owned()).await.unwrap();
    });
    fs::write(dir.path().join("id"), id).unwrap();
    fs::write(dir.path().join("secret"), "test-secret\n").unwrap();
    let secret = |name| format!("file:{}", dir.path().join(name).display()).parse().unwrap();
    let options = BlobsOptions {
        url: "s3://bucket/some/prefix".parse().unwrap(),
        access_key_id: Some(secret("id")),
        secret_access_key: Some(secret("secret")),
        region: Some("eu-central-1".to_owned()),
        endpoint: Some(format!("http://{address}").parse().unwrap()),
        ..BlobsOptions::default()
    };
    (options, objects)
}

#[tokio::test]
async fn a_bucket_keeps_blobs_below_its_prefix_with_their_content_type() {
    let (tasks, dir) = (Tasks::default(), tempfile::tempdir().unwrap());
    let (options, objects) = s3(&tasks, &dir, "test-id").await;
    let blobs = Blobs::open(&options, dir.path()).unwrap();
    keeps_promises(&blobs).await;
    let objects = objects.lock().unwrap().clone();
    let (content_type, _) = &objects["some/prefix/analysis/1/a.png"];
    assert_eq!(content_type.as_deref(), Some("image/png"));
}

#[tokio::test]
async fn credentials_that_are_not_accepted_are_told_apart() {
    let (tasks, dir) = (Tasks::default(), tempfile::tempdir().unwrap());
    let (options, _) = s3(&tasks, &dir, "other-id").await;
    let blobs = Blobs::open(&options, dir.path()).unwrap();
    let error = blobs.get(&key("lab/a.bin")).await.unwrap_err();
    assert!(matches!(error, BlobError::Refused(_)), "{error:?}");
}

#[tokio::test]
async fn a_storage_that_does_not_answer_meets_the_deadline() {
    let (tasks, dir) = (Tasks::default(), tempfile::tempdir().unwrap());
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (options, _) = s3(&tasks, &dir, "test-id").await;
    let options = BlobsOptions {
        endpoint: Some(format!("http://{}", silent.local_addr().unwrap()).parse().unwrap()),
        timeout: Duration::from_millis(200).into(),
        ..options
    };
    let blobs = Blobs::open(&options, dir.path()).unwrap();
    let error = blobs.put(&key("lab/a.bin"), Bytes::from_static(b"x")).await.unwrap_err();
    assert_eq!(Problem::from(error).kind, BLOBS_UNAVAILABLE);
}

#[test]
fn what_a_crash_left_is_removed_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let below = dir.path().join("analysis/1");
    fs::create_dir_all(&below).unwrap();
    for name in ["report.html", "report.html#1", "notes#", "notes#a1"] {
        fs::write(below.join(name), "x").unwrap();
    }
    let in_use = std::time::SystemTime::now() - Duration::from_mins(1);
    remove_staged(dir.path(), in_use).unwrap();
    assert!(below.join("report.html#1").exists(), "it is being written");
    remove_staged(dir.path(), std::time::SystemTime::now() + Duration::from_secs(1)).unwrap();
    let mut left: Vec<_> = fs::read_dir(&below)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, ["notes#", "notes#a1", "report.html"]);
}
