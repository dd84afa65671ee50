//! Where every live message of the journal is: for each queue its runs, for each file what is alive in it.
//!
//! The index follows the log: the writer applies each group after writing it, and a start applies what the bounded log
//! holds over what the manifest says. Applying twice changes nothing, so a manifest may know more than the start of the log that
//! is replayed over it.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::{
    block::{self, BlockHeader, Content},
    items::{BODIES, Item, items},
    log::LogPosition,
    reader::Stand,
    run::{BlockPlace, Place, Run},
};
use crate::store::{Backlog, Position, QueueId};

type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// What is known of one queue.
#[derive(Debug, Default)]
pub(super) struct QueueIndex {
    /// By first position.
    pub(super) runs: VecDeque<Run>,
    /// Some run reaches beyond the start of a later one.
    overlap: bool,
    /// The last position that was written.
    pub(super) written: Position,
    /// How often messages came back.
    pub(super) counts: BTreeMap<Position, u32>,
    /// Every message up to here may have been delivered before.
    pub(super) redelivered_to: Position,
    /// The manifest does not know the latest counts.
    pub(super) dirty: bool,
}

/// A body that several queues share.
#[derive(Debug, Clone, Copy)]
pub(super) struct SharedBody {
    /// The file it stands in.
    pub(super) place: Place,
    /// Its block there.
    pub(super) block: BlockPlace,
    /// Live messages that refer to it.
    pub(super) references: u32,
}

/// What is alive in one file.
#[derive(Debug, Default, Clone)]
pub(super) struct FileIndex {
    /// Bytes of the file.
    pub(super) length: u64,
    /// Bytes of what is alive in it; may be an estimate.
    pub(super) live: u64,
    /// Runs with live messages.
    pub(super) runs: u32,
    /// The queues that have or had runs here.
    pub(super) queues: Vec<QueueId>,
    /// Shared bodies that were written here.
    pub(super) bodies: Vec<u64>,
}

/// The whole index.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// The queues that have messages.
    pub(super) queues: Map<QueueId, QueueIndex>,
    /// The files that have them.
    pub(super) files: BTreeMap<Place, FileIndex>,
    /// Bodies that are referred to.
    pub(super) bodies: Map<u64, SharedBody>,
    /// Queues that were deleted since the manifest was written.
    pub(super) dropped: Vec<QueueId>,
    /// Runs in segments that died since the manifest was written: segment, queue and number.
    pub(super) dead_runs: Vec<(u64, QueueId, u32)>,
    /// Bytes of all segments.
    pub(super) segment_bytes: u64,
    /// Bytes of what is alive in them.
    pub(super) segment_live: u64,
    /// Segments may have died since somebody looked.
    pub(super) died: bool,
    /// Where the last group that was written ends.
    pub(super) end: LogPosition,
    released: Vec<u64>,
}

impl Index {
    /// Follows a group of the log. `offset` is where its items start in file `file`.
    pub(super) fn apply(
        &mut self,
        file: u64,
        offset: u64,
        group: &[u8],
    ) -> Result<(), &'static str> {
        let place = Place::Log(file);
        self.end = LogPosition {
            file,
            offset: offset + group.len() as u64,
        };
        for item in items(group) {
            let (at, item) = item?;
            match item {
                Item::Block(header, bytes) => {
                    self.add_block(place, offset + at as u64, &header, bytes)?;
                }
                Item::Settled(queue, ranges) => {
                    for (first, count, bytes) in ranges {
                        let last = first.saturating_add(u64::from(count.max(1)) - 1);
                        self.settle(queue, first, last, Some(u64::from(bytes)));
                    }
                }
                Item::Cleared(queue, from, to) => self.settle(queue, from, to, None),
                Item::Returned(queue, counts) => self.count(queue, counts),
                Item::Deleted(queue) => self.delete(queue),
                Item::Nothing => {}
            }
        }
        // Only now: a body of this group may have been referred to and let go within it.
        self.release_bodies();
        Ok(())
    }

    fn add_block(
        &mut self,
        place: Place,
        offset: u64,
        header: &BlockHeader,
        bytes: &[u8],
    ) -> Result<(), &'static str> {
        let file = self.files.entry(place).or_default();
        file.live += u64::from(header.length);
        if header.queue == BODIES {
            let body = SharedBody {
                place,
                block: BlockPlace::new(header, offset),
                references: 0,
            };
            file.bodies.push(header.first);
            self.bodies.insert(header.first, body);
            return Ok(());
        }
        let queue = self.queues.entry(header.queue).or_default();
        let index = queue.run_for(place, header, || {
            file.runs += 1;
            file.queues.push(header.queue);
        });
        let run = queue.runs.get_mut(index).ok_or("a run that is not there")?;
        let mut positions = Vec::new();
        if header.refers || !header.is_dense() {
            for record in block::records(bytes) {
                let record = record?;
                if record.position > header.last {
                    return Err("a message behind the end of its block");
                }
                positions.push(record.position);
                if let Content::Shared(id) = record.content {
                    let body = self.bodies.get_mut(&id);
                    body.ok_or("a message whose shared body is missing")?
                        .references += 1;
                    run.refer(record.position, id);
                }
            }
        }
        run.add(header, offset, positions.into_iter());
        queue.written = queue.written.max(header.last);
        queue.restore_order(index);
        Ok(())
    }

    /// Takes messages out; `bytes` is what they weigh, where that is known.
    pub(super) fn settle(
        &mut self,
        queue: QueueId,
        from: Position,
        to: Position,
        bytes: Option<u64>,
    ) {
        let Some(state) = self.queues.get_mut(&queue).filter(|_| from <= to) else {
            return;
        };
        let mut index = state.runs.partition_point(|run| run.first <= to);
        while let Some(previous) = index.checked_sub(1) {
            index = previous;
            let Some(run) = state.runs.get_mut(index) else {
                break;
            };
            if run.last < from {
                if state.overlap {
                    continue;
                }
                break;
            }
            let cleared = run.clear(from, to, &mut self.released);
            if cleared == 0 {
                continue;
            }
            let whole = u64::from(cleared) > to - from;
            let gone = run.shrink(cleared, bytes.filter(|_| whole));
            let place = run.place;
            let empty = run.count == 0;
            match place {
                Place::Log(_) if empty => run.reset(),
                Place::Segment(segment) => {
                    self.segment_live = self.segment_live.saturating_sub(gone);
                    if empty {
                        self.dead_runs.push((segment, queue, run.number));
                        state.runs.remove(index);
                    }
                }
                Place::Log(_) => {}
            }
            if let Some(file) = self.files.get_mut(&place) {
                file.live = file.live.saturating_sub(gone);
                if empty && matches!(place, Place::Segment(_)) {
                    file.runs = file.runs.saturating_sub(1);
                    self.died |= file.runs == 0;
                }
            }
        }
        if !state.counts.is_empty() {
            let dead: Vec<_> = state.counts.range(from..=to).map(|(p, _)| *p).collect();
            for position in dead {
                state.counts.remove(&position);
            }
        }
        if state.runs.is_empty() {
            state.overlap = false;
        }
    }

    fn count(&mut self, queue: QueueId, counts: impl Iterator<Item = (Position, u32)>) {
        let Some(state) = self.queues.get_mut(&queue) else {
            return;
        };
        for (position, count) in counts {
            if state.contains(position) {
                state.counts.insert(position, count);
                state.dirty = true;
            }
        }
    }

    /// Forgets a queue with all that is in it.
    fn delete(&mut self, queue: QueueId) {
        if !self.queues.contains_key(&queue) {
            return;
        }
        for run in self.remove_queue(queue) {
            let live = run.references.iter().filter(|(p, _)| run.contains(*p));
            self.released.extend(live.map(|(_, id)| *id));
        }
        self.dropped.push(queue);
        self.release_bodies();
    }

    /// Takes a queue out, and gives its runs.
    pub(super) fn remove_queue(&mut self, queue: QueueId) -> VecDeque<Run> {
        let runs = self.queues.remove(&queue).unwrap_or_default().runs;
        for run in &runs {
            if let Place::Segment(_) = run.place {
                self.segment_live = self.segment_live.saturating_sub(run.bytes);
            }
            if let Some(file) = self.files.get_mut(&run.place) {
                file.live = file.live.saturating_sub(run.bytes);
                file.runs = file.runs.saturating_sub(1);
                self.died |= file.runs == 0;
            }
        }
        runs
    }

    fn release_bodies(&mut self) {
        let mut released = std::mem::take(&mut self.released);
        for id in released.drain(..) {
            self.release(id);
        }
        self.released = released;
    }

    /// Lets go of one reference to a shared body.
    pub(super) fn release(&mut self, id: u64) {
        let Some(body) = self.bodies.get_mut(&id) else {
            return;
        };
        body.references = body.references.saturating_sub(1);
        if body.references > 0 {
            return;
        }
        let (place, length) = (body.place, u64::from(body.block.length));
        self.bodies.remove(&id);
        if let Place::Segment(_) = place {
            self.segment_live = self.segment_live.saturating_sub(length);
        }
        if let Some(file) = self.files.get_mut(&place) {
            file.live = file.live.saturating_sub(length);
            self.died |= file.runs == 0;
        }
    }

    /// Puts a run of a segment in, as a segment was written or the manifest says. References are not counted.
    pub(super) fn add_run(&mut self, queue: QueueId, run: Run) {
        let file = self.files.entry(run.place).or_default();
        file.runs += 1;
        file.live += run.bytes;
        file.queues.push(queue);
        self.segment_live += run.bytes;
        let state = self.queues.entry(queue).or_default();
        state.written = state.written.max(run.last);
        let place = state.runs.partition_point(|other| other.first < run.first);
        state.runs.insert(place, run);
        state.find_overlap();
    }

    /// Takes out the runs that a queue has in a file.
    pub(super) fn take_runs(&mut self, queue: QueueId, place: Place) -> Vec<Run> {
        let mut taken = Vec::new();
        if let Some(state) = self.queues.get_mut(&queue) {
            let (out, kept) = std::mem::take(&mut state.runs)
                .into_iter()
                .partition::<Vec<_>, _>(|run| run.place == place);
            taken = out;
            state.runs = kept.into();
            state.find_overlap();
        }
        taken
    }

    /// Forgets a file, of which nothing is needed any more.
    pub(super) fn remove_file(&mut self, place: Place) {
        let Some(file) = self.files.remove(&place) else {
            return;
        };
        for queue in file.queues {
            self.take_runs(queue, place);
        }
        if let Place::Segment(_) = place {
            self.segment_bytes = self.segment_bytes.saturating_sub(file.length);
            self.segment_live = self.segment_live.saturating_sub(file.live);
        }
    }

    /// The lowest epoch of which no shared body is there.
    pub(super) fn next_epoch(&self) -> u32 {
        let epochs = self.bodies.keys().map(|id| (id >> 32) as u32);
        epochs.max().map_or(0, |highest| highest.saturating_add(1))
    }

    /// Forgets the delivery counts of messages that are gone: the manifest is not told of each.
    pub(super) fn forget_old_counts(&mut self) {
        for state in self.queues.values_mut() {
            let mut counts = std::mem::take(&mut state.counts);
            counts.retain(|position, _| state.contains(*position));
            state.counts = counts;
        }
    }

    /// Flags every message as one that may have been delivered before.
    pub(super) fn flag_all(&mut self) {
        for state in self.queues.values_mut() {
            state.redelivered_to = state.written;
            state.dirty = true;
        }
    }

    /// What a queue holds.
    pub(super) fn backlog(&self, queue: QueueId) -> Option<Backlog> {
        let runs = &self.queues.get(&queue)?.runs;
        let runs = || runs.iter().filter(|run| run.count > 0);
        let mut backlog = Backlog {
            first: runs().map(Run::first_live).min()?,
            last: runs().map(Run::last_live).max()?,
            count: 0,
            bytes: 0,
            oldest: runs().map(|run| run.oldest).min()?,
            may_expire: runs().any(|run| run.may_expire),
        };
        for run in runs() {
            backlog.count += run.count as usize;
            backlog.bytes += run.bodies as usize;
        }
        Some(backlog)
    }

    /// The next blocks that hold positions from `from` to `to`, about `max_bytes` of them by rising position, and the
    /// position from which on further blocks would be needed. `within` limits them to some files.
    pub(super) fn blocks(
        &self,
        queue: QueueId,
        within: &dyn Fn(Place) -> bool,
        from: Position,
        to: Position,
        max_bytes: usize,
    ) -> (Vec<Stand>, Position) {
        let mut found: Vec<Stand> = Vec::new();
        let mut horizon = Position::MAX;
        let runs = self.queues.get(&queue).map(|state| &state.runs);
        for run in runs.into_iter().flatten() {
            if run.count == 0 || run.last < from || !within(run.place) {
                continue;
            }
            let before = found.iter().filter(|(_, block)| block.first < run.first);
            let weight: usize = before.map(|(_, block)| block.length as usize).sum();
            if run.first > to || (weight >= max_bytes && run.first > from) {
                horizon = horizon.min(run.first);
                break;
            }
            let rest = run.blocks_from(from, to, max_bytes, |block| {
                found.push((run.place, block));
            });
            horizon = horizon.min(rest);
        }
        found.sort_unstable_by_key(|(_, block)| block.first);
        let mut weight = 0;
        for (index, (_, block)) in found.iter().enumerate() {
            let full = weight >= max_bytes && index > 0;
            // What starts at or before the first position is needed in any case.
            if block.first > from && (block.first >= horizon || full) {
                horizon = horizon.min(block.first);
                found.truncate(index);
                break;
            }
            weight += block.length as usize;
        }
        (found, horizon)
    }
}

impl QueueIndex {
    /// The last position about which anything is written down: blocks keep their dead messages, the manifest their
    /// counts.
    pub(super) fn last_position(&self) -> Position {
        let counted = self.counts.last_key_value();
        let counted = counted.map_or(0, |(position, _)| *position);
        self.written.max(self.redelivered_to).max(counted)
    }

    /// Whether a message is there and alive.
    pub(super) fn contains(&self, position: Position) -> bool {
        self.find(position).is_some()
    }

    /// The run that holds a live message.
    pub(super) fn find(&self, position: Position) -> Option<&Run> {
        let end = self.runs.partition_point(|run| run.first <= position);
        let mut before = self.runs.range(..end).rev();
        if self.overlap {
            before.find(|run| run.contains(position))
        } else {
            before.next().filter(|run| run.contains(position))
        }
    }

    /// The run that a block joins. `added` is called when it is a new one.
    fn run_for(&mut self, place: Place, header: &BlockHeader, added: impl FnOnce()) -> usize {
        let found = self.runs.iter().rposition(|run| run.takes(place, header));
        found.unwrap_or_else(|| {
            added();
            self.runs.push_back(Run::new(place, 0, header.first));
            self.runs.len() - 1
        })
    }

    /// Keeps the runs in order after a block joined one of them.
    fn restore_order(&mut self, index: usize) {
        let first = self.runs.get(index).map_or(0, |run| run.first);
        let before = index.checked_sub(1).and_then(|i| self.runs.get(i));
        let in_order = before.is_none_or(|before| before.last < first);
        if in_order && index + 1 == self.runs.len() {
            return;
        }
        self.runs.make_contiguous().sort_by_key(|run| run.first);
        self.find_overlap();
    }

    fn find_overlap(&mut self) {
        let next = self.runs.iter().skip(1);
        self.overlap = self.runs.iter().zip(next).any(|(a, b)| a.last >= b.first);
    }
}

impl Run {
    /// Gives the blocks that hold positions from `from` to `to`, and returns the position from which on it stopped.
    fn blocks_from(
        &self,
        from: Position,
        to: Position,
        max_bytes: usize,
        mut each: impl FnMut(BlockPlace),
    ) -> Position {
        let start = if self.disordered {
            0
        } else {
            self.blocks.partition_point(|block| block.last() < from)
        };
        let mut weight = 0;
        for block in self.blocks.iter().skip(start) {
            if block.last() < from || block.first > to {
                continue;
            }
            if weight >= max_bytes && block.first > from && !self.disordered {
                return block.first;
            }
            weight += block.length as usize;
            each(*block);
        }
        Position::MAX
    }
}
