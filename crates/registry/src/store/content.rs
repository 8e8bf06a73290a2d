//! The last good content of sources.
//!
//! A part is a zstd frame of records, one after the other: what upstream said of being the latest (0: nothing, 1: no,
//! 2: yes), the hash of what the source gave, the length, and the entry as it is served.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
    sync::Arc,
};

use bytes::Bytes;
use paddock_platform::{params, store::StoreError, task::background};

use super::{RegistryStore, sql};
use crate::{
    content::Content,
    entry::{ContentHash, Entry},
    read::Refused,
};

const PARTS: u64 = 256;
/// Where what was kept out is kept.
const REFUSED_PART: i64 = -1;
const LEVEL: i32 = 3;
/// What one part may be when it is unpacked.
const PART_SIZE_MAX: u64 = 1 << 30;

/// An entry as it was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) upstream_latest: Option<bool>,
    pub(crate) content: ContentHash,
    pub(crate) rendered: Bytes,
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
        content: Arc<Content>,
        names: impl IntoIterator<Item = &'n Arc<str>>,
    ) -> Result<(), StoreError> {
        let parts: BTreeSet<u64> = names.into_iter().map(|name| part_of(name)).collect();
        if parts.is_empty() {
            return Ok(());
        }
        let packed = background(move || pack(&content, &parts)).await.unwrap_or_default();
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
fn pack(content: &Content, parts: &BTreeSet<u64>) -> BTreeMap<u64, Vec<u8>> {
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
            pack_entry(&mut records, entry);
        }
        // Compressing into memory fails only for want of it.
        let data = if records.is_empty() { Ok(Vec::new()) } else { zstd::bulk::compress(&records, LEVEL) };
        (part, data.unwrap_or_default())
    });
    compressed.collect()
}

fn pack_entry(out: &mut Vec<u8>, entry: &Entry) {
    out.push(match entry.upstream_latest {
        None => 0,
        Some(false) => 1,
        Some(true) => 2,
    });
    out.extend_from_slice(&entry.content);
    out.extend_from_slice(&(entry.rendered.len() as u32).to_le_bytes());
    out.extend_from_slice(&entry.rendered);
}

fn unpack(part: &[u8]) -> Option<Vec<Kept>> {
    let mut bytes = Vec::new();
    zstd::stream::read::Decoder::new(part).ok()?.take(PART_SIZE_MAX).read_to_end(&mut bytes).ok()?;
    let bytes = Bytes::from(bytes);
    let (mut kept, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let header = bytes.get(at..at + 21)?;
        let content: ContentHash = header.get(1..17)?.try_into().ok()?;
        let length = u32::from_le_bytes(header.get(17..21)?.try_into().ok()?) as usize;
        let upstream_latest = match header[0] {
            0 => None,
            latest => Some(latest == 2),
        };
        at += 21;
        let rendered = Bytes::copy_from_slice(bytes.get(at..at + length)?);
        kept.push(Kept { upstream_latest, content, rendered });
        at += length;
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
        let mut kept: Vec<Kept> =
            pack(&content, &all).values().filter_map(|part| unpack(part)).flatten().collect();
        kept.sort_by_key(|kept| kept.content);
        let mut entries: Vec<_> = content.entries.iter().collect();
        entries.sort_by_key(|entry| entry.content);
        assert_eq!(kept.len(), 600);
        assert!(kept.iter().zip(entries).all(|(kept, entry)| kept.rendered == entry.rendered));
    }

    #[test]
    fn a_damaged_part_is_told_and_not_believed() {
        assert_eq!(unpack(b"not a frame"), None);
        let cut = zstd::bulk::compress(&[2; 30], LEVEL).unwrap();
        assert_eq!(unpack(&cut), None);
    }
}
