//! The message store on sled: simple, for small brokers, with one key for each message.
//!
//! Appends gather in front of one writer thread, which makes one atomic `sled::Batch` of all that is there, syncs it
//! and tells those who wait. Groups that only settle are written without a sync of their own: after a power cut such a
//! message may be delivered again, which the protocol allows. A long purge or a deletion is atomic too and is cleared
//! up in small steps afterwards. Keys and values: `sled_group.rs`, reading them: `sled_reader.rs`.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;

use super::{
    Applied, Backlog, Completion, Durability, FailureHook, GroupCommit, MessageStore, Operation,
    Position, QueueId, Sink, SledDatabase, StoredMessage, SyncWhen, Ticket,
    sled_database::{Writes, failed},
    sled_group::{Group, PIECE, Pieces, Sweeps, key, parse_key, unfinished_sweeps},
    sled_reader::Reader,
    sled_room::{Room, weight},
};
use crate::error::Error;

/// The key in the tree `state` that tells of a proper close. It is there from the close to the next open.
const CLOSED: &str = "messages closed";

/// A [`MessageStore`] in the tree `messages` of a [`SledDatabase`].
pub struct SledStore {
    database: SledDatabase,
    tree: sled::Tree,
    shared: Arc<Shared>,
    /// Whether the store was not closed properly before it was opened.
    unclean: bool,
    /// The last ticket that was given out.
    appended: AtomicU64,
    commit: GroupCommit<Operation>,
}

/// What the writer thread and those who read share.
#[derive(Default)]
struct Shared {
    pieces: Mutex<Pieces>,
    sweeps: Mutex<Sweeps>,
    places: Mutex<HashMap<QueueId, Places>>,
    room: Mutex<Room>,
}

/// How far things are in one queue.
#[derive(Default)]
struct Places {
    /// The last message that was there when the store was opened, if any was.
    recovered: Option<Position>,
    /// The last message that was written since then.
    written: Position,
}

impl SledStore {
    /// Opens the store and starts the writer thread, which finishes the purges and deletions that the last end
    /// interrupted as soon as there is room, and calls `on_failure` should the disk fail.
    ///
    /// # Errors
    /// The database cannot be read or written, or no thread can be started.
    pub fn open(database: &SledDatabase, on_failure: FailureHook) -> Result<Self, Error> {
        let tree = database.tree("messages")?;
        let shared = Arc::<Shared>::default();
        let sweeps = unfinished_sweeps(&tree)?;
        if !sweeps.is_empty() {
            // Nobody has looked at what they are to remove.
            shared.room.lock().note(PIECE);
        }
        *shared.sweeps.lock() = sweeps;
        let unclean = !take_mark(database)?;
        let writer = Writer {
            database: database.clone(),
            tree: tree.clone(),
            shared: Arc::clone(&shared),
        };
        let commit = GroupCommit::start("message-store", Durability::Sync, writer, on_failure)?;
        Ok(Self {
            database: database.clone(),
            tree,
            shared,
            unclean,
            appended: AtomicU64::new(0),
            commit,
        })
    }

    /// Notes that everything was written and that nobody was told less than that.
    fn leave_mark(&self) -> Result<(), Error> {
        if let Some(why) = self.database.make_room(Writes::default())? {
            return Err(Error::Internal(why));
        }
        let state = self.database.tree("state")?;
        state
            .insert(CLOSED, &[])
            .map_err(|error| failed("write", &error))?;
        self.database.sync()
    }
}

/// Takes the mark of a proper close away, before anything else is written. Says whether it was there.
fn take_mark(database: &SledDatabase) -> Result<bool, Error> {
    let state = database.tree("state")?;
    let mark = state
        .remove(CLOSED)
        .map_err(|error| failed("write", &error))?;
    if mark.is_some() {
        database.sync()?;
    }
    Ok(mark.is_some())
}

impl SledStore {
    /// Whether there are messages in `database`, without opening a store on it.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn holds_messages(database: &SledDatabase) -> Result<bool, Error> {
        let tree = database.tree("messages")?;
        let queues = queues_in(&tree, &unfinished_sweeps(&tree)?)?;
        Ok(!queues.is_empty())
    }
}

/// The queues that have messages which no sweep has settled. Seeks from queue to queue instead of walking the messages.
fn queues_in(tree: &sled::Tree, sweeps: &Sweeps) -> Result<Vec<QueueId>, Error> {
    let mut queues = Vec::new();
    let mut next = QueueId(0);
    while let Some(queue) = next_queue(tree, next)? {
        if Reader::new(tree, queue, 0, Position::MAX, sweeps).holds_any()? {
            queues.push(queue);
        }
        next = QueueId(queue.0.saturating_add(1));
    }
    Ok(queues)
}

/// The first queue from `from` on that has keys.
fn next_queue(tree: &sled::Tree, from: QueueId) -> Result<Option<QueueId>, Error> {
    let Some(found) = tree.range(key(from, 0)..).keys().next() else {
        return Ok(None);
    };
    let found = found.map_err(|error| failed("read", &error))?;
    Ok(parse_key(&found).map(|(queue, ..)| queue))
}

/// The writer thread's side.
struct Writer {
    database: SledDatabase,
    tree: sled::Tree,
    shared: Arc<Shared>,
}

impl Sink<Operation> for Writer {
    fn apply(&mut self, operations: &mut Vec<Operation>) -> Result<Applied, Error> {
        let writes = self.shared.writes(operations);
        if let Some(why) = self.database.make_room(writes)? {
            return Ok(Applied::NoRoom(why));
        }
        let mut group = Group::default();
        let mut written: HashMap<QueueId, Option<Position>> = HashMap::new();
        for operation in operations.drain(..) {
            match operation {
                Operation::Enqueue {
                    queue, position, ..
                } => {
                    let last = written.entry(queue).or_default();
                    *last = (*last).max(Some(position));
                }
                Operation::DeleteQueue { queue } => {
                    written.insert(queue, None);
                }
                _ => {}
            }
            group.add(operation);
        }
        // Held until the keys are there and the sweeps known: whoever reads sees both or neither.
        let mut sweeps = self.shared.sweeps.lock();
        let batch = group.into_batch(&self.tree, &mut self.shared.pieces.lock(), &mut sweeps)?;
        self.tree
            .apply_batch(batch)
            .map_err(|error| failed("write", &error))?;
        drop(sweeps);
        self.shared.advance(written);
        Ok(Applied::Done)
    }

    fn sync(&mut self) -> Result<(), Error> {
        self.database.sync()
    }

    fn tidy(&mut self) -> Result<bool, Error> {
        let next = self.shared.sweeps.lock().front().copied();
        let writes = self.shared.room.lock().swept();
        if next.is_some() && self.database.make_room(writes)?.is_some() {
            // It goes on with the next group, which waits for room.
            return Ok(false);
        }
        if let Some(sweep) = next
            && sweep.step(&self.tree)?
        {
            self.shared.sweeps.lock().pop_front();
        }
        Ok(!self.shared.sweeps.lock().is_empty())
    }
}

impl Shared {
    /// What sled may write for a group.
    fn writes(&self, group: &[Operation]) -> Writes {
        let pieces = self.pieces.lock();
        self.room.lock().writes(group, &pieces)
    }

    /// Notes the last places that were written; `None` for a queue that was deleted.
    fn advance(&self, written: HashMap<QueueId, Option<Position>>) {
        let mut places = self.places.lock();
        for (queue, last) in written {
            match last {
                Some(last) => {
                    let place = places.entry(queue).or_default();
                    place.written = place.written.max(last);
                }
                None => drop(places.remove(&queue)),
            }
        }
    }
}

impl MessageStore for SledStore {
    fn append(&self, batch: &mut Vec<Operation>) -> Ticket {
        if batch.is_empty() {
            return Ticket::NONE;
        }
        let bytes = batch.iter().map(weight).sum();
        let enqueues = |operation: &Operation| matches!(operation, Operation::Enqueue { .. });
        let sync = match batch.iter().any(enqueues) {
            true => SyncWhen::Soon,
            false => SyncWhen::WhenAwaited,
        };
        let ticket = self.commit.append(batch, bytes, sync);
        if ticket != Ticket::NEVER {
            self.appended.fetch_max(ticket.0, Ordering::AcqRel);
        }
        ticket
    }

    fn durable(&self) -> Ticket {
        self.commit.durable()
    }

    fn notify(&self, ticket: Ticket, completion: Arc<dyn Completion>) {
        self.commit.notify(ticket, completion);
    }

    fn backlog(&self, queue: QueueId) -> Result<Option<Backlog>, Error> {
        let mut backlog: Option<Backlog> = None;
        let sweeps = self.shared.sweeps.lock().clone();
        let mut pieces = self.shared.pieces.lock();
        let mut reader = Reader::new(&self.tree, queue, 0, Position::MAX, &sweeps);
        while let Some((stored, further)) = reader.next()? {
            self.shared.room.lock().note(stored.message.size());
            if further.pieces > 0 || further.counted {
                pieces.insert((queue, stored.position), further);
            }
            let backlog = backlog.get_or_insert(Backlog {
                first: stored.position,
                last: stored.position,
                count: 0,
                bytes: 0,
                oldest: stored.enqueued_at,
                may_expire: false,
            });
            backlog.last = stored.position;
            backlog.count += 1;
            backlog.bytes += stored.message.body_length();
            backlog.oldest = backlog.oldest.min(stored.enqueued_at);
            backlog.may_expire |= stored.message.may_expire();
        }
        if let Some(backlog) = backlog {
            let place = Places {
                recovered: Some(backlog.last),
                written: backlog.last,
            };
            self.shared.places.lock().insert(queue, place);
        }
        Ok(backlog)
    }

    fn read(
        &self,
        queue: QueueId,
        from: Position,
        to: Position,
        max_bytes: usize,
        each: &mut dyn FnMut(StoredMessage),
    ) -> Result<(), Error> {
        let recovered = match self.unclean {
            true => self
                .shared
                .places
                .lock()
                .get(&queue)
                .and_then(|p| p.recovered),
            false => None,
        };
        let sweeps = self.shared.sweeps.lock().clone();
        let mut reader = Reader::new(&self.tree, queue, from, to, &sweeps);
        let mut room = max_bytes;
        while let Some((mut stored, _)) = reader.next()? {
            let position = stored.position;
            stored.redelivered |= recovered.is_some_and(|last| position <= last);
            room = room.saturating_sub(stored.message.size());
            each(stored);
            if room == 0 {
                break;
            }
        }
        Ok(())
    }

    fn readable(&self, queue: QueueId) -> Position {
        let places = self.shared.places.lock();
        places.get(&queue).map_or(0, |place| place.written)
    }

    fn queues(&self) -> Result<Vec<QueueId>, Error> {
        let sweeps = self.shared.sweeps.lock().clone();
        queues_in(&self.tree, &sweeps)
    }

    /// A queue goes on behind what is still being removed from it. (A deletion has no end, and its id is not used again.)
    fn last_position(&self, queue: QueueId) -> Position {
        let sweeps = self.shared.sweeps.lock();
        let ends = sweeps.iter().filter_map(|sweep| sweep.end_in(queue));
        ends.filter(|end| *end != Position::MAX).max().unwrap_or(0)
    }

    fn pending_bytes(&self) -> usize {
        self.commit.pending_bytes()
    }

    fn blocked(&self) -> Option<String> {
        self.commit.blocked()
    }

    fn close(&self) {
        self.commit.close();
        // A writer that failed has not written all of it.
        let whole = self.commit.durable().0 >= self.appended.load(Ordering::Acquire);
        if whole && let Err(error) = self.leave_mark() {
            tracing::warn!("the store was not closed properly: {error}");
        }
    }
}
