//! Looks at process trees and the machine, again and again, on a thread of its own.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, OnceLock,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::{
    listener::socket_states,
    machine::MachineTimes,
    mark::Mark,
    process::{self, ProcessId, Stat},
    tree::{Snapshot, Tree},
};
use crate::record::{Pressure, ResourceSample};

/// Samples of one run that are kept; beyond that every second one is dropped, and half as many are taken.
const SAMPLES_MAX: usize = 50_000;
const BYTES_PER_MIB: f64 = 1_048_576.0;
/// How often the sampler looks whether the run has begun.
const BEGIN_NAP: Duration = Duration::from_millis(5);

/// A process tree to watch, under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Watched {
    /// Name in the results.
    pub(crate) name: String,
    /// The process at its root.
    pub(crate) pid: i32,
}

/// What was seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples {
    /// One per tree and look.
    pub(crate) resources: Vec<ResourceSample>,
    /// What the machine did until each look, with the seconds since the run began.
    pub(crate) pressure: Vec<(f64, Pressure)>,
}

/// A running sampler.
#[derive(Debug)]
pub(crate) struct Sampler {
    stop: SyncSender<()>,
    thread: JoinHandle<Samples>,
}

impl Sampler {
    /// Starts sampling as soon as `origin`, the start of the run, is known and reached.
    pub(crate) fn start(
        watched: Vec<Watched>,
        every: Duration,
        origin: Arc<OnceLock<Instant>>,
    ) -> io::Result<Self> {
        let (stop, stopped) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("lab-sampler".to_owned())
            .spawn(move || sample(watched, every, &origin, &stopped))?;
        Ok(Self { stop, thread })
    }

    /// Takes a last sample and returns all.
    pub(crate) fn finish(self) -> Samples {
        // Either the thread gets it or it has ended already.
        let _ = self.stop.try_send(());
        self.thread.join().unwrap_or_default()
    }
}

fn sample(
    watched: Vec<Watched>,
    mut every: Duration,
    origin: &OnceLock<Instant>,
    stopped: &Receiver<()>,
) -> Samples {
    let origin = loop {
        match origin.get() {
            Some(origin) if *origin <= Instant::now() => break *origin,
            _ => {}
        }
        if !matches!(stopped.recv_timeout(BEGIN_NAP), Err(RecvTimeoutError::Timeout)) {
            return Samples::default();
        }
    };
    let mut sampler = Sampling::new(watched);
    let mut samples = Samples::default();
    let mut due = origin;
    loop {
        sampler.look(origin, &mut samples);
        if samples.resources.len() > SAMPLES_MAX {
            thin_out(&mut samples.resources, sampler.trees.len());
            thin_out(&mut samples.pressure, 1);
            every *= 2;
        }
        due += every;
        // A look that took longer than planned does not make the next ones come in a hurry.
        due = due.max(Instant::now() + every / 4);
        match stopped.recv_timeout(due.saturating_duration_since(Instant::now())) {
            Err(RecvTimeoutError::Timeout) => {}
            _ => break,
        }
    }
    sampler.look(origin, &mut samples);
    samples
}

/// Drops every second look.
fn thin_out<T>(samples: &mut Vec<T>, trees: usize) {
    let mut index = 0;
    samples.retain(|_| {
        let look: usize = index / trees.max(1);
        index += 1;
        look.is_multiple_of(2)
    });
}

/// What one look needs of those before.
struct Sampling {
    trees: Vec<Watch>,
    /// The generator; its tree has everything that it started, daemons too.
    own: i32,
    first: MachineTimes,
    previous: MachineTimes,
    /// The processes of all trees at the last look.
    previous_own: Option<BTreeMap<ProcessId, Stat>>,
    previous_at: Instant,
}

struct Watch {
    name: String,
    tree: Tree,
    disk: BTreeMap<ProcessId, (u64, u64)>,
    base: Option<Base>,
    previous_cpu_s: f64,
    previous_at_s: f64,
}

/// What the tree had used when the run began.
#[derive(Clone, Copy)]
struct Base {
    cpu_s: f64,
    disk: (u64, u64),
}

impl Sampling {
    fn new(watched: Vec<Watched>) -> Self {
        let now = MachineTimes::read();
        let own = i32::try_from(std::process::id()).unwrap_or_default();
        let watch = |watched: Watched| Watch {
            name: watched.name,
            tree: if watched.pid == own { Tree::marked(own, Mark::own()) } else { Tree::new(watched.pid) },
            disk: BTreeMap::new(),
            base: None,
            previous_cpu_s: 0.0,
            previous_at_s: 0.0,
        };
        Self {
            trees: watched.into_iter().map(watch).collect(),
            own,
            first: now,
            previous: now,
            previous_own: None,
            previous_at: Instant::now(),
        }
    }

    fn look(&mut self, origin: Instant, samples: &mut Samples) {
        let snapshot = Snapshot::take();
        let now = Instant::now();
        let at_s = now.saturating_duration_since(origin).as_secs_f64();
        let machine = MachineTimes::read();
        let states = socket_states();
        let network = (
            (machine.network_rx_bytes - self.first.network_rx_bytes) / BYTES_PER_MIB,
            (machine.network_tx_bytes - self.first.network_tx_bytes) / BYTES_PER_MIB,
        );
        let mut own: BTreeMap<ProcessId, Stat> = BTreeMap::new();
        for watch in &mut self.trees {
            let members = watch.tree.members(&snapshot);
            samples.resources.push(watch.sample(at_s, &members, &states, self.own, network));
            // Trees may contain each other: the lab's contains every server that it started.
            own.extend(members.into_iter().map(|stat| (stat.id, stat)));
        }
        if let Some(previous) = &self.previous_own {
            let elapsed_s = (now - self.previous_at).as_secs_f64();
            let pressure = machine.pressure_since(&self.previous, elapsed_s, used_since(previous, &own));
            samples.pressure.push((at_s, pressure));
        }
        (self.previous, self.previous_own, self.previous_at) = (machine, Some(own), now);
    }
}

/// CPU time that some processes, and those they have meanwhile started, used between two looks.
///
/// A process that ended is in the time of the children of whoever waited for it, with all that it had used before; that
/// is taken off again. One that nobody waited for (Chrome's helpers when it is killed) just vanishes: its past must not be
/// subtracted from what the others did, or their work of that second would look like other people's.
fn used_since(previous: &BTreeMap<ProcessId, Stat>, now: &BTreeMap<ProcessId, Stat>) -> f64 {
    let by_pid: BTreeMap<i32, &Stat> = previous.values().map(|stat| (stat.id.pid, stat)).collect();
    // What vanished, by the nearest ancestor that is still there.
    let mut gone_s: BTreeMap<ProcessId, f64> = BTreeMap::new();
    for stat in previous.values().filter(|stat| !now.contains_key(&stat.id)) {
        let mut ancestor = by_pid.get(&stat.parent);
        for _ in 0..by_pid.len() {
            match ancestor {
                Some(above) if !now.contains_key(&above.id) => ancestor = by_pid.get(&above.parent),
                _ => break,
            }
        }
        if let Some(above) = ancestor {
            *gone_s.entry(above.id).or_default() += stat.cpu_s + stat.children_cpu_s;
        }
    }
    let mut used_s = 0.0;
    for stat in now.values() {
        let before = previous.get(&stat.id);
        used_s += stat.cpu_s - before.map_or(0.0, |before| before.cpu_s);
        let buried_s = stat.children_cpu_s - before.map_or(0.0, |before| before.children_cpu_s);
        used_s += (buried_s - gone_s.get(&stat.id).copied().unwrap_or_default()).max(0.0);
    }
    used_s.max(0.0)
}

impl Watch {
    fn sample(
        &mut self,
        at_s: f64,
        members: &[Stat],
        states: &BTreeMap<u64, &'static str>,
        own: i32,
        network: (f64, f64),
    ) -> ResourceSample {
        let mut sample = ResourceSample {
            at_s,
            target: self.name.clone(),
            network_rx_mib: network.0,
            network_tx_mib: network.1,
            ..ResourceSample::default()
        };
        // Of the generator only itself: its children are the targets, which have trees of their own.
        let members = members.iter().filter(|stat| self.tree.root() != own || stat.id.pid == own);
        let mut cpu_s = 0.0;
        for stat in members {
            sample.processes += 1;
            sample.threads += stat.threads;
            cpu_s += stat.cpu_s;
            if let Some(memory) = process::memory(stat.id.pid) {
                sample.pss_mib += memory.pss_mib;
                sample.uss_mib += memory.uss_mib;
                sample.rss_mib += memory.rss_mib;
                sample.vsz_mib += memory.vsz_mib;
            }
            let (descriptors, sockets) = process::descriptors(stat.id.pid);
            sample.descriptors += descriptors;
            for inode in sockets {
                // Sockets that are not TCP have no state.
                if let Some(state) = states.get(&inode) {
                    *sample.sockets.entry((*state).to_owned()).or_default() += 1;
                }
            }
            if let Some(bytes) = process::disk_bytes(stat.id.pid) {
                self.disk.insert(stat.id, bytes);
            }
        }
        if self.tree.root() != own {
            cpu_s = self.tree.cpu_s();
        }
        let disk = self.disk.values().fold((0, 0), |(read, written), (r, w)| (read + r, written + w));
        let base = *self.base.get_or_insert(Base { cpu_s, disk });
        sample.cpu_s = (cpu_s - base.cpu_s).max(0.0);
        let elapsed_s = at_s - self.previous_at_s;
        if elapsed_s > 0.0 {
            sample.cpu_cores = ((sample.cpu_s - self.previous_cpu_s) / elapsed_s).max(0.0);
        }
        sample.disk_read_mib = disk.0.saturating_sub(base.disk.0) as f64 / BYTES_PER_MIB;
        sample.disk_write_mib = disk.1.saturating_sub(base.disk.1) as f64 / BYTES_PER_MIB;
        (self.previous_cpu_s, self.previous_at_s) = (sample.cpu_s, at_s);
        sample
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_sampled_from_the_start_to_the_end_of_the_run() {
        let mut child = std::process::Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        let own = i32::try_from(std::process::id()).unwrap();
        let watched = vec![
            Watched { name: "spinner".to_owned(), pid: i32::try_from(child.id()).unwrap() },
            Watched { name: "lab".to_owned(), pid: own },
        ];
        let origin = Arc::new(OnceLock::new());
        let sampler = Sampler::start(watched, Duration::from_millis(50), Arc::clone(&origin)).unwrap();
        origin.set(Instant::now()).unwrap();
        // Waits until the kernel has charged the spinner something, however busy the machine is.
        let id = i32::try_from(child.id()).unwrap();
        let before = process::stat(id).unwrap().cpu_s;
        while process::stat(id).unwrap().cpu_s < before + 0.2 {
            std::thread::sleep(Duration::from_millis(10));
        }
        let samples = sampler.finish();
        child.kill().unwrap();
        child.wait().unwrap();
        let of = |name: &str| {
            samples.resources.iter().filter(|sample| sample.target == name).cloned().collect::<Vec<_>>()
        };
        let spinner = of("spinner");
        assert!(spinner.len() >= 2 && spinner.len() == of("lab").len());
        let last = spinner.last().unwrap();
        assert!(
            last.cpu_s >= 0.1 && last.processes == 1 && last.rss_mib > 0.0 && last.threads == 1,
            "{last:?}"
        );
        assert!(of("lab").last().unwrap().processes == 1);
        assert!(spinner.windows(2).all(|pair| pair[0].at_s < pair[1].at_s && pair[0].cpu_s <= pair[1].cpu_s));
        assert_eq!(samples.pressure.len() + 1, spinner.len());
    }

    fn stat(pid: i32, parent: i32, cpu_s: f64, children_cpu_s: f64) -> (ProcessId, Stat) {
        let id = ProcessId { pid, started_ticks: 1 };
        let stat = Stat { id, parent, group: pid, cpu_s, children_cpu_s, threads: 1, is_zombie: false };
        (id, stat)
    }

    #[test]
    fn the_cpu_time_of_the_scenarios_own_processes_is_not_other_peoples() {
        // The lab, cargo, the bench, its Chrome, a renderer, and a compiler that was waited for between the looks.
        let lab = |children_s| stat(1, 0, 0.1, children_s);
        let before: BTreeMap<_, _> = [
            lab(0.0),
            stat(2, 1, 0.5, 30.0),
            stat(3, 2, 1.0, 0.0),
            stat(4, 3, 5.0, 0.0),
            stat(5, 4, 20.0, 0.0),
        ]
        .into();
        let close = |used_s: f64, expected_s: f64| assert!((used_s - expected_s).abs() < 1e-9, "{used_s}");
        // All at work: what each used, and a child that came and went.
        let working = [
            lab(0.0),
            stat(2, 1, 0.6, 30.4),
            stat(3, 2, 1.2, 0.0),
            stat(4, 3, 5.3, 0.0),
            stat(5, 4, 20.5, 0.0),
        ];
        close(used_since(&before, &working.into()), 0.1 + 0.4 + 0.2 + 0.3 + 0.5);
        // Chrome was killed and the bench waited for the browser only: the 20 s of the renderer vanish from the sum of
        // all processes, and the half second that the bench used since is still its own.
        let killed = [lab(0.0), stat(2, 1, 0.5, 30.0), stat(3, 2, 1.5, 5.0)];
        close(used_since(&before, &killed.into()), 0.5);
        // A compiler of which 10 s were seen and that was waited for after 10.4 s.
        let compiling: BTreeMap<_, _> = [lab(0.0), stat(2, 1, 0.5, 30.0), stat(6, 2, 10.0, 0.0)].into();
        close(used_since(&compiling, &[lab(0.0), stat(2, 1, 0.5, 40.4)].into()), 0.4);
        // A process that is new since the last look.
        close(used_since(&[lab(0.0)].into(), &[lab(0.0), stat(7, 1, 0.3, 0.0)].into()), 0.3);
    }

    #[test]
    fn too_many_samples_are_thinned_out_by_whole_looks() {
        let mut samples: Vec<ResourceSample> = (0..8)
            .map(|index| ResourceSample { at_s: f64::from(index / 2), ..ResourceSample::default() })
            .collect();
        thin_out(&mut samples, 2);
        assert_eq!(samples.iter().map(|sample| sample.at_s).collect::<Vec<_>>(), [0.0, 0.0, 2.0, 2.0]);
    }
}
