//! Sessions that their clients have ended.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use super::calls::Client;

/// How many ended sessions are remembered.
const ENDED_MAX: usize = 4096;

/// The sessions that were ended last: requests that still name one are refused. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Ended(Arc<Mutex<Sessions>>);

#[derive(Debug, Default)]
struct Sessions {
    known: HashSet<Client>,
    by_age: VecDeque<Client>,
}

impl Ended {
    /// Remembers one, and forgets the oldest if there are too many.
    pub(super) fn add(&self, client: Client) {
        let mut sessions = self.lock();
        if !sessions.known.insert(client.clone()) {
            return;
        }
        sessions.by_age.push_back(client);
        if sessions.by_age.len() > ENDED_MAX
            && let Some(oldest) = sessions.by_age.pop_front()
        {
            sessions.known.remove(&oldest);
        }
    }

    pub(super) fn contains(&self, client: &Client) -> bool {
        self.lock().known.contains(client)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Sessions> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(number: usize) -> Client {
        Client { key: None, session: number.to_string() }
    }

    #[test]
    fn the_last_ended_sessions_are_remembered_and_no_more() {
        let ended = Ended::default();
        (0..=ENDED_MAX).for_each(|number| ended.add(client(number)));
        ended.add(client(ENDED_MAX));
        assert!(
            !ended.contains(&client(0)) && ended.contains(&client(1)) && ended.contains(&client(ENDED_MAX))
        );
        assert_eq!(ended.lock().known.len(), ENDED_MAX);
        let other = Client { key: Some("k".to_owned()), session: "1".to_owned() };
        assert!(!ended.contains(&other));
    }
}
