//! What the fuzz target `journal_reader` runs, kept here so that `cargo test` can replay its corpus through the same code.

use std::{
    path::Path,
    sync::{Arc, mpsc},
};

use parking_lot::Mutex;

use super::{
    FileLog,
    group::{ALIGNMENT, HEADER, Header, MAGIC},
};
use crate::{
    error::Error,
    journal::{
        file_system::FileSystem,
        log::{Follower, Log, LogOptions, LogPosition},
        memory_disk::MemoryDisk,
    },
    store::{Completion, SyncWhen, Ticket},
};

/// Small, so that short inputs reach the end of a file.
const FILE_SIZE: u64 = 512;

/// Reads arbitrary bytes as files of a log: as they are, and with checksums that fit, so that everything behind the
/// checksums is reached. Checks that only whole groups come out, and that a log that can be read, or was repaired, can
/// be written on.
///
/// # Panics
/// When one of these is not so: that is a bug in this crate.
#[allow(clippy::panic, clippy::expect_used)]
pub fn exercise(data: &[u8]) {
    let (rule, data) = data.split_first().unwrap_or((&0, &[]));
    let mut bytes = data.to_vec();
    if rule & 1 != 0 {
        fit_checksums(&mut bytes);
    }
    let disk = MemoryDisk::default();
    for (number, part) in (1..).zip(bytes.chunks(FILE_SIZE as usize)) {
        let name = format!("log-{number:016}.log");
        disk.put(name, part.to_vec());
    }
    let (found, damaged) = read(&disk);
    let (whole, missing) = look_through(&disk);
    assert_eq!(damaged, missing > 0, "a survey finds what a replay finds");
    if damaged {
        let repaired = open(&disk).repair(0).is_ok();
        let (saved, damaged) = read(&disk);
        assert!(saved.starts_with(&found), "a repair lost what was whole");
        assert!(!repaired || !damaged, "a repair left damage");
        if !repaired {
            return;
        }
        assert!(whole.starts_with(&found), "a survey lost what was whole");
    } else {
        assert_eq!(whole, found, "a survey reads what a replay reads");
    }
    write_on(&disk);
}

/// Everything that a replay gives, and whether it ended in an error.
fn read(disk: &MemoryDisk) -> (Vec<Vec<u8>>, bool) {
    let mut found = Vec::new();
    let replayed = open(disk).replay(0, &mut |at, items| {
        check(disk, at, items);
        found.push(items.to_vec());
        Ok(())
    });
    (found, replayed.is_err())
}

/// All groups that are whole, and at how many places some are missing.
#[allow(clippy::expect_used)]
fn look_through(disk: &MemoryDisk) -> (Vec<Vec<u8>>, usize) {
    let mut found = Vec::new();
    let survey = open(disk).survey(0, &mut |at, items| {
        check(disk, at, items);
        found.push(items.to_vec());
        Ok(())
    });
    let survey = survey.expect("files in memory can be read");
    (found, survey.damage.len())
}

/// The group that these items are said to be in must be whole.
#[allow(clippy::expect_used)]
fn check(disk: &MemoryDisk, at: LogPosition, items: &[u8]) {
    let file = disk.open(&disk_path(at.file), false).expect("a file");
    let mut header = [0; HEADER];
    let place = at.offset - HEADER as u64;
    file.read_at(&mut header, place).expect("a header");
    let header = Header::decode(&header).expect("a whole header");
    assert_eq!(header.items_crc, crc32c::crc32c(items), "checksum");
    assert_eq!(header.file, at.file, "file");
    let mut again = vec![0; items.len()];
    file.read_at(&mut again, at.offset).expect("the items");
    assert_eq!(again, items, "items");
}

/// Appends to the log; then all is there that was there before, and that.
#[allow(clippy::expect_used)]
fn write_on(disk: &MemoryDisk) {
    let log = open(disk);
    let mut expected = Vec::new();
    let replayed = log.replay(0, &mut |_, items| {
        expected.push(items.to_vec());
        Ok(())
    });
    replayed.expect("a log that could be read before");
    log.start(Box::new(Idle), Box::new(|error| tracing::error!("{error}")))
        .expect("a log that can be written");
    for size in [10, 600, 30] {
        let mut items = vec![size as u8; size];
        expected.push(items.clone());
        let (sender, done) = mpsc::channel();
        let ticket = log.append(&mut items, SyncWhen::Soon);
        log.notify(ticket, Arc::new(Sender(Mutex::new(sender))));
        done.recv().expect("a durable ticket");
    }
    log.close();
    let (found, damaged) = read(disk);
    assert!(!damaged, "what was written on cannot be read");
    assert_eq!(found, expected, "what was written on");
}

/// Gives every place that begins as a group the checksums that fit it.
fn fit_checksums(bytes: &mut [u8]) {
    for part in bytes.chunks_mut(FILE_SIZE as usize) {
        for offset in (0..part.len()).step_by(ALIGNMENT) {
            let Some(place) = part.get_mut(offset..) else {
                return;
            };
            if !place.starts_with(&MAGIC) {
                continue;
            }
            let Some(mut header) = Header::guess(place) else {
                continue;
            };
            let items = place.get(HEADER..HEADER + header.length as usize);
            header.items_crc = items.map_or(0, crc32c::crc32c);
            if let Some(place) = place.first_chunk_mut() {
                *place = header.encode();
            }
        }
    }
}

fn open(disk: &MemoryDisk) -> FileLog {
    let options = LogOptions {
        file_size: FILE_SIZE,
        ..LogOptions::default()
    };
    let directory = Path::new("journal");
    #[allow(clippy::expect_used)]
    FileLog::open(Arc::new(disk.clone()), directory, options).expect("a log")
}

fn disk_path(number: u64) -> std::path::PathBuf {
    Path::new("journal").join(format!("log-{number:016}.log"))
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

struct Sender(Mutex<mpsc::Sender<()>>);

impl Completion for Sender {
    fn durable(&self, _: Ticket) {
        _ = self.0.lock().send(());
    }
}
