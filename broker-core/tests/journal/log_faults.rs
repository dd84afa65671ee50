//! Every operation of a scripted use of a log goes wrong once, in every way; after each, all that was confirmed is there.

use std::{
    collections::BTreeMap,
    panic::{RefUnwindSafe, catch_unwind},
    sync::Arc,
};

use broker_core::{
    journal::{
        file_system::FileSystem,
        log::{Log, LogOptions},
    },
    store::{SyncWhen, Ticket},
};
use tempfile::TempDir;

use crate::{
    faulty_disk::{EIO, ENOSPC, Fault, FaultyDisk},
    log_support::{Opened, batch, open},
};

/// Threads that try faults: most of their time they wait.
const THREADS: usize = 8;

fn options() -> LogOptions {
    LogOptions {
        file_size: 1_000,
        spare: 1,
        ..LogOptions::default()
    }
}

/// What must be true of the log.
struct Model {
    disk: FaultyDisk,
    file_system: Arc<dyn FileSystem>,
    folder: TempDir,
    /// The next batch has this number.
    next: u64,
    /// Batches below this one were confirmed.
    confirmed: u64,
    /// The first file that is needed.
    from: u64,
    /// The first batch in each file.
    first: BTreeMap<u64, u64>,
}

/// Appends, and waits until it is written; false if the log failed before.
fn write(log: &Opened, number: u64, length: usize) -> bool {
    let count = log.told.so_far().written.len();
    let ticket = (log.log).append(&mut batch(number, length), SyncWhen::WhenAwaited);
    ticket != Ticket::NEVER && log.told.wait(|events| events.written.len() > count)
}

/// What happened instead of the rest of the script.
#[derive(Debug)]
struct Stopped;

impl Model {
    fn new(seed: u64) -> Self {
        let disk = FaultyDisk::new(seed);
        Self {
            file_system: Arc::new(disk.clone()),
            disk,
            folder: TempDir::new().unwrap(),
            next: 0,
            confirmed: 0,
            from: 0,
            first: BTreeMap::new(),
        }
    }

    fn open(&mut self) -> Result<Opened, Stopped> {
        let folder = self.folder.path().join("journal");
        let opened = open(&self.file_system, &folder, &options(), self.from);
        let opened = opened.map_err(|error| {
            let error = error.to_string();
            assert!(!error.contains("repair"), "{error}");
            Stopped
        })?;
        let first = self.first.get(&self.from).copied().unwrap_or(0);
        let end = first + opened.found.len() as u64;
        assert_eq!(opened.found, (first..end).collect::<Vec<_>>());
        assert!(end >= self.confirmed, "lost {end} to {}", self.confirmed);
        assert!(end <= self.next, "found more than was written");
        self.next = end;
        self.first.retain(|_, batch| *batch < end);
        Ok(opened)
    }

    /// Opens the log, appends and trims, and closes it.
    fn session(&mut self, batches: u64) -> Result<(), Stopped> {
        let log = self.open()?;
        log.start().map_err(|_| Stopped)?;
        for _ in 0..batches {
            let number = self.next;
            self.next += 1;
            let length = 200 + (number * 37 % 100) as usize;
            let done = match number % 5 {
                // Written, and synced only along with the next.
                1 => write(&log, number, length),
                _ => log.commit(number, length),
            };
            for (file, batch) in log.told.first_batches() {
                self.first.entry(file).or_insert(batch);
            }
            if !done {
                return Err(Stopped);
            }
            if number % 5 != 1 {
                self.confirmed = self.next;
            }
            if number % 4 == 3 {
                self.trim(&log)?;
            }
        }
        log.log.close();
        if log.told.so_far().failed.is_none() {
            self.confirmed = self.next;
        }
        Ok(())
    }

    /// Gives up what was left behind, as a journal does that noted it first.
    fn trim(&mut self, log: &Opened) -> Result<(), Stopped> {
        let full = log.told.so_far().full.last().copied();
        self.from = full.map_or(self.from, |full| full + 1);
        log.log.trim(self.from).map_err(|_| Stopped)
    }

    fn script(&mut self) -> Result<(), Stopped> {
        self.session(9)?;
        self.session(1)?;
        self.session(7)
    }

    /// All is there, and the log goes on.
    fn check(&mut self) {
        self.session(5).unwrap();
        let log = self.open().unwrap();
        assert_eq!(self.next, self.confirmed);
        assert!(log.replayed.clean);
    }
}

#[derive(Debug, Clone, Copy)]
enum After {
    Restart,
    PowerCut,
}

fn run(operation: usize, fault: Fault, after: After, seed: u64) {
    let mut model = Model::new(seed);
    model.disk.set_fault(operation, fault);
    let result = model.script();
    let operations = model.disk.operations();
    let hit = operations.get(operation).map_or("nothing", String::as_str);
    if let Fault::Error(ENOSPC) | Fault::Short(ENOSPC) = fault
        && (hit.starts_with("write") || hit.starts_with("allocate"))
    {
        assert!(result.is_ok(), "a full disk is waited for: {hit}");
    }
    match after {
        After::Restart => model.disk.restart(),
        After::PowerCut => model.disk.power_cut(),
    }
    model.check();
}

/// A process is killed, and the next one loses power soon.
fn run_twice(operation: usize, seed: u64) {
    let mut model = Model::new(seed);
    model.disk.set_fault(operation, Fault::Crash);
    // Where it stops does not matter.
    _ = model.script();
    model.disk.restart();
    let soon = model.disk.count() + seed as usize % 12;
    model.disk.set_fault(soon, Fault::Crash);
    _ = model.session(5);
    model.disk.power_cut();
    model.check();
}

fn count() -> usize {
    let mut model = Model::new(0);
    model.script().unwrap();
    let count = model.disk.count();
    assert!(count > 60, "{:#?}", model.disk.operations());
    model.check();
    count
}

/// Lets every operation go wrong in this way, with a few more in case the order of two threads adds some.
fn every_operation(fault: Fault, after: After, seeds: u64) {
    every(seeds, |operation, seed| run(operation, fault, after, seed));
}

fn every(seeds: u64, run: impl Fn(usize, u64) + Sync + RefUnwindSafe) {
    let run = &run;
    let count = count() + 5;
    let runs: Vec<_> = (0..count)
        .flat_map(|operation| (0..seeds).map(move |seed| (operation, seed)))
        .collect();
    std::thread::scope(|scope| {
        for part in runs.chunks(runs.len().div_ceil(THREADS)) {
            scope.spawn(move || {
                for (operation, seed) in part.iter().copied() {
                    let result = catch_unwind(|| run(operation, seed));
                    result.unwrap_or_else(|_| panic!("operation {operation}, seed {seed}"));
                }
            });
        }
    });
}

#[test]
fn failed_operation_loses_nothing() {
    every_operation(Fault::Error(EIO), After::Restart, 1);
}

#[test]
fn failed_operation_and_a_power_cut_lose_nothing() {
    every_operation(Fault::Short(EIO), After::PowerCut, 2);
}

#[test]
fn full_disk_is_waited_for_and_loses_nothing() {
    every_operation(Fault::Error(ENOSPC), After::Restart, 1);
}

#[test]
fn disk_that_is_full_in_the_middle_of_a_write_loses_nothing() {
    every_operation(Fault::Short(ENOSPC), After::PowerCut, 1);
}

#[test]
fn killed_process_loses_nothing() {
    every_operation(Fault::Crash, After::Restart, 2);
}

#[test]
fn power_cut_loses_nothing() {
    every_operation(Fault::Crash, After::PowerCut, 6);
}

#[test]
fn power_cut_after_a_kill_loses_nothing() {
    every(12, run_twice);
}
