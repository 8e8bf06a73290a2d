//! Bids in a contract net: a `cfp` with `{"task": "…", "size": 3}` is answered with a price while there is capacity for
//! it, or refused; what is accepted is done, and its cost told. Starts with `{"capacity": 10, "price": 2.0}` from its
//! configuration.

mod paddock;

use paddock::{Agent, Description, Failure, Level, Message, Performative, Start, log};
use serde::{Deserialize, Serialize};

struct Bidder;

#[derive(Deserialize)]
#[serde(default)]
struct Config {
    capacity: u32,
    price: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self { capacity: 10, price: 1.0 }
    }
}

#[derive(Deserialize)]
struct Call {
    task: String,
    size: u32,
}

#[derive(Serialize, Deserialize)]
struct Bid {
    task: String,
    size: u32,
    price: f64,
}

impl Agent for Bidder {
    fn describe() -> Description {
        Description {
            name: Some("agent-name".to_owned()),
            description: "Bids for tasks as long as it has capacity for them.".to_owned(),
            capabilities: vec!["bid".to_owned()],
            tools: Vec::new(),
        }
    }

    fn init(start: Start) -> Result<(), Failure> {
        if start.is_first {
            paddock::save("free", &config().capacity)?;
        }
        Ok(())
    }

    fn handle(message: Message) -> Result<(), Failure> {
        let bid = format!("bid/{}", message.conversation.as_deref().unwrap_or(&message.id));
        match message.performative {
            Performative::Cfp => propose(&bid, paddock::read(&message)?),
            Performative::AcceptProposal => carry_out(&bid),
            Performative::RejectProposal | Performative::Cancel => {
                release(&bid)?;
                Ok(())
            }
            other => Err(Failure::Invalid(format!("{other:?} is not part of a contract net's bidder"))),
        }
    }
}

fn config() -> Config {
    paddock::load("config").unwrap_or_default()
}

/// Capacity is set aside with the bid, so that what is accepted can be done.
fn propose(key: &str, call: Call) -> Result<(), Failure> {
    let free = paddock::load::<u32>("free").unwrap_or(0);
    if call.size > free {
        return paddock::reply(Performative::Refuse, &serde_json::json!({ "free": free }));
    }
    // The fuller, the dearer.
    let config = config();
    let scarcity = 1.0 + f64::from(config.capacity.saturating_sub(free)) / f64::from(config.capacity.max(1));
    let bid = Bid { price: config.price * f64::from(call.size) * scarcity, task: call.task, size: call.size };
    paddock::save("free", &(free - call.size))?;
    paddock::save(key, &bid)?;
    paddock::reply(Performative::Propose, &bid)
}

fn carry_out(key: &str) -> Result<(), Failure> {
    let Some(bid) = release(key)? else {
        return Err(Failure::Invalid("nothing was proposed in this conversation".to_owned()));
    };
    log::write(Level::Info, &format!("did `{}` for {}", bid.task, bid.price));
    paddock::reply(Performative::Inform, &serde_json::json!({ "done": bid.task, "cost": bid.price }))
}

fn release(key: &str) -> Result<Option<Bid>, Failure> {
    let Some(bid) = paddock::load::<Bid>(key) else { return Ok(None) };
    paddock::state::remove(key);
    paddock::save("free", &(paddock::load::<u32>("free").unwrap_or(0) + bid.size))?;
    Ok(Some(bid))
}

paddock::export!(Bidder with_types_in paddock);
