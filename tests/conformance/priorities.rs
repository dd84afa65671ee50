//! `x-max-priority`: what has the highest priority comes first (<https://www.rabbitmq.com/docs/priority>).

use std::collections::BTreeSet;

use crate::leveret_only;
use crate::support::operations::consume_from;
use crate::support::{
    AMQPProperties, AMQPValue, FieldTable, Peer, basic, durable_queue, longstr, queue, table, tx,
    unique,
};

fn up_to(highest: i32) -> FieldTable {
    table([("x-max-priority", AMQPValue::LongInt(highest))])
}

fn of(priority: u8) -> AMQPProperties {
    AMQPProperties::default().with_priority(priority)
}

/// Publishes bodies with their priorities to a queue, and returns when they are there.
fn fill(peer: &mut Peer, queue: &str, messages: &[(u8, &str)]) {
    const FILLING: u16 = 1_000;
    peer.open_channel(FILLING);
    peer.confirm_select(FILLING);
    for (priority, body) in messages {
        peer.publish_with(FILLING, "", queue, of(*priority), body.as_bytes());
    }
    peer.expect_confirms_to(FILLING, messages.len() as u64);
    peer.close_channel(FILLING);
}

#[test]
fn the_highest_priority_comes_first_and_equals_in_their_order() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue_with(1, "priorities", up_to(10));
    fill(
        &mut peer,
        &queue,
        &[(1, "a"), (5, "b"), (0, "c"), (5, "d"), (10, "e"), (1, "f")],
    );
    assert_eq!(peer.drain(1, &queue), ["e", "b", "d", "a", "f", "c"]);
    peer.close();
}

#[test]
fn no_priority_is_0_and_one_beyond_the_highest_is_the_highest() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue_with(1, "priorities", up_to(3));
    fill(&mut peer, &queue, &[(0, "zero"), (3, "three")]);
    peer.fill(&queue, &["none"]);
    fill(&mut peer, &queue, &[(255, "beyond"), (1, "one")]);
    let bodies = peer.drain(1, &queue);
    assert_eq!(bodies, ["three", "beyond", "one", "zero", "none"]);
    peer.close();
}

#[test]
fn a_message_keeps_the_priority_that_it_came_with() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue_with(1, "priorities", up_to(3));
    fill(&mut peer, &queue, &[(200, "beyond")]);
    let got = peer.get(1, &queue, true).expect("the message");
    assert_eq!(*got.properties.priority(), Some(200));
    peer.close();
}

#[test]
fn all_255_priorities_make_a_difference() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue_with(1, "priorities", up_to(255));
    let bodies: Vec<String> = (0..=255_u8).map(|priority| priority.to_string()).collect();
    let messages: Vec<_> = (0..=255).zip(bodies.iter().map(String::as_str)).collect();
    fill(&mut peer, &queue, &messages);
    assert_eq!(peer.counts(1, &queue), (256, 0));
    let falling: Vec<&String> = bodies.iter().rev().collect();
    assert_eq!(peer.drain(1, &queue).iter().collect::<Vec<_>>(), falling);
    peer.close();
}

#[test]
fn a_queue_without_the_argument_ignores_priorities() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "no-priorities");
    fill(&mut peer, &queue, &[(1, "a"), (9, "b"), (5, "c")]);
    assert_eq!(peer.drain(1, &queue), ["a", "b", "c"]);
    peer.close();
}

#[test]
fn what_comes_back_takes_its_place_among_its_priority() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue_with(1, "priorities", up_to(5));
    fill(&mut peer, &queue, &[(5, "a"), (5, "b"), (1, "c"), (1, "d")]);
    let tags: Vec<_> = (0..3)
        .map(|_| peer.get(1, &queue, false).expect("a message"))
        .map(|got| got.method.delivery_tag)
        .collect();
    fill(&mut peer, &queue, &[(3, "e"), (5, "f")]);
    // Whatever the order in which they come back.
    peer.reject(1, tags[2], true);
    peer.reject(1, tags[0], true);
    peer.reject(1, tags[1], true);
    peer.round_trip();
    assert_eq!(peer.drain(1, &queue), ["a", "b", "f", "e", "c", "d"]);
    peer.close();
}

#[test]
fn consumers_get_the_highest_priority_whenever_they_have_credit() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue_with(1, "priorities", up_to(5));
    fill(&mut peer, &queue, &[(1, "a"), (2, "b"), (2, "c")]);
    peer.qos(1, 1, false);
    peer.consume_with(1, consume_from(&queue, "c"));
    assert_eq!(peer.expect_delivery(1).text(), "b");
    fill(&mut peer, &queue, &[(5, "d")]);
    for (tag, next) in [(1, "d"), (2, "c"), (3, "a")] {
        peer.ack(1, tag, false);
        assert_eq!(peer.expect_delivery(1).text(), next);
    }
    peer.close();
}

#[test]
fn a_full_queue_drops_its_head_be_that_the_highest_priority() {
    let mut peer = Peer::connect();
    let arguments = table([
        ("x-max-priority", AMQPValue::LongInt(5)),
        ("x-max-length", AMQPValue::LongInt(2)),
    ]);
    let queue = peer.fresh_queue_with(1, "priorities", arguments);
    fill(&mut peer, &queue, &[(5, "a"), (1, "b"), (1, "c"), (0, "d")]);
    assert_eq!(peer.drain(1, &queue), ["c", "d"]);
    fill(&mut peer, &queue, &[(1, "e"), (1, "f"), (5, "g")]);
    assert_eq!(
        peer.drain(1, &queue),
        ["e", "f"],
        "the new one was the head"
    );
    peer.close();
}

#[test]
fn a_full_queue_that_refuses_publishes_counts_all_priorities() {
    let mut peer = Peer::connect();
    let arguments = table([
        ("x-max-priority", AMQPValue::LongInt(5)),
        ("x-max-length", AMQPValue::LongInt(2)),
        ("x-overflow", longstr("reject-publish")),
    ]);
    let queue = peer.fresh_queue_with(1, "priorities", arguments);
    fill(&mut peer, &queue, &[(5, "a"), (0, "b")]);
    for (priority, body) in [(5, "c"), (0, "d")] {
        peer.publish_with(1, "", &queue, of(priority), body.as_bytes());
    }
    assert_eq!(peer.drain(1, &queue), ["a", "b"]);
    peer.close();
}

#[test]
fn purge_and_delete_count_all_priorities() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue_with(1, "priorities", up_to(5));
    fill(&mut peer, &queue, &[(5, "a"), (0, "b"), (3, "c")]);
    let got = peer.get(1, &queue, false).expect("a message");
    assert_eq!(got.method.message_count, 2);
    assert_eq!(peer.purge(1, &queue), 2);
    peer.nack(1, got.method.delivery_tag, false, true);
    fill(&mut peer, &queue, &[(0, "d"), (4, "e")]);
    assert_eq!(peer.counts(1, &queue), (3, 0));
    assert_eq!(peer.delete_queue(1, &queue), 3);
    peer.close();
}

#[test]
fn every_priority_expires_in_its_time() {
    leveret_only!(
        "RabbitMQ keeps what has expired behind a message of higher priority that has not"
    );
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue_with(1, "priorities", up_to(5));
    fill(&mut peer, &queue, &[(5, "stays")]);
    let brief = of(1).with_expiration("1".into());
    peer.publish_with(1, "", &queue, brief, b"goes");
    let deadline = std::time::Instant::now() + crate::support::PATIENCE;
    while peer.counts(1, &queue) != (1, 0) {
        assert!(std::time::Instant::now() < deadline, "it did not expire");
    }
    assert_eq!(peer.drain(1, &queue), ["stays"]);
    peer.close();
}

#[test]
fn a_dead_letter_takes_its_priority_along() {
    let mut peer = Peer::connect();
    let target = peer.fresh_queue_with(1, "dead", up_to(5));
    let arguments = table([
        ("x-max-priority", AMQPValue::LongInt(5)),
        ("x-dead-letter-exchange", longstr("")),
        ("x-dead-letter-routing-key", longstr(&target)),
    ]);
    let source = peer.fresh_queue_with(1, "priorities", arguments);
    fill(&mut peer, &source, &[(1, "a"), (4, "b"), (2, "c")]);
    for _ in 0..3 {
        let got = peer.get(1, &source, false).expect("a message");
        peer.reject(1, got.method.delivery_tag, false);
    }
    let mut bodies = Vec::new();
    let deadline = std::time::Instant::now() + crate::support::PATIENCE;
    while bodies.len() < 3 {
        assert!(std::time::Instant::now() < deadline, "{bodies:?}");
        if peer.counts(1, &target).0 == 3 {
            bodies = peer.drain(1, &target);
        }
    }
    assert_eq!(bodies, ["b", "c", "a"]);
    peer.close();
}

#[test]
fn a_transaction_publishes_and_acknowledges_across_priorities() {
    let mut peer = Peer::connect();
    let queue = unique("priorities");
    peer.declare(
        1,
        queue::Declare {
            arguments: up_to(5),
            ..durable_queue(&queue)
        },
    );
    fill(&mut peer, &queue, &[(5, "a"), (2, "b"), (1, "c")]);
    peer.open_channel(2);
    peer.call::<_, tx::SelectOk>(2, tx::Select {});
    let got = peer.get(2, &queue, false).expect("a");
    peer.ack(2, got.method.delivery_tag, false);
    let got = peer.get(2, &queue, false).expect("b");
    peer.nack(2, got.method.delivery_tag, false, true);
    let persistent = |priority| of(priority).with_delivery_mode(2);
    peer.publish_with(2, "", &queue, persistent(1), b"d");
    peer.publish_with(2, "", &queue, persistent(3), b"e");
    assert_eq!(peer.counts(1, &queue), (1, 0));
    peer.call::<_, tx::CommitOk>(2, tx::Commit {});
    assert_eq!(peer.drain(1, &queue), ["e", "b", "c", "d"]);
    peer.delete_queue(1, &queue);
    peer.close();
}

#[test]
fn a_message_for_several_queues_is_ordered_in_each_by_its_own_rules() {
    let mut peer = Peer::connect();
    let exchange = peer.fresh_exchange(1, "fanout");
    let names = [("two", 2), ("nine", 9), ("none", 0)].map(|(word, highest)| {
        let name = unique(word);
        let arguments = match highest {
            0 => FieldTable::default(),
            highest => up_to(highest),
        };
        let declare = queue::Declare {
            arguments,
            ..durable_queue(&name)
        };
        peer.declare(1, declare);
        peer.bind(1, &name, &exchange, "");
        name
    });
    peer.open_channel(2);
    peer.confirm_select(2);
    for (priority, body) in [(1, "a"), (7, "b"), (0, "c"), (2, "d"), (9, "e")] {
        let persistent = of(priority).with_delivery_mode(2);
        peer.publish_with(2, &exchange, "", persistent, body.as_bytes());
    }
    // RabbitMQ confirms in another order when several queues have to take a message.
    let mut confirmed = BTreeSet::new();
    while confirmed.len() < 5 {
        let ack = peer.expect::<basic::Ack>(2);
        let first = if ack.multiple { 1 } else { ack.delivery_tag };
        confirmed.extend(first..=ack.delivery_tag);
    }
    let expected = [
        ["b", "d", "e", "a", "c"],
        ["e", "b", "d", "a", "c"],
        ["a", "b", "c", "d", "e"],
    ];
    for (name, expected) in names.iter().zip(expected) {
        assert_eq!(peer.drain(1, name), expected);
        peer.delete_queue(1, name);
    }
    peer.close();
}

#[test]
fn another_highest_priority_is_not_the_same_queue() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue_with(1, "priorities", up_to(5));
    let other = queue::Declare {
        arguments: up_to(6),
        ..crate::support::operations::exclusive_queue(&queue)
    };
    peer.send(1, other);
    let text = format!(
        "PRECONDITION_FAILED - inequivalent arg 'x-max-priority' for queue '{queue}' in vhost '/': received '6' but \
         current is '5'"
    );
    peer.expect_channel_close::<queue::Declare>(1, 406, &text);
    peer.close();
}

#[test]
fn quorum_queues_have_32_priorities_and_4_is_the_usual_one() {
    leveret_only!("quorum queues have priorities since RabbitMQ 4");
    let mut peer = Peer::connect();
    let queue = unique("quorum");
    peer.declare(
        1,
        queue::Declare {
            arguments: table([("x-queue-type", longstr("quorum"))]),
            ..durable_queue(&queue)
        },
    );
    fill(&mut peer, &queue, &[(3, "three"), (5, "five")]);
    peer.fill(&queue, &["none"]);
    fill(
        &mut peer,
        &queue,
        &[(4, "four"), (31, "most"), (32, "beyond")],
    );
    let bodies = peer.drain(1, &queue);
    assert_eq!(bodies, ["most", "beyond", "five", "none", "four", "three"]);
    peer.delete_queue(1, &queue);
    peer.close();
}
