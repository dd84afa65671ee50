//! A long replay says how far it is: on a disk whose reads take a time that the test says.

use std::{cell::Cell, path::Path, sync::Arc};

use parking_lot::Mutex;
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

use super::*;
use crate::{
    journal::{
        file_log::FileLog,
        file_system::{File, FileSystem},
        log::{Follower, Log, LogOptions},
        memory_disk::MemoryDisk,
    },
    store::SyncWhen,
};

thread_local! {
    static TIME: Cell<(Option<Instant>, Duration)> = const { Cell::new((None, Duration::ZERO)) };
}

/// The time of this thread: it passes by reading.
fn now() -> Instant {
    let (start, passed) = TIME.get();
    let start = start.unwrap_or_else(Instant::now);
    TIME.set((Some(start), passed));
    start + passed
}

/// A disk of which each read takes so long.
struct SlowDisk(MemoryDisk, Duration);

struct SlowFile(Box<dyn File>, Duration);

impl FileSystem for SlowDisk {
    fn open(&self, path: &Path, create: bool) -> io::Result<Box<dyn File>> {
        Ok(Box::new(SlowFile(self.0.open(path, create)?, self.1)))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        self.0.list(directory)
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        unreachable!("a replay changes nothing")
    }

    fn remove(&self, _: &Path) -> io::Result<()> {
        unreachable!("a replay changes nothing")
    }

    fn create_directory(&self, _: &Path) -> io::Result<()> {
        unreachable!("a replay changes nothing")
    }

    fn sync_directory(&self, _: &Path) -> io::Result<()> {
        unreachable!("a replay changes nothing")
    }
}

impl File for SlowFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let (start, passed) = TIME.get();
        TIME.set((start, passed + self.1));
        self.0.read_at(buffer, offset)
    }

    fn length(&self) -> io::Result<u64> {
        self.0.length()
    }

    fn write_at(&self, _: &[&[u8]], _: u64) -> io::Result<()> {
        unreachable!("a replay changes nothing")
    }

    fn sync(&self) -> io::Result<()> {
        unreachable!("a replay changes nothing")
    }

    fn truncate(&self, _: u64) -> io::Result<()> {
        unreachable!("a replay changes nothing")
    }

    fn allocate(&self, _: u64) -> io::Result<()> {
        unreachable!("a replay changes nothing")
    }
}

/// Keeps the lines that are logged.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Subscriber for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Message(self));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Message<'a>(&'a Lines);

impl Visit for Message<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.0.0.lock().push(format!("{value:?}"));
        }
    }
}

struct Idle;

impl Follower for Idle {
    fn written(&mut self, _: LogPosition, _: &[u8]) -> Result<(), Error> {
        Ok(())
    }

    fn full(&mut self, _: u64) -> Result<(), Error> {
        Ok(())
    }
}

const FILE_SIZE: u64 = 4096;
const FILES: u64 = 10;

fn directory() -> &'static Path {
    Path::new("journal")
}

fn options() -> LogOptions {
    LogOptions {
        file_size: FILE_SIZE,
        ..LogOptions::default()
    }
}

/// A log of several files with a group in each.
fn written() -> MemoryDisk {
    let disk = MemoryDisk::default();
    let log = FileLog::open(Arc::new(disk.clone()), directory(), options()).unwrap();
    log.replay(0, &mut |_, _| Ok(())).unwrap();
    log.start(Box::new(Idle), Box::new(|error| panic!("{error}")))
        .unwrap();
    for _ in 0..FILES {
        let ticket = log.append(&mut vec![1; FILE_SIZE as usize - 1000], SyncWhen::Soon);
        // One group for each.
        let deadline = Instant::now() + Duration::from_secs(30);
        while log.durable() < ticket {
            assert!(Instant::now() < deadline, "a group is not durable");
            std::thread::yield_now();
        }
    }
    log.close();
    disk
}

/// The lines of a replay whose reads take so long.
fn lines(read: Duration) -> Vec<String> {
    let disk = SlowDisk(written(), read);
    let files = Files::new(Arc::new(disk), directory(), &options());
    let numbers = files.numbers().unwrap();
    let mut walk = Walk::new(&files, &numbers);
    walk.progress = Progress::new(now);
    let start = LogPosition { file: 1, offset: 0 };
    let lines = Lines::default();
    tracing::subscriber::with_default(lines.clone(), || {
        walk.walk(start, &mut |_, _| Ok(())).unwrap();
    });
    assert_eq!(walk.replayed.groups, FILES);
    std::mem::take(&mut *lines.0.lock())
}

#[test]
fn replay_that_takes_longer_than_a_second_says_every_second_how_far_it_is() {
    let lines = lines(Duration::from_millis(400));
    let expected = [3, 6, 9];
    let expected =
        expected.map(|file| format!("reading the journal's log: 0 MB so far, in file {file}"));
    assert_eq!(lines, expected);
}

#[test]
fn short_replay_says_nothing_on_its_way() {
    assert_eq!(lines(Duration::from_millis(50)), Vec::<String>::new());
}
