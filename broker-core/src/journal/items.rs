//! What stands in a batch of the log: blocks of messages, and what became of messages.
//!
//! Every item starts with its kind (u8), three bytes that only blocks use, and its length (u32, the start included).
//! The log's own checksum covers them; a block has one of its own besides, because it is read alone later.
//!
//! | kind | then |
//! |---|---|
//! | 1 | a block of messages, see `block.rs`; of the queue [`BODIES`], a body that several queues share |
//! | 2 | settled: queue u64, then for each range: first position u64, how many u32, their bytes u32 |
//! | 3 | cleared: queue u64, first position u64, last position u64 |
//! | 4 | came back: queue u64, then for each message: position u64, delivery count u32 |
//! | 5 | deleted: queue u64 |
//! | 6 | nothing: a place in the log to wait for |

use super::block::{self, BlockHeader, BlockWriter, Content, Fields};
use crate::{
    message::Message,
    queue::Millis,
    store::{Operation, Position, QueueId},
};

const SETTLED: u8 = 2;
const CLEARED: u8 = 3;
const RETURNED: u8 = 4;
const DELETED: u8 = 5;
const NOTHING: u8 = 6;

/// Bytes of kind and length.
const START: usize = 8;

/// The queue that shared bodies are kept under, with their numbers as positions.
pub(super) const BODIES: QueueId = QueueId(u64::MAX);

/// A block in the log grows no longer than this, unless one message is: it is read as a whole.
const BLOCK_BYTES: usize = 256 * 1024;

/// From this size on, a message of a batch that several queues take is written once. Below, a reference and its
/// accounting cost more than the copy.
const SHARED_FROM: usize = 512;

/// An item of the log.
#[derive(Debug, Clone)]
pub(super) enum Item<'a> {
    /// Messages entered a queue.
    Block(BlockHeader, &'a [u8]),
    /// Messages left it.
    Settled(QueueId, Ranges<'a>),
    /// Every message between two positions left it.
    Cleared(QueueId, Position, Position),
    /// Messages came back to it.
    Returned(QueueId, Counts<'a>),
    /// The queue is gone.
    Deleted(QueueId),
    /// Nothing happened.
    Nothing,
}

/// Splits `bytes` into items, each with its offset. Ends after the first error.
pub(super) fn items(bytes: &[u8]) -> Items<'_> {
    Items { bytes, offset: 0 }
}

/// Iterates over items.
pub(super) struct Items<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Iterator for Items<'a> {
    type Item = Result<(usize, Item<'a>), &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.bytes.get(self.offset..).filter(|r| !r.is_empty())?;
        let offset = self.offset;
        match parse(rest) {
            Ok((length, item)) => {
                self.offset += length;
                Some(Ok((offset, item)))
            }
            Err(what) => {
                self.offset = self.bytes.len();
                Some(Err(what))
            }
        }
    }
}

fn parse(bytes: &[u8]) -> Result<(usize, Item<'_>), &'static str> {
    let mut fields = Fields(bytes);
    let [kind, ..] = fields.array::<4>()?;
    let length = fields.u32()? as usize;
    if length < START {
        return Err("an item with an impossible length");
    }
    let whole = bytes.get(..length).ok_or("an item that ends early")?;
    let mut fields = Fields(whole.get(START..).unwrap_or_default());
    let item = match kind {
        block::KIND => Item::Block(BlockHeader::parse(whole)?, whole),
        SETTLED => Item::Settled(QueueId(fields.u64()?), Ranges(fields)),
        CLEARED => Item::Cleared(QueueId(fields.u64()?), fields.u64()?, fields.u64()?),
        RETURNED => Item::Returned(QueueId(fields.u64()?), Counts(fields)),
        DELETED => Item::Deleted(QueueId(fields.u64()?)),
        NOTHING => Item::Nothing,
        _ => return Err("an item of a kind that this version does not know"),
    };
    Ok((length, item))
}

/// Ranges of settled positions: the first, how many, and bytes of the messages.
#[derive(Debug, Clone)]
pub(super) struct Ranges<'a>(Fields<'a>);

impl Iterator for Ranges<'_> {
    type Item = (Position, u32, u32);

    fn next(&mut self) -> Option<Self::Item> {
        Some((self.0.u64().ok()?, self.0.u32().ok()?, self.0.u32().ok()?))
    }
}

/// Positions of messages that came back, with their delivery counts.
#[derive(Debug, Clone)]
pub(super) struct Counts<'a>(Fields<'a>);

impl Iterator for Counts<'_> {
    type Item = (Position, u32);

    fn next(&mut self) -> Option<Self::Item> {
        Some((self.0.u64().ok()?, self.0.u32().ok()?))
    }
}

/// What the encoder is in the middle of.
#[derive(Debug)]
enum Open {
    Nothing,
    Block(BlockWriter),
    /// A list of settled ranges or of counts: where it starts, of which kind and queue, and the range that may still
    /// grow.
    List {
        start: usize,
        kind: u8,
        queue: QueueId,
        range: Option<(Position, u32, u32)>,
    },
}

/// Turns operations into items, joining neighbours.
#[derive(Debug)]
pub(super) struct Encoder {
    /// The items so far; complete after [`Self::finish`].
    pub(super) out: Vec<u8>,
    open: Open,
    /// Messages of this batch that stand in it as shared bodies, by address.
    shared: Vec<(usize, u64)>,
}

impl Default for Encoder {
    fn default() -> Self {
        Self {
            out: Vec::new(),
            open: Open::Nothing,
            shared: Vec::new(),
        }
    }
}

impl Encoder {
    /// Encodes a whole batch. `number` gives shared bodies their numbers.
    pub(super) fn encode(&mut self, batch: &[Operation], mut number: impl FnMut() -> u64) {
        self.shared.clear();
        self.share(batch, &mut number);
        for operation in batch {
            self.add(operation);
        }
        self.finish();
        self.shared.clear();
    }

    /// Writes the bodies first that several queues of the batch take.
    fn share(&mut self, batch: &[Operation], number: &mut impl FnMut() -> u64) {
        let mut queues = batch.iter().filter_map(enters);
        let first = queues.next();
        if queues.all(|queue| Some(queue) == first) {
            return;
        }
        let mut large: Vec<(&Message, Millis)> = batch.iter().filter_map(shareable).collect();
        large.sort_unstable_by_key(|(message, _)| message.address());
        for same in large.chunk_by(|(a, _), (b, _)| a.address() == b.address()) {
            let [(message, entered), _, ..] = same else {
                continue;
            };
            let id = number();
            let mut block = BlockWriter::begin(&mut self.out, BODIES, id, *entered);
            block.add(&mut self.out, id, *entered, whole(message));
            block.finish(&mut self.out);
            self.shared.push((message.address(), id));
        }
    }

    fn add(&mut self, operation: &Operation) {
        match operation {
            Operation::Enqueue {
                queue,
                position,
                enqueued_at,
                message,
            } => self.enqueue(*queue, *position, *enqueued_at, message),
            Operation::Settle {
                queue,
                position,
                bytes,
            } => self.settle(*queue, *position, *bytes),
            Operation::Requeue {
                queue,
                position,
                delivery_count,
            } => {
                self.list(RETURNED, *queue);
                self.out.extend_from_slice(&position.to_le_bytes());
                self.out.extend_from_slice(&delivery_count.to_le_bytes());
            }
            Operation::SettleRange { queue, from, to } => {
                self.single(CLEARED, &[queue.0, *from, *to]);
            }
            Operation::DeleteQueue { queue } => self.single(DELETED, &[queue.0]),
        }
    }

    fn enqueue(&mut self, queue: QueueId, position: Position, entered: Millis, message: &Message) {
        let fits = match &self.open {
            Open::Block(block) => {
                let room = block.length(&self.out) + message.size() <= BLOCK_BYTES;
                room && block.takes(queue, position, entered)
            }
            _ => false,
        };
        if !fits {
            self.finish();
            let block = BlockWriter::begin(&mut self.out, queue, position, entered);
            self.open = Open::Block(block);
        }
        let id = self.shared_number(message);
        let Open::Block(block) = &mut self.open else {
            return;
        };
        match id {
            Some(id) => {
                block.add(&mut self.out, position, entered, Content::Shared(id));
                block.count_body(message.body_length());
            }
            None => block.add(&mut self.out, position, entered, whole(message)),
        }
    }

    fn shared_number(&self, message: &Message) -> Option<u64> {
        let address = message.address();
        let found = self.shared.binary_search_by_key(&address, |(a, _)| *a);
        self.shared.get(found.ok()?).map(|(_, id)| *id)
    }

    fn settle(&mut self, queue: QueueId, position: Position, bytes: u32) {
        if let Open::List {
            kind: SETTLED,
            queue: open,
            range: Some((first, count, sum)),
            ..
        } = &mut self.open
            && *open == queue
            && *first + u64::from(*count) == position
            && *count < u32::MAX
        {
            *count += 1;
            *sum = sum.saturating_add(bytes);
            return;
        }
        self.list(SETTLED, queue);
        if let Open::List { range, .. } = &mut self.open {
            *range = Some((position, 1, bytes));
        }
    }

    /// Goes on with the open list if it is the same, or starts one.
    fn list(&mut self, kind: u8, queue: QueueId) {
        match &mut self.open {
            Open::List {
                kind: open,
                queue: of,
                range,
                ..
            } if *open == kind && *of == queue => put_range(&mut self.out, range.take()),
            _ => {
                self.finish();
                let start = self.out.len();
                self.start(kind);
                self.out.extend_from_slice(&queue.0.to_le_bytes());
                self.open = Open::List {
                    start,
                    kind,
                    queue,
                    range: None,
                };
            }
        }
    }

    fn single(&mut self, kind: u8, numbers: &[u64]) {
        self.finish();
        let start = self.out.len();
        self.start(kind);
        for number in numbers {
            self.out.extend_from_slice(&number.to_le_bytes());
        }
        put_length(&mut self.out, start);
    }

    fn start(&mut self, kind: u8) {
        self.out.extend_from_slice(&[kind, 0, 0, 0, 0, 0, 0, 0]);
    }

    /// Ends what is open.
    fn finish(&mut self) {
        match std::mem::replace(&mut self.open, Open::Nothing) {
            Open::Nothing => {}
            Open::Block(block) => block.finish(&mut self.out),
            Open::List { start, range, .. } => {
                put_range(&mut self.out, range);
                put_length(&mut self.out, start);
            }
        }
    }
}

/// An item that says nothing, for those who need a place in the log to wait for.
pub(super) fn nothing() -> Vec<u8> {
    vec![NOTHING, 0, 0, 0, START as u8, 0, 0, 0]
}

/// A message with all its bytes.
pub(super) fn whole(message: &Message) -> Content<'_> {
    Content::Whole {
        layout: message.layout(),
        bytes: message.packed(),
    }
}

/// The queue that a message enters.
fn enters(operation: &Operation) -> Option<QueueId> {
    match operation {
        Operation::Enqueue { queue, .. } => Some(*queue),
        _ => None,
    }
}

fn shareable(operation: &Operation) -> Option<(&Message, Millis)> {
    match operation {
        Operation::Enqueue {
            message,
            enqueued_at,
            ..
        } if message.size() >= SHARED_FROM => Some((message, *enqueued_at)),
        _ => None,
    }
}

fn put_range(out: &mut Vec<u8>, range: Option<(Position, u32, u32)>) {
    if let Some((first, count, bytes)) = range {
        out.extend_from_slice(&first.to_le_bytes());
        out.extend_from_slice(&count.to_le_bytes());
        out.extend_from_slice(&bytes.to_le_bytes());
    }
}

fn put_length(out: &mut [u8], start: usize) {
    let length = ((out.len() - start) as u32).to_le_bytes();
    if let Some(place) = out.get_mut(start + 4..start + START) {
        place.copy_from_slice(&length);
    }
}
