//! Web storage by origin, as it is kept for hibernation: fed by events, bounded.

use std::collections::BTreeMap;

use paddock_cdp::Event;
use serde::{Deserialize, Serialize};
use url::Url;

/// The items of one origin.
pub(crate) type Items = BTreeMap<String, String>;

/// Storage areas by origin. What would make them larger than their maximum is not taken in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Areas(BTreeMap<String, Items>);

/// What an event is about.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Change {
    storage_id: StorageId,
    #[serde(default)]
    key: String,
    #[serde(default)]
    new_value: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StorageId {
    storage_key: Option<String>,
    security_origin: Option<String>,
    is_local_storage: bool,
}

/// An event taken apart.
#[derive(Debug)]
pub(crate) struct StorageChange {
    /// `localStorage`, as opposed to `sessionStorage`.
    pub(crate) local: bool,
    origin: String,
    method: &'static str,
    key: String,
    value: String,
}

impl StorageChange {
    /// Reads an event; none if it is not about the storage of a first-party origin.
    pub(crate) fn of(event: &Event) -> Option<Self> {
        let Change { storage_id, key, new_value } = event.parse().ok()?;
        let name = storage_id.storage_key.or(storage_id.security_origin)?;
        // A key with a `^` is a partition of a third party inside another site.
        if name.contains('^') {
            return None;
        }
        let origin = origin_of(&name)?;
        Some(Self { local: storage_id.is_local_storage, origin, method: event.method, key, value: new_value })
    }
}

/// The origin of an address as pages spell it; none for those without one, such as `about:blank`.
pub(crate) fn origin_of(url: &str) -> Option<String> {
    let origin = Url::parse(url).ok()?.origin();
    origin.is_tuple().then(|| origin.ascii_serialization())
}

impl Areas {
    /// Takes a change in, unless that makes the whole larger than `size_max` bytes.
    pub(crate) fn apply(&mut self, change: StorageChange, size_max: usize) {
        let StorageChange { origin, method, key, value, .. } = change;
        match method {
            "DOMStorage.domStorageItemsCleared" => {
                self.0.remove(&origin);
            }
            "DOMStorage.domStorageItemRemoved" => {
                if let Some(items) = self.0.get_mut(&origin) {
                    items.remove(&key);
                    if items.is_empty() {
                        self.0.remove(&origin);
                    }
                }
            }
            _ => {
                if self.size() + origin.len() + key.len() + value.len() <= size_max {
                    self.0.entry(origin).or_default().insert(key, value);
                }
            }
        }
    }

    /// Replaces what is known of an origin by what was read there.
    pub(crate) fn replace(&mut self, origin: &str, items: Items, size_max: usize) {
        self.0.remove(origin);
        let size: usize = items.iter().map(|(key, value)| key.len() + value.len()).sum();
        if !items.is_empty() && self.size() + origin.len() + size <= size_max {
            self.0.insert(origin.to_owned(), items);
        }
    }

    /// Bytes of all names and values.
    pub(crate) fn size(&self) -> usize {
        let items = |items: &Items| items.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
        self.0.iter().map(|(origin, area)| origin.len() + items(area)).sum()
    }

    pub(crate) fn origins(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The areas of these origins, as a script takes them: names are data, not members (`__proto__` is a fine key).
    pub(crate) fn pairs<'a>(
        &'a self,
        of: impl Fn(&str) -> bool + 'a,
    ) -> Vec<(&'a str, Vec<(&'a str, &'a str)>)> {
        let pairs = |items: &'a Items| items.iter().map(|(key, value)| (&**key, &**value)).collect();
        self.0
            .iter()
            .filter(|(origin, _)| of(origin))
            .map(|(origin, items)| (&**origin, pairs(items)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use paddock_cdp::Payload;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const EVENTS: [&str; 4] = [
        "DOMStorage.domStorageItemAdded",
        "DOMStorage.domStorageItemUpdated",
        "DOMStorage.domStorageItemRemoved",
        "DOMStorage.domStorageItemsCleared",
    ];

    fn change(kind: usize, storage_key: &str, key: &str, value: &str) -> Option<StorageChange> {
        let id = json!({ "storageKey": storage_key, "isLocalStorage": true });
        let params = json!({ "storageId": id, "key": key, "newValue": value });
        StorageChange::of(&Event { method: EVENTS[kind], params: Payload::from_json(&params) })
    }

    #[test]
    fn changes_add_up_to_what_the_page_has() {
        let mut areas = Areas::default();
        for (kind, key, value) in [(0, "a", "1"), (0, "b", "2"), (1, "a", "3"), (2, "b", "")] {
            areas.apply(change(kind, "http://a.test:8080/", key, value).unwrap(), 1000);
        }
        assert_eq!(areas.pairs(|_| true), [("http://a.test:8080", vec![("a", "3")])]);
        areas.apply(change(3, "http://a.test:8080/", "", "").unwrap(), 1000);
        assert!(areas.is_empty());
    }

    #[test]
    fn storage_of_third_parties_and_of_no_origin_is_left_out() {
        assert!(change(0, "https://a.test/^0https://b.test", "k", "v").is_none());
        assert!(change(0, "null", "k", "v").is_none());
        assert_eq!(origin_of("about:blank"), None);
        assert_eq!(origin_of("https://a.test:443/x"), Some("https://a.test".to_owned()));
    }

    proptest! {
        #[test]
        fn no_sequence_of_changes_exceeds_the_maximum(
            steps in prop::collection::vec((0_usize..4, 0_u8..3, "[a-c]{0,3}", "[a-z]{0,20}"), 0..80),
        ) {
            let mut areas = Areas::default();
            for (kind, origin, key, value) in steps {
                areas.apply(change(kind, &format!("http://{origin}.test/"), &key, &value).unwrap(), 200);
                prop_assert!(areas.size() <= 200);
            }
        }
    }
}
