//! A message that comes in pieces: each is copied to where it stays.
//!
//! A body of many frames grows in the memory of the message that it becomes. That memory is asked for as the body
//! arrives and not as it is announced, but for the first mebibyte: until it is written to, memory costs an address only.
//! So bodies up to that are copied once; what has arrived of a larger one is moved whenever its room doubles.

use std::{fmt, mem::MaybeUninit};

use triomphe::{Arc, HeaderSlice, HeaderWithLength, UniqueArc};

use super::{Flags, Head, Layout, Message, short};

/// Bytes that are asked for before they have arrived.
const AHEAD: usize = 1024 * 1024;

/// Room for the bytes of a message.
type Room = UniqueArc<HeaderSlice<HeaderWithLength<()>, [MaybeUninit<u8>]>>;

/// A message that is not whole yet.
pub struct Gathering {
    room: Room,
    /// Bytes that have arrived, head, names and properties among them.
    filled: usize,
    /// Bytes that the whole message takes.
    whole: usize,
}

impl Gathering {
    /// A message whose body will have `body` bytes; for the rest see [`Message::with_flags`].
    pub fn new(
        exchange: &str,
        routing_key: &str,
        properties: &[u8],
        body: usize,
        flags: Flags,
    ) -> Self {
        Self::with_room(exchange, routing_key, properties, (body, AHEAD), flags)
    }

    /// The same with room for so many bytes of the body from the beginning.
    #[inline]
    pub(super) fn with_room(
        exchange: &str,
        routing_key: &str,
        properties: &[u8],
        (body, ahead): (usize, usize),
        flags: Flags,
    ) -> Self {
        let (exchange, key) = (short(exchange), short(routing_key));
        let layout = Layout {
            exchange: exchange.len() as u8,
            routing_key: key.len() as u8,
            properties: properties.len() as u32,
            flags,
        };
        let names = exchange.len() + key.len() + properties.len();
        let mut gathering = Self::divided(&layout, names + body, names + body.min(ahead));
        for part in [exchange, key, properties] {
            gathering.push(part);
        }
        gathering
    }

    /// A message of so many bytes that will be divided like this, with room for the first `ahead` of them.
    #[inline]
    pub(super) fn divided(layout: &Layout, bytes: usize, ahead: usize) -> Self {
        let head = Head::new(layout);
        let head = head.bytes();
        let mut gathering = Self {
            room: room(head.len() + ahead),
            filled: 0,
            whole: head.len() + bytes,
        };
        gathering.push(head);
        gathering
    }

    /// Adds what comes next. What is more than the body was to have is left out.
    #[inline]
    pub fn push(&mut self, part: &[u8]) {
        if part.is_empty() {
            return;
        }
        let part = part.get(..self.missing()).unwrap_or(part);
        if self.room.slice.len() - self.filled < part.len() {
            self.grow(part.len());
        }
        let (from, to) = (self.filled, self.filled + part.len());
        if let Some(room) = self.room.slice.get_mut(from..to) {
            room.write_copy_of_slice(part);
            self.filled = to;
        }
    }

    /// Bytes of the body that have not arrived.
    pub fn missing(&self) -> usize {
        self.whole - self.filled
    }

    /// The message, with zeros for what has not arrived.
    #[inline]
    pub fn finish(mut self) -> Message {
        if self.missing() > 0 {
            self.grow(self.missing());
            let room = self.room.slice.get_mut(self.filled..);
            room.unwrap_or_default().fill(MaybeUninit::new(0));
        }
        // To fill the room with zeros first would need no `unsafe`, and touch every byte once more: of what a body of 1 MiB
        // cost, each such pass was some 7 % (`docs/performance.md`).
        // SAFETY: `filled` counts what was written from the front on without a gap, and the rest was filled just now.
        let room = unsafe { self.room.assume_init_slice_with_header() };
        Message(Arc::into_thin(room.shareable()))
    }

    /// Makes room for `more` bytes, and for as many again as there are if so many will come.
    #[cold]
    fn grow(&mut self, more: usize) {
        let length = (self.filled + more).max(2 * self.filled).min(self.whole);
        let mut grown = room(length);
        let (to, from) = (&mut grown.slice, &self.room.slice);
        if let (Some(to), Some(from)) = (to.get_mut(..self.filled), from.get(..self.filled)) {
            to.copy_from_slice(from);
        }
        self.room = grown;
    }
}

impl fmt::Debug for Gathering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { filled, whole, .. } = self;
        write!(f, "Gathering({filled} of {whole})")
    }
}

fn room(length: usize) -> Room {
    UniqueArc::from_header_and_uninit_slice(HeaderWithLength::new((), length), length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_in_pieces_is_the_message_in_one_however_it_is_cut() {
        let body: Vec<u8> = (0..3 * AHEAD as u32 + 5).map(|it| it as u8).collect();
        let expected = Message::new("logs", "a.b", &[0x10, 0, 2], &body, true);
        for piece in [1000, 131_064, AHEAD, 4 * AHEAD] {
            let flags = Flags::PERSISTENT;
            let mut gathering = Gathering::new("logs", "a.b", &[0x10, 0, 2], body.len(), flags);
            body.chunks(piece).for_each(|piece| gathering.push(piece));
            assert_eq!(gathering.missing(), 0);
            let message = gathering.finish();
            assert_eq!(message.layout(), expected.layout());
            assert!(message.packed() == expected.packed(), "pieces of {piece}");
        }
    }

    #[test]
    fn memory_is_not_asked_for_because_a_large_body_is_announced() {
        let gathering = Gathering::new("", "key", &[], 1 << 40, Flags::default());
        assert!(gathering.room.slice.len() <= AHEAD + 7);
    }

    #[test]
    fn what_is_too_much_is_left_out_and_what_is_missing_is_zero() {
        let mut gathering = Gathering::new("", "", &[], 4, Flags::default());
        gathering.push(b"12");
        assert_eq!(gathering.finish().body(), b"12\0\0");
        let mut gathering = Gathering::new("", "", &[], 4, Flags::default());
        gathering.push(b"12345");
        assert_eq!(gathering.finish().body(), b"1234");
    }
}
