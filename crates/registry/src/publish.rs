//! Publishing: what is published here, by whom, and what becomes of it.
//!
//! A version is published once and never changes; it can be deprecated and withdrawn. A namespace belongs to the tenants
//! and keys that the configuration gives it to; where it gives none away, to the tenant that published under it first. What
//! the configuration gives to nobody, and no tenant was first at, is published under by whoever [proves](crate::proof) that
//! it is theirs.

use std::{borrow::Cow, sync::Arc};

use metrics::counter;
use paddock_platform::{
    identity::{Caller, Scope},
    problem::Problem,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    claims::Claims,
    config::{NamespaceOptions, SourceKind},
    entry::{Entry, OFFICIAL_META, STATUS_MESSAGE_LENGTH_MAX, Status, compact},
    error::{FetchError, RegistryError},
    format::{Part, Parts},
    metrics::REGISTRY_CHANGES_TOTAL,
    proof::AREA,
    registry::Registry,
    source::Source,
    store::{AuditRecord, Mark, Publication, Published, Publishing},
    sync,
    validate::validate,
};

/// Rows that are read at a time.
const ROWS_MAX: u32 = 10_000;
/// Rows are read again for this long after they were written: what another server was writing was not visible.
const OVERLAP_MS: i64 = 10_000;

/// A change of an entry's status.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StatusChange {
    /// The new status.
    pub status: Status,
    /// Why, and what to use instead; at most 500 characters.
    #[serde(default)]
    pub status_message: Option<String>,
}

impl StatusChange {
    fn check(&self) -> Result<(), Problem> {
        let message = self.status_message.as_deref().unwrap_or_default();
        if message.chars().count() > STATUS_MESSAGE_LENGTH_MAX {
            let detail = format!("is longer than {STATUS_MESSAGE_LENGTH_MAX} characters");
            return Err(Problem::invalid_field("statusMessage", detail));
        }
        Ok(())
    }
}

impl Registry {
    /// What was published here since the last look, as parts of a source.
    pub(crate) async fn managed_parts(
        &self,
        source: &Source,
        mark: Mark,
        afresh: bool,
    ) -> Result<(Parts<'static>, bool, Mark), FetchError> {
        let is_update = !afresh && mark.since_ms.is_some();
        let mut since_ms = if is_update { mark.since_ms.unwrap_or_default() } else { i64::MIN };
        let mut parts = Vec::new();
        let mut newest = None;
        loop {
            let rows = self.0.store.changed_since(since_ms, ROWS_MAX).await?;
            let is_last = rows.len() < ROWS_MAX as usize;
            let newest_ms = rows.last().map_or(since_ms, |row| row.changed_at.as_millisecond());
            parts.extend(rows.iter().map(|row| Ok(part_of(row, &source.options.claims))));
            let is_stuck = newest_ms == since_ms;
            since_ms = newest_ms;
            newest = rows.last().map(|_| newest_ms).or(newest);
            if is_last || is_stuck {
                break;
            }
        }
        let known_ms = mark.since_ms.unwrap_or(0);
        let since_ms = newest.map_or(known_ms, |newest_ms| known_ms.max(newest_ms - OVERLAP_MS));
        let mark = Mark { since_ms: Some(since_ms), ..mark };
        Ok((without_repetition(parts), is_update, mark))
    }

    /// The source that what is published here belongs to.
    fn managed(&self) -> Result<Arc<Source>, RegistryError> {
        let managed = self.sources().into_iter().find(|source| source.kind == SourceKind::Managed);
        managed.ok_or(RegistryError::NoManagedSource)
    }

    /// Publishes a version. `server` is the document as it came: it is served so.
    pub async fn publish(
        &self,
        caller: &Caller,
        server: &str,
        claims: Claims,
    ) -> Result<(bytes::Bytes, String, String), Problem> {
        let source = self.managed()?;
        let value: Value = paddock_platform::http::parse_json(server.as_bytes())?;
        self.check_size(server)?;
        let verdict = validate(&value);
        if !verdict.valid {
            return Err(verdict.into_problem());
        }
        let text = |member: &str| value[member].as_str().unwrap_or_default().to_owned();
        let (name, version) = (text("name"), text("version"));
        let takes_namespace = self.check_namespace(caller, &name).await?;
        self.check_claims(caller, &claims)?;
        let publication = Publication {
            name: name.clone(),
            version: version.clone(),
            server: compact(server),
            claims: claims.clone(),
            takes_namespace,
        };
        match self.0.store.publish(publication, caller).await? {
            Publishing::Published => {}
            Publishing::Exists => return Err(RegistryError::Exists { name, version }.into()),
            Publishing::NotOwned => {
                return Err(RegistryError::NotOwned { namespace: namespace_of(&name) }.into());
            }
            Publishing::ClaimsDiffer => {
                return Err(
                    RegistryError::Claims("the other versions of the server have other claims").into()
                );
            }
        }
        let target = format!("{name}@{version}");
        self.audited(caller, "entry.publish", &target, json!({"claims": claims})).await?;
        sync::sync(self, &source).await;
        let entry = source.content.load().find(&name, &version).cloned();
        let rendered = entry.map(|entry| entry.rendered.clone());
        let rendered = rendered.ok_or_else(|| {
            // The filter of the managed source keeps it out: it is kept, and not shown.
            Problem::new(
                crate::error::NOT_MANAGED,
                format!(
                    "`{target}` is published, and the filter of the source `{}` hides it",
                    source.options.name
                ),
            )
        })?;
        Ok((rendered, name, version))
    }

    /// Replaces what a version says: for administrators, who repair what was published wrong.
    pub(crate) async fn edit(
        &self,
        caller: &Caller,
        name: &str,
        version: &str,
        server: &str,
    ) -> Result<Arc<Entry>, Problem> {
        caller.require(Scope::admin("registry"))?;
        let value: Value = paddock_platform::http::parse_json(server.as_bytes())?;
        self.check_size(server)?;
        for (member, expected) in [("name", name), ("version", version)] {
            if value[member].as_str() != Some(expected) {
                return Err(Problem::invalid_field(
                    member,
                    format!("is not `{expected}`, which the path names"),
                ));
            }
        }
        let verdict = validate(&value);
        if !verdict.valid {
            return Err(verdict.into_problem());
        }
        let source = self.managed_entry(name, Some(version))?;
        self.0.store.edit(name, version, compact(server)).await?;
        self.audited(caller, "entry.edit", &format!("{name}@{version}"), Value::Null).await?;
        sync::sync(self, &source).await;
        let entry = source.content.load().find(name, version).cloned();
        entry.ok_or_else(|| Problem::not_found("server version", format!("{name}@{version}")))
    }

    /// Sets the status of a version, or of all versions of a server. Gives the entries that it is the status of now.
    pub(crate) async fn set_status(
        &self,
        caller: &Caller,
        name: &str,
        version: Option<&str>,
        change: StatusChange,
    ) -> Result<Vec<Arc<Entry>>, Problem> {
        change.check()?;
        let source = self.managed_entry(name, version)?;
        self.check_namespace(caller, name).await?;
        let StatusChange { status, status_message } = change;
        let detail = json!({"status": status, "statusMessage": status_message});
        self.0.store.set_status(name, version, status, status_message).await?;
        let target = version.map_or_else(|| name.to_owned(), |version| format!("{name}@{version}"));
        self.audited(caller, "entry.status", &target, detail).await?;
        sync::sync(self, &source).await;
        let content = source.content.load();
        let of_change = |entry: &&Arc<Entry>| {
            *entry.name == *name && version.is_none_or(|version| *entry.version == *version)
        };
        Ok(content.entries.iter().filter(of_change).cloned().collect())
    }

    /// What all versions of a server that was published here ask for.
    pub(crate) async fn claims_of(&self, name: &str) -> Result<Claims, Problem> {
        let source = self.managed_entry(name, None)?;
        let of_name = |entry: &&Arc<Entry>| *entry.name == *name;
        let version =
            source.content.load().entries.iter().find(of_name).map(|entry| entry.version.to_string());
        let version = version.unwrap_or_default();
        let published = self.0.store.published(name, &version).await?;
        Ok(published.map(|published| published.claims).unwrap_or_default())
    }

    /// Sets what all versions of a server ask for.
    pub(crate) async fn set_claims(
        &self,
        caller: &Caller,
        name: &str,
        claims: Claims,
    ) -> Result<(), Problem> {
        let source = self.managed_entry(name, None)?;
        self.check_namespace(caller, name).await?;
        self.check_claims(caller, &claims)?;
        self.0.store.set_claims(name, &claims).await?;
        self.audited(caller, "entry.claims", name, json!({"claims": claims})).await?;
        sync::sync(self, &source).await;
        Ok(())
    }

    /// Who changed what, the newest first.
    pub(crate) async fn audit_log(
        &self,
        after: Option<(i64, String)>,
        limit: u32,
    ) -> Result<Vec<AuditRecord>, Problem> {
        Ok(self.0.store.audit_log(after, limit).await?)
    }

    /// Keeps a source or view that an administrator made, and puts it in force.
    pub(crate) async fn make(
        &self,
        kind: &'static str,
        name: &str,
        options: String,
        caller: &Caller,
    ) -> Result<(), Problem> {
        let detail = serde_json::from_str(&options).unwrap_or_default();
        self.0.store.make(kind, name, options).await?;
        let event = if kind == "source" { "source.put" } else { "registry.put" };
        self.audited(caller, event, name, detail).await?;
        Ok(self.apply().await?)
    }

    /// Removes a source or view that an administrator made.
    pub(crate) async fn unmake(
        &self,
        kind: &'static str,
        name: &str,
        caller: &Caller,
    ) -> Result<(), Problem> {
        self.0.store.unmake(kind, name).await?;
        let event = if kind == "source" { "source.delete" } else { "registry.delete" };
        self.audited(caller, event, name, Value::Null).await?;
        Ok(self.apply().await?)
    }

    /// The managed source, if it has the entry; otherwise why it cannot be changed.
    fn managed_entry(&self, name: &str, version: Option<&str>) -> Result<Arc<Source>, Problem> {
        let source = self.managed()?;
        let has = |content: &crate::content::Content| match version {
            Some(version) => content.find(name, version).is_some(),
            None => content.entries.iter().any(|entry| *entry.name == *name),
        };
        if has(&source.content.load()) {
            return Ok(source);
        }
        for other in self.sources() {
            if has(&other.content.load()) {
                let origin = other.options.name.clone();
                return Err(RegistryError::NotManaged { name: name.to_owned(), origin }.into());
            }
        }
        let what = version.map_or_else(|| name.to_owned(), |version| format!("{name}@{version}"));
        Err(Problem::not_found("server", what))
    }

    fn check_size(&self, server: &str) -> Result<(), Problem> {
        let size_max = self.options().entry_size_max;
        if server.len() as u64 <= size_max.get() {
            return Ok(());
        }
        Err(Problem::invalid_field(
            "body",
            format!("has {} bytes, `registry.entry_size_max` is {size_max}", server.len()),
        ))
    }

    /// Whether the caller may publish under the namespace of a name. True: if nobody else has it, it becomes the
    /// caller's.
    async fn check_namespace(&self, caller: &Caller, name: &str) -> Result<bool, Problem> {
        if caller.may(Scope::admin("registry")) && caller.key_id().is_some() {
            return Ok(false);
        }
        let namespace = namespace_of(name);
        let options = self.options();
        if let Some(proof) = caller.proof(AREA) {
            // Domains and accounts are of no case, so a namespace that is somebody's is theirs however it is written.
            let lower = namespace.to_ascii_lowercase();
            let is_proven = proof.names.iter().any(|name| covers(name, &lower));
            let is_meant = |it: &NamespaceOptions| covers(&it.namespace.to_ascii_lowercase(), &lower);
            let is_given = options.namespaces.iter().any(|it| is_meant(it) && !it.is_of(caller));
            if !is_proven
                || is_given
                || self.0.store.is_namespace_of_others(&namespace, caller.tenant()).await?
            {
                return Err(RegistryError::NotOwned { namespace }.into());
            }
        } else if !options.namespaces.is_empty() {
            let owned =
                options.namespaces.iter().any(|it| covers(&it.namespace, &namespace) && it.is_of(caller));
            return if owned { Ok(false) } else { Err(RegistryError::NotOwned { namespace }.into()) };
        }
        match self.0.store.namespace_owner(&namespace).await? {
            Some(owner) if owner != *caller.tenant() => Err(RegistryError::NotOwned { namespace }.into()),
            _ => Ok(true),
        }
    }

    fn check_claims(&self, caller: &Caller, claims: &Claims) -> Result<(), Problem> {
        match self.grants().of(caller) {
            Some(held) if !claims.within(&held) => {
                Err(RegistryError::Claims("an entry may ask for no claims that its publisher does not hold")
                    .into())
            }
            _ => Ok(()),
        }
    }

    pub(crate) async fn audited(
        &self,
        caller: &Caller,
        event: &'static str,
        target: &str,
        detail: Value,
    ) -> Result<(), Problem> {
        counter!(REGISTRY_CHANGES_TOTAL, "event" => event).increment(1);
        Ok(self.0.store.audit(caller, event, target, detail).await?)
    }
}

impl NamespaceOptions {
    fn is_of(&self, caller: &Caller) -> bool {
        self.tenants.iter().any(|tenant| tenant == caller.tenant().as_str())
            || caller.key_id().is_some_and(|key| self.keys.iter().any(|owner| owner == key))
    }
}

/// Whether a namespace is meant: `com.example` is that one alone, `com.example.*` all that are below it.
fn covers(pattern: &str, namespace: &str) -> bool {
    match pattern.strip_suffix(".*") {
        Some(parent) => namespace.strip_prefix(parent).is_some_and(|rest| rest.starts_with('.')),
        None => pattern == namespace,
    }
}

fn namespace_of(name: &str) -> String {
    name.split('/').next().unwrap_or_default().to_owned()
}

fn part_of(row: &Published, source: &Claims) -> Part<'static> {
    let mut official = json!({
        "status": row.status,
        "statusChangedAt": row.status_changed_at.to_string(),
        "publishedAt": row.published_at.to_string(),
        "updatedAt": row.changed_at.to_string(),
    });
    if let Some(message) = &row.status_message {
        official["statusMessage"] = message.as_str().into();
    }
    Part {
        server: Cow::Owned(String::from_utf8_lossy(&row.server).into_owned()),
        meta: Some(Cow::Owned(json!({ OFFICIAL_META: official }).to_string())),
        claims: sync::claims_of(source, &row.claims),
    }
}

/// A page of rows begins with the last row of the page before.
fn without_repetition(parts: Parts<'static>) -> Parts<'static> {
    let mut seen = std::collections::HashSet::new();
    parts
        .into_iter()
        .filter(|part| part.as_ref().map_or(true, |part| seen.insert(crate::read::hash_of(part))))
        .collect()
}
