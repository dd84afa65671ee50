//! tx: what is published and acknowledged in a transaction happens at commit, all of it, or not at all.

use crate::support::content::publish_to;
use crate::support::{
    AMQPClass, AMQPProperties, AMQPValue, Method, Peer, basic, channel, confirm, foreign_broker,
    longstr, table, tx, unique,
};

/// A peer with a queue, and a transaction begun on channel 2; channel 1 looks from outside.
fn transaction(word: &str) -> (Peer, String) {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, word);
    peer.open_channel(2);
    select(&mut peer, 2);
    (peer, queue)
}

#[track_caller]
fn select(peer: &mut Peer, channel: u16) {
    peer.call::<_, tx::SelectOk>(channel, tx::Select {});
}

#[track_caller]
fn commit(peer: &mut Peer, channel: u16) {
    peer.call::<_, tx::CommitOk>(channel, tx::Commit {});
}

#[track_caller]
fn rollback(peer: &mut Peer, channel: u16) {
    peer.call::<_, tx::RollbackOk>(channel, tx::Rollback {});
}

#[track_caller]
fn refused<First: Method, M: Method>(first: Option<First>, method: M, why: &str) {
    let mut peer = Peer::connect();
    if let Some(first) = first {
        peer.send(1, first);
        peer.next_method(1, "the answer");
    }
    peer.send(1, method);
    peer.expect_channel_close::<M>(1, 406, &format!("PRECONDITION_FAILED - {why}"));
    peer.open_channel(1);
    peer.close();
}

#[test]
fn commit_and_rollback_need_a_transaction() {
    let why = "channel is not transactional";
    refused(None::<tx::Select>, tx::Commit {}, why);
    refused(None::<tx::Select>, tx::Rollback {}, why);
}

#[test]
fn a_confirming_channel_cannot_become_transactional_nor_the_other_way_round() {
    let confirm = || confirm::Select { nowait: false };
    let why = "cannot switch from confirm to tx mode";
    refused(Some(confirm()), tx::Select {}, why);
    let why = "cannot switch from tx to confirm mode";
    refused(Some(tx::Select {}), confirm(), why);
}

#[test]
fn select_may_be_repeated_and_keeps_the_transaction() {
    let (mut peer, queue) = transaction("tx");
    peer.publish(2, "", &queue, "a");
    select(&mut peer, 2);
    commit(&mut peer, 2);
    assert_eq!(peer.drain(1, &queue), ["a"]);
    peer.close();
}

#[test]
fn an_empty_transaction_can_be_committed_and_rolled_back() {
    let (mut peer, _) = transaction("tx");
    commit(&mut peer, 2);
    rollback(&mut peer, 2);
    commit(&mut peer, 2);
    peer.close();
}

#[test]
fn what_is_published_appears_at_commit() {
    let (mut peer, queue) = transaction("tx");
    peer.publish(2, "", &queue, "a");
    peer.publish(2, "", &queue, "b");
    peer.call::<_, channel::FlowOk>(2, channel::Flow { active: true });
    assert_eq!(peer.counts(1, &queue).0, 0);
    commit(&mut peer, 2);
    assert_eq!(peer.drain(1, &queue), ["a", "b"]);
    peer.close();
}

#[test]
fn a_commit_reaches_all_queues_at_once() {
    let (mut peer, first) = transaction("tx");
    let second = peer.fresh_queue(1, "tx");
    let properties = || AMQPProperties::default().with_delivery_mode(2);
    peer.publish_with(2, "", &first, properties(), b"a");
    peer.publish_with(2, "", &second, properties(), b"b");
    peer.publish_with(2, "", &first, properties(), b"c");
    assert_eq!(peer.counts(1, &first).0 + peer.counts(1, &second).0, 0);
    commit(&mut peer, 2);
    assert_eq!(
        (peer.counts(1, &first).0, peer.counts(1, &second).0),
        (2, 1)
    );
    assert_eq!(peer.drain(1, &first), ["a", "c"]);
    assert_eq!(peer.drain(1, &second), ["b"]);
    peer.close();
}

#[test]
fn what_is_published_and_rolled_back_never_appears() {
    let (mut peer, queue) = transaction("tx");
    peer.publish(2, "", &queue, "a");
    rollback(&mut peer, 2);
    peer.publish(2, "", &queue, "b");
    commit(&mut peer, 2);
    assert_eq!(peer.drain(1, &queue), ["b"]);
    peer.close();
}

#[test]
fn a_new_transaction_begins_after_each_commit() {
    let (mut peer, queue) = transaction("tx");
    peer.publish(2, "", &queue, "a");
    commit(&mut peer, 2);
    peer.publish(2, "", &queue, "b");
    rollback(&mut peer, 2);
    assert_eq!(peer.drain(1, &queue), ["a"]);
    peer.close();
}

#[test]
fn closing_the_channel_rolls_back() {
    let (mut peer, queue) = transaction("tx");
    peer.fill(&queue, &["taken"]);
    peer.get(2, &queue, false).expect("a message");
    peer.ack(2, 1, false);
    peer.publish(2, "", &queue, "a");
    peer.close_channel(2);
    let got = wait_for_message(&mut peer, &queue);
    assert_eq!(got, "taken");
    assert_eq!(peer.counts(1, &queue).0, 0);
    peer.close();
}

/// RabbitMQ gives back what a closed channel had in its own time: a consumer waits for it.
#[track_caller]
fn wait_for_message(peer: &mut Peer, queue: &str) -> String {
    peer.consume_no_ack(1, queue, "waiting");
    let delivery = peer.expect_delivery(1);
    assert!(delivery.method.redelivered);
    delivery.text().to_owned()
}

#[test]
fn acknowledgements_take_effect_at_commit() {
    let (mut peer, queue) = transaction("tx");
    peer.fill(&queue, &["a", "b", "c"]);
    for _ in 0..3 {
        peer.get(2, &queue, false).expect("a message");
    }
    peer.ack(2, 2, true);
    commit(&mut peer, 2);
    peer.close_channel(2);
    assert_eq!(wait_for_message(&mut peer, &queue), "c");
    peer.expect_nothing(1);
    peer.close();
}

#[test]
fn acknowledgements_that_are_rolled_back_can_be_given_again() {
    let (mut peer, queue) = transaction("tx");
    peer.fill(&queue, &["a", "b"]);
    for _ in 0..2 {
        peer.get(2, &queue, false).expect("a message");
    }
    peer.ack(2, 1, false);
    peer.nack(2, 2, false, false);
    rollback(&mut peer, 2);
    // Rolled back, they are not redelivered: they are outstanding again (AMQP 0-9-1, tx.rollback).
    assert_eq!(peer.counts(1, &queue).0, 0);
    peer.ack(2, 1, false);
    commit(&mut peer, 2);
    peer.close_channel(2);
    assert_eq!(wait_for_message(&mut peer, &queue), "b");
    peer.close();
}

#[test]
fn an_acknowledged_tag_is_unknown_within_its_transaction() {
    let (mut peer, queue) = transaction("tx");
    peer.fill(&queue, &["a"]);
    peer.get(2, &queue, false).expect("a message");
    peer.ack(2, 1, false);
    peer.ack(2, 1, false);
    let text = "PRECONDITION_FAILED - unknown delivery tag 1";
    peer.expect_channel_close::<basic::Ack>(2, 406, text);
    peer.close();
}

#[test]
fn refusals_take_effect_at_commit() {
    let (mut peer, queue) = transaction("tx");
    peer.fill(&queue, &["a", "b"]);
    for _ in 0..2 {
        peer.get(2, &queue, false).expect("a message");
    }
    peer.reject(2, 1, false);
    peer.reject(2, 2, true);
    assert_eq!(peer.counts(1, &queue).0, 0);
    commit(&mut peer, 2);
    assert_eq!(wait_for_message(&mut peer, &queue), "b");
    peer.expect_nothing(1);
    peer.close();
}

#[test]
fn a_message_is_moved_by_an_ack_and_a_publish_in_one_transaction() {
    let (mut peer, from) = transaction("tx-from");
    let to = peer.fresh_queue(1, "tx-to");
    peer.fill(&from, &["moved"]);
    peer.get(2, &from, false).expect("a message");
    peer.publish(2, "", &to, "moved");
    peer.ack(2, 1, false);
    assert_eq!(peer.counts(1, &to).0, 0);
    commit(&mut peer, 2);
    assert_eq!(peer.drain(1, &to), ["moved"]);
    peer.close_channel(2);
    assert_eq!(peer.counts(1, &from).0, 0);
    peer.close();
}

#[test]
fn credit_comes_back_at_commit() {
    let (mut peer, queue) = transaction("tx");
    peer.fill(&queue, &["a", "b"]);
    peer.qos(2, 1, false);
    peer.consume(2, &queue, "c");
    peer.expect_deliveries(2, &["a"]);
    peer.ack(2, 1, false);
    peer.expect_nothing(2);
    peer.send(2, tx::Commit {});
    // RabbitMQ may send the delivery before or after the answer.
    let mut delivered = false;
    let mut committed = false;
    while !(delivered && committed) {
        match peer.next_method(2, "tx.commit-ok and basic.deliver") {
            AMQPClass::Tx(tx::AMQPMethod::CommitOk(_)) => committed = true,
            AMQPClass::Basic(basic::AMQPMethod::Deliver(_)) => {
                peer.next_frame(2, "the header");
                peer.next_frame(2, "the body");
                delivered = true;
            }
            other => panic!("expected tx.commit-ok or basic.deliver, got {other:?}"),
        }
    }
    peer.close();
}

#[test]
fn an_unroutable_mandatory_message_is_returned_at_commit() {
    let (mut peer, _) = transaction("tx");
    let mandatory = basic::Publish {
        mandatory: true,
        ..publish_to("amq.direct", "nobody-listens")
    };
    peer.send_publish(2, mandatory, AMQPProperties::default(), b"back");
    peer.expect_nothing(2);
    peer.send(2, tx::Commit {});
    let returned = peer.expect_return(2);
    assert_eq!(
        (returned.method.reply_code, returned.body),
        (312, b"back".to_vec())
    );
    peer.expect::<tx::CommitOk>(2);
    peer.close();
}

#[test]
fn a_transactional_publish_to_a_missing_exchange_is_refused_before_the_commit() {
    let (mut peer, queue) = transaction("tx");
    let missing = unique("missing");
    peer.publish(2, "", &queue, "rolled back");
    peer.publish(2, &missing, "", "refused");
    let text = format!("NOT_FOUND - no exchange '{missing}' in vhost '/'");
    peer.expect_channel_close::<basic::Publish>(2, 404, &text);
    assert_eq!(peer.counts(1, &queue).0, 0);
    peer.close();
}

#[test]
fn a_commit_that_a_full_queue_rejects_fails() {
    let (mut peer, _) = transaction("tx");
    let arguments = table([
        ("x-max-length", AMQPValue::LongInt(1)),
        ("x-overflow", longstr("reject-publish")),
    ]);
    let full = peer.fresh_queue_with(1, "full", arguments);
    let open = peer.fresh_queue(1, "open");
    peer.publish(2, "", &full, "a");
    commit(&mut peer, 2);
    peer.publish(2, "", &open, "b");
    peer.publish(2, "", &full, "b");
    peer.send(2, tx::Commit {});
    let text = "PRECONDITION_FAILED - partial tx completion";
    peer.expect_channel_close::<tx::Commit>(2, 406, text);
    assert_eq!(peer.drain(1, &full), ["a"]);
    if !foreign_broker() {
        // All or nothing, where RabbitMQ completes in part.
        assert!(peer.drain(1, &open).is_empty());
    }
    peer.close();
}

#[test]
fn committed_messages_keep_their_order_among_those_of_the_channel() {
    let (mut peer, queue) = transaction("tx");
    peer.consume_no_ack(1, &queue, "c");
    let bodies: Vec<String> = (0..200).map(|number| number.to_string()).collect();
    for (number, body) in bodies.iter().enumerate() {
        peer.publish(2, "", &queue, body);
        if number % 30 == 29 {
            commit(&mut peer, 2);
        }
    }
    commit(&mut peer, 2);
    for body in &bodies {
        assert_eq!(peer.expect_delivery(1).text(), body);
    }
    peer.close();
}
