//! Publisher confirms: every message of a confirming channel is answered once, in order.

use crate::support::content::publish_to;
use crate::support::operations::exchange_of;
use crate::support::{
    AMQPClass, AMQPProperties, AMQPValue, Peer, basic, confirm, durable_queue, exchange,
    foreign_broker, longstr, table, unique,
};

fn persistent() -> AMQPProperties {
    AMQPProperties::default().with_delivery_mode(2)
}

/// The answers to the messages 1 to `last`: for each whether it was acknowledged, in the order of the messages.
/// Leveret must answer in this order; RabbitMQ only answers each once.
#[track_caller]
fn answers_to(peer: &mut Peer, channel: u16, last: u64) -> Vec<bool> {
    let mut answers = vec![None; usize::try_from(last).expect("few messages")];
    while answers.contains(&None) {
        let (tag, multiple, acked) = match peer.next_method(channel, "basic.ack or basic.nack") {
            AMQPClass::Basic(basic::AMQPMethod::Ack(ack)) => (ack.delivery_tag, ack.multiple, true),
            AMQPClass::Basic(basic::AMQPMethod::Nack(nack)) => {
                (nack.delivery_tag, nack.multiple, false)
            }
            other => panic!("expected basic.ack or basic.nack, got {other:?}"),
        };
        let at = usize::try_from(tag).expect("few messages") - 1;
        let first_open = answers.iter().position(Option::is_none).expect("open");
        assert!(answers[at].is_none(), "{tag} is answered twice");
        assert!(
            multiple || at == first_open || foreign_broker(),
            "{tag} is answered out of order"
        );
        answers[at] = Some(acked);
        if multiple {
            let open = answers[..at].iter_mut().filter(|answer| answer.is_none());
            open.for_each(|answer| *answer = Some(acked));
        }
    }
    answers
        .into_iter()
        .map(|answer| answer == Some(true))
        .collect()
}

#[test]
fn confirms_count_from_one_after_select() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "confirms");
    peer.publish(1, "", &queue, "before");
    peer.confirm_select(1);
    peer.publish(1, "", &queue, "a");
    assert_eq!(peer.expect::<basic::Ack>(1).delivery_tag, 1);
    peer.publish(1, "", &queue, "b");
    assert_eq!(peer.expect::<basic::Ack>(1).delivery_tag, 2);
    peer.close();
}

#[test]
fn a_second_select_does_not_start_the_count_again() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "confirms");
    peer.confirm_select(1);
    peer.publish(1, "", &queue, "a");
    assert_eq!(peer.expect::<basic::Ack>(1).delivery_tag, 1);
    peer.confirm_select(1);
    peer.publish(1, "", &queue, "b");
    assert_eq!(peer.expect::<basic::Ack>(1).delivery_tag, 2);
    peer.close();
}

#[test]
fn select_with_no_wait_is_not_answered() {
    let mut peer = Peer::connect();
    peer.send(1, confirm::Select { nowait: true });
    peer.publish(1, "amq.fanout", "nobody", "a");
    assert_eq!(peer.expect::<basic::Ack>(1).delivery_tag, 1);
    peer.expect_nothing(1);
    peer.close();
}

#[test]
fn confirms_belong_to_their_channel() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "confirms");
    peer.open_channel(2);
    peer.confirm_select(1);
    peer.publish(2, "", &queue, "unconfirmed");
    peer.publish(1, "", &queue, "confirmed");
    assert_eq!(peer.expect::<basic::Ack>(1).delivery_tag, 1);
    peer.expect_nothing(2);
    peer.close();
}

#[test]
fn every_message_is_confirmed_in_order_and_many_at_once() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "confirms");
    peer.confirm_select(1);
    for number in 0..1000 {
        peer.publish(1, "", &queue, &number.to_string());
    }
    peer.expect_confirms_to(1, 1000);
    peer.expect_nothing(1);
    assert_eq!(peer.counts(1, &queue).0, 1000);
    peer.close();
}

#[test]
fn transient_and_persistent_messages_are_confirmed_in_order_together() {
    let mut peer = Peer::connect();
    let durable = unique("durable");
    peer.declare(1, durable_queue(&durable));
    let transient = peer.fresh_queue(1, "transient");
    peer.confirm_select(1);
    for number in 0..300 {
        let (queue, properties) = match number % 3 {
            0 => (&durable, persistent()),
            1 => (&transient, persistent()),
            _ => (&durable, AMQPProperties::default()),
        };
        peer.publish_with(1, "", queue, properties, b"x");
    }
    assert!(answers_to(&mut peer, 1, 300).iter().all(|acked| *acked));
    peer.expect_nothing(1);
    assert_eq!(peer.delete_queue(1, &durable), 200);
    peer.close();
}

#[test]
fn a_message_to_several_queues_is_confirmed_once() {
    let mut peer = Peer::connect();
    let exchange = peer.fresh_exchange(1, "fanout");
    let durable = unique("durable");
    peer.declare(1, durable_queue(&durable));
    peer.bind(1, &durable, &exchange, "");
    for _ in 0..3 {
        let queue = peer.fresh_queue(1, "transient");
        peer.bind(1, &queue, &exchange, "");
    }
    peer.confirm_select(1);
    peer.publish_with(1, &exchange, "", persistent(), b"x");
    assert_eq!(peer.expect::<basic::Ack>(1).delivery_tag, 1);
    peer.expect_nothing(1);
    peer.delete_queue(1, &durable);
    peer.close();
}

#[test]
fn an_unroutable_message_is_confirmed() {
    let mut peer = Peer::connect();
    peer.confirm_select(1);
    peer.publish_with(1, "amq.direct", "nobody-listens", persistent(), b"x");
    let ack = peer.expect::<basic::Ack>(1);
    assert_eq!(ack.delivery_tag, 1);
    peer.close();
}

#[test]
fn a_message_is_in_its_queue_when_it_is_confirmed() {
    let mut peer = Peer::connect();
    let mut other = Peer::connect();
    let queue = peer.fresh_shared_queue(1, "confirmed");
    peer.confirm_select(1);
    for count in 1..=20 {
        peer.publish_with(1, "", &queue, persistent(), b"x");
        peer.expect::<basic::Ack>(1);
        assert_eq!(other.counts(1, &queue).0, count);
    }
    peer.delete_queue(1, &queue);
    peer.close();
    other.close();
}

#[test]
fn a_message_consumed_before_it_was_confirmed_is_confirmed() {
    let mut peer = Peer::connect();
    let queue = unique("consumed");
    peer.declare(1, durable_queue(&queue));
    peer.consume_no_ack(1, &queue, "c");
    peer.open_channel(2);
    peer.confirm_select(2);
    for _ in 0..50 {
        peer.publish_with(2, "", &queue, persistent(), b"x");
    }
    assert!(answers_to(&mut peer, 2, 50).iter().all(|acked| *acked));
    for _ in 0..50 {
        peer.expect_delivery(1);
    }
    peer.delete_queue(2, &queue);
    peer.close();
}

#[test]
fn a_message_whose_queue_is_deleted_or_purged_is_confirmed() {
    let mut peer = Peer::connect();
    let queue = unique("deleted");
    peer.declare(1, durable_queue(&queue));
    peer.open_channel(2);
    peer.confirm_select(2);
    for _ in 0..50 {
        peer.publish_with(2, "", &queue, persistent(), b"x");
    }
    peer.purge(1, &queue);
    for _ in 0..50 {
        peer.publish_with(2, "", &queue, persistent(), b"x");
    }
    peer.delete_queue(1, &queue);
    assert!(answers_to(&mut peer, 2, 100).iter().all(|acked| *acked));
    peer.close();
}

#[test]
fn a_full_queue_that_rejects_answers_with_nack() {
    let mut peer = Peer::connect();
    let arguments = table([
        ("x-max-length", AMQPValue::LongInt(2)),
        ("x-overflow", longstr("reject-publish")),
    ]);
    let queue = peer.fresh_queue_with(1, "full", arguments);
    peer.confirm_select(1);
    for body in ["a", "b", "c", "d"] {
        peer.publish(1, "", &queue, body);
    }
    assert_eq!(answers_to(&mut peer, 1, 4), [true, true, false, false]);
    assert_eq!(peer.drain(1, &queue), ["a", "b"]);
    peer.publish(1, "", &queue, "e");
    let ack = peer.expect::<basic::Ack>(1);
    assert_eq!(ack.delivery_tag, 5, "there is room again");
    peer.close();
}

#[test]
fn a_message_that_would_exceed_the_bytes_of_a_queue_is_rejected() {
    let mut peer = Peer::connect();
    let arguments = table([
        ("x-max-length-bytes", AMQPValue::LongInt(10)),
        ("x-overflow", longstr("reject-publish")),
    ]);
    let queue = peer.fresh_queue_with(1, "full", arguments);
    peer.confirm_select(1);
    for body in ["aaaaaa", "bbbbb", "cccc", "", "d"] {
        peer.publish(1, "", &queue, body);
    }
    assert_eq!(
        answers_to(&mut peer, 1, 5),
        [true, false, true, true, false]
    );
    assert_eq!(peer.drain(1, &queue), ["aaaaaa", "cccc", ""]);
    peer.close();
}

#[test]
fn one_full_queue_of_several_is_enough_for_a_nack() {
    let mut peer = Peer::connect();
    let exchange = peer.fresh_exchange(1, "fanout");
    let arguments = table([
        ("x-max-length", AMQPValue::LongInt(1)),
        ("x-overflow", longstr("reject-publish")),
    ]);
    let full = peer.fresh_queue_with(1, "full", arguments);
    let open = peer.fresh_queue(1, "open");
    peer.bind(1, &full, &exchange, "");
    peer.bind(1, &open, &exchange, "");
    peer.confirm_select(1);
    peer.publish(1, &exchange, "", "a");
    peer.publish(1, &exchange, "", "b");
    assert_eq!(answers_to(&mut peer, 1, 2), [true, false]);
    assert_eq!(peer.drain(1, &full), ["a"]);
    assert_eq!(peer.drain(1, &open), ["a", "b"], "the others keep it");
    peer.close();
}

#[test]
fn a_full_queue_that_drops_its_head_answers_with_ack() {
    let mut peer = Peer::connect();
    let arguments = table([("x-max-length", AMQPValue::LongInt(2))]);
    let queue = peer.fresh_queue_with(1, "full", arguments);
    peer.confirm_select(1);
    for body in ["a", "b", "c", "d"] {
        peer.publish_with(1, "", &queue, persistent(), body.as_bytes());
    }
    assert!(answers_to(&mut peer, 1, 4).iter().all(|acked| *acked));
    assert_eq!(peer.drain(1, &queue), ["c", "d"]);
    peer.close();
}

#[test]
fn without_confirms_a_rejected_message_is_dropped_silently() {
    let mut peer = Peer::connect();
    let arguments = table([
        ("x-max-length", AMQPValue::LongInt(1)),
        ("x-overflow", longstr("reject-publish")),
    ]);
    let queue = peer.fresh_queue_with(1, "full", arguments);
    let mandatory = basic::Publish {
        mandatory: true,
        ..publish_to("", &queue)
    };
    peer.publish(1, "", &queue, "a");
    peer.send_publish(1, mandatory, AMQPProperties::default(), b"b");
    assert_eq!(peer.drain(1, &queue), ["a"]);
    peer.expect_nothing(1);
    peer.close();
}

#[test]
fn an_exception_closes_the_channel_after_what_was_confirmed() {
    let mut peer = Peer::connect();
    peer.confirm_select(1);
    let missing = unique("missing");
    peer.publish(1, "amq.fanout", "", "a");
    peer.expect_confirms_to(1, 1);
    peer.publish(1, &missing, "", "b");
    let text = format!("NOT_FOUND - no exchange '{missing}' in vhost '/'");
    peer.expect_channel_close::<basic::Publish>(1, 404, &text);
    // The new channel of this number is not in confirm mode.
    peer.open_channel(1);
    peer.publish(1, "amq.fanout", "", "c");
    peer.expect_nothing(1);
    peer.close();
}

#[test]
fn an_alternate_exchange_takes_what_is_unroutable_and_nothing_is_returned() {
    let mut peer = Peer::connect();
    let alternate = peer.fresh_exchange(1, "fanout");
    let queue = peer.fresh_queue(1, "alternate");
    peer.bind(1, &queue, &alternate, "");
    let name = unique("with-alternate");
    let declare = exchange::Declare {
        arguments: table([("alternate-exchange", longstr(&alternate))]),
        ..exchange_of("direct", &name)
    };
    peer.call::<_, exchange::DeclareOk>(1, declare);
    peer.confirm_select(1);
    let mandatory = basic::Publish {
        mandatory: true,
        ..publish_to(&name, "nobody-listens")
    };
    peer.send_publish(1, mandatory, AMQPProperties::default(), b"kept");
    assert_eq!(peer.expect::<basic::Ack>(1).delivery_tag, 1);
    assert_eq!(peer.drain(1, &queue), ["kept"]);
    peer.delete_exchange(1, &name);
    peer.close();
}
