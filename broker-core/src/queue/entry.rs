//! A message's place in one queue, and what the queue remembers about it there.

use super::delivery_counts::{DeliveryCounts, Requeued};
use crate::{
    message::Message,
    store::{Operation, Position, QueueId},
};

/// Milliseconds since the Unix epoch. The core has no clock: callers pass the time in.
pub type Millis = u64;

/// The expiry of an entry that never expires.
pub const NEVER: Millis = Millis::MAX;

/// A message in a queue, or on its way from a queue to a consumer and not yet settled.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its place in the queue; requeueing brings it back there.
    pub position: Position,
    /// The message, shared with the other queues that it was routed to.
    pub message: Message,
    /// When it entered the queue. Times to live are reckoned from here, so that another one of the queue counts for the
    /// messages that are there.
    pub entered: Millis,
    /// How often it was delivered and came back.
    pub counts: DeliveryCounts,
    /// Whether the store knows it, so that its settlement must be recorded.
    pub stored: bool,
    /// Whether it may have been seen by a consumer before (the `redelivered` flag).
    pub redelivered: bool,
    /// Whether the message has an expiration of its own, without a look at it.
    pub may_expire: bool,
    /// Which of the queue's lanes it belongs to, and its place counts in: the priority that it has there.
    pub lane: u8,
}

impl Entry {
    /// A message as it enters a queue.
    pub fn new(position: Position, message: Message, entered: Millis) -> Self {
        Self {
            position,
            may_expire: message.may_expire(),
            message,
            entered,
            counts: DeliveryCounts::default(),
            stored: false,
            redelivered: false,
            lane: 0,
        }
    }

    /// Flags and counts it as one that comes back from a client that has seen it.
    pub fn come_back(&mut self, requeued: Requeued) {
        self.redelivered = true;
        self.counts.add(requeued);
    }

    /// The operation that takes it out of the store, if it is there. `queue` is its queue's own id.
    pub fn settlement(&self, queue: QueueId) -> Option<Operation> {
        self.stored.then_some(Operation::Settle {
            queue: queue.lane(self.lane),
            position: self.position,
            bytes: self.message.size() as u32,
        })
    }

    /// The operation that notes that it came back, if the store knows it. `queue` is its queue's own id.
    pub fn requeueing(&self, queue: QueueId) -> Option<Operation> {
        self.stored.then_some(Operation::Requeue {
            queue: queue.lane(self.lane),
            position: self.position,
            delivery_count: self.counts.bits(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_costs_32_bytes_of_which_counts_are_four() {
        assert_eq!(size_of::<Entry>(), 32);
        assert_eq!(size_of::<Option<Entry>>(), 32);
        assert_eq!(size_of::<DeliveryCounts>(), 4);
    }
}
