//! The commands and events that Paddock uses, with just the members that it uses.
//!
//! Source: the protocol description at <https://chromedevtools.github.io/devtools-protocol/tot/>.

pub mod browser;
pub mod emulation;
pub mod network;
pub mod page;
pub mod performance;
pub mod runtime;
pub mod target;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// A command: its parameters are its fields.
pub trait Command: Serialize {
    /// `Domain.name`.
    const METHOD: &'static str;
    /// What Chrome answers.
    type Reply: DeserializeOwned;
}

/// A reply without members of interest.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct Empty {}

/// A command without parameters, for example the `enable` of a domain.
macro_rules! plain_commands {
    ($($(#[$doc:meta])* $name:ident = $method:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, serde::Serialize)]
        pub struct $name {}

        impl $crate::protocol::Command for $name {
            const METHOD: &'static str = $method;
            type Reply = $crate::protocol::Empty;
        }
    )*};
}
/// The command that a struct stands for.
macro_rules! command {
    ($name:ident $(<$life:lifetime>)?, $method:literal, $reply:ty) => {
        impl $(<$life>)? $crate::protocol::Command for $name $(<$life>)? {
            const METHOD: &'static str = $method;
            type Reply = $reply;
        }
    };
}
pub(crate) use {command, plain_commands};
