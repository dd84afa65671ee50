//! Runs: what the journal remembers of a queue's messages in one file.
//!
//! A run costs a few dozen bytes and one entry for each block, however many messages it has; bits join it when some of
//! its messages are settled and others are not.

use serde::{Deserialize, Serialize};

use super::{
    block::{self, BlockHeader},
    live::Live,
    segment::Segment,
};
use crate::{queue::Millis, store::Position};

/// A file of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) enum Place {
    /// A file of the log, by its number.
    Log(u64),
    /// A segment, by its number.
    Segment(u64),
}

/// Where a block stands in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BlockPlace {
    /// The lowest position in it.
    pub(super) first: Position,
    /// The highest position less the lowest.
    pub(super) span: u32,
    /// Bytes of the block.
    pub(super) length: u32,
    /// Where it starts in the file.
    pub(super) offset: u64,
}

impl BlockPlace {
    /// The place of the block with this header.
    pub(super) fn new(header: &BlockHeader, offset: u64) -> Self {
        Self {
            first: header.first,
            span: (header.last - header.first) as u32,
            length: header.length,
            offset,
        }
    }

    /// Whether a segment may hold it.
    pub(super) fn is_sound(&self, segment: &Segment) -> bool {
        let end = self.offset.checked_add(u64::from(self.length));
        let last = self.first.checked_add(u64::from(self.span));
        last.is_some() && end.is_some_and(|end| end <= segment.length)
    }

    /// The highest position in the block.
    pub(super) fn last(&self) -> Position {
        self.first + u64::from(self.span)
    }
}

/// Positions of one queue in one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Run {
    /// The file.
    pub(super) place: Place,
    /// Tells it apart from the segment's other runs.
    pub(super) number: u32,
    /// The lowest position that is or was in it.
    pub(super) first: Position,
    /// The highest.
    pub(super) last: Position,
    /// How many are alive.
    pub(super) count: u32,
    /// Bytes of their bodies; may be an estimate once some are settled.
    pub(super) bodies: u64,
    /// Bytes of their blocks; the same.
    pub(super) bytes: u64,
    /// When the first of them entered the queue.
    pub(super) oldest: Millis,
    /// Some message may have an expiration of its own.
    pub(super) may_expire: bool,
    /// Which are alive.
    pub(super) live: Live,
    /// Its blocks, as they were written.
    pub(super) blocks: Vec<BlockPlace>,
    /// The messages that refer to shared bodies, by position.
    pub(super) references: Vec<(Position, u64)>,
    /// Blocks overlap or do not rise: messages reached the log in another order than their positions.
    pub(super) disordered: bool,
    /// The manifest does not know the latest settlements.
    #[serde(skip)]
    pub(super) dirty: bool,
}

/// A run does not spread over more positions than this for each of its messages, and some: it may pay a bit for each
/// position.
const SPAN_OF_ONE: u64 = 64;
/// See [`SPAN_OF_ONE`].
const FREE_SPAN: u64 = 4096;

/// Whether `count` messages over `span` positions are near enough to each other to have a bit for each position.
pub(super) fn is_near(span: u64, count: u64) -> bool {
    span <= FREE_SPAN + SPAN_OF_ONE * count
}

/// Room for blocks that an empty run keeps.
const KEPT_BLOCKS: usize = 64;

impl Run {
    /// A run without messages.
    pub(super) fn new(place: Place, number: u32, first: Position) -> Self {
        Self {
            place,
            number,
            first,
            last: first,
            count: 0,
            bodies: 0,
            bytes: 0,
            oldest: Millis::MAX,
            may_expire: false,
            live: Live::All,
            blocks: Vec::new(),
            references: Vec::new(),
            disordered: false,
            dirty: false,
        }
    }

    /// Makes a run of the log whose messages are all settled ready for the next ones.
    pub(super) fn reset(&mut self) {
        let mut blocks = std::mem::take(&mut self.blocks);
        blocks.clear();
        blocks.shrink_to(KEPT_BLOCKS);
        *self = Self {
            live: Live::none(self.first),
            blocks,
            ..Self::new(self.place, self.number, self.first)
        };
    }

    /// Whether a block may join this run.
    pub(super) fn takes(&self, place: Place, header: &BlockHeader) -> bool {
        if self.place != place || self.blocks.is_empty() {
            return self.place == place;
        }
        let span = self.last.max(header.last) - self.first.min(header.first);
        is_near(span, u64::from(self.count) + u64::from(header.count))
    }

    /// Adds a block whose messages are all alive. `positions` are needed where the block is not dense.
    pub(super) fn add(
        &mut self,
        header: &BlockHeader,
        offset: u64,
        positions: impl Iterator<Item = Position>,
    ) {
        let fresh = self.blocks.is_empty();
        let goes_on = fresh || (self.live == Live::All && header.first == self.last + 1);
        if goes_on && header.is_dense() {
            self.live = Live::All;
        } else {
            match fresh {
                true => self.live = Live::none(header.first),
                false => self.live.make_bits(self.first, self.last),
            }
            // No block is written that is so wide, but older versions did.
            let span = self.last.max(header.last) - self.first.min(header.first);
            let span = if fresh {
                header.last - header.first
            } else {
                span
            };
            if !is_near(span, u64::from(self.count) + u64::from(header.count)) {
                self.live.scatter();
            }
            if header.is_dense() {
                self.live.set(header.first, header.last);
            } else {
                positions.for_each(|position| self.live.set(position, position));
            }
        }
        self.disordered |= !fresh && header.first <= self.last;
        self.first = if fresh {
            header.first
        } else {
            self.first.min(header.first)
        };
        self.last = if fresh {
            header.last
        } else {
            self.last.max(header.last)
        };
        self.count += header.count;
        self.bodies += u64::from(header.bodies);
        self.bytes += u64::from(header.length);
        self.oldest = self.oldest.min(header.time);
        self.may_expire |= header.may_expire;
        self.blocks.push(BlockPlace::new(header, offset));
    }

    /// Takes the positions from `from` to `to` out. Returns how many were alive; numbers of shared bodies that were
    /// referred to go to `released`.
    pub(super) fn clear(&mut self, from: Position, to: Position, released: &mut Vec<u64>) -> u32 {
        let (from, to) = (from.max(self.first), to.min(self.last));
        if from > to || self.count == 0 {
            return 0;
        }
        if !self.references.is_empty() {
            let start = self.references.partition_point(|(p, _)| *p < from);
            let dead = self.references.iter().skip(start);
            let dead = dead.take_while(|(position, _)| *position <= to);
            released.extend(
                dead.filter(|(p, _)| self.live.contains(*p))
                    .map(|(_, id)| *id),
            );
        }
        let cleared = if self.live == Live::All && from == self.first && to == self.last {
            self.count
        } else {
            self.live.make_bits(self.first, self.last);
            self.live.clear(from, to)
        };
        self.dirty |= cleared > 0;
        self.count -= cleared.min(self.count);
        cleared
    }

    /// Takes bytes of settled messages off, `None` where only their number is known.
    pub(super) fn shrink(&mut self, cleared: u32, bytes: Option<u64>) -> u64 {
        let before = u64::from(self.count) + u64::from(cleared);
        let share = |whole: u64| whole * u64::from(cleared) / before.max(1);
        let gone = bytes.unwrap_or_else(|| share(self.bytes)).min(self.bytes);
        let bodies = if self.count == 0 {
            self.bodies
        } else {
            share(self.bodies)
        };
        let gone = if self.count == 0 { self.bytes } else { gone };
        self.bytes -= gone;
        self.bodies -= bodies;
        gone
    }

    /// Whether it can be what was written to the manifest about a segment.
    pub(super) fn is_sound(&self, segment: &Segment) -> bool {
        let most = segment.length / block::MESSAGE_HEADER as u64;
        let dense = self
            .last
            .checked_sub(self.first)
            .and_then(|s| s.checked_add(1));
        let blocks = self.blocks.iter();
        let mut within = blocks.map(|block| block.first >= self.first && block.last() <= self.last);
        self.place == Place::Segment(segment.number)
            && self.first <= self.last
            && u64::from(self.count) <= most
            && (self.live != Live::All || dense == Some(u64::from(self.count)))
            && self.live.is_sound()
            && self.bytes <= segment.length
            && self.blocks.iter().all(|block| block.is_sound(segment))
            && within.all(|within| within)
    }

    /// Whether the position is in the run and alive.
    pub(super) fn contains(&self, position: Position) -> bool {
        (self.first..=self.last).contains(&position) && self.live.contains(position)
    }

    /// The number of the shared body that the message refers to.
    pub(super) fn reference(&self, position: Position) -> Option<u64> {
        let found = self.references.binary_search_by_key(&position, |(p, _)| *p);
        self.references.get(found.ok()?).map(|(_, id)| *id)
    }

    /// The lowest live position.
    pub(super) fn first_live(&self) -> Position {
        self.live.first().unwrap_or(self.first)
    }

    /// The highest live position.
    pub(super) fn last_live(&self) -> Position {
        self.live.last().unwrap_or(self.last)
    }

    /// Adds a reference to a shared body, keeping them in order.
    pub(super) fn refer(&mut self, position: Position, id: u64) {
        let place = self.references.partition_point(|(p, _)| *p < position);
        self.references.insert(place, (position, id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A backlog of ten million messages is a hundred thousand blocks.
    #[test]
    fn a_block_on_disk_costs_24_bytes_of_memory() {
        assert_eq!(size_of::<BlockPlace>(), 24);
        assert_eq!(size_of::<Run>(), 152);
    }
}
