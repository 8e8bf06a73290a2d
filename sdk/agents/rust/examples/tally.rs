//! Keeps running figures: `{"name": "latency", "value": 12.5}` is counted in, `query-ref` with `{"name": "latency"}` is
//! answered with count, mean, least and greatest.

mod paddock;

use paddock::{Agent, Description, Failure, Message, Performative, Start};
use serde::{Deserialize, Serialize};

struct Tally;

#[derive(Deserialize)]
struct Sample {
    name: String,
    value: f64,
}

#[derive(Deserialize)]
struct Query {
    name: String,
}

#[derive(Serialize, Deserialize)]
struct Figures {
    count: u64,
    mean: f64,
    least: f64,
    greatest: f64,
}

impl Agent for Tally {
    fn describe() -> Description {
        Description {
            name: Some("agent-name".to_owned()),
            description: "Keeps running figures and tells them when asked.".to_owned(),
            capabilities: vec!["tally".to_owned()],
            tools: Vec::new(),
        }
    }

    fn init(_start: Start) -> Result<(), Failure> {
        Ok(())
    }

    fn handle(message: Message) -> Result<(), Failure> {
        match message.performative {
            Performative::Inform | Performative::Request => count(&paddock::read(&message)?),
            Performative::QueryRef => answer(&paddock::read(&message)?),
            other => Err(Failure::Invalid(format!("{other:?} means nothing here; send inform, request or query-ref"))),
        }
    }
}

fn key(name: &str) -> String {
    format!("figures/{name}")
}

fn count(sample: &Sample) -> Result<(), Failure> {
    if !sample.value.is_finite() || sample.name.is_empty() || sample.name.len() > 100 {
        return Err(Failure::Invalid("`value` must be a number and `name` 1 to 100 bytes".to_owned()));
    }
    let key = key(&sample.name);
    let figures = match paddock::load::<Figures>(&key) {
        None => Figures { count: 1, mean: sample.value, least: sample.value, greatest: sample.value },
        Some(old) => {
            let count = old.count + 1;
            Figures {
                count,
                mean: old.mean + (sample.value - old.mean) / count as f64,
                least: old.least.min(sample.value),
                greatest: old.greatest.max(sample.value),
            }
        }
    };
    paddock::save(&key, &figures)?;
    paddock::reply(Performative::Inform, &figures)
}

fn answer(query: &Query) -> Result<(), Failure> {
    match paddock::load::<Figures>(&key(&query.name)) {
        Some(figures) => paddock::reply(Performative::Inform, &figures),
        None => Err(Failure::Invalid(format!("nothing was counted as `{}`", query.name))),
    }
}

paddock::export!(Tally with_types_in paddock);
