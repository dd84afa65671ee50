//! What a queue counts: everything in one place, under the queue's lock, without a look at anything else.

use super::{DeadReason, Entry, Queue, QueueState};
use crate::statistics::{Column, Counts, OF_QUEUE_HISTORY};

impl QueueState {
    #[inline]
    pub(super) fn count_publish(&mut self, stored: bool) {
        self.counters.add(Column::Publish, 1);
        self.counters.add(Column::DiskWrites, u64::from(stored));
    }

    #[inline]
    pub(super) fn count_delivery(&mut self, entry: &Entry, no_ack: bool) {
        let column = match no_ack {
            true => Column::DeliverNoAck,
            false => Column::Deliver,
        };
        self.counters.add(column, 1);
        let redelivered = u64::from(entry.redelivered);
        self.counters.add(Column::Redeliver, redelivered);
    }

    /// A message was delivered that is to be settled.
    #[inline]
    pub(super) fn note_unacknowledged(&mut self, entry: &Entry) {
        self.unacknowledged += 1;
        self.unacknowledged_bytes += entry.message.body_length();
    }

    /// It is settled, or comes back.
    #[inline]
    pub(super) fn forget_unacknowledged(&mut self, entry: &Entry) {
        let bytes = entry.message.body_length();
        self.unacknowledged = self.unacknowledged.saturating_sub(1);
        self.unacknowledged_bytes = self.unacknowledged_bytes.saturating_sub(bytes);
    }

    pub(super) fn count_get(&mut self, entry: &Entry, no_ack: bool) {
        let column = match no_ack {
            true => Column::GetNoAck,
            false => Column::Get,
        };
        self.counters.add(column, 1);
        let redelivered = u64::from(entry.redelivered);
        self.counters.add(Column::Redeliver, redelivered);
    }

    pub(super) fn count_death(&mut self, reason: DeadReason) {
        let column = match reason {
            DeadReason::MaxLength => Column::DeadMaxLength,
            DeadReason::Expired => Column::DeadExpired,
            DeadReason::Rejected => Column::DeadRejected,
            DeadReason::DeliveryLimit => Column::DeadDeliveryLimit,
        };
        self.counters.add(column, 1);
    }
}

impl Queue {
    /// What has gone through the queue, and what is in it.
    pub fn statistics_counts(&self) -> Counts<OF_QUEUE_HISTORY> {
        let state = self.state.lock();
        let mut counts = Counts::default();
        counts.add_change(&state.counters, &Counts::default());
        counts.set(Column::Ready, state.ready_count() as u64);
        let unacknowledged = state.unacknowledged_count() as u64;
        counts.set(Column::Unacknowledged, unacknowledged);
        counts.set(Column::Delayed, state.delayed_length().0 as u64);
        counts
    }
}
