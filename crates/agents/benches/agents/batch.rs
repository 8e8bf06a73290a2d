//! Small things that are asked often: a batch of messages, tasks for a pool, one answer after the other.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use paddock_agents::{
    AgentDefinition, Native, Turn,
    message::{Address, Capability, Draft, Message, Performative, Pick},
};
use paddock_platform::store::testing::Fixture;

use crate::{
    figures::{Durations, Figures, at_most, figures, millis},
    server::{Server, inform, names, options, payload, request},
};

const MESSAGES: usize = 10_000;
const TASKS: usize = 1_000;
const POOL: usize = 10;
const ANSWERS: usize = 10_000;

pub(crate) async fn batch() -> Figures {
    let fixture = Fixture::sqlite();
    let server = Server::start(&fixture, options()).await;
    let (batch_per_s, tasks_per_s) = (messages(&server).await, tasks(&server).await);
    let answers = answers(&server).await;
    server.stop().await;
    figures([
        ("batch_per_s", batch_per_s),
        ("tasks_per_s", tasks_per_s),
        ("answer_p50_ms", answers.at(0.5)),
        ("answer_p90_ms", answers.at(0.9)),
        ("answer_p95_ms", answers.at(0.95)),
        ("answer_p99_ms", answers.at(0.99)),
        ("answer_p999_ms", answers.at(0.999)),
        ("answer_max_ms", answers.at(1.0)),
    ])
}

/// A batch to twenty agents, until the last message is handled.
async fn messages(server: &Server) -> f64 {
    let handled = Arc::new(AtomicUsize::new(0));
    let names = names("batch", 20);
    for name in &names {
        let handled = Arc::clone(&handled);
        server.native(name, move || {
            let handled = Arc::clone(&handled);
            move |_: &Message, _: &mut Turn| {
                handled.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
        });
    }
    let (content, began) = (payload(), Instant::now());
    for number in 0..MESSAGES {
        server.send(inform(&names[number % names.len()], &content)).await;
    }
    while handled.load(Ordering::Relaxed) < MESSAGES {
        tokio::time::sleep(Duration::from_micros(100)).await;
    }
    MESSAGES as f64 / began.elapsed().as_secs_f64()
}

/// Tasks for whoever of a pool has the least to do, until all are answered.
async fn tasks(server: &Server) -> f64 {
    let capability: Capability = "work".parse().unwrap();
    for name in names("worker", POOL) {
        let definition =
            AgentDefinition { capabilities: vec![capability.clone()], ..AgentDefinition::native(name) };
        server.register(definition, || {
            Native::new(|message, turn| {
                turn.send(Draft::reply(message, Performative::Inform).content(message.content.clone()))
                    .map(|_| ())
            })
        });
    }
    let (content, began) = (payload(), Instant::now());
    let task = |_| {
        let to = Address::Capability { name: capability.clone(), pick: Pick::LeastLoaded };
        server.ask(Draft::new(Performative::Request, to).content(content.clone()))
    };
    futures_util::future::join_all((0..TASKS).map(task)).await;
    TASKS as f64 / began.elapsed().as_secs_f64()
}

/// How long an agent takes to answer who asks it alone.
async fn answers(server: &Server) -> Durations {
    let (name, content) = ("echo".parse().unwrap(), payload());
    server.native(&name, || {
        |message: &Message, turn: &mut Turn| {
            turn.send(Draft::reply(message, Performative::Inform).content(message.content.clone()))
                .map(|_| ())
        }
    });
    let mut took = Vec::new();
    for _ in 0..at_most(ANSWERS, 500) {
        let began = Instant::now();
        server.ask(request(&name, &content)).await;
        took.push(millis(began.elapsed()));
    }
    Durations::of(took)
}
