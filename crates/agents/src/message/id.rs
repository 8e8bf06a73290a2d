//! Identities of messages.

use std::{
    cell::Cell,
    fmt,
    str::FromStr,
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use uuid::Uuid;

use super::as_text;

/// What tells one message from another, and the same one from itself when it is sent twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(Uuid);

/// A text that is not the id of a message.
#[derive(Debug, thiserror::Error)]
#[error("is not a UUID")]
pub struct ParseMessageIdError;

/// Ids that a thread takes at once, so that threads seldom meet.
const BLOCK: u64 = 1 << 10;

thread_local! {
    /// The next id of this thread's block, and the end of it.
    static OWN: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

/// The random part of all ids of this process, and where its count begins.
static SEED: LazyLock<(u64, AtomicU64)> = LazyLock::new(|| {
    let (high, low) = Uuid::now_v7().as_u64_pair();
    (high, AtomicU64::new(low >> 2))
});

impl MessageId {
    /// An id that nobody has had before. It costs one addition: half of it is drawn once per process, the rest counts.
    pub fn next() -> Self {
        let (high, count) = &*SEED;
        let low = OWN.with(|own| {
            let (mut next, mut end) = own.get();
            if next == end {
                next = count.fetch_add(BLOCK, Ordering::Relaxed);
                end = next.wrapping_add(BLOCK);
            }
            own.set((next.wrapping_add(1), end));
            next
        });
        // Version 8: made by a rule of our own.
        let high = (high & !0xf000) | 0x8000;
        Self(Uuid::from_u64_pair(high, (low & (u64::MAX >> 2)) | (0b10 << 62)))
    }

    /// The id that follows from these parts: the same whoever makes it.
    pub(crate) fn derived(parts: &[&[u8]]) -> Self {
        let mut hash = blake3::Hasher::new();
        for part in parts {
            hash.update(&(part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let mut bytes = [0; 16];
        hash.finalize_xof().fill(&mut bytes);
        Self(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }

    /// The sixteen bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl FromStr for MessageId {
    type Err = ParseMessageIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self).map_err(|_| ParseMessageIdError)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

as_text!(MessageId, "a UUID");

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_differ_and_are_read_as_they_are_written() {
        let ids: Vec<MessageId> = (0..1000).map(|_| MessageId::next()).collect();
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
        for id in ids {
            assert_eq!(id.to_string().parse::<MessageId>().unwrap(), id);
            assert_eq!(id.0.get_version_num(), 8);
        }
        assert!("7".parse::<MessageId>().is_err());
    }
}
