//! One trace per conversation: what agents do in it, and what follows from that on their behalf.

use paddock_platform::{
    identity::Tenant,
    telemetry::{join_trace, spans_are_sent},
};
use tracing::Span;

use crate::message::{AgentName, Label, Message};

/// The trace of a conversation. One whose id has the form of a trace's (32 hexadecimal digits, as those that are made here
/// have) is its trace's id as it is.
pub(crate) fn trace_of(tenant: &Tenant, conversation: &Label) -> u128 {
    let text = conversation.as_str();
    let is_id = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let id = is_id.then(|| u128::from_str_radix(text, 16).ok()).flatten().unwrap_or_else(|| {
        let hash = blake3::hash(format!("{tenant}\0{text}").as_bytes());
        let (start, _) = hash.as_bytes().split_at(16);
        start.iter().fold(0, |id, byte| (id << 8) | u128::from(*byte))
    });
    id.max(1)
}

/// The span of a turn; none for messages without a conversation, and where no spans are sent.
pub(crate) fn turn(tenant: &Tenant, agent: &AgentName, kind: &'static str, message: &Message) -> Span {
    let Some(conversation) = message.conversation.as_ref().filter(|_| spans_are_sent()) else {
        return Span::none();
    };
    let span = tracing::info_span!(
        parent: None,
        "turn",
        otel.name = format!("turn {agent}"),
        otel.kind = "consumer",
        gen_ai.operation.name = "invoke_agent",
        gen_ai.agent.name = agent.as_str(),
        gen_ai.conversation.id = conversation.as_str(),
        paddock.agent.kind = kind,
        paddock.message.id = %message.id,
        paddock.message.performative = message.performative.name(),
        paddock.message.sender = %message.sender,
        otel.status_code = tracing::field::Empty,
        error.message = tracing::field::Empty,
    );
    join_trace(&span, trace_of(tenant, conversation));
    span
}

/// The span of a tool call, below that of the turn that makes it.
pub(crate) fn tool(agent: &AgentName, tool: &str) -> Span {
    if !spans_are_sent() || Span::current().is_none() {
        return Span::none();
    }
    tracing::info_span!(
        "tool",
        otel.name = format!("execute_tool {tool}"),
        gen_ai.operation.name = "execute_tool",
        gen_ai.tool.name = tool,
        gen_ai.agent.name = agent.as_str(),
        otel.status_code = tracing::field::Empty,
        error.type = tracing::field::Empty,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_has_one_trace_and_its_id_may_be_it() {
        let (local, other): (Tenant, Tenant) = (Tenant::local(), "other".parse().unwrap());
        let label: Label = "4bf92f3577b34da6a3ce929d0e0e4736".parse().unwrap();
        assert_eq!(trace_of(&local, &label), 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        let fresh = Label::fresh();
        assert_eq!(format!("{:032x}", trace_of(&local, &fresh)), fresh.as_str());
        let named: Label = "order 7".parse().unwrap();
        assert_eq!(trace_of(&local, &named), trace_of(&local, &named));
        assert_ne!(trace_of(&local, &named), trace_of(&other, &named));
        assert_ne!(trace_of(&local, &"0".repeat(32).parse().unwrap()), 0);
    }
}
