//! What all parts of the job queue share.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use paddock_platform::{
    blobs::Blobs,
    config::Section,
    identity::Tenant,
    params,
    store::{Store, StoreError},
    task::Tasks,
};
use tokio::sync::{Notify, broadcast};
use tokio_util::sync::CancellationToken;

use crate::{
    JobError, JobEvent, JobsOptions, Registry,
    clock::Clock,
    dispatch::Supply,
    event::EventKind,
    hear,
    id::{Ids, JobId},
    ledger::{self, Ending, Ledger},
    metrics::Meters,
    node::Node,
    policy::{Policy, QueueMode},
    running::{Outstanding, Running},
    store::{MIGRATIONS, row, sql},
    verdict::{Moment, Verdict},
    waiters::Waiters,
};

/// Events that a slow listener may be behind.
const EVENTS_MAX: usize = 4_096;
/// Jobs of a server that died are taken up so many at a time.
const RECOVERY_BATCH: u32 = 1_000;

pub(crate) struct Core {
    pub(crate) store: Store,
    pub(crate) blobs: Blobs,
    pub(crate) tasks: Tasks,
    pub(crate) clock: Clock,
    pub(crate) ids: Arc<Ids>,
    pub(crate) node: Node,
    pub(crate) registry: Registry,
    section: Section<JobsOptions>,
    policy: ArcSwap<Policy>,
    modes: ArcSwap<HashMap<String, QueueMode>>,
    pub(crate) ledger: Ledger,
    pub(crate) events: broadcast::Sender<JobEvent>,
    pub(crate) waiters: Waiters,
    pub(crate) supply: Supply,
    pub(crate) running: Running,
    pub(crate) outstanding: Outstanding,
    pub(crate) due: Due,
    pub(crate) beat_now: Notify,
    /// The server is asked to stop.
    pub(crate) closing: CancellationToken,
    pub(crate) meters: Meters,
}

impl Core {
    pub(crate) async fn open(
        store: Store,
        blobs: Blobs,
        section: Section<JobsOptions>,
        tasks: &Tasks,
    ) -> Result<Arc<Self>, JobError> {
        store.migrate(&MIGRATIONS).await?;
        let clock = Clock::open(&store).await?;
        let node = Node::take(&store, clock.now()).await?;
        let secret = secret(&store).await?;
        let largest = store.query_first(&sql::LARGEST, params![]).await?;
        let largest: Option<i64> = largest.map(|row| row.get(0_usize)).transpose()?.flatten();
        let policy = Policy::new(section.current(), None);
        let (ledger, intake) = Ledger::new(policy.options.pending_max);
        let core = Arc::new(Self {
            clock,
            ids: Arc::new(Ids::new(secret, node.number, largest.unwrap_or(0))),
            supply: Supply::new(policy.options.pollers_max),
            policy: ArcSwap::from_pointee(policy),
            modes: ArcSwap::default(),
            events: broadcast::channel(EVENTS_MAX).0,
            store,
            blobs,
            tasks: tasks.clone(),
            node,
            registry: Registry::default(),
            section,
            ledger,
            waiters: Waiters::default(),
            running: Running::default(),
            outstanding: Outstanding::default(),
            due: Due::default(),
            beat_now: Notify::new(),
            closing: CancellationToken::new(),
            meters: Meters::default(),
        });
        core.read_modes().await?;
        core.recount().await?;
        ledger::spawn(&core, intake);
        hear::spawn(&core);
        Ok(core)
    }

    /// Now, by the clock that leases are kept by.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The options in force.
    pub(crate) fn policy(&self) -> arc_swap::Guard<Arc<Policy>> {
        self.policy.load()
    }

    /// Follows a reload of the configuration.
    pub(crate) fn reread_options(&self) {
        let current = self.section.current();
        let before = self.policy.load_full();
        if current != before.options {
            self.policy.store(Arc::new(Policy::new(current, Some(&before))));
        }
    }

    pub(crate) fn mode(&self, queue: &str) -> QueueMode {
        self.modes.load().get(queue).copied().unwrap_or_default()
    }

    /// The queues out of which nothing is taken.
    pub(crate) fn paused(&self) -> BTreeSet<String> {
        let modes = self.modes.load();
        let paused = modes.iter().filter(|(_, mode)| **mode == QueueMode::Paused);
        paused.map(|(queue, _)| queue.clone()).collect()
    }

    /// What was done to queues, on whatever server.
    pub(crate) async fn read_modes(&self) -> Result<(), StoreError> {
        let rows = self.store.query(&sql::MODES, params![]).await?;
        let mode = |row: &paddock_platform::store::Row| {
            Ok::<_, StoreError>((row.get(0_usize)?, QueueMode::parse(&row.get::<String>(1_usize)?)))
        };
        let modes: HashMap<String, QueueMode> = rows.iter().map(mode).collect::<Result<_, _>>()?;
        if **self.modes.load() != modes {
            self.modes.store(Arc::new(modes));
            self.supply.look();
        }
        Ok(())
    }

    /// Counts what waits, so that the depth of the queues is known.
    pub(crate) async fn recount(&self) -> Result<(), StoreError> {
        let mut depths: HashMap<String, i64> = HashMap::new();
        for row in self.store.query(&sql::COUNT, params![""]).await? {
            let (queue, state, count): (String, i64, i64) =
                (row.get(0_usize)?, row.get(1_usize)?, row.get(2_usize)?);
            if matches!(state, 0 | 1 | 8) {
                *depths.entry(queue).or_default() += count;
            }
        }
        for (name, queue) in &self.policy().queues {
            queue.live.recounted(depths.get(&**name).copied().unwrap_or(0));
        }
        Ok(())
    }

    /// Takes back what a server ran that died with it. Where servers share a store, the leases of one that died end by
    /// themselves.
    pub(crate) async fn recover(self: &Arc<Self>) -> Result<(), JobError> {
        if self.store.is_shared() {
            return Ok(());
        }
        let mut recovered = 0;
        loop {
            let rows = self.store.query(&sql::ORPHANED, params![RECOVERY_BATCH]).await?;
            if rows.is_empty() {
                break;
            }
            recovered += rows.len();
            for row in &rows {
                let job = Arc::new(row::job(row, &self.ids)?);
                let moment = Moment::by_chance(self.now(), Duration::ZERO);
                let verdict = Verdict::lost(&job, &self.policy().of(&job.queue).options, moment);
                self.ledger.end(Ending::new(job, verdict, moment.now)).await?;
            }
            self.ledger.settled().await;
        }
        if recovered > 0 {
            tracing::info!(jobs = recovered, "took back the jobs that ran when the server ended");
        }
        Ok(())
    }

    /// The key of an id that was given out to this tenant.
    pub(crate) fn key_of(&self, tenant: &Tenant, id: JobId) -> Result<i64, JobError> {
        self.ids.key_of(tenant, id).ok_or_else(|| JobError::NotFound(id.to_string()))
    }

    /// Tells whoever listens. What is told was committed.
    pub(crate) fn tell(&self, event: impl FnOnce() -> JobEvent) {
        if self.events.receiver_count() > 0 {
            let _ = self.events.send(event());
        }
    }

    pub(crate) fn tell_state(&self, job: &crate::Job, state: crate::JobState, changes: u64) {
        self.tell(|| JobEvent {
            id: job.id,
            tenant: job.tenant.clone(),
            queue: Arc::clone(&job.queue),
            kind: Arc::clone(&job.kind),
            sequence: changes,
            at: Timestamp::now(),
            attempt: job.attempt,
            parent: job.parent.as_deref().map(Into::into),
            what: EventKind::State(state),
        });
    }
}

/// The secret that ids are made under: drawn once per database.
async fn secret(store: &Store) -> Result<[u8; 32], StoreError> {
    const NAME: &str = "ids";
    let (first, second) = (uuid::Uuid::new_v4(), uuid::Uuid::new_v4());
    let drawn = blake3::hash(&[first.into_bytes(), second.into_bytes()].concat()).to_hex().to_string();
    store.execute(&sql::SET_META, params![NAME, drawn]).await?;
    let row = store.query_first(&sql::META, params![NAME]).await?;
    let text: Option<String> = row.map(|row| row.get(0_usize)).transpose()?;
    let hash = text.and_then(|text| blake3::Hash::from_hex(text).ok());
    hash.map(|hash| *hash.as_bytes())
        .ok_or_else(|| StoreError::Corrupt("the secret of job ids cannot be read".to_owned()))
}

/// When the next scheduled job becomes ready, as far as this server knows.
#[derive(Debug)]
pub(crate) struct Due {
    at_ms: AtomicI64,
    sooner: Notify,
}

impl Default for Due {
    fn default() -> Self {
        Self { at_ms: AtomicI64::new(i64::MAX), sooner: Notify::new() }
    }
}

impl Due {
    /// A job becomes ready then.
    pub(crate) fn at(&self, moment: Timestamp) {
        let at_ms = moment.as_millisecond();
        if self.at_ms.fetch_min(at_ms, Ordering::AcqRel) > at_ms {
            self.sooner.notify_one();
        }
    }

    /// Forgets what was known: the store is asked next.
    pub(crate) fn reset(&self) {
        self.at_ms.store(i64::MAX, Ordering::Release);
    }

    /// How long until then, at most `wait_max`.
    pub(crate) fn wait(&self, now: Timestamp, wait_max: Duration) -> Duration {
        let left_ms = self.at_ms.load(Ordering::Acquire).saturating_sub(now.as_millisecond());
        Duration::from_millis(left_ms.max(0).cast_unsigned()).min(wait_max)
    }

    /// Resolves when an earlier time became known.
    pub(crate) async fn sooner(&self) {
        self.sooner.notified().await;
    }
}
