//! The prefetch limit of a whole channel (`basic.qos` with global=true in RabbitMQ's reading), shared by its consumers.
//!
//! The consumers of a channel sit on different queues, each behind its own lock, so the count is atomic. Rule:
//! <https://www.rabbitmq.com/docs/consumer-prefetch>.

use std::sync::atomic::{AtomicU32, Ordering};

/// How many unacknowledged messages all consumers of a channel may hold together.
#[derive(Debug, Default)]
pub struct ChannelCredit {
    limit: AtomicU32,
    used: AtomicU32,
}

impl ChannelCredit {
    /// Sets the limit; 0 means none.
    pub fn set_limit(&self, limit: u16) {
        self.limit.store(u32::from(limit), Ordering::Relaxed);
    }

    /// Whether a limit is in force.
    pub fn limited(&self) -> bool {
        self.limit.load(Ordering::Relaxed) != 0
    }

    /// Takes the credit for one delivery, if there is any.
    pub fn acquire(&self) -> bool {
        let limit = self.limit.load(Ordering::Relaxed);
        // Never counted too high, not even for a moment: another queue would take its consumer for one without credit.
        self.used
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |used| {
                (limit == 0 || used < limit).then(|| used.saturating_add(1))
            })
            .is_ok()
    }

    /// Whether there is credit for one more delivery now.
    pub fn available(&self) -> bool {
        let limit = self.limit.load(Ordering::Relaxed);
        limit == 0 || self.used.load(Ordering::Acquire) < limit
    }

    /// Gives back the credit of `count` settled deliveries.
    pub fn release(&self, count: u32) {
        let _ = self
            .used
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |used| {
                Some(used.saturating_sub(count))
            });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[test]
    fn channel_credit_ends_at_its_limit_and_comes_back_with_settlements() {
        let credit = ChannelCredit::default();
        credit.set_limit(2);
        assert!(credit.acquire() && credit.acquire());
        assert!(!credit.acquire());
        credit.release(1);
        assert!(credit.acquire());
    }

    #[test]
    fn channel_credit_without_limit_never_ends() {
        let credit = ChannelCredit::default();
        assert!((0..100).all(|_| credit.acquire()));
    }

    #[test]
    fn asking_for_channel_credit_takes_none() {
        let credit = ChannelCredit::default();
        credit.set_limit(1);
        assert!(credit.available() && credit.available());
        assert!(credit.acquire());
        assert!(!credit.available());
        assert!(!credit.acquire());
        credit.release(1);
        assert!(credit.available());
    }

    #[test]
    fn a_refused_acquirer_never_counts_even_for_a_moment() {
        let credit = ChannelCredit::default();
        credit.set_limit(1);
        assert!(credit.acquire());
        let refused = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                assert!((0..1_000_000).all(|_| !credit.acquire()));
                refused.store(true, Ordering::Relaxed);
            });
            while !refused.load(Ordering::Relaxed) {
                assert_eq!(credit.used.load(Ordering::Relaxed), 1);
            }
        });
        credit.release(1);
        assert!(credit.acquire());
    }
}
