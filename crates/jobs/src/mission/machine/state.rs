//! Where a mission stands.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Where a mission stands.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    JsonSchema,
    ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Waits for its turn.
    #[default]
    Queued,
    /// Steps run, or wait for people.
    Running,
    /// All steps ended; its output is being made.
    Concluding,
    /// It failed or was cancelled; what still runs is waited for.
    Stopping,
    /// What was done is being undone.
    Compensating,
    /// Done.
    Succeeded,
    /// A step failed, or its time was up.
    Failed,
    /// Somebody cancelled it.
    Cancelled,
}

impl Phase {
    /// All of them, in the order of a mission's life.
    pub const ALL: [Self; 8] = [
        Self::Queued,
        Self::Running,
        Self::Concluding,
        Self::Stopping,
        Self::Compensating,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
    ];

    /// Its name as it is written everywhere.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Concluding => "concluding",
            Self::Stopping => "stopping",
            Self::Compensating => "compensating",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether the mission has ended.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Everything that the machine remembers. It is small: outputs are kept elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) phase: Phase,
    /// Grows with every retry: what ended before it does not count any more.
    pub(crate) generation: u32,
    /// Why it does not succeed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cause: Option<Cause>,
    pub(crate) steps: Vec<StepState>,
    /// Steps that have ended so far: the order in which they are undone.
    pub(crate) ended: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cause {
    pub(crate) kind: CauseKind,
    /// The step that failed, and its item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) step: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) item: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CauseKind {
    Failed,
    Cancelled,
    Deadline,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StepState {
    #[serde(rename = "s")]
    pub(crate) status: Status,
    /// Its runs; empty before it was evaluated.
    #[serde(rename = "i", default, skip_serializing_if = "Vec::is_empty", with = "items")]
    pub(crate) items: Vec<Item>,
    /// When it ended, counted in ends; 0 if nothing of it ran.
    #[serde(rename = "o", default, skip_serializing_if = "is_zero")]
    pub(crate) order: u32,
    /// Until when a decision may be made, in milliseconds since 1970. The machine only carries it.
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    pub(crate) due: Option<i64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Status {
    #[default]
    #[serde(rename = "p")]
    Pending,
    #[serde(rename = "e")]
    Evaluating,
    #[serde(rename = "r")]
    Running,
    /// For a person.
    #[serde(rename = "w")]
    Waiting,
    #[serde(rename = "s")]
    Succeeded,
    #[serde(rename = "f")]
    Failed,
    #[serde(rename = "k")]
    Skipped,
    /// It was stopped, or never ran, because the mission ended.
    #[serde(rename = "c")]
    Cancelled,
}

impl Status {
    pub(crate) const fn has_ended(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Skipped | Self::Cancelled)
    }
}

/// One run of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Item {
    #[default]
    Pending,
    Running,
    Succeeded,
    Failed,
    Cancelled,
    /// It had succeeded and is being undone.
    Undoing,
    /// It had failed or been cancelled and is being undone all the same.
    UndoingTried,
    Undone,
    /// It had succeeded and still stands: undoing it failed.
    UndoFailed,
    /// It had not succeeded, and undoing it failed too.
    UndoFailedTried,
}

impl Item {
    const LETTERS: [(Self, char); 10] = [
        (Self::Pending, 'p'),
        (Self::Running, 'r'),
        (Self::Succeeded, 's'),
        (Self::Failed, 'f'),
        (Self::Cancelled, 'c'),
        (Self::Undoing, 'u'),
        (Self::UndoingTried, 'v'),
        (Self::Undone, 'z'),
        (Self::UndoFailed, 'x'),
        (Self::UndoFailedTried, 'y'),
    ];

    pub(crate) const fn is_undoing(self) -> bool {
        matches!(self, Self::Undoing | Self::UndoingTried)
    }
}

/// Items as one text: a step may run for a thousand of them, and the state is written with every end.
mod items {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use super::Item;

    pub(super) fn serialize<S: Serializer>(items: &[Item], serializer: S) -> Result<S::Ok, S::Error> {
        let letter = |item: &Item| {
            Item::LETTERS.iter().find(|(known, _)| known == item).map_or('p', |(_, letter)| *letter)
        };
        serializer.serialize_str(&items.iter().map(letter).collect::<String>())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Item>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let item = |letter| Item::LETTERS.iter().find(|(_, known)| *known == letter).map(|(item, _)| *item);
        text.chars()
            .map(|letter| item(letter).ok_or_else(|| D::Error::custom(format!("no item is `{letter}`"))))
            .collect()
    }
}

impl State {
    /// A mission of so many steps that has not begun.
    pub(crate) fn new(steps: usize) -> Self {
        Self { steps: vec![StepState::default(); steps], ..Self::default() }
    }

    pub(crate) fn any_item(&self, is: impl Fn(Item) -> bool) -> bool {
        self.steps.iter().any(|step| step.items.iter().any(|item| is(*item)))
    }
}
