//! Time to live and length limits of a queue, as the state machine needs them.

use amqp_codec::Properties;

use super::{
    arguments::{Overflow, QueueArguments},
    entry::{Millis, NEVER},
};
use crate::message::Message;

/// The limits in force on one queue.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    message_ttl: Option<u64>,
    max_length: usize,
    max_bytes: usize,
    overflow: Overflow,
    dead_letters: bool,
}

impl Limits {
    /// Reads the limits out of a queue's arguments.
    pub fn new(arguments: &QueueArguments) -> Self {
        let bound = |limit: Option<u64>| {
            limit.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX))
        };
        Self {
            message_ttl: arguments.message_ttl_ms,
            max_length: bound(arguments.max_length),
            max_bytes: bound(arguments.max_length_bytes),
            overflow: arguments.overflow,
            dead_letters: arguments.dead_letter_exchange.is_some(),
        }
    }

    /// When a message that arrives now expires: the lower of the queue's and its own time to live counts
    /// (<https://www.rabbitmq.com/docs/ttl>).
    pub fn expiry(&self, message: &Message, now: Millis) -> Millis {
        let own = own_ttl(message);
        match (self.message_ttl, own) {
            (None, None) => NEVER,
            (Some(ttl), None) | (None, Some(ttl)) => now.saturating_add(ttl),
            (Some(a), Some(b)) => now.saturating_add(a.min(b)),
        }
    }

    /// The earliest moment at which a message may expire that entered at `enqueued_at` or later. Nobody knows what
    /// messages with an expiration of their own say, so those may expire at once.
    pub fn earliest_expiry(&self, enqueued_at: Millis, own: bool) -> Millis {
        match (own, self.message_ttl) {
            (true, _) => enqueued_at,
            (false, Some(ttl)) => enqueued_at.saturating_add(ttl),
            (false, None) => NEVER,
        }
    }

    /// Whether there is any length limit.
    pub fn length_limited(&self) -> bool {
        self.max_length != usize::MAX || self.max_bytes != usize::MAX
    }

    /// Whether a limit is exceeded.
    pub fn exceeded(&self, count: usize, bytes: usize) -> bool {
        count > self.max_length || bytes > self.max_bytes
    }

    /// Whether publishers are refused when the queue is full, rather than old messages dropped.
    pub fn rejects_publishes(&self) -> bool {
        self.overflow != Overflow::DropHead
    }

    /// Whether refused publishes are dead-lettered.
    pub fn dead_letters_refused(&self) -> bool {
        self.overflow == Overflow::RejectPublishDlx
    }

    /// Whether there is a dead-letter exchange.
    pub fn dead_letters(&self) -> bool {
        self.dead_letters
    }
}

/// A message's own `expiration`, in milliseconds. The protocol layer has refused what is no number.
fn own_ttl(message: &Message) -> Option<u64> {
    if !message.may_expire() {
        return None;
    }
    Properties::parse(message.properties())
        .ok()?
        .expiration?
        .parse()
        .ok()
}
