//! `x-single-active-consumer`: one consumer at a time gets the messages
//! (<https://www.rabbitmq.com/docs/consumers#single-active-consumer>).

use crate::leveret_only;
use crate::support::operations::consume_from;
use crate::support::{
    AMQPValue, FieldTable, Peer, basic, durable_queue, longstr, queue, table, unique,
};

fn single_active() -> FieldTable {
    table([("x-single-active-consumer", AMQPValue::Boolean(true))])
}

fn with_priority(queue: &str, tag: &str, priority: i32) -> basic::Consume {
    basic::Consume {
        arguments: table([("x-priority", AMQPValue::LongInt(priority))]),
        ..consume_from(queue, tag)
    }
}

/// A queue that other connections can use too.
fn shared_queue(peer: &mut Peer) -> String {
    let name = unique("single-active");
    peer.declare(
        1,
        queue::Declare {
            arguments: single_active(),
            ..durable_queue(&name)
        },
    );
    name
}

/// The consumer that the next delivery is for, and its body.
#[track_caller]
fn next(peer: &mut Peer, channel: u16) -> (String, String) {
    let delivery = peer.expect_delivery(channel);
    (delivery.consumer().to_owned(), delivery.text().to_owned())
}

fn pair(tag: &str, body: &str) -> (String, String) {
    (tag.to_owned(), body.to_owned())
}

#[test]
fn the_first_consumer_gets_everything_while_the_others_wait() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue_with(1, "single-active", single_active());
    peer.qos(1, 2, false);
    for tag in ["first", "second"] {
        peer.consume(1, &queue, tag);
    }
    peer.fill(&queue, &["1", "2", "3"]);
    assert_eq!(next(&mut peer, 1), pair("first", "1"));
    assert_eq!(next(&mut peer, 1), pair("first", "2"));
    peer.expect_nothing(1);
    assert_eq!(peer.counts(1, &queue), (1, 2));
    peer.ack(1, 1, false);
    assert_eq!(next(&mut peer, 1), pair("first", "3"));
    peer.close();
}

#[test]
fn the_one_that_came_next_takes_over_from_one_that_is_cancelled() {
    leveret_only!("RabbitMQ 3.10 looks for the next one when something else happens to the queue");
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue_with(1, "single-active", single_active());
    peer.qos(1, 1, false);
    for tag in ["first", "second", "third"] {
        peer.consume(1, &queue, tag);
    }
    peer.fill(&queue, &["1", "2", "3"]);
    assert_eq!(next(&mut peer, 1), pair("first", "1"));
    peer.cancel(1, "first");
    // It need not wait for what the first one still has.
    assert_eq!(next(&mut peer, 1), pair("second", "2"));
    peer.cancel(1, "third");
    peer.cancel(1, "second");
    peer.consume(1, &queue, "fourth");
    assert_eq!(next(&mut peer, 1), pair("fourth", "3"));
    peer.close();
}

#[test]
fn a_consumer_that_only_waited_leaves_no_trace() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue_with(1, "single-active", single_active());
    for tag in ["first", "second", "third"] {
        peer.consume_no_ack(1, &queue, tag);
    }
    peer.cancel(1, "second");
    peer.cancel(1, "first");
    peer.fill(&queue, &["1"]);
    assert_eq!(next(&mut peer, 1), pair("third", "1"));
    peer.close();
}

#[test]
fn what_a_closed_channel_had_goes_to_its_successor_first() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue_with(1, "single-active", single_active());
    peer.open_channel(2);
    peer.consume(1, &queue, "first");
    peer.consume(2, &queue, "second");
    peer.fill(&queue, &["1", "2", "3"]);
    peer.expect_deliveries(1, &["1", "2", "3"]);
    peer.fill(&queue, &["4"]);
    peer.expect_deliveries(1, &["4"]);
    peer.ack(1, 1, false);
    peer.close_channel(1);
    let redelivered: Vec<_> = peer.expect_deliveries(2, &["2", "3", "4"]);
    assert!(redelivered.iter().all(|it| it.method.redelivered));
    peer.fill(&queue, &["5"]);
    peer.expect_deliveries(2, &["5"]);
    peer.close();
}

#[test]
fn what_a_lost_connection_had_goes_to_its_successor_first() {
    let mut first = Peer::connect();
    let queue = shared_queue(&mut first);
    let mut second = Peer::connect();
    first.qos(1, 2, false);
    first.consume(1, &queue, "first");
    second.consume(1, &queue, "second");
    second.fill(&queue, &["1", "2", "3"]);
    first.expect_deliveries(1, &["1", "2"]);
    second.expect_nothing(1);
    first.cut();
    second.expect_deliveries(1, &["1", "2", "3"]);
    second.delete_queue(1, &queue);
}

#[test]
fn the_highest_priority_among_those_that_wait_takes_over() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue_with(1, "single-active", single_active());
    peer.consume_with(1, with_priority(&queue, "active", 9));
    for (tag, priority) in [("low", -1), ("high", 7), ("also", 7), ("none", 0)] {
        peer.consume_with(1, with_priority(&queue, tag, priority));
    }
    peer.fill(&queue, &["1"]);
    for tag in ["active", "high", "also", "none", "low"] {
        let delivery = peer.expect_delivery(1);
        assert_eq!(delivery.consumer(), tag);
        peer.cancel(1, tag);
        peer.reject(1, delivery.tag(), true);
    }
    peer.close();
}

#[test]
fn a_higher_priority_takes_over_at_once_from_a_consumer_that_has_nothing() {
    leveret_only!("classic queues of RabbitMQ wait for the active consumer to end");
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue_with(1, "single-active", single_active());
    peer.consume(1, &queue, "first");
    peer.fill(&queue, &["1"]);
    assert_eq!(next(&mut peer, 1), pair("first", "1"));
    peer.ack(1, 1, false);
    peer.round_trip();
    peer.consume_with(1, with_priority(&queue, "high", 1));
    peer.fill(&queue, &["2"]);
    assert_eq!(next(&mut peer, 1), pair("high", "2"));
    peer.cancel(1, "high");
    peer.fill(&queue, &["3"]);
    assert_eq!(next(&mut peer, 1), pair("first", "3"));
    peer.close();
}

#[test]
fn a_higher_priority_takes_over_when_everything_is_answered() {
    leveret_only!("classic queues of RabbitMQ wait for the active consumer to end");
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue_with(1, "single-active", single_active());
    peer.consume(1, &queue, "first");
    peer.fill(&queue, &["1", "2"]);
    peer.expect_deliveries(1, &["1", "2"]);
    peer.consume_with(1, with_priority(&queue, "high", 1));
    peer.fill(&queue, &["3"]);
    peer.expect_nothing(1);
    peer.ack(1, 1, false);
    peer.expect_nothing(1);
    // One that comes back belongs to the next one too.
    peer.reject(1, 2, true);
    assert_eq!(next(&mut peer, 1), pair("high", "2"));
    assert_eq!(next(&mut peer, 1), pair("high", "3"));
    peer.close();
}

#[test]
fn the_active_consumer_goes_on_when_the_higher_priority_thinks_better_of_it() {
    leveret_only!("classic queues of RabbitMQ wait for the active consumer to end");
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue_with(1, "single-active", single_active());
    peer.consume(1, &queue, "first");
    peer.fill(&queue, &["1"]);
    assert_eq!(next(&mut peer, 1), pair("first", "1"));
    peer.consume_with(1, with_priority(&queue, "high", 1));
    peer.fill(&queue, &["2"]);
    peer.expect_nothing(1);
    peer.cancel(1, "high");
    assert_eq!(next(&mut peer, 1), pair("first", "2"));
    peer.close();
}

#[test]
fn an_exclusive_consumer_is_403() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue_with(1, "single-active", single_active());
    let exclusive = basic::Consume {
        exclusive: true,
        ..consume_from(&queue, "c")
    };
    peer.send(1, exclusive);
    let text = format!("ACCESS_REFUSED - queue '{queue}' in vhost '/' in exclusive use");
    peer.expect_channel_close::<basic::Consume>(1, 403, &text);
    peer.close();
}

#[test]
fn single_messages_can_be_taken_from_a_classic_queue() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue_with(1, "single-active", single_active());
    peer.qos(1, 1, false);
    peer.consume(1, &queue, "c");
    peer.fill(&queue, &["1", "2"]);
    peer.expect_deliveries(1, &["1"]);
    assert_eq!(peer.get(1, &queue, true).expect("the second").body, b"2");
    peer.close();
}

#[test]
fn single_messages_cannot_be_taken_from_a_quorum_queue() {
    leveret_only!("the text is that of RabbitMQ 4");
    let mut peer = Peer::connect();
    let queue = unique("single-active");
    peer.declare(
        1,
        queue::Declare {
            arguments: table([
                ("x-queue-type", longstr("quorum")),
                ("x-single-active-consumer", AMQPValue::Boolean(true)),
            ]),
            ..durable_queue(&queue)
        },
    );
    let get = basic::Get {
        queue: queue.as_str().into(),
        no_ack: true,
    };
    peer.send(1, get);
    let text = format!(
        "RESOURCE_LOCKED - cannot obtain access to locked queue '{queue}' in vhost '/'. basic.get operations are not \
         supported by <<\"quorum\">> queues with single active consumer"
    );
    peer.expect_channel_close::<basic::Get>(1, 405, &text);
    peer.open_channel(1);
    peer.delete_queue(1, &queue);
    peer.close();
}

#[test]
fn an_auto_delete_queue_goes_with_the_last_of_them() {
    let mut peer = Peer::connect();
    let queue = unique("single-active");
    peer.declare(
        1,
        queue::Declare {
            queue: queue.as_str().into(),
            auto_delete: true,
            arguments: single_active(),
            ..queue::Declare::default()
        },
    );
    peer.consume(1, &queue, "first");
    peer.consume(1, &queue, "second");
    peer.cancel(1, "first");
    assert_eq!(peer.counts(1, &queue), (0, 1));
    peer.cancel(1, "second");
    let passive = queue::Declare {
        queue: queue.as_str().into(),
        passive: true,
        ..queue::Declare::default()
    };
    peer.round_trip();
    peer.send(1, passive);
    let text = format!("NOT_FOUND - no queue '{queue}' in vhost '/'");
    peer.expect_channel_close::<queue::Declare>(1, 404, &text);
    peer.close();
}

#[test]
fn the_argument_has_to_be_a_boolean() {
    let mut peer = Peer::connect();
    let name = unique("single-active");
    peer.send(
        1,
        queue::Declare {
            arguments: table([("x-single-active-consumer", longstr("true"))]),
            ..durable_queue(&name)
        },
    );
    let text = format!(
        "PRECONDITION_FAILED - invalid arg 'x-single-active-consumer' for queue '{name}' in vhost '/': \
         {{unacceptable_type,longstr}}"
    );
    peer.expect_channel_close::<queue::Declare>(1, 406, &text);
    peer.close();
}

#[test]
fn the_order_holds_over_many_lost_consumers_while_others_publish() {
    const ROUNDS: usize = 20;
    let mut publisher = Peer::connect();
    let queue = shared_queue(&mut publisher);
    let mut consumers: Vec<Peer> = (0..ROUNDS)
        .map(|_| {
            let mut peer = Peer::connect();
            peer.consume(1, &queue, "c");
            peer
        })
        .collect();
    let (mut published, mut settled) = (0, 0);
    for mut active in consumers.drain(..) {
        // Published while the last one's connection is being given up.
        for _ in 0..10 {
            publisher.publish(1, "", &queue, &published.to_string());
            published += 1;
        }
        for (expected, tag) in (settled..published).zip(1..) {
            let delivery = active.expect_delivery(1);
            assert_eq!(delivery.text(), expected.to_string());
            assert_eq!(delivery.tag(), tag);
        }
        active.ack(1, 7, true);
        active.round_trip();
        settled += 7;
        active.cut();
    }
    publisher.delete_queue(1, &queue);
    publisher.close();
}
