//! How often a message came back to its queue, and what its next consumer is told of it.
//!
//! RabbitMQ counts two things. The *acquired count* is how often the message was delivered and came back for whatever
//! reason. The *delivery count* is how often that was a failure: a `basic.reject` with requeue, or the end of the channel
//! that held it. Only failures count towards `x-delivery-limit` (`rabbit_fifo:return_one`,
//! <https://www.rabbitmq.com/docs/nack>).

/// Whether a delivery that comes back counts as a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requeued {
    /// The consumer did not process it: `basic.nack` with requeue, `basic.recover`, or the consumer timeout.
    Unprocessed,
    /// The consumer failed: `basic.reject` with requeue, or its channel or connection ended.
    Failed,
}

/// The counts of one message in one queue. Both stop at 65,535.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeliveryCounts {
    /// How often it came back (`x-acquired-count`).
    pub acquired: u16,
    /// How often it came back as a failure (`x-delivery-count`).
    pub failed: u16,
}

impl DeliveryCounts {
    /// Both counts in one number, for stores.
    pub fn bits(self) -> u32 {
        u32::from(self.failed) << 16 | u32::from(self.acquired)
    }

    /// The counts of such a number.
    pub fn from_bits(bits: u32) -> Self {
        Self {
            acquired: bits as u16,
            failed: (bits >> 16) as u16,
        }
    }

    /// Counts one more return.
    pub fn add(&mut self, requeued: Requeued) {
        self.acquired = self.acquired.saturating_add(1);
        if requeued == Requeued::Failed {
            self.failed = self.failed.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_failures_count_as_deliveries() {
        let mut counts = DeliveryCounts::default();
        counts.add(Requeued::Unprocessed);
        counts.add(Requeued::Failed);
        counts.add(Requeued::Unprocessed);
        assert_eq!((counts.acquired, counts.failed), (3, 1));
        assert_eq!(DeliveryCounts::from_bits(counts.bits()), counts);
    }

    #[test]
    fn counts_stop_at_their_largest_value() {
        let mut counts = DeliveryCounts::from_bits(u32::MAX);
        counts.add(Requeued::Failed);
        assert_eq!(counts.bits(), u32::MAX);
    }
}
