//! What a job is to its mission, written into the job's `parent`.

use std::fmt;

use crate::JobId;

/// Every job of a mission has a `parent` that begins so.
pub(crate) const PREFIX: &str = "mission:";

/// A mission, in one of its generations, and what a job does for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) mission: JobId,
    pub(crate) generation: u32,
    pub(crate) task: Task,
}

/// What a job does for its mission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// Runs a step.
    Run { step: usize, item: u32 },
    /// Undoes a run of a step.
    Undo { step: usize, item: u32 },
    /// Evaluates whether and for what a step runs, from outputs that are large.
    Gate { step: usize },
    /// Evaluates the input of a run, or of undoing it, from outputs that are large.
    Input { step: usize, item: u32, undo: bool },
    /// Evaluates the mission's output from outputs that are large.
    Output,
}

impl Link {
    /// Reads what [`fmt::Display`] writes.
    pub(crate) fn parse(parent: &str) -> Option<Self> {
        let mut parts = parent.strip_prefix(PREFIX)?.split(':');
        let (mission, generation) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let (step, role) = (parts.next()?, parts.next()?);
        let (role, item) = role.split_at_checked(1)?;
        let task = match role {
            "o" => Task::Output,
            "g" => Task::Gate { step: step.parse().ok()? },
            "r" => Task::Run { step: step.parse().ok()?, item: item.parse().ok()? },
            "u" => Task::Undo { step: step.parse().ok()?, item: item.parse().ok()? },
            "i" | "j" => {
                Task::Input { step: step.parse().ok()?, item: item.parse().ok()?, undo: role == "j" }
            }
            _ => return None,
        };
        Some(Self { mission, generation, task })
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}:{}:", self.mission, self.generation)?;
        match self.task {
            Task::Run { step, item } => write!(f, "{step}:r{item}"),
            Task::Undo { step, item } => write!(f, "{step}:u{item}"),
            Task::Gate { step } => write!(f, "{step}:g"),
            Task::Input { step, item, undo } => write!(f, "{step}:{}{item}", if undo { 'j' } else { 'i' }),
            Task::Output => f.write_str("-:o"),
        }
    }
}

/// Whether a job's parent is this mission.
pub(crate) fn is_of(parent: &str, mission: JobId) -> bool {
    parent.strip_prefix(PREFIX).is_some_and(|rest| rest.split(':').next() == Some(&mission.to_string()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_link_is_read_as_it_is_written(generation: u32, step in 0_usize..9_999, item: u32, kind in 0..6) {
            let task = match kind {
                0 => Task::Run { step, item },
                1 => Task::Undo { step, item },
                2 => Task::Gate { step },
                3 => Task::Input { step, item, undo: false },
                4 => Task::Input { step, item, undo: true },
                _ => Task::Output,
            };
            let mission = crate::testing::job().id;
            let link = Link { mission, generation, task };
            prop_assert_eq!(Link::parse(&link.to_string()), Some(link));
            prop_assert!(is_of(&link.to_string(), mission));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "(mission:)?[a-z0-9:é-]{0,60}") {
            let _ = Link::parse(&text);
        }
    }
}
