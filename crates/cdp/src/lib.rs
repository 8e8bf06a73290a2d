//! A thin client of the Chrome DevTools Protocol.
//!
//! One [`Connection`] talks to one Chrome, over the pipe of `--remote-debugging-pipe` ([`Pipe`]) or over a WebSocket
//! ([`Connection::open_websocket`]). It carries any number of flat [`Session`]s: the browser's own
//! ([`Connection::browser`]) and one per attached target ([`Connection::attach`]).
//!
//! ```text
//! caller ── Session::send ──► outgoing queue (bounded) ──► Driver ──► Chrome
//!        ◄── reply by id ──── pending calls            ◄── Driver ◄──
//! caller ◄── Subscription ─── event queues (bounded, drops counted)
//! ```
//!
//! Nothing is generated from the protocol description. A message is parsed only as far as its `id`, `sessionId` and
//! `method`; the rest stays raw JSON in the buffer that it arrived in ([`Payload`]) until somebody asks for a type. An
//! event or a member that a newer Chrome invented is therefore never an error. [`protocol`] has types for the few
//! commands and events that Paddock uses.
//!
//! What a caller may rely on:
//! - every call has a deadline, and ends early when its target crashes or detaches or when Chrome goes away;
//! - a call whose future is dropped leaves nothing behind;
//! - every queue, the number of calls in flight and the size of a message have a maximum ([`ConnectionOptions`]);
//! - a target whose events come faster than they may is reported ([`SESSION_FLOODED`]): all targets share one pipe.
//!
//! A [`Relay`] lends a part of the connection to a foreign client: raw JSON in and out, on sessions of its own.
//!
//! The crate spawns no task: [`Connection::new`] returns a [`Driver`] that its owner runs.

mod connection;
mod driver;
mod error;
mod flow;
mod frame;
mod message;
mod pipe;
pub mod protocol;
mod relay;
mod session;
mod subscription;
mod tables;
mod websocket;

pub use connection::{Connection, ConnectionOptions};
pub use driver::Driver;
pub use error::{CallError, ConnectError};
pub use frame::{Frame, FrameDecoder};
pub use message::{ErrorBody, Payload};
pub use pipe::Pipe;
pub use protocol::Command;
pub use relay::{Relay, RelayEnd, RelayError, RelayMessage, RelayMessages, RelayOptions};
pub use session::{Session, SessionState};
pub use subscription::{Event, SESSION_FLOODED, Subscription};
