//! Walks over the messages of one queue in a sled tree, and joins the pieces of each. Keys and values: `sled_group.rs`.

use super::{
    Position, QueueId, StoredMessage, record,
    sled_database::failed,
    sled_group::{COUNT, Further, further_key, key, parse_key},
};
use crate::error::Error;

/// The messages of one queue between two places, in their order.
pub(super) struct Reader {
    queue: QueueId,
    pairs: std::iter::Peekable<sled::Iter>,
    record: Vec<u8>,
}

impl Reader {
    /// Starts at `from` and ends with `to`.
    pub(super) fn new(tree: &sled::Tree, queue: QueueId, from: Position, to: Position) -> Self {
        let first = key(queue, from);
        let last = further_key(queue, to, COUNT);
        let pairs = match from <= to {
            true => tree.range(first.as_slice()..=last.as_slice()),
            false => tree.range(first.as_slice()..first.as_slice()),
        };
        Self {
            queue,
            pairs: pairs.peekable(),
            record: Vec::new(),
        }
    }

    /// The next message, and which further keys it has.
    pub(super) fn next(&mut self) -> Result<Option<(StoredMessage, Further)>, Error> {
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
        let (_, position, index) = parse_key(key)
            .ok_or_else(|| Error::Internal(format!("unknown key {key:02x?} in the database")))?;
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

const PIECE_MISSING: &str = "a piece of a record is missing";
