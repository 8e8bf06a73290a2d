//! `Emulation`: the screen and the device that a page sees.

use serde::{Deserialize, Serialize};

use super::{Empty, command};

/// Sets the size of the viewport.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SetDeviceMetricsOverride {
    /// Width in CSS pixels.
    pub width: u32,
    /// Height in CSS pixels.
    pub height: u32,
    /// Device pixels per CSS pixel.
    pub device_scale_factor: f64,
    /// Honours the viewport meta element, overlays scroll bars.
    pub mobile: bool,
}
command!(SetDeviceMetricsOverride, "Emulation.setDeviceMetricsOverride", Empty);

/// Makes the page believe in a touch screen.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SetTouchEmulationEnabled {
    /// On or off.
    pub enabled: bool,
    /// Fingers at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_touch_points: Option<u32>,
}
command!(SetTouchEmulationEnabled, "Emulation.setTouchEmulationEnabled", Empty);

/// Keeps a page's own scripts from running; those of the client run.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SetScriptExecutionDisabled {
    /// Off or on.
    pub value: bool,
}
command!(SetScriptExecutionDisabled, "Emulation.setScriptExecutionDisabled", Empty);

/// Keeps the page active and focused whatever else is.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SetFocusEmulationEnabled {
    /// On or off.
    pub enabled: bool,
}
command!(SetFocusEmulationEnabled, "Emulation.setFocusEmulationEnabled", Empty);

/// Sets the user agent that the page's requests and scripts name.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SetUserAgentOverride<'a> {
    /// The whole text; empty for Chrome's own.
    pub user_agent: &'a str,
}
command!(SetUserAgentOverride<'a>, "Emulation.setUserAgentOverride", Empty);

/// Where the page believes to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SetGeolocationOverride {
    /// Degrees north.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latitude: Option<f64>,
    /// Degrees east.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub longitude: Option<f64>,
    /// In metres.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
}
command!(SetGeolocationOverride, "Emulation.setGeolocationOverride", Empty);

/// Media type and features that style sheets ask for.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct SetEmulatedMedia<'a> {
    /// `screen` or `print`; empty for Chrome's own.
    pub media: &'a str,
    /// The features that differ from Chrome's own.
    pub features: &'a [MediaFeature],
}
command!(SetEmulatedMedia<'a>, "Emulation.setEmulatedMedia", Empty);

/// A media feature, for example `prefers-color-scheme: dark`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MediaFeature {
    /// Name.
    pub name: String,
    /// Value.
    pub value: String,
}
