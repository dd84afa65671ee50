//! Content: the header and body frames that follow a publish (AMQP 0-9-1, 2.3.5.2 and 4.2.6).
//!
//! Nearly always they were read together with their method. Then [`whole`] finds them in the read buffer and nothing is
//! copied but into the message itself. Otherwise an [`Assembly`] gathers them; it grows with what arrives and never with
//! what is announced.

use amqp_codec::{
    BASIC_CLASS, ContentHeader, Frame, FrameKind, Publish, parse_content_header, parse_frame,
};

use super::exception::{Exception, MethodId};

/// `basic.publish`, for the texts of exceptions.
pub const PUBLISH: MethodId = (60, 40);

/// A publish whose content is still arriving.
#[derive(Debug)]
pub struct Assembly {
    /// The exchange.
    pub exchange: String,
    /// The routing key.
    pub routing_key: String,
    /// Return it when no queue takes it.
    pub mandatory: bool,
    /// Return it when no consumer takes it at once.
    pub immediate: bool,
    /// The raw properties, once the header has arrived.
    pub properties: Option<Vec<u8>>,
    /// What has arrived of the body.
    pub body: Vec<u8>,
    body_size: u64,
}

/// A publish with its whole content.
#[derive(Debug, Clone, Copy)]
pub struct Published<'a> {
    /// The method.
    pub method: Publish<'a>,
    /// The raw properties.
    pub properties: &'a [u8],
    /// The body.
    pub body: &'a [u8],
}

impl Assembly {
    /// Starts with the method.
    pub fn new(method: &Publish<'_>) -> Self {
        Self {
            exchange: method.exchange.to_owned(),
            routing_key: method.routing_key.to_owned(),
            mandatory: method.mandatory,
            immediate: method.immediate,
            properties: None,
            body: Vec::new(),
            body_size: 0,
        }
    }

    /// Takes the next frame; true when the content is complete. Bodies larger than `largest` are refused when they are
    /// announced.
    ///
    /// # Errors
    /// 505 for a frame of the wrong kind, 501 for more body than announced, 406 for a body that is too large, and the
    /// codec's.
    pub fn push(&mut self, frame: &Frame<'_>, largest: u64) -> Result<bool, Exception> {
        if self.properties.is_none() {
            let header = expect_header(frame)?;
            check_size(header.body_size, largest)?;
            self.properties = Some(header.properties.to_vec());
            self.body_size = header.body_size;
        } else {
            if frame.kind != FrameKind::Body {
                return Err(unexpected(
                    "expected content body, got non content body frame instead",
                ));
            }
            self.body.extend_from_slice(frame.payload);
        }
        let arrived = self.body.len() as u64;
        if arrived > self.body_size {
            let text = "content body frame exceeds remaining content size";
            return Err(Exception::frame_error(text, PUBLISH));
        }
        Ok(arrived == self.body_size)
    }

    /// Forgets the last frame, which comes again.
    pub fn take_back(&mut self, frame: &Frame<'_>) {
        match frame.kind {
            FrameKind::Body => {
                let before = self.body.len().saturating_sub(frame.payload.len());
                self.body.truncate(before);
            }
            _ => self.properties = None,
        }
    }

    /// The publish as it has arrived.
    pub fn published(&self) -> Published<'_> {
        Published {
            method: Publish {
                exchange: &self.exchange,
                routing_key: &self.routing_key,
                mandatory: self.mandatory,
                immediate: self.immediate,
            },
            properties: self.properties.as_deref().unwrap_or_default(),
            body: &self.body,
        }
    }
}

/// Finds a publish's whole content at the start of `input`, with the bytes it takes. `None` when it is not all there
/// yet, comes in several body frames or is in any way unusual: then frame by frame.
#[inline]
pub fn whole<'a>(
    method: Publish<'a>,
    input: &'a [u8],
    channel: u16,
    frame_max: usize,
    largest: u64,
) -> Option<(Published<'a>, usize)> {
    let (header, header_length) = parse_frame(input, frame_max).ok()??;
    if header.kind != FrameKind::Header || header.channel != channel {
        return None;
    }
    let content = parse_content_header(header.payload).ok()?;
    if content.class_id != BASIC_CLASS || content.body_size > largest {
        return None;
    }
    let mut published = Published {
        method,
        properties: content.properties,
        body: &[],
    };
    if content.body_size == 0 {
        return Some((published, header_length));
    }
    let (body, body_length) = parse_frame(input.get(header_length..)?, frame_max).ok()??;
    let complete = body.kind == FrameKind::Body
        && body.channel == channel
        && body.payload.len() as u64 == content.body_size;
    published.body = body.payload;
    complete.then_some((published, header_length + body_length))
}

fn expect_header<'a>(frame: &Frame<'a>) -> Result<ContentHeader<'a>, Exception> {
    let class = BASIC_CLASS;
    if frame.kind != FrameKind::Header {
        return Err(unexpected(&format!(
            "expected content header for class {class}, got non content header frame instead"
        )));
    }
    let header = parse_content_header(frame.payload)?;
    if header.class_id != class {
        return Err(unexpected(&format!(
            "expected content header for class {class}, got one for class {} instead",
            header.class_id
        )));
    }
    Ok(header)
}

fn check_size(size: u64, largest: u64) -> Result<(), Exception> {
    if size <= largest {
        return Ok(());
    }
    if size > HARD_LIMIT {
        let text = format!("content body size {size} exceeds maximum allowed size {HARD_LIMIT}");
        return Err(Exception::frame_error(&text, PUBLISH));
    }
    let configured = match largest == HARD_LIMIT {
        true => "",
        false => "configured ",
    };
    let text = format!("message size {size} is larger than {configured}max size {largest}");
    Err(Exception::precondition_failed(&text, PUBLISH))
}

/// RabbitMQ's hard limit of a body in bytes, which its text tells from a configured one.
const HARD_LIMIT: u64 = 512 * 1024 * 1024;

fn unexpected(text: &str) -> Exception {
    Exception::unexpected_frame(text, PUBLISH)
}
