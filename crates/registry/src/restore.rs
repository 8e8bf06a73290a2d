//! Makes entries again out of what the store kept of them.

use std::{borrow::Cow, sync::Arc};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    config::{RegistryOptions, SourceOptions},
    content::Content,
    entry::Entry,
    filter::Filter,
    format::Part,
    read::{Reading, meta_of, read},
    store::Kept,
};

#[derive(Deserialize)]
struct Rendered<'a> {
    #[serde(borrow)]
    server: &'a RawValue,
    #[serde(borrow, rename = "_meta")]
    meta: &'a RawValue,
}

/// The content that was kept of a source, as far as its options still take it.
pub(crate) fn content(kept: Vec<Kept>, options: &SourceOptions, registry: &RegistryOptions) -> Content {
    let reading = Reading {
        source: options.name.as_str().into(),
        claims: Arc::new(options.claims.clone()),
        size_max: registry.entry_size_max.as_usize(),
        strict: options.strict,
        now_ms: 0,
    };
    let filter = Filter::compile(&options.filter).unwrap_or_default();
    let mut entries: Vec<Arc<Entry>> = kept
        .into_iter()
        .filter_map(|kept| entry(&kept, &reading))
        .filter(|entry| filter.passes(&entry.name, &entry.version, &entry.tags))
        .map(Arc::new)
        .collect();
    entries.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    Content { entries: entries.into(), ..Content::default() }
}

fn entry(kept: &Kept, reading: &Reading) -> Option<Entry> {
    let text = std::str::from_utf8(&kept.rendered).ok()?;
    let rendered: Rendered<'_> = serde_json::from_str(text).ok()?;
    let meta = rendered.meta.get();
    // What the source asks by now is asked as well.
    let claims = kept.claims.as_ref().map(|own| Arc::new(own.with(&reading.claims)));
    let server = Cow::Borrowed(rendered.server.get());
    let part = Part { server, meta: Some(Cow::Borrowed(meta)), claims };
    let mut draft = read(&part, kept.content, reading).ok()?;
    let (_, _, own) = meta_of(Some(meta));
    let is_latest = draft.official.is_latest.unwrap_or_default();
    draft.official.is_latest = kept.upstream_latest;
    draft.first_seen_ms = own.first_seen?;
    let changed_ms = own.changed.unwrap_or(draft.first_seen_ms);
    // What was kept before checks were dated was checked when it changed.
    draft.checked_ms = own.checked.unwrap_or(changed_ms);
    Some(draft.render(is_latest, changed_ms))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{draft, supply};

    #[test]
    fn entries_come_back_as_they_were() {
        let mut second = draft("a.b/xyz", "2.0.0");
        second.official.is_latest = Some(true);
        second.foreign = vec![("x.y/z".to_owned(), "{\"a\":1}".into())];
        let content_before = supply("one", vec![draft("a.b/xyz", "1.0.0"), second]).content;
        let kept = content_before.entries.iter().map(|entry| Kept {
            upstream_latest: entry.upstream_latest,
            content: entry.content,
            rendered: entry.rendered.clone(),
            claims: None,
        });
        let options = SourceOptions { name: "one".to_owned(), ..SourceOptions::default() };
        let after = content(kept.collect(), &options, &RegistryOptions::default());
        assert_eq!(after.entries.len(), 2);
        for (before, after) in content_before.entries.iter().zip(after.entries.iter()) {
            assert_eq!(before.rendered, after.rendered);
            assert_eq!(before.upstream_latest, after.upstream_latest);
            assert_eq!((before.first_seen_ms, before.changed_ms), (after.first_seen_ms, after.changed_ms));
            assert_eq!(before.checked_ms, after.checked_ms);
        }
    }
}
