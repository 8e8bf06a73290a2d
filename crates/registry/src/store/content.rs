//! The last good content of sources.
//!
//! A part is a zstd frame of records, one after the other: what upstream said of being the latest (0: nothing, 1: no,
//! 2: yes), the hash of what the source gave, the length, and the entry as it is served. Four more than that in the first
//! byte: the length and the claims of the entry follow, which differ from those of its source.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
    sync::Arc,
};

use bytes::Bytes;
use paddock_platform::{params, store::StoreError, task::background};

use super::{RegistryStore, sql};
use crate::{
    claims::Claims,
    content::Content,
    entry::{ContentHash, Entry},
    read::Refused,
};

const PARTS: u64 = 256;
/// Where what was kept out is kept.
const REFUSED_PART: i64 = -1;
const LEVEL: i32 = 3;
/// In the first byte of a record: claims follow.
const OWN_CLAIMS: u8 = 4;
/// What one part may be when it is unpacked.
const PART_SIZE_MAX: u64 = 1 << 30;

/// An entry as it was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) upstream_latest: Option<bool>,
    pub(crate) content: ContentHash,
    pub(crate) rendered: Bytes,
    /// What a caller must claim, where that is not what the source asks.
    pub(crate) claims: Option<Claims>,
}

impl RegistryStore {
    /// The entries of a source as they were kept, and what was kept out. What cannot be read of them is left out.
    pub(crate) async fn load_content(&self, source: &str) -> Result<(Vec<Kept>, Vec<Refused>), StoreError> {
        let rows = self.store.query(&sql::LOAD_CONTENT, params![source]).await?;
        let (mut parts, mut refused) = (Vec::with_capacity(rows.len()), Vec::new());
        for row in &rows {
            let (part, data): (i64, Bytes) = (row.get(0)?, row.get(1)?);
            if part == REFUSED_PART {
                let text = zstd::stream::decode_all(&data[..]).unwrap_or_default();
                refused = serde_json::from_slice(&text).unwrap_or_default();
            } else {
                parts.push(data);
            }
        }
        let unpack = move || parts.iter().flat_map(|part| unpack(part).unwrap_or_default()).collect();
        let kept = background(unpack).await.unwrap_or_default();
        Ok((kept, refused))
    }

    /// Keeps what was kept out of a source.
    pub(crate) async fn save_refused(&self, source: &str, refused: &[Refused]) -> Result<(), StoreError> {
        let text = serde_json::to_vec(refused).unwrap_or_default();
        let data = zstd::bulk::compress(&text, LEVEL).unwrap_or_default();
        self.store.execute(&sql::SAVE_PART, params![source, REFUSED_PART, data]).await.map(|_| ())
    }

    /// Keeps the parts of the content that hold these names.
    pub(crate) async fn save_content<'n>(
        &self,
        source: &str,
        claims: &Claims,
        content: Arc<Content>,
        names: impl IntoIterator<Item = &'n Arc<str>>,
    ) -> Result<(), StoreError> {
        let parts: BTreeSet<u64> = names.into_iter().map(|name| part_of(name)).collect();
        if parts.is_empty() {
            return Ok(());
        }
        let claims = claims.clone();
        let packed = background(move || pack(&content, &claims, &parts)).await.unwrap_or_default();
        let source = source.to_owned();
        let write = self.store.write(move |tx| {
            Box::pin(async move {
                for (part, data) in packed {
                    let part = i64::try_from(part).unwrap_or_default();
                    if data.is_empty() {
                        tx.execute(&sql::DELETE_PART, params![&source, part]).await?;
                    } else {
                        tx.execute(&sql::SAVE_PART, params![&source, part, data]).await?;
                    }
                }
                Ok(())
            })
        });
        write.await
    }
}

/// Which part a server belongs to: FNV-1a, which is the same on every machine and in every version.
fn part_of(name: &str) -> u64 {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    (hash ^ (hash >> 32)) % PARTS
}

/// The parts of the content, compressed one after the other; a part without entries is empty.
fn pack(content: &Content, claims: &Claims, parts: &BTreeSet<u64>) -> BTreeMap<u64, Vec<u8>> {
    let mut entries: BTreeMap<u64, Vec<&Entry>> = parts.iter().map(|part| (*part, Vec::new())).collect();
    for entry in content.entries.iter() {
        if let Some(entries) = entries.get_mut(&part_of(&entry.name)) {
            entries.push(entry);
        }
    }
    let mut records = Vec::new();
    let compressed = entries.into_iter().map(|(part, entries)| {
        records.clear();
        for entry in entries {
            pack_entry(&mut records, claims, entry);
        }
        // Compressing into memory fails only for want of it.
        let data = if records.is_empty() { Ok(Vec::new()) } else { zstd::bulk::compress(&records, LEVEL) };
        (part, data.unwrap_or_default())
    });
    compressed.collect()
}

fn pack_entry(out: &mut Vec<u8>, claims: &Claims, entry: &Entry) {
    let has_own = *entry.claims != *claims;
    let latest = match entry.upstream_latest {
        None => 0,
        Some(false) => 1,
        Some(true) => 2,
    };
    out.push(if has_own { latest | OWN_CLAIMS } else { latest });
    out.extend_from_slice(&entry.content);
    pack_text(out, &entry.rendered);
    if has_own {
        pack_text(out, &serde_json::to_vec(&*entry.claims).unwrap_or_default());
    }
}

fn pack_text(out: &mut Vec<u8>, text: &[u8]) {
    out.extend_from_slice(&(text.len() as u32).to_le_bytes());
    out.extend_from_slice(text);
}

/// A text at a position, and the position after it.
fn unpack_text(bytes: &Bytes, at: usize) -> Option<(Bytes, usize)> {
    let length = u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize;
    let text = bytes.get(at + 4..at + 4 + length)?;
    Some((Bytes::copy_from_slice(text), at + 4 + length))
}

fn unpack(part: &[u8]) -> Option<Vec<Kept>> {
    let mut bytes = Vec::new();
    zstd::stream::read::Decoder::new(part).ok()?.take(PART_SIZE_MAX).read_to_end(&mut bytes).ok()?;
    let bytes = Bytes::from(bytes);
    let (mut kept, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let header = bytes.get(at..at + 17)?;
        let content: ContentHash = header.get(1..17)?.try_into().ok()?;
        let has_own = header[0] & OWN_CLAIMS != 0;
        let upstream_latest = match header[0] & !OWN_CLAIMS {
            0 => None,
            latest => Some(latest == 2),
        };
        let (rendered, end) = unpack_text(&bytes, at + 17)?;
        at = end;
        let mut claims = None;
        if has_own {
            let (text, end) = unpack_text(&bytes, at)?;
            // What cannot be read might have hidden the entry.
            claims = Some(serde_json::from_slice(&text).ok()?);
            at = end;
        }
        kept.push(Kept { upstream_latest, content, rendered, claims });
    }
    Some(kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{draft, supply};

    #[test]
    fn parts_hold_what_was_put_in() {
        let drafts = (0..600).map(|index| draft(&format!("a.b/s{index}"), "1.0.0")).collect();
        let content = supply("one", drafts).content;
        let all = (0..PARTS).collect();
        let mut kept: Vec<Kept> = pack(&content, &Claims::default(), &all)
            .values()
            .filter_map(|part| unpack(part))
            .flatten()
            .collect();
        kept.sort_by_key(|kept| kept.content);
        let mut entries: Vec<_> = content.entries.iter().collect();
        entries.sort_by_key(|entry| entry.content);
        assert_eq!(kept.len(), 600);
        assert!(kept.iter().zip(entries).all(|(kept, entry)| kept.rendered == entry.rendered));
    }

    #[test]
    fn claims_that_are_not_the_sources_are_kept_with_the_entry() {
        let team = Claims::from_pairs([("team", &["a"])]);
        let mut claimed = draft("a.b/claimed", "1.0.0");
        claimed.official.is_latest = Some(true);
        claimed.claims = Arc::new(team.clone());
        let content = supply("one", vec![claimed, draft("a.b/free", "1.0.0")]).content;
        let unpacked = |claims: &Claims| -> Vec<Kept> {
            let parts = pack(&content, claims, &(0..PARTS).collect());
            let mut kept: Vec<Kept> = parts.values().filter_map(|part| unpack(part)).flatten().collect();
            kept.sort_by_key(|kept| !kept.rendered.windows(7).any(|window| window == b"claimed"));
            kept
        };
        let kept = unpacked(&Claims::default());
        assert_eq!((kept[0].upstream_latest, &kept[0].claims), (Some(true), &Some(team.clone())));
        assert_eq!(kept[1].claims, None);
        let kept = unpacked(&team);
        assert_eq!((&kept[0].claims, &kept[1].claims), (&None, &Some(Claims::default())));
    }

    #[test]
    fn a_damaged_part_is_told_and_not_believed() {
        assert_eq!(unpack(b"not a frame"), None);
        let cut = zstd::bulk::compress(&[2; 30], LEVEL).unwrap();
        assert_eq!(unpack(&cut), None);
    }
}
