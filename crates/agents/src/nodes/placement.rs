//! Which server runs an agent: rendezvous hashing.
//!
//! Each server draws a number for each agent, the same one wherever it is computed, and the highest wins. When a server
//! comes or goes no agent moves but those that it wins or had.

use std::collections::BTreeMap;

use crate::store::nodes::Member;

/// Who draws for whom.
pub(super) struct Placement<'a> {
    members: &'a [Member],
    /// What each is hashed by: its name, if no other has it.
    identities: Vec<&'a str>,
}

impl<'a> Placement<'a> {
    pub(super) fn new(members: &'a [Member]) -> Self {
        let identity = |member: &'a Member| {
            let same = members.iter().filter(|other| other.row.name == member.row.name).count();
            if same == 1 { member.row.name.as_str() } else { member.row.node.as_str() }
        };
        Self { members, identities: members.iter().map(identity).collect() }
    }

    /// Who is to run an agent that is hashed by `key` and asks for servers with these labels. Those that have much to do
    /// get nothing new; `keeper` may keep what it has. `None` if there is no server.
    pub(super) fn winner(
        &self,
        key: &str,
        labels: &BTreeMap<String, String>,
        keeper: Option<&str>,
    ) -> Option<&'a Member> {
        let takes = |member: &Member| !member.is_full || keeper == Some(member.row.node.as_str());
        let fits =
            |member: &Member| labels.iter().all(|(name, value)| member.row.labels.get(name) == Some(value));
        // What is asked for is a hint: without a server that has it, any will do.
        self.best(key, |member| fits(member) && takes(member))
            .or_else(|| self.best(key, takes))
            .or_else(|| self.best(key, |_| true))
    }

    fn best(&self, key: &str, may: impl Fn(&Member) -> bool) -> Option<&'a Member> {
        let drawn = self.members.iter().zip(&self.identities).filter(|(member, _)| may(member));
        let drawn = drawn.map(|(member, identity)| (score(identity, key, member.row.weight), member));
        drawn.max_by(|left, right| left.0.total_cmp(&right.0)).map(|(_, member)| member)
    }
}

/// The number that a server draws for an agent: the larger its weight, the more often it is the highest.
fn score(identity: &str, key: &str, weight: u32) -> f64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(identity.as_bytes()).update(&[0]).update(key.as_bytes());
    let mut drawn = [0; 8];
    hasher.finalize_xof().fill(&mut drawn);
    // In the open interval from 0 to 1.
    let drawn = ((u64::from_le_bytes(drawn) >> 12) as f64 + 0.5) / (1_u64 << 52) as f64;
    -f64::from(weight.max(1)) / drawn.ln()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::nodes::NodeRow;

    fn member(name: &str, weight: u32) -> Member {
        let row = NodeRow {
            node: format!("{name}.1"),
            name: name.to_owned(),
            labels: BTreeMap::from([("zone".to_owned(), name.to_owned())]),
            weight,
        };
        Member { row, started_at: 0, renewed_ms: 0, left_ms: 1, awake: 0, is_full: false }
    }

    fn shares(members: &[Member]) -> Vec<usize> {
        let placement = Placement::new(members);
        let won = |name: &str| {
            let agents = (0..3_000).map(|number| format!("local/agent-{number}"));
            let winners = agents.map(|key| placement.winner(&key, &BTreeMap::new(), None).unwrap());
            winners.filter(|winner| winner.row.name == name).count()
        };
        members.iter().map(|member| won(&member.row.name)).collect()
    }

    #[test]
    fn agents_are_spread_by_weight() {
        let even = shares(&[member("a", 100), member("b", 100), member("c", 100)]);
        assert!(even.iter().all(|share| (850..1_150).contains(share)), "{even:?}");
        let uneven = shares(&[member("a", 100), member("b", 200)]);
        assert!((900..1_100).contains(&uneven[0]), "{uneven:?}");
    }

    #[test]
    fn labels_and_load_are_hints() {
        let mut members = vec![member("a", 100), member("b", 100)];
        let zone = |zone: &str| BTreeMap::from([("zone".to_owned(), zone.to_owned())]);
        let winner =
            |members: &[Member], key: &str, labels: &BTreeMap<String, String>, keeper: Option<&str>| {
                Placement::new(members).winner(key, labels, keeper).unwrap().row.name.clone()
            };
        for number in 0..50 {
            let key = format!("local/{number}");
            assert_eq!(winner(&members, &key, &zone("b"), None), "b");
            assert_eq!(
                winner(&members, &key, &zone("elsewhere"), None),
                winner(&members, &key, &BTreeMap::new(), None)
            );
        }
        let free = winner(&members, "local/x", &BTreeMap::new(), None);
        let at = usize::from(free == "b");
        members[at].is_full = true;
        let node = members[at].row.node.clone();
        assert_ne!(winner(&members, "local/x", &BTreeMap::new(), None), free);
        assert_eq!(winner(&members, "local/x", &BTreeMap::new(), Some(&node)), free);
        members[1 - at].is_full = true;
        assert_eq!(winner(&members, "local/x", &BTreeMap::new(), None), free);
        assert!(Placement::new(&[]).winner("local/x", &BTreeMap::new(), None).is_none());
    }

    proptest! {
        #[test]
        fn only_agents_of_a_server_that_goes_move(count in 2_usize..8, gone in 0_usize..8, key in "[a-z]{1,8}/[a-z]{1,8}") {
            let members: Vec<Member> = (0..count).map(|number| member(&format!("n{number}"), 100)).collect();
            let before = Placement::new(&members).winner(&key, &BTreeMap::new(), None).unwrap().row.name.clone();
            let gone = gone % count;
            let left: Vec<Member> =
                members.iter().enumerate().filter(|(at, _)| *at != gone).map(|(_, member)| member.clone()).collect();
            let after = Placement::new(&left).winner(&key, &BTreeMap::new(), None).unwrap().row.name.clone();
            prop_assert!(after == before || before == members[gone].row.name);
        }
    }
}
