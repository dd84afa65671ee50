//! What a connection has to write: frames, and between them the bodies of large messages where they lie.
//!
//! A small body is copied behind its header, so that one write has one piece of memory. A large one is only named, and
//! the system takes it out of the message itself (`writev`): a copy would cost as much as all else that is done for it.

use std::{collections::VecDeque, io::IoSlice, ops::Range};

use amqp_codec::encode;
use broker_core::message::Message;

/// Bytes of a body from which on it is not copied. A piece of its own costs the system some 100 ns.
const LARGE: usize = 4096;

/// Pieces that are handed to the system at once.
pub const PIECES: usize = 64;

/// Bytes to write, in their order.
#[derive(Debug, Default)]
pub struct Output {
    /// All but the bodies that are lent. For encoders, which only append.
    pub frames: Vec<u8>,
    bodies: VecDeque<Lent>,
    /// Bytes of `frames` that are written.
    written: usize,
    /// Bytes of `bodies` that are not.
    lent: usize,
    /// Large bodies are not copied: the stream can write from several places at once.
    pub lends: bool,
}

/// A part of a body.
#[derive(Debug)]
struct Lent {
    /// The place in `frames` that it stands before.
    at: usize,
    message: Message,
    part: Range<usize>,
}

impl Output {
    /// Adds a content header and the body frames of a message. `properties` are those to show.
    #[inline]
    pub fn content(
        &mut self,
        channel: u16,
        frame_max: usize,
        properties: &[u8],
        message: &Message,
    ) {
        let body = message.body();
        if body.len() < LARGE || !self.lends {
            encode::content(&mut self.frames, channel, frame_max, properties, body);
        } else {
            self.lend(channel, frame_max, properties, message);
        }
    }

    fn lend(&mut self, channel: u16, frame_max: usize, properties: &[u8], message: &Message) {
        let Self { frames, bodies, .. } = self;
        let length = message.body_length();
        encode::content_around(
            frames,
            channel,
            frame_max,
            properties,
            length,
            |at, part| {
                let message = message.clone();
                bodies.push_back(Lent { at, message, part });
            },
        );
        self.lent += length;
    }

    /// Bytes that are not written yet.
    #[inline]
    pub fn len(&self) -> usize {
        self.frames.len() - self.written + self.lent
    }

    /// Whether all is written.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The next pieces to write.
    pub fn pieces<'a, 'b>(&'a self, into: &'b mut [IoSlice<'a>; PIECES]) -> &'b [IoSlice<'a>] {
        let mut from = self.written;
        let lent = self.bodies.iter().flat_map(|lent| {
            let before = self
                .frames
                .get(std::mem::replace(&mut from, lent.at)..lent.at);
            [before, lent.message.body().get(lent.part.clone())]
        });
        let mut count = 0;
        for piece in lent.flatten().filter(|piece| !piece.is_empty()) {
            let Some(place) = into.get_mut(count) else {
                return into;
            };
            *place = IoSlice::new(piece);
            count += 1;
        }
        let last = self.frames.get(from..).filter(|piece| !piece.is_empty());
        if let (Some(place), Some(piece)) = (into.get_mut(count), last) {
            *place = IoSlice::new(piece);
            count += 1;
        }
        into.get(..count).unwrap_or_default()
    }

    /// Notes that so many bytes were written.
    pub fn advance(&mut self, mut bytes: usize) {
        while bytes > 0 {
            let until = self
                .bodies
                .front()
                .map_or(self.frames.len(), |lent| lent.at);
            let of_frames = bytes.min(until - self.written);
            self.written += of_frames;
            bytes -= of_frames;
            let Some(lent) = self.bodies.front_mut() else {
                return;
            };
            let of_body = bytes.min(lent.part.len());
            lent.part.start += of_body;
            self.lent -= of_body;
            bytes -= of_body;
            if lent.part.is_empty() {
                self.bodies.pop_front();
            }
        }
    }

    /// Takes what another one has left.
    pub fn append(&mut self, other: &mut Self) {
        self.forget_written();
        let here = self.frames.len();
        let rest = other.frames.get(other.written..).unwrap_or_default();
        self.frames.extend_from_slice(rest);
        let there = other.written;
        self.bodies.extend(other.bodies.drain(..).map(|lent| Lent {
            at: lent.at - there + here,
            ..lent
        }));
        self.lent += other.lent;
        other.clear();
    }

    /// Lets go of frames that are written, once they are most of all: a client that always leaves something unread would
    /// have them kept for ever.
    fn forget_written(&mut self) {
        if self.written > self.frames.len() / 2 {
            self.frames.drain(..self.written);
            for lent in &mut self.bodies {
                lent.at -= self.written;
            }
            self.written = 0;
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.frames.clear();
        self.bodies.clear();
        (self.written, self.lent) = (0, 0);
    }

    /// Gives memory back that is more than `kept` bytes.
    pub fn trim(&mut self, kept: usize) {
        if self.frames.capacity() > kept {
            self.frames = Vec::new();
        }
        if self.bodies.capacity() * size_of::<Lent>() > kept {
            self.bodies = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME_MAX: usize = 10_000;

    fn message(length: usize) -> Message {
        let body: Vec<u8> = (0..length).map(|it| it as u8).collect();
        Message::new("", "key", &[0, 0], &body, false)
    }

    fn filled(lends: bool) -> Output {
        let mut output = Output {
            lends,
            ..Output::default()
        };
        for length in [10, 30_000, 0, LARGE, LARGE - 1, 9_992, 9_993, 100_000] {
            encode::heartbeat(&mut output.frames);
            output.content(7, FRAME_MAX, &[0, 0], &message(length));
        }
        output
    }

    /// Writes everything, at most so many bytes at a time.
    fn written(mut output: Output, at_once: usize) -> Vec<u8> {
        let mut written = Vec::new();
        while !output.is_empty() {
            let mut pieces = [IoSlice::new(&[]); PIECES];
            let mut left = at_once;
            for piece in output.pieces(&mut pieces) {
                let taken = &piece[..left.min(piece.len())];
                written.extend_from_slice(taken);
                left -= taken.len();
            }
            output.advance(at_once - left);
        }
        written
    }

    #[test]
    fn what_is_lent_is_written_as_if_it_was_copied_however_little_is_taken_at_once() {
        let expected = filled(false).frames;
        assert!(filled(true).frames.len() < 7_000);
        assert_eq!(filled(true).len(), expected.len());
        for at_once in [1, 7, 8, 1_000, 10_001, usize::MAX] {
            assert!(written(filled(true), at_once) == expected, "{at_once}");
        }
    }

    #[test]
    fn what_is_written_is_let_go_though_something_is_always_left() {
        let whole = filled(false).frames;
        let mut output = Output::default();
        output.append(&mut filled(true));
        let most = output.frames.capacity();
        for _ in 0..100 {
            output.append(&mut filled(true));
            output.advance(whole.len());
            assert_eq!(output.len(), whole.len());
        }
        assert!(output.frames.capacity() <= 8 * most);
        assert!(written(output, usize::MAX) == whole);
    }

    #[test]
    fn what_the_socket_did_not_take_follows_what_was_there() {
        let whole = filled(false).frames;
        for taken in [0, 8, 50, 9_000, 40_000, whole.len()] {
            let (mut kept, mut next) = (filled(true), filled(true));
            kept.advance(20);
            next.advance(taken);
            kept.append(&mut next);
            assert!(next.is_empty());
            let expected = [&whole[20..], &whole[taken..]].concat();
            assert_eq!(kept.len(), expected.len());
            assert!(written(kept, 3_000) == expected, "{taken} taken");
        }
    }
}
