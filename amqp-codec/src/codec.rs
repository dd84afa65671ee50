//! A tokio-util [`Decoder`] and [`Encoder`] over owned frames, for tests and tools. The broker itself parses borrowed
//! frames out of its read buffer. A malformed stream is an
//! I/O error of kind `InvalidData` with an [`Error`] inside.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

use crate::{Error, FrameKind, encode, parse_frame};

/// A frame that owns its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedFrame {
    /// What the payload is.
    pub kind: FrameKind,
    /// The channel it belongs to.
    pub channel: u16,
    /// The bytes between the frame's header and its end marker, without a copy.
    pub payload: Bytes,
}

/// Cuts a byte stream into frames, and frames into a byte stream.
#[derive(Debug, Clone)]
pub struct FrameCodec {
    /// The largest frame accepted, in bytes with its envelope; 0 is no limit.
    pub frame_max: usize,
}

impl Decoder for FrameCodec {
    type Item = OwnedFrame;
    type Error = io::Error;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<OwnedFrame>, io::Error> {
        let Some((frame, consumed)) = parse_frame(src, self.frame_max).map_err(invalid)? else {
            return Ok(None);
        };
        let (kind, channel, size) = (frame.kind, frame.channel, frame.payload.len());
        let mut bytes = src.split_to(consumed).freeze();
        bytes.advance(7);
        bytes.truncate(size);
        Ok(Some(OwnedFrame {
            kind,
            channel,
            payload: bytes,
        }))
    }
}

impl Encoder<OwnedFrame> for FrameCodec {
    type Error = io::Error;

    fn encode(&mut self, frame: OwnedFrame, dst: &mut BytesMut) -> Result<(), io::Error> {
        let mut out = Vec::new();
        encode::frame(&mut out, frame.kind, frame.channel, &frame.payload);
        dst.extend_from_slice(&out);
        Ok(())
    }
}

fn invalid(error: Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
