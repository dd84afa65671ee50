//! Queues: messages wait here in order until a consumer takes them.
//!
//! [`Queue`] is what the rest of the broker holds: the queue's name and properties, and its [`QueueState`] behind a
//! plain mutex. The lock is held for a batch of messages, never across I/O or an await; what the change asks for beyond
//! the queue itself goes into the caller's [`Work`].

pub mod arguments;
mod configuration;
pub mod consumers;
mod consuming;
mod counting;
pub mod credit;
mod dead_letters;
pub mod delayed;
mod delivered;
mod delivery_counts;
mod dying;
pub mod effects;
pub mod entry;
mod expirations;
mod expire;
mod expire_paged;
pub mod expiries;
mod idle;
pub mod incoming_bindings;
pub mod inspection;
mod intake;
pub mod lane;
pub mod lanes;
mod latency;
mod leaving;
pub mod limits;
mod loading;
mod occupied;
pub mod page;
pub mod page_in;
pub mod page_out;
mod pausing;
pub mod peek;
mod places;
pub mod priorities;
mod reserved;
mod row;
pub mod state;

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};

use amqp_codec::FieldTable;
use parking_lot::{Mutex, RwLock};

pub(crate) use self::peek::{LaneLength, SLICE};
pub use self::{
    arguments::QueueArguments,
    consumers::{Activity, ConsumerHandle, Subscription},
    consuming::Left,
    credit::ChannelCredit,
    dead_letters::UndeliverableCounts,
    delayed::DelayedCounts,
    delivery_counts::{DeliveryCounts, Requeued},
    effects::{Dead, DeadReason, Effects},
    entry::{Entry, Millis, NEVER},
    expiries::Expiries,
    incoming_bindings::{BindingKey, IncomingBindings},
    inspection::{InspectedConsumer, Inspection},
    intake::Run,
    lanes::{Place, Places},
    latency::{Quantiles, QueueTimes},
    page_out::Spilling,
    peek::{Peek, Peeked},
    priorities::Priorities,
    state::QueueState,
};
use self::{
    configuration::Configuration, dead_letters::DeadLetters, dying::Dying, idle::Idle,
    lane::Garbage, limits::Limits,
};
pub(crate) use self::{
    dead_letters::{Undeliverable, UndeliverableCounters},
    delivered::BCC,
};
use crate::{
    message::Message,
    paging::{Errand, Pager},
    policy::Matched,
    statistics::QueueStatistics,
    store::{MessageStore, Operation, QueueId, Ticket},
};

/// Identifies a connection for as long as the process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// What changes of queues have asked for and nobody has done yet. A connection reuses one for all its batches.
#[derive(Debug, Default)]
pub struct Work {
    effects: Effects,
    /// Queues that messages have left to be dead-lettered.
    pub dead: Vec<Arc<Queue>>,
    /// The last store batch that this work appended: durable when it is.
    pub ticket: Ticket,
    /// Room for the records of messages that enter several queues at once; empty between two uses.
    pub(crate) records: Vec<Operation>,
}

/// How a queue was declared.
#[derive(Debug, Clone)]
pub struct QueueProperties {
    /// The queue's name.
    pub name: Arc<str>,
    /// The vhost's name.
    pub vhost: Arc<str>,
    /// Survives a restart of the broker.
    pub durable: bool,
    /// Deleted when its last consumer is gone.
    pub auto_delete: bool,
    /// The only connection that may use it, and whose end is its end.
    pub exclusive_owner: Option<ConnectionId>,
    /// The arguments as they were given.
    pub table: FieldTable,
    /// The arguments as the broker understands them. What is in force is [`Queue::arguments`].
    pub arguments: Arc<QueueArguments>,
    /// The priorities that it orders its messages by, if it does.
    pub priorities: Option<Priorities>,
}

/// A queue of the broker.
pub struct Queue {
    /// The queue's identity in the store. Those of its lanes of higher priority follow it.
    pub id: QueueId,
    /// How it was declared.
    pub properties: QueueProperties,
    /// The bindings that end here, but for the implicit one from the default exchange.
    pub bindings: Mutex<IncomingBindings>,
    configuration: RwLock<Configuration>,
    state: Mutex<QueueState>,
    store: Arc<dyn MessageStore>,
    expiries: Arc<Expiries>,
    pager: Arc<Pager>,
    /// What its messages cost in memory, as the pager knows.
    resident: AtomicUsize,
    idle: Idle,
    dying: Dying,
    dead_letters: DeadLetters,
    /// The earliest moment for which `expiries` knows this queue.
    scheduled: AtomicU64,
    /// What has gone through it, over time.
    pub statistics: QueueStatistics,
    had_consumer: AtomicBool,
    exclusive_consumer: AtomicBool,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Queue").field(&self.properties.name).finish()
    }
}

/// Counts of one queue at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueCounts {
    /// Messages that wait for a consumer.
    pub ready: usize,
    /// Messages that were delivered and not yet settled.
    pub unacknowledged: usize,
    /// Bytes of their bodies.
    pub unacknowledged_bytes: usize,
    /// Consumers.
    pub consumers: usize,
    /// Bytes of the ready messages.
    pub ready_bytes: usize,
    /// Ready messages that lie on disk only.
    pub paged: usize,
    /// What the messages that are not with consumers cost in memory, in bytes.
    pub resident_bytes: usize,
    /// Messages that came back and wait for their next try. They are not among the ready ones.
    pub delayed: usize,
    /// Bytes of their bodies.
    pub delayed_bytes: usize,
}

impl QueueCounts {
    /// All messages of the queue.
    pub fn messages(&self) -> usize {
        self.ready + self.unacknowledged + self.delayed
    }

    /// Bytes of all their bodies.
    pub fn bytes(&self) -> usize {
        self.ready_bytes + self.unacknowledged_bytes + self.delayed_bytes
    }
}

impl Queue {
    /// An empty queue.
    pub fn new(
        id: QueueId,
        properties: QueueProperties,
        store: Arc<dyn MessageStore>,
        expiries: Arc<Expiries>,
        pager: Arc<Pager>,
    ) -> Arc<Self> {
        let limits = Limits::new(&properties.arguments);
        let idle = Idle::new(properties.arguments.expires_ms);
        let configuration = Configuration {
            matched: Matched::default(),
            arguments: Arc::clone(&properties.arguments),
        };
        let mut state = QueueState::new(
            id,
            properties.durable,
            properties.priorities,
            limits,
            pager.chunk(),
        );
        if properties.arguments.single_active_consumer {
            state.have_single_active_consumer();
        }
        state.set_delayed_retry(properties.arguments.delayed_retry());
        Arc::new(Self {
            id,
            state: Mutex::new(state),
            properties,
            bindings: Mutex::default(),
            configuration: RwLock::new(configuration),
            store,
            expiries,
            pager,
            resident: AtomicUsize::new(0),
            idle,
            dying: Dying::default(),
            dead_letters: DeadLetters::default(),
            scheduled: AtomicU64::new(NEVER),
            statistics: QueueStatistics::default(),
            had_consumer: AtomicBool::new(false),
            exclusive_consumer: AtomicBool::new(false),
        })
    }

    /// The queue's name.
    pub fn name(&self) -> &Arc<str> {
        &self.properties.name
    }

    /// How much is in it, and who consumes.
    pub fn counts(&self) -> QueueCounts {
        self.state.lock().counts()
    }

    /// Takes over at start what the store holds. Nothing is read before somebody wants it, or it may expire: then the
    /// reader threads look when.
    ///
    /// # Errors
    /// The store's.
    pub fn recover(self: &Arc<Self>) -> Result<usize, crate::Error> {
        let highest = self.properties.priorities.map_or(0, Priorities::highest);
        let mut count = 0;
        for lane in 0..=highest {
            count += self.recover_lane(lane)?;
        }
        if count == 0 {
            return Ok(0);
        }
        let mut state = self.state.lock();
        state.delay_recovered();
        // The broker may have ended after a message came in and before another one made room for it.
        let looks = state.limits.length_limited() || state.unscanned().is_some();
        let alarm = match looks || state.delayed.is_some() {
            true => Some(0),
            false => state.next_expiry(),
        };
        drop(state);
        self.statistics.begin_with(self.statistics_counts());
        self.statistics.note(self);
        if let Some(at) = alarm {
            self.schedule(at);
        }
        Ok(count)
    }

    fn recover_lane(&self, lane: u8) -> Result<usize, crate::Error> {
        let id = self.id.lane(lane);
        let last = self.store.last_position(id);
        let backlog = self.store.backlog(id)?;
        let mut state = self.state.lock();
        state.begin_behind(lane, last);
        let Some(backlog) = backlog else {
            return Ok(0);
        };
        state.recover(lane, &backlog);
        Ok(backlog.count)
    }

    /// What the store may know its messages by: its own id and those of its lanes.
    pub(crate) fn ids(&self) -> impl Iterator<Item = QueueId> + use<> {
        let (id, priorities) = (self.id, self.properties.priorities);
        (0..=priorities.map_or(0, Priorities::highest)).map(move |lane| id.lane(lane))
    }

    /// Puts messages at the end and hands on what consumers can take. The indices of messages that a full queue
    /// refused go to `refused`.
    pub fn publish(
        self: &Arc<Self>,
        messages: impl Iterator<Item = Message>,
        now: Millis,
        work: &mut Work,
        refused: &mut Vec<usize>,
    ) {
        self.change(now, work, |state, effects| {
            state.publish(messages, now, effects, refused);
        });
        self.make_room(now, work);
    }

    /// Puts a message in only if a consumer takes it at once; says whether one did.
    pub fn publish_immediate(
        self: &Arc<Self>,
        message: Message,
        now: Millis,
        work: &mut Work,
    ) -> bool {
        self.change(now, work, |state, effects| {
            let delivers = state.delivers_at_once();
            if delivers {
                state.publish(std::iter::once(message), now, effects, &mut Vec::new());
            }
            delivers
        })
    }

    /// Whether the queue would refuse this many messages with this many bytes of body between them, were they published
    /// now.
    pub fn refuses(&self, count: usize, bytes: usize) -> bool {
        self.state.lock().refuses(count, bytes)
    }

    /// Settles deliveries of one consumer (none for `basic.get`) for good.
    pub fn settle<'a>(
        self: &Arc<Self>,
        consumer: Option<ConsumerHandle>,
        entries: impl ExactSizeIterator<Item = &'a Entry>,
        now: Millis,
        work: &mut Work,
    ) {
        self.change(now, work, |state, effects| {
            let count = entries.len() as u32;
            state.settle(entries, now, effects);
            give_back_credit(state, consumer, count, now, effects);
        });
    }

    /// The same for one delivery without a record: that went to the store in a batch of its own (`tx.commit`).
    pub(crate) fn settle_recorded(
        self: &Arc<Self>,
        consumer: Option<ConsumerHandle>,
        entry: Entry,
        now: Millis,
        work: &mut Work,
    ) {
        let recorded = Entry {
            stored: false,
            ..entry
        };
        self.settle(consumer, std::iter::once(&recorded), now, work);
    }

    /// Settles deliveries that were refused without requeueing: dead-lettered where the queue says so.
    pub fn reject(
        self: &Arc<Self>,
        consumer: Option<ConsumerHandle>,
        entries: impl ExactSizeIterator<Item = Entry>,
        now: Millis,
        work: &mut Work,
    ) {
        self.change(now, work, |state, effects| {
            let count = entries.len() as u32;
            for entry in entries {
                state.reject(entry, effects);
            }
            give_back_credit(state, consumer, count, now, effects);
        });
    }

    /// Lets a delivery die, when the store has the record already and its dead letters have places.
    pub(crate) fn die_recorded(
        self: &Arc<Self>,
        consumer: Option<ConsumerHandle>,
        entry: &Entry,
        reason: DeadReason,
        now: Millis,
        work: &mut Work,
    ) {
        self.change(now, work, |state, effects| {
            state.die_recorded(entry, reason);
            give_back_credit(state, consumer, 1, now, effects);
        });
    }

    /// Whether a delivery that has [come back](Entry::come_back) has to go for good.
    pub(crate) fn failed_too_often(&self, entry: &Entry) -> bool {
        self.state.lock().limits.failed_too_often(entry)
    }

    /// Brings a delivery that has [come back](Entry::come_back) to its place, when the store has the record already.
    pub(crate) fn requeue_recorded(
        self: &Arc<Self>,
        consumer: Option<ConsumerHandle>,
        entry: Entry,
        requeued: Requeued,
        now: Millis,
        work: &mut Work,
    ) {
        self.change(now, work, |state, effects| {
            state.requeue_recorded(entry, requeued, now);
            state.drop_excess(effects);
            give_back_credit(state, consumer, 1, now, effects);
        });
        self.make_room(now, work);
    }

    /// Brings deliveries back to their places: those that a client may have seen flagged as redelivered and counted, those
    /// that never reached one as they were. `credit` names the consumers that had them. All in one step, so that other consumers
    /// see them in order.
    pub fn requeue(
        self: &Arc<Self>,
        credit: &[(ConsumerHandle, u32)],
        seen: impl Iterator<Item = (Entry, Requeued)>,
        unseen: impl Iterator<Item = Entry>,
        now: Millis,
        work: &mut Work,
    ) {
        self.change(now, work, |state, effects| {
            state.requeue(seen, now, effects);
            state.undeliver(unseen);
            state.drop_excess(effects);
            for &(consumer, count) in credit {
                state.release(consumer, count);
            }
            state.dispatch(now, effects);
        });
        self.make_room(now, work);
    }

    /// Looks for consumers that can take ready messages. `revived` has got credit or room since it was passed over.
    pub fn dispatch(
        self: &Arc<Self>,
        revived: Option<ConsumerHandle>,
        now: Millis,
        work: &mut Work,
    ) {
        self.change(now, work, |state, effects| {
            if let Some(consumer) = revived {
                state.release(consumer, 0);
            }
            state.dispatch(now, effects);
        });
    }

    /// Drops all messages but those with consumers; says how many.
    pub fn purge(self: &Arc<Self>, now: Millis, work: &mut Work) -> usize {
        let mut garbage = Garbage::default();
        let mut delayed = Vec::new();
        self.expire_all(now, work);
        self.change(now, work, |state, effects| {
            state.end_delays(now, effects);
            state.expire(now, effects);
            let in_flight = !effects.dead.is_empty() || self.dying.last_ticket().is_none();
            delayed = state.purge_delayed(effects);
            delayed.len() + state.purge(in_flight, effects, &mut garbage)
        })
    }

    /// Ends the queue; says how many ready messages went with it. To be called by the
    /// vhost, which takes it out of its registry.
    pub(crate) fn delete(
        self: &Arc<Self>,
        check: impl FnOnce(&QueueCounts) -> Result<(), crate::Error>,
        work: &mut Work,
    ) -> Result<usize, crate::Error> {
        let mut garbage = Garbage::default();
        let count = self.change(0, work, |state, effects| {
            check(&state.counts())?;
            Ok::<_, crate::Error>(state.delete(effects, &mut garbage))
        })?;
        self.end_statistics();
        Ok(count)
    }

    /// Ends the queue if [`Self::delete`] has not: its definition was deleted by somebody else.
    pub(crate) fn end(self: &Arc<Self>) {
        let ended = self.state.lock().is_deleted();
        if !ended {
            // Nothing to be carried out comes of a deletion that is not refused.
            drop(self.delete(|_| Ok(()), &mut Work::default()));
        }
    }

    /// Changes the state under the lock, appends the records to the store before the lock is released, and passes the
    /// other effects on.
    fn change<R>(
        self: &Arc<Self>,
        now: Millis,
        work: &mut Work,
        change: impl FnOnce(&mut QueueState, &mut Effects) -> R,
    ) -> R {
        let mut state = self.state.lock();
        let result = change(&mut state, &mut work.effects);
        if !work.effects.operations.is_empty() {
            let ticket = self.store.append(&mut work.effects.operations);
            state.note_settled(ticket);
            work.ticket = work.ticket.max(ticket);
        }
        // What goes in slices goes on at once, after whoever waits for the lock.
        let expiry = match state.is_overlong() {
            true => Some(0),
            false => state.next_expiry(),
        };
        let over = self.account(&mut state, &mut work.effects);
        let died = !work.effects.dead.is_empty();
        if died {
            self.dying.push(&mut work.effects.dead);
        }
        drop(state);
        self.statistics.note(self);
        work.effects.forgotten.clear();
        work.effects.forgotten.shrink_to(KEPT_FORGOTTEN);
        if let Some(entries) = work.effects.spill.take() {
            self.write_to_spill(&entries);
        }
        if over {
            self.pager.relieve();
        }
        for lane in work.effects.loads.drain(..) {
            self.pager.request(self, Errand::Load(lane), now);
        }
        for lane in work.effects.read_expired.drain(..) {
            self.pager.request(self, Errand::ReadExpired(lane), now);
        }
        if std::mem::take(&mut work.effects.scan) {
            self.pager.request(self, Errand::Scan, now);
        }
        if died && !work.dead.last().is_some_and(|it| Arc::ptr_eq(it, self)) {
            work.dead.push(Arc::clone(self));
        }
        if let Some(at) = expiry {
            self.schedule(at);
        }
        result
    }

    fn schedule(self: &Arc<Self>, at: Millis) {
        if self.scheduled.fetch_min(at, Ordering::AcqRel) > at {
            self.expiries.schedule(at, Arc::downgrade(self));
        }
    }
}

/// Room for forgotten messages that a connection keeps.
const KEPT_FORGOTTEN: usize = 64;

fn give_back_credit(
    state: &mut QueueState,
    consumer: Option<ConsumerHandle>,
    count: u32,
    now: Millis,
    effects: &mut Effects,
) {
    if let Some(consumer) = consumer {
        state.release(consumer, count);
    }
    state.dispatch(now, effects);
}

#[cfg(test)]
mod paging_tests;
#[cfg(test)]
mod tests;
