//! Opens logs, fills them, and reads them back.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use broker_core::{
    Error,
    journal::{
        FileLog,
        file_system::{Disk, FileSystem},
        log::{Follower, Log, LogOptions, LogPosition, Replayed},
    },
    store::{Completion, SyncWhen, Ticket},
};
use parking_lot::{Condvar, Mutex};

/// Nothing in these tests takes longer, on any machine.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Small files, so that a few batches fill one.
pub fn small_files() -> LogOptions {
    LogOptions {
        file_size: 2_000,
        ..LogOptions::default()
    }
}

/// Everything that a log told, in order.
#[derive(Clone, Default)]
pub struct Told {
    events: Arc<(Mutex<Events>, Condvar)>,
}

#[derive(Default, Clone)]
pub struct Events {
    pub written: Vec<(LogPosition, Vec<u8>)>,
    pub full: Vec<u64>,
    pub durable: Ticket,
    pub failed: Option<String>,
}

impl Told {
    fn tell(&self, change: impl FnOnce(&mut Events)) {
        change(&mut self.events.0.lock());
        self.events.1.notify_all();
    }

    pub fn so_far(&self) -> Events {
        self.events.0.lock().clone()
    }

    /// Waits until `reached`, or the failure of the log; true in the first case.
    pub fn wait(&self, reached: impl Fn(&Events) -> bool) -> bool {
        let deadline = Instant::now() + DEADLINE;
        let mut events = self.events.0.lock();
        while !reached(&events) {
            if events.failed.is_some() {
                return false;
            }
            let late = self.events.1.wait_until(&mut events, deadline).timed_out();
            assert!(!late, "the log did not get there");
        }
        true
    }

    /// Where the first batch of every file stands.
    pub fn first_batches(&self) -> BTreeMap<u64, u64> {
        let mut first = BTreeMap::new();
        for (at, items) in self.so_far().written {
            first.entry(at.file).or_insert(batches(&items)[0]);
        }
        first
    }
}

impl Completion for Told {
    fn durable(&self, ticket: Ticket) {
        self.tell(|events| {
            assert!(events.durable <= ticket, "tickets complete in order");
            events.durable = ticket;
        });
    }
}

impl Follower for Told {
    fn written(&mut self, at: LogPosition, items: &[u8]) -> Result<(), Error> {
        self.tell(|events| events.written.push((at, items.to_vec())));
        Ok(())
    }

    fn full(&mut self, file: u64) -> Result<(), Error> {
        self.tell(|events| events.full.push(file));
        Ok(())
    }
}

/// The bytes of batch number `number`: its length and its number, and then bytes that follow from them.
pub fn batch(number: u64, length: usize) -> Vec<u8> {
    let mut bytes = (length as u32).to_le_bytes().to_vec();
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes.extend((0..length).map(|index| (number as usize * 31 + index * 7) as u8));
    bytes
}

/// The numbers of the batches that stand in `items`, after a look at their bytes.
pub fn batches(mut items: &[u8]) -> Vec<u64> {
    let mut numbers = Vec::new();
    while !items.is_empty() {
        let length = u32::from_le_bytes(items[..4].try_into().unwrap()) as usize;
        let number = u64::from_le_bytes(items[4..12].try_into().unwrap());
        let (found, rest) = items.split_at(12 + length);
        assert!(found == batch(number, length), "batch {number} is changed");
        numbers.push(number);
        items = rest;
    }
    numbers
}

/// A log that was replayed, and what that gave.
pub struct Opened {
    pub log: FileLog,
    pub told: Told,
    pub replayed: Replayed,
    /// The numbers of all batches that were there.
    pub found: Vec<u64>,
}

pub fn open(
    file_system: &Arc<dyn FileSystem>,
    folder: &Path,
    options: &LogOptions,
    from: u64,
) -> Result<Opened, Error> {
    let log = FileLog::open(Arc::clone(file_system), folder, options.clone())?;
    let mut found = Vec::new();
    let mut last = LogPosition::default();
    let replayed = log.replay(from, &mut |at, items| {
        assert!(at > last, "positions grow");
        last = at;
        found.extend(batches(items));
        Ok(())
    })?;
    Ok(Opened {
        log,
        told: Told::default(),
        replayed,
        found,
    })
}

impl Opened {
    pub fn start(&self) -> Result<(), Error> {
        let told = self.told.clone();
        let hook = move |error: Error| told.tell(|events| events.failed = Some(error.to_string()));
        self.log.start(Box::new(self.told.clone()), Box::new(hook))
    }

    /// Appends without waiting.
    pub fn append(&self, number: u64, length: usize, sync: SyncWhen) -> Ticket {
        let mut items = batch(number, length);
        let ticket = self.log.append(&mut items, sync);
        assert!(items.is_empty());
        self.log.notify(ticket, Arc::new(self.told.clone()));
        ticket
    }

    /// Appends, and waits until it is complete; false if the log failed before.
    pub fn commit(&self, number: u64, length: usize) -> bool {
        let ticket = self.append(number, length, SyncWhen::Soon);
        ticket != Ticket::NEVER && self.told.wait(|events| events.durable >= ticket)
    }
}

pub fn disk() -> Arc<dyn FileSystem> {
    Arc::new(Disk)
}

/// Opens a log on the real disk with small files, and starts it.
pub fn started(folder: &Path) -> Opened {
    let opened = open(&disk(), folder, &small_files(), 0).unwrap();
    opened.start().unwrap();
    opened
}

/// All that a replay finds.
pub fn reread(folder: &Path) -> (Replayed, Vec<u64>) {
    let opened = open(&disk(), folder, &small_files(), 0).unwrap();
    (opened.replayed, opened.found)
}
