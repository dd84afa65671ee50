//! What a log promises when nothing goes wrong.

use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use broker_core::{
    journal::{
        FileLog,
        log::{Durability, Log, LogOptions},
    },
    store::{Completion, SyncWhen, Ticket},
};
use parking_lot::Mutex;
use tempfile::TempDir;

use crate::{
    faulty_disk::FaultyDisk,
    log_support::{DEADLINE, Told, batch, disk, open, reread, small_files, started},
};

#[test]
fn batches_come_back_in_order_over_many_files() {
    let folder = TempDir::new().unwrap();
    let log = started(folder.path());
    for number in 0..100 {
        log.append(number, number as usize * 3, SyncWhen::Soon);
    }
    log.log.close();
    assert_eq!(log.told.so_far().durable, Ticket(100));
    let (replayed, found) = reread(folder.path());
    assert_eq!(found, (0..100).collect::<Vec<_>>());
    assert!(replayed.clean);
    assert_eq!(replayed.cut, None);
    let bytes: usize = (0..100).map(|number| 12 + number * 3).sum();
    assert_eq!(replayed.bytes, bytes as u64);
}

#[test]
fn log_goes_on_behind_what_was_there_with_a_new_epoch() {
    let folder = TempDir::new().unwrap();
    for start in 0..20 {
        let opened = open(&disk(), folder.path(), &small_files(), 0).unwrap();
        assert_eq!(opened.found, (0..start).collect::<Vec<_>>());
        assert!(opened.replayed.clean);
        opened.start().unwrap();
        assert_eq!(u64::from(opened.log.epoch()), start + 1);
        assert!(opened.commit(start, 300));
        opened.log.close();
    }
}

#[test]
fn log_that_was_not_closed_is_not_clean_and_complete() {
    let folder = TempDir::new().unwrap();
    let log = started(folder.path());
    for number in 0..10 {
        assert!(log.commit(number, 300));
    }
    let (replayed, found) = reread(folder.path());
    assert_eq!(found, (0..10).collect::<Vec<_>>());
    assert!(!replayed.clean);
    assert_eq!(replayed.cut, None);
}

#[test]
fn start_without_appends_ends_as_it_began() {
    let folder = TempDir::new().unwrap();
    let log = started(folder.path());
    log.log.close();
    assert_eq!(disk().list(folder.path()).unwrap(), [""; 0]);
    let log = started(folder.path());
    assert!(log.commit(0, 10));
    log.log.close();
    for _ in 0..3 {
        started(folder.path()).log.close();
        let (replayed, found) = reread(folder.path());
        assert!(replayed.clean && found == [0]);
    }
}

#[test]
fn start_after_a_close_is_noticed_though_nothing_was_appended() {
    let folder = TempDir::new().unwrap();
    let log = started(folder.path());
    assert!(log.commit(0, 10));
    log.log.close();
    let copy = TempDir::new().unwrap();
    let log = started(folder.path());
    let name = "log-0000000000000001.log";
    // As a killed process leaves it.
    fs::copy(folder.path().join(name), copy.path().join(name)).unwrap();
    drop(log);
    let (replayed, found) = reread(copy.path());
    assert!(!replayed.clean && found == [0]);
}

#[test]
fn follower_learns_places_that_can_be_read() {
    let folder = TempDir::new().unwrap();
    let log = started(folder.path());
    for number in 0..30 {
        assert!(log.commit(number, 200));
    }
    let mut files = Vec::new();
    for (at, items) in log.told.so_far().written {
        files.push(at.file);
        let mut found = vec![0; items.len()];
        log.log.read(at, &mut found).unwrap();
        assert!(found == items);
    }
    files.dedup();
    assert_eq!(files, (1..=files.len() as u64).collect::<Vec<_>>());
    let full = files.len() - 1;
    assert!(log.told.wait(|events| events.full.len() == full));
    assert_eq!(log.told.so_far().full, files[..full]);
}

#[test]
fn group_larger_than_a_file_gets_a_larger_file() {
    let folder = TempDir::new().unwrap();
    let log = started(folder.path());
    for (number, length) in [10, 50_000, 10, 9_000].into_iter().enumerate() {
        assert!(log.commit(number as u64, length));
    }
    log.log.trim(4).unwrap();
    log.log.close();
    let (_, found) = (open(&disk(), folder.path(), &small_files(), 4))
        .map(|opened| (opened.replayed, opened.found))
        .unwrap();
    assert_eq!(found, [3]);
    // The larger ones have the usual size when they are used again.
    for file in disk().list(folder.path()).unwrap() {
        let length = fs::metadata(folder.path().join(&file)).unwrap().len();
        assert!(
            length == 2_000 || file == "log-0000000000000004.log",
            "{file}"
        );
    }
}

#[test]
fn trimmed_files_are_used_again_and_what_is_too_many_is_removed() {
    let folder = TempDir::new().unwrap();
    let log = started(folder.path());
    let mut number = 0;
    while log.log.files().active < 12 {
        assert!(log.commit(number, 300));
        number += 1;
    }
    let kept = log.told.first_batches()[&11];
    log.log.trim(11).unwrap();
    let files = log.log.files();
    assert_eq!((files.first, files.active), (11, 12));
    let names = disk().list(folder.path()).unwrap();
    assert_eq!(names.len(), 2 + LogOptions::default().spare);
    assert_eq!(files.bytes, 2_000 * names.len() as u64);
    let first = log.told.so_far().written[0].0;
    let gone = log.log.read(first, &mut [0]).unwrap_err().to_string();
    assert!(gone.ends_with("log-0000000000000001.log holds no log any more"));
    // What stands in the files from before is never taken for something new.
    for step in 0..40 {
        let again = open(&disk(), folder.path(), &small_files(), 11).unwrap();
        assert_eq!(again.found, (kept..number).collect::<Vec<_>>(), "{step}");
        assert_eq!(again.replayed.cut, None);
        assert!(log.commit(number, 300));
        number += 1;
    }
}

#[test]
fn files_that_are_not_needed_are_ignored_by_replay_and_trimmed_later() {
    let folder = TempDir::new().unwrap();
    let log = started(folder.path());
    for number in 0..20 {
        assert!(log.commit(number, 300));
    }
    log.log.close();
    let kept = log.told.first_batches()[&3];
    // Not even whether they are whole matters.
    fs::write(folder.path().join("log-0000000000000001.log"), b"nothing").unwrap();
    let log = open(&disk(), folder.path(), &small_files(), 3).unwrap();
    assert_eq!(log.found, (kept..20).collect::<Vec<_>>());
    log.start().unwrap();
    log.log.trim(3).unwrap();
    let names = disk().list(folder.path()).unwrap();
    assert!(!names.contains(&"log-0000000000000001.log".to_owned()));
    for number in 20..40 {
        assert!(log.commit(number, 300));
    }
    log.log.close();
    let log = open(&disk(), folder.path(), &small_files(), 3).unwrap();
    assert_eq!(log.found, (kept..40).collect::<Vec<_>>());
}

#[test]
fn other_file_sizes_suit_files_that_are_there() {
    let folder = TempDir::new().unwrap();
    let mut number = 0;
    for file_size in [2_000, 500, 10_000, 0, 3_000] {
        let options = LogOptions {
            file_size,
            ..LogOptions::default()
        };
        let log = open(&disk(), folder.path(), &options, 0).unwrap();
        assert_eq!(log.found, (0..number).collect::<Vec<_>>());
        log.start().unwrap();
        for _ in 0..20 {
            assert!(log.commit(number, 300));
            number += 1;
        }
        log.log.close();
    }
}

#[test]
fn log_is_used_in_the_right_order_only() {
    let folder = TempDir::new().unwrap();
    let log = FileLog::open(disk(), folder.path(), small_files()).unwrap();
    let told = Told::default();
    let start = || log.start(Box::new(told.clone()), Box::new(|_| ()));
    assert!(start().is_err());
    let mut items = batch(0, 10);
    assert_eq!(log.append(&mut items, SyncWhen::Soon), Ticket::NEVER);
    assert!(items.is_empty());
    assert_eq!(log.append(&mut items, SyncWhen::Soon), Ticket::NONE);
    log.replay(0, &mut |_, _| Ok(())).unwrap();
    assert!(log.replay(0, &mut |_, _| Ok(())).is_err());
    start().unwrap();
    assert!(start().is_err());
    log.close();
    assert_eq!(log.append(&mut batch(0, 10), SyncWhen::Soon), Ticket::NEVER);
}

#[test]
fn error_of_the_caller_ends_the_replay() {
    let folder = TempDir::new().unwrap();
    let log = started(folder.path());
    assert!(log.commit(0, 10));
    log.log.close();
    let log = FileLog::open(disk(), folder.path(), small_files()).unwrap();
    let mine = broker_core::Error::Internal("mine".to_owned());
    let error = log.replay(0, &mut |_, _| Err(mine.clone())).unwrap_err();
    assert_eq!(error, mine);
}

/// Notes how many syncs there were when it was called.
struct Syncs(FaultyDisk, Mutex<Option<usize>>);

fn syncs(disk: &FaultyDisk) -> usize {
    let operations = disk.operations();
    let synced = |operation: &&String| *operation == "sync log-0000000000000001.log";
    operations.iter().filter(synced).count()
}

impl Completion for Syncs {
    fn durable(&self, _: Ticket) {
        *self.1.lock() = Some(syncs(&self.0));
    }
}

/// Syncs before the completion, between it and a while later, and by the close. One is for the new file.
fn syncs_with(durability: Durability) -> [usize; 3] {
    let folder = TempDir::new().unwrap();
    let disk = FaultyDisk::new(0);
    let options = LogOptions {
        durability,
        ..LogOptions::default()
    };
    let log = open(&(Arc::new(disk.clone()) as _), folder.path(), &options, 0).unwrap();
    log.start().unwrap();
    let seen = Arc::new(Syncs(disk.clone(), Mutex::new(None)));
    let ticket = log.append(0, 10, SyncWhen::Soon);
    log.log.notify(ticket, seen.clone());
    let deadline = Instant::now() + DEADLINE;
    let interval = matches!(durability, Durability::Interval(_));
    while seen.1.lock().is_none() || (interval && syncs(&disk) < 2) {
        assert!(Instant::now() < deadline);
        std::thread::yield_now();
    }
    let before = seen.1.lock().unwrap();
    let after = syncs(&disk) - before;
    log.log.close();
    [before, after, syncs(&disk) - before - after]
}

#[test]
fn completion_comes_after_the_sync_or_before_as_the_durability_says() {
    // The last sync is that of the closing group.
    assert_eq!(syncs_with(Durability::Sync), [2, 0, 1]);
    let interval = Durability::Interval(Duration::from_millis(50));
    assert_eq!(syncs_with(interval), [1, 1, 1]);
    assert_eq!(syncs_with(Durability::None), [1, 0, 2]);
}
