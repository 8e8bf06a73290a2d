//! What a tab pretends: its screen, place, network, headers, credentials and media. It stays in force until it is
//! changed, whatever page the tab shows.

use std::collections::BTreeMap;

use paddock_cdp::protocol::{
    emulation::{MediaFeature, SetEmulatedMedia, SetGeolocationOverride},
    network::{EmulateNetworkConditions, SetExtraHttpHeaders},
};
use paddock_platform::problem::Problem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{BrowserService, Target, WRITE};
use crate::{environment::Viewport, error::BrowserError, ids::TabId, network::Credentials};

/// Longest side of a screen, in CSS pixels.
const SIDE_MAX: u32 = 10_000;
/// Most headers, and bytes of one.
const HEADERS_MAX: usize = 50;
const HEADER_SIZE_MAX: usize = 8 << 10;
/// Most media features.
const MEDIA_MAX: usize = 32;

/// Sets the screen.
#[derive(Clone, Debug, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ViewportRequest {
    /// The tab; without one, the tab that was used last.
    #[serde(default)]
    pub tab_id: Option<TabId>,
    /// Width in CSS pixels.
    pub width: u32,
    /// Height in CSS pixels.
    pub height: u32,
    /// Device pixels per CSS pixel; 1 if absent or 0.
    #[serde(default)]
    pub device_scale_factor: f64,
    /// A phone: honours the viewport meta element, has touch.
    #[serde(default)]
    pub mobile: bool,
}

/// The screen that was set.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ViewportApplied {
    /// Width in CSS pixels.
    pub width: u32,
    /// Height in CSS pixels.
    pub height: u32,
    /// Device pixels per CSS pixel.
    pub device_scale_factor: f64,
    /// A phone.
    pub mobile: bool,
    /// `applied`.
    pub status: &'static str,
}

/// Sets the place.
#[derive(Clone, Debug, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GeolocationRequest {
    /// The tab; without one, the tab that was used last.
    #[serde(default)]
    pub tab_id: Option<TabId>,
    /// Degrees north, -90 to 90.
    pub latitude: f64,
    /// Degrees east, -180 to 180.
    pub longitude: f64,
    /// In metres; 1 if absent or 0.
    #[serde(default)]
    pub accuracy: f64,
}

/// The place that was set.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct GeolocationApplied {
    /// Degrees north.
    pub latitude: f64,
    /// Degrees east.
    pub longitude: f64,
    /// In metres.
    pub accuracy: f64,
    /// `applied`.
    pub status: &'static str,
}

/// Takes the network away, makes it slow, or gives it back.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct OfflineRequest {
    /// The tab; without one, the tab that was used last.
    pub tab_id: Option<TabId>,
    /// Whether there is none.
    pub offline: bool,
    /// Least milliseconds to the first byte.
    pub latency: f64,
    /// Bytes per second; no bound if absent, 0 or negative.
    pub download_throughput: f64,
    /// Bytes per second; no bound if absent, 0 or negative.
    pub upload_throughput: f64,
}

/// The network that was set.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct OfflineApplied {
    /// Whether there is none.
    pub offline: bool,
    /// `offline` or `online`.
    pub status: &'static str,
}

/// Sets headers that every request carries.
#[derive(Clone, Debug, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeadersRequest {
    /// The tab; without one, the tab that was used last.
    #[serde(default)]
    pub tab_id: Option<TabId>,
    /// By name; empty for none.
    pub headers: BTreeMap<String, String>,
}

/// The headers that were set.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct HeadersApplied {
    /// By name.
    pub headers: BTreeMap<String, String>,
    /// `applied`.
    pub status: &'static str,
}

/// Sets the credentials for hosts that demand them.
#[derive(Clone, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CredentialsRequest {
    /// The tab; without one, the tab that was used last.
    #[serde(default)]
    pub tab_id: Option<TabId>,
    /// User; empty for no credentials.
    pub username: String,
    /// Password.
    #[serde(default)]
    pub password: String,
}

/// The credentials that were set.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct CredentialsApplied {
    /// User.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// `applied` or `cleared`.
    pub status: &'static str,
}

/// Sets a media feature.
#[derive(Clone, Debug, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MediaRequest {
    /// The tab; without one, the tab that was used last.
    #[serde(default)]
    pub tab_id: Option<TabId>,
    /// For example `prefers-color-scheme`.
    pub feature: String,
    /// For example `dark`.
    pub value: String,
}

/// The media feature that was set.
#[derive(Clone, Debug, Serialize, JsonSchema, ToSchema)]
pub struct MediaApplied {
    /// Name.
    pub feature: String,
    /// Value.
    pub value: String,
    /// `applied`.
    pub status: &'static str,
}

impl BrowserService {
    /// Sets the screen of a tab.
    pub async fn set_viewport(
        &self,
        target: &Target,
        request: ViewportRequest,
    ) -> Result<ViewportApplied, Problem> {
        let ViewportRequest { width, height, device_scale_factor, mobile, .. } = request;
        for (field, side) in [("width", width), ("height", height)] {
            if !(1..=SIDE_MAX).contains(&side) {
                return Err(Problem::invalid_field(field, format!("must be 1 to {SIDE_MAX}")));
            }
        }
        let scale = if device_scale_factor > 0.0 { device_scale_factor } else { 1.0 };
        if scale > 8.0 {
            return Err(Problem::invalid_field("deviceScaleFactor", "must be at most 8"));
        }
        let tab = self.tab(target, WRITE).await?;
        let viewport = Viewport { width, height, scale, mobile };
        viewport.apply(tab.session()).await.map_err(BrowserError::from)?;
        tab.0.environment.set(|settings| settings.viewport = Some(viewport));
        Ok(ViewportApplied { width, height, device_scale_factor: scale, mobile, status: "applied" })
    }

    /// Sets the place of a tab, and lets the pages of its instance ask for it.
    pub async fn set_geolocation(
        &self,
        target: &Target,
        request: GeolocationRequest,
    ) -> Result<GeolocationApplied, Problem> {
        let GeolocationRequest { latitude, longitude, accuracy, .. } = request;
        if !(-90.0..=90.0).contains(&latitude) {
            return Err(Problem::invalid_field("latitude", "must be -90 to 90"));
        }
        if !(-180.0..=180.0).contains(&longitude) {
            return Err(Problem::invalid_field("longitude", "must be -180 to 180"));
        }
        if accuracy < 0.0 {
            return Err(Problem::invalid_field("accuracy", "must not be negative"));
        }
        let accuracy = if accuracy > 0.0 { accuracy } else { 1.0 };
        let tab = self.tab(target, WRITE).await?;
        let place = SetGeolocationOverride {
            latitude: Some(latitude),
            longitude: Some(longitude),
            accuracy: Some(accuracy),
        };
        tab.session().send(&place).await.map_err(BrowserError::from)?;
        tab.0.environment.set(|settings| settings.geolocation = Some(place));
        if let Some(lease) = self.own(&target.caller, tab.instance_id())?.lease() {
            lease.grant(&["geolocation"]).await?;
        }
        Ok(GeolocationApplied { latitude, longitude, accuracy, status: "applied" })
    }

    /// Takes the network of a tab away, makes it slow, or gives it back.
    pub async fn set_offline(
        &self,
        target: &Target,
        request: OfflineRequest,
    ) -> Result<OfflineApplied, Problem> {
        let rate = |bytes: f64| if bytes > 0.0 { bytes } else { -1.0 };
        let network = EmulateNetworkConditions {
            offline: request.offline,
            latency: request.latency.clamp(0.0, 60_000.0),
            download_throughput: rate(request.download_throughput),
            upload_throughput: rate(request.upload_throughput),
        };
        let tab = self.tab(target, WRITE).await?;
        tab.session().send(&network).await.map_err(BrowserError::from)?;
        tab.0.environment.set(|settings| settings.network = Some(network));
        let status = if request.offline { "offline" } else { "online" };
        Ok(OfflineApplied { offline: request.offline, status })
    }

    /// Sets headers that every request of a tab carries.
    pub async fn set_headers(
        &self,
        target: &Target,
        request: HeadersRequest,
    ) -> Result<HeadersApplied, Problem> {
        let headers = request.headers;
        if headers.len() > HEADERS_MAX {
            return Err(Problem::invalid_field("headers", format!("must be at most {HEADERS_MAX}")));
        }
        for (name, value) in &headers {
            let good = http::HeaderName::try_from(name).is_ok() && http::HeaderValue::try_from(value).is_ok();
            if !good || value.len() > HEADER_SIZE_MAX {
                let name = name.escape_default();
                return Err(Problem::invalid_field("headers", format!("`{name}` is not a header")));
            }
        }
        let tab = self.tab(target, WRITE).await?;
        let command = SetExtraHttpHeaders { headers: &headers };
        tab.session().send(&command).await.map_err(BrowserError::from)?;
        tab.0.environment.set(|settings| settings.headers.clone_from(&headers));
        Ok(HeadersApplied { headers, status: "applied" })
    }

    /// Sets the credentials of a tab for hosts that demand them.
    pub async fn set_credentials(
        &self,
        target: &Target,
        request: CredentialsRequest,
    ) -> Result<CredentialsApplied, Problem> {
        let CredentialsRequest { username, password, .. } = request;
        if username.len() + password.len() > HEADER_SIZE_MAX {
            return Err(Problem::invalid_field("password", "is too long"));
        }
        let tab = self.tab(target, WRITE).await?;
        let credentials =
            (!username.is_empty()).then(|| Credentials { username: username.clone(), password });
        let is_set = credentials.is_some();
        let interception = &tab.0.environment.interception;
        interception.set_credentials(credentials);
        interception.apply(tab.session(), &self.fleet.0.tasks).await.map_err(BrowserError::from)?;
        Ok(if is_set {
            CredentialsApplied { username: Some(username), status: "applied" }
        } else {
            CredentialsApplied { username: None, status: "cleared" }
        })
    }

    /// Sets a media feature of a tab.
    pub async fn set_media(&self, target: &Target, request: MediaRequest) -> Result<MediaApplied, Problem> {
        let MediaRequest { feature, value, .. } = request;
        for (field, text) in [("feature", &feature), ("value", &value)] {
            if text.is_empty() || text.len() > 100 {
                return Err(Problem::invalid_field(field, "must have 1 to 100 bytes"));
            }
        }
        let tab = self.tab(target, WRITE).await?;
        let mut media = tab.0.environment.settings().media;
        media.retain(|known| known.name != feature);
        if media.len() >= MEDIA_MAX {
            return Err(Problem::invalid_field("feature", format!("at most {MEDIA_MAX} can be set")));
        }
        media.push(MediaFeature { name: feature.clone(), value: value.clone() });
        let command = SetEmulatedMedia { media: "", features: &media };
        tab.session().send(&command).await.map_err(BrowserError::from)?;
        tab.0.environment.set(|settings| settings.media = media);
        Ok(MediaApplied { feature, value, status: "applied" })
    }
}
