//! The same ring of the same messages with the actors of kameo, in turns with Paddock's.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use kameo::{
    actor::{Actor, ActorRef, Spawn as _},
    error::Infallible,
    mailbox,
    message::{Context, Message},
};
use paddock_agents::message::Content;

use crate::{
    figures::{Durations, Figures, MEASURED, WARM_UP, at_most, figures, lasting},
    route::{COUNTED_AT_ONCE, IN_FLIGHT, route},
    server::payload,
};

/// As many as a mailbox of Paddock has room for.
const MAILBOX: usize = 1_000;
/// Paddock and its peer have so many turns.
const ROUNDS: usize = 3;

/// What all actors of a ring share.
#[derive(Default)]
struct Ring {
    actors: OnceLock<Vec<ActorRef<Passer>>>,
    handled: AtomicU64,
    is_over: AtomicBool,
}

/// Passes on what it gets to the next.
struct Passer {
    next: usize,
    mine: u64,
    ring: Arc<Ring>,
}

impl Actor for Passer {
    type Args = Self;
    type Error = Infallible;

    async fn on_start(own: Self, _: ActorRef<Self>) -> Result<Self, Infallible> {
        Ok(own)
    }
}

impl Message<Content> for Passer {
    type Reply = ();

    async fn handle(&mut self, content: Content, _: &mut Context<Self, ()>) {
        self.mine += 1;
        if self.mine.is_multiple_of(COUNTED_AT_ONCE) {
            self.ring.handled.fetch_add(COUNTED_AT_ONCE, Ordering::Relaxed);
        }
        if self.ring.is_over.load(Ordering::Relaxed) {
            return;
        }
        if let Some(actors) = self.ring.actors.get() {
            // One that was stopped takes no messages any more.
            let _ = actors[self.next].tell(content).await;
        }
    }
}

/// Messages a second.
async fn kameo(count: usize) -> f64 {
    let ring = Arc::new(Ring::default());
    let spawn = |number| {
        let passer = Passer { next: (number + 1) % count, mine: 0, ring: Arc::clone(&ring) };
        Passer::spawn_with_mailbox(passer, mailbox::bounded(MAILBOX))
    };
    let actors = ring.actors.get_or_init(|| (0..count).map(spawn).collect());
    let content = payload();
    for _ in 0..IN_FLIGHT {
        for actor in actors {
            actor.tell(content.clone()).await.unwrap();
        }
    }
    tokio::time::sleep(lasting(WARM_UP)).await;
    let (handled, began) = (ring.handled.load(Ordering::Relaxed), Instant::now());
    tokio::time::sleep(lasting(MEASURED)).await;
    let messages = (ring.handled.load(Ordering::Relaxed) - handled) as f64;
    let per_second = messages / began.elapsed().as_secs_f64();
    ring.is_over.store(true, Ordering::Relaxed);
    for actor in actors {
        actor.kill();
        actor.wait_for_shutdown().await;
    }
    per_second
}

pub(crate) async fn peers(count: usize) -> Figures {
    let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..at_most(ROUNDS, 1) {
        let own = route(count).await["messages_per_s"].unwrap();
        let other = kameo(count).await;
        ours.push(own);
        theirs.push(other);
        ratios.push(own / other);
    }
    let median = |values| Durations::of(values).at(0.5);
    figures([
        ("messages_per_s", median(ours)),
        ("kameo_messages_per_s", median(theirs)),
        ("ahead_of_kameo_ratio", median(ratios)),
    ])
}
