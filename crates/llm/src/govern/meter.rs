//! What one limit counts: requests, tokens and money of everybody it holds for.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::{Timestamp, civil::Date, tz::TimeZone};

use super::{
    Pico, dollars,
    limits::{BudgetOptions, LimitOptions},
};
use crate::{
    clock::now_ms,
    error::{ErrorKind, LlmError},
    resilience::{Reservation, Window},
};

/// One window of a limit and how full it is, for the caller's headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Level {
    pub(crate) limit: u64,
    pub(crate) remaining: u64,
}

/// Counts what one limit is about.
#[derive(Debug)]
pub(crate) struct Meter {
    /// What it is about, for people: `tenant acme`, `key k1`.
    pub(crate) name: Arc<str>,
    models: Vec<String>,
    requests: Option<Mutex<Window>>,
    tokens: Option<Mutex<Window>>,
    day: Option<BudgetOptions>,
    month: Option<BudgetOptions>,
    spend: Mutex<Spend>,
}

/// Money of the current day and month (UTC).
#[derive(Clone, Copy, Debug, Default)]
struct Spend {
    day: Option<Date>,
    of_day: Pico,
    of_month: Pico,
    /// Of calls that are in flight, by their estimates.
    reserved: Pico,
}

/// What a call holds of a meter until it is settled.
#[derive(Debug)]
pub(crate) struct MeterClaim {
    meter: Arc<Meter>,
    tokens: Option<Reservation>,
    cost: Pico,
}

impl Meter {
    pub(crate) fn new(name: String, options: &LimitOptions, of_day: Pico, of_month: Pico) -> Self {
        Self {
            name: Arc::from(name),
            models: options.models.clone(),
            requests: options.rpm.map(|limit| Mutex::new(Window::new(limit.into()))),
            tokens: options.tpm.map(|limit| Mutex::new(Window::new(limit))),
            day: options.day,
            month: options.month,
            spend: Mutex::new(Spend { day: Some(today()), of_day, of_month, reserved: 0 }),
        }
    }

    /// Whether the model may be used.
    pub(crate) fn allows(&self, model: &str) -> bool {
        self.models.is_empty() || self.models.iter().any(|pattern| crate::routing::matches(pattern, model))
    }

    /// Takes a request, its tokens and what it may cost.
    pub(crate) fn claim(self: &Arc<Self>, tokens: u64, cost: Pico) -> Result<MeterClaim, LlmError> {
        let now = now_ms();
        self.claim_money(cost)?;
        let give_back = |error| {
            self.spend().reserved -= cost;
            error
        };
        if let Some(requests) = &self.requests {
            let limit = lock(requests).limit();
            lock(requests)
                .reserve(now, 1)
                .map_err(|wait| give_back(self.limited(wait, &format!("{limit} requests a minute"))))?;
        }
        let tokens = match &self.tokens {
            None => None,
            Some(window) => {
                let limit = lock(window).limit();
                let reserved = lock(window).reserve(now, tokens);
                Some(
                    reserved
                        .map_err(|wait| give_back(self.limited(wait, &format!("{limit} tokens a minute"))))?,
                )
            }
        };
        Ok(MeterClaim { meter: Arc::clone(self), tokens, cost })
    }

    fn limited(&self, wait_ms: u64, limit: &str) -> LlmError {
        LlmError::new(ErrorKind::RateLimited, format!("{} has had its {limit}", self.name))
            .retry_after(std::time::Duration::from_millis(wait_ms))
    }

    fn claim_money(&self, cost: Pico) -> Result<(), LlmError> {
        let mut spend = self.spend();
        for (budget, spent, period) in
            [(self.day, spend.of_day, "today"), (self.month, spend.of_month, "this month")]
        {
            let Some(hard) = budget.and_then(BudgetOptions::hard_pico) else { continue };
            // What calls in flight may still cost counts: together they must not go beyond either.
            if spent.saturating_add(spend.reserved).saturating_add(cost) > hard && (cost > 0 || spent >= hard)
            {
                let (spent, hard) = (dollars(spent), dollars(hard));
                let message = format!(
                    "{} has spent ${spent:.4} of its ${hard:.2} {period}; the call is not made",
                    self.name
                );
                let error = LlmError::new(ErrorKind::BudgetExhausted, message);
                return Err(error.retry_after(until_end(period == "today")));
            }
        }
        spend.reserved += cost;
        Ok(())
    }

    /// Whether a soft budget is used up: callers are told, not refused.
    pub(crate) fn warning(&self) -> Option<String> {
        let spend = *self.spend();
        [(self.day, spend.of_day, "today"), (self.month, spend.of_month, "this month")].into_iter().find_map(
            |(budget, spent, period)| {
                let soft = budget?.soft_pico()?;
                (spent >= soft).then(|| {
                    format!(
                        "{} has spent ${:.4} of ${:.2} {period}",
                        self.name,
                        dollars(spent),
                        dollars(soft)
                    )
                })
            },
        )
    }

    /// The used part of the fullest budget, if there is one.
    pub(crate) fn used_ratio(&self) -> Option<f64> {
        let spend = *self.spend();
        let parts = [(self.day, spend.of_day), (self.month, spend.of_month)].into_iter().filter_map(
            |(budget, spent)| {
                let limit = budget.and_then(|budget| budget.hard_pico().or(budget.soft_pico()))?;
                Some(spent as f64 / limit.max(1) as f64)
            },
        );
        parts.reduce(f64::max)
    }

    /// What has been spent of the day and of the month.
    pub(crate) fn spent(&self) -> (Pico, Pico) {
        let spend = self.spend();
        (spend.of_day, spend.of_month)
    }

    pub(crate) const fn budgets(&self) -> (Option<BudgetOptions>, Option<BudgetOptions>) {
        (self.day, self.month)
    }

    pub(crate) fn requests_level(&self) -> Option<Level> {
        level(self.requests.as_ref())
    }

    pub(crate) fn tokens_level(&self) -> Option<Level> {
        level(self.tokens.as_ref())
    }

    /// The spend, of today and this month.
    fn spend(&self) -> std::sync::MutexGuard<'_, Spend> {
        let mut spend = self.spend.lock().unwrap_or_else(PoisonError::into_inner);
        let today = today();
        if let Some(day) = spend.day
            && day != today
        {
            spend.of_day = 0;
            if (day.year(), day.month()) != (today.year(), today.month()) {
                spend.of_month = 0;
            }
        }
        spend.day = Some(today);
        spend
    }
}

impl MeterClaim {
    /// Replaces estimates by what it was; a call that came to nothing took nothing.
    pub(crate) fn settle(self, tokens: u64, cost: Pico) {
        if let (Some(window), Some(reservation)) = (&self.meter.tokens, self.tokens) {
            lock(window).settle(now_ms(), reservation, tokens);
        }
        let mut spend = self.meter.spend();
        spend.reserved = spend.reserved.saturating_sub(self.cost);
        spend.of_day = spend.of_day.saturating_add(cost);
        spend.of_month = spend.of_month.saturating_add(cost);
    }
}

fn level(window: Option<&Mutex<Window>>) -> Option<Level> {
    let mut window = lock(window?);
    Some(Level { limit: window.limit(), remaining: window.remaining(now_ms()) })
}

fn lock(window: &Mutex<Window>) -> std::sync::MutexGuard<'_, Window> {
    window.lock().unwrap_or_else(PoisonError::into_inner)
}

fn today() -> Date {
    TimeZone::UTC.to_datetime(Timestamp::now()).date()
}

/// How long the day or the month still lasts.
fn until_end(of_day: bool) -> std::time::Duration {
    let today = today();
    let next = if of_day { today.tomorrow() } else { today.last_of_month().tomorrow() };
    let begins = next.ok().and_then(|date| date.to_zoned(TimeZone::UTC).ok());
    let left = begins.map(|begins| begins.timestamp().as_second() - Timestamp::now().as_second());
    std::time::Duration::from_secs(u64::try_from(left.unwrap_or(60)).unwrap_or(60))
}
