//! What became of the messages that a queue lost other than by an acknowledgement, for those who look at it.
//!
//! A queue that loses none has no counters.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};

use super::DeadReason;

/// How many messages died in a queue since the broker has started, and what came of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeadLetterCounts {
    /// Refused by a consumer.
    pub rejected: u64,
    /// Outlived their time.
    pub expired: u64,
    /// Made room for others, or found none and were dead-lettered (`reject-publish-dlx`).
    pub max_length: u64,
    /// Failed too often.
    pub delivery_limit: u64,
    /// Of all of these: dropped because the queue has no dead-letter exchange.
    pub no_exchange: u64,
    /// Dropped because the exchange that the queue names does not exist.
    pub missing_exchange: u64,
    /// Dropped because the exchange led to no queue.
    pub unroutable: u64,
    /// Copies that were not made because their queue had lost the message before, without anybody rejecting it.
    pub cycles: u64,
}

impl DeadLetterCounts {
    /// All messages that died.
    pub fn died(&self) -> u64 {
        self.rejected + self.expired + self.max_length + self.delivery_limit
    }

    /// Messages that went on to at least one queue.
    pub fn dead_lettered(&self) -> u64 {
        let dropped = self.no_exchange + self.missing_exchange + self.unroutable;
        self.died().saturating_sub(dropped)
    }
}

/// Messages that died in a queue without a dead-letter exchange, by reason. Part of the effects of a change.
#[derive(Debug, Clone, Copy, Default)]
pub struct Dropped([u32; 4]);

impl Dropped {
    /// Counts one.
    pub fn add(&mut self, reason: DeadReason) {
        let [rejected, expired, max_length, delivery_limit] = &mut self.0;
        let count = match reason {
            DeadReason::Rejected => rejected,
            DeadReason::Expired => expired,
            DeadReason::MaxLength => max_length,
            DeadReason::DeliveryLimit => delivery_limit,
        };
        *count = count.saturating_add(1);
    }

    fn is_empty(self) -> bool {
        self.0 == [0; 4]
    }
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

#[derive(Debug, Default)]
struct Counters {
    rejected: AtomicU64,
    expired: AtomicU64,
    max_length: AtomicU64,
    delivery_limit: AtomicU64,
    no_exchange: AtomicU64,
    missing_exchange: AtomicU64,
    unroutable: AtomicU64,
    cycles: AtomicU64,
}

/// The counters of one queue.
#[derive(Debug, Default)]
pub(super) struct DeadLetters(OnceLock<Box<Counters>>);

impl DeadLetters {
    /// Counts messages that died where there is no dead-letter exchange.
    pub(super) fn dropped(&self, dropped: Dropped) {
        if dropped.is_empty() {
            return;
        }
        let counters = self.0.get_or_init(Box::default);
        let Dropped([rejected, expired, max_length, delivery_limit]) = dropped;
        let counts = [
            (&counters.rejected, rejected),
            (&counters.expired, expired),
            (&counters.max_length, max_length),
            (&counters.delivery_limit, delivery_limit),
        ];
        for (counter, count) in counts {
            counter.fetch_add(count.into(), Ordering::Relaxed);
            counters
                .no_exchange
                .fetch_add(count.into(), Ordering::Relaxed);
        }
    }

    /// Counts a message that goes to the dead-letter exchange.
    pub(super) fn died(&self, reason: DeadReason) {
        let counters = self.0.get_or_init(Box::default);
        let counter = match reason {
            DeadReason::Rejected => &counters.rejected,
            DeadReason::Expired => &counters.expired,
            DeadReason::MaxLength => &counters.max_length,
            DeadReason::DeliveryLimit => &counters.delivery_limit,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a dead letter that goes nowhere, and says whether it is the first for this reason.
    pub(super) fn undeliverable(&self, why: Undeliverable) -> bool {
        let counters = self.0.get_or_init(Box::default);
        let counter = match why {
            Undeliverable::MissingExchange => &counters.missing_exchange,
            Undeliverable::Unroutable => &counters.unroutable,
            Undeliverable::Cycle => &counters.cycles,
        };
        counter.fetch_add(1, Ordering::Relaxed) == 0
    }

    /// What was counted so far.
    pub(super) fn counts(&self) -> DeadLetterCounts {
        let Some(counters) = self.0.get() else {
            return DeadLetterCounts::default();
        };
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        DeadLetterCounts {
            rejected: count(&counters.rejected),
            expired: count(&counters.expired),
            max_length: count(&counters.max_length),
            delivery_limit: count(&counters.delivery_limit),
            no_exchange: count(&counters.no_exchange),
            missing_exchange: count(&counters.missing_exchange),
            unroutable: count(&counters.unroutable),
            cycles: count(&counters.cycles),
        }
    }
}
