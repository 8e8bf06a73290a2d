//! Starting again, hibernating and waking instances.

use paddock_platform::{identity::Caller, problem::Problem};

use super::{BrowserService, InstanceView, READ, WRITE};
use crate::ids::InstanceId;

impl BrowserService {
    /// Wakes an instance.
    pub async fn wake(&self, caller: &Caller, id: &InstanceId) -> Result<InstanceView, Problem> {
        caller.require(WRITE)?;
        let instance = self.own(caller, id)?;
        drop(instance.enter().await?);
        Ok(instance.info().into())
    }

    /// Saves an instance's state and gives its memory back; the next request wakes it.
    pub async fn hibernate(&self, caller: &Caller, id: &InstanceId) -> Result<InstanceView, Problem> {
        caller.require(WRITE)?;
        let instance = self.own(caller, id)?;
        instance.hibernate("asked to").await?;
        Ok(instance.info().into())
    }

    /// Gives an instance a new context with its saved state, and its tabs their pages.
    pub async fn restart(&self, caller: &Caller, id: &InstanceId) -> Result<InstanceView, Problem> {
        caller.require(WRITE)?;
        let instance = self.own(caller, id)?;
        instance.hibernate("restarted").await?;
        drop(instance.attach().await?);
        Ok(instance.info().into())
    }

    /// Makes sure that the caller has an instance that is awake.
    pub async fn ensure_browser(&self, caller: &Caller) -> Result<InstanceView, Problem> {
        caller.require(WRITE)?;
        let instance = self.any_instance(caller).await?;
        drop(instance.enter().await?);
        Ok(instance.info().into())
    }

    /// Restarts the caller's first instance.
    pub async fn restart_browser(&self, caller: &Caller) -> Result<InstanceView, Problem> {
        caller.require(WRITE)?;
        let instance = self.any_instance(caller).await?;
        let id = instance.id().clone();
        self.restart(caller, &id).await
    }

    /// What happened to an instance, one line each, the latest last.
    pub fn log(&self, caller: &Caller, id: &InstanceId) -> Result<Vec<String>, Problem> {
        caller.require(READ)?;
        Ok(self.own(caller, id)?.log())
    }
}
