//! The screen and device that a tab's pages see.

use paddock_cdp::{
    CallError, Session,
    protocol::emulation::{SetDeviceMetricsOverride, SetTouchEmulationEnabled, SetUserAgentOverride},
};

/// How a headless build names itself where others say `Chrome/`.
const HEADLESS: &str = "HeadlessChrome/";
/// Fingers that a touch screen reports, as phones do.
pub(crate) const TOUCH_POINTS: u32 = 5;

/// A screen and the device around it.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[expect(
    clippy::unsafe_derive_deserialize,
    reason = "the unsafe code is in the macro that awaits several calls"
)]
pub struct Emulation {
    /// Width of the viewport in CSS pixels.
    pub width: u32,
    /// Height of the viewport in CSS pixels.
    pub height: u32,
    /// Device pixels per CSS pixel.
    pub scale: f64,
    /// A phone's or tablet's browser: honours the viewport meta element, overlays scroll bars.
    pub mobile: bool,
    /// Touch instead of a mouse.
    pub touch: bool,
    /// The user agent. If none: the engine's own without the mark of its headless build, because pages are to show
    /// what they show people; that of the same Chrome on Android if `mobile`.
    pub user_agent: Option<String>,
}

impl Emulation {
    /// A desktop of 1440 x 900.
    pub fn desktop() -> Self {
        Self { width: 1440, height: 900, scale: 1.0, mobile: false, touch: false, user_agent: None }
    }

    /// A phone of 390 x 844 at two device pixels per CSS pixel, with touch and the user agent of Chrome on Android.
    pub fn mobile() -> Self {
        Self { width: 390, height: 844, scale: 2.0, mobile: true, touch: true, user_agent: None }
    }

    /// Puts it in force for all documents of a session.
    pub(crate) async fn apply(&self, session: &Session, user_agent: &str) -> Result<(), CallError> {
        let metrics = SetDeviceMetricsOverride {
            width: self.width,
            height: self.height,
            device_scale_factor: self.scale,
            mobile: self.mobile,
        };
        let touch = SetTouchEmulationEnabled {
            enabled: self.touch,
            max_touch_points: self.touch.then_some(TOUCH_POINTS),
        };
        let default = if self.mobile { on_android(user_agent) } else { default_user_agent(user_agent) };
        let agent = SetUserAgentOverride { user_agent: self.user_agent.as_deref().unwrap_or(&default) };
        tokio::try_join!(session.send(&metrics), session.send(&touch), session.send(&agent))?;
        Ok(())
    }
}

/// The engine's user agent without the mark of its headless build.
pub(crate) fn default_user_agent(engine: &str) -> String {
    engine.replace(HEADLESS, "Chrome/")
}

/// The user agent of the same version of Chrome on a phone, in the form that Chrome has frozen for all of them.
fn on_android(user_agent: &str) -> String {
    let version = user_agent.split_once("Chrome/").map_or("", |(_, version)| version);
    let major = version.split(['.', ' ']).next().unwrap_or_default();
    format!(
        "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{major}.0.0.0 Mobile \
         Safari/537.36"
    )
}

impl Default for Emulation {
    fn default() -> Self {
        Self::desktop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phone_names_the_version_of_its_engine() {
        let engine = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
                      HeadlessChrome/156.0.8078.79 Safari/537.36";
        assert!(on_android(engine).contains("Android 10; K"));
        assert!(on_android(engine).contains(" Chrome/156.0.0.0 Mobile"));
    }
}
