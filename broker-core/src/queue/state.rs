//! What is in a queue and how it changes: a pure machine without I/O, clock or lock of its own.
//!
//! Messages lie in two places. `ready` holds those that were never delivered, in publishing order. `returned` holds
//! those that came back. Whatever came back was once taken from the front of `ready`, so all of `returned` precedes all
//! of `ready`, and a message comes back to its original position without moving the others. Unacknowledged deliveries
//! are kept by the channels that owe an answer for them; the queue only counts them.
//!
//! Every change is answered by *effects*: operations for the store and messages to dead-letter. The caller applies
//! them.

use std::collections::{BTreeMap, VecDeque};

use super::{
    consumers::{ConsumerHandle, Consumers, Subscription},
    effects::{DeadReason, Effects},
    entry::{Entry, Millis},
    limits::Limits,
};
use crate::{
    message::Message,
    outbox::Event,
    store::{Operation, Position, QueueId, StoredMessage},
};

/// Room for messages that an empty queue keeps.
const KEPT_READY: usize = 16 * 1024;

/// The contents and consumers of one queue.
#[derive(Debug)]
pub struct QueueState {
    id: QueueId,
    /// Whether persistent messages go to the store.
    durable: bool,
    limits: Limits,
    ready: VecDeque<Entry>,
    returned: BTreeMap<Position, Entry>,
    ready_bytes: usize,
    next_position: Position,
    unacknowledged: usize,
    /// Places that were set aside and are not taken yet.
    reserved: usize,
    /// The latest position that ever entered `ready`.
    entered: Position,
    /// A message took a reserved place after a later one had entered, so positions in `ready` do not only rise, or a
    /// delivered message has its place between them.
    disordered: bool,
    consumers: Consumers,
    /// Set once the queue was deleted: late publishes and requeues are dropped.
    deleted: bool,
}

impl QueueState {
    /// An empty queue.
    pub fn new(id: QueueId, durable: bool, limits: Limits) -> Self {
        Self {
            id,
            durable,
            limits,
            ready: VecDeque::new(),
            returned: BTreeMap::new(),
            ready_bytes: 0,
            next_position: 1,
            unacknowledged: 0,
            reserved: 0,
            entered: 0,
            disordered: false,
            consumers: Consumers::default(),
            deleted: false,
        }
    }

    /// Puts other limits in force, for what comes in from now on. What is there and exceeds them goes with
    /// [`Self::expire`] and [`Self::drop_excess`].
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Messages that wait for a consumer.
    pub fn ready_count(&self) -> usize {
        self.ready.len() + self.returned.len()
    }

    /// Bytes of the bodies that wait for a consumer, as `x-max-length-bytes` counts them.
    pub fn ready_bytes(&self) -> usize {
        self.ready_bytes
    }

    /// Messages that were delivered and not yet settled.
    pub fn unacknowledged_count(&self) -> usize {
        self.unacknowledged
    }

    /// Consumers of the queue.
    pub fn consumers(&mut self) -> &mut Consumers {
        &mut self.consumers
    }

    /// How many consumers the queue has.
    pub fn consumer_count(&self) -> usize {
        self.consumers.len()
    }

    /// Whether the queue was deleted.
    pub fn is_deleted(&self) -> bool {
        self.deleted
    }

    /// Takes a message back from the store at start.
    pub fn recover(&mut self, stored: StoredMessage) {
        self.next_position = self.next_position.max(stored.position.saturating_add(1));
        let entry = self.restored(stored);
        self.push(entry);
    }

    /// A message as it was before it was read back.
    fn restored(&self, stored: StoredMessage) -> Entry {
        Entry {
            position: stored.position,
            expires_at: self.limits.expiry(&stored.message, stored.enqueued_at),
            message: stored.message,
            delivery_count: stored.delivery_count,
            stored: true,
            redelivered: stored.redelivered,
        }
    }

    /// Sets a place aside for a message whose record goes to the store in one batch with other queues' records. To be
    /// followed by [`Self::insert`].
    pub fn reserve(&mut self) -> Position {
        self.reserved += 1;
        self.take_position()
    }

    fn take_position(&mut self) -> Position {
        let position = self.next_position;
        self.next_position += 1;
        position
    }

    /// Whether a message of this kind is to be recorded in the store.
    pub fn stores(&self, message: &Message) -> bool {
        self.durable && message.persistent()
    }

    /// Puts a message at a reserved place; the store knows it already if it should.
    pub fn insert(
        &mut self,
        position: Position,
        message: Message,
        now: Millis,
        effects: &mut Effects,
    ) {
        self.reserved = self.reserved.saturating_sub(1);
        if self.deleted {
            return;
        }
        let stored = self.stores(&message);
        let refused = self.refuses(1, message.body().len());
        let entry = self.entry_at(position, message, now, stored);
        if refused {
            effects.operations.extend(entry.settlement(self.id));
            self.refuse(entry.message, now, effects);
            return;
        }
        self.push(entry);
        if self.limits.length_limited() {
            self.dispatch(now, effects);
            self.drop_excess(effects);
        }
    }

    /// Puts messages at the end. Returns how many were refused because the queue is full and its overflow behaviour is
    /// to reject: their indices go to `refused`.
    pub fn publish(
        &mut self,
        messages: impl Iterator<Item = Message>,
        now: Millis,
        effects: &mut Effects,
        refused: &mut Vec<usize>,
    ) {
        if self.deleted {
            return;
        }
        for (index, message) in messages.enumerate() {
            if self.refuses(1, message.body().len()) {
                refused.push(index);
                self.refuse(message, now, effects);
                continue;
            }
            let position = self.take_position();
            let stored = self.stores(&message);
            if stored {
                effects.operations.push(Operation::Enqueue {
                    queue: self.id,
                    position,
                    enqueued_at: now,
                    message: message.clone(),
                });
            }
            let entry = self.entry_at(position, message, now, stored);
            self.push(entry);
            if self.limits.length_limited() {
                self.dispatch(now, effects);
                self.drop_excess(effects);
            }
        }
        self.dispatch(now, effects);
    }

    /// Hands ready messages to consumers until either runs out.
    pub fn dispatch(&mut self, now: Millis, effects: &mut Effects) {
        if self.consumers.is_empty() {
            self.expire(now, effects);
            return;
        }
        loop {
            self.consumers.begin();
            // What expires at this very moment may still go to a consumer that waits: a time to live of 0 means now or
            // never (<https://www.rabbitmq.com/docs/ttl>).
            while self.expire_before(now, effects) {
                let Some(offer) = self.consumers.offer() else {
                    break;
                };
                let Some(mut entry) = self.pop() else { break };
                if offer.no_ack {
                    effects.operations.extend(entry.settlement(self.id));
                    entry.stored = false;
                } else {
                    self.unacknowledged += 1;
                }
                self.consumers.stage(&offer, entry);
            }
            let mut lost = Vec::new();
            let again = self.consumers.flush(&mut lost);
            for entry in lost {
                self.unacknowledged = self.unacknowledged.saturating_sub(1);
                self.put_back(entry);
            }
            if !again {
                break;
            }
        }
        self.expire(now, effects);
        if self.ready.is_empty() && self.ready.capacity() > KEPT_READY {
            self.ready = VecDeque::new();
        }
    }

    /// Drops or dead-letters what has expired at the front. Returns whether a live message is there.
    pub fn expire(&mut self, now: Millis, effects: &mut Effects) -> bool {
        self.expire_before(now.saturating_add(1), effects)
    }

    fn expire_before(&mut self, limit: Millis, effects: &mut Effects) -> bool {
        loop {
            let Some(front) = self.front() else {
                return false;
            };
            if front.expires_at >= limit {
                return true;
            }
            let Some(entry) = self.pop() else {
                return false;
            };
            self.bury(entry, DeadReason::Expired, effects);
        }
    }

    /// When the message at the front expires, if there is one that does.
    pub fn next_expiry(&self) -> Option<Millis> {
        self.front()
            .map(|e| e.expires_at)
            .filter(|&at| at != super::entry::NEVER)
    }

    /// Takes the first message for `basic.get`, and counts it as unacknowledged unless `no_ack`.
    pub fn get(&mut self, no_ack: bool, now: Millis, effects: &mut Effects) -> Option<Entry> {
        self.expire(now, effects);
        let mut entry = self.pop()?;
        if no_ack {
            effects.operations.extend(entry.settlement(self.id));
            entry.stored = false;
        } else {
            self.unacknowledged += 1;
        }
        Some(entry)
    }

    /// Settles deliveries for good: acknowledged, or rejected without a dead-letter exchange.
    pub fn settle<'a>(&mut self, entries: impl Iterator<Item = &'a Entry>, effects: &mut Effects) {
        for entry in entries {
            self.unacknowledged = self.unacknowledged.saturating_sub(1);
            if !self.deleted {
                effects.operations.extend(entry.settlement(self.id));
            }
        }
    }

    /// Settles a delivery that its consumer refused without requeueing it.
    pub fn reject(&mut self, entry: Entry, effects: &mut Effects) {
        self.unacknowledged = self.unacknowledged.saturating_sub(1);
        if !self.deleted {
            self.bury(entry, DeadReason::Rejected, effects);
        }
    }

    /// Whether a full queue would refuse this many messages with this many bytes of body between them.
    pub fn refuses(&self, count: usize, bytes: usize) -> bool {
        let count = self.ready_count().saturating_add(count);
        let bytes = self.ready_bytes.saturating_add(bytes);
        self.limits.rejects_publishes() && self.limits.exceeded(count, bytes)
    }

    /// Brings deliveries back to their places, flagged as redelivered. The caller makes room and dispatches.
    pub fn requeue(&mut self, entries: impl Iterator<Item = Entry>, effects: &mut Effects) {
        for mut entry in entries {
            self.unacknowledged = self.unacknowledged.saturating_sub(1);
            entry.redelivered = true;
            entry.delivery_count = entry.delivery_count.saturating_add(1);
            if !self.deleted {
                effects.operations.extend(entry.requeueing(self.id));
            }
            self.put_back(entry);
        }
    }

    /// Gives deliveries back that no client has seen: neither the flag nor the count changes.
    pub fn undeliver(&mut self, entries: impl Iterator<Item = Entry>) {
        for entry in entries {
            self.unacknowledged = self.unacknowledged.saturating_sub(1);
            self.put_back(entry);
        }
    }

    /// Gives a consumer credit back, after settling or requeueing `count` of its deliveries.
    pub fn release(&mut self, consumer: ConsumerHandle, count: u32) {
        self.consumers.release(consumer, count);
    }

    /// Adds a consumer. The caller dispatches.
    pub fn add_consumer(&mut self, subscription: Subscription) -> ConsumerHandle {
        self.consumers.add(subscription)
    }

    /// Whether a message published now would go to a consumer at once (`immediate`).
    pub fn delivers_at_once(&mut self) -> bool {
        self.ready_count() == 0 && self.consumers.can_take()
    }

    /// Drops all ready messages and says how many there were. Their memory goes to `garbage`, so that it is given back
    /// after the lock.
    pub fn purge(&mut self, effects: &mut Effects, garbage: &mut Garbage) -> usize {
        let count = self.ready_count();
        for entry in self.returned.values() {
            effects.operations.extend(entry.settlement(self.id));
        }
        self.settle_ready(effects);
        garbage.ready = std::mem::take(&mut self.ready);
        garbage.returned = std::mem::take(&mut self.returned);
        self.ready_bytes = 0;
        count
    }

    /// Takes all of `ready` out of the store: one range where the range holds nothing else.
    fn settle_ready(&mut self, effects: &mut Effects) {
        if self.disordered || self.reserved > 0 {
            let settled = self.ready.iter().filter_map(|e| e.settlement(self.id));
            effects.operations.extend(settled);
        } else if let (Some(first), Some(last)) = (self.ready.front(), self.ready.back())
            && self.durable
        {
            effects.operations.push(Operation::SettleRange {
                queue: self.id,
                from: first.position,
                to: last.position,
            });
        }
    }

    /// Ends the queue: its consumers hear of it, and the number of ready messages that went with it is returned. The
    /// consumers' connections are told while the caller holds the queue's lock, so that a consumer that is cancelled at
    /// the same time either prevents it or finds it in its outbox.
    pub fn delete(&mut self, effects: &mut Effects, garbage: &mut Garbage) -> usize {
        let count = self.ready_count();
        garbage.ready = std::mem::take(&mut self.ready);
        garbage.returned = std::mem::take(&mut self.returned);
        self.ready_bytes = 0;
        self.deleted = true;
        if self.durable {
            effects
                .operations
                .push(Operation::DeleteQueue { queue: self.id });
        }
        for subscription in self.consumers.subscriptions() {
            let gone = Event::ConsumerCancelled(subscription.key);
            subscription.outbox.post(gone);
        }
        self.consumers = Consumers::default();
        count
    }

    fn entry_at(&self, position: Position, message: Message, now: Millis, stored: bool) -> Entry {
        Entry {
            position,
            expires_at: self.limits.expiry(&message, now),
            message,
            delivery_count: 0,
            stored,
            redelivered: false,
        }
    }

    fn push(&mut self, entry: Entry) {
        if self.ready.is_empty() && self.reserved == 0 {
            self.disordered = false;
        }
        self.disordered |= entry.position < self.entered;
        self.entered = self.entered.max(entry.position);
        self.ready_bytes += entry.message.body().len();
        self.ready.push_back(entry);
    }

    fn put_back(&mut self, entry: Entry) {
        if self.deleted {
            return;
        }
        self.ready_bytes += entry.message.body().len();
        self.returned.insert(entry.position, entry);
    }

    fn front(&self) -> Option<&Entry> {
        self.returned.values().next().or_else(|| self.ready.front())
    }

    fn pop(&mut self) -> Option<Entry> {
        let entry = match self.returned.pop_first() {
            Some((_, entry)) => entry,
            None => self.ready.pop_front()?,
        };
        self.ready_bytes -= entry.message.body().len();
        Some(entry)
    }

    /// Makes room at the front if the length limits are exceeded and the queue does not refuse publishes instead.
    pub fn drop_excess(&mut self, effects: &mut Effects) {
        if self.limits.rejects_publishes() {
            return;
        }
        while self.limits.exceeded(self.ready_count(), self.ready_bytes) {
            let Some(entry) = self.pop() else { return };
            self.bury(entry, DeadReason::MaxLength, effects);
        }
    }

    fn refuse(&mut self, message: Message, now: Millis, effects: &mut Effects) {
        if self.limits.dead_letters_refused() {
            let entry = self.entry_at(0, message, now, false);
            self.bury(entry, DeadReason::MaxLength, effects);
        }
    }

    fn bury(&mut self, entry: Entry, reason: DeadReason, effects: &mut Effects) {
        if self.limits.dead_letters() {
            effects.dead.push((entry, reason));
        } else {
            effects.operations.extend(entry.settlement(self.id));
        }
    }
}

/// Messages that were taken out in bulk; dropping it gives their memory back.
#[derive(Debug, Default)]
pub struct Garbage {
    ready: VecDeque<Entry>,
    returned: BTreeMap<Position, Entry>,
}
