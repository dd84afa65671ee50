//! Makes operations, waits for tickets, and opens stores in temporary folders.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use broker_core::{
    definitions::SledDefinitions,
    journal::{
        FileLog, JournalStore,
        file_system::{Disk, FileSystem},
        log::LogOptions,
    },
    message::Message,
    store::{
        Completion, FailureHook, MemoryStore, MessageStore, Operation, Position, QueueId,
        SledDatabase, SledStore, StoredMessage, Ticket,
    },
};
use parking_lot::{Condvar, Mutex};
use tempfile::TempDir;

/// Nothing in these tests takes longer, on any machine.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// When the message at place 0 was enqueued.
pub const ENQUEUED_AT: u64 = 1_700_000_000_000;

/// Keeps what it is told, in order.
#[derive(Default)]
pub struct Told {
    tickets: Mutex<Vec<Ticket>>,
    changed: Condvar,
}

impl Completion for Told {
    fn durable(&self, ticket: Ticket) {
        self.tickets.lock().push(ticket);
        self.changed.notify_all();
    }
}

impl Told {
    pub fn so_far(&self) -> Vec<Ticket> {
        self.tickets.lock().clone()
    }

    /// Waits until it was told `count` times, and gives all of it.
    pub fn wait(&self, count: usize) -> Vec<Ticket> {
        let deadline = Instant::now() + DEADLINE;
        let mut tickets = self.tickets.lock();
        while tickets.len() < count {
            let late = self.changed.wait_until(&mut tickets, deadline).timed_out();
            assert!(!late, "told {} times instead of {count}", tickets.len());
        }
        tickets.clone()
    }
}

/// Appends and waits until it is durable.
pub fn commit(store: &dyn MessageStore, operations: impl IntoIterator<Item = Operation>) {
    let ticket = store.append(&mut operations.into_iter().collect());
    let told = Arc::new(Told::default());
    store.notify(ticket, told.clone());
    assert_eq!(told.wait(1), [ticket]);
}

pub fn message(body: &[u8]) -> Message {
    Message::new("amq.topic", "a.key", &[0x18, 0, 0, 0, 0, 0, 2], body, true)
}

pub fn enqueue(queue: u64, position: Position, body: &[u8]) -> Operation {
    Operation::Enqueue {
        queue: QueueId(queue),
        position,
        enqueued_at: ENQUEUED_AT + position,
        message: message(body),
    }
}

pub fn settle(queue: u64, position: Position) -> Operation {
    Operation::Settle {
        queue: QueueId(queue),
        position,
        bytes: message(b"").size() as u32,
    }
}

pub fn requeue(queue: u64, position: Position, delivery_count: u32) -> Operation {
    Operation::Requeue {
        queue: QueueId(queue),
        position,
        delivery_count,
    }
}

pub fn settle_range(queue: u64, from: Position, to: Position) -> Operation {
    Operation::SettleRange {
        queue: QueueId(queue),
        from,
        to,
    }
}

pub fn delete(queue: u64) -> Operation {
    Operation::DeleteQueue {
        queue: QueueId(queue),
    }
}

/// All of a queue.
pub fn stored(store: &dyn MessageStore, queue: u64) -> Vec<StoredMessage> {
    read(store, queue, 0, Position::MAX, usize::MAX)
}

/// A part of a queue.
pub fn read(
    store: &dyn MessageStore,
    queue: u64,
    from: Position,
    to: Position,
    max_bytes: usize,
) -> Vec<StoredMessage> {
    let mut found = Vec::new();
    let mut each = |stored| found.push(stored);
    store
        .read(QueueId(queue), from, to, max_bytes, &mut each)
        .unwrap();
    found
}

/// All of a queue, as positions and bodies.
pub fn contents(store: &dyn MessageStore, queue: u64) -> Vec<(Position, Vec<u8>)> {
    let found = stored(store, queue).into_iter();
    found
        .map(|stored| (stored.position, stored.message.body().to_vec()))
        .collect()
}

pub fn positions(store: &dyn MessageStore, queue: u64) -> Vec<Position> {
    contents(store, queue)
        .into_iter()
        .map(|(position, _)| position)
        .collect()
}

/// A store under test, with the folder it lives in.
pub trait Subject {
    fn new() -> Self;
    fn store(&self) -> &dyn MessageStore;
}

/// The memory store.
pub struct InMemory(MemoryStore);

impl Subject for InMemory {
    fn new() -> Self {
        Self(MemoryStore::new())
    }

    fn store(&self) -> &dyn MessageStore {
        &self.0
    }
}

/// The sled store in a folder that goes with it.
pub struct OnSled {
    store: Option<SledStore>,
    folder: TempDir,
}

impl Subject for OnSled {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        Self {
            store: Some(open_store(folder.path())),
            folder,
        }
    }

    fn store(&self) -> &dyn MessageStore {
        self.store.as_ref().unwrap()
    }
}

/// A store that keeps things over a restart.
pub trait OnDisk: Subject {
    /// Closes the store and opens it again.
    fn reopen(&mut self);

    /// Opens the store again without a proper close, as after a crash.
    fn reopen_unclosed(&mut self);
}

impl OnDisk for OnSled {
    fn reopen(&mut self) {
        self.store().close();
        self.reopen_unclosed();
    }

    fn reopen_unclosed(&mut self) {
        self.store = None;
        self.store = Some(open_store(self.folder.path()));
    }
}

/// The journal in a folder that goes with it, with files of the log of `FILE` bytes: small ones are moved to segments
/// all the time.
pub struct OnJournal<const FILE: u64> {
    store: Option<JournalStore>,
    folder: TempDir,
}

/// The journal as a broker has it.
pub type Journal = OnJournal<{ 64 * 1024 * 1024 }>;

/// A journal that is busy moving.
pub type SmallJournal = OnJournal<10_000>;

impl<const FILE: u64> Subject for OnJournal<FILE> {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        Self {
            store: Some(open_journal(folder.path(), FILE)),
            folder,
        }
    }

    fn store(&self) -> &dyn MessageStore {
        self.store.as_ref().unwrap()
    }
}

impl<const FILE: u64> OnDisk for OnJournal<FILE> {
    fn reopen(&mut self) {
        self.store().close();
        self.store = None;
        self.store = Some(open_journal(self.folder.path(), FILE));
    }

    /// What the files are at this moment is all that a crash leaves.
    fn reopen_unclosed(&mut self) {
        let copy = TempDir::new().unwrap();
        for entry in std::fs::read_dir(self.folder.path()).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
        self.store = Some(open_journal(copy.path(), FILE));
        self.folder = copy;
    }
}

/// Opens a journal whose log has files of so many bytes.
pub fn open_journal(folder: &Path, file_size: u64) -> JournalStore {
    let options = LogOptions {
        file_size,
        ..LogOptions::default()
    };
    let files: Arc<dyn FileSystem> = Arc::new(Disk);
    let log = FileLog::open(Arc::clone(&files), folder, options).unwrap();
    JournalStore::open(files, folder, Arc::new(log), file_size, no_failure()).unwrap()
}

fn no_failure() -> FailureHook {
    Box::new(|error| panic!("the store failed: {error}"))
}

/// Opens the store and asks it for what it holds, as the broker does at start.
pub fn open_store(folder: &Path) -> SledStore {
    let store = SledStore::open(&SledDatabase::open(folder).unwrap(), no_failure()).unwrap();
    for queue in store.queues().unwrap() {
        assert!(store.backlog(queue).unwrap().is_some());
    }
    store
}

pub fn open_definitions(folder: &Path) -> SledDefinitions {
    SledDefinitions::open(&SledDatabase::open(folder).unwrap(), no_failure()).unwrap()
}
