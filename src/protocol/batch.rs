//! Scratch space for one run of a connection: what was read together is done together.
//!
//! Each worker thread has one [`Batch`], lent to whichever connection runs there, so that neither an idle nor a busy
//! connection owns buffers. Between two runs everything in it is empty.

use std::sync::Arc;

use broker_core::{
    message::Message,
    outbox::{Delivery, Event, SubscriptionKey},
    queue::{Entry, Millis, Work},
    vhost::Route,
};

use super::output::Output;

/// Messages of one channel for the same queues.
#[derive(Debug)]
pub struct Group {
    /// Where they go.
    pub route: Arc<Route>,
    /// The messages, in publishing order.
    pub messages: Vec<Message>,
    /// Channel and publish number of each message whose refusal must be told to the publisher; empty when no queue of
    /// the route refuses.
    pub numbers: Vec<(u16, u64)>,
}

/// A publish number that a queue refused: `basic.nack`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The channel.
    pub channel: u16,
    /// The number.
    pub number: u64,
}

/// The scratch space of one run.
#[derive(Debug, Default)]
pub struct Batch {
    /// The time of the run.
    pub now: Millis,
    /// What to write.
    pub out: Output,
    /// Publishes that have not entered their queues yet.
    pub groups: Vec<Group>,
    /// Message vectors for reuse.
    pub spare: Vec<Vec<Message>>,
    /// Acknowledged deliveries that have not been settled yet.
    pub acknowledged: Vec<(SubscriptionKey, Entry)>,
    /// Channels in confirm mode that published in this run.
    pub confirming: Vec<u16>,
    /// Publishes that a full queue refused.
    pub refused: Vec<Refusal>,
    /// What the queues ask for.
    pub work: Work,
    /// Taken from the outbox.
    pub deliveries: Vec<Delivery>,
    /// Taken from the outbox.
    pub events: Vec<Event>,
    /// Indices within one queue's publish that were refused.
    pub refused_indices: Vec<usize>,
}

/// A vector that grew beyond this is given back after the run.
const KEPT_MESSAGES: usize = 16 * 1024;

/// An output buffer that grew beyond this is given back after the run.
const KEPT_OUTPUT: usize = 4 * 1024 * 1024;

impl Batch {
    /// Adds a message to the publishes of this run. Messages of consecutive publishes to the same place share a group.
    pub fn publish(&mut self, route: &Arc<Route>, message: Message, number: Option<(u16, u64)>) {
        let group = match self.groups.last_mut() {
            Some(group) if Arc::ptr_eq(&group.route, route) => group,
            _ => {
                let messages = self.spare.pop().unwrap_or_default();
                self.groups.push(Group {
                    route: Arc::clone(route),
                    messages,
                    numbers: Vec::new(),
                });
                match self.groups.last_mut() {
                    Some(group) => group,
                    None => return,
                }
            }
        };
        group.messages.push(message);
        if route.refuses {
            group.numbers.push(number.unwrap_or_default());
        }
    }

    /// Gives back what a burst has made too large.
    pub fn trim(&mut self) {
        self.out.trim(KEPT_OUTPUT);
        self.spare
            .retain(|messages| messages.capacity() <= KEPT_MESSAGES);
        self.spare.truncate(64);
        if self.acknowledged.capacity() > KEPT_MESSAGES {
            self.acknowledged = Vec::new();
        }
        if self.deliveries.capacity() > KEPT_MESSAGES {
            self.deliveries = Vec::new();
        }
    }
}
