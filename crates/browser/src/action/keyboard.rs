//! Keys: their names, their codes, and the events that typing causes.

use std::{str::FromStr, time::Duration};

use futures_util::future::try_join_all;
use paddock_cdp::{
    CallError, Session,
    protocol::input::{DispatchKeyEvent, InsertText},
};

pub(super) const ALT: u8 = 1;
pub(super) const CONTROL: u8 = 2;
pub(super) const META: u8 = 4;
pub(super) const SHIFT: u8 = 8;

/// Characters whose keys are sent at once.
const BATCH: usize = 16;
/// Characters at either end of a long text that are typed; what is between them is inserted, without keys.
const TYPED_ENDS: usize = 32;
/// A text with more characters than this is long.
const TYPED_MAX: usize = 256;

/// A text that names no key.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a key; examples: `Enter`, `ArrowDown`, `a`, `Control+A`")]
pub struct UnknownKeyError(String);

/// A key of the keyboard, with those that are held with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// What it means, `KeyboardEvent.key`.
    meaning: String,
    /// Its place, `KeyboardEvent.code`.
    code: String,
    number: u16,
    /// What it types; empty for keys that type nothing.
    text: String,
    location: u8,
    /// Keys held with it.
    pub(super) modifiers: u8,
}

/// Name, other names, place, number, text, location.
type Named = (&'static str, &'static [&'static str], &'static str, u16, &'static str, u8);

const NAMED: &[Named] = &[
    ("Enter", &["return"], "Enter", 13, "\r", 0),
    ("Tab", &[], "Tab", 9, "", 0),
    ("Escape", &["esc"], "Escape", 27, "", 0),
    ("Backspace", &[], "Backspace", 8, "", 0),
    ("Delete", &["del"], "Delete", 46, "", 0),
    ("Insert", &[], "Insert", 45, "", 0),
    ("ArrowUp", &["up"], "ArrowUp", 38, "", 0),
    ("ArrowDown", &["down"], "ArrowDown", 40, "", 0),
    ("ArrowLeft", &["left"], "ArrowLeft", 37, "", 0),
    ("ArrowRight", &["right"], "ArrowRight", 39, "", 0),
    ("Home", &[], "Home", 36, "", 0),
    ("End", &[], "End", 35, "", 0),
    ("PageUp", &[], "PageUp", 33, "", 0),
    ("PageDown", &[], "PageDown", 34, "", 0),
    (" ", &["space", "spacebar"], "Space", 32, " ", 0),
    ("Shift", &[], "ShiftLeft", 16, "", 1),
    ("Control", &["ctrl"], "ControlLeft", 17, "", 1),
    ("Alt", &["option"], "AltLeft", 18, "", 1),
    ("Meta", &["cmd", "command", "super", "win"], "MetaLeft", 91, "", 1),
    ("CapsLock", &[], "CapsLock", 20, "", 0),
    ("ContextMenu", &[], "ContextMenu", 93, "", 0),
    ("F1", &[], "F1", 112, "", 0),
    ("F2", &[], "F2", 113, "", 0),
    ("F3", &[], "F3", 114, "", 0),
    ("F4", &[], "F4", 115, "", 0),
    ("F5", &[], "F5", 116, "", 0),
    ("F6", &[], "F6", 117, "", 0),
    ("F7", &[], "F7", 118, "", 0),
    ("F8", &[], "F8", 119, "", 0),
    ("F9", &[], "F9", 120, "", 0),
    ("F10", &[], "F10", 121, "", 0),
    ("F11", &[], "F11", 122, "", 0),
    ("F12", &[], "F12", 123, "", 0),
];

/// Signs of an American keyboard: without and with shift, place, number.
const SIGNS: &[(char, char, &str, u16)] = &[
    ('1', '!', "Digit1", 49),
    ('2', '@', "Digit2", 50),
    ('3', '#', "Digit3", 51),
    ('4', '$', "Digit4", 52),
    ('5', '%', "Digit5", 53),
    ('6', '^', "Digit6", 54),
    ('7', '&', "Digit7", 55),
    ('8', '*', "Digit8", 56),
    ('9', '(', "Digit9", 57),
    ('0', ')', "Digit0", 48),
    ('-', '_', "Minus", 189),
    ('=', '+', "Equal", 187),
    ('[', '{', "BracketLeft", 219),
    (']', '}', "BracketRight", 221),
    ('\\', '|', "Backslash", 220),
    (';', ':', "Semicolon", 186),
    ('\'', '"', "Quote", 222),
    (',', '<', "Comma", 188),
    ('.', '>', "Period", 190),
    ('/', '?', "Slash", 191),
    ('`', '~', "Backquote", 192),
];

impl Key {
    fn named(name: &str) -> Option<Self> {
        let wanted = name.to_ascii_lowercase();
        let (key, _, code, number, text, location) = NAMED
            .iter()
            .find(|(key, others, ..)| key.to_ascii_lowercase() == wanted || others.contains(&&*wanted))?;
        Some(Self {
            meaning: (*key).to_owned(),
            code: (*code).to_owned(),
            number: *number,
            text: (*text).to_owned(),
            location: *location,
            modifiers: 0,
        })
    }

    /// The key that types a character. What no key types has no place.
    fn of_character(character: char) -> Self {
        let (code, number, shifted) = match character {
            'a'..='z' | 'A'..='Z' => {
                let upper = character.to_ascii_uppercase();
                (
                    format!("Key{upper}"),
                    u16::try_from(u32::from(upper)).unwrap_or_default(),
                    character == upper,
                )
            }
            ' ' => ("Space".to_owned(), 32, false),
            '\n' | '\r' => return Self::named("Enter").unwrap_or_else(|| Self::unplaced(character)),
            '\t' => return Self::named("Tab").unwrap_or_else(|| Self::unplaced(character)),
            _ => match SIGNS.iter().find(|(plain, shifted, ..)| *plain == character || *shifted == character)
            {
                Some((_, shifted, code, number)) => ((*code).to_owned(), *number, *shifted == character),
                None => return Self::unplaced(character),
            },
        };
        let text = character.to_string();
        let modifiers = if shifted { SHIFT } else { 0 };
        Self { meaning: text.clone(), code, number, text, location: 0, modifiers }
    }

    fn unplaced(character: char) -> Self {
        let text = character.to_string();
        Self { meaning: text.clone(), code: String::new(), number: 0, text, location: 0, modifiers: 0 }
    }

    /// Whether typing a character is pressing a key: else it is inserted as an input method would.
    fn is_on_keyboard(character: char) -> bool {
        !Self::of_character(character).code.is_empty()
    }

    /// The bit of a key that modifies others; 0 for all else.
    pub(super) fn modifier(&self) -> u8 {
        match self.meaning.as_str() {
            "Alt" => ALT,
            "Control" => CONTROL,
            "Meta" => META,
            "Shift" => SHIFT,
            _ => 0,
        }
    }

    /// What it types while these are held.
    fn typed(&self, held: u8) -> Option<String> {
        if held & (CONTROL | META | ALT) != 0 || self.text.is_empty() {
            return None;
        }
        if held & SHIFT == 0 {
            return Some(self.text.clone());
        }
        let mut characters = self.text.chars();
        let shifted = match (characters.next(), characters.next()) {
            (Some(one), None) => SIGNS
                .iter()
                .find(|(plain, ..)| *plain == one)
                .map_or_else(|| one.to_uppercase().to_string(), |(_, shifted, ..)| shifted.to_string()),
            _ => self.text.clone(),
        };
        Some(shifted)
    }

    /// Presses it while `held` are held.
    pub(super) async fn down(
        &self,
        session: &Session,
        held: u8,
        deadline: Duration,
    ) -> Result<(), CallError> {
        let text = self.typed(held);
        let key = match &text {
            Some(text) if self.text != "\r" => text.as_str(),
            _ => self.meaning.as_str(),
        };
        let event = DispatchKeyEvent {
            kind: if text.is_some() { "keyDown" } else { "rawKeyDown" },
            modifiers: held,
            text: text.as_deref(),
            unmodified_text: text.as_ref().map(|_| self.text.as_str()),
            key,
            code: &self.code,
            windows_virtual_key_code: self.number,
            location: self.location,
            auto_repeat: false,
        };
        session.send_within(&event, deadline).await.map(drop)
    }

    /// Releases it.
    pub(super) async fn up(&self, session: &Session, held: u8, deadline: Duration) -> Result<(), CallError> {
        let event = DispatchKeyEvent {
            kind: "keyUp",
            modifiers: held,
            key: &self.meaning,
            code: &self.code,
            windows_virtual_key_code: self.number,
            location: self.location,
            ..DispatchKeyEvent::default()
        };
        session.send_within(&event, deadline).await.map(drop)
    }
}

impl FromStr for Key {
    type Err = UnknownKeyError;

    /// `Enter`, `a`, `Control+Shift+K`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || UnknownKeyError(text.to_owned());
        let (held, name) = match text.rsplit_once('+') {
            // The plus itself is the key.
            Some((held, "")) => (held.strip_suffix('+').unwrap_or(held), "+"),
            Some((held, name)) => (held, name),
            None => ("", text),
        };
        let mut characters = name.chars();
        let mut key = match (
            Self::named(if name == " " { "space" } else { name.trim() }),
            characters.next(),
            characters.next(),
        ) {
            (Some(key), ..) => key,
            (None, Some(one), None) => Self::of_character(one),
            _ => return Err(unknown()),
        };
        for one in held.split('+').filter(|one| !one.is_empty()) {
            let modifier = Self::named(one.trim()).map(|key| key.modifier()).filter(|bit| *bit != 0);
            key.modifiers |= modifier.ok_or_else(unknown)?;
        }
        Ok(key)
    }
}

/// Presses and releases a key.
pub(super) async fn press(
    session: &Session,
    key: &Key,
    held: u8,
    deadline: Duration,
) -> Result<(), CallError> {
    let held = held | key.modifiers;
    // Both are under way before the first is answered; Chrome keeps their order.
    tokio::try_join!(key.down(session, held, deadline), key.up(session, held, deadline)).map(drop)
}

/// Types a text key by key. Of a long one, only the ends; what is between them is inserted at once.
pub(super) async fn type_text(
    session: &Session,
    text: &str,
    held: u8,
    deadline: Duration,
) -> Result<(), CallError> {
    let characters: Vec<char> = text.chars().filter(|character| *character != '\r').collect();
    if characters.len() <= TYPED_MAX {
        return type_keys(session, &characters, held, deadline).await;
    }
    let (first, rest) = characters.split_at(TYPED_ENDS);
    let (middle, last) = rest.split_at(rest.len() - TYPED_ENDS);
    type_keys(session, first, held, deadline).await?;
    let middle: String = middle.iter().collect();
    session.send_within(&InsertText { text: &middle }, deadline).await?;
    type_keys(session, last, held, deadline).await
}

async fn type_keys(
    session: &Session,
    characters: &[char],
    held: u8,
    deadline: Duration,
) -> Result<(), CallError> {
    for batch in characters.chunks(BATCH) {
        try_join_all(batch.iter().map(|character| type_character(session, *character, held, deadline)))
            .await?;
    }
    Ok(())
}

async fn type_character(
    session: &Session,
    character: char,
    held: u8,
    deadline: Duration,
) -> Result<(), CallError> {
    if !Key::is_on_keyboard(character) {
        let mut buffer = [0; 4];
        let text: &str = character.encode_utf8(&mut buffer);
        return session.send_within(&InsertText { text }, deadline).await.map(drop);
    }
    let key = Key::of_character(character);
    press(session, &Key { modifiers: 0, ..key.clone() }, held | key.modifiers, deadline).await
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(text: &str) -> Key {
        text.parse().unwrap()
    }

    #[test]
    fn keys_are_known_by_name_character_and_combination() {
        assert_eq!((key("Enter").number, key("enter").text), (13, "\r".to_owned()));
        assert_eq!(key("esc").meaning, "Escape");
        assert_eq!((key("a").code.as_str(), key("a").modifiers), ("KeyA", 0));
        assert_eq!((key("A").code.as_str(), key("A").modifiers), ("KeyA", SHIFT));
        assert_eq!(key("?").code, "Slash");
        assert_eq!(key("Ctrl+Shift+K").modifiers, CONTROL | SHIFT);
        assert_eq!((key("Control++").meaning.as_str(), key("Control++").modifiers), ("+", CONTROL | SHIFT));
        assert_eq!(key(" ").code, "Space");
        for unknown in ["", "Frobnicate", "Hyper+a", "ab"] {
            assert!(unknown.parse::<Key>().is_err(), "{unknown}");
        }
    }

    #[test]
    fn held_keys_change_what_is_typed() {
        assert_eq!(key("a").typed(SHIFT).as_deref(), Some("A"));
        assert_eq!(key("1").typed(SHIFT).as_deref(), Some("!"));
        assert_eq!(key("a").typed(CONTROL), None);
        assert_eq!(key("Tab").typed(0), None);
    }

    proptest! {
        #[test]
        fn every_character_is_a_key(character in any::<char>()) {
            let key = Key::of_character(character);
            prop_assert!(!key.meaning.is_empty());
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in any::<String>()) {
            let _ = text.parse::<Key>();
        }
    }
}
