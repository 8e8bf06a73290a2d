//! The DevTools protocol for other people's clients, as if the instance were a browser of its own.
//!
//! ```text
//! Playwright ── WebSocket ── client ── Gatekeeper ── Relay ── pipe ── Chrome (shared by many instances)
//! ```
//!
//! The [`Gatekeeper`] is a state machine without I/O between the client's messages and Chrome's. It lets a command pass
//! as it is, puts the instance's browser context into it, answers it itself, or refuses it ([`rules`]). It keeps a list
//! of the instance's targets, and tells the client of these alone; where Chrome would attach to all new targets of the
//! process, it attaches to those of the instance, one by one.
//!
//! What a client can rely on: ids, sessions and the order of replies and events are as Chrome has them. What differs:
//! there is one browser context; a page that another page opens is not paused before its first script; downloads and
//! files of the server's machine stay out of reach; commands that concern the whole process are refused.

mod client;
mod filter;
mod gatekeeper;
mod rules;
mod wire;

pub(crate) use client::{Client, ClientLimits, Place, describe};
