//! Makes operations, waits for tickets, and opens stores in temporary folders.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use broker_core::{
    definitions::SledDefinitions,
    message::Message,
    store::{
        Completion, FailureHook, MemoryStore, MessageStore, Operation, Position, QueueId,
        SledDatabase, SledStore, Ticket,
    },
};
use parking_lot::{Condvar, Mutex};
use tempfile::TempDir;

/// Nothing in these tests takes longer, on any machine.
pub const DEADLINE: Duration = Duration::from_secs(60);

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
        message: message(body),
    }
}

pub fn settle(queue: u64, position: Position) -> Operation {
    Operation::Settle {
        queue: QueueId(queue),
        position,
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

/// All of a queue, as positions and bodies.
pub fn contents(store: &dyn MessageStore, queue: u64) -> Vec<(Position, Vec<u8>)> {
    let mut found = Vec::new();
    store
        .recover(QueueId(queue), &mut |position, message| {
            found.push((position, message.body().to_vec()));
        })
        .unwrap();
    found
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

impl OnSled {
    /// Closes the store and opens it again.
    pub fn reopen(&mut self) {
        self.store().close();
        self.store = None;
        self.store = Some(open_store(self.folder.path()));
    }
}

fn no_failure() -> FailureHook {
    Box::new(|error| panic!("the store failed: {error}"))
}

pub fn open_store(folder: &Path) -> SledStore {
    SledStore::open(&SledDatabase::open(folder).unwrap(), no_failure()).unwrap()
}

pub fn open_definitions(folder: &Path) -> SledDefinitions {
    SledDefinitions::open(&SledDatabase::open(folder).unwrap(), no_failure()).unwrap()
}
