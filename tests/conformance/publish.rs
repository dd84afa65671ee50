//! basic.publish: what comes back when nobody can have the message, what is refused, and that a message is handed on as
//! it was given.

use crate::leveret_only;
use crate::support::content::publish_to;
use crate::support::operations::{consume_from, exchange_of};
use crate::support::table::longstrs;
use crate::support::{
    AMQPClass, AMQPProperties, AMQPValue, Login, Peer, basic, channel, durable_queue, exchange,
    longstr, table, unique,
};

fn mandatory(exchange: &str, routing_key: &str) -> basic::Publish {
    basic::Publish {
        mandatory: true,
        ..publish_to(exchange, routing_key)
    }
}

fn immediate(routing_key: &str) -> basic::Publish {
    basic::Publish {
        immediate: true,
        ..publish_to("", routing_key)
    }
}

/// Every property that basic has.
fn all_properties() -> AMQPProperties {
    let headers = table([
        ("a-bool", AMQPValue::Boolean(true)),
        ("a-byte", AMQPValue::ShortShortInt(-8)),
        ("a-long", AMQPValue::LongInt(-32)),
        ("a-long-long", AMQPValue::LongLongInt(-64)),
        ("a-double", AMQPValue::Double(0.5)),
        ("a-string", longstr("text")),
        ("a-timestamp", AMQPValue::Timestamp(1_700_000_000)),
        ("a-void", AMQPValue::Void),
        ("an-array", longstrs(["one", "two"])),
        (
            "a-table",
            AMQPValue::FieldTable(table([("in", longstr("side"))])),
        ),
    ]);
    AMQPProperties::default()
        .with_content_type("application/json".into())
        .with_content_encoding("gzip".into())
        .with_headers(headers)
        .with_delivery_mode(2)
        .with_priority(7)
        .with_correlation_id("correlation".into())
        .with_reply_to("answers".into())
        .with_expiration("60000000".into())
        .with_message_id("message 1".into())
        .with_timestamp(1_700_000_001)
        .with_type("a.type".into())
        .with_user_id("guest".into())
        .with_app_id("conformance".into())
        .with_cluster_id("here".into())
}

#[test]
fn a_mandatory_message_that_no_queue_takes_is_returned_whole() {
    let mut peer = Peer::connect();
    peer.send_publish(
        1,
        mandatory("amq.direct", "nobody-listens"),
        all_properties(),
        b"the body",
    );
    let returned = peer.expect_return(1);
    assert_eq!(returned.method.reply_code, 312);
    assert_eq!(returned.method.reply_text.as_str(), "NO_ROUTE");
    assert_eq!(returned.method.exchange.as_str(), "amq.direct");
    assert_eq!(returned.method.routing_key.as_str(), "nobody-listens");
    assert_eq!(returned.properties, all_properties());
    assert_eq!(returned.body, b"the body");
    peer.close();
}

#[test]
fn a_mandatory_message_to_a_missing_queue_is_returned_from_the_default_exchange() {
    let mut peer = Peer::connect();
    let name = unique("missing");
    peer.send_publish(1, mandatory("", &name), AMQPProperties::default(), b"");
    let returned = peer.expect_return(1);
    assert_eq!(returned.method.reply_code, 312);
    assert_eq!(returned.method.exchange.as_str(), "");
    assert_eq!(returned.method.routing_key.as_str(), name);
    assert!(returned.body.is_empty());
    peer.close();
}

#[test]
fn a_mandatory_message_that_a_queue_takes_is_not_returned() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "mandatory");
    peer.send_publish(1, mandatory("", &queue), AMQPProperties::default(), b"kept");
    let got = peer.get(1, &queue, true).expect("the message");
    assert_eq!(got.body, b"kept");
    peer.expect_nothing(1);
    peer.close();
}

#[test]
fn an_unroutable_message_that_is_not_mandatory_vanishes() {
    let mut peer = Peer::connect();
    peer.publish(1, "amq.direct", "nobody-listens", "lost");
    peer.publish(1, "", &unique("missing"), "lost");
    peer.expect_nothing(1);
    peer.close();
}

#[test]
fn a_mandatory_return_comes_before_its_confirm() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "confirmed");
    peer.confirm_select(1);
    peer.publish(1, "", &queue, "routed");
    peer.send_publish(
        1,
        mandatory("amq.direct", "nobody-listens"),
        AMQPProperties::default(),
        b"unroutable",
    );
    let mut confirmed = 0;
    let mut returned = false;
    while confirmed < 2 {
        match peer.next_method(1, "basic.return or basic.ack") {
            AMQPClass::Basic(basic::AMQPMethod::Ack(ack)) => {
                confirmed += if ack.multiple {
                    ack.delivery_tag - confirmed
                } else {
                    1
                };
                assert!(
                    returned || ack.delivery_tag == 1,
                    "confirmed before returned"
                );
            }
            AMQPClass::Basic(basic::AMQPMethod::Return(_)) => {
                peer.next_frame(1, "the header");
                peer.next_frame(1, "the body");
                returned = true;
            }
            other => panic!("expected basic.return or basic.ack, got {other:?}"),
        }
    }
    assert!(returned);
    peer.close();
}

#[test]
fn an_immediate_message_that_no_consumer_can_take_at_once_is_returned() {
    leveret_only!("RabbitMQ answers 540 NOT_IMPLEMENTED - immediate=true");
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "immediate");
    peer.send_publish(1, immediate(&queue), all_properties(), b"now");
    let returned = peer.expect_return(1);
    assert_eq!(returned.method.reply_code, 313);
    assert_eq!(returned.method.reply_text.as_str(), "NO_CONSUMERS");
    assert_eq!(returned.method.routing_key.as_str(), queue);
    assert_eq!(returned.properties, all_properties());
    assert_eq!(returned.body, b"now");
    assert_eq!(
        peer.counts(1, &queue),
        (0, 0),
        "it does not stay in the queue"
    );
    peer.close();
}

#[test]
fn an_immediate_message_goes_to_a_consumer_that_can_take_it() {
    leveret_only!("RabbitMQ answers 540 NOT_IMPLEMENTED - immediate=true");
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "immediate");
    peer.qos(1, 1, false);
    peer.consume(1, &queue, "c");
    peer.open_channel(2);
    peer.send_publish(2, immediate(&queue), AMQPProperties::default(), b"taken");
    assert_eq!(peer.expect_delivery(1).text(), "taken");
    peer.expect_nothing(2);
    // Its prefetch of one is used up: there is a consumer, but none that can take it at once.
    peer.send_publish(2, immediate(&queue), AMQPProperties::default(), b"refused");
    assert_eq!(peer.expect_return(2).method.reply_code, 313);
    peer.ack(1, 1, false);
    peer.expect_nothing(1);
    peer.close();
}

#[test]
fn an_immediate_return_comes_before_its_confirm() {
    leveret_only!("RabbitMQ answers 540 NOT_IMPLEMENTED - immediate=true");
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "immediate");
    peer.confirm_select(1);
    peer.send_publish(1, immediate(&queue), AMQPProperties::default(), b"now");
    assert_eq!(peer.expect_return(1).method.reply_code, 313);
    assert_eq!(peer.expect::<basic::Ack>(1).delivery_tag, 1);
    peer.close();
}

#[test]
fn publishing_to_a_missing_exchange_closes_the_channel() {
    let mut peer = Peer::connect();
    let name = unique("missing");
    peer.publish(1, &name, "key", "lost");
    let text = format!("NOT_FOUND - no exchange '{name}' in vhost '/'");
    peer.expect_channel_close::<basic::Publish>(1, 404, &text);
    // The connection lives, and the channel number is free again.
    peer.open_channel(1);
    peer.close();
}

#[test]
fn what_follows_a_publish_to_a_missing_exchange_is_swallowed_until_close_ok() {
    let mut peer = Peer::connect();
    peer.open_channel(2);
    let queue = peer.fresh_queue(2, "untouched");
    let name = unique("missing");
    peer.publish(1, &name, "key", "lost");
    peer.publish(1, "", &queue, "swallowed");
    peer.publish(1, &name, "key", "swallowed");
    let text = format!("NOT_FOUND - no exchange '{name}' in vhost '/'");
    peer.expect_channel_close::<basic::Publish>(1, 404, &text);
    peer.open_channel(1);
    assert_eq!(peer.counts(1, &queue), (0, 0));
    peer.close();
}

#[test]
fn publishing_to_an_internal_exchange_is_refused() {
    let mut peer = Peer::connect();
    let name = unique("internal");
    let declare = exchange::Declare {
        internal: true,
        ..exchange_of("fanout", &name)
    };
    peer.call::<_, exchange::DeclareOk>(1, declare);
    peer.publish(1, &name, "key", "refused");
    let text =
        format!("ACCESS_REFUSED - cannot publish to internal exchange '{name}' in vhost '/'");
    peer.expect_channel_close::<basic::Publish>(1, 403, &text);
    peer.open_channel(1);
    peer.delete_exchange(1, &name);
    peer.close();
}

#[test]
fn every_property_reaches_the_consumer_as_it_was_given() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "properties");
    peer.publish_with(1, "", &queue, all_properties(), b"first");
    peer.publish_with(1, "", &queue, AMQPProperties::default(), b"second");
    let got = peer.get(1, &queue, true).expect("the message");
    assert_eq!(got.properties, all_properties());
    peer.consume_no_ack(1, &queue, "c");
    let delivery = peer.expect_delivery(1);
    assert_eq!(delivery.text(), "second");
    assert_eq!(delivery.properties, AMQPProperties::default());
    peer.close();
}

#[test]
fn an_empty_table_of_headers_stays_an_empty_table() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "headers");
    let properties = AMQPProperties::default().with_headers(table([]));
    peer.publish_with(1, "", &queue, properties.clone(), b"");
    let got = peer.get(1, &queue, true).expect("the message");
    assert_eq!(got.properties, properties);
    peer.close();
}

#[test]
fn bodies_of_every_length_arrive_whole_however_many_frames_they_take() {
    let frame_max = 4096;
    let mut peer = Peer::login(&Login {
        frame_max,
        ..Login::default()
    });
    peer.open_channel(1);
    let queue = peer.fresh_queue(1, "bodies");
    peer.consume_no_ack(1, &queue, "c");
    let one_frame = frame_max as usize - 8;
    for length in [
        0,
        1,
        one_frame - 1,
        one_frame,
        one_frame + 1,
        2 * one_frame,
        300_000,
    ] {
        let body: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
        peer.publish_with(1, "", &queue, AMQPProperties::default(), &body);
        let delivery = peer.expect_delivery(1);
        assert!(delivery.body == body, "a body of {length} bytes");
    }
    peer.close();
}

#[test]
fn a_body_is_cut_anew_for_a_receiver_with_a_smaller_frame_max() {
    let mut publisher = Peer::connect();
    let queue = publisher.fresh_shared_queue(1, "recut");
    let body: Vec<u8> = (0..100_000).map(|at| (at % 253) as u8).collect();
    publisher.publish_with(1, "", &queue, AMQPProperties::default(), &body);
    let mut consumer = Peer::login(&Login {
        frame_max: 4096,
        ..Login::default()
    });
    consumer.open_channel(1);
    consumer.consume_no_ack(1, &queue, "c");
    assert!(consumer.expect_delivery(1).body == body);
    consumer.delete_queue(1, &queue);
    consumer.close();
    publisher.close();
}

#[test]
fn large_and_small_bodies_arrive_whole_and_in_order_at_a_client_that_reads_late() {
    let mut publisher = Peer::connect();
    let queue = publisher.fresh_shared_queue(1, "late");
    let mut consumer = Peer::connect();
    consumer.consume_no_ack(1, &queue, "c");
    publisher.confirm_select(1);
    let lengths = [700_000, 3, 4096, 131_064, 1 << 20, 4095, 200_001];
    let body = |number: usize, length: usize| -> Vec<u8> {
        (0..length).map(|at| ((at + number) % 251) as u8).collect()
    };
    let bodies: Vec<_> = (0..28)
        .map(|number| body(number, lengths[number % lengths.len()]))
        .collect();
    for body in &bodies {
        publisher.publish_with(1, "", &queue, AMQPProperties::default(), body);
    }
    publisher.expect_confirms_to(1, bodies.len() as u64);
    for (number, body) in bodies.iter().enumerate() {
        assert!(consumer.expect_delivery(1).body == *body, "body {number}");
    }
    consumer.delete_queue(1, &queue);
    consumer.close();
    publisher.close();
}

#[test]
fn a_message_may_be_as_large_as_the_limit_and_no_larger() {
    leveret_only!("before RabbitMQ 4.0 the limit was 128 MiB");
    const LIMIT: usize = 16 << 20;
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "large");
    let body = vec![7; LIMIT + 1];
    peer.confirm_select(1);
    peer.publish_with(1, "", &queue, AMQPProperties::default(), &body[..LIMIT]);
    peer.expect_confirms_to(1, 1);
    assert_eq!(peer.purge(1, &queue), 1);
    peer.publish_with(1, "", &queue, AMQPProperties::default(), &body);
    let text = "PRECONDITION_FAILED - message size 16777217 is larger than configured max size \
                16777216";
    peer.expect_channel_close::<basic::Publish>(1, 406, text);
    peer.open_channel(1);
    assert_eq!(peer.counts(1, &queue), (0, 0));
    peer.close();
}

#[test]
fn an_expiration_that_is_no_number_is_refused() {
    let refused = |expiration: &str, why: &str| {
        let mut peer = Peer::connect();
        let properties = AMQPProperties::default().with_expiration(expiration.into());
        peer.publish_with(1, "amq.fanout", "", properties, b"");
        let text = format!("PRECONDITION_FAILED - invalid expiration '{expiration}': {why}");
        peer.expect_channel_close::<basic::Publish>(1, 406, &text);
        peer.close();
    };
    refused("soon", "no_integer");
    refused("", "no_integer");
    refused("10s", "{leftover_string,\"s\"}");
    refused("1.5", "{leftover_string,\".5\"}");
    refused("-1", "{value_negative,-1}");
    refused("315360000001", "{value_too_large,315360000001}");
}

#[test]
fn the_longest_expiration_is_ten_years() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "expiration");
    let properties = AMQPProperties::default().with_expiration("315360000000".into());
    peer.publish_with(1, "", &queue, properties.clone(), b"");
    let got = peer.get(1, &queue, true).expect("the message");
    assert_eq!(got.properties, properties);
    peer.close();
}

#[test]
fn a_message_that_expires_at_once_is_only_for_a_consumer_that_waits() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "expiration");
    let properties = AMQPProperties::default().with_expiration("0".into());
    peer.publish_with(1, "", &queue, properties.clone(), b"nobody waits");
    assert!(peer.get(1, &queue, true).is_none());
    peer.consume_no_ack(1, &queue, "c");
    peer.publish_with(1, "", &queue, properties, b"somebody waits");
    assert_eq!(peer.expect_delivery(1).text(), "somebody waits");
    peer.close();
}

#[test]
fn a_user_id_must_be_the_user_who_logged_in() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "user-id");
    let properties = AMQPProperties::default().with_user_id("guest".into());
    peer.publish_with(1, "", &queue, properties, b"mine");
    assert!(peer.get(1, &queue, true).is_some());
    let properties = AMQPProperties::default().with_user_id("somebody".into());
    peer.publish_with(1, "", &queue, properties, b"not mine");
    let text = "PRECONDITION_FAILED - user_id property set to 'somebody' but authenticated user \
                was 'guest'";
    peer.expect_channel_close::<basic::Publish>(1, 406, text);
    peer.open_channel(1);
    assert_eq!(peer.counts(1, &queue), (0, 0));
    peer.close();
}

#[test]
fn a_message_reaches_a_queue_once_however_many_bindings_match() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "once");
    let exchange = peer.fresh_exchange(1, "topic");
    for pattern in ["a.b", "a.*", "#", "a.#", "*.b"] {
        peer.bind(1, &queue, &exchange, pattern);
    }
    peer.publish(1, &exchange, "a.b", "once");
    assert_eq!(peer.drain(1, &queue), ["once"]);
    peer.close();
}

#[test]
fn messages_of_one_channel_arrive_in_the_order_they_were_published() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "ordered");
    let bodies: Vec<String> = (0..500).map(|number| number.to_string()).collect();
    for body in &bodies[..250] {
        peer.publish(1, "", &queue, body);
    }
    peer.open_channel(2);
    peer.consume_with(
        2,
        basic::Consume {
            no_ack: true,
            ..consume_from(&queue, "c")
        },
    );
    for body in &bodies[250..] {
        peer.publish(1, "", &queue, body);
    }
    for body in &bodies {
        assert_eq!(peer.expect_delivery(2).text(), body);
    }
    peer.close();
}

#[test]
fn publishing_to_a_channel_that_is_closing_is_harmless() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_shared_queue(1, "closing");
    peer.publish(1, "", &queue, "kept");
    peer.send(
        1,
        channel::Close {
            reply_code: 200,
            reply_text: "bye".into(),
            ..channel::Close::default()
        },
    );
    peer.expect::<channel::CloseOk>(1);
    peer.open_channel(1);
    assert_eq!(peer.declare(1, durable_queue(&queue)).message_count, 1);
    assert_eq!(peer.delete_queue(1, &queue), 1);
    peer.close();
}
