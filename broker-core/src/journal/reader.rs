//! Reading messages back, from the log or from segments, while both change.
//!
//! The index says where to look; it is not locked while the disk is read. If a file has been moved or recycled meanwhile, the
//! checksum or the block's own header tells, and the index is asked again. Only what stands where the index still says, and is
//! not what it should be, is damage.

use std::path::PathBuf;

use super::{
    Shared,
    block::{self, BlockHeader, Content, Record},
    file_system::File,
    log::LogPosition,
    run::{BlockPlace, Place},
    segment,
    trouble::{Doing, Trouble, damaged},
};
use crate::{
    message::Message,
    queue::Millis,
    store::{Position, QueueId},
};

/// Reads blocks. Keeps the last segment open as long as it is busy.
#[derive(Default)]
pub(super) struct Reader {
    open: Option<(u64, Box<dyn File>)>,
    /// The blocks that were read, one behind the other.
    buffer: Vec<u8>,
}

/// Where a block stands.
pub(super) type Stand = (Place, BlockPlace);

/// A live message and how the index knows it.
pub(super) struct Found<'a> {
    /// The message's record.
    pub(super) record: Record<'a>,
    /// How often it came back.
    pub(super) delivery_count: u32,
    /// Whether a client may have seen it.
    pub(super) redelivered: bool,
}

/// Where to look.
pub(super) struct Range<'a> {
    /// The queue.
    pub(super) queue: QueueId,
    /// Only files that this accepts.
    pub(super) within: &'a dyn Fn(Place) -> bool,
    /// The first position.
    pub(super) from: Position,
    /// The last.
    pub(super) to: Position,
    /// How much to read at once.
    pub(super) max_bytes: usize,
}

/// What a reader does with a message; false ends the reading.
pub(super) type EachFound<'a> = dyn FnMut(Found<'_>) -> Result<bool, Trouble> + 'a;

impl Reader {
    /// Gives the live messages of a piece of `range` by rising position, and says from where on there may be more.
    pub(super) fn read(
        &mut self,
        shared: &Shared,
        range: &Range<'_>,
        each: &mut EachFound<'_>,
    ) -> Result<Option<Position>, Trouble> {
        let (blocks, next) = self.read_blocks(shared, range)?;
        let mut found = Vec::new();
        let mut offset = 0;
        for (_, place) in &blocks {
            let end = offset + place.length as usize;
            let block = self.buffer.get(offset..end).unwrap_or_default();
            offset = end;
            for record in block::records(block) {
                let record = record.map_err(|what| unreadable(shared, &blocks, what))?;
                let wanted = range.from..=range.to.min(next.map_or(Position::MAX, |n| n - 1));
                if wanted.contains(&record.position) {
                    found.push((record, None));
                }
            }
        }
        if !found.is_sorted_by_key(|(record, _)| record.position) {
            found.sort_by_key(|(record, _)| record.position);
        }
        retain_live(shared, range, &mut found);
        for (record, state) in found {
            let Some((delivery_count, redelivered)) = state else {
                continue;
            };
            let going = each(Found {
                record,
                delivery_count,
                redelivered,
            })?;
            if !going {
                return Ok(None);
            }
        }
        Ok(next)
    }

    /// Reads the blocks of a piece of `range` into the buffer and checks them. Gives their places, and where the rest
    /// starts.
    fn read_blocks(
        &mut self,
        shared: &Shared,
        range: &Range<'_>,
    ) -> Result<(Vec<Stand>, Option<Position>), Trouble> {
        let ask = || {
            let index = shared.index.lock();
            index.blocks(
                range.queue,
                range.within,
                range.from,
                range.to,
                range.max_bytes,
            )
        };
        let (mut blocks, mut horizon) = ask();
        loop {
            match self.fill(shared, range.queue, &blocks) {
                Ok(()) => {
                    let more = (horizon <= range.to && horizon < Position::MAX).then_some(horizon);
                    return Ok((blocks, more));
                }
                Err(trouble) => {
                    self.open = None;
                    let again = ask();
                    if again.0 == blocks {
                        return Err(trouble);
                    }
                    (blocks, horizon) = again;
                }
            }
        }
    }

    fn fill(&mut self, shared: &Shared, queue: QueueId, blocks: &[Stand]) -> Result<(), Trouble> {
        let total: usize = blocks.iter().map(|(_, block)| block.length as usize).sum();
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(total, 0);
        let mut rest = buffer.as_mut_slice();
        let mut result = Ok(());
        for stretch in
            blocks.chunk_by(|(a, x), (b, y)| a == b && x.offset + u64::from(x.length) == y.offset)
        {
            let length = stretch.iter().map(|(_, block)| block.length as usize).sum();
            let Some((piece, more)) = std::mem::take(&mut rest).split_at_mut_checked(length) else {
                break;
            };
            rest = more;
            result = self.fill_stretch(shared, queue, stretch, piece);
            if result.is_err() {
                break;
            }
        }
        self.buffer = buffer;
        result
    }

    /// Reads neighbouring blocks at once.
    fn fill_stretch(
        &mut self,
        shared: &Shared,
        queue: QueueId,
        stretch: &[Stand],
        mut piece: &mut [u8],
    ) -> Result<(), Trouble> {
        let Some((place, first)) = stretch.first() else {
            return Ok(());
        };
        self.read_at(shared, *place, first.offset, piece)?;
        for (_, expected) in stretch {
            let Some((block, rest)) =
                std::mem::take(&mut piece).split_at_mut_checked(expected.length as usize)
            else {
                break;
            };
            piece = rest;
            let what = match block::check(block) {
                Ok(header) if fits(&header, queue, expected) => continue,
                Ok(_) => "another block than expected",
                Err(what) => what,
            };
            return Err(damaged(&path(shared, *place), expected.offset, what).into());
        }
        Ok(())
    }

    /// Reads bytes of a file.
    pub(super) fn read_at(
        &mut self,
        shared: &Shared,
        place: Place,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<(), Trouble> {
        match place {
            Place::Log(file) => Ok(shared.log.read(LogPosition { file, offset }, buffer)?),
            Place::Segment(number) => {
                let path = segment::path(&shared.directory, number);
                let file = match self.open.take() {
                    Some((open, file)) if open == number => file,
                    _ => shared.files.open(&path, false).doing("open", &path)?,
                };
                let read = file.read_at(buffer, offset).doing("read", &path);
                self.open = Some((number, file));
                read
            }
        }
    }

    /// Gives the shared body with this number and when it entered, `None` if nobody refers to it any more.
    pub(super) fn shared_body<R>(
        &mut self,
        shared: &Shared,
        id: u64,
        take: impl FnOnce(Content<'_>, Millis) -> R,
    ) -> Result<Option<R>, Trouble> {
        let ask = || shared.index.lock().bodies.get(&id).copied();
        let mut at = ask();
        while let Some(body) = at {
            let mut block = vec![0; body.block.length as usize];
            let stretch = [(body.place, body.block)];
            match self.fill_stretch(shared, super::items::BODIES, &stretch, &mut block) {
                Ok(()) => {
                    let record = block::records(&block).next();
                    let record = record.unwrap_or(Err("a shared body without content"));
                    let record = record.map_err(|what| unreadable(shared, &stretch, what))?;
                    return Ok(Some(take(record.content, record.entered)));
                }
                Err(trouble) => {
                    self.open = None;
                    let again = ask();
                    if again
                        .is_some_and(|other| (other.place, other.block) == (body.place, body.block))
                    {
                        return Err(trouble);
                    }
                    at = again;
                }
            }
        }
        Ok(None)
    }

    /// The message of a record, wherever its bytes are.
    pub(super) fn message(
        &mut self,
        shared: &Shared,
        content: Content<'_>,
    ) -> Result<Option<Message>, Trouble> {
        match content {
            Content::Whole { .. } => Ok(content.message()),
            Content::Shared(id) => {
                let message = self.shared_body(shared, id, |content, _| content.message())?;
                Ok(message.flatten())
            }
        }
    }

    /// Gives the buffer back if something large went through it, and closes the file: a segment that is removed meanwhile
    /// would keep its room on the disk.
    pub(super) fn rest(&mut self) {
        self.open = None;
        self.buffer.clear();
        self.buffer.shrink_to(KEPT_BUFFER);
    }
}

/// A read buffer larger than this is given back.
const KEPT_BUFFER: usize = 2 * 1024 * 1024;

fn fits(header: &BlockHeader, queue: QueueId, expected: &BlockPlace) -> bool {
    header.queue == queue && header.first == expected.first && header.last == expected.last()
}

/// Delivery count and redelivered flag of a live message.
type State = Option<(u32, bool)>;

/// Notes for each record whether it is alive.
fn retain_live(shared: &Shared, range: &Range<'_>, found: &mut [(Record<'_>, State)]) {
    let index = shared.index.lock();
    let Some(queue) = index.queues.get(&range.queue) else {
        return;
    };
    for (record, state) in found {
        let run = queue.find(record.position);
        if run.is_some_and(|run| (range.within)(run.place)) {
            let count = queue.counts.get(&record.position).copied().unwrap_or(0);
            let redelivered = count > 0 || record.position <= queue.redelivered_to;
            *state = Some((count, redelivered));
        }
    }
}

fn path(shared: &Shared, place: Place) -> PathBuf {
    match place {
        Place::Segment(number) => segment::path(&shared.directory, number),
        Place::Log(number) => shared.directory.join(format!("log-{number:016}.log")),
    }
}

/// A block whose checksum fits and whose records do not: this version cannot read it.
fn unreadable(shared: &Shared, blocks: &[Stand], what: &str) -> Trouble {
    let (place, offset) = blocks
        .first()
        .map_or((Place::Segment(0), 0), |(place, block)| {
            (*place, block.offset)
        });
    damaged(&path(shared, place), offset, what).into()
}
