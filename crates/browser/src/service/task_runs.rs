//! Doing what tasks say, in turn, and telling of their end.

use std::time::Duration;

use jiff::Timestamp;
use paddock_platform::{identity::Caller, problem::Problem};
use serde_json::Value;
use url::Url;

use super::{ActionRequest, BrowserService, Target};
use crate::{
    activity::{Event, url_of},
    ids::TabId,
    scheduler::{NewTask, SchedulerError, Started, Task},
};

/// Members of an action that the task itself has: parameters do not replace them.
const RESERVED: [&str; 5] = ["kind", "ref", "tabId", "selector", "owner"];

/// The action that a task says.
fn action_of(task: &Task) -> Result<ActionRequest, String> {
    let mut action = task.params.clone().unwrap_or_default();
    action.retain(|name, _| !RESERVED.contains(&name.as_str()));
    action.insert("kind".to_owned(), Value::from(task.action.as_str()));
    let element = [("ref", &task.r#ref), ("selector", &task.selector), ("tabId", &task.tab_id)];
    for (name, value) in element {
        if let Some(value) = value {
            action.insert(name.to_owned(), Value::from(value.as_str()));
        }
    }
    if task.tab_id.is_none() {
        return Err("tabId is required for task execution".to_owned());
    }
    serde_json::from_value(Value::Object(action)).map_err(|error| format!("the action is none: {error}"))
}

impl BrowserService {
    pub(super) fn submit(&self, caller: &Caller, new: NewTask) -> Result<Task, SchedulerError> {
        let task = self.shared().scheduler.submit(caller.tenant(), new, &self.options())?;
        self.start_tasks(caller);
        Ok(task)
    }

    /// Starts what may run now.
    fn start_tasks(&self, caller: &Caller) {
        while let Some(started) = self.shared().scheduler.next(caller.tenant(), &self.options()) {
            let (service, caller) = (self.clone(), caller.clone());
            self.fleet.0.tasks.spawn("browser_task", async move { service.run_task(caller, started).await });
        }
    }

    async fn run_task(self, caller: Caller, Started { task, cancelled }: Started) {
        let stopping = self.fleet.0.tasks.stop_token();
        let left = task.deadline.duration_since(Timestamp::now());
        let left = if left.is_negative() { Duration::ZERO } else { left.unsigned_abs() };
        let outcome = tokio::select! {
            outcome = tokio::time::timeout(left, self.do_task(&caller, &task)) => {
                outcome.unwrap_or_else(|_| Err("deadline exceeded".to_owned()))
            }
            () = cancelled.cancelled() => Err("cancelled".to_owned()),
            () = stopping.cancelled() => Err("the server is stopping".to_owned()),
        };
        if let Some(ended) = self.shared().scheduler.finish(caller.tenant(), &task, outcome) {
            self.call_back(ended);
        }
        self.start_tasks(&caller);
    }

    async fn do_task(&self, caller: &Caller, task: &Task) -> Result<Value, String> {
        let action = action_of(task)?;
        let target = Target::new(caller.clone(), None).acting_as(&task.agent_id);
        let began = Timestamp::now();
        let done = self.act(target, action).await;
        self.remember_task(caller, task, began, done.as_ref().err());
        match done {
            Ok(done) => serde_json::to_value(done).map_err(|error| error.to_string()),
            Err(problem) => {
                let status = problem.kind.status.as_u16();
                Err(format!("executor returned {status}: {}", problem.detail))
            }
        }
    }

    /// Puts a task into the log of activity, as the request that it stands for.
    fn remember_task(&self, caller: &Caller, task: &Task, began: Timestamp, problem: Option<&Problem>) {
        let tab_id = task.tab_id.clone().and_then(|id| TabId::try_from(id).ok());
        let instance_id = tab_id.as_ref().and_then(|id| self.fleet.instance_of(id));
        let event = Event {
            id: 0,
            timestamp: Timestamp::now(),
            source: "scheduler".to_owned(),
            request_id: Some(task.task_id.clone()),
            method: "POST".to_owned(),
            path: format!("/tabs/{}/action", task.tab_id.as_deref().unwrap_or_default()),
            status: problem.map_or(200, |problem| problem.kind.status.as_u16()),
            duration_ms: u64::try_from(Timestamp::now().duration_since(began).as_millis())
                .unwrap_or_default(),
            agent_id: task.agent_id.clone(),
            session_id: caller.session().map(|session| session.id.clone()),
            url: tab_id.as_ref().and_then(|id| self.fleet.tab(id)).as_ref().map(url_of).unwrap_or_default(),
            tab_id,
            instance_id: instance_id.map(|instance| instance.id().clone()),
            code: problem.map(|problem| problem.kind.slug.replace('-', "_")),
            report: None,
        };
        self.shared().activity.add(caller.tenant(), event, &self.options());
    }

    /// Tells the address that a task names of its end. One that does not listen is not told again.
    pub(super) fn call_back(&self, task: Task) {
        let Some(url) = task.callback_url.as_deref().and_then(|url| url.parse::<Url>().ok()) else { return };
        let service = self.clone();
        self.fleet.0.tasks.spawn("browser_task_callback", async move {
            let Ok(body) = serde_json::to_vec(&task) else { return };
            let headers = [("x-pinchtab-event", "task.completed"), ("x-pinchtab-task-id", &task.task_id)];
            if let Err(problem) = service.fleet.0.fetcher.tell(url, &headers, body).await {
                tracing::info!(browser.task = %task.task_id, error = %problem.detail, "a task's callback was not taken");
            }
        });
    }

    /// Fails tasks whose time is over in the queue, until the server stops.
    pub(super) async fn expire_tasks(self) {
        let stopping = self.fleet.0.tasks.stop_token();
        let kept_for = || self.options().task_kept_for.get();
        let expired = || self.shared.scheduler.expired(kept_for);
        while let Some(expired) = stopping.run_until_cancelled(expired()).await {
            for (_, task) in expired {
                self.call_back(task);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::service::TaskRequest;

    #[test]
    fn parameters_do_not_replace_what_the_task_says() {
        let new = serde_json::from_value::<TaskRequest>(json!({
            "agentId": "a", "action": "type", "tabId": "tab_00000001", "ref": "e1",
            "params": { "kind": "click", "ref": "e9", "tabId": "tab_00000002", "text": "x" },
        }))
        .unwrap()
        .check(Timestamp::UNIX_EPOCH)
        .unwrap();
        let mut task = Task::new(new, Timestamp::UNIX_EPOCH);
        let action = action_of(&task).unwrap();
        assert_eq!((action.kind.as_str(), action.r#ref.as_deref()), ("type", Some("e1")));
        assert_eq!(action.text.as_deref(), Some("x"));
        assert_eq!(action.tab_id.unwrap().as_str(), "tab_00000001");
        task.tab_id = None;
        assert!(action_of(&task).unwrap_err().contains("tabId is required"));
    }
}
