//! What is in a queue and how it changes: a pure machine without I/O, clock or lock of its own.
//!
//! The messages themselves lie in [`Lanes`]: their order, and what of them is on disk only. Here is what decides about
//! them: the limits, the consumers, and who is told.
//!
//! Every change is answered by *effects*: operations for the store and messages to dead-letter. The caller applies
//! them.

use super::{
    QueueCounts,
    consumers::{ConsumerHandle, Consumers, Subscription},
    delayed::Delayed,
    delivery_counts::Requeued,
    effects::{DeadReason, Effects},
    entry::{Entry, Millis},
    expire::SLICE,
    lane::{Elsewhere, Garbage},
    lanes::{Lanes, Place, Places},
    latency::{Run, Times},
    limits::Limits,
    priorities::Priorities,
    row::AHEAD,
};
use crate::{
    message::Message,
    outbox::Event,
    statistics::{Column, Counts, OF_QUEUE},
    store::{Operation, Position, QueueId, Ticket},
};

/// The contents and consumers of one queue.
#[derive(Debug)]
pub struct QueueState {
    pub(super) id: QueueId,
    /// Whether persistent messages go to the store.
    pub(super) durable: bool,
    pub(super) limits: Limits,
    pub(super) lanes: Lanes,
    pub(super) unacknowledged: usize,
    /// Bytes of their bodies.
    pub(super) unacknowledged_bytes: usize,
    /// What has gone through the queue.
    pub(super) counters: Counts<OF_QUEUE>,
    pub(super) consumers: Consumers,
    /// Bytes of messages that are loaded at once.
    pub(super) chunk: usize,
    /// Messages with an expiration of their own may wait, or some have left from the middle.
    pub(super) expires: bool,
    /// More has expired than could be handled in one go.
    pub(super) overdue: bool,
    /// The queue is longer than it may be, and it could not all be dropped in one go.
    pub(super) overlong: bool,
    /// The last batch of the store that may have settled what has expired in the middle.
    pub(super) settled: Ticket,
    /// Set once the queue was deleted: late publishes and requeues are dropped.
    pub(super) deleted: bool,
    /// An operator has stopped deliveries.
    pub(super) paused: bool,
    /// What came back and waits for its next try, and for how long what comes back does. `None` without delayed retry.
    pub(super) delayed: Option<Box<Delayed>>,
    /// How long messages have stayed here lately, if any went through.
    pub(super) times: Option<Box<Times>>,
}

impl QueueState {
    /// An empty queue, which loads `chunk` bytes of messages at once when they lie on disk.
    pub fn new(
        id: QueueId,
        durable: bool,
        priorities: Option<Priorities>,
        limits: Limits,
        chunk: usize,
    ) -> Self {
        Self {
            id,
            durable,
            limits,
            lanes: Lanes::new(id, priorities),
            unacknowledged: 0,
            unacknowledged_bytes: 0,
            counters: Counts::default(),
            consumers: Consumers::default(),
            chunk,
            expires: false,
            overdue: false,
            overlong: false,
            settled: Ticket::NONE,
            deleted: false,
            paused: false,
            delayed: None,
            times: None,
        }
    }

    /// Has one consumer at a time (`x-single-active-consumer`), which gets the messages in their order, come what may.
    pub fn have_single_active_consumer(&mut self) {
        self.consumers.make_single_active();
        self.lanes.keep_order();
    }

    /// Puts other limits in force. What is there and exceeds them goes with [`Self::expire`] and [`Self::drop_excess`].
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// How much is in it, and who consumes.
    pub fn counts(&self) -> QueueCounts {
        let (delayed, delayed_bytes) = self.delayed_length();
        QueueCounts {
            ready: self.ready_count(),
            unacknowledged: self.unacknowledged,
            unacknowledged_bytes: self.unacknowledged_bytes,
            consumers: self.consumers.len(),
            ready_bytes: self.ready_bytes(),
            paged: self.lanes.paged(),
            resident_bytes: self.resident(),
            delayed,
            delayed_bytes,
        }
    }

    /// Messages that wait for a consumer.
    pub fn ready_count(&self) -> usize {
        self.lanes.count()
    }

    /// Bytes of the bodies that wait for a consumer, as `x-max-length-bytes` counts them.
    pub fn ready_bytes(&self) -> usize {
        self.lanes.bytes()
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

    /// Sets a place aside for each of `messages`, whose records go to the store in one batch with other queues' records.
    /// To be followed by [`Self::insert`].
    pub fn reserve_row(&mut self, messages: &[Message]) -> Places {
        self.lanes.reserve_row(messages)
    }

    /// The place of `message`, which is the next of those that `places` were set aside for.
    pub fn next_place(&self, message: &Message, places: &mut Places) -> Place {
        places.take(self.lanes.lane_of(message))
    }

    /// Notes that messages come to `places` whose records are in the store with `ticket`. If other messages have entered
    /// behind them meanwhile, the store may have written those before. `durable` says what the store's last durable
    /// ticket is.
    pub fn note_records(&mut self, places: &Places, ticket: Ticket, durable: &dyn Fn() -> Ticket) {
        self.lanes.note_records(places, ticket, durable);
    }

    /// How far the store can read a lane without a gap, when it has `written` what is there and its last durable ticket
    /// is what `durable` says.
    pub fn readable(
        &mut self,
        lane: u8,
        written: Position,
        durable: impl FnOnce() -> Ticket,
    ) -> Position {
        self.lanes.get_mut(lane).readable(written, durable)
    }

    /// What the store is to know of a message at this place.
    pub fn enqueueing(&self, place: Place, message: &Message, now: Millis) -> Operation {
        Operation::Enqueue {
            queue: self.id.lane(place.lane),
            position: place.position,
            enqueued_at: now,
            message: message.clone(),
        }
    }

    /// Whether a message of this kind is to be recorded in the store.
    pub fn stores(&self, message: &Message) -> bool {
        self.durable && message.persistent()
    }

    /// Hands ready messages to consumers until either runs out.
    pub fn dispatch(&mut self, now: Millis, effects: &mut Effects) {
        self.end_delays(now, effects);
        let delivers = !self.consumers.is_empty() && !self.paused;
        let delivered = delivers && self.deliver(now, effects);
        self.note_fresh();
        self.expire(now, effects);
        self.prune_notes();
        if delivers {
            self.read_ahead(delivered, effects);
        }
    }

    fn deliver(&mut self, now: Millis, effects: &mut Effects) -> bool {
        // What expires at this very moment may still go to a consumer that waits: a time to live of 0 means now or
        // never (<https://www.rabbitmq.com/docs/ttl>).
        self.expire_before(now, effects);
        let (mut taken, mut expired) = (0usize, SLICE);
        let mut times = Run::default();
        loop {
            self.consumers.begin();
            while self.live_front(now, &mut expired, effects) {
                let Some(offer) = self.consumers.offer() else {
                    break;
                };
                // Not before the first: it may be the only one that a consumer can take.
                if taken % AHEAD == 1 {
                    self.lanes.front_lane().fetch_ahead();
                }
                let Some(mut entry) = self.lanes.pop() else {
                    break;
                };
                taken += 1;
                if offer.no_ack {
                    effects.operations.extend(entry.settlement(self.id));
                    entry.stored = false;
                } else {
                    self.note_unacknowledged(&entry);
                }
                self.count_delivery(&entry, offer.no_ack);
                if !entry.redelivered
                    && let Some(run) = times.add(&entry, now)
                {
                    self.note_delivered(&run, now);
                }
                self.consumers.stage(&offer, entry);
            }
            let mut lost = Vec::new();
            let again = self.consumers.flush(&mut lost);
            for entry in lost {
                self.forget_unacknowledged(&entry);
                self.put_back(entry);
            }
            if !again {
                break;
            }
        }
        self.note_delivered(&times, now);
        taken > 0
    }

    /// Takes the first message for `basic.get`, and counts it as unacknowledged unless `no_ack`. `None` also when it
    /// lies on disk ([`Self::next_load`]).
    pub fn get(&mut self, no_ack: bool, now: Millis, effects: &mut Effects) -> Option<Entry> {
        self.end_delays(now, effects);
        self.expire(now, effects);
        let mut all = usize::MAX;
        self.live_front(now.saturating_add(1), &mut all, effects);
        let mut entry = self.lanes.pop()?;
        if no_ack {
            effects.operations.extend(entry.settlement(self.id));
            entry.stored = false;
        } else {
            self.note_unacknowledged(&entry);
        }
        self.count_get(&entry, no_ack);
        if !entry.redelivered {
            self.note_delivered(&Run::of(&entry, now), now);
        }
        Some(entry)
    }

    /// Settles deliveries for good: acknowledged, or rejected without a dead-letter exchange.
    pub fn settle<'a>(
        &mut self,
        entries: impl Iterator<Item = &'a Entry>,
        now: Millis,
        effects: &mut Effects,
    ) {
        let mut times = Run::default();
        for entry in entries {
            if let Some(run) = times.add(entry, now) {
                self.note_acknowledged(&run, now);
            }
            self.counters.add(Column::Ack, 1);
            self.forget_unacknowledged(entry);
            if !self.deleted {
                effects.operations.extend(entry.settlement(self.id));
            }
        }
        self.note_acknowledged(&times, now);
    }

    /// Settles a delivery that its consumer refused without requeueing it.
    pub fn reject(&mut self, entry: Entry, effects: &mut Effects) {
        self.forget_unacknowledged(&entry);
        if !self.deleted {
            self.bury(entry, DeadReason::Rejected, effects);
        }
    }

    /// Lets a delivery die that has left already: the store has the record, and its dead letters have places.
    pub fn die_recorded(&mut self, entry: &Entry, reason: DeadReason) {
        self.forget_unacknowledged(entry);
        if !self.deleted {
            self.count_death(reason);
        }
    }

    /// Brings deliveries back to their places, flagged as redelivered: at once, or when they have waited for their next
    /// try. Those that failed too often go for good. The caller makes room and dispatches.
    pub fn requeue(
        &mut self,
        entries: impl Iterator<Item = (Entry, Requeued)>,
        now: Millis,
        effects: &mut Effects,
    ) {
        for (mut entry, requeued) in entries {
            if self.deleted {
                self.forget_unacknowledged(&entry);
                continue;
            }
            entry.come_back(requeued);
            if self.limits.failed_too_often(&entry) {
                self.forget_unacknowledged(&entry);
                self.bury(entry, DeadReason::DeliveryLimit, effects);
                continue;
            }
            effects.operations.extend(entry.requeueing(self.id));
            self.requeue_recorded(entry, requeued, now);
        }
    }

    /// The same for one that has been flagged and counted, has not failed too often, and whose record the store has.
    pub fn requeue_recorded(&mut self, entry: Entry, requeued: Requeued, now: Millis) {
        self.forget_unacknowledged(&entry);
        match self.delayed_until(&entry, requeued, now) {
            Some(until) if !self.deleted => self.delay(entry, until),
            _ => self.put_back(entry),
        }
    }

    /// Gives deliveries back that no client has seen: neither the flag nor the count changes.
    pub fn undeliver(&mut self, entries: impl Iterator<Item = Entry>) {
        for entry in entries {
            self.forget_unacknowledged(&entry);
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
        !self.paused && self.ready_count() == 0 && self.consumers.can_take()
    }

    /// Drops all ready messages and says how many there were. Their memory goes to `garbage`, so that it is given back
    /// after the lock. `in_flight` says that messages of the queue are still on their way to a dead-letter exchange.
    pub fn purge(
        &mut self,
        in_flight: bool,
        effects: &mut Effects,
        garbage: &mut Garbage,
    ) -> usize {
        let count = self.ready_count();
        let elsewhere = Elsewhere {
            unacknowledged: self.unacknowledged > 0,
            in_flight,
        };
        self.lanes.purge(self.durable, elsewhere, effects, garbage);
        count
    }

    /// Ends the queue: its consumers hear of it, and the number of ready messages that went with it is returned. The
    /// consumers' connections are told while the caller holds the queue's lock, so that a consumer that is cancelled at
    /// the same time either prevents it or finds it in its outbox.
    pub fn delete(&mut self, effects: &mut Effects, garbage: &mut Garbage) -> usize {
        let count = self.ready_count();
        garbage.take_delayed(&mut self.delayed);
        self.lanes.clear(garbage);
        self.deleted = true;
        if self.durable {
            let lanes = self.lanes.ids();
            let deletions = lanes.map(|queue| Operation::DeleteQueue { queue });
            effects.operations.extend(deletions);
        }
        self.cancel_consumers();
        count
    }

    pub(super) fn cancel_consumers(&mut self) {
        for subscription in self.consumers.subscriptions() {
            let gone = Event::ConsumerCancelled(subscription.key);
            subscription.outbox.post(gone);
        }
        self.consumers.clear();
    }

    fn put_back(&mut self, entry: Entry) {
        if !self.deleted {
            self.expires |= entry.may_expire;
            self.lanes.change(entry.lane, |lane| lane.put_back(entry));
        }
    }

    pub(super) fn bury(&mut self, entry: Entry, reason: DeadReason, effects: &mut Effects) {
        self.count_death(reason);
        if self.limits.dead_letters() {
            effects.dead.push((entry, reason));
        } else {
            effects.operations.extend(entry.settlement(self.id));
        }
    }
}
