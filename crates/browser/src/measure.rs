//! What each instance costs: memory and processor time, read from the kernel.
//!
//! Chrome does not tell which renderer belongs to which page, but a page knows the processor time of its renderer, and
//! the kernel knows it of every process: equal times make a pair. Renderers of different contexts are never shared, so
//! a pair's whole cost is its instance's. What is left (the browser process, the GPU's and the network's, renderers of
//! frames) is divided evenly among the instances in the process. The sum over all instances is what all of Chrome uses;
//! idle pages whose renderers used the same time to a hundredth of a second may be taken for one another.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    time::Duration,
};

use futures_util::future::join_all;
use paddock_cdp::protocol::performance::{Enable, GetMetrics};

use crate::{fleet::Fleet, ids::InstanceId, tab::Tab};

/// How long a page may take to say what its renderer used; one that is busy for longer is charged an even share.
const ANSWER_DEADLINE: Duration = Duration::from_millis(500);
/// The kernel counts processor time in hundredths of a second.
const TICK: Duration = Duration::from_millis(10);
/// How much more a renderer may have used by the time that the kernel is asked.
const DRIFT_MAX: Duration = Duration::from_secs(1);

/// What something uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cost {
    /// Proportional set size in bytes: shared pages count by the share, so sums are true.
    pub(crate) pss: u64,
    /// Processor time since the start of the processes that run now.
    pub(crate) cpu: Duration,
}

impl std::ops::AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        self.pss += other.pss;
        self.cpu += other.cpu;
    }
}

/// One process of a Chrome.
#[derive(Clone, Copy, Debug)]
struct Member {
    cost: Cost,
    is_renderer: bool,
}

/// A page, by its instance and what it says of its renderer.
#[derive(Clone, Debug)]
struct Page {
    instance: InstanceId,
    renderer_time: Option<Duration>,
}

/// What every running instance uses.
pub(crate) async fn measure(fleet: &Fleet) -> BTreeMap<InstanceId, Cost> {
    let mut instances: BTreeMap<i32, BTreeSet<InstanceId>> = BTreeMap::new();
    let mut asked = Vec::new();
    for instance in fleet.handles() {
        for tab in instance.tabs() {
            let Some(pid) = tab.process_id() else { continue };
            instances.entry(pid).or_default().insert(instance.id().clone());
            asked.push(ask(pid, instance.id().clone(), tab));
        }
        if let Some(pid) = instance.process_id() {
            instances.entry(pid).or_default().insert(instance.id().clone());
        }
    }
    let mut pages: BTreeMap<i32, Vec<Page>> = BTreeMap::new();
    for (pid, page) in join_all(asked).await {
        pages.entry(pid).or_default().push(page);
    }
    let groups: BTreeSet<i32> = instances.keys().copied().collect();
    let members = tokio::task::spawn_blocking(move || read(&groups)).await.unwrap_or_default();
    let mut costs = BTreeMap::new();
    for (pid, inhabitants) in &instances {
        let members = members.get(pid).map_or(&[][..], Vec::as_slice);
        let pages = pages.remove(pid).unwrap_or_default();
        for (instance, cost) in divide(members, inhabitants, pages) {
            *costs.entry(instance).or_insert_with(Cost::default) += cost;
        }
    }
    costs
}

/// Proportional set size of process groups, in bytes.
pub(crate) async fn pss_of(groups: BTreeSet<i32>) -> BTreeMap<i32, u64> {
    let members = tokio::task::spawn_blocking(move || read(&groups)).await.unwrap_or_default();
    let sum = |members: Vec<Member>| members.iter().map(|member| member.cost.pss).sum();
    members.into_iter().map(|(group, members)| (group, sum(members))).collect()
}

async fn ask(pid: i32, instance: InstanceId, tab: Tab) -> (i32, Page) {
    let session = tab.session();
    let answer = async {
        session.send(&Enable {}).await.ok()?;
        let metrics = session.send(&GetMetrics {}).await.ok()?.metrics;
        let time = metrics.iter().find(|metric| metric.name == "ProcessTime")?.value;
        Duration::try_from_secs_f64(time).ok()
    };
    let renderer_time = tokio::time::timeout(ANSWER_DEADLINE, answer).await.ok().flatten();
    (pid, Page { instance, renderer_time })
}

/// Gives each instance the renderers of its pages, and an even share of everything else.
fn divide(
    members: &[Member],
    inhabitants: &BTreeSet<InstanceId>,
    mut pages: Vec<Page>,
) -> BTreeMap<InstanceId, Cost> {
    let mut costs: BTreeMap<InstanceId, Cost> =
        inhabitants.iter().map(|id| (id.clone(), Cost::default())).collect();
    let mut owners: Vec<Option<&InstanceId>> = vec![None; members.len()];
    // The busiest first: their times are the most telling.
    pages.sort_by_key(|page| std::cmp::Reverse(page.renderer_time));
    for page in &pages {
        let Some(time) = page.renderer_time else { continue };
        let distance = |member: &Member| member.cost.cpu.abs_diff(time);
        let fits = |index: &usize| {
            let member = &members[*index];
            let is_free = owners[*index].is_none_or(|owner| *owner == page.instance);
            member.is_renderer && is_free && member.cost.cpu + TICK >= time && distance(member) <= DRIFT_MAX
        };
        let nearest = (0..members.len()).filter(fits).min_by_key(|index| distance(&members[*index]));
        if let Some(index) = nearest {
            owners[index] = Some(&page.instance);
        }
    }
    let mut rest = Cost::default();
    for (member, owner) in members.iter().zip(&owners) {
        match owner.and_then(|owner| costs.get_mut(owner)) {
            Some(cost) => *cost += member.cost,
            None => rest += member.cost,
        }
    }
    let count = u32::try_from(inhabitants.len()).unwrap_or(u32::MAX).max(1);
    let share = Cost { pss: rest.pss / u64::from(count), cpu: rest.cpu / count };
    for cost in costs.values_mut() {
        *cost += share;
    }
    costs
}

/// The processes of each group. Blocks: the kernel walks page tables for it, about a millisecond per process.
fn read(groups: &BTreeSet<i32>) -> BTreeMap<i32, Vec<Member>> {
    let mut members: BTreeMap<i32, Vec<Member>> = BTreeMap::new();
    let Ok(entries) = fs::read_dir("/proc") else { return members };
    for entry in entries.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        let Some((group, cpu)) = parse_stat(&stat).filter(|(group, _)| groups.contains(group)) else {
            continue;
        };
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let cmdline = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let is_renderer = cmdline.split(|byte| matches!(byte, 0 | b' ')).any(|arg| arg == b"--type=renderer");
        let cost = Cost { pss: parse_pss(&rollup).unwrap_or(0), cpu };
        members.entry(group).or_default().push(Member { cost, is_renderer });
    }
    members
}

/// Process group and processor time of `/proc/PID/stat` (proc(5)).
fn parse_stat(stat: &str) -> Option<(i32, Duration)> {
    // pid (name) state ppid pgrp … utime stime, and the name may hold anything.
    let mut rest = stat.rsplit_once(')')?.1.split_whitespace();
    let group = rest.nth(2)?.parse().ok()?;
    let user: u32 = rest.nth(8)?.parse().ok()?;
    let system: u32 = rest.next()?.parse().ok()?;
    Some((group, TICK * user.saturating_add(system)))
}

/// Bytes of proportional set size in `/proc/PID/smaps_rollup`.
fn parse_pss(rollup: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ids(count: usize) -> Vec<InstanceId> {
        let mut ids = BTreeSet::new();
        while ids.len() < count {
            ids.insert(InstanceId::new());
        }
        ids.into_iter().collect()
    }

    fn member(is_renderer: bool, cpu_ms: u64, pss: u64) -> Member {
        Member { cost: Cost { pss, cpu: Duration::from_millis(cpu_ms) }, is_renderer }
    }

    fn page(instance: &InstanceId, cpu_ms: u64) -> Page {
        Page { instance: instance.clone(), renderer_time: Some(Duration::from_millis(cpu_ms)) }
    }

    #[test]
    fn a_renderer_is_charged_to_its_page_and_the_rest_is_divided() {
        let ids = ids(2);
        let members = [member(false, 500, 100), member(true, 1000, 70), member(true, 30, 20)];
        let pages = vec![page(&ids[0], 30), page(&ids[1], 990)];
        let costs = divide(&members, &ids.iter().cloned().collect(), pages);
        assert_eq!((costs[&ids[0]].pss, costs[&ids[1]].pss), (70, 120));
    }

    #[test]
    fn pages_of_one_instance_may_share_a_renderer_and_those_of_others_never() {
        let ids = ids(2);
        let members = [member(true, 40, 60), member(true, 50, 80)];
        let pages = vec![page(&ids[0], 40), page(&ids[0], 40), page(&ids[1], 40)];
        let costs = divide(&members, &ids.iter().cloned().collect(), pages);
        assert_eq!((costs[&ids[0]].pss, costs[&ids[1]].pss), (60, 80));
    }

    #[test]
    fn the_kernels_files_are_understood() {
        let stat = "7 (a) b) S 1 42 7 0 -1 4194560 1 2 3 4 250 50 0 0 20 0 1 0 100";
        assert_eq!(parse_stat(stat), Some((42, Duration::from_secs(3))));
        assert_eq!(parse_pss("Rss: 9 kB\nPss:      12 kB\nPss_Dirty: 3 kB\n"), Some(12 << 10));
    }

    proptest! {
        #[test]
        fn nothing_is_charged_twice_or_lost(
            members in proptest::collection::vec((any::<bool>(), 0_u64..2000, 0_u64..1 << 30), 0..20),
            times in proptest::collection::vec((0_usize..4, 0_u64..2000), 0..12),
        ) {
            let ids = ids(4);
            let members: Vec<Member> =
                members.into_iter().map(|(is_renderer, cpu, pss)| member(is_renderer, cpu, pss)).collect();
            let pages = times.into_iter().map(|(owner, cpu)| page(&ids[owner], cpu)).collect();
            let costs = divide(&members, &ids.iter().cloned().collect(), pages);
            let charged: u64 = costs.values().map(|cost| cost.pss).sum();
            let used: u64 = members.iter().map(|member| member.cost.pss).sum();
            prop_assert!(charged <= used && used - charged < 4, "{charged} of {used}");
        }
    }
}
