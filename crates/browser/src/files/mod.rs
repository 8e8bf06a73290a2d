//! Files that come out of browsers and go into them.

mod exports;
mod fetch;
mod state;
pub(crate) mod upload;

pub use exports::FILE_NAME_INVALID;
pub(crate) use exports::{Export, Exports};
pub(crate) use fetch::Fetcher;
pub use fetch::{DOWNLOAD_FAILED, DOWNLOAD_REFUSED, DOWNLOAD_TOO_LARGE};
pub(crate) use state::States;
pub use state::{STATE_SEALED, StateFile};
