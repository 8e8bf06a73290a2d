//! Pictures of a page as it changes, and input back to it.
//!
//! Each screencast has a session of its own with the page. Chrome sends the next picture when the last one was
//! acknowledged, which is done when the viewer has it: a slow viewer gets fewer pictures, and none queue up.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use paddock_cdp::{CallError, Session, Subscription, protocol::target::DetachFromTarget};
use paddock_platform::task::Tasks;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::Instant;

use crate::{process::Process, tab::Tab};

/// How long a command may take.
const CALL_DEADLINE: Duration = Duration::from_secs(10);
/// Pictures that wait; Chrome sends two at most before the first is acknowledged.
const FRAMES_MAX: usize = 8;

/// How pictures are taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScreencastOptions {
    /// Of the JPEG, 1 to 100.
    pub(crate) quality: u8,
    /// Largest width in pixels.
    pub(crate) width_max: u32,
    /// Largest height in pixels.
    pub(crate) height_max: u32,
    /// Most pictures per second.
    pub(crate) fps_max: f64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ScreencastFrame {
    data: String,
    metadata: Metadata,
    session_id: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    device_width: f64,
    device_height: f64,
}

/// A screencast under way.
#[derive(Debug)]
pub(crate) struct Screencast {
    session: Session,
    process: Process,
    tasks: Tasks,
    frames: Subscription,
    interval: Duration,
    /// The picture that is not acknowledged, and when it came.
    shown: Option<(i64, Instant)>,
    size: (f64, f64),
}

impl Screencast {
    /// Begins.
    pub(crate) async fn start(tab: &Tab, options: ScreencastOptions) -> Result<Self, CallError> {
        let process = tab.0.process.clone();
        let session = process.connection().attach(tab.session().target_id()).await?;
        let frames = session.subscribe(&["Page.screencastFrame"], FRAMES_MAX);
        let interval = Duration::from_secs_f64(1.0 / options.fps_max.clamp(0.1, 60.0));
        let tasks = tab.0.shared.tasks.clone();
        let screencast = Self { session, process, tasks, frames, interval, shown: None, size: (0.0, 0.0) };
        let params = json!({
            "format": "jpeg", "quality": options.quality, "everyNthFrame": 1,
            "maxWidth": options.width_max, "maxHeight": options.height_max,
        });
        let session = &screencast.session;
        session.call("Page.enable", &json!({}), CALL_DEADLINE).await?;
        session.call("Page.startScreencast", &params, CALL_DEADLINE).await?;
        Ok(screencast)
    }

    /// The next picture, a JPEG image; none when the page is closed. Asking for it says that the one before was taken.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        if let Some((shown, came)) = self.shown {
            // So many a second: the page is not drawn more often than somebody wants to see it.
            tokio::time::sleep_until(came + self.interval).await;
            let ack = json!({ "sessionId": shown });
            self.session.call("Page.screencastFrameAck", &ack, CALL_DEADLINE).await.ok()?;
            self.shown = None;
        }
        loop {
            let event = self.frames.next().await?;
            let Ok(frame) = event.parse::<ScreencastFrame>() else { continue };
            self.shown = Some((frame.session_id, Instant::now()));
            let Ok(image) = BASE64_STANDARD.decode(frame.data) else { return None };
            self.size = (frame.metadata.device_width, frame.metadata.device_height);
            return Some(image.into());
        }
    }

    /// What input is given to the page with.
    pub(crate) fn input(&self) -> Input {
        Input { session: self.session.clone() }
    }

    /// What the last picture showed, in CSS pixels.
    pub(crate) fn size(&self) -> (f64, f64) {
        self.size
    }
}

impl Drop for Screencast {
    fn drop(&mut self) {
        let (session, process) = (self.session.clone(), self.process.clone());
        self.tasks.spawn("browser_screencast_stop", async move {
            let command = DetachFromTarget { session_id: session.id() };
            process.connection().browser().send(&command).await.ok();
        });
    }
}

/// What a viewer does with mouse and keyboard.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum ViewerInput {
    /// The mouse, in pixels of a picture of this size, or in CSS pixels if no size is given.
    #[serde(rename_all = "camelCase")]
    Mouse {
        event: MouseEvent,
        x: f64,
        y: f64,
        #[serde(default)]
        frame_w: Option<f64>,
        #[serde(default)]
        frame_h: Option<f64>,
        #[serde(default)]
        button: MouseButton,
        #[serde(default)]
        click_count: u32,
        #[serde(default)]
        delta_x: f64,
        #[serde(default)]
        delta_y: f64,
        #[serde(default)]
        modifiers: u8,
    },
    /// A key, as a `KeyboardEvent` names it.
    #[serde(rename_all = "camelCase")]
    Key {
        event: KeyEvent,
        key: String,
        #[serde(default)]
        code: String,
        #[serde(default)]
        key_code: u32,
        #[serde(default)]
        modifiers: u8,
    },
    /// Text, as if pasted.
    Text { text: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MouseEvent {
    Down,
    Up,
    Move,
    Wheel,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MouseButton {
    #[default]
    None,
    Left,
    Middle,
    Right,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum KeyEvent {
    Down,
    Up,
}

/// Longest text at once, in bytes.
const TEXT_SIZE_MAX: usize = 64 << 10;
/// Bits of `modifiers` with which a key is a command rather than text: Alt, Ctrl, Meta.
const COMMAND_MODIFIERS: u8 = 1 | 2 | 4;

/// Gives a page input.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    session: Session,
}

impl Input {
    /// Does what a viewer did, given what the last picture showed in CSS pixels.
    pub(crate) async fn dispatch(&self, input: ViewerInput, size: (f64, f64)) -> Result<(), CallError> {
        let (method, params) = match input {
            ViewerInput::Mouse {
                event,
                x,
                y,
                frame_w,
                frame_h,
                button,
                click_count,
                delta_x,
                delta_y,
                modifiers,
            } => {
                let kind = match event {
                    MouseEvent::Down => "mousePressed",
                    MouseEvent::Up => "mouseReleased",
                    MouseEvent::Move => "mouseMoved",
                    MouseEvent::Wheel => "mouseWheel",
                };
                let params = json!({
                    "type": kind, "x": scaled(x, frame_w, size.0), "y": scaled(y, frame_h, size.1),
                    "button": button, "clickCount": click_count.min(3), "deltaX": delta_x, "deltaY": delta_y,
                    "modifiers": modifiers & 15,
                });
                ("Input.dispatchMouseEvent", params)
            }
            ViewerInput::Key { event, key, code, key_code, modifiers } => {
                let text = text_of(&key, modifiers).filter(|_| event == KeyEvent::Down);
                let kind = match (event, &text) {
                    (KeyEvent::Up, _) => "keyUp",
                    (KeyEvent::Down, Some(_)) => "keyDown",
                    (KeyEvent::Down, None) => "rawKeyDown",
                };
                let mut params = json!({
                    "type": kind, "key": key, "code": code, "windowsVirtualKeyCode": key_code,
                    "nativeVirtualKeyCode": key_code, "modifiers": modifiers & 15,
                });
                if let Some(text) = text {
                    params["text"] = text.into();
                }
                ("Input.dispatchKeyEvent", params)
            }
            ViewerInput::Text { text } if text.len() <= TEXT_SIZE_MAX => {
                ("Input.insertText", json!({ "text": text }))
            }
            ViewerInput::Text { .. } => return Ok(()),
        };
        self.session.call(method, &params, CALL_DEADLINE).await.map(drop)
    }
}

/// A place in the picture as one in the page.
fn scaled(at: f64, frame: Option<f64>, page: f64) -> f64 {
    match frame {
        Some(frame) if frame > 0.0 && page > 0.0 => at * page / frame,
        _ => at,
    }
}

/// What a key types.
fn text_of(key: &str, modifiers: u8) -> Option<String> {
    if modifiers & COMMAND_MODIFIERS != 0 {
        return None;
    }
    match key {
        "Enter" => Some("\r".to_owned()),
        _ if key.chars().count() == 1 => Some(key.to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_the_picture_is_scaled_to_the_page() {
        assert!((scaled(400.0, Some(1600.0), 800.0) - 200.0).abs() < 1e-9);
        assert!((scaled(400.0, None, 800.0) - 400.0).abs() < 1e-9);
        assert!((scaled(400.0, Some(0.0), 800.0) - 400.0).abs() < 1e-9);
    }

    #[test]
    fn keys_that_are_commands_type_nothing() {
        assert_eq!(text_of("a", 8).as_deref(), Some("a"));
        assert_eq!(text_of("a", 2), None);
        assert_eq!(text_of("Enter", 0).as_deref(), Some("\r"));
        assert_eq!(text_of("ArrowLeft", 0), None);
    }

    #[test]
    fn input_is_read_as_viewers_send_it() {
        let input = r#"{"type":"mouse","event":"down","x":1,"y":2,"frameW":800,"frameH":600,"button":"left","clickCount":1}"#;
        assert!(matches!(
            serde_json::from_str(input),
            Ok(ViewerInput::Mouse { event: MouseEvent::Down, .. })
        ));
        let input = r#"{"type":"key","event":"up","key":"a","keyCode":65}"#;
        assert!(matches!(serde_json::from_str(input), Ok(ViewerInput::Key { event: KeyEvent::Up, .. })));
    }
}
