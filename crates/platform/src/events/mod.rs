//! What happens in the server, for those who watch: one feed of events of all areas, behind `/events`.
//!
//! Areas [declare](Events::declare) **topics** (`jobs.states`, `browser.tabs`) and publish to them. A watcher gets the
//! events of its tenant, of the topics that it asked for and may read. Events are numbered, and the last ones are kept:
//! whoever lost its connection names the last id that it saw and goes on there. What is kept and how far a watcher may
//! lag is bounded; whoever missed something is told so by a `lagged` event, and looks at the real thing again. Nothing
//! waits for a watcher.
//!
//! A topic with many events is *on demand*: its source is started by the first watcher and may stop a while after the
//! last one has gone ([`Events::is_wanted`]), so that nobody's events cost nothing.

mod feed;
mod filter;
pub mod metrics;
mod options;
mod routes;
mod socket;
mod sse;

pub use feed::{Event, Events, News, Place, Topic, Watch};
pub use filter::EventFilter;
pub use options::EventsOptions;
pub use routes::{EVENTS_ROUTE, router};
pub use sse::{HEARTBEAT_INTERVAL, Naming};
