//! Locking tabs, and handing them to a person and back.

use std::time::Duration;

use jiff::Timestamp;
use paddock_platform::problem::Problem;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{BrowserService, READ, Target, WRITE, target::NAME_SIZE_MAX};
use crate::{coordination::Handoff, ids::TabId};

/// How long a lock lasts when the request names no time.
const LOCK_TTL: Duration = Duration::from_mins(10);
/// Longest reason of a handoff, in bytes.
const REASON_SIZE_MAX: usize = 1024;
/// What an agent is told to do when a tab is handed over.
const HANDOFF_HINT: &str =
    "ask a person to do what is needed in this tab; POST /tabs/{id}/resume gives it back to the agent";

/// Locks a tab.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LockRequest {
    /// The tab; without one, the current tab.
    pub tab_id: Option<TabId>,
    /// Who holds the lock; without one, the agent or session that asks.
    pub owner: Option<String>,
    /// Seconds that the lock lasts; 10 minutes if absent.
    #[serde(alias = "ttl")]
    pub timeout_sec: Option<u64>,
}

/// A tab is locked.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Locked {
    /// True.
    pub locked: bool,
    /// Which tab.
    pub tab_id: TabId,
    /// Who holds the lock.
    pub owner: String,
    /// When it ends by itself.
    #[schema(value_type = String)]
    pub expires_at: Timestamp,
}

/// Gives a lock back.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct UnlockRequest {
    /// The tab; without one, the current tab.
    pub tab_id: Option<TabId>,
    /// Who holds the lock; without one, the agent or session that asks.
    pub owner: Option<String>,
}

/// A lock was given back.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Unlocked {
    /// True.
    pub unlocked: bool,
    /// Which tab.
    pub tab_id: TabId,
}

/// Pauses a tab for a person.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HandoffRequest {
    /// The tab; without one, the current tab.
    pub tab_id: Option<TabId>,
    /// Why; `manual_handoff` if absent.
    pub reason: Option<String>,
    /// Milliseconds after which the pause ends by itself; 0 or absent: when it is resumed.
    pub timeout_ms: Option<u64>,
}

/// Whether a tab is paused for a person.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HandoffView {
    /// Which tab.
    pub tab_id: TabId,
    /// `active` or `paused_handoff`.
    pub status: String,
    /// Why it is paused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub paused_at: Option<Timestamp>,
    /// As `pausedAt`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub last_updated_at: Option<Timestamp>,
    /// When it ends by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub expires_at: Option<Timestamp>,
    /// The time that it was paused for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Gives a tab back to its agent.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ResumeRequest {
    /// The tab; without one, the current tab.
    pub tab_id: Option<TabId>,
    /// How it went, for the agent.
    pub status: Option<String>,
    /// What was found out, for the agent.
    #[schema(value_type = Option<Object>)]
    pub resolved_data: Option<Map<String, Value>>,
}

/// A tab is its agent's again.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Resumed {
    /// Which tab.
    pub tab_id: TabId,
    /// `active`.
    pub status: String,
    /// How it went.
    pub resume_status: String,
    /// What was found out.
    #[schema(value_type = Option<Object>)]
    pub resolved_data: Option<Map<String, Value>>,
}

impl BrowserService {
    /// Locks a tab for an owner, or extends the owner's lock.
    pub async fn lock(&self, target: Target, request: LockRequest) -> Result<Locked, Problem> {
        let target = target.or(request.tab_id).owned_by(request.owner);
        let owner = owner_of(&target)?;
        let ttl = match request.timeout_sec {
            None | Some(0) => LOCK_TTL,
            Some(secs) => Duration::from_secs(secs),
        };
        let ttl = ttl.min(self.options().tab_lock_max.get());
        let tab = self.held_tab(&target, WRITE).await?;
        let lock = self.shared().holds.lock(tab.id(), owner, ttl, Timestamp::now())?;
        let expires_at = lock.expires_at;
        Ok(Locked { locked: true, tab_id: tab.id().clone(), owner: lock.owner, expires_at })
    }

    /// Gives a lock back.
    pub async fn unlock(&self, target: Target, request: UnlockRequest) -> Result<Unlocked, Problem> {
        let target = target.or(request.tab_id).owned_by(request.owner);
        let owner = owner_of(&target)?;
        let tab = self.held_tab(&target, WRITE).await?;
        self.shared().holds.unlock(tab.id(), owner, Timestamp::now())?;
        Ok(Unlocked { unlocked: true, tab_id: tab.id().clone() })
    }

    /// Pauses a tab for a person. Whoever may change the tab may do that.
    pub async fn hand_off(&self, target: Target, request: HandoffRequest) -> Result<HandoffView, Problem> {
        let target = target.or(request.tab_id);
        let reason = request.reason.as_deref().map(str::trim).filter(|reason| !reason.is_empty());
        let reason = reason.unwrap_or("manual_handoff");
        if reason.len() > REASON_SIZE_MAX {
            return Err(Problem::invalid_field("reason", format!("is over {REASON_SIZE_MAX} bytes")));
        }
        let timeout = request.timeout_ms.filter(|millis| *millis > 0).map(Duration::from_millis);
        let tab = self.held_tab(&target, WRITE).await?;
        self.check_lock(&target, tab.id())?;
        let handoff = self.shared().holds.pause(tab.id(), reason, timeout, Timestamp::now())?;
        Ok(HandoffView { hint: Some(HANDOFF_HINT.to_owned()), ..handoff_view(tab.id(), Some(handoff)) })
    }

    /// Whether a tab is paused for a person.
    pub async fn handoff(&self, target: &Target) -> Result<HandoffView, Problem> {
        let tab = self.held_tab(target, READ).await?;
        let (_, handoff) = self.shared().holds.of(tab.id(), Timestamp::now());
        Ok(handoff_view(tab.id(), handoff))
    }

    /// Gives a tab back to its agent.
    pub async fn resume(&self, target: Target, request: ResumeRequest) -> Result<Resumed, Problem> {
        let target = target.or(request.tab_id);
        let tab = self.held_tab(&target, WRITE).await?;
        self.check_lock(&target, tab.id())?;
        self.shared().holds.resume(tab.id(), Timestamp::now());
        Ok(Resumed {
            tab_id: tab.id().clone(),
            status: "active".to_owned(),
            resume_status: request.status.unwrap_or_default().trim().to_owned(),
            resolved_data: request.resolved_data,
        })
    }

    /// The lock alone: a tab that is paused already can be paused again and resumed.
    fn check_lock(&self, target: &Target, tab: &TabId) -> Result<(), Problem> {
        use crate::coordination::HoldError;
        match self.shared().holds.check(tab, target.claimed_owner(), Timestamp::now()) {
            Err(error @ HoldError::Locked { .. }) => Err(error.into()),
            _ => Ok(()),
        }
    }
}

fn owner_of(target: &Target) -> Result<&str, Problem> {
    let owner = target.claimed_owner().map(str::trim).filter(|owner| !owner.is_empty());
    let owner = owner.ok_or_else(|| {
        Problem::invalid_field("owner", "owner is needed, or the header X-Agent-Id with the agent's name")
    })?;
    if owner.len() > NAME_SIZE_MAX {
        return Err(Problem::invalid_field("owner", format!("is over {NAME_SIZE_MAX} bytes")));
    }
    Ok(owner)
}

fn handoff_view(tab: &TabId, handoff: Option<Handoff>) -> HandoffView {
    let status = if handoff.is_some() { "paused_handoff" } else { "active" }.to_owned();
    let (reason, paused_at, expires_at) = match handoff {
        Some(Handoff { reason, paused_at, expires_at }) => (Some(reason), Some(paused_at), expires_at),
        None => (None, None, None),
    };
    let timeout = expires_at.zip(paused_at).map(|(end, start)| end.duration_since(start).unsigned_abs());
    HandoffView {
        tab_id: tab.clone(),
        status,
        reason,
        paused_at,
        last_updated_at: paused_at,
        expires_at,
        timeout_ms: timeout.map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)),
        hint: None,
    }
}
