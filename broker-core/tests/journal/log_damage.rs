//! Logs whose bytes were changed, cut or lost: damage is named, a torn end is cut, and nothing false comes out.

use std::{
    fs,
    path::{Path, PathBuf},
};

use broker_core::{
    journal::log::{Log, LogPosition},
    store::SyncWhen,
};
use tempfile::TempDir;

use crate::log_support::{batch, disk, open, reread, small_files, started};

/// Bytes of a group's header.
pub const HEADER: u64 = 56;

/// A log of a few batches, each a group of its own that was synced before the next was written.
pub struct Written {
    pub folder: TempDir,
    /// Where the groups begin, and behind their items.
    pub groups: Vec<(LogPosition, u64)>,
}

pub fn written(count: u64, length: usize, close: bool) -> Written {
    let folder = TempDir::new().unwrap();
    let log = started(folder.path());
    for number in 0..count {
        assert!(log.commit(number, length));
    }
    if close {
        log.log.close();
    }
    let groups = log.told.so_far().written.into_iter();
    let groups = groups.map(|(mut at, items)| {
        at.offset -= HEADER;
        (at, at.offset + HEADER + items.len() as u64)
    });
    let groups = groups.collect();
    // The files are as a killed process leaves them: the log in memory goes on elsewhere.
    let copy = TempDir::new().unwrap();
    copy_files(folder.path(), copy.path());
    Written {
        folder: copy,
        groups,
    }
}

fn copy_files(from: &Path, to: &Path) {
    for name in disk().list(from).unwrap() {
        fs::copy(from.join(&name), to.join(&name)).unwrap();
    }
}

pub fn path(folder: &Path, file: u64) -> PathBuf {
    folder.join(format!("log-{file:016}.log"))
}

/// Replays as [`reread`] does, but gives the text of an error.
fn try_reread(folder: &Path) -> Result<(Option<LogPosition>, Vec<u64>), String> {
    let opened = open(&disk(), folder, &small_files(), 0).map_err(|error| error.to_string())?;
    Ok((opened.replayed.cut.map(|cut| cut.at), opened.found))
}

impl Written {
    /// Flips one bit of every byte in turn and replays each time.
    fn flip_each(
        &self,
        mut check: impl FnMut(LogPosition, Result<(Option<LogPosition>, Vec<u64>), String>),
    ) {
        let last = self.groups.last().unwrap();
        for file in 1..=last.0.file {
            let path = path(self.folder.path(), file);
            let whole = fs::read(&path).unwrap();
            let mut bytes = whole.clone();
            for offset in 0..whole.len() {
                bytes[offset] ^= 1 << (offset % 8);
                fs::write(&path, &bytes).unwrap();
                bytes[offset] = whole[offset];
                let at = LogPosition {
                    file,
                    offset: offset as u64,
                };
                check(at, try_reread(self.folder.path()));
            }
            fs::write(&path, &whole).unwrap();
        }
    }

    /// The number of the group that this byte belongs to.
    fn group(&self, at: LogPosition) -> Option<usize> {
        let inside = |(from, to): &(LogPosition, u64)| {
            from.file == at.file && (from.offset..*to).contains(&at.offset)
        };
        self.groups.iter().position(inside)
    }
}

fn assert_names(error: &str, at: LogPosition) {
    let file = format!("log-{:016}.log is damaged at byte {}:", at.file, at.offset);
    assert!(error.contains(&file), "{error}");
    assert!(error.contains("`leveret journal repair`"), "{error}");
}

#[test]
fn changed_bit_in_a_closed_log_is_damage_where_the_group_begins() {
    let log = written(6, 400, true);
    assert_eq!(log.groups.last().unwrap().0.file, 2);
    log.flip_each(|at, found| match (log.group(at), found) {
        (Some(group), Err(error)) => assert_names(&error, log.groups[group].0),
        (None, Ok((_, found))) => assert_eq!(found, [0, 1, 2, 3, 4, 5], "{at:?}"),
        (group, found) => panic!("{at:?} in group {group:?} gave {found:?}"),
    });
}

#[test]
fn changed_bit_in_a_killed_log_is_damage_or_the_torn_end() {
    let log = written(6, 400, false);
    log.flip_each(|at, found| match (log.group(at), found) {
        (Some(5), Ok((cut, found))) => {
            assert_eq!(cut, Some(log.groups[5].0));
            assert_eq!(found, [0, 1, 2, 3, 4]);
        }
        (Some(group), Err(error)) => assert_names(&error, log.groups[group].0),
        (None, Ok((cut, found))) => {
            assert_eq!(found, [0, 1, 2, 3, 4, 5], "{at:?}");
            assert_eq!(cut, None);
        }
        (group, found) => panic!("{at:?} in group {group:?} gave {found:?}"),
    });
}

/// Cuts the last group after every number of bytes, with `behind` where the rest was, and goes on with the log.
fn check_torn(count: u64, behind: impl Fn(u64) -> Option<u8>) {
    let log = written(count, 300, false);
    let (at, end) = *log.groups.last().unwrap();
    let last = path(log.folder.path(), at.file);
    let whole = fs::read(&last).unwrap();
    for torn in at.offset..end {
        let folder = TempDir::new().unwrap();
        copy_files(log.folder.path(), folder.path());
        let mut bytes = whole[..torn as usize].to_vec();
        bytes.extend((torn..whole.len() as u64).map_while(&behind));
        fs::write(path(folder.path(), at.file), &bytes).unwrap();
        let opened = open(&disk(), folder.path(), &small_files(), 0).unwrap();
        let kept: Vec<_> = (0..count - 1).collect();
        assert_eq!(opened.found, kept, "torn at {torn}");
        match opened.replayed.cut {
            Some(cut) => assert_eq!(cut.at, at),
            // Too little is left to tell that something was begun there.
            None => assert!(torn - at.offset < HEADER),
        }
        opened.start().unwrap();
        assert!(opened.commit(count - 1, 10));
        opened.log.close();
        let (replayed, found) = reread(folder.path());
        assert_eq!(found, (0..count).collect::<Vec<_>>());
        assert!(replayed.clean);
    }
}

#[test]
fn end_torn_anywhere_is_cut() {
    check_torn(4, |_| Some(0));
}

#[test]
fn end_torn_anywhere_is_cut_in_front_of_old_bytes() {
    check_torn(4, |offset| Some((offset * 151 + 7) as u8));
}

#[test]
fn end_torn_anywhere_is_cut_with_the_file() {
    check_torn(4, |_| None);
}

#[test]
fn first_group_of_a_file_torn_anywhere_is_cut() {
    // Five of them fill a file.
    check_torn(6, |_| Some(0));
}

#[test]
fn missing_file_is_named() {
    let log = written(16, 300, true);
    let folder = log.folder.path();
    assert!(log.groups.last().unwrap().0.file >= 4);
    for file in [1, 2, 3] {
        let whole = fs::read(path(folder, file)).unwrap();
        fs::remove_file(path(folder, file)).unwrap();
        let error = try_reread(folder).unwrap_err();
        let name = format!("log-{file:016}.log is missing");
        assert!(error.contains(&name), "{error}");
        fs::write(path(folder, file), whole).unwrap();
    }
    let from_behind = open(&disk(), folder, &small_files(), 9).err().unwrap();
    let name = "log-0000000000000009.log is missing";
    assert!(from_behind.to_string().contains(name), "{from_behind}");
    let empty = TempDir::new().unwrap();
    assert!(open(&disk(), empty.path(), &small_files(), 1).is_ok());
    assert!(open(&disk(), empty.path(), &small_files(), 2).is_err());
}

/// Writes three groups of which none is synced, and loses one.
fn lose_unsynced(lost: usize) {
    let folder = TempDir::new().unwrap();
    let log = started(folder.path());
    assert!(log.commit(0, 100));
    for number in 1..4 {
        let mut items = batch(number, 100);
        log.log.append(&mut items, SyncWhen::WhenAwaited);
        let count = number as usize + 1;
        assert!(log.told.wait(|events| events.written.len() == count));
    }
    let copy = TempDir::new().unwrap();
    copy_files(folder.path(), copy.path());
    let file = path(copy.path(), 1);
    let mut bytes = fs::read(&file).unwrap();
    let (at, items) = &log.told.so_far().written[lost];
    let from = (at.offset - HEADER) as usize;
    let to = at.offset as usize + items.len();
    bytes[from..to].fill(0);
    fs::write(&file, &bytes).unwrap();

    let again = open(&disk(), copy.path(), &small_files(), 0).unwrap();
    assert_eq!(again.found, (0..lost as u64).collect::<Vec<_>>());
    assert_eq!(
        again.replayed.cut.map(|cut| cut.at.offset),
        (lost < 3).then_some(from as u64)
    );
    again.start().unwrap();
    // Of the same size, so that what stood behind would follow exactly.
    assert!(again.commit(lost as u64, 100));
    again.log.close();
    let (replayed, found) = reread(copy.path());
    assert_eq!(found, (0..=lost as u64).collect::<Vec<_>>());
    assert!(replayed.clean);
}

#[test]
fn what_was_never_synced_is_cut_though_more_follows() {
    for lost in 1..4 {
        lose_unsynced(lost);
    }
}

#[test]
fn file_of_another_log_does_not_continue_this_one() {
    let (one, other) = (written(6, 400, false), written(6, 400, false));
    fs::copy(path(other.folder.path(), 2), path(one.folder.path(), 2)).unwrap();
    let (cut, found) = try_reread(one.folder.path()).unwrap();
    assert_eq!(found, [0, 1, 2, 3]);
    assert_eq!(cut, None);
}
