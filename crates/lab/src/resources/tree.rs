//! A process and everything that descends from it.

use std::collections::{BTreeMap, BTreeSet};

use super::process::{self, ProcessId, Stat};

/// Processes of a tree that are followed.
const PROCESSES_MAX: usize = 10_000;

/// Follows a process tree over time. A process that was once seen in it stays in it, even when its parent ends.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    root: i32,
    members: BTreeSet<ProcessId>,
    /// CPU time of each member when it was last seen, so that the tree's total never falls when one ends.
    cpu_s: BTreeMap<ProcessId, f64>,
}

impl Tree {
    /// The tree under a process.
    pub(crate) fn new(root: i32) -> Self {
        Self { root, members: BTreeSet::new(), cpu_s: BTreeMap::new() }
    }

    /// The members that are alive now.
    pub(crate) fn members(&mut self, snapshot: &Snapshot) -> Vec<Stat> {
        let mut known: BTreeSet<i32> =
            self.members.iter().filter(|id| snapshot.is_alive(**id)).map(|id| id.pid).collect();
        known.insert(self.root);
        let mut queue: Vec<i32> = known.iter().copied().collect();
        while let Some(pid) = queue.pop() {
            for child in snapshot.children.get(&pid).into_iter().flatten() {
                if known.len() < PROCESSES_MAX && known.insert(*child) {
                    queue.push(*child);
                }
            }
        }
        let alive: Vec<Stat> = known.iter().filter_map(|pid| snapshot.processes.get(pid).copied()).collect();
        self.members = alive.iter().map(|stat| stat.id).collect();
        for stat in &alive {
            self.cpu_s.insert(stat.id, stat.cpu_s);
        }
        alive
    }

    /// The process that the tree was made for.
    pub(crate) fn root(&self) -> i32 {
        self.root
    }

    /// CPU time that all members have used since they began, as far as it was seen.
    pub(crate) fn cpu_s(&self) -> f64 {
        self.cpu_s.values().sum()
    }
}

/// All processes of the machine at one moment.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    processes: BTreeMap<i32, Stat>,
    children: BTreeMap<i32, Vec<i32>>,
}

impl Snapshot {
    /// Looks at every process.
    pub(crate) fn take() -> Self {
        let mut snapshot = Self::default();
        for stat in process::all().into_iter().filter_map(process::stat) {
            snapshot.children.entry(stat.parent).or_default().push(stat.id.pid);
            snapshot.processes.insert(stat.id.pid, stat);
        }
        snapshot
    }

    fn is_alive(&self, id: ProcessId) -> bool {
        self.processes.get(&id.pid).is_some_and(|stat| stat.id == id)
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_tree_has_the_children_and_those_whose_parent_has_ended() {
        // A shell that starts another and waits; the inner one starts a sleeper and ends.
        let mut shell = Command::new("sh")
            .args(["-c", "sh -c 'sleep 30 & echo $!' ; read line"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut tree = Tree::new(i32::try_from(shell.id()).unwrap());
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(shell.stdout.as_mut().unwrap()), &mut line)
            .unwrap();
        let sleeper: i32 = line.trim().parse().unwrap();
        // The sleeper belongs to init now: it counts only if it was seen before.
        tree.members.insert(process::stat(sleeper).unwrap().id);
        let members: Vec<i32> = tree.members(&Snapshot::take()).iter().map(|stat| stat.id.pid).collect();
        assert!(members.contains(&sleeper), "{members:?} {sleeper}");
        assert!(members.contains(&i32::try_from(shell.id()).unwrap()));
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(!members.contains(&own));
        let _ = Command::new("kill").arg(sleeper.to_string()).status();
        drop(shell.stdin.take());
        shell.wait().unwrap();
    }
}
