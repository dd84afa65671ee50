//! The consumer timeout over sockets. The rules of time are tested in virtual time beside the code.

use crate::leveret_only;
use crate::support::operations::consume_from;
use crate::support::{
    AMQPValue, Broker, NoMethod, PATIENCE, Peer, basic, durable_queue, longstr, queue, table,
    unique,
};
use std::time::Instant;

fn text(channel: u16, milliseconds: i64) -> String {
    format!(
        "PRECONDITION_FAILED - delivery acknowledgement on channel {channel} timed out. Timeout value used: \
         {milliseconds} ms. This timeout value can be configured, see consumers doc guide to learn more"
    )
}

fn timeout(milliseconds: i64) -> (&'static str, AMQPValue) {
    ("x-consumer-timeout", AMQPValue::LongLongInt(milliseconds))
}

#[test]
fn a_consumer_that_holds_a_message_too_long_loses_its_channel_and_the_message_comes_back() {
    leveret_only!("before 3.12 queues had no timeout, and from 4.3 on quorum queues alone");
    let mut peer = Peer::connect();
    for queue_type in ["classic", "quorum"] {
        let queue = unique("patience");
        let arguments = table([timeout(100), ("x-queue-type", longstr(queue_type))]);
        let declare = queue::Declare {
            arguments,
            ..durable_queue(&queue)
        };
        peer.declare(1, declare);
        peer.fill(&queue, &["a"]);
        peer.open_channel(2);
        peer.consume(2, &queue, "tag");
        peer.expect_delivery(2);
        peer.expect_channel_close::<NoMethod>(2, 406, &text(2, 100));
        assert_eq!(peer.counts(1, &queue), (1, 0), "the consumer is gone");
        let got = peer.get(1, &queue, true).expect("the message");
        assert!(got.method.redelivered);
        let headers = got.properties.headers().clone().expect("headers");
        let expected = table([("x-acquired-count", AMQPValue::LongLongInt(1))]);
        assert_eq!(headers, expected, "a timeout is no failure");
        peer.delete_queue(1, &queue);
    }
    peer.close();
}

#[test]
fn a_message_that_was_asked_for_may_not_be_held_too_long_either() {
    leveret_only!("before 3.12 queues had no timeout, and from 4.3 on quorum queues alone");
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue_with(1, "patience", table([timeout(100)]));
    peer.fill(&queue, &["a"]);
    peer.get(1, &queue, false).expect("a message");
    peer.expect_channel_close::<NoMethod>(1, 406, &text(1, 100));
    peer.open_channel(1);
    assert_eq!(peer.counts(1, &queue).0, 1);
    peer.close();
}

#[test]
fn a_consumer_may_say_how_long_it_takes() {
    leveret_only!("before 3.12 consumers had no timeout");
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue_with(1, "patience", table([timeout(3_600_000)]));
    peer.fill(&queue, &["a"]);
    let consume = basic::Consume {
        arguments: table([timeout(150)]),
        ..consume_from(&queue, "tag")
    };
    peer.consume_with(1, consume);
    peer.expect_delivery(1);
    peer.expect_channel_close::<NoMethod>(1, 406, &text(1, 150));
    peer.open_channel(1);
    peer.close();
}

#[test]
fn the_broker_has_a_timeout_for_all_that_say_nothing() {
    leveret_only!("it has its own configuration");
    let options = [("LEVERET_AMQP_CONSUMER_TIMEOUT_MS", "200")];
    let broker = Broker::start_with_options(&options);
    let mut peer = Peer::connect_to(&broker);
    let queue = peer.fresh_queue(1, "patience");
    peer.fill(&queue, &["a"]);
    peer.consume(1, &queue, "tag");
    peer.expect_delivery(1);
    peer.expect_channel_close::<NoMethod>(1, 406, &text(1, 200));
    let deadline = Instant::now() + PATIENCE;
    while !broker.log().iter().any(|line| line.contains(&text(1, 200))) {
        assert!(Instant::now() < deadline, "no line of it in the log");
        crate::support::pause();
    }
}

#[test]
fn a_timeout_is_a_number_of_milliseconds() {
    leveret_only!("before 3.12 queues and consumers had no timeout");
    let mut peer = Peer::connect();
    let name = unique("patience");
    for (value, reason) in [
        (AMQPValue::LongLongInt(-1), "{value_negative,-1}"),
        (longstr("1h"), "\"expected integer, got longstr\""),
    ] {
        let declare = queue::Declare {
            arguments: table([("x-consumer-timeout", value.clone())]),
            ..durable_queue(&name)
        };
        let text = |queue: &str| {
            format!(
                "PRECONDITION_FAILED - invalid arg 'x-consumer-timeout' for queue '{queue}' in vhost '/': {reason}"
            )
        };
        peer.send(1, declare);
        peer.expect_channel_close::<queue::Declare>(1, 406, &text(&name));
        peer.open_channel(1);
        let queue = peer.fresh_queue(1, "patience");
        let consume = basic::Consume {
            arguments: table([("x-consumer-timeout", value)]),
            ..consume_from(&queue, "tag")
        };
        peer.send(1, consume);
        peer.expect_channel_close::<basic::Consume>(1, 406, &text(&queue));
        peer.open_channel(1);
    }
    peer.close();
}
