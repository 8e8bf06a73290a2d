//! One key at a provider, with what it may do in a minute and at once.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU32, Ordering},
};

use arc_swap::ArcSwapOption;
use http::HeaderValue;
use paddock_platform::{config::SecretRef, problem::error_chain};

use super::{Reservation, Window};
use crate::config::CredentialOptions;

/// A credential. Its limits hold for all its models together.
#[derive(Debug)]
pub(crate) struct Credential {
    pub(crate) name: Arc<str>,
    pub(crate) weight: f64,
    secret: Option<SecretRef>,
    /// `Bearer ` or nothing.
    prefix: &'static str,
    header: ArcSwapOption<HeaderValue>,
    rpm: Option<Mutex<Window>>,
    tpm: Option<Mutex<Window>>,
    concurrency_max: u32,
    in_flight: AtomicU32,
}

/// What a call holds of a credential.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Held {
    request: Option<Reservation>,
    tokens: Option<Reservation>,
}

/// Why a credential has no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// Its key cannot be read.
    NoKey,
    Concurrency,
    Requests(u64),
    Tokens(u64),
}

impl Credential {
    pub(crate) fn new(options: &CredentialOptions, prefix: &'static str) -> Self {
        let credential = Self {
            name: Arc::from(options.name.as_str()),
            weight: options.weight,
            secret: options.key.clone(),
            prefix,
            header: ArcSwapOption::empty(),
            rpm: options.rpm.map(|limit| Mutex::new(Window::new(limit.into()))),
            tpm: options.tpm.map(|limit| Mutex::new(Window::new(limit))),
            concurrency_max: options.concurrency_max.unwrap_or(u32::MAX),
            in_flight: AtomicU32::new(0),
        };
        credential.refresh();
        credential
    }

    /// A place at a provider that wants no key.
    pub(crate) fn none() -> Self {
        let options = CredentialOptions {
            name: "none".to_owned(),
            key: None,
            weight: 1.0,
            rpm: None,
            tpm: None,
            concurrency_max: None,
        };
        Self::new(&options, "")
    }

    /// Reads the key again: it may have been rotated.
    pub(crate) fn refresh(&self) {
        let Some(secret) = &self.secret else { return };
        match secret.resolve() {
            Ok(key) => {
                let header = HeaderValue::from_str(&format!("{}{}", self.prefix, key.expose()));
                let header = header.ok().map(|mut header| {
                    header.set_sensitive(true);
                    Arc::new(header)
                });
                self.header.store(header);
            }
            Err(error) => {
                tracing::error!(llm.credential = %self.name, error = error_chain(&error), "no key for a model provider");
                self.header.store(None);
            }
        }
    }

    /// The header's value that carries the key.
    pub(crate) fn header(&self) -> Option<HeaderValue> {
        self.header.load().as_deref().cloned()
    }

    #[cfg(test)]
    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Takes a place for a request of so many tokens.
    pub(crate) fn enter(&self, now_ms: u64, tokens: u64) -> Result<Held, Full> {
        if self.secret.is_some() && self.header.load().is_none() {
            return Err(Full::NoKey);
        }
        if self.in_flight.fetch_add(1, Ordering::Relaxed) >= self.concurrency_max {
            self.in_flight.fetch_sub(1, Ordering::Relaxed);
            return Err(Full::Concurrency);
        }
        let held = self.reserve(now_ms, tokens);
        if held.is_err() {
            self.in_flight.fetch_sub(1, Ordering::Relaxed);
        }
        held
    }

    fn reserve(&self, now_ms: u64, tokens: u64) -> Result<Held, Full> {
        let reserve = |window: &Option<Mutex<Window>>, amount| {
            let window = window.as_ref();
            window.map(|window| lock(window).reserve(now_ms, amount)).transpose()
        };
        let request = reserve(&self.rpm, 1).map_err(Full::Requests)?;
        match reserve(&self.tpm, tokens) {
            Ok(tokens) => Ok(Held { request, tokens }),
            Err(wait) => {
                settle(self.rpm.as_ref(), request, now_ms, 0);
                Err(Full::Tokens(wait))
            }
        }
    }

    /// Gives the place back. `sent`: whether there was a request at all; `tokens`: what it took, if that is known.
    pub(crate) fn leave(&self, now_ms: u64, held: Held, sent: bool, tokens: Option<u64>) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        if !sent {
            settle(self.rpm.as_ref(), held.request, now_ms, 0);
            settle(self.tpm.as_ref(), held.tokens, now_ms, 0);
        } else if let Some(tokens) = tokens {
            settle(self.tpm.as_ref(), held.tokens, now_ms, tokens);
        }
    }
}

fn settle(window: Option<&Mutex<Window>>, reservation: Option<Reservation>, now_ms: u64, actual: u64) {
    if let (Some(window), Some(reservation)) = (window, reservation) {
        lock(window).settle(now_ms, reservation, actual);
    }
}

fn lock(window: &Mutex<Window>) -> std::sync::MutexGuard<'_, Window> {
    window.lock().unwrap_or_else(PoisonError::into_inner)
}
