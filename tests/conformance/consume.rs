//! basic.consume, cancel and qos: who gets which message, and how many of them unacknowledged.

use crate::leveret_only;
use crate::support::operations::{consume_from, exclusive_queue};
use crate::support::{
    AMQPClass, AMQPValue, FieldTable, Login, PATIENCE, Peer, basic, channel, durable_queue,
    longstr, queue, table, unique,
};
use std::time::Instant;

fn with_priority(queue: &str, tag: &str, priority: i32) -> basic::Consume {
    basic::Consume {
        arguments: table([("x-priority", AMQPValue::LongInt(priority))]),
        ..consume_from(queue, tag)
    }
}

fn exclusive(queue: &str, tag: &str) -> basic::Consume {
    basic::Consume {
        exclusive: true,
        ..consume_from(queue, tag)
    }
}

/// The consumers that the next `count` deliveries on the channel are for, in order.
#[track_caller]
fn consumers(peer: &mut Peer, channel: u16, count: usize) -> Vec<String> {
    let deliveries = (0..count).map(|_| peer.expect_delivery(channel).consumer().to_owned());
    deliveries.collect()
}

/// Fills a queue with messages numbered from 1.
fn fill_with(peer: &mut Peer, queue: &str, count: usize) {
    let bodies: Vec<String> = (1..=count).map(|number| number.to_string()).collect();
    let bodies: Vec<&str> = bodies.iter().map(String::as_str).collect();
    peer.fill(queue, &bodies);
}

/// Polls until the queue is gone: RabbitMQ deletes an auto-delete queue in its own time.
#[track_caller]
fn wait_until_gone(peer: &mut Peer, queue: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        peer.open_channel(1990);
        peer.send(
            1990,
            queue::Declare {
                passive: true,
                ..durable_queue(queue)
            },
        );
        match peer.next_method(1990, "queue.declare-ok or channel.close") {
            AMQPClass::Channel(_) => {
                peer.send(1990, channel::CloseOk {});
                return;
            }
            _ => peer.close_channel(1990),
        }
        assert!(Instant::now() < deadline, "{queue} is still there");
    }
}

#[test]
fn a_delivery_names_everything_about_the_message() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "deliver");
    peer.bind(1, &queue, "amq.topic", "conformance.deliver.*");
    assert_eq!(
        peer.consume_with(1, consume_from(&queue, "the-tag")),
        "the-tag"
    );
    peer.publish(1, "amq.topic", "conformance.deliver.it", "body");
    let delivery = peer.expect_delivery(1);
    assert_eq!(delivery.consumer(), "the-tag");
    assert_eq!(delivery.tag(), 1);
    assert!(!delivery.method.redelivered);
    assert_eq!(delivery.method.exchange.as_str(), "amq.topic");
    assert_eq!(
        delivery.method.routing_key.as_str(),
        "conformance.deliver.it"
    );
    assert_eq!(delivery.text(), "body");
    peer.close();
}

#[test]
fn consume_is_answered_before_the_first_delivery() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "consume");
    fill_with(&mut peer, &queue, 3);
    peer.consume(1, &queue, "c");
    peer.expect_deliveries(1, &["1", "2", "3"]);
    peer.close();
}

#[test]
fn consume_with_no_wait_is_not_answered() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "consume");
    fill_with(&mut peer, &queue, 1);
    let consume = basic::Consume {
        nowait: true,
        ..consume_from(&queue, "c")
    };
    peer.send(1, consume);
    assert_eq!(peer.expect_delivery(1).consumer(), "c");
    peer.close();
}

#[test]
fn the_server_names_a_consumer_without_a_tag() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "consume");
    let first = peer.consume_with(1, consume_from(&queue, ""));
    let second = peer.consume_with(1, consume_from(&queue, ""));
    assert!(first.starts_with("amq.ctag-"), "{first}");
    assert_ne!(first, second);
    assert_eq!(peer.counts(1, &queue).1, 2);
    peer.close();
}

#[test]
fn a_tag_names_one_consumer_of_a_channel() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "consume");
    peer.consume(1, &queue, "same");
    peer.open_channel(2);
    peer.consume(2, &queue, "same");
    peer.send(1, consume_from(&queue, "same"));
    let text = "NOT_ALLOWED - attempt to reuse consumer tag 'same'";
    peer.expect_connection_close::<basic::Consume>(530, text);
}

#[test]
fn a_cancelled_tag_can_be_used_again() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "consume");
    peer.consume(1, &queue, "same");
    peer.cancel(1, "same");
    peer.consume(1, &queue, "same");
    peer.publish(1, "", &queue, "body");
    assert_eq!(peer.expect_delivery(1).consumer(), "same");
    peer.close();
}

#[test]
fn consuming_from_a_missing_queue_closes_the_channel() {
    let mut peer = Peer::connect();
    let name = unique("missing");
    peer.send(1, consume_from(&name, "c"));
    let text = format!("NOT_FOUND - no queue '{name}' in vhost '/'");
    peer.expect_channel_close::<basic::Consume>(1, 404, &text);
    peer.close();
}

#[test]
fn no_queue_name_means_the_queue_declared_last() {
    let mut peer = Peer::connect();
    peer.send(1, consume_from("", "c"));
    let text = "NOT_FOUND - no previously declared queue";
    peer.expect_channel_close::<basic::Consume>(1, 404, text);
    peer.open_channel(1);
    peer.fresh_queue(1, "not-this");
    let queue = peer.fresh_queue(1, "this");
    peer.consume(1, "", "c");
    peer.publish(1, "", &queue, "body");
    assert_eq!(peer.expect_delivery(1).text(), "body");
    peer.close();
}

#[test]
fn a_queue_with_a_consumer_cannot_be_consumed_exclusively() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "exclusive");
    peer.consume(1, &queue, "first");
    peer.open_channel(2);
    peer.send(2, exclusive(&queue, "second"));
    let text = format!("ACCESS_REFUSED - queue '{queue}' in vhost '/' in exclusive use");
    peer.expect_channel_close::<basic::Consume>(2, 403, &text);
    peer.publish(1, "", &queue, "body");
    assert_eq!(peer.expect_delivery(1).consumer(), "first");
    peer.close();
}

#[test]
fn an_exclusive_consumer_is_the_only_one() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "exclusive");
    peer.consume_with(1, exclusive(&queue, "first"));
    let text = format!("ACCESS_REFUSED - queue '{queue}' in vhost '/' in exclusive use");
    for second in [consume_from(&queue, "second"), exclusive(&queue, "second")] {
        peer.open_channel(2);
        peer.send(2, second);
        peer.expect_channel_close::<basic::Consume>(2, 403, &text);
    }
    peer.cancel(1, "first");
    peer.consume(1, &queue, "now");
    peer.close();
}

#[test]
fn an_exclusive_consumer_gives_way_when_its_channel_ends() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "exclusive");
    peer.open_channel(2);
    peer.consume_with(2, exclusive(&queue, "first"));
    peer.close_channel(2);
    peer.consume_with(1, exclusive(&queue, "second"));
    peer.close();
}

#[test]
fn equals_take_turns() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "fair");
    for tag in ["a", "b", "c"] {
        peer.consume(1, &queue, tag);
    }
    peer.open_channel(2);
    for number in 0..9 {
        peer.publish(2, "", &queue, &number.to_string());
    }
    let mut consumers = Vec::new();
    for number in 0..9 {
        // A channel gets the messages of a queue in their order, whoever they are for.
        let delivery = peer.expect_delivery(1);
        assert_eq!(delivery.text(), number.to_string());
        consumers.push(delivery.consumer().to_owned());
    }
    for turn in consumers.chunks(3) {
        let mut turn = turn.to_vec();
        turn.sort();
        assert_eq!(turn, ["a", "b", "c"], "{consumers:?}");
    }
    peer.close();
}

#[test]
fn a_consumer_without_credit_loses_its_turn() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "fair");
    peer.qos(1, 1, false);
    peer.consume(1, &queue, "one");
    peer.qos(1, 3, false);
    peer.consume(1, &queue, "three");
    fill_with(&mut peer, &queue, 6);
    let mut tags = Vec::new();
    for _ in 0..4 {
        let delivery = peer.expect_delivery(1);
        tags.push((delivery.consumer().to_owned(), delivery.tag()));
    }
    peer.expect_nothing(1);
    let of = |tag: &str| tags.iter().filter(|(consumer, _)| consumer == tag).count();
    assert_eq!((of("one"), of("three")), (1, 3));
    let (_, tag) = tags
        .iter()
        .find(|(consumer, _)| consumer == "one")
        .expect("one");
    peer.ack(1, *tag, false);
    let delivery = peer.expect_delivery(1);
    assert_eq!((delivery.consumer(), delivery.text()), ("one", "5"));
    peer.expect_nothing(1);
    peer.close();
}

#[test]
fn consumers_of_several_connections_share_a_queue() {
    let mut first = Peer::connect();
    let mut second = Peer::connect();
    let queue = first.fresh_shared_queue(1, "shared");
    for peer in [&mut first, &mut second] {
        peer.qos(1, 2, false);
        peer.consume(1, &queue, "c");
    }
    let mut publisher = Peer::connect();
    fill_with(&mut publisher, &queue, 5);
    let mut bodies = Vec::new();
    for peer in [&mut first, &mut second] {
        bodies.push(peer.expect_delivery(1).text().to_owned());
        bodies.push(peer.expect_delivery(1).text().to_owned());
        peer.expect_nothing(1);
    }
    bodies.sort();
    assert_eq!(bodies, ["1", "2", "3", "4"]);
    assert_eq!(publisher.counts(1, &queue), (1, 2));
    publisher.delete_queue(1, &queue);
    first.close();
    second.close();
    publisher.close();
}

#[test]
fn the_highest_priority_takes_everything_until_its_credit_is_used_up() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "priority");
    peer.qos(1, 2, false);
    peer.consume_with(1, with_priority(&queue, "low", -5));
    peer.consume(1, &queue, "none");
    peer.consume_with(1, with_priority(&queue, "high", 10));
    peer.open_channel(2);
    fill_with(&mut peer, &queue, 5);
    let tags = consumers(&mut peer, 1, 5);
    assert_eq!(tags, ["high", "high", "none", "none", "low"]);
    fill_with(&mut peer, &queue, 3);
    assert_eq!(peer.expect_delivery(1).consumer(), "low");
    peer.expect_nothing(1);
    peer.ack(1, 3, false);
    assert_eq!(peer.expect_delivery(1).consumer(), "none");
    peer.ack(1, 1, false);
    assert_eq!(peer.expect_delivery(1).consumer(), "high");
    peer.close();
}

#[test]
fn a_consumer_priority_must_be_a_number() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "priority");
    let consume = basic::Consume {
        arguments: table([("x-priority", longstr("high"))]),
        ..consume_from(&queue, "c")
    };
    peer.send(1, consume);
    let text = format!(
        "PRECONDITION_FAILED - invalid arg 'x-priority' for queue '{queue}' in vhost '/': \
         \"expected integer, got longstr\""
    );
    peer.expect_channel_close::<basic::Consume>(1, 406, &text);
    peer.close();
}

#[test]
fn unknown_arguments_of_a_consumer_are_accepted() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "arguments");
    let consume = basic::Consume {
        arguments: table([("x-something", longstr("else")), ("other", AMQPValue::Void)]),
        ..consume_from(&queue, "c")
    };
    peer.consume_with(1, consume);
    peer.close();
}

#[test]
fn no_local_is_ignored() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "no-local");
    let consume = basic::Consume {
        no_local: true,
        ..consume_from(&queue, "c")
    };
    peer.consume_with(1, consume);
    peer.publish(1, "", &queue, "my own");
    assert_eq!(peer.expect_delivery(1).text(), "my own");
    peer.close();
}

#[test]
fn prefetch_limits_each_consumer_of_the_channel() {
    let mut peer = Peer::connect();
    let first = peer.fresh_queue(1, "qos");
    let second = peer.fresh_queue(1, "qos");
    fill_with(&mut peer, &first, 5);
    fill_with(&mut peer, &second, 5);
    peer.qos(1, 2, false);
    peer.consume(1, &first, "first");
    peer.expect_deliveries(1, &["1", "2"]);
    peer.expect_nothing(1);
    peer.consume(1, &second, "second");
    peer.expect_deliveries(1, &["1", "2"]);
    peer.expect_nothing(1);
    peer.ack(1, 2, true);
    let delivery = peer.expect_delivery(1);
    assert_eq!((delivery.consumer(), delivery.text()), ("first", "3"));
    let delivery = peer.expect_delivery(1);
    assert_eq!((delivery.consumer(), delivery.text()), ("first", "4"));
    peer.expect_nothing(1);
    peer.close();
}

#[test]
fn a_prefetch_is_for_consumers_that_come_after_it() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "qos");
    peer.qos(1, 2, false);
    peer.consume(1, &queue, "limited");
    peer.qos(1, 0, false);
    fill_with(&mut peer, &queue, 4);
    peer.expect_deliveries(1, &["1", "2"]);
    peer.expect_nothing(1);
    peer.consume(1, &queue, "unlimited");
    let deliveries = peer.expect_deliveries(1, &["3", "4"]);
    assert!(
        deliveries
            .iter()
            .all(|delivery| delivery.consumer() == "unlimited")
    );
    peer.close();
}

#[test]
fn a_refused_message_gives_its_credit_back() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "qos");
    fill_with(&mut peer, &queue, 4);
    peer.qos(1, 1, false);
    peer.consume(1, &queue, "c");
    peer.expect_deliveries(1, &["1"]);
    peer.reject(1, 1, false);
    peer.expect_deliveries(1, &["2"]);
    peer.nack(1, 2, false, true);
    assert!(peer.expect_deliveries(1, &["2"])[0].method.redelivered);
    peer.ack(1, 0, true);
    peer.expect_deliveries(1, &["3"]);
    peer.expect_nothing(1);
    peer.close();
}

#[test]
fn prefetch_does_not_count_what_needs_no_acknowledgement() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "qos");
    fill_with(&mut peer, &queue, 10);
    peer.qos(1, 1, false);
    peer.qos(1, 1, true);
    peer.consume_no_ack(1, &queue, "c");
    assert_eq!(consumers(&mut peer, 1, 10).len(), 10);
    peer.close();
}

#[test]
fn a_global_prefetch_limits_the_channel_as_a_whole() {
    let mut peer = Peer::connect();
    let first = peer.fresh_queue(1, "qos");
    let second = peer.fresh_queue(1, "qos");
    fill_with(&mut peer, &first, 2);
    fill_with(&mut peer, &second, 4);
    peer.qos(1, 3, true);
    peer.consume(1, &first, "first");
    peer.expect_deliveries(1, &["1", "2"]);
    peer.consume(1, &second, "second");
    peer.expect_deliveries(1, &["1"]);
    peer.expect_nothing(1);
    peer.ack(1, 1, false);
    let delivery = peer.expect_delivery(1);
    assert_eq!((delivery.consumer(), delivery.text()), ("second", "2"));
    peer.expect_nothing(1);
    // Another channel has a limit of its own.
    peer.open_channel(2);
    peer.consume(2, &second, "elsewhere");
    peer.expect_deliveries(2, &["3", "4"]);
    peer.close();
}

#[test]
fn both_prefetches_hold_at_once() {
    let mut peer = Peer::connect();
    let first = peer.fresh_queue(1, "qos");
    let second = peer.fresh_queue(1, "qos");
    fill_with(&mut peer, &first, 5);
    fill_with(&mut peer, &second, 5);
    peer.qos(1, 2, false);
    peer.qos(1, 3, true);
    peer.consume(1, &first, "first");
    peer.expect_deliveries(1, &["1", "2"]);
    peer.expect_nothing(1);
    peer.consume(1, &second, "second");
    peer.expect_deliveries(1, &["1"]);
    peer.expect_nothing(1);
    peer.ack(1, 3, false);
    // One place on the channel: the first consumer has its two already, so it goes to the second.
    let delivery = peer.expect_delivery(1);
    assert_eq!((delivery.consumer(), delivery.text()), ("second", "2"));
    peer.expect_nothing(1);
    peer.close();
}

#[test]
fn a_raised_global_prefetch_lets_more_through() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "qos");
    fill_with(&mut peer, &queue, 6);
    peer.qos(1, 1, true);
    peer.consume(1, &queue, "c");
    peer.expect_deliveries(1, &["1"]);
    peer.expect_nothing(1);
    peer.send(
        1,
        basic::Qos {
            prefetch_count: 3,
            global: true,
        },
    );
    expect_qos_ok_and(&mut peer, &["2", "3"]);
    peer.expect_nothing(1);
    peer.send(
        1,
        basic::Qos {
            prefetch_count: 0,
            global: true,
        },
    );
    expect_qos_ok_and(&mut peer, &["4", "5", "6"]);
    peer.close();
}

/// qos-ok and deliveries, the deliveries in order, the qos-ok anywhere among them.
#[track_caller]
fn expect_qos_ok_and(peer: &mut Peer, bodies: &[&str]) {
    let mut got = Vec::new();
    let mut ok = false;
    while !ok || got.len() < bodies.len() {
        match peer.next_method(1, "basic.qos-ok or basic.deliver") {
            AMQPClass::Basic(basic::AMQPMethod::QosOk(_)) => ok = true,
            AMQPClass::Basic(basic::AMQPMethod::Deliver(_)) => {
                peer.next_frame(1, "the header");
                match peer.next_frame(1, "the body") {
                    amq_protocol::frame::AMQPFrame::Body(_, body) => got.push(body),
                    other => panic!("expected a body, got {other:?}"),
                }
            }
            other => panic!("expected basic.qos-ok or basic.deliver, got {other:?}"),
        }
    }
    let bodies: Vec<Vec<u8>> = bodies.iter().map(|body| body.as_bytes().to_vec()).collect();
    assert_eq!(got, bodies);
}

#[test]
fn a_prefetch_in_bytes_is_not_implemented() {
    let mut peer = Peer::connect();
    // prefetch-size 10, prefetch-count 0, not global: amq-protocol can write no other size than 0.
    let qos = [0, 60, 0, 10, 0, 0, 0, 10, 0, 0, 0];
    peer.send_frame(1, 1, &qos, 0xCE);
    let text = "NOT_IMPLEMENTED - prefetch_size!=0 (10)";
    peer.expect_connection_close::<basic::Qos>(540, text);
}

#[test]
fn a_cancelled_consumer_gets_nothing_more_but_may_still_acknowledge() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "cancel");
    peer.consume(1, &queue, "c");
    fill_with(&mut peer, &queue, 2);
    peer.expect_deliveries(1, &["1", "2"]);
    peer.cancel(1, "c");
    fill_with(&mut peer, &queue, 1);
    peer.expect_nothing(1);
    assert_eq!(peer.counts(1, &queue), (1, 0));
    peer.ack(1, 1, false);
    peer.reject(1, 2, true);
    assert_eq!(peer.drain(1, &queue), ["2", "1"]);
    peer.close();
}

#[test]
fn cancelling_an_unknown_tag_succeeds() {
    let mut peer = Peer::connect();
    peer.cancel(1, "never-seen");
    peer.close();
}

#[test]
fn cancel_with_no_wait_is_not_answered() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "cancel");
    peer.consume(1, &queue, "c");
    let cancel = basic::Cancel {
        consumer_tag: "c".into(),
        nowait: true,
    };
    peer.send(1, cancel);
    assert_eq!(peer.counts(1, &queue).1, 0);
    peer.expect_nothing(1);
    peer.close();
}

#[test]
fn a_deleted_queue_tells_its_consumers() {
    let mut peer = Peer::connect();
    let mut other = Peer::connect();
    let queue = peer.fresh_shared_queue(1, "deleted");
    peer.consume(1, &queue, "here");
    other.consume(1, &queue, "there");
    let mut deleter = Peer::connect();
    deleter.delete_queue(1, &queue);
    for (peer, tag) in [(&mut peer, "here"), (&mut other, "there")] {
        let cancel = peer.expect::<basic::Cancel>(1);
        assert_eq!(cancel.consumer_tag.as_str(), tag);
        assert!(cancel.nowait, "no answer is wanted");
        // The tag is free again.
        let fresh = peer.fresh_queue(1, "fresh");
        peer.consume(1, &fresh, tag);
    }
    peer.close();
    other.close();
    deleter.close();
}

#[test]
fn a_client_may_answer_a_cancel_notification() {
    leveret_only!("RabbitMQ before 4 answers 503 COMMAND_INVALID - unimplemented method");
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "deleted");
    peer.consume(1, &queue, "c");
    peer.open_channel(2);
    peer.delete_queue(2, &queue);
    peer.expect::<basic::Cancel>(1);
    let answer = basic::CancelOk {
        consumer_tag: "c".into(),
    };
    peer.send(1, answer);
    peer.expect_nothing(1);
    peer.qos(1, 1, false);
    peer.close();
}

#[test]
fn a_client_without_the_capability_is_not_told_of_a_deleted_queue() {
    let mut peer = Peer::login(&Login {
        capabilities: &["basic.nack", "publisher_confirms"],
        ..Login::default()
    });
    peer.open_channel(1);
    let queue = peer.fresh_queue(1, "deleted");
    peer.consume(1, &queue, "c");
    peer.open_channel(2);
    peer.delete_queue(2, &queue);
    peer.expect_nothing(1);
    peer.close();
}

#[test]
fn what_a_deleted_queue_had_delivered_can_still_be_acknowledged() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "deleted");
    fill_with(&mut peer, &queue, 2);
    peer.consume(1, &queue, "c");
    peer.expect_deliveries(1, &["1", "2"]);
    peer.open_channel(2);
    assert_eq!(
        peer.delete_queue(2, &queue),
        0,
        "only ready messages are counted"
    );
    peer.expect::<basic::Cancel>(1);
    peer.ack(1, 1, false);
    peer.nack(1, 2, false, true);
    peer.expect_nothing(1);
    peer.close();
}

#[test]
fn an_exclusive_queue_of_another_connection_cannot_be_consumed() {
    let mut owner = Peer::connect();
    let mut other = Peer::connect();
    let name = unique("locked");
    owner.declare(1, exclusive_queue(&name));
    let text = format!(
        "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '{name}' in vhost '/'. \
         It could be originally declared on another connection or the exclusive property value \
         does not match that of the original declaration."
    );
    other.send(1, consume_from(&name, "c"));
    other.expect_channel_close::<basic::Consume>(1, 405, &text);
    other.open_channel(1);
    let get = basic::Get {
        queue: name.as_str().into(),
        no_ack: true,
    };
    other.send(1, get);
    other.expect_channel_close::<basic::Get>(1, 405, &text);
    owner.close();
    other.close();
}

fn auto_delete(name: &str) -> queue::Declare {
    queue::Declare {
        auto_delete: true,
        ..durable_queue(name)
    }
}

#[test]
fn an_auto_delete_queue_goes_with_its_last_consumer() {
    let mut peer = Peer::connect();
    let name = unique("auto-delete");
    peer.declare(1, auto_delete(&name));
    peer.consume(1, &name, "first");
    peer.consume(1, &name, "second");
    peer.cancel(1, "first");
    assert_eq!(peer.counts(1, &name).1, 1);
    peer.cancel(1, "second");
    wait_until_gone(&mut peer, &name);
    peer.close();
}

#[test]
fn an_auto_delete_queue_that_never_had_a_consumer_stays() {
    let mut peer = Peer::connect();
    let name = unique("auto-delete");
    peer.declare(1, auto_delete(&name));
    peer.fill(&name, &["a"]);
    peer.get(1, &name, true).expect("a message");
    peer.cancel(1, "nobody");
    let mut other = Peer::connect();
    other.counts(1, &name);
    other.close();
    peer.counts(1, &name);
    peer.delete_queue(1, &name);
    peer.close();
}

#[test]
fn an_auto_delete_queue_goes_when_the_channel_or_connection_of_its_last_consumer_ends() {
    let mut peer = Peer::connect();
    for way in ["channel", "connection", "cut"] {
        let name = unique("auto-delete");
        peer.declare(1, auto_delete(&name));
        let mut consumer = Peer::connect();
        consumer.consume(1, &name, "c");
        match way {
            "channel" => consumer.close_channel(1),
            "connection" => consumer.close(),
            _ => consumer.cut(),
        }
        wait_until_gone(&mut peer, &name);
    }
    peer.close();
}

#[test]
fn a_consumer_on_one_channel_gets_what_another_channel_publishes_and_both_live_on() {
    let mut peer = Peer::connect();
    peer.open_channel(2);
    peer.open_channel(3);
    let queue = peer.fresh_queue(1, "channels");
    peer.consume(2, &queue, "on-two");
    peer.consume(3, &queue, "on-three");
    for number in 0..10 {
        peer.publish(1, "", &queue, &number.to_string());
    }
    let two = consumers(&mut peer, 2, 5);
    let three = consumers(&mut peer, 3, 5);
    assert!(two.iter().all(|tag| tag == "on-two"));
    assert!(three.iter().all(|tag| tag == "on-three"));
    peer.close();
}

#[test]
fn an_empty_table_of_arguments_is_fine() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "arguments");
    let consume = basic::Consume {
        arguments: FieldTable::default(),
        ..consume_from(&queue, "c")
    };
    peer.consume_with(1, consume);
    peer.close();
}

#[test]
fn a_message_longer_than_the_prefetch_window_of_bytes_is_still_delivered_once() {
    leveret_only!("about Leveret's bounded outbox");
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "outbox");
    let body = "x".repeat(1 << 20);
    for _ in 0..12 {
        peer.publish(1, "", &queue, &body);
    }
    assert_eq!(peer.counts(1, &queue).0, 12);
    peer.consume_no_ack(1, &queue, "c");
    for _ in 0..12 {
        assert_eq!(peer.expect_delivery(1).body.len(), body.len());
    }
    peer.expect_nothing(1);
    peer.close();
}
