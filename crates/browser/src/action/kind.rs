//! The kinds of actions, in Pinchtab's words.

use std::str::FromStr;

use serde::Serialize;

/// A text that names no kind of action.
#[derive(Debug, thiserror::Error)]
#[error("unknown action kind: `{kind}`; valid values: {}", names())]
pub struct UnknownActionError {
    kind: String,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// What an action does.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
        pub enum ActionKind {
            $($(#[$doc])* #[serde(rename = $name)] $variant,)*
        }

        impl ActionKind {
            /// All there are.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

kinds! {
    /// Presses and releases a mouse button on an element.
    Click = "click",
    /// Does so twice.
    DoubleClick = "dblclick",
    /// Types a text into a field, after what it holds.
    Type = "type",
    /// Replaces what a field holds.
    Fill = "fill",
    /// Presses and releases a key.
    Press = "press",
    /// Gives an element the focus.
    Focus = "focus",
    /// Puts the pointer on an element.
    Hover = "hover",
    /// Chooses an option of a select.
    Select = "select",
    /// Scrolls the page or an element.
    Scroll = "scroll",
    /// Moves the pointer.
    MouseMove = "mouse-move",
    /// Presses a mouse button.
    MouseDown = "mouse-down",
    /// Releases a mouse button.
    MouseUp = "mouse-up",
    /// Turns the wheel.
    MouseWheel = "mouse-wheel",
    /// Drags an element.
    Drag = "drag",
    /// Checks a box.
    Check = "check",
    /// Unchecks a box.
    Uncheck = "uncheck",
    /// Types a text into what has the focus.
    KeyboardType = "keyboard-type",
    /// Inserts a text into what has the focus, without keys.
    KeyboardInsertText = "keyboard-inserttext",
    /// Presses a key and holds it.
    KeyDown = "keydown",
    /// Releases a key.
    KeyUp = "keyup",
    /// Scrolls an element into view.
    ScrollIntoView = "scrollintoview",
}

fn names() -> String {
    ActionKind::ALL.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ")
}

impl FromStr for ActionKind {
    type Err = UnknownActionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |name: &str| name.to_ascii_lowercase().replace(['-', '_', ' '], "");
        let wanted = plain(text.trim());
        let found = Self::ALL.iter().find(|kind| plain(kind.name()) == wanted);
        let synonym = match wanted.as_str() {
            "doubleclick" => Some(&Self::DoubleClick),
            "inserttext" => Some(&Self::KeyboardInsertText),
            "wheel" => Some(&Self::MouseWheel),
            _ => None,
        };
        found.or(synonym).copied().ok_or_else(|| UnknownActionError { kind: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read_as_it_is_written() {
        assert_eq!(ActionKind::ALL.len(), 21);
        for kind in ActionKind::ALL {
            assert_eq!(kind.name().parse::<ActionKind>().unwrap(), *kind);
        }
        assert_eq!("Mouse_Move".parse::<ActionKind>().unwrap(), ActionKind::MouseMove);
    }

    #[test]
    fn an_unknown_kind_is_refused_with_those_there_are() {
        let error = "explode".parse::<ActionKind>().unwrap_err().to_string();
        assert!(
            error.starts_with("unknown action kind: `explode`; valid values: click, dblclick"),
            "{error}"
        );
    }
}
