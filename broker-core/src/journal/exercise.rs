//! What the fuzz target `journal_files` runs, kept here so that `cargo test` can replay its corpus through the same code.
//!
//! The target `journal_reader` looks at the framing of the log. This one looks at what is inside: items and blocks within
//! groups, blocks in segments, edits in the manifest, and at all of them together as a journal.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    FileLog, JournalStore, block,
    block::Content,
    check::{self, Report},
    file_log::group::{self, Header, Kind},
    file_system::FileSystem,
    items::BODIES,
    log::LogOptions,
    manifest,
    memory_disk::MemoryDisk,
    segment,
};
use crate::{
    error::Error,
    store::{MessageStore, QueueId},
};

/// Small, so that short inputs fill files.
const FILE_SIZE: u64 = 2048;

/// The number of the log.
const LOG: u64 = 77;

/// Takes arbitrary bytes for the contents of a journal's files. Nothing may panic; verifying changes nothing; only
/// messages of blocks whose checksum fits come out; what a repair leaves is whole and can be opened.
///
/// The first byte says whether checksums of blocks are made to fit, so that everything behind them is reached, the second
/// is the number of the log's only file. Then come parts: what it is (1 byte), its length (2 bytes), and bytes.
///
/// # Panics
/// When one of these is not so: that is a bug in this crate.
#[allow(clippy::panic, clippy::expect_used)]
pub fn exercise(data: &[u8]) {
    let disk = build(data);
    let whole = Whole::in_files(&disk);
    let before = disk.contents();
    let report = verify(&disk);
    assert_eq!(disk.contents(), before, "verifying changed something");
    let repaired = disk.copy();
    let found = read(&disk).map(|found| whole.check(&found));
    if report.is_ok_and(|report| report.findings.is_empty())
        && let Err(error) = found
    {
        // A number in a block of which the checksum was made to fit: no disk does that.
        let text = error.to_string();
        assert!(text.contains("shared body"), "nothing was damaged: {text}");
    }
    if check::repair(&repaired, directory(), &open(&repaired)).is_ok() {
        let report = verify(&repaired).expect("files in memory can be read");
        // What stands in a whole group of the log is believed: here only is its checksum that of anything.
        let in_log = |place: &Option<(PathBuf, u64)>| {
            let name = place.as_ref().and_then(|(path, _)| path.file_name());
            name.is_some_and(|name| name.to_string_lossy().starts_with("log-"))
        };
        let findings = &report.findings;
        let inside = findings.iter().all(|finding| in_log(&finding.place));
        assert!(inside, "a repair left damage: {findings:?}");
        match read(&repaired) {
            Ok(found) => whole.check(&found),
            Err(error) => {
                let text = error.to_string();
                let known = !findings.is_empty() || text.contains("shared body");
                assert!(known, "after a repair: {text}");
            }
        }
    }
}

/// What a part of the input becomes.
enum Part {
    /// The items of a group, which is put behind the last one.
    Group,
    /// A segment: its number (1 byte) and its blocks.
    Segment,
    /// The edits of a record, which is put behind the last one.
    Edits,
    /// Bytes behind the log.
    Log,
    /// Bytes behind the manifest.
    Manifest,
}

impl Part {
    fn from_number(number: u8) -> Self {
        match number % 5 {
            0 => Self::Group,
            1 => Self::Segment,
            2 => Self::Edits,
            3 => Self::Log,
            _ => Self::Manifest,
        }
    }
}

/// Makes the files.
fn build(data: &[u8]) -> MemoryDisk {
    let disk = MemoryDisk::default();
    let ([fit, file], mut rest) = data.split_first_chunk().unwrap_or((&[0, 1], &[]));
    let file = u64::from(*file).max(1);
    let (mut log, mut manifest) = (Vec::new(), Vec::new());
    let (mut groups, mut records) = (0, 0);
    while let Some(([kind, low, high], tail)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(tail.len());
        let (content, tail) = tail.split_at(length);
        rest = tail;
        let mut content = content.to_vec();
        match Part::from_number(*kind) {
            Part::Group => {
                fit_blocks(&mut content, *fit);
                log.extend(group_of(&content, file, groups));
                groups += 1;
            }
            Part::Segment => {
                let number = content.first().copied().map_or(1, u64::from);
                let blocks = content.get_mut(1..).unwrap_or_default();
                fit_blocks(blocks, *fit);
                let name = segment::path(Path::new(""), number);
                let bytes = [segment::header(number).as_slice(), blocks].concat();
                disk.put(name.to_string_lossy().into_owned(), bytes);
            }
            Part::Edits => {
                manifest.extend(manifest::framed(&content, records));
                records += 1;
            }
            Part::Log => log.extend(content),
            Part::Manifest => manifest.extend(content),
        }
    }
    disk.put(format!("log-{file:016}.log"), log);
    disk.put(manifest::NAME.to_owned(), manifest);
    disk
}

fn group_of(items: &[u8], file: u64, number: u32) -> Vec<u8> {
    let header = Header {
        items_crc: crc32c::crc32c(items),
        length: items.len() as u32,
        epoch: 1,
        kind: Kind::Items,
        index: number,
        unsynced: 0,
        sequence: u64::from(number) + 1,
        file,
        log: LOG,
    };
    let mut group = header.encode().to_vec();
    group.extend_from_slice(items);
    group.resize(group::size(items.len()) as usize, 0);
    group
}

/// Gives blocks that stand one behind the other checksums that fit, if `fit` says so.
fn fit_blocks(bytes: &mut [u8], fit: u8) {
    let mut rest = bytes;
    while fit & 1 != 0 && !rest.is_empty() {
        let length = rest.get(4..8).and_then(|bytes| bytes.first_chunk());
        let length = length.map_or(0, |length| u32::from_le_bytes(*length) as usize);
        if length < 8 {
            return;
        }
        let Some((item, tail)) = std::mem::take(&mut rest).split_at_mut_checked(length) else {
            return;
        };
        if item.first() == Some(&block::KIND)
            && let Some((start, checked)) = item.split_at_mut_checked(block::CHECKED)
            && let Some(place) = start.last_chunk_mut()
        {
            *place = crc32c::crc32c(checked).to_le_bytes();
        }
        rest = tail;
    }
}

fn directory() -> &'static Path {
    Path::new("journal")
}

#[allow(clippy::expect_used)]
fn open(disk: &MemoryDisk) -> FileLog {
    let options = LogOptions {
        file_size: FILE_SIZE,
        ..LogOptions::default()
    };
    FileLog::open(Arc::new(disk.clone()), directory(), options).expect("a log")
}

fn verify(disk: &MemoryDisk) -> Result<Report, Error> {
    let files: Arc<dyn FileSystem> = Arc::new(disk.clone());
    check::verify(&files, directory())
}

/// Queue, position and bytes of every message.
type Messages = Vec<(u64, u64, Vec<u8>)>;

/// Everything that a broker would deliver.
fn read(disk: &MemoryDisk) -> Result<Messages, Error> {
    let files: Arc<dyn FileSystem> = Arc::new(disk.clone());
    let log = Arc::new(open(disk));
    let failed = Box::new(|error| tracing::error!("{error}"));
    let store = JournalStore::open(files, directory(), log, FILE_SIZE, failed)?;
    let mut found = Messages::new();
    for queue in store.queues()? {
        let mut from = 0;
        loop {
            let before = found.len();
            store.read(queue, from, u64::MAX, 4096, &mut |stored| {
                let bytes = stored.message.packed().to_vec();
                found.push((queue.0, stored.position, bytes));
            })?;
            match found.last() {
                Some((_, last, _)) if found.len() > before && *last < u64::MAX => from = last + 1,
                _ => break,
            }
        }
    }
    Ok(found)
}

/// The messages of all blocks that are whole, wherever they stand.
#[derive(Default)]
struct Whole {
    messages: BTreeMap<(u64, u64), BTreeSet<Vec<u8>>>,
    references: BTreeSet<(u64, u64)>,
    bodies: BTreeSet<Vec<u8>>,
}

impl Whole {
    fn in_files(disk: &MemoryDisk) -> Self {
        let mut whole = Self::default();
        for bytes in disk.contents().values() {
            for start in 0..bytes.len() {
                let rest = bytes.get(start..).unwrap_or_default();
                let header = block::BlockHeader::parse(rest);
                let length = header.map_or(0, |header| header.length as usize);
                let block = rest
                    .get(..length)
                    .filter(|block| block::check(block).is_ok());
                if let (Ok(header), Some(block)) = (header, block) {
                    whole.add(header.queue, block);
                }
            }
        }
        whole
    }

    fn add(&mut self, queue: QueueId, block: &[u8]) {
        for record in block::records(block).map_while(Result::ok) {
            let place = (queue.0, record.position);
            match record.content {
                Content::Whole { bytes, .. } if queue == BODIES => {
                    self.bodies.insert(bytes.to_vec());
                }
                Content::Whole { bytes, .. } => {
                    let messages = self.messages.entry(place).or_default();
                    messages.insert(bytes.to_vec());
                }
                Content::Shared(_) => _ = self.references.insert(place),
            }
        }
    }

    /// All that was found stands in some block.
    fn check(&self, found: &Messages) {
        for (queue, position, bytes) in found {
            let place = (*queue, *position);
            let own = self.messages.get(&place);
            let own = own.is_some_and(|messages| messages.contains(bytes));
            let shared = self.references.contains(&place) && self.bodies.contains(bytes);
            assert!(own || shared, "message {position} of queue {queue}");
        }
    }
}

/// An input for [`exercise`] that becomes the files of a real journal, whose log starts with file `first`. For seeds of the
/// corpus.
///
/// # Panics
/// When they are not the files of a whole journal with low numbers.
#[allow(clippy::expect_used)]
pub fn seed(files: &BTreeMap<String, Vec<u8>>, first: u8) -> Vec<u8> {
    let mut data = vec![1, first];
    let mut part = |kind: u8, bytes: &[u8]| {
        data.push(kind);
        let length = u16::try_from(bytes.len()).expect("a short file");
        data.extend(length.to_le_bytes());
        data.extend(bytes);
    };
    for (name, bytes) in files {
        if let Some(number) = segment::number(name) {
            let blocks = bytes.get(segment::HEADER..).expect("a header");
            let number = u8::try_from(number).expect("a low number");
            part(1, &[&[number], blocks].concat());
        } else if name == manifest::NAME {
            let mut rest = bytes.as_slice();
            while let Some((edits, tail)) = manifest::split(rest) {
                part(2, edits);
                rest = tail;
            }
        }
    }
    // The files of the log become one.
    for number in u64::from(first).. {
        let Some(file) = files.get(&format!("log-{number:016}.log")) else {
            return data;
        };
        let mut rest = file.as_slice();
        while let Some(header) = Header::decode(rest).filter(|header| header.file == number) {
            let group = rest.get(group::HEADER..).expect("a header");
            part(0, group.get(..header.length as usize).expect("items"));
            rest = rest.get(header.size() as usize..).expect("a whole group");
        }
    }
    data
}
