//! Frame sizes and message sizes, negotiated and configured.

use crate::leveret_only;
use crate::support::content::{header_bytes, publish_to};
use crate::support::peer::method_bytes;
use crate::support::{
    AMQPProperties, Broker, Login, NoMethod, Peer, basic, foreign_broker, queue, unique,
};
use amq_protocol::frame::AMQPFrame;

/// The default of `amqp.max_message_size`.
const MAX_MESSAGE_SIZE: usize = 16 * 1024 * 1024;

const BODY: u8 = 3;
const END: u8 = 0xCE;

fn small_frames() -> Peer {
    let mut peer = Peer::login(&Login {
        frame_max: 4096,
        ..Login::default()
    });
    peer.open_channel(1);
    peer
}

#[test]
fn frames_of_exactly_frame_max_are_accepted_both_ways() {
    let mut peer = small_frames();
    let queue = peer.fresh_queue(1, "full-frames");
    let body = "f".repeat(3 * 4088);
    peer.publish(1, "", &queue, &body);
    // The peer checks that no frame of the answer is longer than negotiated.
    assert_eq!(peer.drain(1, &queue), [body]);
    peer.close();
}

#[test]
fn a_frame_may_be_too_long_by_its_own_envelope() {
    // RabbitMQ forgives it, since some clients do not count the 8 bytes.
    let mut peer = small_frames();
    let queue = peer.fresh_queue(1, "fudge");
    peer.send(1, publish_to("", &queue));
    peer.send_bytes(&header_bytes(1, 4096, AMQPProperties::default()));
    peer.send_frame(BODY, 1, &[b'x'; 4096], END);
    assert_eq!(peer.drain(1, &queue), ["x".repeat(4096)]);
    peer.close();
}

#[test]
fn a_frame_longer_than_negotiated_is_501() {
    let mut peer = small_frames();
    peer.send(1, publish_to("", "q"));
    peer.send_bytes(&header_bytes(1, 4097, AMQPProperties::default()));
    peer.send_frame(BODY, 1, &[b'x'; 4097], END);
    peer.expect_connection_close::<NoMethod>(
        501,
        "FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,4097,4088}",
    );
}

#[test]
fn bodies_come_whole_whatever_frames_they_travelled_in() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "bodies");
    let one_frame = 131_072 - 8;
    for size in [
        0,
        1,
        one_frame - 1,
        one_frame,
        one_frame + 1,
        3 * one_frame + 7,
    ] {
        let body = "b".repeat(size);
        peer.publish(1, "", &queue, &body);
        let got = peer.get(1, &queue, true).expect("the message");
        assert_eq!(got.body.len(), size);
    }
    // Empty body frames are no body.
    peer.send(1, publish_to("", &queue));
    peer.send_bytes(&header_bytes(1, 2, AMQPProperties::default()));
    for part in [&b""[..], b"a", b"", b"b"] {
        peer.send_frame(BODY, 1, part, END);
    }
    assert_eq!(peer.drain(1, &queue), ["ab"]);
    peer.close();
}

#[test]
fn a_message_goes_to_a_consumer_with_smaller_frames() {
    let mut publisher = Peer::connect();
    let queue = publisher.fresh_shared_queue(1, "small-frames");
    let mut consumer = small_frames();
    consumer.consume_no_ack(1, &queue, "c");
    let body = "s".repeat(10_000);
    publisher.publish(1, "", &queue, &body);
    assert_eq!(consumer.expect_delivery(1).text(), body);
    publisher.delete_queue(1, &queue);
}

#[test]
fn a_message_of_16_mib_is_accepted_and_one_byte_more_is_406() {
    leveret_only!("RabbitMQ 3.10 accepts 128 MiB");
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "16-mib");
    let body = vec![b'm'; MAX_MESSAGE_SIZE + 1];
    let properties = AMQPProperties::default;
    peer.publish_with(1, "", &queue, properties(), &body[1..]);
    assert_eq!(peer.purge(1, &queue), 1);
    peer.publish_with(1, "", &queue, properties(), &body);
    peer.expect_channel_close::<basic::Publish>(
        1,
        406,
        "PRECONDITION_FAILED - message size 16777217 is larger than configured max size 16777216",
    );
    peer.open_channel(1);
    assert_eq!(peer.counts(1, &queue), (0, 0));
    peer.close();
}

#[test]
fn the_largest_message_and_frame_are_configured() {
    leveret_only!("it has its own configuration");
    let broker = Broker::start_with_options(&[
        ("LEVERET_AMQP_MAX_MESSAGE_SIZE", "1000"),
        ("LEVERET_AMQP_FRAME_MAX", "8192"),
        ("LEVERET_AMQP_CHANNEL_MAX", "5"),
        ("LEVERET_AMQP_HEARTBEAT_SECONDS", "7"),
    ]);
    let login = Login {
        channel_max: 5,
        frame_max: 8192,
        ..Login::default()
    };
    let mut peer = Peer::tcp_to(broker.amqp_address());
    peer.greet();
    peer.send(0, login.start_ok());
    let tune = peer.tune(&login);
    assert_eq!(
        (tune.channel_max, tune.frame_max, tune.heartbeat),
        (5, 8192, 7)
    );
    let mut peer = Peer::tcp_to(broker.amqp_address()).opened(&login);
    peer.open_channel(1);
    peer.publish(1, "", "nowhere", &"x".repeat(1000));
    peer.publish(1, "", "nowhere", &"x".repeat(1001));
    peer.expect_channel_close::<basic::Publish>(
        1,
        406,
        "PRECONDITION_FAILED - message size 1001 is larger than configured max size 1000",
    );
    peer.close();
}

#[test]
fn names_may_have_255_bytes() {
    let mut peer = Peer::connect();
    let name = format!("{:x<255}", unique("long"));
    let ok = peer.declare(
        1,
        queue::Declare {
            queue: name.as_str().into(),
            exclusive: true,
            ..queue::Declare::default()
        },
    );
    assert_eq!(ok.queue.as_str(), name);
    peer.publish(1, "", &name, "to a long name");
    assert_eq!(peer.drain(1, &name), ["to a long name"]);
    peer.close();
}

#[test]
fn many_methods_in_one_write_are_answered_in_order() {
    let mut peer = Peer::connect();
    let names: Vec<String> = (0..500).map(|_| unique("burst")).collect();
    let declare = |name: &String| {
        let declare = crate::support::operations::exclusive_queue(name);
        method_bytes(1, declare)
    };
    peer.send_bytes(&names.iter().flat_map(declare).collect::<Vec<_>>());
    for name in &names {
        let ok = peer.expect::<queue::DeclareOk>(1);
        assert_eq!(ok.queue.as_str(), name);
    }
    if !foreign_broker() {
        peer.close();
    }
}

#[test]
fn a_burst_of_gets_of_large_messages_is_answered_in_order() {
    const COUNT: usize = 200;
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "burst");
    let bodies: Vec<_> = (0..COUNT)
        .map(|n| format!("{n:0>9}").repeat(100 * 1024 / 9))
        .collect();
    peer.fill(
        &queue,
        &bodies.iter().map(String::as_str).collect::<Vec<_>>(),
    );
    let get = || basic::Get {
        queue: queue.as_str().into(),
        no_ack: true,
    };
    let burst: Vec<_> = (0..COUNT).flat_map(|_| method_bytes(1, get())).collect();
    peer.send_bytes(&burst);
    for (number, body) in bodies.iter().enumerate() {
        let ok = peer.expect::<basic::GetOk>(1);
        assert_eq!(ok.delivery_tag, number as u64 + 1);
        assert_eq!(ok.message_count as usize, COUNT - 1 - number);
        let AMQPFrame::Header(..) = peer.next_frame(1, "a content header") else {
            panic!("no content header");
        };
        let AMQPFrame::Body(_, got) = peer.next_frame(1, "a content body") else {
            panic!("no content body");
        };
        assert!(got == body.as_bytes(), "message {number}");
    }
    peer.close();
}
