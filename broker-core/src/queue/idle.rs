//! When a queue that nobody uses is deleted: the argument `x-expires` and the policy `expires`
//! (<https://www.rabbitmq.com/docs/ttl#queue-ttl>).
//!
//! A queue is in use while it has consumers, and when it is declared again or asked for a message (RabbitMQ:
//! `rabbit_amqqueue_process:ensure_expiry_timer`). Not all of these know the time. So a use only forgets since when the
//! queue has been idle; the alarm that is set with it for this very moment notes the time, and the next alarm is the one
//! that counts.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Millis, NEVER};

/// What a queue knows of its idle time.
#[derive(Debug)]
pub(super) struct Idle {
    /// Milliseconds that it may be idle, or [`NEVER`] for as long as it likes.
    limit: AtomicU64,
    /// Since when nobody uses it; [`NEVER`] until the time is noted.
    since: AtomicU64,
}

impl Idle {
    pub(super) fn new(limit: Option<u64>) -> Self {
        Self {
            limit: AtomicU64::new(limit.unwrap_or(NEVER)),
            since: AtomicU64::new(NEVER),
        }
    }

    pub(super) fn set_limit(&self, limit: Option<u64>) {
        self.limit.store(limit.unwrap_or(NEVER), Ordering::Relaxed);
    }

    pub(super) fn is_limited(&self) -> bool {
        self.limit.load(Ordering::Relaxed) != NEVER
    }

    /// Somebody used the queue just now.
    pub(super) fn end(&self) {
        self.since.store(NEVER, Ordering::Relaxed);
    }

    /// When the queue is to be deleted if nobody uses it again, if ever. Notes the time if the queue was used.
    pub(super) fn due(&self, now: Millis) -> Option<Millis> {
        let limit = self.limit.load(Ordering::Relaxed);
        if limit == NEVER {
            return None;
        }
        let noted = self
            .since
            .compare_exchange(NEVER, now, Ordering::Relaxed, Ordering::Relaxed);
        let since = noted.map_or_else(|since| since, |_| now);
        Some(since.saturating_add(limit))
    }

    /// Whether it has been idle for too long, and nobody has used it in the meantime.
    pub(super) fn is_over(&self, now: Millis) -> bool {
        let since = self.since.load(Ordering::Relaxed);
        let limit = self.limit.load(Ordering::Relaxed);
        since.saturating_add(limit) <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_time_begins_when_the_time_is_noted_after_a_use() {
        let idle = Idle::new(Some(10));
        assert!(!idle.is_over(1_000), "never used, and not noted yet");
        assert_eq!(idle.due(5), Some(15));
        assert_eq!(idle.due(9), Some(15));
        assert!(!idle.is_over(14));
        assert!(idle.is_over(15));
        idle.end();
        assert!(!idle.is_over(15));
        assert_eq!(idle.due(20), Some(30));
    }

    #[test]
    fn a_queue_without_a_limit_is_never_over() {
        let idle = Idle::new(None);
        assert_eq!(idle.due(5), None);
        assert!(!idle.is_limited() && !idle.is_over(NEVER - 1));
    }
}
