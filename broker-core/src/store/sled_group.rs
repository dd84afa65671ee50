//! One group of operations as one `sled::Batch`, which is what makes it atomic.
//!
//! | key | value |
//! |---|---|
//! | queue (8 bytes), position (8) | the first [`PIECE`] bytes of the message's [record](super::record) |
//! | queue, position, index from 1 (4) | the further pieces of a large record |
//! | queue, position, [`COUNT`] (4) | how often the message has come back (4), once it has |
//! | [`SWEEPS`] (8), queue, from, to (8 each) | a range that is settled and whose keys are still being removed |
//!
//! Numbers are big-endian, so a queue's messages stand in the order of their positions, each followed by its pieces.
//! Records are cut because a sled leaf holds up to 16 values and is rewritten as a whole now and then: large values
//! would be written many times, and in files of their own.
//!
//! A message that is enqueued and settled in the same group never reaches the disk. A range that is longer than
//! [`CHUNK`] keys is settled by a *sweep*: the batch holds only its mark, the keys go later in chunks, the mark last;
//! unfinished sweeps go on after a start. Repeating them is harmless, since neither queue ids nor positions are reused:
//! after a start a queue goes on behind its sweeps.

use std::collections::{BTreeMap, VecDeque};

use super::{Operation, Position, QueueId, record, sled_database::failed};
use crate::{error::Error, message::Message, queue::Millis};

/// The largest value: with 16 of them a leaf stays below the 128 KiB from which sled writes it to a separate file.
pub(super) const PIECE: usize = 6 * 1024;
/// Keys that are removed at once.
pub(super) const CHUNK: usize = 1024;
/// No queue has this id.
const SWEEPS: u64 = u64::MAX;
/// No piece has this index.
pub(super) const COUNT: u32 = u32::MAX;

/// The keys that a message has beside its first piece.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Further {
    /// Its further pieces.
    pub(super) pieces: u32,
    /// Whether it has come back, so that its count has a key.
    pub(super) counted: bool,
}

/// The messages that have more keys than one. Only they cost memory here.
pub(super) type Pieces = BTreeMap<(QueueId, Position), Further>;

/// Settled ranges whose keys are still being removed.
pub(super) type Sweeps = VecDeque<Sweep>;

/// The key of a message's first piece.
pub(super) fn key(queue: QueueId, position: Position) -> [u8; 16] {
    let mut key = [0; 16];
    let (high, low) = key.split_at_mut(8);
    high.copy_from_slice(&queue.0.to_be_bytes());
    low.copy_from_slice(&position.to_be_bytes());
    key
}

/// The key of a message's piece `index`, from 1, or of its [`COUNT`].
pub(super) fn further_key(queue: QueueId, position: Position, index: u32) -> [u8; 20] {
    let mut piece = [0; 20];
    let (high, low) = piece.split_at_mut(16);
    high.copy_from_slice(&key(queue, position));
    low.copy_from_slice(&index.to_be_bytes());
    piece
}

/// Splits a key into queue, position and, for further keys, the index. `None` for sweeps and foreign keys.
pub(super) fn parse_key(key: &[u8]) -> Option<(QueueId, Position, u32)> {
    let (queue, rest) = key.split_first_chunk()?;
    let (position, rest) = rest.split_first_chunk()?;
    let index = match rest {
        [] => 0,
        _ => u32::from_be_bytes(rest.try_into().ok()?),
    };
    let queue = u64::from_be_bytes(*queue);
    (queue != SWEEPS).then(|| (QueueId(queue), u64::from_be_bytes(*position), index))
}

/// A range of settled positions of one queue, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sweep {
    queue: QueueId,
    from: Position,
    to: Position,
}

impl Sweep {
    fn mark(self) -> [u8; 32] {
        let mut mark = [0; 32];
        let numbers = [SWEEPS, self.queue.0, self.from, self.to];
        for (place, number) in mark.chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_be_bytes());
        }
        mark
    }

    fn parse(mark: &[u8]) -> Option<Self> {
        let mark: &[u8; 32] = mark.try_into().ok()?;
        let mut numbers = mark
            .chunks_exact(8)
            .filter_map(|place| place.try_into().ok());
        let mut number = || numbers.next().map(u64::from_be_bytes);
        number()?;
        Some(Self {
            queue: QueueId(number()?),
            from: number()?,
            to: number()?,
        })
    }

    /// Where it ends, if it is one of this queue.
    pub(super) fn end_in(self, queue: QueueId) -> Option<Position> {
        (self.queue == queue).then_some(self.to)
    }

    /// Whether the message at this place is settled by it.
    pub(super) fn covers(self, queue: QueueId, position: Position) -> bool {
        self.queue == queue && (self.from..=self.to).contains(&position)
    }

    /// Up to [`CHUNK`] of its keys, and whether these were the last.
    fn keys(self, tree: &sled::Tree) -> Result<(Vec<sled::IVec>, bool), Error> {
        if self.from > self.to {
            return Ok((Vec::new(), true));
        }
        let first = key(self.queue, self.from);
        let last = further_key(self.queue, self.to, u32::MAX);
        let mut keys = tree.range(first.as_slice()..=last.as_slice()).keys();
        let taken: Result<Vec<_>, _> = keys.by_ref().take(CHUNK).collect();
        let taken = taken.map_err(|error| failed("read", &error))?;
        Ok((taken, keys.next().is_none()))
    }

    /// Removes a chunk of keys, and the mark with the last; tells whether it is done.
    pub(super) fn step(self, tree: &sled::Tree) -> Result<bool, Error> {
        let (keys, done) = self.keys(tree)?;
        let mut batch = sled::Batch::default();
        for key in keys {
            batch.remove(key);
        }
        if done {
            batch.remove(&self.mark());
        }
        tree.apply_batch(batch)
            .map_err(|error| failed("write", &error))?;
        Ok(done)
    }
}

/// The sweeps that were not finished when the store was last open.
pub(super) fn unfinished_sweeps(tree: &sled::Tree) -> Result<Sweeps, Error> {
    let mut sweeps = Sweeps::new();
    for mark in tree.scan_prefix(SWEEPS.to_be_bytes()).keys() {
        let mark = mark.map_err(|error| failed("read", &error))?;
        let sweep = Sweep::parse(&mark)
            .ok_or_else(|| Error::Internal(format!("unknown key {mark:02x?} in the database")))?;
        sweeps.push_back(sweep);
    }
    Ok(sweeps)
}

/// What a group does in the end: the operations after those that cancel out.
#[derive(Default)]
pub(super) struct Group {
    /// `Some` is put, `None` is removed.
    messages: BTreeMap<(QueueId, Position), Option<(Millis, Message)>>,
    /// Counts to be put.
    counts: BTreeMap<(QueueId, Position), u32>,
    ranges: Vec<Sweep>,
}

impl Group {
    /// Adds what happened next.
    pub(super) fn add(&mut self, operation: Operation) {
        match operation {
            Operation::Enqueue {
                queue,
                position,
                enqueued_at,
                message,
            } => {
                let record = Some((enqueued_at, message));
                self.messages.insert((queue, position), record);
            }
            Operation::Settle {
                queue, position, ..
            } => self.settle(queue, position),
            Operation::Requeue {
                queue,
                position,
                delivery_count,
            } => {
                self.counts.insert((queue, position), delivery_count);
            }
            Operation::SettleRange { queue, from, to } => self.settle_range(queue, from, to),
            Operation::DeleteQueue { queue } => self.settle_range(queue, 0, Position::MAX),
        }
    }

    fn settle(&mut self, queue: QueueId, position: Position) {
        self.counts.remove(&(queue, position));
        // What this group puts is not on disk yet, for positions are not reused: nothing is left to remove.
        if self
            .messages
            .remove(&(queue, position))
            .is_none_or(|message| message.is_none())
        {
            self.messages.insert((queue, position), None);
        }
    }

    fn settle_range(&mut self, queue: QueueId, from: Position, to: Position) {
        if from > to {
            return;
        }
        remove_range(&mut self.messages, queue, from, to);
        remove_range(&mut self.counts, queue, from, to);
        self.ranges.push(Sweep { queue, from, to });
    }

    /// Makes the batch. Ranges that are too long for it are left to `sweeps`.
    pub(super) fn into_batch(
        self,
        tree: &sled::Tree,
        pieces: &mut Pieces,
        sweeps: &mut Sweeps,
    ) -> Result<sled::Batch, Error> {
        let mut batch = sled::Batch::default();
        let mut record = Vec::new();
        for sweep in self.ranges {
            sweep_in(&mut batch, sweep, tree, sweeps)?;
            remove_range(pieces, sweep.queue, sweep.from, sweep.to);
        }
        for ((queue, position), message) in self.messages {
            match message {
                Some((enqueued_at, message)) => {
                    record.clear();
                    record::encode(&message, enqueued_at, &mut record);
                    put(&mut batch, queue, position, &record, pieces);
                }
                None => remove(&mut batch, queue, position, pieces),
            }
        }
        for ((queue, position), count) in self.counts {
            let key = further_key(queue, position, COUNT);
            batch.insert(&key, &count.to_be_bytes());
            pieces.entry((queue, position)).or_default().counted = true;
        }
        Ok(batch)
    }
}

fn sweep_in(
    batch: &mut sled::Batch,
    sweep: Sweep,
    tree: &sled::Tree,
    sweeps: &mut Sweeps,
) -> Result<(), Error> {
    let (keys, all) = sweep.keys(tree)?;
    if all {
        keys.into_iter().for_each(|key| batch.remove(key));
    } else {
        batch.insert(&sweep.mark(), &[]);
        sweeps.push_back(sweep);
    }
    Ok(())
}

/// Takes out what lies from `from` to `to`.
fn remove_range<T>(
    places: &mut BTreeMap<(QueueId, Position), T>,
    queue: QueueId,
    from: Position,
    to: Position,
) {
    let inside = places.range((queue, from)..=(queue, to));
    let inside: Vec<_> = inside.map(|(place, _)| *place).collect();
    for place in inside {
        places.remove(&place);
    }
}

fn put(
    batch: &mut sled::Batch,
    queue: QueueId,
    position: Position,
    record: &[u8],
    pieces: &mut Pieces,
) {
    let mut parts = record.chunks(PIECE);
    batch.insert(&key(queue, position), parts.next().unwrap_or_default());
    let mut further = Further::default();
    for part in parts {
        further.pieces += 1;
        batch.insert(&further_key(queue, position, further.pieces), part);
    }
    if further.pieces > 0 {
        pieces.insert((queue, position), further);
    }
}

fn remove(batch: &mut sled::Batch, queue: QueueId, position: Position, pieces: &mut Pieces) {
    batch.remove(&key(queue, position));
    if pieces.is_empty() {
        return;
    }
    let further = pieces.remove(&(queue, position)).unwrap_or_default();
    for index in 1..=further.pieces {
        batch.remove(&further_key(queue, position, index));
    }
    if further.counted {
        batch.remove(&further_key(queue, position, COUNT));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_gives_back_queue_and_position() {
        assert_eq!(parse_key(&key(QueueId(7), 9)), Some((QueueId(7), 9, 0)));
        assert_eq!(
            parse_key(&further_key(QueueId(7), 9, 3)),
            Some((QueueId(7), 9, 3))
        );
    }

    #[test]
    fn sweep_mark_is_no_message_key_and_reads_back() {
        let sweep = Sweep {
            queue: QueueId(7),
            from: 1,
            to: Position::MAX,
        };
        assert_eq!(parse_key(&sweep.mark()), None);
        assert_eq!(Sweep::parse(&sweep.mark()), Some(sweep));
    }
}
