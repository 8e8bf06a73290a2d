//! What a server runs on and speaks, as a set: what a search is narrowed by.

use serde_json::Value;

/// The kinds, by their names in the API.
pub(crate) const KINDS: [&str; 10] =
    ["npm", "pypi", "oci", "nuget", "mcpb", "cargo", "other-package", "stdio", "streamable-http", "sse"];
const OTHER: usize = 6;

/// Some of [`KINDS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kinds(u16);

impl Kinds {
    /// How many there are.
    pub(crate) const COUNT: usize = KINDS.len();

    /// What a `server.json` says: types of packages, and transports of packages and remotes.
    pub(crate) fn of(server: &Value) -> Self {
        let mut kinds = Self::default();
        let list = |member: &str| server[member].as_array().map_or(&[][..], Vec::as_slice);
        for package in list("packages") {
            if let Some(kind) = package["registryType"].as_str() {
                kinds.0 |= 1 << position(kind).unwrap_or(OTHER);
            }
            kinds.add(package["transport"]["type"].as_str());
        }
        for remote in list("remotes") {
            kinds.add(remote["type"].as_str());
        }
        kinds
    }

    /// The set of one kind.
    pub(crate) fn named(name: &str) -> Option<Self> {
        position(name).map(|position| Self(1 << position))
    }

    fn add(&mut self, name: Option<&str>) {
        self.0 |= name.and_then(Self::named).unwrap_or_default().0;
    }

    /// The kinds in it.
    pub(crate) fn iter(self) -> impl Iterator<Item = &'static str> {
        KINDS.iter().enumerate().filter(move |(index, _)| self.0 & 1 << index != 0).map(|(_, name)| *name)
    }

    /// Whether it has any of the others.
    pub(crate) const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// As a number, one bit for each.
    pub(crate) const fn bits(self) -> u16 {
        self.0
    }

    /// The set of a number, one bit for each.
    pub(crate) const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    /// All of both.
    pub(crate) const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether nothing is in it.
    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

fn position(name: &str) -> Option<usize> {
    KINDS.iter().position(|known| *known == name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn packages_and_transports_are_told() {
        let server = json!({
            "packages": [{"registryType": "npm", "transport": {"type": "stdio"}}, {"registryType": "deb"}],
            "remotes": [{"type": "sse"}],
        });
        let kinds: Vec<_> = Kinds::of(&server).iter().collect();
        assert_eq!(kinds, ["npm", "other-package", "stdio", "sse"]);
        assert!(Kinds::of(&server).intersects(Kinds::named("sse").unwrap()));
        assert!(Kinds::of(&json!({})).is_empty() && Kinds::named("carrier-pigeon").is_none());
    }
}
