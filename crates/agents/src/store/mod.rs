//! What agents keep in the store: definitions, states, durable messages, conversations.
//!
//! Everything of an agent is found by its key, `tenant/name`.

mod conversation;
mod definition;
mod inbox;
pub(crate) mod nodes;
mod reminder;
mod schema;
mod split;

pub use conversation::{ConversationSummary, Entry};
pub(crate) use conversation::{conversations, forget_entries, insert_entries, timeline};
pub(crate) use definition::{
    StoredAgent, delete_agent, find_agent, load_agents, put_agent, put_version, set_status, version_of,
    versions_of,
};
pub(crate) use inbox::{
    Applied, ChangeRows, Fence, InboxRow, apply, backlogs, dead_letters, forget_seen, load_inbox, load_state,
    state_entries,
};
pub(crate) use reminder::{
    ReminderRow, load_reminders, load_reminders_of, load_schedules, load_schedules_of, set_schedule,
    unset_schedule,
};
pub(crate) use schema::MIGRATIONS;
pub(crate) use split::{StoredSplit, conversation_began, delete_split, find_split, load_splits, put_split};

/// A statement of the area.
macro_rules! statement {
    ($name:ident, $label:literal, $sql:expr) => {
        static $name: paddock_platform::store::Statement =
            paddock_platform::store::Statement::new("agents", $label, $sql);
    };
    ($name:ident, $label:literal, $sql:expr, postgres: $postgres:expr) => {
        static $name: paddock_platform::store::Statement =
            paddock_platform::store::Statement::new("agents", $label, $sql).with_postgres($postgres);
    };
}
pub(crate) use statement;
