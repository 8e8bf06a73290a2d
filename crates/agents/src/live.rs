//! What an agent tells on its way to an answer: what its model says as it says it, and the tools that it calls.
//!
//! Who wants to hear it waits for answers under a name that says so. It goes there as messages do, also to another server,
//! but leaves no trace: it is in no timeline, and who is too slow hears less of it. The answer is whole without it.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    message::{Address, AgentName, Content, Draft, Label, Message, Performative},
    turn::Host,
};

/// The protocol of what is told.
const PROTOCOL: &str = "paddock:live";
/// The end of the names of those who want to hear it.
const HEARS: &str = ".live";
/// Texts that are not told at once are told together after so long, or when they are so long.
const GATHER: Duration = Duration::from_millis(50);
const GATHER_BYTES: usize = 4 << 10;
/// An input of a tool that is larger is left out.
const INPUT_MAX: usize = 32 << 10;

/// The name of somebody who waits for answers and wants to hear what is told before.
pub(crate) fn hearing(name: Label) -> Label {
    format!("{name}{HEARS}").parse().unwrap_or(name)
}

/// Who wants to hear what is told on the way to the answer of a message.
fn hearer_of(message: &Message) -> Option<&Label> {
    match message.answer_to() {
        Address::Caller(name) if name.as_str().ends_with(HEARS) => Some(name),
        _ => None,
    }
}

/// Whether a message is something that is told on the way.
pub(crate) fn is_told(message: &Message) -> bool {
    let is_protocol = message.protocol.as_ref().is_some_and(|protocol| protocol.as_str() == PROTOCOL);
    is_protocol && message.performative == Performative::Agree
}

/// Something that an agent tells somebody.
pub(crate) fn told(by: &AgentName, to: &Label, content: Content) -> Arc<Message> {
    let draft = Draft::new(Performative::Agree, Address::Caller(to.clone()));
    draft.protocol(Label::of(PROTOCOL)).content(content).from(by.clone().into())
}

/// Tells somebody what happens in a run. Texts are gathered for a moment, and longer while who hears them is behind.
pub(crate) struct Teller {
    host: Arc<dyn Host>,
    hearer: Label,
    step: AtomicU32,
    gathered: Mutex<Gathered>,
}

#[derive(Default)]
struct Gathered {
    text: String,
    /// When a text was told last, or was to be.
    told_at: Option<Instant>,
    /// Whether who hears it did not take the last one.
    is_behind: bool,
}

impl Teller {
    /// For somebody who wants to hear what is told on the way to the answer of a message.
    pub(crate) fn new(host: &Arc<dyn Host>, message: &Message) -> Option<Arc<Self>> {
        let hearer = hearer_of(message)?.clone();
        let (host, step, gathered) = (Arc::clone(host), AtomicU32::new(0), Mutex::default());
        Some(Arc::new(Self { host, hearer, step, gathered }))
    }

    /// The model is asked for this time.
    pub(crate) fn begin_step(&self, step: u32) {
        self.gathered().text.clear();
        self.step.store(step, Ordering::Relaxed);
    }

    /// The model says more.
    pub(crate) fn text(&self, piece: &str) {
        let mut gathered = self.gathered();
        gathered.text.push_str(piece);
        let is_due = gathered.told_at.is_none_or(|at| at.elapsed() >= GATHER);
        // All of it is written anew whenever it is told: who is behind is not asked at each piece.
        if is_due || (gathered.text.len() >= GATHER_BYTES && !gathered.is_behind) {
            self.tell_text(&mut gathered);
        }
    }

    /// The model has said what it says.
    pub(crate) fn end_text(&self) {
        self.tell_text(&mut self.gathered());
    }

    /// A tool is called.
    pub(crate) fn tool(&self, name: &str, input: &Value) {
        let mut event = json!({ "event": "tool", "step": self.step(), "tool": name });
        if input.to_string().len() <= INPUT_MAX {
            event["input"] = input.clone();
        }
        self.host.tell(&self.hearer, &event);
    }

    /// A tool has answered, or failed.
    pub(crate) fn tool_result(&self, name: &str, error: Option<&Value>, took_ms: u64) {
        let mut event =
            json!({ "event": "tool_result", "step": self.step(), "tool": name, "duration_ms": took_ms });
        if let Some(error) = error {
            event["error"] = error.clone();
        }
        self.host.tell(&self.hearer, &event);
    }

    /// Somebody has to approve a call.
    pub(crate) fn approval(&self, approval: &Value) {
        self.host.tell(&self.hearer, &json!({ "event": "approval", "approval": approval }));
    }

    fn step(&self) -> u32 {
        self.step.load(Ordering::Relaxed)
    }

    fn gathered(&self) -> std::sync::MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell_text(&self, gathered: &mut Gathered) {
        if gathered.text.is_empty() {
            return;
        }
        gathered.told_at = Some(Instant::now());
        let event = json!({ "event": "text", "step": self.step(), "text": gathered.text });
        gathered.is_behind = !self.host.tell(&self.hearer, &event);
        if !gathered.is_behind {
            gathered.text.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use futures_util::future::{BoxFuture, ready};
    use paddock_platform::problem::Problem;

    use super::*;

    /// Somebody who hears, unless he is behind.
    #[derive(Default)]
    struct Ear {
        heard: Mutex<Vec<Value>>,
        is_behind: AtomicBool,
    }

    impl Host for Ear {
        fn may_call(&self, _: &str) -> bool {
            false
        }

        fn call_tool(&self, name: &str, _: Value) -> BoxFuture<'static, Result<Value, Problem>> {
            Box::pin(ready(Err(Problem::not_found("tool", name))))
        }

        fn log(&self, _: tracing::Level, _: &str) {}

        fn tool_specs(&self) -> Vec<Value> {
            Vec::new()
        }

        fn note(&self, _: Option<&Label>, _: &'static str, _: Value) {}

        fn tell(&self, hearer: &Label, event: &Value) -> bool {
            assert_eq!(hearer.as_str(), "x.live");
            let hears = !self.is_behind.load(Ordering::SeqCst);
            if hears {
                self.heard.lock().unwrap().push(event.clone());
            }
            hears
        }
    }

    fn asked_by(name: &str) -> Arc<Message> {
        let to: AgentName = "a".parse().unwrap();
        Draft::new(Performative::Request, to).from(format!("caller:{name}").parse().unwrap())
    }

    #[test]
    fn only_who_wants_to_hear_is_told() {
        let host: Arc<dyn Host> = Arc::new(Ear::default());
        assert!(Teller::new(&host, &asked_by("x")).is_none());
        assert!(Teller::new(&host, &asked_by(hearing(Label::of("x")).as_str())).is_some());
        let to_an_agent = Draft::new(Performative::Request, "a".parse::<AgentName>().unwrap());
        assert!(Teller::new(&host, &to_an_agent.from("b".parse().unwrap())).is_none());
    }

    #[test]
    fn texts_are_gathered_and_wait_for_who_is_behind() {
        let ear = Arc::new(Ear::default());
        let host: Arc<dyn Host> = Arc::<Ear>::clone(&ear);
        let teller = Teller::new(&host, &asked_by("x.live")).unwrap();
        teller.begin_step(1);
        teller.text("It ");
        ear.is_behind.store(true, Ordering::SeqCst);
        teller.text(&"rains ".repeat(GATHER_BYTES));
        teller.end_text();
        ear.is_behind.store(false, Ordering::SeqCst);
        teller.text("today");
        teller.end_text();
        teller.tool("umbrella", &json!({ "size": "x".repeat(INPUT_MAX) }));
        let heard = ear.heard.lock().unwrap().clone();
        let texts: Vec<&str> = heard.iter().filter_map(|event| event["text"].as_str()).collect();
        assert_eq!(texts.concat(), format!("It {}today", "rains ".repeat(GATHER_BYTES)));
        assert_eq!(heard[0], json!({ "event": "text", "step": 1, "text": "It " }));
        assert_eq!(heard.last(), Some(&json!({ "event": "tool", "step": 1, "tool": "umbrella" })));
    }

    #[test]
    fn what_is_told_is_no_answer_whatever_protocol_a_message_names() {
        let answer = Draft::new(Performative::Inform, "a".parse::<AgentName>().unwrap());
        assert!(!is_told(answer.protocol(Label::of(PROTOCOL)).message()));
        let (by, to) = ("a".parse().unwrap(), Label::of("x.live"));
        assert!(is_told(&told(&by, &to, Content::text("x"))));
    }
}
