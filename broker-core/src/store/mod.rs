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
mod sled_store;

use std::sync::Arc;

pub use self::{
    commit::Sync as SyncWhen, memory::MemoryStore, sled_database::SledDatabase,
    sled_store::SledStore,
};
pub(crate) use self::{
    commit::{GroupCommit, Sink},
    sequence::Sequence,
    sled_database::failed,
};
use crate::{error::Error, message::Message};

/// Identifies a durable queue in the store. Never reused, so that what a deleted queue left behind cannot appear in a
/// later queue of the same name.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub struct QueueId(pub u64);

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
        /// The message, shared with the queue in memory.
        message: Message,
    },
    /// The message left the queue for good: acknowledged, expired, dropped or dead-lettered.
    Settle {
        /// The queue that held it.
        queue: QueueId,
        /// Its place.
        position: Position,
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

/// Told when a ticket that it waits for is durable. Called on the store's writer thread (or at once on the caller's, if
/// the ticket was durable already), so it must be short and must not call back into the store.
pub trait Completion: Send + Sync {
    /// Everything up to and including `ticket` is on disk.
    fn durable(&self, ticket: Ticket);
}

/// A store of messages. All methods may be called from any thread and none of them waits for the disk, except
/// [`recover`](Self::recover) and [`close`](Self::close).
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

    /// Gives every message of `queue` that is in the store, in the order of positions. Called at start, before
    /// anything is appended.
    ///
    /// # Errors
    /// The store cannot be read or holds something that this version did not write.
    fn recover(&self, queue: QueueId, each: &mut dyn FnMut(Position, Message))
    -> Result<(), Error>;

    /// The queues that the store holds messages of; those without a definition are deleted at start.
    ///
    /// # Errors
    /// The store cannot be read.
    fn queues(&self) -> Result<Vec<QueueId>, Error>;

    /// Bytes of the operations that were appended and not yet written: what a publisher's backpressure looks at.
    fn pending_bytes(&self) -> usize;

    /// Makes everything appended so far durable, then stops the writer. Later appends are refused: their operations
    /// are dropped and their ticket is [`Ticket::NEVER`].
    fn close(&self);
}
