//! The mouse: where it is, which buttons are held, and the events that it causes.

use std::time::Duration;

use paddock_cdp::{
    CallError, Session,
    protocol::input::{DispatchDragEvent, DispatchMouseEvent, DragIntercepted, SetInterceptDrags},
};

use super::Button;

/// Moves on the way of a drag: pages notice one when the pointer has moved a few times.
const DRAG_STEPS: u32 = 8;

/// What a tab's user holds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Hands {
    /// Where the pointer is, once it was moved.
    pub(super) pointer: Option<(f64, f64)>,
    /// Mouse buttons held: left 1, right 2, middle 4.
    pub(super) buttons: u8,
    /// Keys held.
    pub(super) modifiers: u8,
}

/// A mouse that sends events through a session.
#[derive(Clone, Copy)]
pub(super) struct Mouse<'a> {
    pub(super) session: &'a Session,
    pub(super) hands: Hands,
    pub(super) deadline: Duration,
}

impl Mouse<'_> {
    async fn send(&self, event: DispatchMouseEvent<'_>) -> Result<(), CallError> {
        let event = DispatchMouseEvent { modifiers: self.hands.modifiers, ..event };
        self.session.send_within(&event, self.deadline).await.map(drop)
    }

    pub(super) async fn move_to(&self, x: f64, y: f64) -> Result<(), CallError> {
        let buttons = self.hands.buttons;
        let button = if buttons & 1 == 1 { "left" } else { "none" };
        self.send(DispatchMouseEvent {
            kind: "mouseMoved",
            x,
            y,
            button,
            buttons,
            ..DispatchMouseEvent::default()
        })
        .await
    }

    pub(super) async fn press(&self, x: f64, y: f64, button: Button, count: u8) -> Result<(), CallError> {
        let buttons = self.hands.buttons | button.bit();
        let event = DispatchMouseEvent {
            kind: "mousePressed",
            x,
            y,
            button: button.name(),
            buttons,
            click_count: count,
            ..DispatchMouseEvent::default()
        };
        self.send(event).await
    }

    pub(super) async fn release(&self, x: f64, y: f64, button: Button, count: u8) -> Result<(), CallError> {
        let buttons = self.hands.buttons & !button.bit();
        let event = DispatchMouseEvent {
            kind: "mouseReleased",
            x,
            y,
            button: button.name(),
            buttons,
            click_count: count,
            ..DispatchMouseEvent::default()
        };
        self.send(event).await
    }

    /// Clicks so many times in a row. All events are under way before the first is answered; Chrome keeps their order.
    pub(super) async fn click(&self, x: f64, y: f64, button: Button, times: u8) -> Result<(), CallError> {
        let once = |count| async move {
            tokio::try_join!(self.press(x, y, button, count), self.release(x, y, button, count)).map(drop)
        };
        let second = async { if times > 1 { once(2).await } else { Ok(()) } };
        tokio::try_join!(self.move_to(x, y), once(1), second).map(drop)
    }

    pub(super) async fn wheel(&self, x: f64, y: f64, right: f64, down: f64) -> Result<(), CallError> {
        let event = DispatchMouseEvent {
            kind: "mouseWheel",
            x,
            y,
            button: "none",
            delta_x: right,
            delta_y: down,
            ..DispatchMouseEvent::default()
        };
        self.send(event).await
    }

    /// Drags from one point to another. What the page makes draggable is carried and dropped; everything else just
    /// sees the pointer move with a button held.
    pub(super) async fn drag(
        &self,
        from: (f64, f64),
        to: (f64, f64),
        button: Button,
    ) -> Result<(), CallError> {
        let mut drags = self.session.subscribe(&["Input.dragIntercepted"], 1);
        self.session.send_within(&SetInterceptDrags { enabled: true }, self.deadline).await?;
        let result = self.drag_intercepted(from, to, button, &mut drags).await;
        self.session.send_within(&SetInterceptDrags { enabled: false }, self.deadline).await?;
        result
    }

    async fn drag_intercepted(
        &self,
        from: (f64, f64),
        to: (f64, f64),
        button: Button,
        drags: &mut paddock_cdp::Subscription,
    ) -> Result<(), CallError> {
        self.move_to(from.0, from.1).await?;
        self.press(from.0, from.1, button, 1).await?;
        let holding =
            Mouse { hands: Hands { buttons: self.hands.buttons | button.bit(), ..self.hands }, ..*self };
        for step in 1..=DRAG_STEPS {
            let part = f64::from(step) / f64::from(DRAG_STEPS);
            let (x, y) = (from.0 + (to.0 - from.0) * part, from.1 + (to.1 - from.1) * part);
            let intercepted = tokio::select! {
                biased;
                Some(event) = drags.next() => event.parse::<DragIntercepted>().ok(),
                moved = holding.move_to(x, y) => {
                    moved?;
                    None
                }
            };
            if let Some(intercepted) = intercepted {
                self.carry(&intercepted, to).await?;
                break;
            }
        }
        self.release(to.0, to.1, button, 1).await
    }

    async fn carry(&self, intercepted: &DragIntercepted, to: (f64, f64)) -> Result<(), CallError> {
        for kind in ["dragEnter", "dragOver", "drop"] {
            let event = DispatchDragEvent {
                kind,
                x: to.0,
                y: to.1,
                data: &intercepted.data,
                modifiers: self.hands.modifiers,
            };
            self.session.send_within(&event, self.deadline).await?;
        }
        Ok(())
    }
}
