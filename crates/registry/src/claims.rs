//! Claims: what an entry, a source or a view asks of those who see it.
//!
//! Claims are keys with values. A caller sees what it holds one of the values of, for every key. Every caller holds
//! `tenant` and, with a key, `key`; `[[registry.grants]]` add others. `registry:admin` sees everything.

use std::{collections::BTreeMap, sync::Arc};

use paddock_platform::identity::{Caller, Scope};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Keys, each with the values of which one must be held. A value may be written alone, without brackets.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema)]
pub struct Claims(#[schemars(with = "BTreeMap<String, OneOrMany>")] BTreeMap<String, Vec<String>>);

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// What some callers may claim.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GrantOptions {
    /// Tenants that hold the claims.
    pub tenants: Vec<String>,
    /// Keys that hold the claims, by their ids.
    pub keys: Vec<String>,
    /// The claims.
    pub claims: Claims,
}

impl Claims {
    /// Claims from pairs.
    pub fn from_pairs<const N: usize>(pairs: [(&str, &[&str]); N]) -> Self {
        let owned = |values: &[&str]| values.iter().map(ToString::to_string).collect();
        Self(pairs.into_iter().map(|(key, values)| (key.to_owned(), owned(values))).collect())
    }

    /// Whether nothing is asked.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether somebody who holds `held` sees what asks for these.
    pub fn met_by(&self, held: &Self) -> bool {
        self.0.iter().all(|(key, values)| {
            held.0.get(key).is_some_and(|held| values.iter().any(|value| held.contains(value)))
        })
    }

    /// Whether somebody who holds `held` may give these: all of them must be held.
    pub fn within(&self, held: &Self) -> bool {
        self.0.iter().all(|(key, values)| {
            held.0.get(key).is_some_and(|held| values.iter().all(|value| held.contains(value)))
        })
    }

    /// Both together: where both ask for a key, a value that both take.
    pub(crate) fn with(&self, other: &Self) -> Self {
        let mut both = other.clone();
        for (key, values) in &self.0 {
            let values = match other.0.get(key) {
                Some(others) => values.iter().filter(|value| others.contains(value)).cloned().collect(),
                None => values.clone(),
            };
            both.0.insert(key.clone(), values);
        }
        both
    }

    fn add(&mut self, other: &Self) {
        for (key, values) in &other.0 {
            let held = self.0.entry(key.clone()).or_default();
            held.extend(values.iter().filter(|value| !held.contains(value)).cloned().collect::<Vec<_>>());
        }
    }
}

impl Serialize for Claims {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, values)| match values.as_slice() {
            [one] => (key, OneOrMany::One(one.clone())),
            many => (key, OneOrMany::Many(many.to_vec())),
        }))
    }
}

impl<'de> Deserialize<'de> for Claims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let claims = BTreeMap::<String, OneOrMany>::deserialize(deserializer)?;
        Ok(Self(
            claims
                .into_iter()
                .map(|(key, values)| match values {
                    OneOrMany::One(one) => (key, vec![one]),
                    OneOrMany::Many(many) => (key, many),
                })
                .collect(),
        ))
    }
}

/// Who is who: turns a caller into what it holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Grants(Arc<[GrantOptions]>);

impl Grants {
    pub(crate) fn new(grants: &[GrantOptions]) -> Self {
        Self(grants.into())
    }

    /// What the caller holds; `None` is everything.
    pub(crate) fn of(&self, caller: &Caller) -> Option<Claims> {
        if caller.may(Scope::admin("registry")) {
            return None;
        }
        let mut held = Claims::default();
        let key = caller.key_id();
        // Somebody without any scope in the registry is a reader of public views: the tenant is nobody's.
        if caller.may(Scope::read("registry")) {
            held.0.insert("tenant".to_owned(), vec![caller.tenant().as_str().to_owned()]);
            held.0.extend(key.map(|key| ("key".to_owned(), vec![key.to_owned()])));
            for grant in self.0.iter() {
                let of_tenant = grant.tenants.iter().any(|tenant| tenant == caller.tenant().as_str());
                if of_tenant || key.is_some_and(|key| grant.keys.iter().any(|granted| granted == key)) {
                    held.add(&grant.claims);
                }
            }
        }
        Some(held)
    }
}

#[cfg(test)]
mod tests {
    use paddock_platform::identity::Tenant;

    use super::*;

    #[test]
    fn every_key_must_be_met_by_one_of_its_values() {
        let asked = Claims::from_pairs([("org", &["acme"]), ("team", &["a", "b"])]);
        let met = |held: Claims| asked.met_by(&held);
        assert!(met(Claims::from_pairs([("org", &["acme"]), ("team", &["b"]), ("more", &["x"])])));
        assert!(!met(Claims::from_pairs([("org", &["acme"])])));
        assert!(!met(Claims::from_pairs([("org", &["other"]), ("team", &["a"])])));
        assert!(Claims::default().met_by(&Claims::default()));
    }

    #[test]
    fn only_what_is_held_wholly_may_be_given() {
        let given = Claims::from_pairs([("team", &["a", "b"])]);
        assert!(!given.within(&Claims::from_pairs([("team", &["a"])])));
        assert!(given.within(&Claims::from_pairs([("team", &["b", "a", "c"])])));
    }

    #[test]
    fn callers_hold_their_tenant_their_key_and_what_they_were_granted() {
        let grants = Grants::new(&[GrantOptions {
            tenants: vec!["acme".to_owned()],
            keys: vec!["k9".to_owned()],
            claims: Claims::from_pairs([("team", &["a"])]),
        }]);
        let caller = |key: &str, tenant: &str, scope| {
            Caller::with_key(key, tenant.parse::<Tenant>().unwrap(), vec![scope])
        };
        let held = grants.of(&caller("k1", "acme", Scope::read("registry"))).unwrap();
        assert_eq!(held, Claims::from_pairs([("key", &["k1"]), ("team", &["a"]), ("tenant", &["acme"])]));
        assert!(grants.of(&caller("k9", "other", Scope::read("registry"))).unwrap().0.contains_key("team"));
        assert!(!grants.of(&caller("k2", "other", Scope::read("registry"))).unwrap().0.contains_key("team"));
        assert_eq!(grants.of(&caller("k1", "acme", Scope::admin("registry"))), None);
        assert_eq!(grants.of(&Caller::anonymous()), Some(Claims::default()));
    }

    #[test]
    fn a_single_value_is_written_without_brackets() {
        let claims: Claims = serde_json::from_str(r#"{"org": "acme", "team": ["a", "b"]}"#).unwrap();
        assert_eq!(claims, Claims::from_pairs([("org", &["acme"]), ("team", &["a", "b"])]));
        assert_eq!(serde_json::to_string(&claims).unwrap(), r#"{"org":"acme","team":["a","b"]}"#);
    }
}
