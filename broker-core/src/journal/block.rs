//! Blocks: neighbouring messages of one queue as bytes, with a checksum of their own.
//!
//! The log and the segments hold messages in the same form, so that moving them from one to the other copies bytes, and
//! any block can be read and checked without its surroundings.
//!
//! ```text
//! kind u8 = 1 | flags u8 | 0 u16 | length of the block u32 | CRC-32C of all that follows u32 | messages u32
//! | queue u64 | first position u64 | time u64 (ms since 1970) | last - first position u32 | bytes of bodies u32
//! then for each message:
//! length of content u32 | position - first u32 | entered, ms after the block's time u32 | length of properties u32
//! | length of exchange u8 | length of routing key u8 | the message's flags u8 | what the content is u8
//! | content: exchange, routing key, properties, body; or the number of a shared body u64
//! ```
//! Numbers are little-endian.

use super::run;
use crate::{
    message::{Flags, Layout, Message},
    queue::Millis,
    store::{Position, QueueId},
};

/// The first byte of a block.
pub(super) const KIND: u8 = 1;
/// Bytes of a block's header.
pub(super) const HEADER: usize = 48;
/// Bytes in front of each message's content.
pub(super) const MESSAGE_HEADER: usize = 20;
/// Where the checksummed part starts.
pub(super) const CHECKED: usize = 12;

/// Some message of the block has an expiration of its own.
const MAY_EXPIRE: u8 = 1;
/// Some message of the block refers to a shared body.
const REFERS: u8 = 2;

/// The content is the message.
const WHOLE: u8 = 0;
/// The content is the number of a shared body.
const REFERENCE: u8 = 1;

/// What a block's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BlockHeader {
    /// Bytes of the whole block.
    pub(super) length: u32,
    /// How many messages it holds.
    pub(super) count: u32,
    /// Whose they are.
    pub(super) queue: QueueId,
    /// The lowest position.
    pub(super) first: Position,
    /// The highest position.
    pub(super) last: Position,
    /// When the first of them entered the queue.
    pub(super) time: Millis,
    /// Bytes of their bodies, as `x-max-length-bytes` counts them.
    pub(super) bodies: u32,
    /// Some message may have an expiration of its own.
    pub(super) may_expire: bool,
    /// Some message refers to a shared body.
    pub(super) refers: bool,
}

impl BlockHeader {
    /// Reads the header at the start of `bytes`. Says nothing about the rest: see [`check`].
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        let mut fields = Fields(bytes.get(..HEADER).ok_or("a block that ends early")?);
        let [kind, flags, zeros @ ..] = fields.array::<4>()?;
        if kind != KIND || zeros != [0; 2] || flags & !(MAY_EXPIRE | REFERS) != 0 {
            return Err("no block where one should be");
        }
        let length = fields.u32()?;
        let _checksum = fields.u32()?;
        let count = fields.u32()?;
        let queue = QueueId(fields.u64()?);
        let first = fields.u64()?;
        let time = fields.u64()?;
        let span = fields.u32()?;
        let bodies = fields.u32()?;
        if (length as usize) < HEADER {
            return Err("a block with an impossible length");
        }
        let room = (length as usize - HEADER) / MESSAGE_HEADER;
        if count == 0 || count as usize > room || u64::from(count) > u64::from(span) + 1 {
            return Err("a block with an impossible number of messages");
        }
        Ok(Self {
            length,
            count,
            queue,
            first,
            last: first.saturating_add(u64::from(span)),
            time,
            bodies,
            may_expire: flags & MAY_EXPIRE != 0,
            refers: flags & REFERS != 0,
        })
    }

    /// Whether every position from the first to the last is there.
    pub(super) fn is_dense(&self) -> bool {
        self.last - self.first + 1 == u64::from(self.count)
    }
}

/// Checks a whole block: its length and its checksum.
pub(super) fn check(block: &[u8]) -> Result<BlockHeader, &'static str> {
    let header = BlockHeader::parse(block)?;
    if header.length as usize != block.len() {
        return Err("a block that is not whole");
    }
    let (Some(sum), Some(checked)) = (block.get(8..CHECKED), block.get(CHECKED..)) else {
        return Err("a block that ends early");
    };
    if crc32c::crc32c(checked).to_le_bytes() != *sum {
        return Err("a block whose checksum does not fit");
    }
    Ok(header)
}

/// Checks everything that can be known of a block: its checksum, and that its header tells what its messages are. For
/// those who look at files that nobody vouches for.
pub(super) fn inspect(block: &[u8]) -> Result<BlockHeader, &'static str> {
    let header = check(block)?;
    let mut told = BlockHeader {
        count: 0,
        last: header.first,
        may_expire: false,
        refers: false,
        ..header
    };
    for record in records(block) {
        let record = record?;
        told.count += 1;
        told.last = told.last.max(record.position);
        match record.content {
            Content::Shared(_) => (told.refers, told.may_expire) = (true, true),
            Content::Whole { layout, bytes } => told.may_expire |= layout.may_expire(bytes),
        }
    }
    match told == header {
        true => Ok(header),
        false => Err("a block whose header is not that of its messages"),
    }
}

/// One message within a block.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record<'a> {
    /// Its place in the queue.
    pub(super) position: Position,
    /// When it entered the queue.
    pub(super) entered: Millis,
    /// What it is.
    pub(super) content: Content<'a>,
}

/// A message's bytes, or where they are.
#[derive(Debug, Clone, Copy)]
pub(super) enum Content<'a> {
    /// The message stands here.
    Whole {
        /// How its bytes are divided.
        layout: Layout,
        /// Exchange, routing key, properties and body.
        bytes: &'a [u8],
    },
    /// It is a body that several queues share.
    Shared(u64),
}

impl Content<'_> {
    /// The message, if it stands here.
    pub(super) fn message(&self) -> Option<Message> {
        match self {
            Self::Whole { layout, bytes } => Message::from_packed(*layout, bytes),
            Self::Shared(_) => None,
        }
    }
}

/// The messages of a block that [`check`] found whole. Ends early, with an error, where lengths do not fit.
pub(super) fn records(block: &[u8]) -> Records<'_> {
    let header = BlockHeader::parse(block);
    Records {
        rest: Fields(block.get(HEADER..).unwrap_or_default()),
        first: header.map_or(0, |h| h.first),
        time: header.map_or(0, |h| h.time),
    }
}

/// Iterates over a block's messages.
pub(super) struct Records<'a> {
    rest: Fields<'a>,
    first: Position,
    time: Millis,
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.0.is_empty() {
            return None;
        }
        let record = self.record();
        if record.is_err() {
            self.rest = Fields(&[]);
        }
        Some(record)
    }
}

impl<'a> Records<'a> {
    fn record(&mut self) -> Result<Record<'a>, &'static str> {
        let length = self.rest.u32()? as usize;
        let delta = self.rest.u32()?;
        let age = self.rest.u32()?;
        let properties = self.rest.u32()?;
        let [exchange, routing_key, flags, kind] = self.rest.array()?;
        let bytes = self.rest.take(length)?;
        let content = if kind == REFERENCE {
            Content::Shared(Fields(bytes).u64()?)
        } else {
            let flags = Flags::from_bits(flags);
            let layout = Layout {
                exchange,
                routing_key,
                properties,
                flags,
            };
            if !layout.fits(length) {
                return Err("a message whose lengths do not fit");
            }
            Content::Whole { layout, bytes }
        };
        Ok(Record {
            position: self.first.saturating_add(u64::from(delta)),
            entered: self.time.saturating_add(u64::from(age)),
            content,
        })
    }
}

/// Puts a block together at the end of a buffer. To be ended with [`Self::finish`].
#[derive(Debug)]
pub(super) struct BlockWriter {
    start: usize,
    queue: QueueId,
    first: Position,
    last: Position,
    time: Millis,
    count: u32,
    bodies: u64,
    flags: u8,
}

impl BlockWriter {
    /// Starts a block at the end of `out`, with room for the header.
    pub(super) fn begin(out: &mut Vec<u8>, queue: QueueId, first: Position, time: Millis) -> Self {
        let start = out.len();
        out.resize(start + HEADER, 0);
        Self {
            start,
            queue,
            first,
            last: first,
            time,
            count: 0,
            bodies: 0,
            flags: 0,
        }
    }

    /// Whether a message fits in here: of the same queue, not in front of the first, near enough in place and time.
    pub(super) fn takes(&self, queue: QueueId, position: Position, entered: Millis) -> bool {
        let span = position.checked_sub(self.first);
        let age = entered.checked_sub(self.time);
        self.queue == queue
            && span.is_some_and(|span| run::is_near(span, u64::from(self.count) + 1))
            && age.is_some_and(|age| age < u64::from(u32::MAX))
    }

    /// Bytes of the block so far.
    pub(super) fn length(&self, out: &[u8]) -> usize {
        out.len() - self.start
    }

    /// Adds a message that [`Self::takes`] accepted.
    pub(super) fn add(
        &mut self,
        out: &mut Vec<u8>,
        position: Position,
        entered: Millis,
        content: Content<'_>,
    ) {
        let delta = (position - self.first) as u32;
        let age = (entered - self.time) as u32;
        match content {
            Content::Whole { layout, bytes } => {
                let flags = layout.flags.bits();
                let lengths = [layout.exchange, layout.routing_key, flags, WHOLE];
                message_header(
                    out,
                    bytes.len() as u32,
                    [delta, age, layout.properties],
                    lengths,
                );
                out.extend_from_slice(bytes);
                self.bodies += layout.body(bytes.len()) as u64;
                if layout.may_expire(bytes) {
                    self.flags |= MAY_EXPIRE;
                }
            }
            Content::Shared(number) => {
                message_header(out, 8, [delta, age, 0], [0, 0, 0, REFERENCE]);
                out.extend_from_slice(&number.to_le_bytes());
                self.flags |= REFERS | MAY_EXPIRE;
            }
        }
        self.count += 1;
        self.last = self.last.max(position);
    }

    /// Counts a shared body's bytes for a message that refers to it.
    pub(super) fn count_body(&mut self, bytes: usize) {
        self.bodies += bytes as u64;
    }

    /// Writes the header.
    pub(super) fn finish(self, out: &mut [u8]) {
        let Some(block) = out.get_mut(self.start..) else {
            return;
        };
        let length = block.len() as u32;
        let mut header = Vec::with_capacity(HEADER);
        header.extend_from_slice(&[KIND, self.flags, 0, 0]);
        header.extend_from_slice(&length.to_le_bytes());
        header.extend_from_slice(&[0; 4]);
        header.extend_from_slice(&self.count.to_le_bytes());
        header.extend_from_slice(&self.queue.0.to_le_bytes());
        header.extend_from_slice(&self.first.to_le_bytes());
        header.extend_from_slice(&self.time.to_le_bytes());
        header.extend_from_slice(&((self.last - self.first) as u32).to_le_bytes());
        header.extend_from_slice(&(self.bodies.min(u64::from(u32::MAX)) as u32).to_le_bytes());
        if let Some(place) = block.get_mut(..HEADER) {
            place.copy_from_slice(&header);
        }
        let checksum = crc32c::crc32c(block.get(CHECKED..).unwrap_or_default());
        if let Some(place) = block.get_mut(8..CHECKED) {
            place.copy_from_slice(&checksum.to_le_bytes());
        }
    }
}

fn message_header(out: &mut Vec<u8>, length: u32, numbers: [u32; 3], lengths: [u8; 4]) {
    let mut header = [0; MESSAGE_HEADER];
    let [delta, age, properties] = numbers.map(u32::to_le_bytes);
    let parts = [length.to_le_bytes(), delta, age, properties, lengths];
    for (place, part) in header.chunks_exact_mut(4).zip(parts) {
        place.copy_from_slice(&part);
    }
    out.extend_from_slice(&header);
}

/// Reads little-endian numbers off the front of a slice.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

/// What a slice that is too short is called.
const SHORT: &str = "a record that ends early";

impl<'a> Fields<'a> {
    /// Takes `length` bytes.
    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], &'static str> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(SHORT)?;
        self.0 = rest;
        Ok(taken)
    }

    /// Takes `N` bytes.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], &'static str> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(SHORT)?;
        self.0 = rest;
        Ok(*taken)
    }

    /// Takes a number.
    pub(super) fn u32(&mut self) -> Result<u32, &'static str> {
        self.array().map(u32::from_le_bytes)
    }

    /// Takes a number.
    pub(super) fn u64(&mut self) -> Result<u64, &'static str> {
        self.array().map(u64::from_le_bytes)
    }
}
