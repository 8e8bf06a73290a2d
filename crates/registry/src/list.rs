//! The official API's lists: which entries a query asks for, and the page that answers it.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use memchr::memmem::Finder;
use paddock_platform::{http::Prepared, problem::Problem};

use crate::{
    cursor::{Cursor, Filters},
    entry::Entry,
    version::{Published, newest_first},
    view::Selection,
};

const JSON: &str = "application/json";
/// Entries on a page when the client names no number.
const LIMIT_DEFAULT: u32 = 30;
/// The longest text to search for.
const SEARCH_LENGTH_MAX: usize = 200;

/// A query of the list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct ListQuery {
    limit: usize,
    /// The key after which the page begins.
    after: Option<(String, String)>,
    filters: Filters,
}

/// The page that a query string asks for, from memory if it was asked for before.
pub(crate) fn page(selection: &Selection, query: &str, limit_max: u32) -> Result<Arc<Prepared>, Problem> {
    if let Some(page) = selection.pages.get(query) {
        return Ok(page);
    }
    let parsed = ListQuery::parse(query, limit_max)?;
    let page = Arc::new(Prepared::new(JSON, parsed.render(selection)));
    selection.pages.insert(query, &page);
    Ok(page)
}

/// The page with all versions of a server, the newest first; none if there is no such server.
pub(crate) fn versions_page(
    selection: &Selection,
    name: &str,
    query: &str,
) -> Result<Option<Arc<Prepared>>, Problem> {
    let key = format!("versions of {name}?{query}");
    if let Some(page) = selection.pages.get(&key) {
        return Ok(Some(page));
    }
    let with_deleted = include_deleted(query)?;
    let mut versions: Vec<_> =
        selection.versions(name).iter().filter(|entry| with_deleted || !entry.is_deleted()).collect();
    if versions.is_empty() {
        return Ok(None);
    }
    versions.sort_by(|left, right| {
        newest_first(
            Published { version: &left.version, at_ms: left.published_ms },
            Published { version: &right.version, at_ms: right.published_ms },
        )
    });
    let page = Arc::new(Prepared::new(JSON, render(versions.into_iter(), None)));
    selection.pages.insert(&key, &page);
    Ok(Some(page))
}

/// Whether a query of a single server asks for the deleted, too.
pub(crate) fn include_deleted(query: &str) -> Result<bool, Problem> {
    for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
        if key == "include_deleted" {
            return flag("include_deleted", &value);
        }
    }
    Ok(false)
}

fn flag(parameter: &str, value: &str) -> Result<bool, Problem> {
    match value {
        "true" | "1" | "" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(Problem::invalid_field(parameter, "is neither `true` nor `false`")),
    }
}

impl ListQuery {
    /// Parameters that the API does not have are ignored: clients add their own.
    fn parse(query: &str, limit_max: u32) -> Result<Self, Problem> {
        let mut parsed = Self { limit: LIMIT_DEFAULT.min(limit_max) as usize, ..Self::default() };
        let mut cursor = None;
        for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match key.as_ref() {
                "limit" => parsed.limit = limit(&value, limit_max)?,
                "cursor" if !value.is_empty() => {
                    let decoded = Cursor::decode(&value).ok_or_else(|| {
                        Problem::invalid_field("cursor", "is not one of this list; start without it")
                    })?;
                    cursor = Some(decoded);
                }
                "search" if !value.is_empty() => {
                    if value.len() > SEARCH_LENGTH_MAX {
                        let message = format!("is longer than {SEARCH_LENGTH_MAX} bytes");
                        return Err(Problem::invalid_field("search", message));
                    }
                    parsed.filters.search = Some(value.to_lowercase());
                }
                "updated_since" if !value.is_empty() => {
                    // A `+` that was not escaped arrives as a space.
                    let since: Timestamp = value.replace(' ', "+").parse().map_err(|_| {
                        Problem::invalid_field(
                            "updated_since",
                            "is not a time such as `2026-08-01T00:00:00Z`",
                        )
                    })?;
                    parsed.filters.updated_since_ms = Some(since.as_millisecond());
                }
                "version" if !value.is_empty() => parsed.filters.version = Some(value.into_owned()),
                "include_deleted" => parsed.filters.include_deleted = Some(flag("include_deleted", &value)?),
                _ => {}
            }
        }
        if let Some(cursor) = cursor {
            parsed.filters = parsed.filters.or(cursor.filters);
            parsed.after = Some((cursor.name, cursor.version));
        }
        Ok(parsed)
    }

    fn render<'s>(&self, selection: &'s Selection) -> Bytes {
        let only_latest = self.filters.version.as_deref() == Some("latest");
        let mut found: Vec<&'s Arc<Entry>> = Vec::with_capacity(self.limit.min(1_000) + 1);
        let wanted = Wanted::new(&self.filters);
        let mut take = |entry: &'s Arc<Entry>| {
            if wanted.matches(entry) {
                found.push(entry);
            }
            found.len() <= self.limit
        };
        if only_latest {
            let start = self.after.as_ref().map_or(0, |(name, _)| {
                // One version of each name: whichever was shown, the next name is next.
                selection.latest.partition_point(|&index| {
                    selection.entries[index as usize].name.as_ref() <= name.as_str()
                })
            });
            let _ = selection.latest[start..].iter().all(|&index| take(&selection.entries[index as usize]));
        } else {
            let start = self.after.as_ref().map_or(0, |(name, version)| {
                selection.entries.partition_point(|entry| {
                    (entry.name.as_ref(), entry.version.as_ref()) <= (name.as_str(), version.as_str())
                })
            });
            let _ = selection.entries[start..].iter().all(&mut take);
        }
        let is_last = found.len() <= self.limit;
        found.truncate(self.limit);
        let next = found.last().filter(|_| !is_last).map(|last| Cursor {
            name: last.name.to_string(),
            version: if only_latest { String::new() } else { last.version.to_string() },
            filters: self.filters.clone(),
        });
        render(found.into_iter(), next)
    }
}

/// A number below one is a mistake; one that is too large gets as much as there is.
fn limit(value: &str, limit_max: u32) -> Result<usize, Problem> {
    match value.parse::<u32>() {
        Ok(limit) if limit > 0 => Ok(limit.min(limit_max) as usize),
        _ => Err(Problem::invalid_field("limit", format!("is not a number from 1 to {limit_max}"))),
    }
}

/// Filters, ready to be applied.
struct Wanted<'f> {
    search: Option<Finder<'f>>,
    updated_since_ms: Option<i64>,
    version: Option<&'f str>,
    with_deleted: bool,
}

impl<'f> Wanted<'f> {
    fn new(filters: &'f Filters) -> Self {
        Self {
            search: filters.search.as_deref().map(Finder::new),
            updated_since_ms: filters.updated_since_ms,
            version: filters.version.as_deref(),
            // Who asks for changes must learn of deletions.
            with_deleted: filters.updated_since_ms.is_some() || filters.include_deleted == Some(true),
        }
    }

    fn matches(&self, entry: &Entry) -> bool {
        (self.with_deleted || !entry.is_deleted())
            && self.updated_since_ms.is_none_or(|since| entry.updated_ms.max(entry.changed_ms) >= since)
            && self.version.is_none_or(|version| match version {
                "latest" => entry.is_latest,
                version => *entry.version == *version,
            })
            && self.search.as_ref().is_none_or(|search| search.find(entry.haystack.as_bytes()).is_some())
    }
}

/// A page out of entries that are rendered already.
fn render<'e>(entries: impl ExactSizeIterator<Item = &'e Arc<Entry>> + Clone, next: Option<Cursor>) -> Bytes {
    let count = entries.len();
    let length: usize = entries.clone().map(|entry| entry.rendered.len() + 1).sum();
    let mut out = Vec::with_capacity(length + 256);
    out.extend_from_slice(b"{\"servers\":[");
    for (index, entry) in entries.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(&entry.rendered);
    }
    out.extend_from_slice(b"],\"metadata\":{");
    if let Some(next) = next {
        out.extend_from_slice(b"\"nextCursor\":\"");
        out.extend_from_slice(next.encode().as_bytes());
        out.extend_from_slice(b"\",");
    }
    out.extend_from_slice(format!("\"count\":{count}}}}}").as_bytes());
    out.into()
}

#[cfg(test)]
#[path = "list_tests.rs"]
mod tests;
