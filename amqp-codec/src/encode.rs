//! Writing frames: everything here appends whole frames to a buffer that the caller sends with one write.
//!
//! The functions for methods that travel once per message cannot fail and allocate only when the buffer grows. Short
//! strings longer than 255 bytes cannot be sent; they come from the wire or were checked at the door, and are cut if not.

use std::ops::Range;

use amq_protocol::{
    frame::WriteContext,
    protocol::{AMQPClass, gen_class},
};

use crate::{
    ENVELOPE, Error, FRAME_END, FrameKind, Publish,
    header::BASIC_CLASS,
    method::{ACK, DELIVER, GET_OK, NACK, PUBLISH, REJECT},
};

/// What a client sends first, and what a broker answers to anything else (specification 4.2.2).
pub const PROTOCOL_HEADER: [u8; 8] = *b"AMQP\x00\x00\x09\x01";

/// Appends a method frame by `amq-protocol`'s generator: for all methods that are not frequent.
///
/// # Errors
/// [`Error::Encode`] when the generator refuses a value; `out` is then unchanged.
pub fn method(out: &mut Vec<u8>, channel: u16, class: &AMQPClass) -> Result<(), Error> {
    let payload = gen_class(class)(WriteContext::from(Vec::new()))
        .map_err(|error| Error::Encode(error.to_string().into()))?
        .write;
    frame(out, FrameKind::Method, channel, &payload);
    Ok(())
}

/// Appends any frame from its parts.
#[inline]
pub fn frame(out: &mut Vec<u8>, kind: FrameKind, channel: u16, payload: &[u8]) {
    out.reserve(payload.len() + ENVELOPE);
    start(out, kind, channel, payload.len());
    out.extend_from_slice(payload);
    out.push(FRAME_END);
}

/// Appends a basic.publish; [`content`] must follow.
#[inline]
pub fn publish(out: &mut Vec<u8>, channel: u16, publish: &Publish<'_>) {
    let exchange = short(publish.exchange.as_bytes());
    let routing_key = short(publish.routing_key.as_bytes());
    let size = 4 + 2 + 1 + exchange.len() + 1 + routing_key.len() + 1;
    start_basic(out, channel, PUBLISH, size);
    out.extend_from_slice(&[0, 0]);
    put_short_string(out, exchange);
    put_short_string(out, routing_key);
    let bits = u8::from(publish.mandatory) | u8::from(publish.immediate) << 1;
    out.extend_from_slice(&[bits, FRAME_END]);
}

/// Appends a basic.deliver; [`content`] must follow.
#[inline]
pub fn deliver(
    out: &mut Vec<u8>,
    channel: u16,
    consumer_tag: impl AsRef<[u8]>,
    delivery_tag: u64,
    redelivered: bool,
    exchange: impl AsRef<[u8]>,
    routing_key: impl AsRef<[u8]>,
) {
    let consumer_tag = short(consumer_tag.as_ref());
    let exchange = short(exchange.as_ref());
    let routing_key = short(routing_key.as_ref());
    let size = 4 + 1 + consumer_tag.len() + 8 + 1 + 1 + exchange.len() + 1 + routing_key.len();
    start_basic(out, channel, DELIVER, size);
    put_short_string(out, consumer_tag);
    out.extend_from_slice(&delivery_tag.to_be_bytes());
    out.push(u8::from(redelivered));
    put_short_string(out, exchange);
    put_short_string(out, routing_key);
    out.push(FRAME_END);
}

/// Appends a basic.get-ok; [`content`] must follow.
#[inline]
pub fn get_ok(
    out: &mut Vec<u8>,
    channel: u16,
    delivery_tag: u64,
    redelivered: bool,
    exchange: impl AsRef<[u8]>,
    routing_key: impl AsRef<[u8]>,
    message_count: u32,
) {
    let exchange = short(exchange.as_ref());
    let routing_key = short(routing_key.as_ref());
    let size = 4 + 8 + 1 + 1 + exchange.len() + 1 + routing_key.len() + 4;
    start_basic(out, channel, GET_OK, size);
    out.extend_from_slice(&delivery_tag.to_be_bytes());
    out.push(u8::from(redelivered));
    put_short_string(out, exchange);
    put_short_string(out, routing_key);
    out.extend_from_slice(&message_count.to_be_bytes());
    out.push(FRAME_END);
}

/// Appends a basic.ack.
#[inline]
pub fn ack(out: &mut Vec<u8>, channel: u16, delivery_tag: u64, multiple: bool) {
    settle(out, channel, ACK, delivery_tag, u8::from(multiple));
}

/// Appends a basic.nack.
#[inline]
pub fn nack(out: &mut Vec<u8>, channel: u16, delivery_tag: u64, multiple: bool, requeue: bool) {
    let bits = u8::from(multiple) | u8::from(requeue) << 1;
    settle(out, channel, NACK, delivery_tag, bits);
}

/// Appends a basic.reject.
#[inline]
pub fn reject(out: &mut Vec<u8>, channel: u16, delivery_tag: u64, requeue: bool) {
    settle(out, channel, REJECT, delivery_tag, u8::from(requeue));
}

/// Appends a content header frame and as many body frames as `frame_max` needs (none for an empty body).
///
/// `properties` are raw flags and fields; empty bytes stand for no property. `frame_max` counts the envelope; 0 is no
/// limit.
#[inline]
pub fn content(out: &mut Vec<u8>, channel: u16, frame_max: usize, properties: &[u8], body: &[u8]) {
    out.reserve(14 + properties.len() + body.len() + 2 * ENVELOPE);
    header(out, channel, properties, body.len() as u64);
    for part in body.chunks(largest_payload(frame_max)) {
        frame(out, FrameKind::Body, channel, part);
    }
}

/// Appends the same for a body of `body` bytes, but not the body: `part` is told which part of it belongs before which
/// place of `out`.
pub fn content_around(
    out: &mut Vec<u8>,
    channel: u16,
    frame_max: usize,
    properties: &[u8],
    body: usize,
    mut part: impl FnMut(usize, Range<usize>),
) {
    header(out, channel, properties, body as u64);
    let largest = largest_payload(frame_max);
    let mut from = 0;
    while from < body {
        let to = from.saturating_add(largest).min(body);
        start(out, FrameKind::Body, channel, to - from);
        part(out.len(), from..to);
        out.push(FRAME_END);
        from = to;
    }
}

fn largest_payload(frame_max: usize) -> usize {
    match frame_max.saturating_sub(ENVELOPE) {
        0 => usize::MAX,
        largest => largest,
    }
}

/// Appends a heartbeat frame.
pub fn heartbeat(out: &mut Vec<u8>) {
    frame(out, FrameKind::Heartbeat, 0, &[]);
}

#[inline]
fn header(out: &mut Vec<u8>, channel: u16, properties: &[u8], body_size: u64) {
    let properties = if properties.is_empty() {
        &[0, 0]
    } else {
        properties
    };
    start(out, FrameKind::Header, channel, 12 + properties.len());
    let [c0, c1] = BASIC_CLASS.to_be_bytes();
    out.extend_from_slice(&[c0, c1, 0, 0]);
    out.extend_from_slice(&body_size.to_be_bytes());
    out.extend_from_slice(properties);
    out.push(FRAME_END);
}

#[inline]
fn settle(out: &mut Vec<u8>, channel: u16, method_id: u16, delivery_tag: u64, bits: u8) {
    start_basic(out, channel, method_id, 4 + 8 + 1);
    out.extend_from_slice(&delivery_tag.to_be_bytes());
    out.extend_from_slice(&[bits, FRAME_END]);
}

#[inline]
fn start(out: &mut Vec<u8>, kind: FrameKind, channel: u16, payload: usize) {
    let [c0, c1] = channel.to_be_bytes();
    // a body is cut to frame-max, and everything else is far smaller than 4 GiB
    let [s0, s1, s2, s3] = (payload as u32).to_be_bytes();
    out.extend_from_slice(&[kind as u8, c0, c1, s0, s1, s2, s3]);
}

#[inline]
fn start_basic(out: &mut Vec<u8>, channel: u16, method_id: u16, payload: usize) {
    out.reserve(payload + ENVELOPE);
    start(out, FrameKind::Method, channel, payload);
    let [c0, c1] = BASIC_CLASS.to_be_bytes();
    let [m0, m1] = method_id.to_be_bytes();
    out.extend_from_slice(&[c0, c1, m0, m1]);
}

#[inline]
pub(crate) fn put_short_string(out: &mut Vec<u8>, text: &[u8]) {
    let text = short(text);
    out.push(text.len() as u8);
    out.extend_from_slice(text);
}

#[inline]
fn short(text: &[u8]) -> &[u8] {
    text.get(..usize::from(u8::MAX)).unwrap_or(text)
}
