//! Messages encoded once and copied often: the publish of each queue, with a place for the time stamp.

use amqp_codec::{FrameKind, Properties, Publish, encode, parse_frame};

use super::arguments::PerfArgs;
use super::connection::CHANNEL;

/// Bytes of the time stamp at the start of a body.
const STAMP: usize = 8;

/// A publish, header and body frames, ready to be sent again and again.
#[derive(Debug)]
struct Template {
    bytes: Vec<u8>,
    /// Where the body starts; `None` when it is too short for a stamp.
    stamp: Option<usize>,
}

/// The messages of one publisher, one for each of its queues in turn.
#[derive(Debug)]
pub struct Messages {
    templates: Vec<Template>,
    next: usize,
}

impl Messages {
    /// Encodes the messages that publisher `index` sends.
    pub fn new(arguments: &PerfArgs, index: usize, frame_max: usize) -> Self {
        let exchange = if arguments.fan_out {
            arguments.prefix()
        } else {
            String::new()
        };
        let queues = match arguments.fan_out {
            true => vec![0],
            false => arguments.share(index, arguments.publishers),
        };
        let encode = |queue: usize| {
            let routing_key = if arguments.fan_out {
                String::new()
            } else {
                arguments.queue(queue)
            };
            Template::new(&exchange, &routing_key, arguments, frame_max)
        };
        Self {
            templates: queues.into_iter().map(encode).collect(),
            next: 0,
        }
    }

    /// Bytes of one message on the wire.
    pub fn size(&self) -> usize {
        self.templates
            .first()
            .map_or(1, |template| template.bytes.len())
    }

    /// Appends the next message, stamped with a time.
    #[inline]
    pub fn append(&mut self, out: &mut Vec<u8>, now: u64) {
        let Some(template) = self.templates.get(self.next) else {
            return;
        };
        self.next = (self.next + 1) % self.templates.len();
        let start = out.len();
        out.extend_from_slice(&template.bytes);
        let stamp = template
            .stamp
            .and_then(|at| out.get_mut(start + at..start + at + STAMP));
        if let Some(stamp) = stamp {
            stamp.copy_from_slice(&now.to_be_bytes());
        }
    }
}

impl Template {
    fn new(exchange: &str, routing_key: &str, arguments: &PerfArgs, frame_max: usize) -> Self {
        let mut bytes = Vec::new();
        let publish = Publish {
            exchange,
            routing_key,
            mandatory: false,
            immediate: false,
        };
        encode::publish(&mut bytes, CHANNEL, &publish);
        let mut properties = Vec::new();
        let delivery_mode = Some(if arguments.persistent { 2 } else { 1 });
        Properties {
            delivery_mode,
            ..Default::default()
        }
        .encode(&mut properties);
        let body = vec![0; arguments.size];
        encode::content(&mut bytes, CHANNEL, frame_max, &properties, &body);
        let stamp = first_body(&bytes).filter(|_| arguments.size >= STAMP);
        Self { bytes, stamp }
    }
}

/// Where the first body frame's payload starts.
fn first_body(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Ok(Some((frame, consumed))) = parse_frame(bytes.get(at..)?, 0) {
        if frame.kind == FrameKind::Body {
            return Some(at + 7);
        }
        at += consumed;
    }
    None
}

/// The time stamp at the start of a body, when there is one.
#[inline]
pub fn stamp_of(body: &[u8]) -> Option<u64> {
    body.first_chunk::<STAMP>()
        .map(|stamp| u64::from_be_bytes(*stamp))
}
