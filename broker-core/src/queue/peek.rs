//! Looking at messages where they lie, without taking them: nothing is delivered, counted or flagged.
//!
//! What is in memory is copied under the queue's lock, which costs a reference count each. What lies on disk is read
//! without the lock; of that whatever was consumed or moved meanwhile may be missing.

use super::{
    Queue,
    entry::Entry,
    lane::Lane,
    page::{Load, Source},
    state::QueueState,
};
use crate::{Error, store::Position};

/// Most messages that are looked at under one hold of the lock.
pub(crate) const SLICE: usize = 1000;

/// Fewest messages that are looked at at once, so that a filter which means few of them does not take a lock for each.
const FEWEST: usize = 64;

/// Which messages somebody wants to see.
#[derive(Debug, Clone, Copy)]
pub struct Peek {
    /// How many messages precede the first one that is looked at.
    pub offset: usize,
    /// How many messages are shown at most.
    pub count: usize,
    /// How many bytes they have between them ([`Message::size`](crate::message::Message::size)), about: the last one may
    /// exceed it.
    pub most_bytes: usize,
    /// How many messages are looked at at most.
    pub most_examined: usize,
}

/// Messages as they lie in a queue.
#[derive(Debug, Default)]
pub struct Peeked {
    /// The messages in the order in which they would be delivered, each with the number of those that precede it.
    pub messages: Vec<(usize, Entry)>,
    /// How many messages were ready.
    pub ready: usize,
    /// How many were looked at.
    pub examined: usize,
    /// The offset at which to go on; `None` when the end of the queue was reached.
    pub next_offset: Option<usize>,
}

/// Neighbours in one lane.
#[derive(Debug)]
pub(crate) struct Row {
    /// By rising position.
    pub(crate) entries: Vec<Entry>,
    /// The place at which to go on; `None` at the end of the lane.
    pub(crate) next: Option<Position>,
}

/// A lane as it was at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LaneLength {
    /// Its number.
    pub(crate) lane: u8,
    /// How many messages waited.
    pub(crate) ready: usize,
    /// The place behind the last one.
    pub(crate) end: Position,
}

/// What comes next in a lane.
pub(super) enum Piece {
    Memory(Vec<Entry>),
    Disk(Load),
    Nothing,
}

impl Queue {
    /// Shows those ready messages for which `wanted` holds. Messages that were delivered and not yet answered are not
    /// among them.
    ///
    /// An offset into what lies on disk takes time in proportion to it where messages have left the middle of the queue.
    ///
    /// # Errors
    /// 541 when the messages cannot be read.
    pub fn peek(&self, peek: &Peek, wanted: impl Fn(&Entry) -> bool) -> Result<Peeked, Error> {
        let lanes = self.lane_lengths();
        let ready = lanes.iter().map(|lane| lane.ready).sum();
        let mut look = Look {
            peek,
            room: peek.most_bytes,
            offset: peek.offset,
            found: Peeked {
                ready,
                ..Peeked::default()
            },
        };
        let mut offset = peek.offset;
        for lane in lanes {
            if offset >= lane.ready {
                offset -= lane.ready;
                continue;
            }
            if look.through_lane(self, lane.lane, offset, &wanted)? {
                break;
            }
            offset = 0;
        }
        Ok(look.found)
    }

    /// The lanes that hold anything, in the order in which they are delivered.
    pub(crate) fn lane_lengths(&self) -> Vec<LaneLength> {
        self.state.lock().lane_lengths()
    }

    /// A place and a number of messages to be skipped from there on, which together are the message that `offset` others
    /// in its lane precede.
    fn place_of(&self, lane: u8, offset: usize) -> (Position, usize) {
        let state = self.state.lock();
        let lane = state.lanes.get(lane);
        lane.map_or((0, 0), |lane| lane.place_of(offset))
    }

    /// Up to `most` ready messages of a lane from place `from` on, fewer where memory and disk meet.
    ///
    /// # Errors
    /// 541 when they cannot be read.
    pub(crate) fn row(&self, lane: u8, from: Position, most: usize) -> Result<Row, Error> {
        let piece = self.state.lock().piece(lane, from, most);
        let load = match piece {
            Piece::Nothing => return Ok(Row::empty()),
            Piece::Memory(entries) => return Ok(Row::of(entries)),
            Piece::Disk(load) => load,
        };
        let read = load.read(&*self.store);
        let mut read = read.map_err(|error| Error::Internal(self.damage_text(&error)))?;
        let reached = read.reached();
        let state = self.state.lock();
        if let Some(lane) = state.lanes.get(lane) {
            lane.leaving.take_out_of(&mut read);
        }
        drop(state);
        let mut entries = read.entries;
        entries.retain(|entry| entry.position >= from);
        if entries.len() > most {
            entries.truncate(most);
            return Ok(Row::of(entries));
        }
        Ok(Row {
            entries,
            next: Some(reached.saturating_add(1)),
        })
    }
}

/// The state of a [`Queue::peek`].
struct Look<'a> {
    peek: &'a Peek,
    room: usize,
    /// That of the next message.
    offset: usize,
    found: Peeked,
}

impl Look<'_> {
    fn is_over(&self) -> bool {
        let found = &self.found;
        found.messages.len() >= self.peek.count
            || found.examined >= self.peek.most_examined
            || self.room == 0
    }

    /// Looks at a lane from the message on that `before` others precede there. Says whether that is enough.
    fn through_lane(
        &mut self,
        queue: &Queue,
        lane: u8,
        before: usize,
        wanted: &impl Fn(&Entry) -> bool,
    ) -> Result<bool, Error> {
        let (mut from, mut skip) = queue.place_of(lane, before);
        loop {
            let left = self.peek.count - self.found.messages.len();
            let most = left.saturating_add(skip).clamp(FEWEST, SLICE);
            let row = queue.row(lane, from, most)?;
            for entry in row.entries {
                if skip > 0 {
                    skip -= 1;
                    continue;
                }
                if self.is_over() {
                    self.found.next_offset = Some(self.offset);
                    return Ok(true);
                }
                self.take(entry, wanted);
            }
            match row.next {
                Some(next) => from = next,
                None => return Ok(false),
            }
        }
    }

    fn take(&mut self, entry: Entry, wanted: &impl Fn(&Entry) -> bool) {
        self.found.examined += 1;
        if wanted(&entry) {
            self.room = self.room.saturating_sub(entry.message.size().max(1));
            self.found.messages.push((self.offset, entry));
        }
        self.offset += 1;
    }
}

impl Row {
    fn empty() -> Self {
        Self {
            entries: Vec::new(),
            next: None,
        }
    }

    fn of(entries: Vec<Entry>) -> Self {
        let last = entries.last();
        Self {
            next: last.map(|last| last.position + 1),
            entries,
        }
    }
}

impl QueueState {
    pub(super) fn lane_lengths(&self) -> Vec<LaneLength> {
        let mut lengths: Vec<_> = self.lanes.occupied().map(Lane::length).collect();
        // From the highest priority down.
        lengths.reverse();
        lengths
    }

    pub(super) fn piece(&self, lane: u8, from: Position, most: usize) -> Piece {
        if self.deleted {
            return Piece::Nothing;
        }
        let lane = self.lanes.get(lane);
        lane.map_or(Piece::Nothing, |lane| lane.piece(from, most, self.chunk))
    }
}

impl Lane {
    fn length(&self) -> LaneLength {
        LaneLength {
            lane: self.number,
            ready: self.count(),
            end: self.next_position,
        }
    }

    pub(super) fn place_of(&self, offset: usize) -> (Position, usize) {
        if let Some(position) = self.returned.keys().nth(offset) {
            return (if offset == 0 { 0 } else { *position }, 0);
        }
        let mut offset = offset - self.returned.len();
        if let Some(entry) = self.ready.get(offset) {
            return (entry.position, 0);
        }
        offset -= self.ready.len();
        let Some(pages) = &self.pages else {
            return (self.next_position, 0);
        };
        for page in pages.iter() {
            if offset < page.count {
                return match page.is_dense() {
                    true => (page.first + offset as u64, 0),
                    false => (page.first, offset),
                };
            }
            offset -= page.count;
        }
        let entry = pages.tail.get(offset);
        (entry.map_or(self.next_position, |entry| entry.position), 0)
    }

    /// What comes from place `from` on.
    fn piece(&self, from: Position, most: usize, most_bytes: usize) -> Piece {
        let mut ready = self.ready.iter_from(from).peekable();
        let mut returned = self
            .returned
            .range(from..)
            .map(|(_, entry)| entry)
            .peekable();
        // A message that came late to a reserved place may stand between those that came back.
        let front = std::iter::from_fn(|| match (returned.peek(), ready.peek()) {
            (Some(back), Some(next)) if next.position < back.position => ready.next(),
            (Some(_), _) => returned.next(),
            _ => ready.next(),
        });
        let front = copied(front, most, most_bytes);
        if !front.is_empty() {
            return Piece::Memory(front);
        }
        let Some(pages) = &self.pages else {
            return Piece::Nothing;
        };
        if let Some(page) = pages.at(from) {
            return Piece::Disk(Load {
                queue: self.id(),
                lane: self.number,
                epoch: self.epoch,
                from: page.first.max(from),
                to: page.last,
                source: page.source.clone(),
                most_bytes,
            });
        }
        let tail = copied(pages.tail.iter_from(from), most, most_bytes);
        match tail.is_empty() {
            true => Piece::Nothing,
            false => Piece::Memory(tail),
        }
    }
}

fn copied<'a>(
    entries: impl Iterator<Item = &'a Entry>,
    most: usize,
    most_bytes: usize,
) -> Vec<Entry> {
    let mut room = most_bytes;
    let entries = entries.take(most).take_while(|entry| {
        let fits = room > 0;
        room = room.saturating_sub(entry.message.size());
        fits
    });
    entries.cloned().collect()
}

impl super::page::Page {
    /// Whether every place from the first to the last holds a message.
    fn is_dense(&self) -> bool {
        let places = self.last.saturating_sub(self.first).saturating_add(1);
        matches!(self.source, Source::Store) && places == self.count as u64
    }
}
