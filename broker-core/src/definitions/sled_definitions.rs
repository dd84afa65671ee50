//! Definitions in sled: read from memory, written behind by one thread.
//!
//! The tree `definitions` holds `kind (1 byte) | key` -> `revision (8 bytes) | JSON`, and under kind 0 the numbers that
//! must never go back: the last revision and the count of starts. Reads and checks use the copy in memory, because a
//! look into sled can wait for a write of others to reach the disk.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    Change, Conflict, Definition, Definitions, Event, Kind, Revision, Watcher, live::Live,
};
use crate::{
    error::Error,
    store::{
        Applied, Completion, Durability, FailureHook, GroupCommit, QueueId, Sink, SledDatabase,
        SyncWhen, Ticket, Writes, failed,
    },
};

const TREE: &str = "definitions";
const REVISION: &[u8] = b"\0revision";
const STARTS: &[u8] = b"\0starts";
/// Queue ids of one start: far more than a run can use, and room for millions of starts.
const IDS_PER_START: u64 = 1 << 40;

/// Among so many a start chooses its number that cannot be written, so that no other one has it.
const UNWRITTEN: u64 = 1 << 14;

/// [`Definitions`] in a [`SledDatabase`].
pub struct SledDefinitions {
    live: Live,
    next_queue: AtomicU64,
    /// The count of starts.
    starts: u64,
    commit: GroupCommit<Row>,
}

/// What the writer puts into the tree, or removes.
struct Row {
    key: Vec<u8>,
    value: Option<Vec<u8>>,
}

impl Row {
    fn size(&self) -> usize {
        self.key.len() + self.value.as_ref().map_or(0, Vec::len)
    }
}

impl SledDefinitions {
    /// Reads all definitions and starts the writer thread, which calls `on_failure` should the disk fail.
    ///
    /// # Errors
    /// The database cannot be read, holds something that this version did not write, or no thread can be started.
    pub fn open(database: &SledDatabase, on_failure: FailureHook) -> Result<Self, Error> {
        let tree = database.tree(TREE)?;
        let live = Live::default();
        for pair in tree.range([1]..) {
            let (key, value) = pair.map_err(|error| failed("read", &error))?;
            load(&live, &key, &value)?;
        }
        live.resume(Revision(number(&tree, REVISION)?));
        let (starts, written) = next_start(database, &tree)?;
        let writer = Writer {
            database: database.clone(),
            tree,
            starts: (!written).then_some(starts),
        };
        let commit = GroupCommit::start("definitions", Durability::Sync, writer, on_failure)?;
        Ok(Self {
            live,
            next_queue: AtomicU64::new(starts * IDS_PER_START),
            starts,
            commit,
        })
    }

    fn write(&self, events: &[Event]) -> Ticket {
        let mut rows: Vec<Row> = events.iter().map(row).collect();
        if let Some(last) = events.last() {
            let value = Some(last.revision.0.to_be_bytes().to_vec());
            rows.push(Row {
                key: REVISION.to_vec(),
                value,
            });
        }
        let bytes = rows.iter().map(Row::size).sum();
        self.commit.append(&mut rows, bytes, SyncWhen::Soon)
    }
}

fn row(event: &Event) -> Row {
    let value = event.value.as_ref();
    Row {
        key: stored_key(event.kind, &event.key),
        value: value.map(|value| stored_value(event.revision, value)),
    }
}

fn stored_key(kind: Kind, key: &str) -> Vec<u8> {
    let mut stored = vec![kind as u8];
    stored.extend_from_slice(key.as_bytes());
    stored
}

fn stored_value(revision: Revision, value: &[u8]) -> Vec<u8> {
    let mut stored = revision.0.to_be_bytes().to_vec();
    stored.extend_from_slice(value);
    stored
}

fn load(live: &Live, stored_key: &[u8], stored: &[u8]) -> Result<(), Error> {
    let unknown = || {
        let key = String::from_utf8_lossy(stored_key);
        Error::Internal(format!("definition {key:?} in the database cannot be read"))
    };
    let (kind, key) = stored_key.split_first().ok_or_else(unknown)?;
    let kind = Kind::from_number(*kind).ok_or_else(unknown)?;
    let key = std::str::from_utf8(key).map_err(|_| unknown())?;
    let (revision, value) = stored.split_first_chunk().ok_or_else(unknown)?;
    live.load(
        kind,
        key.into(),
        Revision(u64::from_be_bytes(*revision)),
        value.into(),
    );
    Ok(())
}

/// The number of this start, and whether it is on disk. A message may be confirmed before the definition of its queue is
/// durable, so what is stored under an id of this start may be there after a crash: another start must not give out the
/// same ids. On a full disk the number is written with the first change that finds room.
fn next_start(database: &SledDatabase, tree: &sled::Tree) -> Result<(u64, bool), Error> {
    let starts = number(tree, STARTS)? + 1;
    if database.make_room(Writes::default())?.is_some() {
        let unwritten = starts + rand::random::<u64>() % UNWRITTEN;
        return Ok((unwritten, false));
    }
    tree.insert(STARTS, &starts.to_be_bytes())
        .and_then(|_| tree.flush())
        .map_err(|error| failed("write", &error))?;
    Ok((starts, true))
}

fn number(tree: &sled::Tree, key: &[u8]) -> Result<u64, Error> {
    let stored = tree.get(key).map_err(|error| failed("read", &error))?;
    let Some(stored) = stored else { return Ok(0) };
    let damaged = |_| Error::Internal("a counter in the database cannot be read".to_owned());
    Ok(u64::from_be_bytes(
        stored.as_ref().try_into().map_err(damaged)?,
    ))
}

/// The writer thread's side.
struct Writer {
    database: SledDatabase,
    tree: sled::Tree,
    /// The count of starts, until it is written.
    starts: Option<u64>,
}

impl Sink<Row> for Writer {
    fn apply(&mut self, rows: &mut Vec<Row>) -> Result<Applied, Error> {
        let bytes = rows.iter().map(Row::size).sum();
        if let Some(why) = self.database.make_room(Writes::among_others(bytes))? {
            return Ok(Applied::NoRoom(why));
        }
        let mut batch = sled::Batch::default();
        if let Some(starts) = self.starts.take() {
            batch.insert(STARTS, &starts.to_be_bytes());
        }
        for Row { key, value } in rows.drain(..) {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        self.tree
            .apply_batch(batch)
            .map_err(|error| failed("write", &error))?;
        Ok(Applied::Done)
    }

    fn sync(&mut self) -> Result<(), Error> {
        self.database.sync()
    }
}

impl Definitions for SledDefinitions {
    fn get(&self, kind: Kind, key: &str) -> Option<Definition> {
        self.live.get(kind, key)
    }

    fn list(&self, kind: Kind) -> Vec<Definition> {
        self.live.list(kind)
    }

    fn apply(&self, changes: Vec<Change>) -> Result<Ticket, Conflict> {
        self.live.apply(changes, |events| self.write(events))
    }

    fn watch(&self, watcher: Arc<dyn Watcher>) {
        self.live.watch(watcher);
    }

    fn revision(&self) -> Revision {
        self.live.revision()
    }

    fn written(&self) -> Ticket {
        self.live.written()
    }

    fn next_queue_ids(&self, count: u64) -> QueueId {
        QueueId(self.next_queue.fetch_add(count, Ordering::Relaxed))
    }

    fn copy_to(&self, directory: &Path) -> Result<(), Error> {
        let (definitions, revision) = self.live.all();
        let database = SledDatabase::open(directory)?;
        let tree = database.tree(TREE)?;
        let mut batch = sled::Batch::default();
        for it in &definitions {
            let value = stored_value(it.revision, &it.value);
            batch.insert(stored_key(it.kind, &it.key), value);
        }
        batch.insert(REVISION, &revision.0.to_be_bytes());
        // The next start gives ids that this one has not given.
        batch.insert(STARTS, &self.starts.to_be_bytes());
        tree.apply_batch(batch)
            .map_err(|error| failed("write", &error))?;
        database.sync()
    }

    fn durable(&self) -> Ticket {
        self.commit.durable()
    }

    fn blocked(&self) -> Option<String> {
        self.commit.blocked()
    }

    fn notify(&self, ticket: Ticket, completion: Arc<dyn Completion>) {
        self.commit.notify(ticket, completion);
    }

    fn close(&self) {
        self.commit.close();
    }
}
