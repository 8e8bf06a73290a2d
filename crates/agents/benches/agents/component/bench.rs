//! An agent to measure with: answers a request with what came, computes for `query-if`, counts what it is told, and tells
//! how much that was for `query-ref`.

mod paddock;
mod work;

use paddock::{Agent, Content, Description, Failure, Message, Performative, Start, messaging};

struct Bench;

impl Agent for Bench {
    fn describe() -> Description {
        Description {
            name: Some("guest".to_owned()),
            description: "Answers, computes and counts.".to_owned(),
            capabilities: vec!["bench".to_owned()],
            tools: Vec::new(),
        }
    }

    fn init(_start: Start) -> Result<(), Failure> {
        Ok(())
    }

    fn handle(message: Message) -> Result<(), Failure> {
        match message.performative {
            Performative::QueryIf => {
                let rounds = std::str::from_utf8(&message.content.body).ok().and_then(|text| text.parse().ok());
                let rounds = rounds.ok_or_else(|| Failure::Invalid("send a number of rounds".to_owned()))?;
                tell(work::work(rounds))
            }
            Performative::QueryRef => tell(count()),
            Performative::Inform => paddock::save("count", &(count() + 1)),
            _ => answer(&message.content),
        }
    }
}

fn count() -> u64 {
    paddock::load("count").unwrap_or(0)
}

fn tell(value: u64) -> Result<(), Failure> {
    answer(&Content { media_type: "text/plain".to_owned(), body: value.to_string().into_bytes() })
}

fn answer(content: &Content) -> Result<(), Failure> {
    messaging::reply(Performative::Inform, content).map(drop).map_err(Failure::Invalid)
}

paddock::export!(Bench with_types_in paddock);
