//! Delivery limits: how often a message may fail, who counts what, and what clients are told of it.

use crate::leveret_only;
use crate::support::table::{field, text};
use crate::support::{
    AMQPProperties, AMQPValue, Broker, FieldTable, Got, PATIENCE, Peer, durable_queue,
    foreign_broker, longstr, queue, table, tx,
};
use std::time::Instant;

/// What a delivery says of its acquired count and its delivery count.
fn counts(got: &Got) -> (Option<i64>, Option<i64>) {
    let headers = got.properties.headers().clone().unwrap_or_default();
    let count = |name| match headers.inner().get(name) {
        None => None,
        Some(AMQPValue::LongLongInt(count)) => Some(*count),
        Some(other) => panic!("{name} is {other:?}"),
    };
    (count("x-acquired-count"), count("x-delivery-count"))
}

/// Before 4.0 RabbitMQ told the delivery count only, and told it from the first delivery on.
#[track_caller]
fn assert_counts(got: &Got, acquired: i64, delivered: i64) {
    let told = |count| (count > 0).then_some(count);
    let (their_acquired, their_delivered) = counts(got);
    assert_eq!(got.method.redelivered, acquired > 0);
    assert_eq!(their_delivered.unwrap_or_default(), delivered);
    if !foreign_broker() {
        assert_eq!(their_delivered, told(delivered));
        assert_eq!(their_acquired, told(acquired));
    }
}

/// The types of queue whose limits are tested: all of ours, RabbitMQ's quorum queues.
fn queue_types() -> &'static [&'static str] {
    match foreign_broker() {
        true => &["quorum"],
        false => &["quorum", "classic"],
    }
}

/// A durable queue of a type with further arguments. The test deletes it.
fn declare<const N: usize>(
    peer: &mut Peer,
    queue_type: &str,
    more: [(&'static str, AMQPValue); N],
) -> String {
    let own = [("x-queue-type", longstr(queue_type))];
    peer.durable_queue_with("limited", own.into_iter().chain(more))
}

fn limit(deliveries: i64) -> (&'static str, AMQPValue) {
    ("x-delivery-limit", AMQPValue::LongLongInt(deliveries))
}

#[test]
fn a_message_that_fails_once_more_than_it_may_is_dead_lettered_with_its_reason() {
    for queue_type in queue_types() {
        let mut peer = Peer::connect();
        let dead = peer.fresh_queue(1, "dead");
        let more = [
            limit(2),
            ("x-dead-letter-exchange", longstr("")),
            ("x-dead-letter-routing-key", longstr(&dead)),
        ];
        let queue = declare(&mut peer, queue_type, more);
        peer.fill(&queue, &["poison"]);
        for failed in 0..3 {
            let got = peer.await_message(1, &queue, false);
            assert_counts(&got, failed, failed);
            peer.reject(1, got.method.delivery_tag, true);
        }
        let got = peer.await_message(1, &dead, false);
        assert_eq!(got.body, b"poison");
        assert!(!got.method.redelivered);
        let headers = got.properties.headers().clone().expect("headers");
        assert_eq!(text(&headers, "x-first-death-reason"), "delivery_limit");
        let AMQPValue::FieldArray(deaths) = field(&headers, "x-death") else {
            panic!("x-death is no array");
        };
        let [AMQPValue::FieldTable(death)] = deaths.as_slice() else {
            panic!("not one death");
        };
        assert_eq!(text(death, "reason"), "delivery_limit");
        assert_eq!(text(death, "queue"), queue);
        assert_eq!(field(death, "count"), &AMQPValue::LongLongInt(1));
        assert_eq!(counts(&got), (None, None), "counted anew in another queue");
        assert_eq!(peer.delete_queue(1, &queue), 0);
        peer.close();
    }
}

#[test]
fn without_a_dead_letter_exchange_it_is_dropped() {
    for queue_type in queue_types() {
        let mut peer = Peer::connect();
        let queue = declare(&mut peer, queue_type, [limit(0)]);
        peer.fill(&queue, &["poison", "other"]);
        let got = peer.await_message(1, &queue, false);
        peer.reject(1, got.method.delivery_tag, true);
        let got = peer.await_message(1, &queue, false);
        assert_eq!(got.body, b"other");
        peer.ack(1, got.method.delivery_tag, false);
        peer.expect_nothing(1);
        assert_eq!(peer.delete_queue(1, &queue), 0);
        peer.close();
    }
}

#[test]
fn nack_and_recover_bring_a_message_back_without_counting_a_failure() {
    leveret_only!("before 4.3 every return counted");
    for queue_type in queue_types() {
        let mut peer = Peer::connect();
        let queue = declare(&mut peer, queue_type, [limit(1)]);
        peer.fill(&queue, &["a"]);
        for acquired in 0..6 {
            let got = peer.await_message(1, &queue, false);
            assert_counts(&got, acquired, 0);
            match acquired % 2 {
                0 => peer.nack(1, got.method.delivery_tag, false, true),
                _ => {
                    let recover = crate::support::basic::Recover { requeue: true };
                    peer.call::<_, crate::support::basic::RecoverOk>(1, recover);
                }
            }
        }
        let got = peer.await_message(1, &queue, false);
        peer.reject(1, got.method.delivery_tag, true);
        assert_counts(&peer.await_message(1, &queue, false), 7, 1);
        assert_eq!(peer.delete_queue(1, &queue), 0);
        peer.close();
    }
}

#[test]
fn the_end_of_a_channel_or_connection_is_a_failure() {
    for queue_type in queue_types() {
        let mut peer = Peer::connect();
        let queue = declare(&mut peer, queue_type, [limit(2)]);
        peer.fill(&queue, &["a"]);
        peer.await_message(1, &queue, false);
        peer.close_channel(1);
        peer.open_channel(1);
        let mut other = Peer::connect();
        assert_counts(&other.await_message(1, &queue, false), 1, 1);
        other.cut();
        let mut other = Peer::connect();
        assert_counts(&other.await_message(1, &queue, false), 2, 2);
        other.close();
        let deadline = Instant::now() + PATIENCE;
        while peer.counts(1, &queue).0 > 0 {
            assert!(Instant::now() < deadline, "the message is still there");
        }
        assert!(peer.get(1, &queue, true).is_none());
        peer.delete_queue(1, &queue);
        peer.close();
    }
}

#[test]
fn a_consumer_is_told_the_counts_too() {
    for queue_type in queue_types() {
        let mut peer = Peer::connect();
        let queue = declare(&mut peer, queue_type, []);
        let mine = table([("mine", longstr("kept")), ("x-other", longstr("kept"))]);
        let properties = AMQPProperties::default()
            .with_headers(mine)
            .with_delivery_mode(2);
        peer.publish_with(1, "", &queue, properties, b"a");
        peer.consume(1, &queue, "tag");
        let first = peer.expect_delivery(1);
        peer.reject(1, first.tag(), true);
        let second = peer.expect_delivery(1);
        assert!(second.method.redelivered);
        let headers = second.properties.headers().clone().expect("headers");
        assert_eq!(text(&headers, "mine"), "kept");
        assert_eq!(text(&headers, "x-other"), "kept");
        assert_eq!(
            field(&headers, "x-delivery-count"),
            &AMQPValue::LongLongInt(1)
        );
        peer.ack(1, second.tag(), false);
        peer.delete_queue(1, &queue);
        peer.close();
    }
}

#[test]
fn a_quorum_queue_lets_a_message_fail_20_times_and_a_classic_one_for_ever() {
    leveret_only!("the default came with 4.0");
    let mut peer = Peer::connect();
    let quorum = declare(&mut peer, "quorum", []);
    let classic = declare(&mut peer, "classic", []);
    let unlimited = declare(&mut peer, "quorum", [limit(-1)]);
    for queue in [&quorum, &classic, &unlimited] {
        peer.fill(queue, &["a"]);
        for failed in 0..21 {
            let got = peer.await_message(1, queue, false);
            assert_counts(&got, failed, failed);
            peer.reject(1, got.method.delivery_tag, true);
        }
    }
    peer.expect_nothing(1);
    assert_eq!(peer.delete_queue(1, &quorum), 0);
    assert_eq!(peer.delete_queue(1, &classic), 1);
    assert_eq!(peer.delete_queue(1, &unlimited), 1);
    peer.close();
}

#[test]
fn a_transaction_counts_what_it_brings_back_when_it_commits() {
    leveret_only!("before 4.3 every return counted");
    let mut peer = Peer::connect();
    let queue = declare(&mut peer, "classic", [limit(1)]);
    peer.fill(&queue, &["a"]);
    peer.call::<_, tx::SelectOk>(1, tx::Select {});
    let got = peer.await_message(1, &queue, false);
    peer.nack(1, got.method.delivery_tag, false, true);
    peer.call::<_, tx::CommitOk>(1, tx::Commit {});
    let got = peer.await_message(1, &queue, false);
    assert_counts(&got, 1, 0);
    peer.reject(1, got.method.delivery_tag, true);
    peer.call::<_, tx::CommitOk>(1, tx::Commit {});
    let got = peer.await_message(1, &queue, false);
    assert_counts(&got, 2, 1);
    peer.reject(1, got.method.delivery_tag, true);
    peer.call::<_, tx::CommitOk>(1, tx::Commit {});
    assert_eq!(peer.delete_queue(1, &queue), 0);
    peer.close();
}

#[test]
fn counts_survive_the_end_of_the_broker() {
    leveret_only!("it is not ours to end");
    let mut broker = Broker::start();
    let mut peer = Peer::connect_to(&broker);
    let dead = declare(&mut peer, "classic", []);
    let more = [
        limit(2),
        ("x-dead-letter-exchange", longstr("")),
        ("x-dead-letter-routing-key", longstr(&dead)),
    ];
    let queue = declare(&mut peer, "quorum", more);
    peer.confirm_select(1);
    let persistent = AMQPProperties::default().with_delivery_mode(2);
    peer.publish_with(1, "", &queue, persistent, b"a");
    peer.expect_confirms_to(1, 1);
    for failed in 0..3 {
        let got = peer.await_message(1, &queue, false);
        assert_counts(&got, failed, failed);
        peer.reject(1, got.method.delivery_tag, true);
        peer.close();
        broker.restart();
        peer = Peer::connect_to(&broker);
    }
    let got = peer.await_message(1, &dead, false);
    let headers = got.properties.headers().clone().expect("headers");
    assert_eq!(text(&headers, "x-last-death-reason"), "delivery_limit");
    peer.ack(1, got.method.delivery_tag, false);
    assert_eq!(peer.counts(1, &queue).0, 0);
    peer.close();
}

#[test]
fn a_message_that_is_requeued_for_ever_does_not_keep_the_others_from_their_consumer() {
    leveret_only!("there it does");
    const OTHERS: usize = 50;
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "storm");
    let mut bodies = vec!["poison"];
    bodies.resize(OTHERS + 1, "other");
    peer.fill(&queue, &bodies);
    peer.qos(1, 1, false);
    peer.consume(1, &queue, "tag");
    let (mut deliveries, mut consumed) = (0, 0);
    while consumed < OTHERS {
        let delivery = peer.expect_delivery(1);
        deliveries += 1;
        match delivery.text() {
            "poison" => peer.nack(1, delivery.tag(), false, true),
            _ => {
                consumed += 1;
                peer.ack(1, delivery.tag(), false);
            }
        }
    }
    assert!(deliveries <= 20 + 2 * OTHERS + 1, "{deliveries}");
    peer.close();
}

#[test]
fn a_limit_of_another_type_counts_as_none() {
    leveret_only!("classic queues have no limit there");
    let mut peer = Peer::connect();
    let queue = declare(&mut peer, "quorum", [("x-delivery-limit", longstr("few"))]);
    let again = queue::Declare {
        arguments: FieldTable::default(),
        ..durable_queue(&queue)
    };
    peer.send(1, again);
    let text = format!(
        "PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue '{queue}' in vhost '/': received 'classic' but \
         current is 'quorum'"
    );
    peer.expect_channel_close::<queue::Declare>(1, 406, &text);
    peer.open_channel(1);
    peer.delete_queue(1, &queue);
    peer.close();
}
