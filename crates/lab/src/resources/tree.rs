//! A process and everything that descends from it.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    mark::Mark,
    process::{self, ProcessId, Stat},
};

/// Processes of a tree that are followed.
const PROCESSES_MAX: usize = 10_000;

/// Follows a process tree over time. A process that was once seen in it stays in it, even when its parent ends.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    root: i32,
    members: BTreeSet<ProcessId>,
    /// What processes carry that belong to the tree, whoever their parent is.
    mark: Option<Mark>,
    /// Those that were seen without it.
    unmarked: BTreeSet<ProcessId>,
    /// CPU time of each member when it was last seen, so that the tree's total never falls when one ends.
    cpu_s: BTreeMap<ProcessId, f64>,
}

impl Tree {
    /// The tree under a process.
    pub(crate) fn new(root: i32) -> Self {
        Self { root, members: BTreeSet::new(), mark: None, unmarked: BTreeSet::new(), cpu_s: BTreeMap::new() }
    }

    /// The tree under a process, with what carries its mark: daemons that left their parents before they were seen.
    pub(crate) fn marked(root: i32, mark: &Mark) -> Self {
        Self { mark: Some(mark.clone()), ..Self::new(root) }
    }

    /// The members that are alive now.
    pub(crate) fn members(&mut self, snapshot: &Snapshot) -> Vec<Stat> {
        let mut known: BTreeSet<i32> =
            self.members.iter().filter(|id| snapshot.is_alive(**id)).map(|id| id.pid).collect();
        known.insert(self.root);
        let queue = known.iter().copied().collect();
        snapshot.add_descendants(&mut known, queue);
        let marked = self.newly_marked(snapshot, &known);
        known.extend(&marked);
        snapshot.add_descendants(&mut known, marked);
        let alive: Vec<Stat> = known.iter().filter_map(|pid| snapshot.processes.get(pid).copied()).collect();
        self.members = alive.iter().map(|stat| stat.id).collect();
        for stat in &alive {
            self.cpu_s.insert(stat.id, stat.cpu_s);
        }
        alive
    }

    /// Processes beyond those that are known that carry the mark.
    fn newly_marked(&mut self, snapshot: &Snapshot, known: &BTreeSet<i32>) -> Vec<i32> {
        let Some(mark) = &self.mark else { return Vec::new() };
        self.unmarked.retain(|id| snapshot.is_alive(*id));
        let mut marked = Vec::new();
        for id in snapshot.processes.values().map(|stat| stat.id) {
            if known.contains(&id.pid) || self.unmarked.contains(&id) {
                continue;
            }
            match mark.is_on(id.pid) {
                Some(true) => marked.push(id.pid),
                Some(false) => {
                    self.unmarked.insert(id);
                }
                // Its environment may come yet.
                None => {}
            }
        }
        marked
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

    /// Adds what descends from those in the queue, which are known already.
    fn add_descendants(&self, known: &mut BTreeSet<i32>, mut queue: Vec<i32>) {
        while let Some(pid) = queue.pop() {
            for child in self.children.get(&pid).into_iter().flatten() {
                if known.len() < PROCESSES_MAX && known.insert(*child) {
                    queue.push(*child);
                }
            }
        }
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

    #[test]
    fn a_daemon_with_the_mark_is_in_the_tree_although_its_parent_was_never_seen() {
        // A shell that leaves another behind, which waits for a line; it ends with the pipe.
        let mut shell = Command::new("sh")
            .args(["-c", "exec 3<&0; (read line <&3) >/dev/null & echo $!"])
            .envs([Mark::own().variable()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let pipe = shell.stdin.take();
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(shell.stdout.as_mut().unwrap()), &mut line)
            .unwrap();
        shell.wait().unwrap();
        let daemon: i32 = line.trim().parse().unwrap();
        let own = i32::try_from(std::process::id()).unwrap();
        let snapshot = Snapshot::take();
        let has = |mut tree: Tree| tree.members(&snapshot).iter().any(|stat| stat.id.pid == daemon);
        assert!(has(Tree::marked(own, Mark::own())));
        assert!(!has(Tree::new(own)), "it descends from this process no more");
        let another = Mark { value: "another start of the same number".to_owned(), ..Mark::own().clone() };
        assert!(!has(Tree::marked(own, &another)));
        drop(pipe);
    }
}
