//! Messages encoded once and copied often: the publish of each queue, with a place for the time stamp.

use amqp_codec::{FrameKind, Properties, Publish, encode, parse_frame};

use super::arguments::PerfArgs;
use super::connection::CHANNEL;
use super::rpc::REPLY_TO;
use super::topology::topic_key;

/// Bytes of the time stamp at the start of a body.
const STAMP: usize = 8;

/// Keys that a publisher to a topic exchange takes in turn.
const TOPIC_KEYS: usize = 1000;

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
        let exchange = match arguments.exchange() {
            Some(_) => arguments.prefix(),
            None => String::new(),
        };
        let encode = |key: &String| Template::new(&exchange, key, arguments, frame_max);
        Self {
            templates: keys(arguments, index).iter().map(encode).collect(),
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

/// The routing keys of a publisher, which it takes in turn.
fn keys(arguments: &PerfArgs, index: usize) -> Vec<String> {
    match arguments.exchange() {
        Some("topic") => (0..TOPIC_KEYS).map(topic_key).collect(),
        Some(_) => vec![String::new()],
        None => {
            let queues = arguments.share(index, arguments.publishers);
            queues.into_iter().map(|it| arguments.queue(it)).collect()
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
            reply_to: arguments.rpc.map(|_| REPLY_TO),
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
