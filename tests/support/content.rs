//! Methods that carry content: publish on the way there; deliver, get-ok and return on the way back.

use super::method::Method;
use super::peer::{generate, method_bytes};
use super::{
    AMQPClass, AMQPProperties, AMQPValue, FieldTable, PATIENCE, Peer, basic, durable_queue, pause,
    queue, unique,
};
use amq_protocol::frame::{AMQPContentHeader, AMQPFrame};
use std::time::Instant;

/// A message that a consumer was given.
#[derive(Debug)]
pub struct Delivery {
    /// Everything in basic.deliver.
    pub method: basic::Deliver,
    /// The content header's properties.
    pub properties: AMQPProperties,
    /// The whole body.
    pub body: Vec<u8>,
}

/// A message that basic.get found.
#[derive(Debug)]
pub struct Got {
    /// Everything in basic.get-ok.
    pub method: basic::GetOk,
    /// The content header's properties.
    pub properties: AMQPProperties,
    /// The whole body.
    pub body: Vec<u8>,
}

/// A message that came back to its publisher.
#[derive(Debug)]
pub struct Returned {
    /// Everything in basic.return.
    pub method: basic::Return,
    /// The content header's properties.
    pub properties: AMQPProperties,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Delivery {
    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    /// The delivery tag.
    pub fn tag(&self) -> u64 {
        self.method.delivery_tag
    }

    /// Which consumer it is for.
    pub fn consumer(&self) -> &str {
        self.method.consumer_tag.as_str()
    }
}

impl Peer {
    /// Publishes with default properties, neither mandatory nor immediate.
    pub fn publish(&mut self, channel: u16, exchange: &str, routing_key: &str, body: &str) {
        self.publish_with(
            channel,
            exchange,
            routing_key,
            AMQPProperties::default(),
            body.as_bytes(),
        );
    }

    /// Publishes, neither mandatory nor immediate.
    pub fn publish_with(
        &mut self,
        channel: u16,
        exchange: &str,
        routing_key: &str,
        properties: AMQPProperties,
        body: &[u8],
    ) {
        self.send_publish(channel, publish_to(exchange, routing_key), properties, body);
    }

    /// Publishes with the flags that the method says.
    pub fn send_publish(
        &mut self,
        channel: u16,
        method: basic::Publish,
        properties: AMQPProperties,
        body: &[u8],
    ) {
        let mut bytes = method_bytes(channel, method);
        bytes.extend(header_bytes(channel, body.len() as u64, properties));
        for part in body.chunks(self.frame_max - 8) {
            bytes.extend(generate(&AMQPFrame::Body(channel, part.to_vec())));
        }
        self.send_bytes(&bytes);
    }

    /// The next frames on `channel` must be a delivery.
    #[track_caller]
    pub fn expect_delivery(&mut self, channel: u16) -> Delivery {
        let method = self.expect::<basic::Deliver>(channel);
        let (properties, body) = self.expect_content(channel);
        Delivery {
            method,
            properties,
            body,
        }
    }

    /// The next frames on `channel` must be deliveries with these bodies, in this order.
    #[track_caller]
    pub fn expect_deliveries(&mut self, channel: u16, bodies: &[&str]) -> Vec<Delivery> {
        let deliveries: Vec<_> = bodies
            .iter()
            .map(|_| self.expect_delivery(channel))
            .collect();
        let got: Vec<_> = deliveries.iter().map(Delivery::text).collect();
        assert_eq!(got, bodies);
        deliveries
    }

    /// The next frames on `channel` must be a returned message.
    #[track_caller]
    pub fn expect_return(&mut self, channel: u16) -> Returned {
        let method = self.expect::<basic::Return>(channel);
        let (properties, body) = self.expect_content(channel);
        Returned {
            method,
            properties,
            body,
        }
    }

    /// Polls until the queue has a message: what comes from another queue, or after a time, takes its own.
    #[track_caller]
    pub fn await_message(&mut self, channel: u16, queue: &str, no_ack: bool) -> Got {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(got) = self.get(channel, queue, no_ack) {
                return got;
            }
            assert!(Instant::now() < deadline, "nothing came to {queue}");
            pause();
        }
    }

    /// A durable queue with a name of its own and these arguments, on channel 1. The test deletes it.
    pub fn durable_queue_with(
        &mut self,
        name: &str,
        arguments: impl IntoIterator<Item = (&'static str, AMQPValue)>,
    ) -> String {
        let name = unique(name);
        let mut table = FieldTable::default();
        for (key, value) in arguments {
            table.insert(key.into(), value);
        }
        let declare = queue::Declare {
            arguments: table,
            ..durable_queue(&name)
        };
        self.declare(1, declare);
        name
    }

    /// basic.get; `None` for get-empty.
    #[track_caller]
    pub fn get(&mut self, channel: u16, queue: &str, no_ack: bool) -> Option<Got> {
        self.send(
            channel,
            basic::Get {
                queue: queue.into(),
                no_ack,
            },
        );
        match self.next_method(channel, "basic.get-ok or basic.get-empty") {
            AMQPClass::Basic(basic::AMQPMethod::GetEmpty(_)) => None,
            AMQPClass::Basic(basic::AMQPMethod::GetOk(method)) => {
                let (properties, body) = self.expect_content(channel);
                Some(Got {
                    method,
                    properties,
                    body,
                })
            }
            other => panic!("expected basic.get-ok or basic.get-empty, got {other:?}"),
        }
    }

    /// The bodies that a queue holds, taken out of it.
    #[track_caller]
    pub fn drain(&mut self, channel: u16, queue: &str) -> Vec<String> {
        let mut bodies = Vec::new();
        while let Some(got) = self.get(channel, queue, true) {
            bodies.push(String::from_utf8(got.body).expect("text"));
        }
        bodies
    }

    #[track_caller]
    fn expect_content(&mut self, channel: u16) -> (AMQPProperties, Vec<u8>) {
        let AMQPFrame::Header(_, header) = self.next_frame(channel, "a content header") else {
            panic!("expected a content header on channel {channel}");
        };
        assert_eq!(header.class_id, 60);
        let mut body = Vec::new();
        while (body.len() as u64) < header.body_size {
            match self.next_frame(channel, "a content body") {
                AMQPFrame::Body(_, part) => {
                    assert!(part.len() <= self.frame_max - 8, "a frame beyond frame_max");
                    body.extend(part);
                }
                other => panic!("expected a content body on channel {channel}, got {other:?}"),
            }
        }
        assert_eq!(
            body.len() as u64,
            header.body_size,
            "more body than announced"
        );
        (header.properties, body)
    }
}

/// A publish method, neither mandatory nor immediate.
pub fn publish_to(exchange: &str, routing_key: &str) -> basic::Publish {
    basic::Publish {
        exchange: exchange.into(),
        routing_key: routing_key.into(),
        mandatory: false,
        immediate: false,
    }
}

/// A content header frame as bytes, announcing any length.
pub fn header_bytes(channel: u16, body_size: u64, properties: AMQPProperties) -> Vec<u8> {
    let header = AMQPContentHeader {
        class_id: 60,
        body_size,
        properties,
    };
    generate(&AMQPFrame::Header(channel, header))
}

/// A publish with its whole content as bytes; the body goes into one frame.
pub fn publish_bytes(
    channel: u16,
    method: basic::Publish,
    properties: AMQPProperties,
    body: &[u8],
) -> Vec<u8> {
    let mut bytes = method_bytes(channel, method);
    bytes.extend(header_bytes(channel, body.len() as u64, properties));
    if !body.is_empty() {
        bytes.extend(generate(&AMQPFrame::Body(channel, body.to_vec())));
    }
    bytes
}
