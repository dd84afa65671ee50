//! Methods: the commands and answers of AMQP (specification 1.4 to 1.9, with RabbitMQ's extensions).
//!
//! Six methods travel with every message, and are read by slicing the frame. All others are rare: they are checked
//! against their [`crate::layout`] and then parsed by `amq-protocol` into its own structures.

use amq_protocol::protocol::{AMQPClass, parse_class};

use crate::{Error, fields::Fields, frame::FrameKind, header::BASIC_CLASS, layout};

pub(crate) const PUBLISH: u16 = 40;
pub(crate) const DELIVER: u16 = 60;
pub(crate) const GET_OK: u16 = 71;
pub(crate) const ACK: u16 = 80;
pub(crate) const REJECT: u16 = 90;
pub(crate) const NACK: u16 = 120;

/// A method, borrowed from its frame where it is a frequent one.
#[derive(Debug, Clone, PartialEq)]
pub enum Method<'a> {
    /// basic.publish
    Publish(Publish<'a>),
    /// basic.deliver
    Deliver(Deliver<'a>),
    /// basic.get-ok
    GetOk(GetOk<'a>),
    /// basic.ack
    Ack(Ack),
    /// basic.nack
    Nack(Nack),
    /// basic.reject
    Reject(Reject),
    /// Any other, as `amq-protocol` parsed it.
    Other(AMQPClass),
}

/// basic.publish: a message comes in; a content header and body follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Publish<'a> {
    /// The exchange, empty for the default exchange.
    pub exchange: &'a str,
    /// The routing key.
    pub routing_key: &'a str,
    /// Return the message when no queue takes it.
    pub mandatory: bool,
    /// Return the message when no consumer can take it at once.
    pub immediate: bool,
}

/// basic.deliver: a message goes to a consumer; a content header and body follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deliver<'a> {
    /// The consumer.
    pub consumer_tag: &'a str,
    /// The number by which the delivery is settled, unique in its channel.
    pub delivery_tag: u64,
    /// Whether it was delivered before.
    pub redelivered: bool,
    /// The exchange it was published to.
    pub exchange: &'a str,
    /// The routing key it was published with.
    pub routing_key: &'a str,
}

/// basic.get-ok: the answer to basic.get when there is a message; a content header and body follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GetOk<'a> {
    /// The number by which the delivery is settled, unique in its channel.
    pub delivery_tag: u64,
    /// Whether it was delivered before.
    pub redelivered: bool,
    /// The exchange it was published to.
    pub exchange: &'a str,
    /// The routing key it was published with.
    pub routing_key: &'a str,
    /// Messages left in the queue.
    pub message_count: u32,
}

/// basic.ack: a consumer settles deliveries, or the broker confirms publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack {
    /// Which one.
    pub delivery_tag: u64,
    /// All up to it; with tag 0 all there are.
    pub multiple: bool,
}

/// basic.nack: RabbitMQ's reject for several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nack {
    /// Which one.
    pub delivery_tag: u64,
    /// All up to it; with tag 0 all there are.
    pub multiple: bool,
    /// Put them back into the queue, rather than dropping or dead-lettering them.
    pub requeue: bool,
}

/// basic.reject: a consumer refuses one delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reject {
    /// Which one.
    pub delivery_tag: u64,
    /// Put it back into the queue, rather than dropping or dead-lettering it.
    pub requeue: bool,
}

impl Method<'_> {
    /// The class and method numbers, for the texts of exceptions.
    pub fn id(&self) -> (u16, u16) {
        match self {
            Self::Publish(_) => (BASIC_CLASS, PUBLISH),
            Self::Deliver(_) => (BASIC_CLASS, DELIVER),
            Self::GetOk(_) => (BASIC_CLASS, GET_OK),
            Self::Ack(_) => (BASIC_CLASS, ACK),
            Self::Nack(_) => (BASIC_CLASS, NACK),
            Self::Reject(_) => (BASIC_CLASS, REJECT),
            Self::Other(class) => (class.get_amqp_class_id(), class.get_amqp_method_id()),
        }
    }
}

/// Reads the payload of a method frame.
///
/// # Errors
/// [`Error::UnknownType`] when it is too short to name a method, [`Error::UnknownMethod`], [`Error::Undecodable`],
/// [`Error::MalformedUtf8`], or [`Error::Syntax`] for a malformed table.
#[inline]
pub fn parse_method(payload: &[u8]) -> Result<Method<'_>, Error> {
    let mut fields = Fields(payload);
    let (Some(class_id), Some(method_id)) = (fields.short(), fields.short()) else {
        return Err(Error::unknown_type(FrameKind::Method as u8, payload));
    };
    if class_id != BASIC_CLASS {
        return parse_other(class_id, method_id, payload);
    }
    let parsed = match method_id {
        PUBLISH => publish(fields),
        DELIVER => deliver(fields),
        GET_OK => get_ok(fields),
        ACK => ack(fields),
        NACK => nack(fields),
        REJECT => reject(fields),
        _ => return parse_other(class_id, method_id, payload),
    };
    parsed.ok_or_else(|| blame(class_id, method_id, fields.0))
}

/// The prefetch-size of a basic.qos, 0 for any other payload.
///
/// `amq-protocol` drops the field, and a broker must refuse values other than 0.
pub fn qos_prefetch_size(payload: &[u8]) -> u32 {
    let mut fields = Fields(payload);
    match (fields.short(), fields.short(), fields.long()) {
        (Some(BASIC_CLASS), Some(10), Some(size)) => size,
        _ => 0,
    }
}

fn parse_other(class_id: u16, method_id: u16, payload: &[u8]) -> Result<Method<'_>, Error> {
    let arguments = payload.get(4..).unwrap_or_default();
    layout::validate(class_id, method_id, arguments)?;
    match parse_class(payload) {
        Ok((_, class)) => Ok(Method::Other(class)),
        Err(_) => Err(Error::undecodable(class_id, method_id, arguments)),
    }
}

/// Finds out, slowly, what a hand-sliced parser did not like.
#[cold]
fn blame(class_id: u16, method_id: u16, arguments: &[u8]) -> Error {
    match layout::validate(class_id, method_id, arguments) {
        Err(error) => error,
        Ok(()) => Error::undecodable(class_id, method_id, arguments),
    }
}

#[inline]
fn publish<'a>(mut fields: Fields<'a>) -> Option<Method<'a>> {
    fields.short()?;
    let exchange = text(fields.short_string()?)?;
    let routing_key = text(fields.short_string()?)?;
    let bits = last_octet(fields)?;
    Some(Method::Publish(Publish {
        exchange,
        routing_key,
        mandatory: bits & 1 != 0,
        immediate: bits & 2 != 0,
    }))
}

#[inline]
fn deliver<'a>(mut fields: Fields<'a>) -> Option<Method<'a>> {
    let method = Deliver {
        consumer_tag: text(fields.short_string()?)?,
        delivery_tag: fields.long_long()?,
        redelivered: fields.octet()? & 1 != 0,
        exchange: text(fields.short_string()?)?,
        routing_key: text(fields.short_string()?)?,
    };
    fields.is_empty().then_some(Method::Deliver(method))
}

#[inline]
fn get_ok<'a>(mut fields: Fields<'a>) -> Option<Method<'a>> {
    let method = GetOk {
        delivery_tag: fields.long_long()?,
        redelivered: fields.octet()? & 1 != 0,
        exchange: text(fields.short_string()?)?,
        routing_key: text(fields.short_string()?)?,
        message_count: fields.long()?,
    };
    fields.is_empty().then_some(Method::GetOk(method))
}

#[inline]
fn ack(mut fields: Fields<'_>) -> Option<Method<'_>> {
    let delivery_tag = fields.long_long()?;
    let multiple = last_octet(fields)? & 1 != 0;
    Some(Method::Ack(Ack {
        delivery_tag,
        multiple,
    }))
}

#[inline]
fn nack(mut fields: Fields<'_>) -> Option<Method<'_>> {
    let delivery_tag = fields.long_long()?;
    let bits = last_octet(fields)?;
    Some(Method::Nack(Nack {
        delivery_tag,
        multiple: bits & 1 != 0,
        requeue: bits & 2 != 0,
    }))
}

#[inline]
fn reject(mut fields: Fields<'_>) -> Option<Method<'_>> {
    let delivery_tag = fields.long_long()?;
    let requeue = last_octet(fields)? & 1 != 0;
    Some(Method::Reject(Reject {
        delivery_tag,
        requeue,
    }))
}

#[inline]
fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

#[inline]
fn last_octet(fields: Fields<'_>) -> Option<u8> {
    match fields.0 {
        [octet] => Some(*octet),
        _ => None,
    }
}
