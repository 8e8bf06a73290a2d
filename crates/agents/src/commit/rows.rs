//! Changes as the store has them.

use std::sync::Arc;

use jiff::Timestamp;
use paddock_platform::{params, store::Value};

use super::{Place, Submitted};
use crate::{
    dead::DeadLetterView,
    envelope,
    mailbox::AWAY,
    nodes::Nodes,
    store::{ChangeRows, Fence},
};

/// The rows of changes whose messages have these places; where several servers share the agents, with what has to hold for
/// them to be written.
pub(super) fn rows_of(nodes: Option<&Nodes>, batch: &[Submitted], places: &[Vec<i64>]) -> ChangeRows {
    ChangeRows { fence: nodes.map(|nodes| fence_of(nodes, batch, places)), ..changes_of(batch, places) }
}

fn fence_of(nodes: &Nodes, batch: &[Submitted], places: &[Vec<i64>]) -> Fence {
    let mut fence = Fence { node: nodes.id(), ..Fence::default() };
    for (submitted, places) in batch.iter().zip(places) {
        fence.claims.extend(submitted.change.agent.iter().chain(&submitted.change.claims).cloned());
        for (post, place) in submitted.change.posts.iter().zip(places) {
            let epoch = post.place.as_ref().map_or(AWAY, Place::epoch);
            fence.posts.push((*place, Arc::clone(&post.cell.key), epoch));
        }
    }
    fence
}

fn changes_of(batch: &[Submitted], places: &[Vec<i64>]) -> ChangeRows {
    let now = Timestamp::now();
    let mut rows = ChangeRows::default();
    for (submitted, places) in batch.iter().zip(places) {
        let change = &submitted.change;
        for (post, place) in change.posts.iter().zip(places) {
            let (agent, message) = (&*post.cell.key, &post.message);
            rows.seen.push(params![agent, &message.id.as_bytes()[..], *place, now]);
            let content = Value::Blob(message.content.body.clone());
            rows.messages.push((*place, params![agent, *place, envelope::write(message), content]));
        }
        if let Some((agent, _)) = &change.agent {
            rows.consumed.extend(change.consumed.iter().map(|place| params![&**agent, *place]));
            for (entry, content) in &change.state {
                match content {
                    Some(content) => rows.set.push(params![&**agent, entry, Value::Blob(content.clone())]),
                    None => rows.unset.push(params![&**agent, entry]),
                }
            }
        }
        if let Some((agent, _)) = &change.agent {
            for (at, message) in &change.reminders {
                let content = Value::Blob(message.content.body.clone());
                let id = &message.id.as_bytes()[..];
                rows.reminders.push(params![&**agent, id, *at, envelope::write(message), content]);
            }
        }
        rows.rung.extend(change.rung.iter().map(|(agent, id)| params![&**agent, &id.as_bytes()[..]]));
        let scheduled = change.scheduled.iter();
        rows.scheduled.extend(scheduled.map(|(agent, spec, due)| params![&**agent, spec, *due]));
        for letter in &change.dead {
            let view = serde_json::to_string(&DeadLetterView::from(letter)).unwrap_or_default();
            rows.dead.push(params![&letter.tenant, letter.at, view]);
        }
    }
    rows
}
