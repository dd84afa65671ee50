//! How much room sled may need to write a group: see [`Writes`].
//!
//! sled appends each change to its file, and now and then the whole leaf that it belongs to: the eleventh change of a leaf
//! does that, also if it only removes something small. So what a group costs is not its bytes alone. Neighbours share a
//! leaf; a change far from all others may be the eleventh of a full one. It was measured too: a message of 16 MiB makes
//! the file 42 MiB longer, 300 settlements of 5 KiB messages in 300 queues 13 MiB.

use std::collections::HashMap;

use super::{
    Operation, Position, QueueId,
    sled_database::{LEAF, Writes},
    sled_group::{CHUNK, PIECE, Pieces},
};

/// Reckoned for each operation on top of its message, when pending bytes are counted.
const OPERATION_BYTES: usize = 48;

/// A value's key, and what its message has beside its body.
const KEY_BYTES: usize = 64;

/// What sled writes for keys that it removes one behind the other, in quarters of what stood there: leaves that become
/// small are written again and joined.
const REMOVED_QUARTERS: u64 = 5;

/// Bytes that an operation weighs.
pub(super) fn weight(operation: &Operation) -> usize {
    let message = match operation {
        Operation::Enqueue { message, .. } => message.size(),
        _ => 0,
    };
    OPERATION_BYTES + message
}

/// Reckons for one group after another. Leaves are taken to be as large as the largest values make them.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// The largest value that may be there.
    largest: usize,
}

impl Room {
    /// Notes that there is a message of so many bytes.
    pub(super) fn note(&mut self, bytes: usize) {
        self.largest = self.largest.max(bytes.min(PIECE));
    }

    /// What a group may make sled write.
    pub(super) fn writes(&mut self, group: &[Operation], pieces: &Pieces) -> Writes {
        for operation in group {
            self.note(weight(operation));
        }
        let value = (self.largest + KEY_BYTES) as u64;
        let mut last = HashMap::new();
        let mut writes = Writes::default();
        for operation in group {
            let (queue, position) = place(operation);
            let before = last.insert(queue, position);
            if before.is_none_or(|before: Position| before.checked_add(1) != Some(position)) {
                writes.rewritten += LEAF * value;
            }
            let removed = match operation {
                Operation::Enqueue { .. } | Operation::Requeue { .. } => {
                    writes.new += weight(operation) as u64;
                    0
                }
                Operation::Settle { .. } => keys(pieces, queue, position, position),
                Operation::SettleRange { from, to, .. } => {
                    keys(pieces, queue, *from, *to).min(CHUNK as u64)
                }
                Operation::DeleteQueue { .. } => CHUNK as u64,
            };
            writes.rewritten += removed * value * REMOVED_QUARTERS / 4;
        }
        writes
    }

    /// What a step of a sweep may make it write.
    pub(super) fn swept(&self) -> Writes {
        let value = (self.largest + KEY_BYTES) as u64;
        Writes {
            new: 0,
            rewritten: (LEAF + CHUNK as u64 * REMOVED_QUARTERS / 4) * value,
        }
    }
}

/// How many keys a range may have, both ends included. Does not count on from a [`CHUNK`].
fn keys(pieces: &Pieces, queue: QueueId, from: Position, to: Position) -> u64 {
    if from > to {
        return 0;
    }
    let mut keys = (to - from).saturating_add(1);
    for further in pieces.range((queue, from)..=(queue, to)).map(|it| it.1) {
        if keys >= CHUNK as u64 {
            break;
        }
        keys += u64::from(further.pieces) + u64::from(further.counted);
    }
    keys
}

/// Where in the tree an operation changes something.
fn place(operation: &Operation) -> (QueueId, Position) {
    match operation {
        Operation::Enqueue {
            queue, position, ..
        }
        | Operation::Settle {
            queue, position, ..
        }
        | Operation::Requeue {
            queue, position, ..
        } => (*queue, *position),
        Operation::SettleRange { queue, from, .. } => (*queue, *from),
        Operation::DeleteQueue { queue } => (*queue, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            SledDatabase,
            sled_database::LEAST,
            sled_group::{Further, Group, Sweeps},
        },
        *,
    };
    use crate::message::Message;

    const MIB: u64 = 1024 * 1024;

    fn enqueue(queue: u64, position: Position, bytes: usize) -> Operation {
        Operation::Enqueue {
            queue: QueueId(queue),
            position,
            enqueued_at: 0,
            message: Message::new("", "q", &[0, 0], &vec![7; bytes], true),
        }
    }

    fn settle(queue: u64, position: Position) -> Operation {
        Operation::Settle {
            queue: QueueId(queue),
            position,
            bytes: 0,
        }
    }

    /// Writes groups as the store does. Each makes the file longer by no more than was reckoned.
    fn check(groups: impl IntoIterator<Item = Vec<Operation>>) {
        let folder = tempfile::tempdir().unwrap();
        let database = SledDatabase::open(folder.path()).unwrap();
        let tree = database.tree("messages").unwrap();
        let length = || std::fs::metadata(folder.path().join("db")).unwrap().len();
        let (mut pieces, mut sweeps) = (Pieces::new(), Sweeps::new());
        let mut room = Room::default();
        for (number, operations) in groups.into_iter().enumerate() {
            let writes = room.writes(&operations, &pieces);
            let mut group = Group::default();
            operations.into_iter().for_each(|it| group.add(it));
            let batch = group.into_batch(&tree, &mut pieces, &mut sweeps).unwrap();
            let before = length();
            tree.apply_batch(batch).unwrap();
            database.sync().unwrap();
            let (grown, reckoned) = (
                length().saturating_sub(before),
                LEAST + writes.bytes(before),
            );
            assert!(grown <= reckoned, "group {number}: {grown} of {reckoned}");
        }
    }

    #[test]
    fn one_large_message_needs_three_times_its_size_and_a_little() {
        check((1..=4).map(|at| match at % 2 {
            1 => vec![enqueue(1, at, 16 * MIB as usize)],
            _ => vec![settle(1, at - 1)],
        }));
        let large = [enqueue(1, 1, 16 * MIB as usize)];
        let writes = Room::default().writes(&large, &Pieces::new());
        assert!(LEAST + writes.bytes(100 * MIB) < 51 * MIB);
    }

    /// All leaves come to be written anew in the same group.
    #[test]
    fn change_in_every_leaf_is_reckoned_with() {
        check((1..=20).map(|round| {
            let queues = 1..=150;
            match round {
                1..=12 => queues.map(|it| enqueue(it, round, 5_000)).collect(),
                _ => queues.map(|it| settle(it, round - 12)).collect::<Vec<_>>(),
            }
        }));
    }

    #[test]
    fn many_neighbours_are_reckoned_with() {
        check((0..12).map(|round| match round % 3 {
            0 => (1..=900).map(|at| enqueue(round, at, 3_000)).collect(),
            1 => (1..=400).map(|at| settle(round - 1, at)).collect(),
            _ => vec![Operation::SettleRange {
                queue: QueueId(round - 2),
                from: 0,
                to: 800,
            }],
        }));
    }

    #[test]
    fn short_range_needs_what_its_messages_need() {
        let mut pieces = Pieces::new();
        let mut room = Room::default();
        room.note(PIECE);
        let mut bytes = |from, to, pieces: &Pieces| {
            let queue = QueueId(1);
            let range = [Operation::SettleRange { queue, from, to }];
            room.writes(&range, pieces).bytes(u64::MAX)
        };
        let short = bytes(1, 2, &pieces);
        assert!(short < MIB / 8);
        assert!(bytes(2, 1, &pieces) < short);
        let further = Further {
            pieces: 100,
            counted: true,
        };
        pieces.insert((QueueId(1), 2), further);
        assert!(bytes(1, 2, &pieces) > short + 101 * PIECE as u64);
        let long = bytes(1, Position::MAX, &pieces);
        assert_eq!(long, bytes(0, 5_000, &pieces));
        assert!(long < 9 * MIB);
    }

    #[test]
    fn small_groups_need_little_whatever_the_length_of_the_file() {
        let mut room = Room::default();
        let acks: Vec<_> = (1..=500).map(|at| settle(1, at * 3)).collect();
        room.note(100);
        let writes = room.writes(&acks, &Pieces::new());
        assert!(LEAST + writes.bytes(u64::MAX) < 4 * MIB);
    }
}
