//! Content: the header and body frames that follow a publish (AMQP 0-9-1, 2.3.5.2 and 4.2.6).
//!
//! Nearly always they were read together with their method. Then [`whole`] finds them in the read buffer and nothing is
//! copied but into the message itself. Otherwise an [`Assembly`] gathers them where the message will be; it grows with
//! what arrives and never with what is announced.

use amqp_codec::{
    BASIC_CLASS, ContentHeader, Frame, FrameKind, Publish, delivery_mode, parse_content_header,
    parse_frame,
};
use broker_core::message::{Flags, Gathering, Message};

use super::exception::{Exception, MethodId};

/// `basic.publish`, for the texts of exceptions.
pub const PUBLISH: MethodId = (60, 40);

/// The delivery mode of persistent messages.
const PERSISTENT: u8 = 2;

/// A publish whose content is still arriving.
#[derive(Debug)]
pub struct Assembly {
    /// Return it when no queue takes it.
    mandatory: bool,
    /// Return it when no consumer takes it at once.
    immediate: bool,
    content: Content,
}

/// How much of the content is there.
#[derive(Debug)]
enum Content {
    /// Nothing.
    Nothing {
        exchange: String,
        routing_key: String,
    },
    /// The header, and a part of the body.
    Part(Gathering),
    /// All of it.
    Whole(Message),
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
    /// The message of all that, if it is made already.
    made: Option<&'a Message>,
}

impl Published<'_> {
    /// The message, for an exchange and with properties that may be others than the publisher's.
    #[inline]
    pub fn message(&self, exchange: &str, properties: &[u8], flags: Flags) -> Message {
        let flags = with_persistence(flags, properties);
        let made = self.made.filter(|made| {
            let same = made.exchange() == exchange && made.properties() == properties;
            same && made.flags() == flags
        });
        let key = self.method.routing_key;
        made.cloned()
            .unwrap_or_else(|| Message::with_flags(exchange, key, properties, self.body, flags))
    }
}

#[inline]
fn with_persistence(flags: Flags, properties: &[u8]) -> Flags {
    let persistent = delivery_mode(properties) == Some(PERSISTENT);
    flags.and_if(persistent, Flags::PERSISTENT)
}

impl Assembly {
    /// Starts with the method.
    pub fn new(method: &Publish<'_>) -> Self {
        Self {
            mandatory: method.mandatory,
            immediate: method.immediate,
            content: Content::Nothing {
                exchange: method.exchange.to_owned(),
                routing_key: method.routing_key.to_owned(),
            },
        }
    }

    /// Takes the next frame. Bodies larger than `largest` are refused when they are announced. When all is there, the
    /// last frame may come again, as one does that could not be carried out.
    ///
    /// # Errors
    /// 505 for a frame of the wrong kind, 501 for more body than announced, 406 for a body that is too large, and the
    /// codec's.
    pub fn push(&mut self, frame: &Frame<'_>, largest: u64) -> Result<(), Exception> {
        match &mut self.content {
            Content::Nothing {
                exchange,
                routing_key,
            } => {
                let header = expect_header(frame)?;
                check_size(header.body_size, largest)?;
                let (properties, size) = (header.properties, header.body_size as usize);
                let flags = with_persistence(Flags::default(), properties);
                let gathering = Gathering::new(exchange, routing_key, properties, size, flags);
                self.content = Content::Part(gathering);
            }
            Content::Part(gathering) => {
                if frame.kind != FrameKind::Body {
                    return Err(unexpected(
                        "expected content body, got non content body frame instead",
                    ));
                }
                if frame.payload.len() > gathering.missing() {
                    let text = "content body frame exceeds remaining content size";
                    return Err(Exception::frame_error(text, PUBLISH));
                }
                gathering.push(frame.payload);
            }
            Content::Whole(_) => {}
        }
        Ok(())
    }

    /// Whether a body frame of so many bytes may come next.
    pub fn takes(&self, bytes: usize) -> bool {
        matches!(&self.content, Content::Part(gathering) if bytes <= gathering.missing())
    }

    /// Takes a part of a body frame that it takes.
    pub fn push_part(&mut self, part: &[u8]) {
        if let Content::Part(gathering) = &mut self.content {
            gathering.push(part);
        }
    }

    /// The publish, once all of it has arrived.
    pub fn published(&mut self) -> Option<Published<'_>> {
        let nothing = Content::Nothing {
            exchange: String::new(),
            routing_key: String::new(),
        };
        self.content = match std::mem::replace(&mut self.content, nothing) {
            Content::Part(gathering) if gathering.missing() == 0 => {
                Content::Whole(gathering.finish())
            }
            content => content,
        };
        let Content::Whole(message) = &self.content else {
            return None;
        };
        Some(Published {
            method: Publish {
                exchange: message.exchange(),
                routing_key: message.routing_key(),
                mandatory: self.mandatory,
                immediate: self.immediate,
            },
            properties: message.properties(),
            body: message.body(),
            made: Some(message),
        })
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
        made: None,
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
