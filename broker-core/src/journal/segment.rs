//! Segments: files of messages that outlived the log, in the order of their queues.
//!
//! A segment is written once, synced, and never changed: a short header, then blocks. A queue's messages lie next to each
//! other, so that draining a long backlog reads forward. Which of them are still alive is known to the index and, across
//! restarts, to the manifest and the log.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    block::{self, BlockWriter, Content},
    file_system::{File, FileSystem},
    items::BODIES,
    run::{BlockPlace, Place, Run},
    trouble::{Doing, Trouble},
};
use crate::{
    queue::Millis,
    store::{Position, QueueId},
};

/// `LVS1`
const MAGIC: u32 = u32::from_le_bytes(*b"LVS1");
/// Bytes of the header: magic u32, zero u32, number u64.
pub(super) const HEADER: usize = 16;
/// A block ends when it has reached this size: small enough to be read for a few messages, large enough for long reads.
const BLOCK_BYTES: usize = 128 * 1024;
/// No segment has a higher number: names have 16 digits.
const LAST: u64 = 9_999_999_999_999_999;
/// Written to the file at once.
const WRITE_BYTES: usize = 512 * 1024;

/// A segment as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Segment {
    /// Its number.
    pub(super) number: u64,
    /// Bytes of the file.
    pub(super) length: u64,
    /// What it holds of each queue.
    pub(super) runs: Vec<(QueueId, Run)>,
    /// The shared bodies in it.
    pub(super) bodies: Vec<BlockPlace>,
}

impl Segment {
    /// Whether it can be what was written to the manifest.
    pub(super) fn is_sound(&self) -> bool {
        self.number <= LAST
            && self.runs.iter().all(|(_, run)| run.is_sound(self))
            && self.bodies.iter().all(|body| body.is_sound(self))
    }
}

/// The file of a segment.
pub(super) fn path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("segment-{number:016}.seg"))
}

/// The number in a segment's file name.
pub(super) fn number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("segment-")?.strip_suffix(".seg")?;
    digits.parse().ok()
}

/// What segment `number` begins with.
pub(super) fn header(number: u64) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    let parts = MAGIC.to_le_bytes().into_iter().chain([0; 4]);
    let bytes = parts.chain(number.to_le_bytes());
    for (place, byte) in header.iter_mut().zip(bytes) {
        *place = byte;
    }
    header
}

/// Writes one segment, queue after queue and by rising position.
pub(super) struct SegmentWriter {
    path: PathBuf,
    file: Box<dyn File>,
    /// Bytes that the file has.
    written: u64,
    /// Bytes that follow.
    buffer: Vec<u8>,
    open: Option<OpenBlock>,
    segment: Segment,
    bodies: HashSet<u64>,
}

struct OpenBlock {
    writer: BlockWriter,
    queue: QueueId,
    start: usize,
    positions: Vec<Position>,
    references: Vec<(Position, u64)>,
}

impl SegmentWriter {
    /// Starts the file.
    pub(super) fn create(
        files: &dyn FileSystem,
        directory: &Path,
        number: u64,
    ) -> Result<Self, Trouble> {
        let path = path(directory, number);
        let file = files.open(&path, true).doing("create", &path)?;
        file.truncate(0).doing("truncate", &path)?;
        Ok(Self {
            path,
            file,
            written: 0,
            buffer: header(number).to_vec(),
            open: None,
            segment: Segment {
                number,
                length: 0,
                runs: Vec::new(),
                bodies: Vec::new(),
            },
            bodies: HashSet::new(),
        })
    }

    /// Whether this shared body stands in here.
    pub(super) fn has_body(&self, id: u64) -> bool {
        self.bodies.contains(&id)
    }

    /// Adds a message. `body` is the size of a shared body that it refers to.
    pub(super) fn add(
        &mut self,
        queue: QueueId,
        position: Position,
        entered: Millis,
        content: Content<'_>,
        body: usize,
    ) -> Result<(), Trouble> {
        let fits = self.open.as_ref().is_some_and(|open| {
            let short = open.writer.length(&self.buffer) < BLOCK_BYTES;
            short && open.writer.takes(queue, position, entered)
        });
        if !fits {
            self.finish_block()?;
            let start = self.buffer.len();
            self.open = Some(OpenBlock {
                writer: BlockWriter::begin(&mut self.buffer, queue, position, entered),
                queue,
                start,
                positions: Vec::new(),
                references: Vec::new(),
            });
        }
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        open.writer
            .add(&mut self.buffer, position, entered, content);
        open.writer.count_body(body);
        open.positions.push(position);
        if let Content::Shared(id) = content {
            open.references.push((position, id));
        }
        Ok(())
    }

    /// Adds a body that several messages refer to.
    pub(super) fn add_body(
        &mut self,
        id: u64,
        entered: Millis,
        content: Content<'_>,
    ) -> Result<(), Trouble> {
        self.finish_block()?;
        self.bodies.insert(id);
        self.add(BODIES, id, entered, content, 0)?;
        self.finish_block()
    }

    fn finish_block(&mut self) -> Result<(), Trouble> {
        let Some(open) = self.open.take() else {
            return Ok(());
        };
        open.writer.finish(&mut self.buffer);
        let offset = self.written + open.start as u64;
        let block = self.buffer.get(open.start..).unwrap_or_default();
        if let Ok(header) = block::BlockHeader::parse(block) {
            if open.queue == BODIES {
                self.segment.bodies.push(BlockPlace::new(&header, offset));
            } else if let Some(run) = self.run_for(open.queue, &header) {
                run.add(&header, offset, open.positions.into_iter());
                run.references.extend(open.references);
            }
        }
        if self.buffer.len() >= WRITE_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    fn run_for(&mut self, queue: QueueId, header: &block::BlockHeader) -> Option<&mut Run> {
        let place = Place::Segment(self.segment.number);
        let runs = &mut self.segment.runs;
        let fits = runs
            .last()
            .is_some_and(|(of, run)| *of == queue && run.takes(place, header));
        if !fits {
            let number = runs.len() as u32;
            runs.push((queue, Run::new(place, number, header.first)));
        }
        runs.last_mut().map(|(_, run)| run)
    }

    fn flush(&mut self) -> Result<(), Trouble> {
        let written = self.file.write_at(&[&self.buffer], self.written);
        written.doing("write", &self.path)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Writes the rest and makes all of it survive a power cut.
    pub(super) fn finish(
        mut self,
        files: &dyn FileSystem,
        directory: &Path,
    ) -> Result<Segment, Trouble> {
        self.finish_block()?;
        self.flush()?;
        self.file.sync().doing("sync", &self.path)?;
        files.sync_directory(directory).doing("sync", directory)?;
        self.segment.length = self.written;
        Ok(self.segment)
    }
}
