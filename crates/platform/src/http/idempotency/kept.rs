//! Answers in the store: they are there after a restart, and for all servers that share it.

use std::time::Duration;

use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use jiff::Timestamp;

use super::{AnswerStore, KeptAnswer};
use crate::{
    params,
    problem::Problem,
    store::{Migration, Migrations, Row, Statement, Store, StoreError},
};

/// The schema.
const MIGRATIONS: Migrations = Migrations::new("idempotency", &[CREATE]);

/// How long an answer is kept.
const KEPT_FOR: Duration = Duration::from_hours(24);
/// Answers that are kept at most; the oldest go first.
const ANSWERS_MAX: u32 = 10_000;

const CREATE: Migration = Migration::new(
    1,
    "create kept answers",
    "CREATE TABLE kept_answers (
        id TEXT PRIMARY KEY,
        request BLOB NOT NULL,
        status BIGINT NOT NULL,
        headers TEXT NOT NULL,
        body BLOB NOT NULL,
        kept_at BIGINT NOT NULL
    );
    CREATE INDEX kept_answers_by_age ON kept_answers (kept_at)",
)
.with_postgres(
    "CREATE TABLE kept_answers (
        id TEXT PRIMARY KEY,
        request BYTEA NOT NULL,
        status BIGINT NOT NULL,
        headers TEXT NOT NULL,
        body BYTEA NOT NULL,
        kept_at BIGINT NOT NULL
    );
    CREATE INDEX kept_answers_by_age ON kept_answers (kept_at)",
);

static FIND: Statement = Statement::new(
    "idempotency",
    "find",
    "SELECT request, status, headers, body FROM kept_answers WHERE id = ?1 AND kept_at >= ?2",
);
static FORGET: Statement = Statement::new(
    "idempotency",
    "forget",
    "DELETE FROM kept_answers WHERE kept_at < ?1 \
     OR kept_at < (SELECT kept_at FROM kept_answers ORDER BY kept_at DESC LIMIT 1 OFFSET ?2)",
);
static KEEP: Statement = Statement::new(
    "idempotency",
    "keep",
    "INSERT INTO kept_answers (id, request, status, headers, body, kept_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
     ON CONFLICT (id) DO UPDATE SET request = excluded.request, status = excluded.status, \
     headers = excluded.headers, body = excluded.body, kept_at = excluded.kept_at",
);

/// Keeps answers in the store for a day, 10,000 of them at most.
#[derive(Clone, Debug)]
pub struct AnswersInStore(Store);

impl AnswersInStore {
    /// The answers in a store; migrates their schema.
    pub async fn open(store: Store) -> Result<Self, StoreError> {
        store.migrate(&MIGRATIONS).await?;
        Ok(Self(store))
    }
}

impl AnswerStore for AnswersInStore {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<KeptAnswer>, Problem>> {
        Box::pin(async move {
            let since = Timestamp::now() - KEPT_FOR;
            let row = self.0.query_first(&FIND, params![key, since]).await?;
            Ok(row.as_ref().map(answer_of).transpose()?)
        })
    }

    fn put(&self, key: String, answer: KeptAnswer) -> BoxFuture<'_, Result<(), Problem>> {
        let now = Timestamp::now();
        let KeptAnswer { request, status, headers, body } = answer;
        let headers = text_of(&headers);
        Box::pin(async move {
            let kept = self.0.write(move |tx| {
                Box::pin(async move {
                    tx.execute(&FORGET, params![now - KEPT_FOR, ANSWERS_MAX]).await?;
                    let status = status.as_u16();
                    let answer = params![key, request.to_vec(), status, headers, body, now];
                    tx.execute(&KEEP, answer).await.map(drop)
                })
            });
            Ok(kept.await?)
        })
    }
}

fn answer_of(row: &Row) -> Result<KeptAnswer, StoreError> {
    let broken = || StoreError::Corrupt("an answer that was kept cannot be read".to_owned());
    let request: Vec<u8> = row.get(0)?;
    let headers: String = row.get(2)?;
    Ok(KeptAnswer {
        request: request.try_into().map_err(|_| broken())?,
        status: StatusCode::from_u16(row.get(1)?).map_err(|_| broken())?,
        headers: headers_of(&headers),
        body: row.get(3)?,
    })
}

/// As on the wire: a line per header. Values that are no text are not worth keeping.
fn text_of(headers: &HeaderMap) -> String {
    let line =
        |(name, value): (&HeaderName, &HeaderValue)| Some(format!("{name}: {}\n", value.to_str().ok()?));
    headers.iter().filter_map(line).collect()
}

fn headers_of(text: &str) -> HeaderMap {
    let header = |line: &str| {
        let (name, value) = line.split_once(": ")?;
        Some((name.parse::<HeaderName>().ok()?, HeaderValue::from_str(value).ok()?))
    };
    text.lines().filter_map(header).collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::header;

    use super::*;
    use crate::store::testing::on_each_engine;

    #[tokio::test]
    async fn an_answer_is_there_after_a_restart() {
        on_each_engine(async |fixture| {
            let answer = |body: &'static str| KeptAnswer {
                request: [7; 32],
                status: StatusCode::CREATED,
                headers: HeaderMap::from_iter([(header::LOCATION, HeaderValue::from_static("/orders/1"))]),
                body: Bytes::from_static(body.as_bytes()),
            };
            let answers = AnswersInStore::open(fixture.open().await).await.unwrap();
            answers.put("local\n\nk1".to_owned(), answer("first")).await.unwrap();
            answers.put("local\n\nk1".to_owned(), answer("second")).await.unwrap();
            drop(answers);
            let answers = AnswersInStore::open(fixture.open().await).await.unwrap();
            let kept = answers.get("local\n\nk1").await.unwrap().unwrap();
            assert_eq!((kept.request, kept.status), ([7; 32], StatusCode::CREATED));
            assert_eq!((kept.headers, kept.body), (answer("").headers, Bytes::from_static(b"second")));
            assert!(answers.get("local\n\nk2").await.unwrap().is_none());
        })
        .await;
    }

    #[tokio::test]
    async fn an_answer_of_the_day_before_is_forgotten() {
        on_each_engine(async |fixture| {
            let store = fixture.open().await;
            let answers = AnswersInStore::open(store.clone()).await.unwrap();
            let long_ago = Timestamp::now() - KEPT_FOR - Duration::from_mins(1);
            let old = params!["old", vec![7_u8; 32], 200_u16, "", vec![1_u8], long_ago];
            store.execute(&KEEP, old).await.unwrap();
            assert!(answers.get("old").await.unwrap().is_none());
        })
        .await;
    }
}
