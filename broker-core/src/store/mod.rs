//! Where persistent messages and their settlements go: a trait that speaks in atomic batches.
//!
//! A queue appends what happened to it while it holds its own lock, so the store sees the operations of one queue in
//! their order, and gets a [`Ticket`]. Whoever promised something (a publisher confirm, a `tx.commit-ok`) waits for
//! that ticket: tickets complete strictly in order, once everything up to them is on disk. A confirm is always the
//! asynchronous completion of an append, never the return of a call.

mod commit;
mod memory;
mod record;
mod sequence;
mod sled_database;
mod sled_group;
mod sled_reader;
mod sled_room;
mod sled_store;

use std::{path::Path, sync::Arc};

pub(crate) use self::{
    commit::{Applied, GroupCommit, Sink},
    sequence::Sequence,
    sled_database::{Writes, failed},
};
pub use self::{
    commit::{Durability, Sync as SyncWhen},
    memory::MemoryStore,
    sled_database::SledDatabase,
    sled_store::SledStore,
};
use crate::{
    error::Error, journal::statistics::JournalStatistics, message::Message, queue::Millis,
};

/// Identifies a durable queue in the store. Never reused, so that what a deleted queue left behind cannot appear in a
/// later queue of the same name.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub struct QueueId(pub u64);

impl QueueId {
    /// The id of one of the queue's lanes: they are streams of their own here, and their ids follow each other.
    #[must_use]
    pub fn lane(self, number: u8) -> Self {
        Self(self.0.saturating_add(number.into()))
    }
}

/// A message's place in its queue: positions grow in publishing order and are never reused within a queue. (After a
/// restart a queue goes on behind the last position that it recovered.)
pub type Position = u64;

/// Names a point in the sequence of appended batches. [`Ticket::NONE`] is durable from the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Ticket(pub u64);

impl Ticket {
    /// Nothing was appended, so there is nothing to wait for.
    pub const NONE: Self = Self(0);
    /// Was refused by a store that is closed or has failed: never becomes durable, so nothing is promised for it.
    pub const NEVER: Self = Self(u64::MAX);
}

/// Called once, on a writer thread, when writing or syncing failed. Nothing is retried and no ticket completes after
/// it, so all that is left is to stop the broker.
pub type FailureHook = Box<dyn Fn(Error) + Send + Sync>;

/// One thing that happened to a durable queue.
#[derive(Debug, Clone)]
pub enum Operation {
    /// A persistent message took this place in the queue.
    Enqueue {
        /// The queue that holds it.
        queue: QueueId,
        /// Its place.
        position: Position,
        /// When it entered: its time to live counts from here, also after a restart.
        enqueued_at: Millis,
        /// The message, shared with the queue in memory.
        message: Message,
    },
    /// The message left the queue for good: acknowledged, expired, dropped or dead-lettered.
    Settle {
        /// The queue that held it.
        queue: QueueId,
        /// Its place.
        position: Position,
        /// [`Message::size`], so that a store can estimate what is alive without looking the message up.
        bytes: u32,
    },
    /// A delivery of the message came back: from now on it is flagged as redelivered. Needs no sync, as after an
    /// unclean stop everything is flagged.
    Requeue {
        /// The queue that holds it.
        queue: QueueId,
        /// Its place.
        position: Position,
        /// How often it has come back by now ([`DeliveryCounts::bits`](crate::queue::DeliveryCounts::bits)).
        delivery_count: u32,
    },
    /// Every message from `from` to `to`, both included, left the queue: a purge, whatever the length.
    SettleRange {
        /// The queue that held them.
        queue: QueueId,
        /// The first place.
        from: Position,
        /// The last place.
        to: Position,
    },
    /// The queue is gone with all that is in it.
    DeleteQueue {
        /// The deleted queue.
        queue: QueueId,
    },
}

/// What the store holds of one queue at start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// The place of the first message.
    pub first: Position,
    /// The place of the last message.
    pub last: Position,
    /// How many messages there are.
    pub count: usize,
    /// Bytes of their bodies. May be an estimate.
    pub bytes: usize,
    /// When the oldest of them entered, or an earlier moment.
    pub oldest: Millis,
    /// Whether some message may have an expiration of its own.
    pub may_expire: bool,
}

/// A message as the store gives it back.
#[derive(Debug, Clone)]
pub struct StoredMessage {
    /// Its place in the queue.
    pub position: Position,
    /// The message.
    pub message: Message,
    /// When it entered the queue.
    pub enqueued_at: Millis,
    /// How often a delivery of it came back ([`DeliveryCounts::bits`](crate::queue::DeliveryCounts::bits)).
    pub delivery_count: u32,
    /// Whether a client may have seen it: a delivery of it came back, or the store was not closed properly since it
    /// entered (RabbitMQ's classic queues flag such messages too).
    pub redelivered: bool,
}

/// Told when a ticket that it waits for is durable. Called on the store's writer thread (or at once on the caller's, if
/// the ticket was durable already), so it must be short and must not call back into the store.
pub trait Completion: Send + Sync {
    /// Everything up to and including `ticket` is on disk.
    fn durable(&self, ticket: Ticket);
}

/// A store of messages. All methods may be called from any thread and none of them waits for the disk, except
/// [`backlog`](Self::backlog), [`read`](Self::read), [`queues`](Self::queues) and [`close`](Self::close).
pub trait MessageStore: Send + Sync {
    /// Takes all operations out of `batch` (its allocation stays with the caller) as one atomic unit: after a crash
    /// either all of them happened or none did. An empty batch gives [`Ticket::NONE`].
    fn append(&self, batch: &mut Vec<Operation>) -> Ticket;

    /// The last durable ticket.
    fn durable(&self) -> Ticket;

    /// Calls `completion` once `ticket` is durable. Completions are called in the order of their tickets. Settlements
    /// alone are not synced by themselves, so asking for their ticket is also what makes it durable.
    /// [`Ticket::NEVER`] is never durable: its completion is dropped uncalled.
    fn notify(&self, ticket: Ticket, completion: Arc<dyn Completion>);

    /// What the store holds of `queue`, `None` when that is nothing. Called at start, before anything is appended.
    ///
    /// # Errors
    /// The store cannot be read or holds something that this version did not write.
    fn backlog(&self, queue: QueueId) -> Result<Option<Backlog>, Error>;

    /// The last place of `queue` of which the store still remembers anything, be it that the message is gone. Called at
    /// start: what comes next goes behind it, or old records would be taken for its own.
    fn last_position(&self, _queue: QueueId) -> Position {
        0
    }

    /// Gives the live messages of `queue` from place `from` to `to`, both included, in the order of positions, until
    /// they have `max_bytes` ([`Message::size`]) between them; at least one if there is one. Called at any time, but
    /// never under a queue's lock: it reads the disk. What lies beyond [`readable`](Self::readable) may be missing.
    ///
    /// # Errors
    /// The store cannot be read, or what it holds is damaged: the text names the place. Messages before it were given.
    fn read(
        &self,
        queue: QueueId,
        from: Position,
        to: Position,
        max_bytes: usize,
        each: &mut dyn FnMut(StoredMessage),
    ) -> Result<(), Error>;

    /// The last place of `queue` up to which [`read`](Self::read) sees everything that was appended: so far a queue may
    /// forget its stored messages and read them back later. 0 when it may forget none.
    fn readable(&self, _queue: QueueId) -> Position {
        0
    }

    /// The queues that the store holds messages of; those without a definition are deleted at start.
    ///
    /// # Errors
    /// The store cannot be read.
    fn queues(&self) -> Result<Vec<QueueId>, Error>;

    /// Bytes of the operations that were appended and not yet written: what a publisher's backpressure looks at.
    fn pending_bytes(&self) -> usize;

    /// Says why nothing can be written at the moment (a full disk), if so. Publishers are blocked as long as it lasts.
    fn blocked(&self) -> Option<String> {
        None
    }

    /// What the store does, if it counts that.
    fn statistics(&self) -> Option<JournalStatistics> {
        None
    }

    /// Copies all it keeps to `directory`, which must not exist yet, as it was at one moment while this ran: whatever was
    /// durable before is in it. The store goes on meanwhile. Waits for the disk.
    ///
    /// # Errors
    /// It cannot be written, or this store cannot be copied while it is open.
    fn copy_to(&self, _directory: &Path) -> Result<(), Error> {
        let text = "messages are kept by a store that cannot be copied while the broker runs; stop the broker first";
        Err(Error::Internal(text.to_owned()))
    }

    /// Makes everything appended so far durable, then stops the writer. Later appends are refused: their operations
    /// are dropped and their ticket is [`Ticket::NEVER`].
    fn close(&self);
}
