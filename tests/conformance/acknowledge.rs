//! basic.ack, nack, reject, recover and get: what a tag means, where a message goes back to, and in which order.

use crate::leveret_only;
use crate::support::operations::consume_from;
use crate::support::{AMQPClass, Delivery, Method, PATIENCE, Peer, basic, unique};
use amq_protocol::frame::AMQPFrame;
use std::time::Instant;

/// A peer with a queue of its own that holds these messages.
fn peer_with(word: &str, bodies: &[&str]) -> (Peer, String) {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, word);
    peer.fill(&queue, bodies);
    (peer, queue)
}

/// Takes what the queue holds with basic.get and checks that all of it is flagged as told.
#[track_caller]
fn drain_flagged(peer: &mut Peer, queue: &str, redelivered: bool) -> Vec<String> {
    let mut bodies = Vec::new();
    while let Some(got) = peer.get(1, queue, true) {
        let body = String::from_utf8(got.body).expect("text");
        assert_eq!(got.method.redelivered, redelivered, "{body}");
        bodies.push(body);
    }
    bodies
}

#[track_caller]
fn expect_unknown_tag<M: Method>(peer: &mut Peer, tag: u64) {
    let text = format!("PRECONDITION_FAILED - unknown delivery tag {tag}");
    peer.expect_channel_close::<M>(1, 406, &text);
}

/// The deliveries and the recover-ok that follow basic.recover, in whatever order the two come.
#[track_caller]
fn expect_recovered(peer: &mut Peer, channel: u16, count: usize) -> Vec<(bool, String)> {
    let mut recovered = Vec::new();
    let mut ok = false;
    while !ok || recovered.len() < count {
        match peer.next_method(channel, "basic.recover-ok or basic.deliver") {
            AMQPClass::Basic(basic::AMQPMethod::RecoverOk(_)) => ok = true,
            AMQPClass::Basic(basic::AMQPMethod::Deliver(deliver)) => {
                peer.next_frame(channel, "the header");
                let AMQPFrame::Body(_, body) = peer.next_frame(channel, "the body") else {
                    panic!("no body");
                };
                let body = String::from_utf8(body).expect("text");
                recovered.push((deliver.redelivered, body));
            }
            other => panic!("expected basic.recover-ok or basic.deliver, got {other:?}"),
        }
    }
    recovered
}

/// Polls until the queue holds `ready` messages: RabbitMQ takes back what a dead channel had in its own time.
#[track_caller]
fn wait_for_ready(peer: &mut Peer, queue: &str, ready: u32) {
    let deadline = Instant::now() + PATIENCE;
    while peer.counts(1, queue).0 != ready {
        assert!(
            Instant::now() < deadline,
            "not {ready} but {:?}",
            peer.counts(1, queue)
        );
    }
}

#[test]
fn get_answers_what_remains_and_empty_when_nothing_does() {
    let (mut peer, queue) = peer_with("get", &["a", "b"]);
    let got = peer.get(1, &queue, true).expect("a message");
    assert_eq!(got.method.delivery_tag, 1);
    assert!(!got.method.redelivered);
    assert_eq!(got.method.exchange.as_str(), "");
    assert_eq!(got.method.routing_key.as_str(), queue);
    assert_eq!(got.method.message_count, 1);
    assert_eq!(got.body, b"a");
    let got = peer.get(1, &queue, true).expect("a message");
    assert_eq!((got.method.delivery_tag, got.method.message_count), (2, 0));
    assert!(peer.get(1, &queue, true).is_none());
    peer.close();
}

#[test]
fn get_names_the_exchange_and_the_key_of_the_publish() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "get");
    peer.bind(1, &queue, "amq.topic", "conformance.get.#");
    peer.publish(1, "amq.topic", "conformance.get.it", "a");
    let got = peer.get(1, &queue, true).expect("a message");
    assert_eq!(got.method.exchange.as_str(), "amq.topic");
    assert_eq!(got.method.routing_key.as_str(), "conformance.get.it");
    peer.close();
}

#[test]
fn get_from_a_missing_queue_closes_the_channel() {
    let mut peer = Peer::connect();
    let name = unique("missing");
    let get = basic::Get {
        queue: name.as_str().into(),
        no_ack: true,
    };
    peer.send(1, get);
    let text = format!("NOT_FOUND - no queue '{name}' in vhost '/'");
    peer.expect_channel_close::<basic::Get>(1, 404, &text);
    peer.close();
}

#[test]
fn get_without_ack_is_settled_at_once() {
    let (mut peer, queue) = peer_with("get", &["a"]);
    peer.get(1, &queue, true).expect("a message");
    peer.ack(1, 1, false);
    expect_unknown_tag::<basic::Ack>(&mut peer, 1);
    peer.close();
}

#[test]
fn what_is_unacknowledged_is_not_ready() {
    let (mut peer, queue) = peer_with("unacked", &["a", "b"]);
    peer.get(1, &queue, false).expect("a message");
    assert_eq!(peer.counts(1, &queue).0, 1);
    assert_eq!(peer.purge(1, &queue), 1, "a purge takes what is ready");
    peer.reject(1, 1, true);
    assert_eq!(drain_flagged(&mut peer, &queue, true), ["a"]);
    peer.close();
}

#[test]
fn an_ack_settles_its_own_message_only() {
    let (mut peer, queue) = peer_with("ack", &["a", "b", "c"]);
    peer.consume(1, &queue, "c");
    peer.expect_deliveries(1, &["a", "b", "c"]);
    peer.ack(1, 2, false);
    peer.cancel(1, "c");
    peer.nack(1, 0, true, true);
    assert_eq!(drain_flagged(&mut peer, &queue, true), ["a", "c"]);
    peer.close();
}

#[test]
fn a_multiple_ack_settles_everything_up_to_its_tag() {
    let (mut peer, queue) = peer_with("ack", &["a", "b", "c", "d"]);
    peer.consume(1, &queue, "c");
    peer.expect_deliveries(1, &["a", "b", "c", "d"]);
    peer.ack(1, 1, false);
    peer.ack(1, 3, true);
    peer.cancel(1, "c");
    peer.nack(1, 0, true, true);
    assert_eq!(drain_flagged(&mut peer, &queue, true), ["d"]);
    peer.close();
}

#[test]
fn a_multiple_ack_of_tag_zero_settles_everything() {
    let (mut peer, queue) = peer_with("ack", &["a", "b", "c"]);
    peer.consume(1, &queue, "c");
    peer.expect_deliveries(1, &["a", "b", "c"]);
    peer.ack(1, 0, true);
    peer.cancel(1, "c");
    peer.nack(1, 0, true, true);
    assert_eq!(peer.counts(1, &queue), (0, 0));
    peer.close();
}

#[test]
fn tag_zero_with_multiple_is_fine_when_nothing_is_outstanding() {
    let mut peer = Peer::connect();
    peer.ack(1, 0, true);
    peer.nack(1, 0, true, true);
    peer.nack(1, 0, true, false);
    peer.expect_nothing(1);
    peer.close();
}

#[test]
fn tag_zero_without_multiple_is_unknown() {
    let (mut peer, queue) = peer_with("ack", &["a"]);
    peer.get(1, &queue, false).expect("a message");
    peer.ack(1, 0, false);
    expect_unknown_tag::<basic::Ack>(&mut peer, 0);
    peer.open_channel(1);
    peer.get(1, &queue, false).expect("a message");
    peer.nack(1, 0, false, true);
    expect_unknown_tag::<basic::Nack>(&mut peer, 0);
    peer.open_channel(1);
    peer.get(1, &queue, false).expect("a message");
    peer.reject(1, 0, true);
    expect_unknown_tag::<basic::Reject>(&mut peer, 0);
    peer.close();
}

#[test]
fn an_unknown_tag_closes_the_channel() {
    let mut peer = Peer::connect();
    peer.ack(1, 82, false);
    expect_unknown_tag::<basic::Ack>(&mut peer, 82);
    peer.open_channel(1);
    peer.ack(1, 82, true);
    expect_unknown_tag::<basic::Ack>(&mut peer, 82);
    peer.open_channel(1);
    peer.nack(1, 82, false, true);
    expect_unknown_tag::<basic::Nack>(&mut peer, 82);
    peer.open_channel(1);
    peer.nack(1, 82, true, false);
    expect_unknown_tag::<basic::Nack>(&mut peer, 82);
    peer.open_channel(1);
    peer.reject(1, 82, false);
    expect_unknown_tag::<basic::Reject>(&mut peer, 82);
    peer.open_channel(1);
    peer.ack(1, u64::MAX, false);
    expect_unknown_tag::<basic::Ack>(&mut peer, u64::MAX);
    peer.close();
}

#[test]
fn a_second_ack_of_a_tag_is_unknown() {
    let (mut peer, queue) = peer_with("ack", &["a", "b"]);
    peer.get(1, &queue, false).expect("a message");
    peer.get(1, &queue, false).expect("a message");
    peer.ack(1, 1, false);
    peer.ack(1, 1, false);
    expect_unknown_tag::<basic::Ack>(&mut peer, 1);
    peer.open_channel(1);
    wait_for_ready(&mut peer, &queue, 1);
    peer.close();
}

#[test]
fn a_multiple_ack_of_a_settled_tag_is_unknown() {
    let (mut peer, queue) = peer_with("ack", &["a", "b"]);
    peer.get(1, &queue, false).expect("a message");
    peer.get(1, &queue, false).expect("a message");
    peer.ack(1, 2, true);
    peer.ack(1, 1, true);
    expect_unknown_tag::<basic::Ack>(&mut peer, 1);
    peer.close();
}

#[test]
fn delivery_tags_count_per_channel() {
    let (mut peer, queue) = peer_with("tags", &["a", "b", "c"]);
    peer.open_channel(2);
    assert_eq!(
        peer.get(1, &queue, false).expect("a").method.delivery_tag,
        1
    );
    assert_eq!(
        peer.get(2, &queue, false).expect("b").method.delivery_tag,
        1
    );
    assert_eq!(
        peer.get(2, &queue, false).expect("c").method.delivery_tag,
        2
    );
    peer.ack(1, 2, false);
    expect_unknown_tag::<basic::Ack>(&mut peer, 2);
    peer.close();
}

#[test]
fn a_rejected_message_without_requeue_is_gone() {
    let (mut peer, queue) = peer_with("reject", &["a", "b", "c", "d"]);
    for _ in 0..4 {
        peer.get(1, &queue, false).expect("a message");
    }
    peer.reject(1, 1, false);
    peer.nack(1, 3, true, false);
    peer.nack(1, 0, true, true);
    assert_eq!(drain_flagged(&mut peer, &queue, true), ["d"]);
    peer.close();
}

#[test]
fn a_requeued_message_goes_back_to_its_place_and_is_flagged() {
    let (mut peer, queue) = peer_with("requeue", &["a", "b", "c", "d"]);
    peer.get(1, &queue, false).expect("a message");
    peer.get(1, &queue, false).expect("a message");
    peer.reject(1, 2, true);
    let got = peer.get(1, &queue, false).expect("a message");
    assert_eq!(
        (got.body.as_slice(), got.method.redelivered),
        (&b"b"[..], true)
    );
    peer.nack(1, 1, false, true);
    let got = peer.get(1, &queue, true).expect("a message");
    assert_eq!(
        (got.body.as_slice(), got.method.redelivered),
        (&b"a"[..], true)
    );
    let got = peer.get(1, &queue, true).expect("a message");
    assert_eq!(
        (got.body.as_slice(), got.method.redelivered),
        (&b"c"[..], false)
    );
    peer.close();
}

#[test]
fn requeued_messages_keep_their_order_whatever_order_they_are_refused_in() {
    let (mut peer, queue) = peer_with("requeue", &["a", "b", "c", "d", "e"]);
    for _ in 0..5 {
        peer.get(1, &queue, false).expect("a message");
    }
    for tag in [3, 1, 5, 2, 4] {
        peer.reject(1, tag, true);
    }
    assert_eq!(
        drain_flagged(&mut peer, &queue, true),
        ["a", "b", "c", "d", "e"]
    );
    peer.close();
}

#[test]
fn a_requeued_message_overtakes_what_was_published_later() {
    let (mut peer, queue) = peer_with("requeue", &["a", "b"]);
    peer.get(1, &queue, false).expect("a message");
    peer.get(1, &queue, false).expect("a message");
    peer.fill(&queue, &["c"]);
    peer.nack(1, 2, true, true);
    assert_eq!(peer.drain(1, &queue), ["a", "b", "c"]);
    peer.close();
}

#[test]
fn a_requeued_message_is_delivered_again_with_a_new_tag() {
    let (mut peer, queue) = peer_with("requeue", &["a"]);
    peer.consume(1, &queue, "c");
    let delivery = peer.expect_delivery(1);
    assert_eq!((delivery.tag(), delivery.method.redelivered), (1, false));
    peer.reject(1, 1, true);
    let delivery = peer.expect_delivery(1);
    assert_eq!((delivery.tag(), delivery.method.redelivered), (2, true));
    assert_eq!(delivery.text(), "a");
    peer.ack(1, 2, false);
    peer.expect_nothing(1);
    peer.close();
}

#[test]
fn a_closed_channel_gives_back_everything_in_order() {
    let (mut peer, queue) = peer_with("close", &["a", "b", "c", "d"]);
    peer.open_channel(2);
    peer.consume(2, &queue, "c");
    peer.expect_deliveries(2, &["a", "b", "c", "d"]);
    peer.ack(2, 2, false);
    peer.close_channel(2);
    wait_for_ready(&mut peer, &queue, 3);
    assert_eq!(peer.counts(1, &queue).1, 0, "its consumer is gone with it");
    assert_eq!(drain_flagged(&mut peer, &queue, true), ["a", "c", "d"]);
    peer.close();
}

#[test]
fn a_channel_closed_by_an_exception_gives_back_everything_in_order() {
    let (mut peer, queue) = peer_with("close", &["a", "b", "c"]);
    peer.open_channel(2);
    peer.consume(2, &queue, "c");
    peer.expect_deliveries(2, &["a", "b", "c"]);
    peer.ack(2, 9, false);
    let text = "PRECONDITION_FAILED - unknown delivery tag 9";
    peer.expect_channel_close::<basic::Ack>(2, 406, text);
    wait_for_ready(&mut peer, &queue, 3);
    assert_eq!(drain_flagged(&mut peer, &queue, true), ["a", "b", "c"]);
    peer.close();
}

#[test]
fn an_ended_connection_gives_back_everything_in_order() {
    let mut watcher = Peer::connect();
    let queue = watcher.fresh_shared_queue(1, "end");
    watcher.fill(&queue, &["a", "b", "c", "d", "e"]);
    for polite in [true, false] {
        let mut peer = Peer::connect();
        peer.get(1, &queue, false).expect("a message");
        peer.open_channel(2);
        peer.qos(2, 2, false);
        peer.consume(2, &queue, "c");
        peer.expect_deliveries(2, &["b", "c"]);
        peer.get(1, &queue, false).expect("a message");
        match polite {
            true => peer.close(),
            false => peer.cut(),
        }
        wait_for_ready(&mut watcher, &queue, 5);
    }
    for (body, redelivered) in [
        ("a", true),
        ("b", true),
        ("c", true),
        ("d", true),
        ("e", false),
    ] {
        let got = watcher.get(1, &queue, true).expect("a message");
        assert_eq!(got.body, body.as_bytes());
        assert_eq!(got.method.redelivered, redelivered, "{body}");
    }
    watcher.delete_queue(1, &queue);
    watcher.close();
}

#[test]
fn what_a_channel_gives_back_goes_to_the_other_consumers() {
    let (mut peer, queue) = peer_with("close", &["a", "b"]);
    peer.open_channel(2);
    peer.consume(2, &queue, "first");
    peer.expect_deliveries(2, &["a", "b"]);
    peer.consume(1, &queue, "second");
    peer.close_channel(2);
    let deliveries = peer.expect_deliveries(1, &["a", "b"]);
    assert!(
        deliveries
            .iter()
            .all(|delivery| delivery.method.redelivered)
    );
    peer.close();
}

#[test]
fn recover_with_requeue_puts_back_everything_of_the_channel_in_order() {
    let (mut peer, queue) = peer_with("recover", &["a", "b", "c", "d"]);
    peer.open_channel(2);
    peer.get(2, &queue, false).expect("a message");
    for _ in 0..3 {
        peer.get(1, &queue, false).expect("a message");
    }
    peer.ack(1, 2, false);
    peer.call::<_, basic::RecoverOk>(1, basic::Recover { requeue: true });
    assert_eq!(drain_flagged(&mut peer, &queue, true), ["b", "d"]);
    peer.ack(1, 1, false);
    expect_unknown_tag::<basic::Ack>(&mut peer, 1);
    peer.close();
}

#[test]
fn recover_with_requeue_delivers_again() {
    let (mut peer, queue) = peer_with("recover", &["a", "b"]);
    peer.consume(1, &queue, "c");
    peer.expect_deliveries(1, &["a", "b"]);
    peer.send(1, basic::Recover { requeue: true });
    let recovered = expect_recovered(&mut peer, 1, 2);
    assert_eq!(recovered, [(true, "a".to_owned()), (true, "b".to_owned())]);
    peer.ack(1, 4, true);
    peer.expect_nothing(1);
    peer.close();
}

#[test]
fn recover_async_has_no_answer() {
    let (mut peer, queue) = peer_with("recover", &["a", "b"]);
    peer.consume(1, &queue, "c");
    peer.expect_deliveries(1, &["a", "b"]);
    peer.send(1, basic::RecoverAsync { requeue: true });
    let deliveries = peer.expect_deliveries(1, &["a", "b"]);
    assert_eq!(
        deliveries.iter().map(Delivery::tag).collect::<Vec<_>>(),
        [3, 4]
    );
    assert!(
        deliveries
            .iter()
            .all(|delivery| delivery.method.redelivered)
    );
    peer.expect_nothing(1);
    peer.close();
}

#[test]
fn recover_with_nothing_outstanding_is_answered() {
    let mut peer = Peer::connect();
    peer.call::<_, basic::RecoverOk>(1, basic::Recover { requeue: true });
    peer.expect_nothing(1);
    peer.close();
}

#[test]
fn recover_without_requeue_delivers_to_the_original_recipient() {
    leveret_only!("RabbitMQ answers 540 NOT_IMPLEMENTED - requeue=false");
    let (mut peer, queue) = peer_with("recover", &["a", "b", "c"]);
    peer.consume(1, &queue, "original");
    peer.expect_deliveries(1, &["a", "b", "c"]);
    peer.open_channel(2);
    let other = basic::Consume {
        no_ack: true,
        ..consume_from(&queue, "other")
    };
    peer.consume_with(2, other);
    peer.ack(1, 2, false);
    peer.send(1, basic::Recover { requeue: false });
    let recovered = expect_recovered(&mut peer, 1, 2);
    assert_eq!(recovered, [(true, "a".to_owned()), (true, "c".to_owned())]);
    peer.expect_nothing(2);
    // They are still to be acknowledged, once.
    peer.ack(1, 0, true);
    peer.close_channel(1);
    peer.expect_nothing(2);
    peer.close();
}

#[test]
fn recover_async_without_requeue_delivers_to_the_original_recipient() {
    leveret_only!("RabbitMQ answers 540 NOT_IMPLEMENTED - requeue=false");
    let (mut peer, queue) = peer_with("recover", &["a"]);
    peer.consume(1, &queue, "original");
    peer.expect_deliveries(1, &["a"]);
    peer.send(1, basic::RecoverAsync { requeue: false });
    let delivery = peer.expect_delivery(1);
    assert_eq!((delivery.text(), delivery.consumer()), ("a", "original"));
    assert!(delivery.method.redelivered);
    peer.ack(1, delivery.tag(), false);
    peer.expect_nothing(1);
    peer.close();
}
