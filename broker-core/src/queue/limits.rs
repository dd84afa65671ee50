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
        self.earliest(entry.entered, own_expiry(entry))
    }

    /// The earliest moment at which one of several messages expires: the first of them entered at `entered`, and
    /// `own_expiry` is the earliest that they say themselves.
    pub fn earliest(&self, entered: Millis, own_expiry: Millis) -> Millis {
        let ttl = self.message_ttl;
        ttl.map_or(own_expiry, |ttl| {
            entered.saturating_add(ttl).min(own_expiry)
        })
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

/// When a message expires by its own word, or [`NEVER`].
pub fn own_expiry(entry: &Entry) -> Millis {
    if !entry.may_expire {
        return NEVER;
    }
    let ttl = own_ttl(&entry.message);
    ttl.map_or(NEVER, |ttl| entry.entered.saturating_add(ttl))
}

/// A message's own `expiration`, in milliseconds. The protocol layer has refused what is no number.
fn own_ttl(message: &Message) -> Option<u64> {
    Properties::parse(message.properties())
        .ok()?
        .expiration?
        .parse()
        .ok()
}
