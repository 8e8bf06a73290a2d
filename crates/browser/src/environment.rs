//! What belongs to a tab whatever page it shows, and whichever session shows it: its log, its rules, and what it
//! pretends to be. It outlives the session: a tab that is opened anew gets it applied again, after hibernation and when
//! its Chrome died. Settings and rules are saved with the tab and survive the server too; credentials are not, because
//! they were given for use and not for keeping.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use paddock_cdp::{
    CallError, Session,
    protocol::{
        emulation::{
            MediaFeature, SetDeviceMetricsOverride, SetEmulatedMedia, SetGeolocationOverride,
            SetTouchEmulationEnabled,
        },
        network::{EmulateNetworkConditions, SetExtraHttpHeaders},
    },
};
use paddock_platform::task::Tasks;
use serde::{Deserialize, Serialize};

use crate::{
    console,
    network::{Interception, Log},
    saved::SavedTab,
};

/// What a tab keeps.
#[derive(Debug, Default)]
pub(crate) struct Environment {
    pub(crate) log: Arc<Log>,
    pub(crate) interception: Arc<Interception>,
    pub(crate) console: tokio::sync::Mutex<console::Cleared>,
    settings: Mutex<Settings>,
}

/// What a tab was told to pretend.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Settings {
    pub(crate) viewport: Option<Viewport>,
    pub(crate) geolocation: Option<SetGeolocationOverride>,
    pub(crate) network: Option<EmulateNetworkConditions>,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) media: Vec<MediaFeature>,
}

/// A screen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[expect(
    clippy::unsafe_derive_deserialize,
    reason = "the unsafe code is in the macro that awaits several calls"
)]
pub(crate) struct Viewport {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) scale: f64,
    pub(crate) mobile: bool,
}

impl Environment {
    /// That of a tab that was saved.
    pub(crate) fn of(saved: &SavedTab) -> Self {
        Self {
            settings: Mutex::new(saved.settings.clone()),
            interception: Arc::new(Interception::of(saved.routes.clone())),
            ..Self::default()
        }
    }

    /// Gives back what can be large and is about pages that are gone: the log.
    pub(crate) fn rest(&self) {
        self.log.clear();
    }

    /// What it pretends now.
    pub(crate) fn settings(&self) -> Settings {
        self.lock().clone()
    }

    /// Notes what it pretends from now on.
    pub(crate) fn set(&self, change: impl FnOnce(&mut Settings)) -> Settings {
        let mut settings = self.lock();
        change(&mut settings);
        settings.clone()
    }

    /// Puts all of it in force for a session that knows nothing of it.
    pub(crate) async fn apply(&self, session: &Session, tasks: &Tasks) -> Result<(), CallError> {
        let settings = self.settings();
        if !settings.is_empty() {
            settings.apply(session).await?;
        }
        if !self.interception.is_idle() {
            self.interception.apply(session, tasks).await?;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Settings {
    /// Whether it pretends nothing.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    async fn apply(&self, session: &Session) -> Result<(), CallError> {
        if let Some(viewport) = self.viewport {
            viewport.apply(session).await?;
        }
        if let Some(geolocation) = self.geolocation {
            session.send(&geolocation).await?;
        }
        if let Some(network) = self.network {
            session.send(&network).await?;
        }
        session.send(&SetExtraHttpHeaders { headers: &self.headers }).await?;
        session.send(&SetEmulatedMedia { media: "", features: &self.media }).await?;
        Ok(())
    }
}

impl Viewport {
    pub(crate) async fn apply(self, session: &Session) -> Result<(), CallError> {
        let metrics = SetDeviceMetricsOverride {
            width: self.width,
            height: self.height,
            device_scale_factor: self.scale,
            mobile: self.mobile,
        };
        let touch = SetTouchEmulationEnabled {
            enabled: self.mobile,
            max_touch_points: self.mobile.then_some(crate::emulation::TOUCH_POINTS),
        };
        tokio::try_join!(session.send(&metrics), session.send(&touch))?;
        Ok(())
    }
}
