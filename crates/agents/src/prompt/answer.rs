//! What the model reads of a message, and what its answer is in the protocol of that message.

use serde_json::Value;

use crate::message::{Content, Message, Performative};

/// Whether a message tells something, and asks for nothing. A proposal that answers no call asks to be taken up.
pub(super) fn only_tells(message: &Message) -> bool {
    let is_asked = message.performative == Performative::Propose && message.in_reply_to.is_none();
    message.performative.is_answer() && !is_asked
}

/// What answers a message that was done, by what the answer says.
pub(super) fn performative_of(asked: Performative, answer: &Content) -> Performative {
    let value: Value =
        if answer.media_type.is_json() { answer.read().unwrap_or_default() } else { Value::Null };
    let text =
        if value.is_null() { answer.to_text().trim_start().to_ascii_uppercase() } else { String::new() };
    match asked {
        Performative::Cfp => {
            let refuses = text.starts_with("REFUSE")
                || value
                    .get("refuse")
                    .is_some_and(|refuse| !matches!(refuse, Value::Null | Value::Bool(false)));
            if refuses { Performative::Refuse } else { Performative::Propose }
        }
        Performative::Propose => {
            let accepts = text.starts_with("ACCEPT") || value["accept"] == true;
            if accepts { Performative::AcceptProposal } else { Performative::RejectProposal }
        }
        _ => Performative::Inform,
    }
}

/// What the model reads of a message.
pub(super) fn question(message: &Message) -> String {
    let body = message.content.to_text();
    let is_plain = matches!(message.performative, Performative::Request | Performative::QueryRef);
    let input = message.content.read::<Value>().filter(|_| message.content.media_type.is_json());
    // `{"input": "text"}` is how `execute` asks.
    let text = input.as_ref().and_then(|input| match input {
        Value::Object(members) if members.len() == 1 => members.get("input")?.as_str().map(str::to_owned),
        Value::String(text) => Some(text.clone()),
        _ => None,
    });
    let text = text.unwrap_or_else(|| body.into_owned());
    if is_plain {
        return text;
    }
    let hint = match message.performative {
        Performative::Cfp => "\n\nAnswer with your proposal, or with REFUSE and the reason.",
        Performative::Propose if !only_tells(message) => "\n\nAnswer with ACCEPT or REJECT, and the reason.",
        _ => "",
    };
    format!("[{} from {}] {text}{hint}", message.performative, message.sender)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::message::{Address, Draft, Label};

    #[test]
    fn an_answer_is_read_in_its_protocol() {
        for (asked, answer, expected) in [
            (Performative::Request, Content::text("REFUSE"), Performative::Inform),
            (Performative::Cfp, Content::text("30 euros"), Performative::Propose),
            (Performative::Cfp, Content::text(" refuse: too busy"), Performative::Refuse),
            (Performative::Cfp, Content::json(&json!({ "refuse": "too busy" })), Performative::Refuse),
            (
                Performative::Cfp,
                Content::json(&json!({ "price": 3, "refuse": false })),
                Performative::Propose,
            ),
            (Performative::Propose, Content::text("Accept, gladly"), Performative::AcceptProposal),
            (Performative::Propose, Content::text("perhaps"), Performative::RejectProposal),
            (Performative::Propose, Content::json(&json!({ "accept": true })), Performative::AcceptProposal),
        ] {
            assert_eq!(performative_of(asked, &answer), expected, "{asked} {answer:?}");
        }
    }

    #[test]
    fn a_proposal_asks_unless_it_answers_a_call() {
        let draft = || Draft::new(Performative::Propose, "a".parse::<Address>().unwrap()).text("lunch");
        assert!(!only_tells(draft().message()));
        assert!(question(draft().message()).contains("ACCEPT or REJECT"));
        let answer = draft().in_reply_to(Label::of("call"));
        assert!(only_tells(answer.message()));
        assert!(!question(answer.message()).contains("ACCEPT"));
    }
}
