//! The clipboard of an instance: a text that its callers hand to each other. Pages neither see nor change it; Chrome's
//! own clipboard is one per process, and so would be shared with other instances.

use std::sync::{Mutex, PoisonError};

use crate::instance::Instance;

/// Largest text.
pub(crate) const TEXT_SIZE_MAX: usize = 64 << 10;

/// A text.
#[derive(Debug, Default)]
pub(crate) struct Clipboard(Mutex<String>);

impl Instance {
    /// The text in its clipboard.
    pub fn clipboard(&self) -> String {
        self.0.clipboard.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts a text into its clipboard, of at most 64 KiB.
    pub(crate) fn set_clipboard(&self, text: String) {
        *self.0.clipboard.0.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }
}
