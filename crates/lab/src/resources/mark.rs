//! What everything carries that the lab starts: a variable of the environment, which children inherit wherever they go.
//!
//! A daemon has left its parent, its process group and its session, so it is in no tree and its work would look like other
//! people's. Its environment is what it keeps. The variable's name has the lab's process number in it: what a lab starts
//! that was itself started by a lab carries both marks, and belongs to both runs.

use std::sync::LazyLock;

use super::process;

static OWN: LazyLock<Mark> = LazyLock::new(|| {
    let pid = std::process::id();
    let stat = i32::try_from(pid).ok().and_then(process::stat);
    // With the time of its start, a number that is used again is no mistake.
    let started_ticks = stat.map_or(0, |stat| stat.id.started_ticks);
    Mark { name: format!("PADDOCK_LAB_{pid}"), value: started_ticks.to_string() }
});

/// A variable of the environment that belongs to one lab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(super) name: String,
    pub(super) value: String,
}

impl Mark {
    /// That of this lab.
    pub(crate) fn own() -> &'static Self {
        &OWN
    }

    /// To be put into the environment of what is started.
    pub(crate) fn variable(&self) -> (&str, &str) {
        (&self.name, &self.value)
    }

    /// Whether the process carries it; `None` if its environment may not be read, or is not there: not yet, or never.
    pub(crate) fn is_on(&self, pid: i32) -> Option<bool> {
        let environment = process::environment(pid).filter(|environment| !environment.is_empty())?;
        let is_own = |entry: &[u8]| {
            let value = entry.strip_prefix(self.name.as_bytes()).and_then(|rest| rest.strip_prefix(b"="));
            value == Some(self.value.as_bytes())
        };
        Some(environment.split(|byte| *byte == 0).any(is_own))
    }
}
