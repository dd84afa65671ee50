//! The hand-sliced methods agree with `amq-protocol`'s own parser and generator, in both directions.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

use amqp_codec::{
    AMQPClass, FrameKind, Method, Publish, encode, parse_frame, parse_method,
    protocol::{basic, parse_class},
};
use proptest::prelude::*;

/// Any UTF-8 of at most 255 bytes.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z.]{0,40}",
        "\\PC{0,60}".prop_filter("a short string holds 255 bytes", |name| name.len() <= 255),
        Just("x".repeat(255)),
    ]
}

/// The payload of a frame that our encoder wrote.
fn payload(written: &[u8], channel: u16) -> &[u8] {
    let (frame, consumed) = parse_frame(written, 0).unwrap().unwrap();
    assert_eq!(consumed, written.len());
    assert_eq!((frame.kind, frame.channel), (FrameKind::Method, channel));
    frame.payload
}

/// What `amq-protocol` writes for a method, and what it reads out of ours, must both be the same.
fn agrees(written: &[u8], channel: u16, theirs: basic::AMQPMethod) {
    let theirs = AMQPClass::Basic(theirs);
    let (rest, parsed) = parse_class(payload(written, channel)).unwrap();
    assert!(rest.is_empty());
    assert_eq!(parsed, theirs);
    let mut generated = Vec::new();
    encode::method(&mut generated, channel, &theirs).unwrap();
    assert_eq!(generated, written);
}

proptest! {
    #[test]
    fn publish_agrees(channel: u16, exchange in name(), key in name(), mandatory: bool, immediate: bool) {
        let ours = Publish { exchange: &exchange, routing_key: &key, mandatory, immediate };
        let mut out = Vec::new();
        encode::publish(&mut out, channel, &ours);
        prop_assert_eq!(parse_method(payload(&out, channel)), Ok(Method::Publish(ours)));
        let theirs = basic::Publish {
            exchange: exchange.as_str().into(), routing_key: key.as_str().into(), mandatory, immediate,
        };
        agrees(&out, channel, basic::AMQPMethod::Publish(theirs));
    }

    #[test]
    fn deliver_agrees(channel: u16, tag in name(), number: u64, redelivered: bool, exchange in name(), key in name()) {
        let mut out = Vec::new();
        encode::deliver(&mut out, channel, &tag, number, redelivered, &exchange, &key);
        let parsed = parse_method(payload(&out, channel));
        let Ok(Method::Deliver(ours)) = parsed else { panic!("{parsed:?}") };
        prop_assert_eq!((ours.consumer_tag, ours.delivery_tag, ours.redelivered), (tag.as_str(), number, redelivered));
        prop_assert_eq!((ours.exchange, ours.routing_key), (exchange.as_str(), key.as_str()));
        let theirs = basic::Deliver {
            consumer_tag: tag.as_str().into(), delivery_tag: number, redelivered,
            exchange: exchange.as_str().into(), routing_key: key.as_str().into(),
        };
        agrees(&out, channel, basic::AMQPMethod::Deliver(theirs));
    }

    #[test]
    fn get_ok_agrees(channel: u16, number: u64, redelivered: bool, exchange in name(), key in name(), left: u32) {
        let mut out = Vec::new();
        encode::get_ok(&mut out, channel, number, redelivered, &exchange, &key, left);
        let parsed = parse_method(payload(&out, channel));
        let Ok(Method::GetOk(ours)) = parsed else { panic!("{parsed:?}") };
        prop_assert_eq!((ours.delivery_tag, ours.redelivered, ours.message_count), (number, redelivered, left));
        prop_assert_eq!((ours.exchange, ours.routing_key), (exchange.as_str(), key.as_str()));
        let theirs = basic::GetOk {
            delivery_tag: number, redelivered, exchange: exchange.as_str().into(),
            routing_key: key.as_str().into(), message_count: left,
        };
        agrees(&out, channel, basic::AMQPMethod::GetOk(theirs));
    }

    #[test]
    fn settlements_agree(channel: u16, delivery_tag: u64, multiple: bool, requeue: bool) {
        let mut out = Vec::new();
        encode::ack(&mut out, channel, delivery_tag, multiple);
        let ours = amqp_codec::Ack { delivery_tag, multiple };
        prop_assert_eq!(parse_method(payload(&out, channel)), Ok(Method::Ack(ours)));
        agrees(&out, channel, basic::AMQPMethod::Ack(basic::Ack { delivery_tag, multiple }));

        out.clear();
        encode::nack(&mut out, channel, delivery_tag, multiple, requeue);
        let ours = amqp_codec::Nack { delivery_tag, multiple, requeue };
        prop_assert_eq!(parse_method(payload(&out, channel)), Ok(Method::Nack(ours)));
        agrees(&out, channel, basic::AMQPMethod::Nack(basic::Nack { delivery_tag, multiple, requeue }));

        out.clear();
        encode::reject(&mut out, channel, delivery_tag, requeue);
        let ours = amqp_codec::Reject { delivery_tag, requeue };
        prop_assert_eq!(parse_method(payload(&out, channel)), Ok(Method::Reject(ours)));
        agrees(&out, channel, basic::AMQPMethod::Reject(basic::Reject { delivery_tag, requeue }));
    }
}
