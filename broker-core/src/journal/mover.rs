//! Keeps the log short and the segments dense: the journal's work in the background.
//!
//! When a file of the log is full, the messages in it that are still alive are moved to a segment. A segment in which nothing is
//! alive is removed; when the segments hold more garbage than messages, the sparsest are written anew. What changed goes
//! to the manifest in one record, only after everything that the index knows is durable in the log: the manifest may
//! never be ahead of what a power cut leaves. Then files are removed and recycled.

use std::{collections::BTreeSet, sync::Arc};

use parking_lot::{Condvar, Mutex};

use super::{
    Shared,
    block::Content,
    items,
    manifest::{Edit, Manifest},
    reader::{Range, Reader},
    run::Place,
    segment::{self, Segment, SegmentWriter},
    trouble::{Doing, Trouble},
};
use crate::{
    error::Error,
    store::{Completion, Position, QueueId, SyncWhen, Ticket},
};

/// Read at once when messages are moved.
const READ_BYTES: usize = 1024 * 1024;
/// A shared body of the log from this size on stays shared in a segment; smaller ones are copied to each queue.
const SHARED_FROM: u32 = 4 * 1024;
/// So many segments that are nearly empty are joined.
const SMALL_SEGMENTS: usize = 16;
/// A segment is nearly empty when it has less than this part of a full one.
const SMALL: u64 = 16;

/// The thread's own state.
pub(super) struct Mover {
    pub(super) shared: Arc<Shared>,
    pub(super) manifest: Manifest,
    reader: Reader,
    next_segment: u64,
    /// The first file of the log that a start has to replay, once `edits` are in the manifest.
    pub(super) log_start: u64,
    /// Changes that are in force in the index and not yet in the manifest.
    edits: Vec<Edit>,
    /// The edits are a whole new manifest.
    anew: bool,
    /// Segments that nobody needs once the edits are in the manifest.
    obsolete: Vec<u64>,
    /// The manifest may have let go of files of the log.
    trims: bool,
}

impl Mover {
    pub(super) fn new(
        shared: Arc<Shared>,
        manifest: Manifest,
        log_start: u64,
        next_segment: u64,
    ) -> Self {
        Self {
            shared,
            manifest,
            reader: Reader::default(),
            next_segment,
            log_start,
            edits: Vec::new(),
            anew: false,
            obsolete: Vec::new(),
            trims: false,
        }
    }

    /// Brings the manifest up to date, after moving what is alive in `full`, the oldest files of the log, and in sparse
    /// segments.
    pub(super) fn checkpoint(&mut self, full: &[u64]) -> Result<(), Trouble> {
        // What a full disk interrupted.
        self.commit()?;
        if self.shared.index.lock().died {
            // They give room, which what follows may need.
            self.install(None, &[], &[]);
            self.commit()?;
        }
        let sparse = sparse_segments(&self.shared);
        let mut places: Vec<Place> = sparse.iter().copied().map(Place::Segment).collect();
        places.extend(full.iter().copied().map(Place::Log));
        let number = self.next_segment;
        let segment = self.move_live(&places).inspect_err(|_| {
            // Half a segment would only keep room that is needed.
            let path = segment::path(&self.shared.directory, number);
            let _ = self.shared.files.remove(&path);
        })?;
        let written = segment.as_ref().map_or(0, |segment| segment.length);
        self.shared.work.moved(sparse.len(), written);
        self.install(segment, &places, full);
        self.commit()
    }

    /// Writes what is alive in `places` to a new segment. None if nothing is.
    fn move_live(&mut self, places: &[Place]) -> Result<Option<Segment>, Trouble> {
        if places.is_empty() {
            return Ok(None);
        }
        let (queues, bodies) = contents(&self.shared, places);
        let within = |place| places.contains(&place);
        let mut writer = None;
        for id in bodies {
            self.move_body(id, &within, &mut writer)?;
        }
        for queue in queues {
            let mut from = Some(0);
            while let Some(position) = from {
                from = self.move_messages(queue, position, &within, &mut writer)?;
            }
        }
        self.reader.rest();
        let directory = &self.shared.directory;
        let finish = |writer: SegmentWriter| writer.finish(&*self.shared.files, directory);
        writer.map(finish).transpose()
    }

    fn move_body(
        &mut self,
        id: u64,
        within: &dyn Fn(Place) -> bool,
        writer: &mut Option<SegmentWriter>,
    ) -> Result<(), Trouble> {
        let body = self.shared.index.lock().bodies.get(&id).copied();
        let moves = body.is_some_and(|body| match body.place {
            Place::Log(_) => body.references > 1 && body.block.length >= SHARED_FROM,
            Place::Segment(_) => true,
        });
        if !moves || !body.is_some_and(|body| within(body.place)) {
            return Ok(());
        }
        let shared = Arc::clone(&self.shared);
        let number = &mut self.next_segment;
        let write = |content: Content<'_>, entered| {
            begin(writer, &shared, number)?.add_body(id, entered, content)
        };
        self.reader
            .shared_body(&shared, id, write)?
            .unwrap_or(Ok(()))
    }

    /// Moves a piece of a queue's messages. Says from where on there are more.
    fn move_messages(
        &mut self,
        queue: QueueId,
        from: Position,
        within: &dyn Fn(Place) -> bool,
        writer: &mut Option<SegmentWriter>,
    ) -> Result<Option<Position>, Trouble> {
        let shared = Arc::clone(&self.shared);
        let range = Range {
            queue,
            within,
            from,
            to: Position::MAX,
            max_bytes: READ_BYTES,
        };
        let number = &mut self.next_segment;
        let mut bodies = Reader::default();
        self.reader.read(&shared, &range, &mut |found| {
            let record = found.record;
            let writer = begin(writer, &shared, number)?;
            let Content::Shared(id) = record.content else {
                writer.add(queue, record.position, record.entered, record.content, 0)?;
                return Ok(true);
            };
            let stays = writer.has_body(id) || stays_shared(&shared, id);
            bodies
                .shared_body(&shared, id, |whole, _| {
                    let (content, body) = match whole {
                        Content::Whole { layout, bytes } if stays => {
                            (record.content, layout.body(bytes.len()))
                        }
                        whole => (whole, 0),
                    };
                    writer.add(queue, record.position, record.entered, content, body)
                })?
                .unwrap_or(Ok(()))?;
            Ok(true)
        })
    }

    /// Lets the index point to the new segment, and gathers what the manifest has to know.
    fn install(&mut self, segment: Option<Segment>, places: &[Place], full: &[u64]) {
        let mut index = self.shared.index.lock();
        let added = segment.map(|segment| index.install(segment, places));
        for place in places {
            index.remove_file(*place);
            if let Place::Segment(number) = place {
                self.edits.push(Edit::Drop(*number));
                self.obsolete.push(*number);
            }
        }
        if let Some(full) = full.last() {
            self.log_start = full + 1;
            self.edits.push(Edit::LogStart(self.log_start));
        }
        self.edits.extend(added.map(Edit::Add));
        // After the new segment, which may have died while it was written.
        for number in index.take_dead_segments() {
            self.edits.push(Edit::Drop(number));
            self.obsolete.push(number);
        }
        index.take_changes(&mut self.edits);
        if self.manifest.is_overgrown(self.shared.segment_size) || self.anew {
            self.edits = index.snapshot(self.log_start);
            self.anew = true;
        }
        drop(index);
        self.shared.moved(full.len());
    }

    /// Writes the gathered edits to the manifest and gives files back. Tried again later, it goes on where it failed.
    pub(super) fn commit(&mut self) -> Result<(), Trouble> {
        if !self.edits.is_empty() {
            self.shared.wait_for_log()?;
            self.write_edits()?;
            self.trims = true;
        }
        while let Some(number) = self.obsolete.last().copied() {
            let path = segment::path(&self.shared.directory, number);
            self.shared.files.remove(&path).doing("remove", &path)?;
            self.obsolete.pop();
        }
        if std::mem::take(&mut self.trims) {
            self.shared.log.trim(self.log_start)?;
        }
        Ok(())
    }

    fn write_edits(&mut self) -> Result<(), Trouble> {
        let (files, directory) = (&*self.shared.files, &self.shared.directory);
        if self.anew {
            self.manifest.rewrite(files, directory, &self.edits)?;
        } else {
            self.manifest.append(&self.edits)?;
        }
        self.edits.clear();
        self.anew = false;
        self.shared
            .manifest_bytes
            .store(self.manifest.length(), std::sync::atomic::Ordering::Relaxed);
        Ok(())
    }
}

fn begin<'a>(
    writer: &'a mut Option<SegmentWriter>,
    shared: &Shared,
    number: &mut u64,
) -> Result<&'a mut SegmentWriter, Trouble> {
    if writer.is_none() {
        *writer = Some(SegmentWriter::create(
            &*shared.files,
            &shared.directory,
            *number,
        )?);
        *number += 1;
    }
    let none = || Trouble::Failed(Error::Internal("a segment that was not begun".to_owned()));
    writer.as_mut().ok_or_else(none)
}

/// Whether a body that is not moved now is one that others refer to, in a segment that stays.
fn stays_shared(shared: &Shared, id: u64) -> bool {
    let index = shared.index.lock();
    let body = index.bodies.get(&id);
    body.is_some_and(|body| body.references > 1 && matches!(body.place, Place::Segment(_)))
}

/// The queues and shared bodies of some files.
fn contents(shared: &Shared, places: &[Place]) -> (BTreeSet<QueueId>, Vec<u64>) {
    let index = shared.index.lock();
    let files = || places.iter().filter_map(|place| index.files.get(place));
    let queues = files().flat_map(|file| file.queues.iter().copied());
    let bodies = files().flat_map(|file| file.bodies.iter().copied());
    (queues.collect(), bodies.collect())
}

/// Segments that are worth writing anew, the sparsest first; none as long as there is less garbage than live messages.
fn sparse_segments(shared: &Shared) -> Vec<u64> {
    let index = shared.index.lock();
    let segments = index.files.iter().filter_map(|(place, file)| match place {
        Place::Segment(number) if file.live > 0 => Some((*number, file.length, file.live)),
        _ => None,
    });
    let mut segments: Vec<_> = segments.collect();
    let full = shared.segment_size;
    let small = segments
        .iter()
        .filter(|(_, length, _)| *length < full / SMALL);
    if !index.is_sparse(full) {
        let small: Vec<_> = small.map(|(number, ..)| *number).collect();
        return if small.len() > SMALL_SEGMENTS {
            small
        } else {
            Vec::new()
        };
    }
    segments.sort_by_key(|(_, length, live)| live.saturating_mul(1000) / length.max(&1));
    let mut moved = 0;
    let within = segments.into_iter().take_while(|(_, length, live)| {
        let first = moved == 0;
        moved += live;
        (first || moved <= full) && live * 2 < *length
    });
    within.map(|(number, ..)| number).collect()
}

/// Waits until a ticket of the log is complete.
#[derive(Default)]
pub(super) struct Durable {
    reached: Mutex<bool>,
    changed: Condvar,
}

impl Completion for Durable {
    fn durable(&self, _: Ticket) {
        *self.reached.lock() = true;
        self.changed.notify_all();
    }
}

impl Shared {
    /// Waits until everything that the index knows is durable in the log.
    pub(super) fn wait_for_log(&self) -> Result<(), Trouble> {
        let ticket = self.log.append(&mut items::nothing(), SyncWhen::Soon);
        let ended = || Trouble::Failed(Error::Internal("the log has ended".to_owned()));
        if ticket == Ticket::NEVER {
            return Err(ended());
        }
        self.set_waiting(true);
        let durable = Arc::new(Durable::default());
        self.log.notify(ticket, durable.clone());
        let mut reached = durable.reached.lock();
        while !*reached {
            // A log that has failed or was closed drops its completions.
            if Arc::strong_count(&durable) == 1 {
                break;
            }
            if let Some(reason) = self.log.blocked().filter(|_| self.is_closing()) {
                self.set_waiting(false);
                return Err(Trouble::Full(reason));
            }
            durable
                .changed
                .wait_for(&mut reached, super::shared::LOOK_AGAIN);
        }
        let done = *reached;
        drop(reached);
        self.set_waiting(false);
        match done {
            true => Ok(self.log.sync_written()?),
            false => Err(ended()),
        }
    }
}
