//! The manifest: which segments there are, what of them is alive, and from which file on the log is replayed.
//!
//! It is a list of edits, appended one atomic record at a time and synced; when most of it is out of date it is written
//! anew beside the old one and renamed. A start reads it whole. It is a file of its own and not part of the definitions'
//! database, because it has to change in step with the files it names, and because tests must be able to make every
//! write of it fail.
//!
//! A record: magic u32, length of the edits u32, CRC-32C of the edits u32, number of the record u64, CRC-32C of these
//! twenty bytes u32, edits. The header's own checksum tells a record that was cut off from one whose length was damaged.

use std::{
    io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    block::Fields,
    file_system::{File, FileSystem},
    live::Live,
    segment::Segment,
    trouble::{Doing, Trouble, damaged},
};
use crate::{
    error::Error,
    store::{Position, QueueId},
};

const MAGIC: u32 = u32::from_le_bytes(*b"LVM1");
/// Bytes in front of a record's edits.
pub(super) const HEADER: usize = 24;
/// Bytes of the header that its checksum covers.
const CHECKED: usize = 20;
/// What a record is called that was cut off or changed.
const NOT_WHOLE: &str = "a record that is not whole";
pub(super) const NAME: &str = "manifest";
const NEW_NAME: &str = "manifest.new";
/// Where a repair keeps the manifest that it replaces.
const KEPT_NAME: &str = "manifest.before-repair";
/// The manifest is written anew when it has grown to twice what it needs and beyond this, or an eighth of
/// a segment.
const REWRITE_FROM: u64 = 1024 * 1024;

/// A change of what the manifest says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Edit {
    /// The log is replayed from this file on.
    LogStart(u64),
    /// A segment was written.
    Add(Segment),
    /// A segment is not needed any more.
    Drop(u64),
    /// What is alive of a run in a segment.
    Alive {
        /// The segment.
        segment: u64,
        /// The queue.
        queue: QueueId,
        /// The run's number in the segment.
        run: u32,
        /// How many messages are alive; none: the run is gone.
        count: u32,
        /// Bytes of their bodies.
        bodies: u64,
        /// Bytes of their blocks.
        bytes: u64,
        /// Which.
        live: Live,
    },
    /// How often a queue's messages came back; replaces what was said before.
    Counts {
        /// The queue.
        queue: QueueId,
        /// Every message up to here may have been delivered before.
        redelivered_to: Position,
        /// Delivery counts by position.
        counts: Vec<(Position, u32)>,
    },
    /// The queue is gone with its runs and counts.
    DropQueue(QueueId),
}

impl Edit {
    /// Whether it can be what was written: not if its numbers contradict each other.
    fn is_sound(&self) -> bool {
        match self {
            Self::Add(segment) => segment.is_sound(),
            Self::Alive { live, .. } => *live != Live::All && live.is_sound(),
            Self::LogStart(_) | Self::Drop(_) | Self::Counts { .. } | Self::DropQueue(_) => true,
        }
    }
}

/// The manifest's file, open for appending.
pub(super) struct Manifest {
    path: PathBuf,
    file: Box<dyn File>,
    length: u64,
    records: u64,
    /// Its length when it was last written anew.
    compact: u64,
    /// What stands behind the last whole record.
    tail: Option<Tail>,
}

/// What follows the last whole record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tail {
    bytes: u64,
    /// It is not just the start of a record: a power cut may leave that, with sectors in any order, and so may damage.
    doubtful: bool,
}

impl Manifest {
    /// Opens the manifest, or starts an empty one, and gives all edits. A last record that is not whole stays until
    /// [`Self::cut_off`].
    ///
    /// # Errors
    /// It cannot be read, or is damaged.
    pub(super) fn open(
        files: &dyn FileSystem,
        directory: &Path,
        each: &mut dyn FnMut(Edit),
    ) -> Result<Self, Trouble> {
        let path = directory.join(NAME);
        let file = files.open(&path, true).doing("open", &path)?;
        files.sync_directory(directory).doing("sync", directory)?;
        // The last process may have ended before it could; files are removed by what is read here.
        file.sync().doing("sync", &path)?;
        let bytes = read(&*file, &path)?;
        let (length, records, tail) = replay(&bytes, &path, each)?;
        Ok(Self {
            path,
            file,
            length,
            records,
            compact: 0,
            tail,
        })
    }

    /// The error to give should it turn out that the last record was damaged, and is not just one that a crash left
    /// half written. Files are removed only after the record that says so was synced: where they are all there, the
    /// manifest without its last record and the log after it tell everything.
    pub(super) fn doubt(&self) -> Option<Error> {
        let tail = self.tail.filter(|tail| tail.doubtful);
        tail.map(|_| damaged(&self.path, self.length, NOT_WHOLE))
    }

    /// Cuts off a last record that is not whole.
    pub(super) fn cut_off(&mut self) -> Result<(), Trouble> {
        let Some(tail) = self.tail.take() else {
            return Ok(());
        };
        tracing::warn!(
            file = %self.path.display(),
            offset = self.length,
            bytes = tail.bytes,
            "cut off an unfinished record, nothing in it was promised"
        );
        let cut = self.file.truncate(self.length);
        cut.doing("truncate", &self.path)?;
        self.file.sync().doing("sync", &self.path)
    }

    /// Gives the edits up to the first damage, and every place that is damaged: its offset, and what is wrong there.
    /// Changes nothing.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn load(
        files: &dyn FileSystem,
        directory: &Path,
        each: &mut dyn FnMut(Edit),
    ) -> Result<Vec<(u64, String)>, Trouble> {
        let path = directory.join(NAME);
        let file = match files.open(&path, false) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            opened => opened.doing("open", &path)?,
        };
        Ok(survey(&read(&*file, &path)?, each))
    }

    /// Replaces a manifest, whatever there is, by `edits`. The old one is kept beside it.
    pub(super) fn replace(
        files: &dyn FileSystem,
        directory: &Path,
        edits: &[Edit],
    ) -> Result<(), Trouble> {
        let (path, kept) = (directory.join(NAME), directory.join(KEPT_NAME));
        match files.rename(&path, &kept) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            renamed => renamed.doing("rename", &path)?,
        }
        let mut manifest = Self::open(files, directory, &mut |_| ())?;
        manifest.rewrite(files, directory, edits)
    }

    /// Adds edits as one record that survives a power cut once this returns.
    pub(super) fn append(&mut self, edits: &[Edit]) -> Result<(), Trouble> {
        let record = encode(edits, self.records)?;
        if let Err(trouble) = self.put(&record) {
            // Should this be the end, the next start must not wonder at half a record.
            let cut = self.file.truncate(self.length);
            _ = cut.and_then(|()| self.file.sync());
            return Err(trouble);
        }
        self.length += record.len() as u64;
        self.records += 1;
        Ok(())
    }

    fn put(&self, record: &[u8]) -> Result<(), Trouble> {
        let written = self.file.write_at(&[record], self.length);
        written.doing("write", &self.path)?;
        self.file.sync().doing("sync", &self.path)
    }

    /// Whether it has grown so much that it should be written anew. Where segments are small, so are manifests.
    pub(super) fn is_overgrown(&self, segment_size: u64) -> bool {
        self.length > REWRITE_FROM.min(segment_size / 8) && self.length / 2 > self.compact
    }

    /// Replaces the whole manifest by `edits`.
    pub(super) fn rewrite(
        &mut self,
        files: &dyn FileSystem,
        directory: &Path,
        edits: &[Edit],
    ) -> Result<(), Trouble> {
        let new = directory.join(NEW_NAME);
        let record = encode(edits, 0)?;
        let file = files.open(&new, true).doing("create", &new)?;
        file.truncate(0).doing("truncate", &new)?;
        file.write_at(&[&record], 0).doing("write", &new)?;
        file.sync().doing("sync", &new)?;
        files.rename(&new, &self.path).doing("rename", &new)?;
        files.sync_directory(directory).doing("sync", directory)?;
        self.file = file;
        self.length = record.len() as u64;
        self.records = 1;
        self.compact = self.length;
        Ok(())
    }

    /// Copies its whole records to `directory`.
    ///
    /// # Errors
    /// It cannot be read, or nothing can be written there.
    pub(super) fn copy_to(&self, directory: &Path) -> Result<(), Error> {
        let mut bytes = vec![0; self.length as usize];
        self.file.read_at(&mut bytes, 0).doing("read", &self.path)?;
        let path = directory.join(NAME);
        std::fs::write(&path, bytes).doing("write", &path)?;
        Ok(())
    }

    /// Bytes of the file.
    pub(super) fn length(&self) -> u64 {
        self.length
    }
}

/// Gives the edits of all whole records of `bytes`. Returns where they end, how many records there are, and what follows.
fn replay(
    bytes: &[u8],
    path: &Path,
    each: &mut dyn FnMut(Edit),
) -> Result<(u64, u64, Option<Tail>), Trouble> {
    let (mut length, mut records) = (0, 0);
    loop {
        match next(bytes.get(length..).unwrap_or_default(), records) {
            Next::Edits(edits, size) => {
                edits.into_iter().for_each(&mut *each);
                length += size;
                records += 1;
            }
            Next::End(tail) => return Ok((length as u64, records, tail)),
            Next::Damaged(what) => return Err(damaged(path, length as u64, &what).into()),
        }
    }
}

/// Gives the edits up to the first damage, and says where there is some in all of `bytes`.
fn survey(bytes: &[u8], each: &mut dyn FnMut(Edit)) -> Vec<(u64, String)> {
    let (mut offset, mut number) = (0, 0);
    let mut found = Vec::new();
    loop {
        let rest = bytes.get(offset..).unwrap_or_default();
        let what = match next(rest, number) {
            Next::Edits(edits, size) => {
                // What follows damage may contradict what is missing.
                if found.is_empty() {
                    edits.into_iter().for_each(&mut *each);
                }
                offset += size;
                number += 1;
                continue;
            }
            Next::End(tail) => {
                let doubtful = tail.is_some_and(|tail| tail.doubtful);
                found.extend(doubtful.then(|| (offset as u64, NOT_WHOLE.to_owned())));
                return found;
            }
            Next::Damaged(what) => what,
        };
        found.push((offset as u64, what));
        let Some((behind, later)) = find_record(rest.get(1..).unwrap_or_default()) else {
            return found;
        };
        (offset, number) = (offset + 1 + behind, later);
    }
}

/// What comes next in a manifest.
enum Next {
    /// The edits of a record, and its bytes.
    Edits(Vec<Edit>, usize),
    /// No more records.
    End(Option<Tail>),
    /// Something that is not what was written.
    Damaged(String),
}

/// What the rest of a manifest begins with, from record `number` on.
fn next(rest: &[u8], number: u64) -> Next {
    let edits = match record(rest, number) {
        Record::Whole(edits) => edits,
        _ if find_record(rest).is_some() => return Next::Damaged(NOT_WHOLE.to_owned()),
        other => {
            let tail = Tail {
                bytes: rest.len() as u64,
                doubtful: other == Record::Damaged,
            };
            return Next::End(Some(tail).filter(|tail| tail.bytes > 0));
        }
    };
    match postcard::from_bytes::<Vec<Edit>>(edits) {
        Ok(decoded) if decoded.iter().all(Edit::is_sound) => {
            Next::Edits(decoded, HEADER + edits.len())
        }
        Ok(_) => Next::Damaged("edits that cannot be".to_owned()),
        Err(error) => Next::Damaged(format!("unreadable edits ({error})")),
    }
}

fn read(file: &dyn File, path: &Path) -> Result<Vec<u8>, Trouble> {
    let length = file.length().doing("read", path)?;
    let mut bytes = vec![0; length as usize];
    file.read_at(&mut bytes, 0).doing("read", path)?;
    Ok(bytes)
}

/// What stands at the start of some bytes.
#[derive(Debug, PartialEq, Eq)]
enum Record<'a> {
    /// A record, with its edits.
    Whole(&'a [u8]),
    /// The start of one, or room that was never written.
    Unfinished,
    /// Something else.
    Damaged,
}

fn record(bytes: &[u8], number: u64) -> Record<'_> {
    let Some((header, rest)) = bytes.split_at_checked(HEADER) else {
        return Record::Unfinished;
    };
    if bytes.iter().all(|byte| *byte == 0) {
        return Record::Unfinished;
    }
    let Some((length, checksum)) = parse_header(header, number) else {
        return Record::Damaged;
    };
    match rest.get(..length) {
        Some(edits) if crc32c::crc32c(edits) == checksum => Record::Whole(edits),
        Some(_) => Record::Damaged,
        None => Record::Unfinished,
    }
}

/// Length and checksum of the edits, from a header that is as it was written.
fn parse_header(header: &[u8], number: u64) -> Option<(usize, u32)> {
    let mut fields = Fields(header);
    let magic = fields.u32().ok()?;
    let length = fields.u32().ok()? as usize;
    let checksum = fields.u32().ok()?;
    let found = fields.u64().ok()?;
    let own = fields.u32().ok()?;
    let fits = magic == MAGIC && found == number && crc32c::crc32c(header.get(..CHECKED)?) == own;
    fits.then_some((length, checksum))
}

/// Where a whole record stands in `bytes`, of whatever number, and the number.
fn find_record(bytes: &[u8]) -> Option<(usize, u64)> {
    let magic = MAGIC.to_le_bytes();
    let starts = bytes.windows(4).enumerate().filter(|(_, w)| *w == magic);
    let mut starts = starts.map(|(at, _)| at);
    starts.find_map(|at| {
        let rest = bytes.get(at..).unwrap_or_default();
        let number = rest.get(12..CHECKED).map(Fields)?.u64().ok()?;
        matches!(record(rest, number), Record::Whole(_)).then_some((at, number))
    })
}

/// The edits of the first record, and what is behind it.
pub(super) fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = Fields(bytes.get(4..8)?).u32().ok()? as usize;
    let (record, rest) = bytes.split_at_checked(HEADER + length)?;
    Some((record.get(HEADER..)?, rest))
}

fn encode(edits: &[Edit], number: u64) -> Result<Vec<u8>, Error> {
    let encoded = postcard::to_allocvec(edits)
        .map_err(|error| Error::Internal(format!("cannot encode the manifest: {error}")))?;
    Ok(framed(&encoded, number))
}

/// The record of encoded edits.
pub(super) fn framed(encoded: &[u8], number: u64) -> Vec<u8> {
    let mut record = Vec::with_capacity(HEADER + encoded.len());
    record.extend_from_slice(&MAGIC.to_le_bytes());
    record.extend_from_slice(&(encoded.len() as u32).to_le_bytes());
    record.extend_from_slice(&crc32c::crc32c(encoded).to_le_bytes());
    record.extend_from_slice(&number.to_le_bytes());
    record.extend_from_slice(&crc32c::crc32c(&record).to_le_bytes());
    record.extend_from_slice(encoded);
    record
}
