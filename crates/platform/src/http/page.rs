//! Keyset pagination: a page of a list, and an opaque cursor that continues it.
//!
//! The cursor carries the query it was made for and the key of the last item, so that the next page needs only the
//! cursor, and cannot be asked with another filter by mistake. Keys instead of offsets: nothing is skipped or shown
//! twice when the list changes meanwhile, and the last page costs no more than the first. A cursor is checked against
//! damage, not secret: what a caller may see is decided by its key on every page.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use utoipa::ToSchema;

use crate::problem::Problem;

/// Items on a page when the caller names no number.
pub const PAGE_LIMIT_DEFAULT: u32 = 50;
/// Items on a page at most.
pub const PAGE_LIMIT_MAX: u32 = 500;
/// The longest cursor: a query string of a client that follows limits of 2,000 characters still has room for it.
const CURSOR_LENGTH_MAX: usize = 1500;
const CHECK_LENGTH: usize = 4;

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct Page<T> {
    /// The items, in the list's order.
    pub items: Vec<T>,
    /// Ask with `cursor=` this for the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// Makes a page of at most `limit` items out of one more than that, as a store query with `LIMIT limit + 1` gives:
    /// the extra one only tells that there is a next page. `key` is what the list is ordered by.
    pub fn from_overfetched<Q: Serialize, K: Serialize>(
        mut items: Vec<T>,
        limit: u32,
        query: &Q,
        key: impl Fn(&T) -> K,
    ) -> Result<Self, Problem> {
        let more = items.len() > limit as usize;
        items.truncate(limit as usize);
        let next = match items.last() {
            Some(last) if more => Some(Cursor { query, limit, after: key(last) }.encode()?),
            _ => None,
        };
        Ok(Self { items, next })
    }
}

/// Where a list continues.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor<Q, K> {
    /// The query (filter and order) that the list was asked with.
    #[serde(rename = "q")]
    pub query: Q,
    /// Items per page, 1 to [`PAGE_LIMIT_MAX`].
    #[serde(rename = "l")]
    pub limit: u32,
    /// The key of the last item that was shown.
    #[serde(rename = "k")]
    pub after: K,
}

impl<Q: Serialize, K: Serialize> Cursor<Q, K> {
    /// The cursor as text that is safe in a URL.
    pub fn encode(&self) -> Result<String, Problem> {
        let json = serde_json::to_vec(self).map_err(|error| Problem::internal("making a cursor", &error))?;
        let mut bytes = check_of(&json).to_vec();
        bytes.extend_from_slice(&json);
        let text = BASE64_URL_SAFE_NO_PAD.encode(bytes);
        if text.len() > CURSOR_LENGTH_MAX {
            return Err(Problem::invalid_field("query", "is too long to be continued page by page"));
        }
        Ok(text)
    }
}

impl<Q: DeserializeOwned, K: DeserializeOwned> Cursor<Q, K> {
    /// Reads what [`Cursor::encode`] made; anything else is a problem that names the parameter `cursor`.
    pub fn decode(text: &str) -> Result<Self, Problem> {
        let cursor = || {
            let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
            let (check, json) = bytes.split_at_checked(CHECK_LENGTH)?;
            (check == check_of(json)).then(|| serde_json::from_slice::<Self>(json).ok())?
        };
        // The check keeps out accidents, not people: who makes a cursor up must not choose the size of a page.
        let cursor = || cursor().filter(|cursor| (1..=PAGE_LIMIT_MAX).contains(&cursor.limit));
        let cursor = (text.len() <= CURSOR_LENGTH_MAX).then(cursor).flatten();
        cursor.ok_or_else(|| Problem::invalid_field("cursor", "is not one of this list; start without it"))
    }
}

fn check_of(json: &[u8]) -> [u8; CHECK_LENGTH] {
    let mut check = [0; CHECK_LENGTH];
    check.copy_from_slice(&blake3::hash(json).as_bytes()[..CHECK_LENGTH]);
    check
}

/// The pagination part of a list's query string. A list's own filters are further fields of its query type.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct PageQuery {
    /// Items per page, 1 to 500.
    pub limit: Option<u32>,
    /// `next` of the page before.
    pub cursor: Option<String>,
}

/// Checks a `limit` parameter; absent it is [`PAGE_LIMIT_DEFAULT`].
pub fn page_limit(limit: Option<u32>) -> Result<u32, Problem> {
    match limit.unwrap_or(PAGE_LIMIT_DEFAULT) {
        limit @ 1..=PAGE_LIMIT_MAX => Ok(limit),
        other => Err(Problem::invalid_field("limit", format_args!("{other} is not 1 to {PAGE_LIMIT_MAX}"))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Named = Cursor<String, (i64, String)>;

    #[test]
    fn following_cursors_shows_every_item_once() {
        let all: Vec<u32> = (0..23).collect();
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let rest = all.iter().copied().filter(|item| after.is_none_or(|after| *item > after));
            let page = Page::from_overfetched(rest.take(6).collect(), 5, &"filter", |item| *item).unwrap();
            seen.extend(page.items);
            let Some(next) = page.next else { break };
            let cursor = Cursor::<String, u32>::decode(&next).unwrap();
            assert_eq!((cursor.query.as_str(), cursor.limit), ("filter", 5));
            after = Some(cursor.after);
        }
        assert_eq!(seen, all);
    }

    #[test]
    fn a_limit_out_of_bounds_is_refused() {
        assert_eq!(page_limit(None).unwrap(), PAGE_LIMIT_DEFAULT);
        for limit in [0, PAGE_LIMIT_MAX + 1] {
            assert!(page_limit(Some(limit)).unwrap_err().detail.contains("limit"));
        }
    }

    #[test]
    fn a_made_up_cursor_cannot_ask_for_a_larger_page() {
        let decoded = |limit| {
            let cursor = Named { query: "q".to_owned(), limit, after: (7, "n".to_owned()) };
            Named::decode(&cursor.encode().unwrap())
        };
        for limit in [0, PAGE_LIMIT_MAX + 1, u32::MAX] {
            assert!(decoded(limit).unwrap_err().detail.contains("cursor"), "{limit}");
        }
        assert_eq!(decoded(PAGE_LIMIT_MAX).unwrap().limit, PAGE_LIMIT_MAX);
    }

    proptest! {
        #[test]
        fn a_cursor_survives_the_url(query in ".{0,40}", limit in 1..=PAGE_LIMIT_MAX, number: i64, name in ".{0,40}") {
            let cursor = Named { query, limit, after: (number, name) };
            let text = cursor.encode().unwrap();
            prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
            prop_assert_eq!(Named::decode(&text).unwrap(), cursor);
        }

        #[test]
        fn a_damaged_cursor_is_refused(number: i64, at: prop::sample::Index, to in "[A-Za-z0-9_-]") {
            let text = Named { query: "q".to_owned(), limit: 5, after: (number, "n".to_owned()) }.encode().unwrap();
            let at = at.index(text.len());
            let mut damaged = text.clone();
            damaged.replace_range(at..=at, &to);
            prop_assume!(damaged != text);
            prop_assert!(Named::decode(&damaged).is_err());
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,64}") {
            prop_assert!(Named::decode(&text).is_err());
        }
    }
}
