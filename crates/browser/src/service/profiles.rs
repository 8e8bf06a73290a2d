//! Named profiles: listing, creating, changing, and the instances that use them.

use jiff::Timestamp;
use paddock_platform::{
    identity::Caller,
    problem::{NOT_IMPLEMENTED, Problem},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{BrowserService, InstanceView, READ, StartRequest, WRITE};
use crate::{
    databases::Databases,
    error::BrowserError,
    ids::ProfileId,
    instance::Instance,
    profiles::{Profile, ProfileSettings},
    saved::Saved,
};

/// Longest name of a profile, in bytes.
const NAME_SIZE_MAX: usize = 128;
/// Longest description of one, in bytes.
const TEXT_SIZE_MAX: usize = 4096;

/// Creates a profile.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CreateProfile {
    /// Its name, unique within the tenant.
    pub name: String,
    /// What it is.
    #[serde(default)]
    pub description: String,
    /// When an agent should use it.
    #[serde(default)]
    pub use_when: String,
    /// What its instances are started with.
    #[serde(default)]
    pub settings: ProfileSettings,
}

/// Changes a profile; what is absent stays.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ChangeProfile {
    /// Another name; the profile gets another id with it.
    pub name: Option<String>,
    /// What it is.
    pub description: Option<String>,
    /// When an agent should use it.
    pub use_when: Option<String>,
    /// What its instances are started with.
    pub settings: Option<ProfileSettings>,
}

/// Changes the texts of a profile that is named in the body.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProfileMeta {
    /// Its id or name.
    #[serde(alias = "id")]
    pub name: String,
    /// What it is.
    #[serde(default)]
    pub description: Option<String>,
    /// When an agent should use it.
    #[serde(default)]
    pub use_when: Option<String>,
}

/// Which profiles are listed.
#[derive(Clone, Copy, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default)]
pub struct ProfileQuery {
    /// Also the temporary ones of instances that have no named profile.
    pub all: bool,
}

/// A profile was created, changed, reset, deleted, or its instance stopped.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ProfileDone {
    /// `created`, `updated`, `reset`, `deleted` or `stopped`.
    pub status: String,
    /// Its id from now on.
    pub id: ProfileId,
    /// Its name.
    pub name: String,
}

/// A profile in a list.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProfileView {
    /// Its id.
    pub id: ProfileId,
    /// Its name.
    pub name: String,
    /// When it was created.
    #[schemars(with = "String")]
    #[schema(value_type = String)]
    pub created: Timestamp,
    /// When its state was saved last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    #[schema(value_type = Option<String>)]
    pub last_used: Option<Timestamp>,
    /// Bytes of its saved cookies and storage.
    pub disk_usage: u64,
    /// The same in megabytes.
    #[serde(rename = "sizeMB")]
    pub size_mb: f64,
    /// Whether an instance uses it.
    pub running: bool,
    /// `created`, `imported` or `temporary`.
    pub source: String,
    /// Whether it goes with its instance.
    pub temporary: bool,
    /// Empty: profiles are in the store, not in directories.
    pub path: String,
    /// Whether it is there.
    pub path_exists: bool,
    /// What it is.
    pub description: String,
    /// When an agent should use it.
    pub use_when: String,
    /// What its instances are started with.
    pub settings: ProfileSettings,
}

impl ProfileView {
    fn new(profile: Profile, running: bool) -> Self {
        let Profile { id, name, description, use_when, source, settings, size, created, used } = profile;
        Self {
            id,
            name,
            created,
            last_used: used,
            disk_usage: size,
            size_mb: (size as f64 / 10_000.0).round() / 100.0,
            running,
            temporary: source == "temporary",
            source,
            path: String::new(),
            path_exists: true,
            description,
            use_when,
            settings,
        }
    }
}

impl BrowserService {
    /// The tenant's profiles, by name.
    pub async fn profiles(&self, caller: &Caller, query: ProfileQuery) -> Result<Vec<ProfileView>, Problem> {
        caller.require(READ)?;
        let profiles = self.fleet.0.registry.profiles(caller.tenant()).await?;
        let mut views: Vec<_> = profiles
            .into_iter()
            .map(|profile| {
                let running = self.fleet.0.user_of(caller.tenant(), &profile.id).is_some();
                ProfileView::new(profile, running)
            })
            .collect();
        if query.all {
            let temporary = self.owned(caller).filter(|instance| instance.spec().profile.is_none());
            views.extend(temporary.map(|instance| ProfileView::new(temporary_profile(&instance), true)));
        }
        Ok(views)
    }

    /// One profile, by id or name.
    pub async fn profile(&self, caller: &Caller, name: &str) -> Result<ProfileView, Problem> {
        caller.require(READ)?;
        let profile = self.fleet.0.registry.profile(caller.tenant(), name).await?;
        let running = self.fleet.0.user_of(caller.tenant(), &profile.id).is_some();
        Ok(ProfileView::new(profile, running))
    }

    /// Creates a profile.
    pub async fn create_profile(
        &self,
        caller: &Caller,
        request: CreateProfile,
    ) -> Result<ProfileDone, Problem> {
        caller.require(WRITE)?;
        check_name(&request.name)?;
        check_text("description", &request.description)?;
        check_text("useWhen", &request.use_when)?;
        let profile = Profile {
            id: ProfileId::new(),
            name: request.name,
            description: request.description,
            use_when: request.use_when,
            source: "created".to_owned(),
            settings: request.settings,
            size: 0,
            created: Timestamp::now(),
            used: None,
        };
        let max = self.fleet.0.options.current().profiles_per_tenant_max;
        let Profile { id, name, .. } =
            self.fleet.0.registry.create_profile(caller.tenant(), profile, max).await?;
        Ok(ProfileDone { status: "created".to_owned(), id, name })
    }

    /// Says that directories of other browsers are not read.
    pub fn import_profile(&self, caller: &Caller) -> Result<ProfileDone, Problem> {
        caller.require(WRITE)?;
        Err(Problem::new(
            NOT_IMPLEMENTED,
            "profile directories of other browsers are not imported: they are encrypted for their machine; create a \
             profile, start it and load a saved state into it (`POST /state/load`)",
        ))
    }

    /// Changes a profile, by its id.
    pub async fn change_profile(
        &self,
        caller: &Caller,
        id: &str,
        request: ChangeProfile,
    ) -> Result<ProfileDone, Problem> {
        caller.require(WRITE)?;
        let id = by_id(id)?;
        let registry = &self.fleet.0.registry;
        let mut profile = registry.profile(caller.tenant(), id.as_str()).await?;
        if let Some(name) = request.name.filter(|name| *name != profile.name) {
            check_name(&name)?;
            self.check_unused(caller, &id)?;
            profile.name = name;
            profile.id = ProfileId::new();
        }
        if let Some(description) = request.description {
            check_text("description", &description)?;
            profile.description = description;
        }
        if let Some(use_when) = request.use_when {
            check_text("useWhen", &use_when)?;
            profile.use_when = use_when;
        }
        profile.settings = request.settings.unwrap_or(profile.settings);
        registry.update_profile(caller.tenant(), &id, &profile).await?;
        Ok(ProfileDone { status: "updated".to_owned(), id: profile.id, name: profile.name })
    }

    /// Changes the texts of a profile, by id or name.
    pub async fn change_profile_meta(
        &self,
        caller: &Caller,
        request: ProfileMeta,
    ) -> Result<ProfileDone, Problem> {
        caller.require(WRITE)?;
        let profile = self.fleet.0.registry.profile(caller.tenant(), &request.name).await?;
        let change = ChangeProfile {
            description: request.description,
            use_when: request.use_when,
            ..ChangeProfile::default()
        };
        self.change_profile(caller, profile.id.as_str(), change).await
    }

    /// Deletes a profile with its state, by its id.
    pub async fn delete_profile(&self, caller: &Caller, id: &str) -> Result<ProfileDone, Problem> {
        caller.require(WRITE)?;
        let id = by_id(id)?;
        let profile = self.fleet.0.registry.profile(caller.tenant(), id.as_str()).await?;
        self.check_unused(caller, &id)?;
        self.fleet.0.registry.delete_profile(caller.tenant(), &id).await?;
        Ok(ProfileDone { status: "deleted".to_owned(), id, name: profile.name })
    }

    /// Forgets the cookies and storage of a profile, by its id.
    pub async fn reset_profile(&self, caller: &Caller, id: &str) -> Result<ProfileDone, Problem> {
        caller.require(WRITE)?;
        let id = by_id(id)?;
        let profile = self.fleet.0.registry.profile(caller.tenant(), id.as_str()).await?;
        self.check_unused(caller, &id)?;
        let registry = &self.fleet.0.registry;
        registry.save_profile(&id, &Saved::default()).await.map_err(BrowserError::from)?;
        let nothing = Databases::default();
        registry.save_profile_databases(&id, &nothing).await.map_err(BrowserError::from)?;
        Ok(ProfileDone { status: "reset".to_owned(), id, name: profile.name })
    }

    /// Starts the instance of a profile, by id or name.
    pub async fn start_profile(
        &self,
        caller: &Caller,
        name: &str,
        request: StartRequest,
    ) -> Result<InstanceView, Problem> {
        self.start(caller, StartRequest { profile_id: Some(name.to_owned()), ..request }).await
    }

    /// Stops the instance of a profile, by id or name; its state is saved before.
    pub async fn stop_profile(&self, caller: &Caller, name: &str) -> Result<ProfileDone, Problem> {
        caller.require(WRITE)?;
        let profile = self.fleet.0.registry.profile(caller.tenant(), name).await?;
        let user = self.fleet.0.user_of(caller.tenant(), &profile.id);
        let user = user.ok_or_else(|| Problem::not_found("running instance of profile", name))?;
        self.fleet.stop(user.id()).await?;
        Ok(ProfileDone { status: "stopped".to_owned(), id: profile.id, name: profile.name })
    }

    /// Which instance uses a profile.
    pub async fn profile_instance(&self, caller: &Caller, name: &str) -> Result<Value, Problem> {
        caller.require(READ)?;
        let profile = self.fleet.0.registry.profile(caller.tenant(), name).await?;
        Ok(match self.fleet.0.user_of(caller.tenant(), &profile.id) {
            Some(user) => {
                let view = InstanceView::from(user.info());
                json!({ "name": profile.name, "running": true, "status": view.status, "port": view.port, "id": view.id })
            }
            None => json!({ "name": profile.name, "running": false, "status": "stopped", "port": "" }),
        })
    }

    fn check_unused(&self, caller: &Caller, profile: &ProfileId) -> Result<(), BrowserError> {
        match self.fleet.0.user_of(caller.tenant(), profile) {
            Some(user) => {
                Err(BrowserError::ProfileInUse { profile: profile.clone(), instance: user.id().clone() })
            }
            None => Ok(()),
        }
    }
}

/// The profile that an instance without a named one stands for: it has the digits of its instance.
pub(super) fn temporary_id(instance: &crate::ids::InstanceId) -> String {
    instance.as_str().replacen("inst_", "prof_", 1)
}

fn temporary_profile(instance: &Instance) -> Profile {
    let info = instance.info();
    Profile {
        id: temporary_id(&info.id).parse().unwrap_or_else(|_| ProfileId::new()),
        name: temporary_name(&info),
        description: String::new(),
        use_when: String::new(),
        source: "temporary".to_owned(),
        settings: ProfileSettings::default(),
        size: 0,
        created: info.started,
        used: None,
    }
}

/// What such a profile is called.
pub(super) fn temporary_name(info: &crate::instance::InstanceInfo) -> String {
    if info.spec.name.is_empty() {
        format!("instance-{}", info.started.as_millisecond())
    } else {
        info.spec.name.clone()
    }
}

/// A name in the place of an id is a mistake of the kind that deletes the wrong thing.
fn by_id(id: &str) -> Result<ProfileId, Problem> {
    id.parse().map_err(|_| Problem::not_found("profile with the id", id))
}

fn check_name(name: &str) -> Result<(), Problem> {
    let wrong = if name.trim().is_empty() {
        "must not be empty"
    } else if name.len() > NAME_SIZE_MAX {
        "must have at most 128 bytes"
    } else if name.contains(['/', '\\']) || name.contains("..") {
        "must not contain `/`, `\\` or `..`"
    } else if name.chars().any(char::is_control) {
        "must not contain control characters"
    } else if name.parse::<ProfileId>().is_ok() {
        "must not look like an id"
    } else {
        return Ok(());
    };
    Err(Problem::invalid_field("name", wrong))
}

fn check_text(field: &str, text: &str) -> Result<(), Problem> {
    if text.len() > TEXT_SIZE_MAX {
        return Err(Problem::invalid_field(field, "must have at most 4096 bytes"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_be_paths_or_ids_are_refused() {
        for name in
            ["", " ", "a/b", "a\\b", "../etc", "foo/../bar", "prof_01234567", "a\nb", &"x".repeat(129)]
        {
            assert!(check_name(name).is_err(), "{name:?}");
        }
        for name in ["work", "a.b-c_d", "Büro 2"] {
            assert!(check_name(name).is_ok(), "{name:?}");
        }
    }
}
