//! The message store on sled: simple, for small brokers, with one key for each message.
//!
//! Appends gather in front of one writer thread, which makes one atomic `sled::Batch` of all that is there, syncs it
//! and tells those who wait. Groups that only settle are written without a sync of their own: after a power cut such a
//! message may be delivered again, which the protocol allows. A long purge or a deletion is atomic too and is cleared
//! up in small steps afterwards. Keys and values: `sled_group.rs`.

use std::{collections::VecDeque, sync::Arc};

use parking_lot::Mutex;

use super::{
    Completion, FailureHook, GroupCommit, MessageStore, Operation, Position, QueueId, Sink,
    SledDatabase, SyncWhen, Ticket, record,
    sled_database::failed,
    sled_group::{Group, Pieces, Sweep, key, parse_key, unfinished_sweeps},
};
use crate::{error::Error, message::Message};

/// Reckoned for each operation on top of its message, when pending bytes are counted.
const OPERATION_BYTES: usize = 48;

/// A [`MessageStore`] in the tree `messages` of a [`SledDatabase`].
pub struct SledStore {
    tree: sled::Tree,
    pieces: Arc<Mutex<Pieces>>,
    commit: GroupCommit<Operation>,
}

impl SledStore {
    /// Opens the store, finishes the purges and deletions that a crash interrupted, and starts the writer thread,
    /// which calls `on_failure` should the disk fail.
    ///
    /// # Errors
    /// The database cannot be read or written, or no thread can be started.
    pub fn open(database: &SledDatabase, on_failure: FailureHook) -> Result<Self, Error> {
        let tree = database.tree("messages")?;
        for sweep in unfinished_sweeps(&tree)? {
            while !sweep.step(&tree)? {}
        }
        let pieces = Arc::default();
        let writer = Writer {
            database: database.clone(),
            tree: tree.clone(),
            pieces: Arc::clone(&pieces),
            sweeps: VecDeque::new(),
        };
        let commit = GroupCommit::start("message-store", writer, on_failure)?;
        Ok(Self {
            tree,
            pieces,
            commit,
        })
    }
}

/// The writer thread's side.
struct Writer {
    database: SledDatabase,
    tree: sled::Tree,
    pieces: Arc<Mutex<Pieces>>,
    sweeps: VecDeque<Sweep>,
}

impl Sink<Operation> for Writer {
    fn apply(&mut self, operations: &mut Vec<Operation>) -> Result<(), Error> {
        let mut group = Group::default();
        for operation in operations.drain(..) {
            group.add(operation);
        }
        let batch = group.into_batch(&self.tree, &mut self.pieces.lock(), &mut self.sweeps)?;
        self.tree
            .apply_batch(batch)
            .map_err(|error| failed("write", &error))
    }

    fn sync(&mut self) -> Result<(), Error> {
        self.database.sync()
    }

    fn tidy(&mut self) -> Result<bool, Error> {
        if let Some(sweep) = self.sweeps.front()
            && sweep.step(&self.tree)?
        {
            self.sweeps.pop_front();
        }
        Ok(!self.sweeps.is_empty())
    }
}

impl MessageStore for SledStore {
    fn append(&self, batch: &mut Vec<Operation>) -> Ticket {
        if batch.is_empty() {
            return Ticket::NONE;
        }
        let mut bytes = batch.len() * OPERATION_BYTES;
        let mut sync = SyncWhen::WhenAwaited;
        for operation in batch.iter() {
            if let Operation::Enqueue { message, .. } = operation {
                bytes += message.size();
                sync = SyncWhen::Soon;
            }
        }
        self.commit.append(batch, bytes, sync)
    }

    fn durable(&self) -> Ticket {
        self.commit.durable()
    }

    fn notify(&self, ticket: Ticket, completion: Arc<dyn Completion>) {
        self.commit.notify(ticket, completion);
    }

    fn recover(
        &self,
        queue: QueueId,
        each: &mut dyn FnMut(Position, Message),
    ) -> Result<(), Error> {
        let mut reader = Reader::new(queue, &self.pieces);
        for pair in self.tree.scan_prefix(queue.0.to_be_bytes()) {
            let (key, value) = pair.map_err(|error| failed("read", &error))?;
            let (_, position, index) = parse_key(&key).ok_or_else(|| {
                Error::Internal(format!("unknown key {key:02x?} in the database"))
            })?;
            if index == 0 {
                reader.finish(each)?;
                reader.begin(position);
            }
            reader.piece(position, index, &value)?;
        }
        reader.finish(each)
    }

    fn queues(&self) -> Result<Vec<QueueId>, Error> {
        let mut queues = Vec::new();
        let mut next = QueueId(0);
        // Seeks from queue to queue instead of walking the messages.
        while let Some(found) = self.tree.range(key(next, 0)..).keys().next() {
            let found = found.map_err(|error| failed("read", &error))?;
            let Some((queue, ..)) = parse_key(&found) else {
                break;
            };
            queues.push(queue);
            next = QueueId(queue.0.saturating_add(1));
        }
        Ok(queues)
    }

    fn pending_bytes(&self) -> usize {
        self.commit.pending_bytes()
    }

    fn close(&self) {
        self.commit.close();
    }
}

/// Joins the pieces of one queue's records.
struct Reader<'a> {
    queue: QueueId,
    pieces: &'a Mutex<Pieces>,
    position: Option<Position>,
    further: u32,
    record: Vec<u8>,
}

impl<'a> Reader<'a> {
    fn new(queue: QueueId, pieces: &'a Mutex<Pieces>) -> Self {
        Self {
            queue,
            pieces,
            position: None,
            further: 0,
            record: Vec::new(),
        }
    }

    fn begin(&mut self, position: Position) {
        self.position = Some(position);
        self.further = 0;
        self.record.clear();
    }

    fn piece(&mut self, position: Position, index: u32, value: &[u8]) -> Result<(), Error> {
        if self.position != Some(position) || (index > 0 && index != self.further + 1) {
            return Err(self.damaged(position, "a piece of a record is missing"));
        }
        self.further = index;
        self.record.extend_from_slice(value);
        Ok(())
    }

    fn finish(&mut self, each: &mut dyn FnMut(Position, Message)) -> Result<(), Error> {
        let Some(position) = self.position.take() else {
            return Ok(());
        };
        let decoded = record::decode(&self.record);
        let message = decoded.map_err(|what| self.damaged(position, what))?;
        if self.further > 0 {
            self.pieces
                .lock()
                .insert((self.queue, position), self.further);
        }
        each(position, message);
        Ok(())
    }

    fn damaged(&self, position: Position, what: &str) -> Error {
        let queue = self.queue.0;
        Error::Internal(format!(
            "stored queue {queue}, message at position {position}: {what}"
        ))
    }
}
