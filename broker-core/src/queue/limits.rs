//! Time to live and length limits of a queue, as the state machine needs them.

use amqp_codec::Properties;

use super::{
    arguments::{Overflow, QueueArguments},
    entry::{Entry, Millis, NEVER},
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
    /// The most failed deliveries.
    deliveries: u32,
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
            deliveries: arguments.most_deliveries(),
        }
    }

    /// When a message expires: the lower of the queue's and its own time to live counts
    /// (<https://www.rabbitmq.com/docs/ttl>).
    pub fn expiry(&self, entry: &Entry) -> Millis {
        let both = self.end(entry.entered).into_iter().chain(own_expiry(entry));
        both.min().unwrap_or(NEVER)
    }

    /// When the queue's time to live ends for a message that has entered at `entered`.
    pub fn end(&self, entered: Millis) -> Option<Millis> {
        self.message_ttl.map(|ttl| entered.saturating_add(ttl))
    }

    /// Whether the queue has a time to live.
    pub fn has_ttl(&self) -> bool {
        self.message_ttl.is_some()
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

    /// Whether a message came back as a failure more often than it may.
    pub fn failed_too_often(&self, entry: &Entry) -> bool {
        u32::from(entry.counts.failed) > self.deliveries
    }

    /// Whether there is a dead-letter exchange.
    pub fn dead_letters(&self) -> bool {
        self.dead_letters
    }
}

/// When a message expires by its own word, if it does.
pub fn own_expiry(entry: &Entry) -> Option<Millis> {
    if !entry.may_expire {
        return None;
    }
    own_ttl(&entry.message).map(|ttl| entry.entered.saturating_add(ttl))
}

/// A message's own `expiration`, in milliseconds. The protocol layer has refused what is no number.
fn own_ttl(message: &Message) -> Option<u64> {
    Properties::parse(message.properties())
        .ok()?
        .expiration?
        .parse()
        .ok()
}
