//! Dead letters of a queue that went nowhere, for those who look at it. How many messages died, and why, stands in the
//! queue's statistics.
//!
//! A queue that loses none has no counters.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};

use super::Queue;

/// How many dead letters of a queue, or of all queues, went nowhere since the broker has started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UndeliverableCounts {
    /// Dropped because the exchange that the queue names does not exist.
    pub missing_exchange: u64,
    /// Dropped because the exchange led to no queue.
    pub unroutable: u64,
    /// Copies that were not made because their queue had lost the message before, without anybody rejecting it.
    pub cycles: u64,
}

/// Why a dead letter went nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Undeliverable {
    /// Its exchange does not exist.
    MissingExchange,
    /// Its exchange led to no queue.
    Unroutable,
    /// The queue that it led to had lost it before.
    Cycle,
}

/// Counters by reason.
#[derive(Debug, Default)]
pub(crate) struct UndeliverableCounters {
    missing_exchange: AtomicU64,
    unroutable: AtomicU64,
    cycles: AtomicU64,
}

impl UndeliverableCounters {
    /// Counts a dead letter that goes nowhere, and says whether it is the first for this reason.
    pub(crate) fn count(&self, why: Undeliverable) -> bool {
        let counter = match why {
            Undeliverable::MissingExchange => &self.missing_exchange,
            Undeliverable::Unroutable => &self.unroutable,
            Undeliverable::Cycle => &self.cycles,
        };
        counter.fetch_add(1, Ordering::Relaxed) == 0
    }

    /// What was counted.
    pub(crate) fn counts(&self) -> UndeliverableCounts {
        UndeliverableCounts {
            missing_exchange: self.missing_exchange.load(Ordering::Relaxed),
            unroutable: self.unroutable.load(Ordering::Relaxed),
            cycles: self.cycles.load(Ordering::Relaxed),
        }
    }
}

/// The counters of one queue.
#[derive(Debug, Default)]
pub(super) struct DeadLetters(OnceLock<Box<UndeliverableCounters>>);

impl Queue {
    /// Whether what dies here goes on to a dead-letter exchange.
    pub(crate) fn dead_letters(&self) -> bool {
        let state = self.state.lock();
        state.limits.dead_letters() && !state.is_deleted()
    }

    /// How many dead letters of the queue went nowhere.
    pub fn undeliverable_dead_letters(&self) -> UndeliverableCounts {
        let counters = self.dead_letters.0.get();
        counters.map_or_else(UndeliverableCounts::default, |it| it.counts())
    }

    /// Counts a dead letter that goes nowhere, and says whether it is the queue's first for this reason.
    pub(crate) fn count_undeliverable(&self, why: Undeliverable) -> bool {
        self.dead_letters.0.get_or_init(Box::default).count(why)
    }
}
