//! What a change of a queue asks of its caller.

use std::sync::Arc;

use super::{Queue, entry::Entry};
use crate::store::Operation;

/// Why a message was dead-lettered, in the words of the `x-death` header
/// (<https://www.rabbitmq.com/docs/dlx>).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeadReason {
    /// Its consumer refused it without requeueing.
    Rejected,
    /// Its time to live ran out.
    Expired,
    /// The queue's length limit was exceeded.
    MaxLength,
    /// It came back too often.
    DeliveryLimit,
}

impl DeadReason {
    /// The value of the header field.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::MaxLength => "maxlen",
            Self::DeliveryLimit => "delivery_limit",
        }
    }
}

/// Collected while a queue is locked, applied by the caller.
#[derive(Debug, Default)]
pub struct Effects {
    /// To be appended to the store before the queue's lock is released, so that the store sees a queue's operations in
    /// their order.
    pub operations: Vec<Operation>,
    /// To be dead-lettered after the lock is released. The store still holds them: leaving this queue and entering the
    /// next is one batch.
    pub dead: Vec<(Entry, DeadReason)>,
    /// Lanes whose first messages lie on disk and somebody waits for them: a reader thread is to load them.
    pub loads: Vec<u8>,
    /// Lanes in which messages that lie on disk have expired: a reader thread is to read them.
    pub read_expired: Vec<u8>,
    /// A reader thread is to look through the backlog for messages that expire.
    pub scan: bool,
    /// The queue is too long, and the messages that have to go lie on disk: the caller is to load them.
    pub excess: bool,
    /// Messages that the caller is to write to the spill.
    pub spill: Option<Arc<Vec<Entry>>>,
    /// Messages in memory that the queue has paged out. Freed after the lock is released.
    pub forgotten: Vec<Entry>,
}

/// A message on its way from a queue to the queue's dead-letter exchange.
#[derive(Debug)]
pub struct Dead {
    /// The queue that it leaves.
    pub queue: Arc<Queue>,
    /// The message and its place there.
    pub entry: Entry,
    /// Why it leaves.
    pub reason: DeadReason,
}
