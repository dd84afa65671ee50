//! Bits flipped in every file of a journal: what is damaged is told with file and offset, damage in what nobody needs any
//! more is told apart and costs nothing, and no message is ever changed.

use std::{
    collections::BTreeMap,
    fs, io,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use broker_core::{
    Error,
    journal::{
        FileLog, JournalStore,
        check::{self, Finding, Report},
        file_system::{Disk, File, FileSystem},
    },
    store::MessageStore,
};
use tempfile::TempDir;

use crate::{
    log_damage::path,
    store_script::{Ending, FILE_SIZE, Script, options, read},
};

/// Flips in each file.
const FLIPS: usize = 12;

/// The bytes of a journal's files by name.
type Files = BTreeMap<String, Vec<u8>>;

/// Queues, and position and body of their messages.
type Contents = BTreeMap<u64, Vec<(u64, Vec<u8>)>>;

/// Files with segments, garbage in them, a file of the log in front of where it starts, and a closed log.
fn sample() -> Files {
    let mut script = Script::new(1);
    assert_eq!(script.play(), Ending::Done);
    for _ in 0..50 {
        let mut files = files_in(&script.directory());
        let logs = files.iter().filter(|(name, _)| name.starts_with("log-"));
        let logs: Vec<_> = logs
            .map(|(name, bytes)| (name.clone(), named_in(bytes), bytes))
            .collect();
        // As if the file in front of the log had not been given back yet, of which there is a new use.
        let first = named_in(logs[0].2);
        let old = logs.iter().find(|(_, named, _)| named + 1 == first);
        if let Some((_, number, bytes)) = old
            && has_garbage(&files)
        {
            let name = path(Path::new(""), *number).to_string_lossy().into_owned();
            let bytes = (*bytes).clone();
            files.insert(name, bytes);
            // A file with a large group loses its end when it is used again.
            if verify(write(&files).path()).garbage.is_empty() {
                return files;
            }
        }
        assert_eq!(script.session(5), Ending::Done);
    }
    panic!("the log never gave a file back");
}

/// Whether there are several segments, and some of [`places`] in them hit what nobody needs any more.
fn has_garbage(files: &Files) -> bool {
    let segments = || {
        let named = files.iter();
        named.filter(|(name, _)| name.starts_with("segment-"))
    };
    let harmless = |name: &str, offset| {
        let mut files = files.clone();
        files.get_mut(name).unwrap()[offset] ^= 1;
        verify(write(&files).path()).findings.is_empty()
    };
    segments().count() > 1
        && segments().any(|(name, bytes)| places(bytes).any(|offset| harmless(name, offset)))
}

/// Where bits are flipped in a file: not always in the same part of a header.
fn places(bytes: &[u8]) -> impl Iterator<Item = usize> {
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    (0..FLIPS).map(move |flip| (used * flip / FLIPS + flip % 3).min(used - 1))
}

/// The file of the log that the first group says it stands in.
fn named_in(log: &[u8]) -> u64 {
    u64::from_le_bytes(log[40..48].try_into().unwrap())
}

fn files_in(directory: &Path) -> Files {
    let names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    let names = names.map(|entry| entry.file_name().into_string().unwrap());
    let names = names.filter(|name| !name.starts_with('.'));
    let read = |name: String| (name.clone(), fs::read(directory.join(name)).unwrap());
    names.map(read).collect()
}

fn write(files: &Files) -> TempDir {
    let folder = TempDir::new_in("/dev/shm")
        .or_else(|_| TempDir::new())
        .unwrap();
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

fn verify(folder: &Path) -> Report {
    verify_on(Disk, folder)
}

fn verify_on(disk: impl FileSystem + 'static, folder: &Path) -> Report {
    let files: Arc<dyn FileSystem> = Arc::new(disk);
    check::verify(&files, folder).unwrap()
}

/// All messages, or why some cannot be had.
fn contents(folder: &Path) -> Result<Contents, Error> {
    let log = FileLog::open(Arc::new(Disk), folder, options())?;
    let store = JournalStore::open(
        Arc::new(Disk),
        folder,
        Arc::new(log),
        FILE_SIZE,
        Box::new(|error| panic!("{error}")),
    )?;
    let mut contents = Contents::new();
    for queue in store.queues()? {
        let messages = read(&store, queue)?.into_iter();
        let messages = messages.map(|it| (it.position, it.message.body().to_vec()));
        contents.insert(queue.0, messages.collect());
    }
    Ok(contents)
}

/// Whether a finding names this file, and a place in front of `offset` or at it.
fn names(finding: &Finding, file: &str, offset: usize) -> bool {
    match &finding.place {
        Some((path, at)) => path.ends_with(file) && *at <= offset as u64,
        None => finding.what.contains(file) && finding.what.contains(" at byte "),
    }
}

/// Flips bits in the files whose names begin so, and counts those that were found in what is needed, found in what is
/// not, and not found.
fn flip(kind: &str) -> [usize; 3] {
    let sample = sample();
    let folder = write(&sample);
    let report = verify(folder.path());
    assert_eq!((&report.findings, &report.garbage), (&vec![], &vec![]));
    let expected = contents(folder.path()).unwrap();
    let mut counts = [0; 3];
    for (name, whole) in sample.iter().filter(|(name, _)| name.starts_with(kind)) {
        for offset in places(whole) {
            let mut files = sample.clone();
            files.get_mut(name).unwrap()[offset] ^= 1 << (offset % 8);
            let folder = write(&files);
            let report = verify(folder.path());
            let place = format!("{name} at {offset}: {report:?}");
            let all = || report.findings.iter().chain(&report.garbage);
            assert!(all().all(|it| names(it, name, offset)), "{place}");
            let found = contents(folder.path());
            if report.findings.is_empty() {
                assert!(found.is_ok_and(|found| found == expected), "{place}");
            } else if let Ok(found) = found {
                assert!(found == expected, "{place}: changed, and not refused");
            }
            let which = [report.findings.len(), report.garbage.len(), 1];
            counts[which.iter().position(|count| *count > 0).unwrap()] += 1;
        }
    }
    println!("{kind}: {counts:?} are damage, harmless, not noticed");
    counts
}

#[test]
fn flipped_bits_in_segments_are_all_found_and_told_apart() {
    let [damage, harmless, unnoticed] = flip("segment-");
    assert!(damage > 0 && harmless > 0);
    assert_eq!(unnoticed, 0);
}

#[test]
fn flipped_bits_in_the_manifest_are_all_found() {
    let [damage, harmless, unnoticed] = flip("manifest");
    assert!(damage > 0);
    assert_eq!((harmless, unnoticed), (0, 0));
}

/// Not noticed is only what hits the room behind a group, or what is left of the header of a group of long ago.
#[test]
fn flipped_bits_in_the_log_are_found_and_told_apart() {
    let [damage, harmless, unnoticed] = flip("log-");
    assert!(damage > 0 && harmless > 0);
    // How many files there are that are no longer used differs from run to run.
    assert!(unnoticed < 3 * (damage + harmless), "{unnoticed}");
}

#[test]
fn every_damaged_place_is_told() {
    let mut files = sample();
    for bytes in files.values_mut() {
        let offset = bytes.len() / 2;
        bytes[offset] ^= 4;
    }
    let report = verify(write(&files).path());
    let told = |name: &String| {
        let mut all = report.findings.iter().chain(&report.garbage);
        all.any(|finding| names(finding, name, usize::MAX >> 1))
    };
    let segments = files.keys().filter(|name| !name.starts_with("log-"));
    let untold: Vec<_> = segments.filter(|name| !told(name)).collect();
    assert!(untold.is_empty(), "{untold:?} of {report:#?}");
}

#[test]
fn segment_that_was_never_finished_is_harmless() {
    let mut files = sample();
    let (_, segment) = files
        .iter()
        .find(|(name, _)| name.starts_with("segment-"))
        .unwrap();
    let torn = segment[..segment.len() - 5].to_vec();
    let name = "segment-0000000000009999.seg";
    files.insert(name.to_owned(), torn);
    let folder = write(&files);
    let report = verify(folder.path());
    assert!(report.findings.is_empty(), "{report:?}");
    assert!(
        names(&report.garbage[0], name, usize::MAX >> 1),
        "{report:?}"
    );
    contents(folder.path()).unwrap();
    assert!(!folder.path().join(name).exists());
}

/// Where the records of a manifest begin.
fn records(manifest: &[u8]) -> Vec<usize> {
    let mut starts = Vec::new();
    let mut at = 0;
    while let Some(length) = manifest.get(at + 4..at + 8) {
        starts.push(at);
        at += 24 + u32::from_le_bytes(length.try_into().unwrap()) as usize;
    }
    starts
}

#[test]
fn every_damaged_record_of_the_manifest_is_told() {
    let mut files = sample();
    let mut script = Script::new(1);
    let manifest = files.get_mut("manifest").unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while records(manifest).len() < 6 {
        assert!(Instant::now() < deadline, "the manifest does not grow");
        assert_eq!(script.session(10), Ending::Done);
        *manifest = fs::read(script.directory().join("manifest")).unwrap();
    }
    let starts = records(manifest);
    // In the edits, in the header, and of the last.
    let damaged = [starts[0], starts[2], starts[3], *starts.last().unwrap()];
    for (start, within) in damaged.iter().zip([24, 3, 24, 24]) {
        manifest[start + within] ^= 1;
    }
    let report = verify(write(&files).path());
    let places: Vec<_> = report
        .findings
        .iter()
        .filter_map(|it| it.place.clone())
        .collect();
    let in_manifest = places.iter().filter(|(path, _)| path.ends_with("manifest"));
    let offsets: Vec<_> = in_manifest.map(|(_, offset)| *offset as usize).collect();
    // One place may be a stretch of several records.
    let expected: Vec<_> = damaged
        .iter()
        .filter(|at| **at != starts[3])
        .copied()
        .collect();
    assert_eq!(offsets, expected, "{report:#?}");
}

/// A disk that refuses to read the start of one file.
struct BadDisk(String);

struct BadFile(Box<dyn File>);

impl FileSystem for BadDisk {
    fn open(&self, path: &Path, create: bool) -> io::Result<Box<dyn File>> {
        let file = Disk.open(path, create)?;
        Ok(match path.ends_with(&self.0) {
            true => Box::new(BadFile(file)),
            false => file,
        })
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        panic!("verifying changes nothing")
    }

    fn remove(&self, _: &Path) -> io::Result<()> {
        panic!("verifying changes nothing")
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        Disk.list(directory)
    }

    fn create_directory(&self, _: &Path) -> io::Result<()> {
        panic!("verifying changes nothing")
    }

    fn sync_directory(&self, _: &Path) -> io::Result<()> {
        panic!("verifying changes nothing")
    }
}

impl File for BadFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        match offset {
            0..100 => Err(io::Error::from_raw_os_error(crate::faulty_disk::EIO)),
            _ => self.0.read_at(buffer, offset),
        }
    }

    fn write_at(&self, _: &[&[u8]], _: u64) -> io::Result<()> {
        panic!("verifying changes nothing")
    }

    fn sync(&self) -> io::Result<()> {
        panic!("verifying changes nothing")
    }

    fn truncate(&self, _: u64) -> io::Result<()> {
        panic!("verifying changes nothing")
    }

    fn allocate(&self, _: u64) -> io::Result<()> {
        panic!("verifying changes nothing")
    }

    fn length(&self) -> io::Result<u64> {
        self.0.length()
    }
}

#[test]
fn file_that_cannot_be_read_is_told_and_all_others_are_looked_at() {
    let mut files = sample();
    let mut segments = files
        .iter_mut()
        .filter(|(name, _)| name.starts_with("segment-"));
    let (flipped, bytes) = segments.next_back().unwrap();
    bytes[100] ^= 1;
    let flipped = flipped.clone();
    let folder = write(&files);
    for name in files.keys() {
        let report = verify_on(BadDisk(name.clone()), folder.path());
        let refused = |it: &&Finding| it.what.contains("cannot be read: Input/output error");
        let refused: Vec<_> = report.findings.iter().filter(refused).collect();
        assert_eq!(refused.len(), 1, "{name}: {report:#?}");
        assert!(names(refused[0], name, 0), "{name}: {report:#?}");
        let mut all = report.findings.iter().chain(&report.garbage);
        let told = *name == flipped || all.any(|it| names(it, &flipped, 100));
        assert!(told, "{name}: {report:#?}");
        let count = files.keys().filter(|it| it.starts_with("segment-")).count();
        assert_eq!(report.segments, count);
        let unread = report.log.is_none_or(|log| log.groups == 0);
        assert!(!unread, "{name}: {report:#?}");
    }
}
