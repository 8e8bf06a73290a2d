//! The tasks of one tenant: those that wait, those under way, and those that ended not long ago.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use super::{
    SchedulerError,
    queue::{Limits, Queue},
    task::{NewTask, Task, TaskState},
};
use crate::config::BrowserOptions;

/// What waits and what runs.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueueStats {
    /// Tasks that wait.
    pub total_queued: usize,
    /// Tasks under way.
    pub total_inflight: usize,
    /// Tasks that wait, by agent.
    pub agent_counts: BTreeMap<String, usize>,
}

/// What became of the tasks of one agent since the server started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct AgentTally {
    /// Taken in.
    pub submitted: u64,
    /// Ended well.
    pub completed: u64,
    /// Ended badly.
    pub failed: u64,
    /// Cancelled.
    pub cancelled: u64,
    /// Not taken in.
    pub rejected: u64,
}

/// What became of all tasks since the server started.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SchedulerTally {
    /// Taken in.
    pub tasks_submitted: u64,
    /// Ended well.
    pub tasks_completed: u64,
    /// Ended badly, those included whose time was over in the queue.
    pub tasks_failed: u64,
    /// Cancelled.
    pub tasks_cancelled: u64,
    /// Not taken in.
    pub tasks_rejected: u64,
    /// Those whose time was over in the queue.
    pub tasks_expired: u64,
    /// Begun.
    pub dispatch_count: u64,
    /// Milliseconds that a task waited for its turn, on average.
    pub avg_dispatch_latency_ms: f64,
    /// By agent.
    pub agents: BTreeMap<String, AgentTally>,
}

/// A task that begins.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) task: Task,
    /// Fires when somebody cancels it.
    pub(crate) cancelled: CancellationToken,
}

#[derive(Debug)]
struct Entry {
    task: Task,
    order: u64,
    cancelled: CancellationToken,
}

#[derive(Debug, Default)]
pub(super) struct Board {
    queue: Queue,
    entries: HashMap<String, Entry>,
    order: u64,
    tally: SchedulerTally,
    waited_ms: u64,
    agents_max: usize,
}

impl Board {
    pub(super) fn submit(
        &mut self,
        new: NewTask,
        limits: &Limits,
        options: &BrowserOptions,
        now: Timestamp,
    ) -> Result<Task, SchedulerError> {
        self.agents_max = options.agents_per_tenant_max;
        let mut task = Task::new(new, now);
        let id = task.task_id.clone();
        let queued = self.queue.push(&task.agent_id, task.priority, &id, limits);
        let result = match queued {
            Ok(position) => {
                task.position = Some(position);
                self.tally.tasks_submitted += 1;
                self.count(&task.agent_id, |agent| agent.submitted += 1);
                Ok(task.clone())
            }
            Err(reason) => {
                task.error = Some(reason.clone());
                task.end(TaskState::Rejected, now);
                self.tally.tasks_rejected += 1;
                self.count(&task.agent_id, |agent| agent.rejected += 1);
                Err(SchedulerError::Full { reason, id: id.clone() })
            }
        };
        self.order += 1;
        self.entries.insert(id, Entry { task, order: self.order, cancelled: CancellationToken::new() });
        self.forget_oldest(options.tasks_kept_max);
        result
    }

    pub(super) fn start_next(&mut self, limits: &Limits, now: Timestamp) -> Option<Started> {
        loop {
            let id = self.queue.pop(limits)?;
            let Some(entry) = self.entries.get_mut(&id) else { continue };
            entry.task.start(now);
            self.tally.dispatch_count += 1;
            self.waited_ms += entry.task.waited_ms(now);
            return Some(Started { task: entry.task.clone(), cancelled: entry.cancelled.clone() });
        }
    }

    /// The work of a task that began has stopped. The task, unless it was cancelled before.
    pub(super) fn finish(
        &mut self,
        begun: &Task,
        outcome: Result<Value, String>,
        now: Timestamp,
    ) -> Option<Task> {
        let agent = begun.agent_id.as_str();
        self.queue.stopped(agent);
        let entry = self.entries.get_mut(&begun.task_id)?;
        if entry.task.state != TaskState::Running {
            return None;
        }
        let well = outcome.is_ok();
        match outcome {
            Ok(result) => {
                entry.task.result = Some(result);
                entry.task.end(TaskState::Done, now);
            }
            Err(error) => {
                entry.task.error = Some(error);
                entry.task.end(TaskState::Failed, now);
            }
        }
        let task = entry.task.clone();
        if well {
            self.tally.tasks_completed += 1;
            self.count(agent, |agent| agent.completed += 1);
        } else {
            self.tally.tasks_failed += 1;
            self.count(agent, |agent| agent.failed += 1);
        }
        Some(task)
    }

    pub(super) fn cancel(&mut self, id: &str, now: Timestamp) -> Result<Task, SchedulerError> {
        let entry = self.entries.get_mut(id).ok_or_else(|| SchedulerError::NotFound(id.to_owned()))?;
        let (state, agent) = (entry.task.state, entry.task.agent_id.clone());
        if state.is_terminal() {
            return Err(SchedulerError::Ended { id: id.to_owned(), state });
        }
        entry.task.end(TaskState::Cancelled, now);
        entry.cancelled.cancel();
        let task = entry.task.clone();
        if state == TaskState::Queued {
            self.queue.remove(&agent, id);
        }
        self.tally.tasks_cancelled += 1;
        self.count(&agent, |agent| agent.cancelled += 1);
        Ok(task)
    }

    pub(super) fn task(&self, id: &str) -> Option<Task> {
        self.entries.get(id).map(|entry| entry.task.clone())
    }

    pub(super) fn list(&self, agent: Option<&str>, states: &[TaskState]) -> Vec<Task> {
        let wanted = |entry: &&Entry| {
            agent.is_none_or(|agent| entry.task.agent_id == agent)
                && (states.is_empty() || states.contains(&entry.task.state))
        };
        let mut found: Vec<&Entry> = self.entries.values().filter(wanted).collect();
        found.sort_by_key(|entry| entry.order);
        found.into_iter().map(|entry| entry.task.clone()).collect()
    }

    pub(super) fn stats(&self) -> (QueueStats, SchedulerTally) {
        let queue = QueueStats {
            total_queued: self.queue.queued(),
            total_inflight: self.queue.running(),
            agent_counts: self.queue.queued_by_agent(),
        };
        #[expect(clippy::cast_precision_loss, reason = "an average")]
        let average = match self.tally.dispatch_count {
            0 => 0.0,
            count => self.waited_ms as f64 / count as f64,
        };
        (queue, SchedulerTally { avg_dispatch_latency_ms: average, ..self.tally.clone() })
    }

    /// Fails what ran out of time in the queue, and forgets what ended `keep` ago.
    pub(super) fn expire(&mut self, now: Timestamp, keep: Duration) -> Vec<Task> {
        let overdue =
            |entry: &&mut Entry| entry.task.state == TaskState::Queued && entry.task.deadline <= now;
        let mut expired = Vec::new();
        for entry in self.entries.values_mut().filter(overdue) {
            entry.task.error = Some("deadline exceeded while queued".to_owned());
            entry.task.end(TaskState::Failed, now);
            expired.push(entry.task.clone());
        }
        for task in &expired {
            self.queue.remove(&task.agent_id, &task.task_id);
            self.tally.tasks_failed += 1;
            self.tally.tasks_expired += 1;
            self.count(&task.agent_id, |agent| agent.failed += 1);
        }
        self.entries.retain(|_, entry| forgotten_at(entry, keep).is_none_or(|at| at > now));
        expired
    }

    /// When [`Board::expire`] has something to do next.
    pub(super) fn due(&self, keep: Duration) -> Option<Timestamp> {
        let due = |entry: &Entry| match entry.task.state {
            TaskState::Queued => Some(entry.task.deadline),
            _ => forgotten_at(entry, keep),
        };
        self.entries.values().filter_map(due).min()
    }

    /// Keeps at most so many that have ended.
    fn forget_oldest(&mut self, kept_max: usize) {
        let ended = |entry: &&Entry| entry.task.state.is_terminal();
        let mut orders: Vec<u64> = self.entries.values().filter(ended).map(|entry| entry.order).collect();
        if orders.len() > kept_max {
            orders.sort_unstable();
            let first_kept = orders[orders.len() - kept_max..].first().copied().unwrap_or(u64::MAX);
            self.entries.retain(|_, entry| !entry.task.state.is_terminal() || entry.order >= first_kept);
        }
    }

    fn count(&mut self, agent: &str, count: impl FnOnce(&mut AgentTally)) {
        let agents = &mut self.tally.agents;
        if !agents.contains_key(agent) && agents.len() >= self.agents_max.max(1) {
            agents.pop_first();
        }
        count(agents.entry(agent.to_owned()).or_default());
    }
}

fn forgotten_at(entry: &Entry, keep: Duration) -> Option<Timestamp> {
    entry.task.completed_at.and_then(|at| at.checked_add(keep).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits =
        Limits { queued_max: 9, queued_per_agent_max: 9, running_max: 1, running_per_agent_max: 1 };
    const KEEP: Duration = Duration::from_mins(5);

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_second(secs).unwrap()
    }

    fn new(deadline: i64) -> NewTask {
        NewTask {
            agent_id: "agent".to_owned(),
            action: "click".to_owned(),
            tab_id: None,
            selector: None,
            r#ref: None,
            params: None,
            priority: 0,
            deadline: at(deadline),
            callback_url: None,
        }
    }

    fn submit(board: &mut Board, deadline: i64) -> Task {
        board.submit(new(deadline), &LIMITS, &BrowserOptions::default(), at(0)).unwrap()
    }

    #[test]
    fn a_task_that_was_cancelled_stays_so_and_frees_its_place_when_its_work_has_stopped() {
        let mut board = Board::default();
        let (first, second) = (submit(&mut board, 60), submit(&mut board, 60));
        let begun = board.start_next(&LIMITS, at(1)).unwrap();
        assert_eq!(begun.task.task_id, first.task_id);
        board.cancel(&first.task_id, at(2)).unwrap();
        assert!(begun.cancelled.is_cancelled());
        assert!(board.start_next(&LIMITS, at(2)).is_none(), "its work goes on");
        assert_eq!(board.finish(&begun.task, Ok(Value::Null), at(3)), None);
        assert_eq!(board.task(&first.task_id).unwrap().state, TaskState::Cancelled);
        assert_eq!(board.start_next(&LIMITS, at(4)).unwrap().task.task_id, second.task_id);
        let ended = board.cancel(&first.task_id, at(5));
        assert!(matches!(ended, Err(SchedulerError::Ended { state: TaskState::Cancelled, .. })));
    }

    #[test]
    fn a_place_is_freed_also_when_the_task_is_forgotten_meanwhile() {
        let mut board = Board::default();
        submit(&mut board, 60);
        let begun = board.start_next(&LIMITS, at(1)).unwrap();
        board.cancel(&begun.task.task_id, at(2)).unwrap();
        board.expire(at(1000), KEEP);
        assert!(board.task(&begun.task.task_id).is_none());
        board.finish(&begun.task, Ok(Value::Null), at(1001));
        assert_eq!(board.stats().0.total_inflight, 0);
    }

    #[test]
    fn time_that_is_over_in_the_queue_fails_a_task_and_results_are_kept_for_a_while() {
        let mut board = Board::default();
        let task = submit(&mut board, 30);
        assert_eq!(board.due(KEEP), Some(at(30)));
        assert!(board.expire(at(29), KEEP).is_empty());
        let expired = board.expire(at(30), KEEP);
        assert_eq!((expired.len(), expired[0].state), (1, TaskState::Failed));
        assert_eq!(expired[0].error.as_deref(), Some("deadline exceeded while queued"));
        assert_eq!(board.due(KEEP), Some(at(330)));
        board.expire(at(329), KEEP);
        assert!(board.task(&task.task_id).is_some());
        board.expire(at(330), KEEP);
        assert_eq!((board.task(&task.task_id), board.due(KEEP)), (None, None));
        let (queue, tally) = board.stats();
        assert_eq!((queue.total_queued, tally.tasks_expired, tally.agents["agent"].failed), (0, 1, 1));
    }

    #[test]
    fn only_so_many_ended_tasks_are_kept() {
        let mut board = Board::default();
        let options = BrowserOptions { tasks_kept_max: 2, ..BrowserOptions::default() };
        let ids: Vec<String> = (0..5)
            .map(|_| {
                let task = board.submit(new(60), &LIMITS, &options, at(0)).unwrap();
                board.cancel(&task.task_id, at(0)).unwrap();
                task.task_id
            })
            .collect();
        submit(&mut board, 60);
        let kept = board.list(None, &[TaskState::Cancelled]);
        assert!(kept.len() <= 3 && kept.iter().all(|task| ids[2..].contains(&task.task_id)), "{kept:?}");
    }
}
