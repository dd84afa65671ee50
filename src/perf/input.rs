//! The read buffer of a connection: bytes in at the end, frames out at the start, no allocation once it is large enough.

use amqp_codec::{Frame, parse_frame};

use crate::error::Error;

/// Bytes that were read and not yet taken as frames.
#[derive(Debug)]
pub struct Input {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Input {
    /// A buffer that can take reads of this many bytes. It grows when a frame is larger.
    pub fn new(capacity: usize) -> Self {
        Self {
            bytes: vec![0; capacity],
            start: 0,
            end: 0,
        }
    }

    /// The next frame, or `None` when more bytes are needed.
    pub fn next(&mut self, frame_max: usize) -> Result<Option<Frame<'_>>, Error> {
        let unread = self.bytes.get(self.start..self.end).unwrap_or_default();
        let Some((frame, consumed)) = parse_frame(unread, frame_max)? else {
            return Ok(None);
        };
        self.start += consumed;
        Ok(Some(frame))
    }

    /// Where the next read goes: never empty. The unread rest, less than a frame, moves to the front first.
    pub fn room(&mut self) -> &mut [u8] {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.bytes.len() {
            self.bytes.resize(2 * self.bytes.len().max(512), 0);
        }
        self.bytes.get_mut(self.end..).unwrap_or_default()
    }

    /// So many bytes were read into [`Self::room`].
    pub fn filled(&mut self, bytes: usize) {
        self.end = self.bytes.len().min(self.end + bytes);
    }
}

#[cfg(test)]
mod tests {
    use amqp_codec::{FrameKind, encode};

    use super::*;

    #[test]
    fn frames_come_out_whole_whatever_the_pieces_they_came_in() {
        let mut bytes = Vec::new();
        for size in [0, 3, 700, 5000, 1] {
            encode::frame(&mut bytes, FrameKind::Body, 1, &vec![7; size]);
        }
        for piece in [1, 7, 64, 10_000] {
            let mut input = Input::new(16);
            let (mut rest, mut sizes) = (&bytes[..], Vec::new());
            while !rest.is_empty() {
                let room = input.room();
                let length = piece.min(room.len()).min(rest.len());
                room[..length].copy_from_slice(&rest[..length]);
                rest = &rest[length..];
                input.filled(length);
                while let Some(frame) = input.next(8192).unwrap() {
                    sizes.push(frame.payload.len());
                }
            }
            assert_eq!(sizes, [0, 3, 700, 5000, 1]);
        }
    }
}
