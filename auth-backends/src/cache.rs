//! Answers that count for a while (RabbitMQ: `rabbitmq_auth_backend_cache`). Only those who answer are remembered, never
//! that somebody could not be asked.

use std::{
    collections::HashMap,
    hash::Hash,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

/// Answers that are kept at most. Beyond it those go that no longer count, or all of them.
const CAPACITY: usize = 50_000;

/// Answers by question, each for the same time.
#[derive(Debug)]
pub(crate) struct Cache<K, V> {
    time_to_live: Duration,
    entries: Mutex<HashMap<K, (V, Instant)>>,
}

impl<K: Eq + Hash, V: Clone> Cache<K, V> {
    /// A cache whose answers count for this long; one that keeps none if that is zero.
    pub(crate) fn new(time_to_live: Duration) -> Self {
        Self {
            time_to_live,
            entries: Mutex::default(),
        }
    }

    /// For how long an answer counts.
    pub(crate) fn time_to_live(&self) -> Duration {
        self.time_to_live
    }

    /// The answer, if there is one that still counts at `now`.
    pub(crate) fn get(&self, key: &K, now: Instant) -> Option<V> {
        let entries = self.entries.lock();
        let (answer, end) = entries.get(key)?;
        (now < *end).then(|| answer.clone())
    }

    /// Remembers an answer that was given at `now`.
    pub(crate) fn put(&self, key: K, answer: V, now: Instant) {
        if self.time_to_live.is_zero() {
            return;
        }
        let mut entries = self.entries.lock();
        if entries.len() >= CAPACITY {
            entries.retain(|_, (_, end)| now < *end);
            if entries.len() >= CAPACITY {
                entries.clear();
            }
        }
        entries.insert(key, (answer, now + self.time_to_live));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_until_its_time_is_over() {
        let cache = Cache::new(Duration::from_secs(15));
        let now = Instant::now();
        assert_eq!(cache.get(&"a", now), None);
        cache.put("a", 1, now);
        assert_eq!(cache.get(&"a", now + Duration::from_secs(14)), Some(1));
        assert_eq!(cache.get(&"a", now + Duration::from_secs(15)), None);
        assert_eq!(cache.get(&"b", now), None);
    }

    #[test]
    fn without_a_time_nothing_is_remembered() {
        let cache = Cache::new(Duration::ZERO);
        let now = Instant::now();
        cache.put("a", 1, now);
        assert_eq!(cache.get(&"a", now), None);
    }

    #[test]
    fn there_is_an_end_to_what_is_remembered() {
        let cache = Cache::new(Duration::from_secs(15));
        let now = Instant::now();
        for number in 0..CAPACITY {
            cache.put(number, (), now);
        }
        cache.put(CAPACITY, (), now);
        assert!(cache.get(&CAPACITY, now).is_some());
        assert!(cache.entries.lock().len() < CAPACITY);
    }
}
