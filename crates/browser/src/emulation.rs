//! The screen and device that a tab's pages see.

use paddock_cdp::{
    CallError, Session,
    protocol::emulation::{SetDeviceMetricsOverride, SetTouchEmulationEnabled, SetUserAgentOverride},
};

/// Fingers that a touch screen reports, as phones do.
const TOUCH_POINTS: u32 = 5;

/// A screen and the device around it.
#[derive(Clone, Debug, PartialEq)]
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
    /// The user agent; the engine's own (without a mark of its being headless) if none.
    pub user_agent: Option<String>,
}

impl Emulation {
    /// A desktop of 1440 x 900.
    pub fn desktop() -> Self {
        Self { width: 1440, height: 900, scale: 1.0, mobile: false, touch: false, user_agent: None }
    }

    /// A phone of 390 x 844 at two device pixels per CSS pixel, with touch and the user agent of Chrome on Android.
    pub fn mobile() -> Self {
        // The form that Chrome has frozen for all Android devices.
        let user_agent = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) \
                          Chrome/156.0.0.0 Mobile Safari/537.36";
        Self {
            width: 390,
            height: 844,
            scale: 2.0,
            mobile: true,
            touch: true,
            user_agent: Some(user_agent.to_owned()),
        }
    }

    /// Puts it in force for all documents of a session.
    pub(crate) async fn apply(&self, session: &Session, user_agent_default: &str) -> Result<(), CallError> {
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
        let agent =
            SetUserAgentOverride { user_agent: self.user_agent.as_deref().unwrap_or(user_agent_default) };
        tokio::try_join!(session.send(&metrics), session.send(&touch), session.send(&agent))?;
        Ok(())
    }
}

impl Default for Emulation {
    fn default() -> Self {
        Self::desktop()
    }
}
