//! What the journal takes for persistent messages: to encode and hand in a batch, to make it durable alone and in company,
//! and to read a log at start.
//!
//! `cargo bench -p broker-core --bench journal`, in a temporary folder: set TMPDIR to the disk in question. Items are
//! messages.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{SyncSender, sync_channel},
    },
};

use broker_core::{
    journal::{
        FileLog, JournalStore,
        file_system::Disk,
        log::{Durability, LogOptions},
    },
    message::Message,
    store::{Completion, MessageStore, Operation, QueueId, Ticket},
};
use divan::{Bencher, counter::ItemsCount};
use tempfile::TempDir;

fn main() {
    divan::main();
}

/// Messages of a batch: what a run of publishes for one queue brings.
const BATCH: u64 = 100;

/// Messages in the log that is replayed.
const REPLAYED: u64 = 100_000;

const QUEUE: QueueId = QueueId(1);

fn open(directory: &Path) -> JournalStore {
    let options = LogOptions {
        durability: Durability::Sync,
        ..LogOptions::default()
    };
    let size = options.file_size;
    let log = FileLog::open(Arc::new(Disk), directory, options).unwrap();
    let failed = Box::new(|error| panic!("{error}"));
    JournalStore::open(Arc::new(Disk), directory, Arc::new(log), size, failed).unwrap()
}

/// A journal in a folder of its own, and the next place in its queue.
struct Scene {
    store: JournalStore,
    next: AtomicU64,
    folder: TempDir,
}

impl Scene {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        Self {
            store: open(folder.path()),
            next: AtomicU64::new(1),
            folder,
        }
    }

    /// Messages that come in, together with the settlements of as many before them: the journal does not grow.
    fn batch(&self, count: u64, body: &[u8]) -> Vec<Operation> {
        let first = self.next.fetch_add(count, Ordering::Relaxed);
        let places = first..first + count;
        let enqueue = places.clone().map(|position| Operation::Enqueue {
            queue: QUEUE,
            position,
            enqueued_at: 1_000,
            message: Message::new("", "queue", &[0x10, 0, 2], body, true),
        });
        let settled = places.filter_map(|place| place.checked_sub(count).filter(|it| *it > 0));
        let settle = settled.map(|position| Operation::Settle {
            queue: QUEUE,
            position,
            bytes: body.len() as u32,
        });
        enqueue.chain(settle).collect()
    }

    fn wait(&self, ticket: Ticket) {
        let (sender, receiver) = sync_channel(1);
        self.store.notify(ticket, Arc::new(Told(sender)));
        receiver.recv().unwrap();
    }
}

struct Told(SyncSender<()>);

impl Completion for Told {
    fn durable(&self, _ticket: Ticket) {
        let _ = self.0.try_send(());
    }
}

/// Waits outside of the measured time, so that what is appended does not pile up in memory.
struct Appended<'a>(&'a Scene, Ticket);

impl Drop for Appended<'_> {
    fn drop(&mut self) {
        self.0.wait(self.1);
    }
}

/// The publisher's part: encoding and handing in, not the write and the sync.
#[divan::bench(args = [16, 1024])]
fn append_a_batch(bencher: Bencher<'_, '_>, size: usize) {
    let scene = Scene::new();
    let body = vec![0; size];
    bencher
        .counter(ItemsCount::new(BATCH))
        .with_inputs(|| scene.batch(BATCH, &body))
        .bench_local_refs(|batch| Appended(&scene, scene.store.append(batch)));
}

/// One message and its sync: the threads share syncs, each waits for its own.
#[divan::bench(threads = [1, 8, 32])]
fn group_commit(bencher: Bencher<'_, '_>) {
    let scene = Scene::new();
    bencher
        .counter(ItemsCount::new(1_usize))
        .with_inputs(|| scene.batch(1, &[0; 1024]))
        .bench_refs(|batch| scene.wait(scene.store.append(batch)));
}

/// A start with a log of messages that all wait.
#[divan::bench(sample_count = 20)]
fn replay_100_000(bencher: Bencher<'_, '_>) {
    let scene = Scene::new();
    for _ in 0..REPLAYED / BATCH {
        let mut batch = scene.batch(BATCH, &[0; 100]);
        batch.retain(|it| matches!(it, Operation::Enqueue { .. }));
        scene.store.append(&mut batch);
    }
    scene.store.close();
    let from = scene.folder.path();
    bencher
        .counter(ItemsCount::new(REPLAYED))
        .with_inputs(|| copy(from))
        .bench_local_refs(|folder| open(folder.path()));
}

fn copy(from: &Path) -> TempDir {
    let folder = TempDir::new().unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), folder.path().join(file.file_name())).unwrap();
    }
    folder
}
