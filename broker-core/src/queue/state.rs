//! What is in a queue and how it changes: a pure machine without I/O, clock or lock of its own.
//!
//! Messages lie in two places. `ready` holds those that were never delivered, in publishing order. `returned` holds
//! those that came back. Whatever came back was once taken from the front of `ready`, so all of `returned` precedes all
//! of `ready`, and a message comes back to its original position without moving the others. Unacknowledged deliveries
//! are kept by the channels that owe an answer for them; the queue only counts them.
//!
//! When memory is short, and after a start, a part of the queue lies on disk only: behind `ready` come the
//! [`pages`](super::page), which end in a tail in memory. `page_out.rs` says what may be forgotten, `page_in.rs` how it
//! comes back. Without pages nothing of that costs anything.
//!
//! Every change is answered by *effects*: operations for the store and messages to dead-letter. The caller applies
//! them.

use std::collections::{BTreeMap, VecDeque};

use super::{
    QueueCounts,
    consumers::{ConsumerHandle, Consumers, Subscription},
    effects::{DeadReason, Effects},
    entry::{Entry, Millis, NEVER},
    limits::Limits,
    page::Pages,
};
use crate::{
    message::Message,
    outbox::Event,
    store::{Operation, Position, QueueId, Ticket},
};

/// Room for messages that an empty queue keeps.
const KEPT_READY: usize = 16 * 1024;

/// Room for reserved places that a queue keeps.
const KEPT_RESERVED: usize = 64;

/// The contents and consumers of one queue.
#[derive(Debug)]
pub struct QueueState {
    pub(super) id: QueueId,
    /// Whether persistent messages go to the store.
    pub(super) durable: bool,
    pub(super) limits: Limits,
    /// By rising position.
    pub(super) ready: VecDeque<Entry>,
    pub(super) returned: BTreeMap<Position, Entry>,
    /// What follows `ready`, once something lies on disk only.
    pub(super) pages: Option<Box<Pages>>,
    /// Moves whenever the first page begins elsewhere than before: what was read under another one is not what comes
    /// next.
    pub(super) epoch: u64,
    /// Bytes of all bodies that wait, on disk or not.
    pub(super) ready_bytes: usize,
    pub(super) next_position: Position,
    unacknowledged: usize,
    /// Places that were set aside and are not taken yet, by rising position.
    pub(super) reserved: VecDeque<Position>,
    /// First places of messages whose records went to the store after those of later places, with the ticket that they
    /// are written with.
    late: VecDeque<(Position, Ticket)>,
    /// The latest position that was ever taken out of `ready`. At or before it, what waits has delivered messages
    /// between it.
    pub(super) taken: Position,
    pub(super) consumers: Consumers,
    /// Bytes of messages that are loaded at once.
    pub(super) chunk: usize,
    /// Set once the queue was deleted: late publishes and requeues are dropped.
    pub(super) deleted: bool,
}

impl QueueState {
    /// An empty queue, which loads `chunk` bytes of messages at once when they lie on disk.
    pub fn new(id: QueueId, durable: bool, limits: Limits, chunk: usize) -> Self {
        Self {
            id,
            durable,
            limits,
            ready: VecDeque::new(),
            returned: BTreeMap::new(),
            pages: None,
            epoch: 0,
            ready_bytes: 0,
            next_position: 1,
            unacknowledged: 0,
            reserved: VecDeque::new(),
            late: VecDeque::new(),
            taken: 0,
            consumers: Consumers::default(),
            chunk,
            deleted: false,
        }
    }

    /// Puts other limits in force. What is there and exceeds them goes with [`Self::expire`] and [`Self::drop_excess`].
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// How much is in it, and who consumes.
    pub fn counts(&self) -> QueueCounts {
        QueueCounts {
            ready: self.ready_count(),
            unacknowledged: self.unacknowledged,
            consumers: self.consumers.len(),
            ready_bytes: self.ready_bytes,
            paged: self.pages.as_ref().map_or(0, |pages| pages.count),
            resident_bytes: self.resident(),
        }
    }

    /// Messages that wait for a consumer.
    pub fn ready_count(&self) -> usize {
        let paged = self.pages.as_ref().map_or(0, |p| p.count + p.tail.len());
        self.ready.len() + self.returned.len() + paged
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

    /// Sets a place aside for a message whose record goes to the store in one batch with other queues' records. To be
    /// followed by [`Self::insert`].
    pub fn reserve(&mut self) -> Position {
        let position = self.take_position();
        self.reserved.push_back(position);
        position
    }

    /// Sets `count` places aside that follow each other, and returns the first.
    pub fn reserve_row(&mut self, count: usize) -> Position {
        let first = self.next_position;
        self.next_position += count as u64;
        self.reserved.extend(first..self.next_position);
        first
    }

    /// Notes that messages come to `count` places from `first` on whose records are in the store with `ticket`. If other
    /// messages have entered behind them meanwhile, the store may have written those before. `durable` says what the
    /// store's last durable ticket is.
    pub fn note_records(
        &mut self,
        first: Position,
        count: usize,
        ticket: Ticket,
        durable: impl FnOnce() -> Ticket,
    ) {
        if first.saturating_add(count as u64) < self.next_position {
            self.forget_late(durable());
            self.late.push_back((first, ticket));
        }
    }

    /// How far the store can read without a gap, when it has `written` what is there and its last durable ticket is
    /// what `durable` says.
    pub fn readable(&mut self, written: Position, durable: impl FnOnce() -> Ticket) -> Position {
        if self.late.is_empty() {
            return written;
        }
        self.forget_late(durable());
        let late = self.late.iter().map(|(first, _)| first.saturating_sub(1));
        late.fold(written, Position::min)
    }

    fn forget_late(&mut self, durable: Ticket) {
        self.late.retain(|(_, ticket)| *ticket > durable);
    }

    /// Those who reserve insert in the same order, mostly: the place is found at the front.
    fn unreserve(&mut self, position: Position) {
        if let Ok(index) = self.reserved.binary_search(&position) {
            self.reserved.remove(index);
        }
        if self.reserved.is_empty() {
            self.reserved.shrink_to(KEPT_RESERVED);
        }
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

    /// Puts a message at a reserved place; the store knows it already if it should. Says whether it went in, or the
    /// queue with it: false when the queue is full and refuses publishes.
    pub fn insert(
        &mut self,
        position: Position,
        message: Message,
        now: Millis,
        effects: &mut Effects,
    ) -> bool {
        self.unreserve(position);
        let stored = self.stores(&message);
        let refused = !self.deleted && self.refuses(1, message.body().len());
        let entry = self.entry_at(position, message, now, stored);
        if self.deleted {
            // Its record may have followed that of the deletion.
            effects.operations.extend(entry.settlement(self.id));
            return true;
        }
        if refused {
            effects.operations.extend(entry.settlement(self.id));
            self.refuse(entry.message, now, effects);
            return false;
        }
        self.push_in_order(entry);
        if self.limits.length_limited() {
            self.dispatch(now, effects);
            self.drop_excess(effects);
        }
        true
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
        let mut delivered = false;
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
                delivered = true;
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
        self.read_ahead(delivered, effects);
        if self.ready.is_empty() && self.ready.capacity() > KEPT_READY {
            self.ready = VecDeque::new();
        }
    }

    /// Drops or dead-letters what has expired at the front. Returns whether a live message is there.
    pub fn expire(&mut self, now: Millis, effects: &mut Effects) -> bool {
        let live = self.expire_before(now.saturating_add(1), effects);
        if !live && self.page_expires(now) {
            self.ask_for_load(effects);
        }
        live
    }

    fn expire_before(&mut self, limit: Millis, effects: &mut Effects) -> bool {
        loop {
            let Some(front) = self.front() else {
                return false;
            };
            if self.limits.expiry(front) >= limit {
                return true;
            }
            let Some(entry) = self.pop() else {
                return false;
            };
            self.bury(entry, DeadReason::Expired, effects);
        }
    }

    /// When the message at the front expires, if there is one that does. If it lies on disk, the moment at which it has
    /// to be looked at.
    pub fn next_expiry(&self) -> Option<Millis> {
        let next = match self.front() {
            Some(entry) => self.limits.expiry(entry),
            None => self.loadable()?.expires(&self.limits),
        };
        (next != NEVER).then_some(next)
    }

    /// Takes the first message for `basic.get`, and counts it as unacknowledged unless `no_ack`. `None` also when it
    /// lies on disk ([`Self::next_load`]).
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
        self.clear(garbage);
        count
    }

    fn clear(&mut self, garbage: &mut Garbage) {
        garbage.ready = std::mem::take(&mut self.ready);
        garbage.returned = std::mem::take(&mut self.returned);
        garbage.pages = self.pages.take();
        self.epoch += 1;
        self.ready_bytes = 0;
    }

    /// Takes everything that was never delivered out of the store. Up to the latest place that was ever delivered,
    /// that is message by message (few came late to reserved places there); behind it everything waits here but what
    /// is to take a reserved place, so it is one range and one more for each of those.
    fn settle_ready(&mut self, effects: &mut Effects) {
        if !self.durable {
            return;
        }
        let late = self.ready.partition_point(|e| e.position <= self.taken);
        let settled = self.ready.iter().take(late);
        effects
            .operations
            .extend(settled.filter_map(|e| e.settlement(self.id)));
        let Some(last) = self.last_position().filter(|&last| last > self.taken) else {
            return;
        };
        let mut range = |from, to| {
            if from <= to {
                let queue = self.id;
                let range = Operation::SettleRange { queue, from, to };
                effects.operations.push(range);
            }
        };
        let mut from = self.taken + 1;
        if let Some(first) = self.ready.get(late) {
            from = from.max(first.position);
        }
        for &place in &self.reserved {
            if (from..=last).contains(&place) {
                range(from, place.saturating_sub(1));
                from = place + 1;
            }
        }
        range(from, last);
    }

    /// The last place of all that was never delivered.
    fn last_position(&self) -> Option<Position> {
        let paged = self.pages.as_ref();
        let tail = paged.and_then(|p| Some(p.tail.back()?.position));
        tail.or_else(|| paged.and_then(|p| p.last_position()))
            .or_else(|| Some(self.ready.back()?.position))
    }

    /// Ends the queue: its consumers hear of it, and the number of ready messages that went with it is returned. The
    /// consumers' connections are told while the caller holds the queue's lock, so that a consumer that is cancelled at
    /// the same time either prevents it or finds it in its outbox.
    pub fn delete(&mut self, effects: &mut Effects, garbage: &mut Garbage) -> usize {
        let count = self.ready_count();
        self.clear(garbage);
        self.deleted = true;
        if self.durable {
            effects
                .operations
                .push(Operation::DeleteQueue { queue: self.id });
        }
        self.cancel_consumers();
        count
    }

    pub(super) fn cancel_consumers(&mut self) {
        for subscription in self.consumers.subscriptions() {
            let gone = Event::ConsumerCancelled(subscription.key);
            subscription.outbox.post(gone);
        }
        self.consumers = Consumers::default();
    }

    fn entry_at(&self, position: Position, message: Message, now: Millis, stored: bool) -> Entry {
        Entry {
            stored,
            ..Entry::new(position, message, now)
        }
    }

    fn push(&mut self, entry: Entry) {
        let bytes = entry.message.body().len();
        self.ready_bytes += bytes;
        match &mut self.pages {
            None => self.ready.push_back(entry),
            Some(pages) => {
                pages.tail_bytes += bytes;
                pages.tail.push_back(entry);
            }
        }
    }

    /// Puts a message where its position belongs: later ones may have entered since the place was reserved. Nothing is
    /// paged out beyond a reserved place, so it never belongs into a page.
    fn push_in_order(&mut self, entry: Entry) {
        let bytes = entry.message.body().len();
        self.ready_bytes += bytes;
        let row = match &mut self.pages {
            None => &mut self.ready,
            Some(pages) => {
                pages.tail_bytes += bytes;
                &mut pages.tail
            }
        };
        if row.back().is_none_or(|last| last.position < entry.position) {
            row.push_back(entry);
            return;
        }
        let index = row.partition_point(|other| other.position < entry.position);
        row.insert(index, entry);
    }

    fn put_back(&mut self, entry: Entry) {
        if self.deleted {
            return;
        }
        self.ready_bytes += entry.message.body().len();
        self.returned.insert(entry.position, entry);
    }

    pub(super) fn front(&self) -> Option<&Entry> {
        self.returned.values().next().or_else(|| self.ready.front())
    }

    fn pop(&mut self) -> Option<Entry> {
        let entry = match self.returned.pop_first() {
            Some((_, entry)) => entry,
            None => {
                let entry = self.ready.pop_front()?;
                self.taken = self.taken.max(entry.position);
                if let Some(pages) = &mut self.pages {
                    pages.front_bytes -= entry.message.body().len();
                }
                entry
            }
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
            let Some(entry) = self.pop() else {
                effects.excess = matches!(self.next_load(), Ok(Some(_)));
                return;
            };
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
    pages: Option<Box<Pages>>,
}
