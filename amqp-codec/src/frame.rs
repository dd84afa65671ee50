//! Frames: the envelope of type, channel, size, payload and end marker around everything that AMQP sends
//! (specification 4.2.3), and the eight bytes that open a connection (4.2.2).

use crate::{Error, fields::Fields};

/// Bytes of a frame beside its payload: type, channel, size, end marker.
pub const ENVELOPE: usize = 8;

/// The octet that ends every frame.
pub const FRAME_END: u8 = 206;

const FRAME_HEADER: usize = 7;

/// Bytes of a content header before its properties: class, weight and body size.
const CONTENT_HEADER: usize = 12;

/// What a frame carries. The values are the type octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FrameKind {
    /// A method.
    Method = 1,
    /// A content header: class, body size, properties.
    Header = 2,
    /// A part of a content body.
    Body = 3,
    /// A sign of life; it has no payload.
    Heartbeat = 8,
}

impl FrameKind {
    /// The kind for a type octet.
    #[inline]
    pub fn from_octet(octet: u8) -> Option<Self> {
        match octet {
            1 => Some(Self::Method),
            2 => Some(Self::Header),
            3 => Some(Self::Body),
            8 => Some(Self::Heartbeat),
            _ => None,
        }
    }
}

/// One frame, borrowed from the buffer that it was read into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What the payload is.
    pub kind: FrameKind,
    /// The channel it belongs to; 0 is the connection itself.
    pub channel: u16,
    /// The bytes between the frame's header and its end marker.
    pub payload: &'a [u8],
}

/// Takes the first frame off a buffer.
///
/// `Ok(None)` means that more bytes are needed; `Ok(Some((frame, consumed)))` that the first `consumed` bytes are the
/// frame. `frame_max` counts the whole frame with its 8 bytes of envelope; 0 stands for no limit, which a broker never
/// negotiates.
///
/// # Errors
/// [`Error::Oversize`] as soon as the announced size is too large, [`Error::BadEnd`] and [`Error::UnknownType`] when the
/// whole frame is there. Like RabbitMQ, a payload up to the full `frame_max` is let through: many clients forget the
/// envelope.
#[inline]
pub fn parse_frame(buf: &[u8], frame_max: usize) -> Result<Option<(Frame<'_>, usize)>, Error> {
    let mut fields = Fields(buf);
    let Some([octet, c0, c1, s0, s1, s2, s3]) = fields.array::<FRAME_HEADER>() else {
        return Ok(None);
    };
    let announced = u32::from_be_bytes([s0, s1, s2, s3]);
    // on a target where usize is smaller than the field, such a frame could never be held either
    let size = usize::try_from(announced).unwrap_or(usize::MAX);
    if frame_max != 0 && size > frame_max {
        return Err(oversize(octet, announced, frame_max));
    }
    let (Some(payload), Some(marker)) = (fields.bytes(size), fields.octet()) else {
        return Ok(None);
    };
    if marker != FRAME_END {
        return Err(Error::bad_end(octet, payload, marker));
    }
    let kind = match FrameKind::from_octet(octet) {
        Some(FrameKind::Heartbeat) if !payload.is_empty() => None,
        Some(FrameKind::Header) if payload.len() < CONTENT_HEADER => None,
        kind => kind,
    };
    let Some(kind) = kind else {
        return Err(Error::unknown_type(octet, payload));
    };
    let channel = u16::from_be_bytes([c0, c1]);
    let frame = Frame {
        kind,
        channel,
        payload,
    };
    Ok(Some((frame, size + ENVELOPE)))
}

/// The start of a body frame that has not all arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyStart<'a> {
    /// The channel it belongs to.
    pub channel: u16,
    /// Bytes of the whole payload.
    pub size: usize,
    /// The bytes of it that are there.
    pub payload: &'a [u8],
}

/// Looks at a frame of which [`parse_frame`] has said that more bytes are needed: `None` if it is not a body frame, or if
/// its header is not there.
pub fn parse_body_start(buf: &[u8]) -> Option<BodyStart<'_>> {
    let mut fields = Fields(buf);
    let [octet, c0, c1, s0, s1, s2, s3] = fields.array::<FRAME_HEADER>()?;
    let body = FrameKind::from_octet(octet) == Some(FrameKind::Body);
    body.then(|| BodyStart {
        channel: u16::from_be_bytes([c0, c1]),
        size: u32::from_be_bytes([s0, s1, s2, s3]) as usize,
        payload: fields.0,
    })
}

#[cold]
fn oversize(frame_type: u8, payload_size: u32, frame_max: usize) -> Error {
    Error::Oversize {
        frame_type,
        payload_size,
        largest_payload: frame_max.saturating_sub(ENVELOPE),
    }
}

/// What the first bytes of a connection are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProtocolHeader {
    /// AMQP 0-9-1, or 0-9, which is close enough that RabbitMQ serves it as 0-9-1.
    Amqp091,
    /// Something else: answer with [`crate::PROTOCOL_HEADER`] and close.
    Other,
    /// Fewer than eight bytes so far.
    Incomplete,
}

/// Reads the eight bytes that open a connection (specification 4.2.2).
pub fn parse_protocol_header(buf: &[u8]) -> ProtocolHeader {
    match buf.first_chunk::<8>() {
        None => ProtocolHeader::Incomplete,
        Some(b"AMQP\x00\x00\x09\x01" | b"AMQP\x01\x01\x00\x09") => ProtocolHeader::Amqp091,
        Some(_) => ProtocolHeader::Other,
    }
}
