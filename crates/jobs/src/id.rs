//! Ids that cannot be guessed, and that tell whether they were ever given out.

use std::{
    fmt,
    str::FromStr,
    sync::atomic::{AtomicU64, Ordering},
};

use jiff::Timestamp;
use paddock_platform::identity::Tenant;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// Bits of a key below its milliseconds: the node that gave it out, and a count.
const LOW_BITS: u32 = 22;
const SEQUENCE_BITS: u32 = 16;
/// Servers that can share a store.
pub(crate) const NODES_MAX: u16 = 1 << (LOW_BITS - SEQUENCE_BITS);
/// Bits of the code over tenant and key.
const CODE_BITS: u32 = 52;

/// Identity of a job: a UUID (version 7) that begins with the time of its creation.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema, ToSchema,
)]
#[serde(transparent)]
#[schema(value_type = String, format = "uuid")]
pub struct JobId(#[schemars(with = "String")] Uuid);

/// A text that is not a job's id.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not the id of a job")]
pub struct ParseJobIdError(String);

impl JobId {
    /// What the store knows it by: its time and count, without the code.
    pub(crate) fn key(self) -> i64 {
        let bits = self.0.as_u128();
        let millis = (bits >> 80) as u64;
        let upper = (bits >> 64) as u64 & 0xfff;
        let lower = (bits >> CODE_BITS) as u64 & 0x3ff;
        ((millis << LOW_BITS) | (upper << 10) | lower).cast_signed()
    }

    /// When it was given out.
    pub fn created_at(self) -> Timestamp {
        created_at(self.key())
    }
}

/// The time within a key.
pub(crate) fn created_at(key: i64) -> Timestamp {
    Timestamp::from_millisecond(key >> LOW_BITS).unwrap_or_default()
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for JobId {
    type Err = ParseJobIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Uuid::try_parse(text).ok().filter(|id| id.get_version_num() == 7);
        known.map(Self).ok_or_else(|| ParseJobIdError(text.chars().take(64).collect()))
    }
}

/// Gives out ids, and knows those that this database gave out.
#[derive(Debug)]
pub(crate) struct Ids {
    secret: [u8; 32],
    node: u64,
    /// Milliseconds and count of the last one.
    last: AtomicU64,
}

impl Ids {
    /// `after` is the largest key in the store: a clock that was set back gives none out twice.
    pub(crate) fn new(secret: [u8; 32], node: u16, after: i64) -> Self {
        let after_ms = after.max(0).cast_unsigned() >> LOW_BITS;
        Self { secret, node: node.into(), last: AtomicU64::new((after_ms + 1) << SEQUENCE_BITS) }
    }

    /// A new id.
    pub(crate) fn next(&self, tenant: &Tenant) -> JobId {
        let now = Timestamp::now().as_millisecond().max(0).cast_unsigned() << SEQUENCE_BITS;
        let step = |last: u64| Some(now.max(last + 1));
        let last = self.last.fetch_update(Ordering::AcqRel, Ordering::Acquire, step).unwrap_or(now);
        let next = now.max(last + 1);
        let (millis, sequence) = (next >> SEQUENCE_BITS, next & ((1 << SEQUENCE_BITS) - 1));
        let key = (millis << LOW_BITS) | (self.node << SEQUENCE_BITS) | sequence;
        self.of(tenant, key.cast_signed())
    }

    /// The id of a job that is in the store.
    pub(crate) fn of(&self, tenant: &Tenant, key: i64) -> JobId {
        let bits = key.cast_unsigned();
        let (millis, low) = (u128::from(bits >> LOW_BITS), u128::from(bits) & ((1 << LOW_BITS) - 1));
        let id = (millis << 80)
            | (7 << 76)
            | ((low >> 10) << 64)
            | (0b10 << 62)
            | ((low & 0x3ff) << CODE_BITS)
            | u128::from(self.code(tenant.as_str(), key));
        JobId(Uuid::from_u128(id))
    }

    /// The key of an id, if it was given out to this tenant.
    pub(crate) fn key_of(&self, tenant: &Tenant, id: JobId) -> Option<i64> {
        let key = id.key();
        (self.of(tenant, key) == id).then_some(key)
    }

    fn code(&self, tenant: &str, key: i64) -> u64 {
        let mut hasher = blake3::Hasher::new_keyed(&self.secret);
        hasher.update(&key.to_be_bytes()).update(tenant.as_bytes());
        let mut code = [0; 8];
        code.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        u64::from_be_bytes(code) >> (64 - CODE_BITS)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ids(after: i64) -> Ids {
        Ids::new([7; 32], 5, after)
    }

    #[test]
    fn ids_ascend_and_are_never_given_out_twice() {
        let (ids, tenant) = (ids(0), Tenant::local());
        let given: Vec<JobId> = (0..100_000).map(|_| ids.next(&tenant)).collect();
        assert!(given.windows(2).all(|pair| pair[0] < pair[1] && pair[0].key() < pair[1].key()));
    }

    #[test]
    fn a_clock_that_was_set_back_gives_out_no_id_again() {
        let tenant = Tenant::local();
        let ahead = (Timestamp::now().as_millisecond() + 3_600_000) << LOW_BITS;
        assert!(ids(ahead).next(&tenant).key() > ahead);
    }

    #[test]
    fn an_id_is_known_to_its_tenant_and_to_nobody_else() {
        let (ids, ours, theirs) = (ids(0), Tenant::local(), "other".parse().unwrap());
        let id = ids.next(&ours);
        assert_eq!(ids.key_of(&ours, id), Some(id.key()));
        assert_eq!(ids.key_of(&theirs, id), None);
        assert_eq!(Ids::new([8; 32], 5, 0).key_of(&ours, id), None, "another database");
    }

    proptest! {
        #[test]
        fn a_key_survives_being_an_id(millis in 0_i64..1 << 41, low in 0_i64..1 << LOW_BITS) {
            let key = (millis << LOW_BITS) | low;
            let id = ids(0).of(&Tenant::local(), key);
            prop_assert_eq!(id.key(), key);
            prop_assert_eq!(id.created_at().as_millisecond(), millis);
            prop_assert_eq!(id.to_string().parse::<JobId>().unwrap(), id);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,48}") {
            let _ = text.parse::<JobId>();
        }
    }
}
