//! Who may use what, how much of it, and what it cost.
//!
//! [`prices`] turns tokens into money; [`Limits`] finds the meters that hold for a caller (rates, budgets, allowed
//! models); [`Ledger`] counts exactly and writes it down; [`Guards`] look at what is said.

mod guard;
mod ledger;
mod limits;
mod meter;
pub(crate) mod prices;
mod request_log;

pub use guard::{GuardKind, GuardOptions};
pub(crate) use guard::{Guards, Stage, can_look_into};
pub(crate) use ledger::{Dims, Entry, Ledger, UsageFilter};
pub use ledger::{UsageGroup, UsageRow};
pub use limits::{BudgetOptions, LimitOptions};
pub(crate) use limits::{Claim, Limits, write_headers};
pub(crate) use meter::Meter;
pub use request_log::LoggedCall;
pub(crate) use request_log::{LogEntry, LogFilter, RequestLog};

/// Millionths of a millionth of a US dollar: what prices per token are whole numbers of.
pub(crate) type Pico = u64;

/// How many are a dollar.
pub(crate) const PICO_PER_DOLLAR: f64 = 1e12;

/// As dollars, for people.
pub(crate) fn dollars(pico: Pico) -> f64 {
    pico as f64 / PICO_PER_DOLLAR
}
