//! Whether the agents do as they should: what an operator has to look at.

use paddock_platform::health::Finding;

use super::Agents;
use crate::{cell::AgentStatus, commit::Committer};

/// Stopped agents that are named.
const NAMED_MAX: usize = 3;

impl Agents {
    /// Looks at the agents of all tenants, and at what is on its way to the store.
    pub fn health(&self) -> Finding {
        let core = &self.0.core;
        let (mut count, mut stopped, mut named) = (0_usize, 0_usize, Vec::new());
        for space in core.spaces.pin().values() {
            for cell in space.agents.pin().values() {
                count += 1;
                if cell.status() == AgentStatus::Failed {
                    stopped += 1;
                    if named.len() < NAMED_MAX {
                        named.push(format!("`{}`", cell.key));
                    }
                }
            }
        }
        let (pending, pending_max) = core.commits().map_or((0, 1), Committer::load);
        let awake = core.awake.pin().len();
        let summary = format!("{count} agents, {awake} awake, {pending} changes on their way to the store");
        let (mut troubles, mut advice) = (Vec::new(), None);
        if stopped > 0 {
            let more = if stopped > named.len() { ", …" } else { "" };
            troubles.push(format!("{stopped} failed too often and were stopped: {}{more}", named.join(", ")));
            advice = Some("`paddock agents logs NAME` shows why; `paddock agents resume NAME` lets it go on");
        }
        if pending * 2 >= pending_max {
            troubles.push(format!("the store is behind (`agents.pending_max` is {pending_max})"));
            advice = advice.or(Some("see the check of the store, and `agents_commit_duration_seconds`"));
        }
        if core.nodes.as_ref().is_some_and(|nodes| nodes.term().is_none()) {
            troubles.push("this server has no lease and runs no agents".to_owned());
            advice =
                advice.or(Some("it gets one as soon as the database answers: see the check of the store"));
        }
        match advice {
            Some(advice) => Finding::degraded(format!("{summary}; {}", troubles.join("; ")), advice),
            None => Finding::ok(summary),
        }
    }
}
