//! What is reserved and settled, in every order: windows, and the places and windows of a credential.

use proptest::prelude::*;

use super::{
    Credential, Reservation, Window,
    credential::{Full, Held},
};
use crate::config::CredentialOptions;

const LIMIT: u64 = 100;
const CONCURRENCY_MAX: u32 = 4;
const RPM: u64 = 12;

/// What happens to a window or a credential.
#[derive(Clone, Debug)]
enum Event {
    Reserve(u64),
    /// The reservation with this number, and what it was in the end.
    Settle(usize, u64),
    /// Nobody knows how it went.
    Forget(usize),
    /// It never went out.
    GiveBack(usize),
    Wait(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        5 => (0_u64..60).prop_map(Event::Reserve),
        4 => (0_usize..8, 0_u64..150).prop_map(|(at, actual)| Event::Settle(at, actual)),
        1 => (0_usize..8).prop_map(Event::Forget),
        1 => (0_usize..8).prop_map(Event::GiveBack),
        3 => (0_u64..30_000).prop_map(Event::Wait),
    ]
}

/// Amounts with the second that they count in.
#[derive(Debug, Default)]
struct Counted(Vec<(u64, u64)>);

impl Counted {
    fn sum(&self, now_ms: u64) -> u64 {
        self.0.iter().filter(|(second, _)| second + 60 > now_ms / 1000).map(|(_, amount)| amount).sum()
    }

    fn add(&mut self, now_ms: u64, amount: u64) -> usize {
        self.0.push((now_ms / 1000, amount));
        self.0.len() - 1
    }

    /// What has left the window stays gone, whatever it was.
    fn settle(&mut self, at: usize, now_ms: u64, actual: u64) {
        if self.0[at].0 + 60 > now_ms / 1000 {
            self.0[at].1 = actual;
        }
    }
}

fn options() -> CredentialOptions {
    CredentialOptions {
        name: "a".to_owned(),
        key: None,
        weight: 1.0,
        rpm: Some(RPM as u32),
        tpm: Some(LIMIT),
        concurrency_max: Some(CONCURRENCY_MAX),
    }
}

proptest! {
    #[test]
    fn a_window_counts_what_was_settled_to_the_token(events in prop::collection::vec(event(), 0..150)) {
        let (mut window, mut now, mut counted) = (Window::new(LIMIT), 5_000_u64, Counted::default());
        let mut open: Vec<(Reservation, usize)> = Vec::new();
        for event in events {
            match event {
                Event::Reserve(amount) => {
                    let before = counted.sum(now);
                    match window.reserve(now, amount) {
                        Ok(reservation) => {
                            prop_assert!(before == 0 || before + amount <= LIMIT);
                            open.push((reservation, counted.add(now, amount)));
                        }
                        Err(wait) => prop_assert!(before > 0 && before + amount > LIMIT && (1..=60_000).contains(&wait)),
                    }
                }
                Event::Settle(at, actual) if at < open.len() => {
                    let (reservation, index) = open.swap_remove(at);
                    window.settle(now, reservation, actual);
                    counted.settle(index, now, actual);
                }
                Event::GiveBack(at) if at < open.len() => {
                    let (reservation, index) = open.swap_remove(at);
                    window.settle(now, reservation, 0);
                    counted.settle(index, now, 0);
                }
                Event::Forget(at) if at < open.len() => drop(open.swap_remove(at)),
                Event::Wait(ms) => now += ms,
                _ => {}
            }
            prop_assert_eq!(window.remaining(now), LIMIT.saturating_sub(counted.sum(now)));
        }
        now += 60_000;
        prop_assert_eq!(window.remaining(now), LIMIT, "after a minute everything is there again");
    }

    #[test]
    fn a_credential_never_gives_more_places_than_it_has(events in prop::collection::vec(event(), 0..150)) {
        let credential = Credential::new(&options(), "");
        let mut now = 5_000_u64;
        let (mut tokens, mut requests) = (Counted::default(), Counted::default());
        let mut open: Vec<(Held, usize, usize)> = Vec::new();
        for event in events {
            match event {
                Event::Reserve(amount) => {
                    let (of_tokens, of_requests) = (tokens.sum(now), requests.sum(now));
                    let is_busy = open.len() as u32 >= CONCURRENCY_MAX;
                    match credential.enter(now, amount) {
                        Ok(held) => {
                            prop_assert!(!is_busy && of_requests < RPM);
                            prop_assert!(of_tokens == 0 || of_tokens + amount <= LIMIT);
                            open.push((held, tokens.add(now, amount), requests.add(now, 1)));
                        }
                        Err(Full::Concurrency) => prop_assert!(is_busy),
                        Err(Full::Requests(_)) => prop_assert!(!is_busy && of_requests == RPM),
                        Err(Full::Tokens(_)) => prop_assert!(of_tokens + amount > LIMIT),
                        Err(Full::NoKey) => prop_assert!(false, "it needs none"),
                    }
                }
                Event::Settle(at, actual) if at < open.len() => {
                    let (held, of_tokens, _) = open.swap_remove(at);
                    credential.leave(now, held, true, Some(actual));
                    tokens.settle(of_tokens, now, actual);
                }
                Event::Forget(at) if at < open.len() => {
                    let (held, ..) = open.swap_remove(at);
                    credential.leave(now, held, true, None);
                }
                Event::GiveBack(at) if at < open.len() => {
                    let (held, of_tokens, of_requests) = open.swap_remove(at);
                    credential.leave(now, held, false, None);
                    tokens.settle(of_tokens, now, 0);
                    requests.settle(of_requests, now, 0);
                }
                Event::Wait(ms) => now += ms,
                _ => {}
            }
            prop_assert_eq!(credential.in_flight() as usize, open.len());
        }
    }
}
