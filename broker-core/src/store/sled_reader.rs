//! Walks over the messages of one queue in a sled tree, and joins the pieces of each. Keys and values: `sled_group.rs`.

use super::{
    Position, QueueId, StoredMessage, record,
    sled_database::failed,
    sled_group::{COUNT, Further, Sweep, Sweeps, further_key, key, parse_key},
};
use crate::error::Error;

/// The messages of one queue between two places, in their order, without those that a sweep has settled.
pub(super) struct Reader {
    tree: sled::Tree,
    queue: QueueId,
    to: Position,
    /// Those of the queue.
    sweeps: Vec<Sweep>,
    pairs: Pairs,
    record: Vec<u8>,
}

type Pairs = std::iter::Peekable<sled::Iter>;

fn pairs(tree: &sled::Tree, queue: QueueId, from: Position, to: Position) -> Pairs {
    let first = key(queue, from);
    let last = further_key(queue, to, COUNT);
    let pairs = match from <= to {
        true => tree.range(first.as_slice()..=last.as_slice()),
        false => tree.range(first.as_slice()..first.as_slice()),
    };
    pairs.peekable()
}

impl Reader {
    /// Starts at `from` and ends with `to`.
    pub(super) fn new(
        tree: &sled::Tree,
        queue: QueueId,
        from: Position,
        to: Position,
        sweeps: &Sweeps,
    ) -> Self {
        let own = |sweep: &&Sweep| sweep.end_in(queue).is_some();
        Self {
            tree: tree.clone(),
            queue,
            to,
            sweeps: sweeps.iter().filter(own).copied().collect(),
            pairs: pairs(tree, queue, from, to),
            record: Vec::new(),
        }
    }

    /// Whether there is a message.
    pub(super) fn holds_any(mut self) -> Result<bool, Error> {
        Ok(self.next_position()?.is_some())
    }

    /// Where the next message is. Goes past sweeps as a whole: of a message there, only some keys may be left.
    fn next_position(&mut self) -> Result<Option<Position>, Error> {
        loop {
            let Some(pair) = self.pairs.peek() else {
                return Ok(None);
            };
            let (key, _) = pair.as_ref().map_err(|error| failed("read", error))?;
            let (_, position, _) = parse_key(key).ok_or_else(|| unknown(key))?;
            let mut sweeps = self.sweeps.iter();
            let Some(sweep) = sweeps.find(|sweep| sweep.covers(self.queue, position)) else {
                return Ok(Some(position));
            };
            let behind = sweep.end_in(self.queue).and_then(|end| end.checked_add(1));
            let Some(behind) = behind else {
                return Ok(None);
            };
            self.pairs = pairs(&self.tree, self.queue, behind, self.to);
        }
    }

    /// The next message, and which further keys it has.
    pub(super) fn next(&mut self) -> Result<Option<(StoredMessage, Further)>, Error> {
        if !self.sweeps.is_empty() && self.next_position()?.is_none() {
            return Ok(None);
        }
        let Some((position, index, value)) = self.next_if(|_| true)? else {
            return Ok(None);
        };
        self.record.clear();
        self.record.extend_from_slice(&value);
        if index != 0 {
            return Err(self.damaged(position, PIECE_MISSING));
        }
        let mut further = Further::default();
        let mut delivery_count = 0;
        while let Some((_, index, value)) = self.next_if(|other| other == position)? {
            if index == COUNT {
                let count = <[u8; 4]>::try_from(&*value);
                let count = count.map_err(|_| self.damaged(position, "a count of a wrong length"));
                delivery_count = u32::from_be_bytes(count?);
                further.counted = true;
                continue;
            }
            further.pieces += 1;
            if index != further.pieces {
                return Err(self.damaged(position, PIECE_MISSING));
            }
            self.record.extend_from_slice(&value);
        }
        let decoded = record::decode(&self.record);
        let (enqueued_at, message) = decoded.map_err(|what| self.damaged(position, what))?;
        let stored = StoredMessage {
            position,
            message,
            enqueued_at,
            delivery_count,
            redelivered: further.counted,
        };
        Ok(Some((stored, further)))
    }

    /// Takes the next key if its position is the right one.
    fn next_if(
        &mut self,
        right: impl FnOnce(Position) -> bool,
    ) -> Result<Option<(Position, u32, sled::IVec)>, Error> {
        let Some(pair) = self.pairs.peek() else {
            return Ok(None);
        };
        let (key, value) = pair.as_ref().map_err(|error| failed("read", error))?;
        let (_, position, index) = parse_key(key).ok_or_else(|| unknown(key))?;
        if !right(position) {
            return Ok(None);
        }
        let value = value.clone();
        self.pairs.next();
        Ok(Some((position, index, value)))
    }

    fn damaged(&self, position: Position, what: &str) -> Error {
        let queue = self.queue.0;
        Error::Internal(format!(
            "stored queue {queue}, message at position {position}: {what}"
        ))
    }
}

fn unknown(key: &[u8]) -> Error {
    Error::Internal(format!("unknown key {key:02x?} in the database"))
}

const PIECE_MISSING: &str = "a piece of a record is missing";

#[cfg(test)]
mod tests {
    use super::{
        super::{
            Operation, SledDatabase,
            sled_group::{Group, PIECE, Pieces},
        },
        *,
    };
    use crate::message::Message;

    /// A step removes so many keys, whatever messages they are of.
    #[test]
    fn message_of_which_a_sweep_has_left_some_keys_is_not_seen() {
        const LAST: Position = 600;
        let folder = tempfile::tempdir().unwrap();
        let database = SledDatabase::open(folder.path()).unwrap();
        let tree = database.tree("messages").unwrap();
        let (mut pieces, mut sweeps) = (Pieces::new(), Sweeps::new());
        let queue = QueueId(1);
        let mut apply = |operation, sweeps: &mut Sweeps| {
            let mut group = Group::default();
            group.add(operation);
            let batch = group.into_batch(&tree, &mut pieces, sweeps).unwrap();
            tree.apply_batch(batch).unwrap();
        };
        for position in 1..=LAST {
            apply(
                Operation::Enqueue {
                    queue,
                    position,
                    enqueued_at: 0,
                    message: Message::new("", "q", &[0, 0], &vec![7; 2 * PIECE], true),
                },
                &mut sweeps,
            );
        }
        let (from, to) = (2, LAST - 1);
        apply(Operation::SettleRange { queue, from, to }, &mut sweeps);
        assert!(!sweeps[0].step(&tree).unwrap());
        let mut bare = Reader::new(&tree, queue, 0, Position::MAX, &Sweeps::new());
        bare.next().unwrap();
        assert!(bare.next().is_err(), "the step has left no half a message");

        let read = |from, to| {
            let mut reader = Reader::new(&tree, queue, from, to, &sweeps);
            let next = || Some(reader.next().unwrap()?.0.position);
            std::iter::from_fn(next).collect::<Vec<_>>()
        };
        assert_eq!(read(0, Position::MAX), [1, LAST]);
        assert!(read(5, LAST - 1).is_empty());
        apply(Operation::DeleteQueue { queue }, &mut sweeps);
        let reader = Reader::new(&tree, queue, 0, Position::MAX, &sweeps);
        assert!(!reader.holds_any().unwrap());
    }
}
