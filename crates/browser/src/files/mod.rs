//! Files that come out of browsers and go into them.

mod exports;

pub use exports::FILE_NAME_INVALID;
pub(crate) use exports::{Export, Exports};
