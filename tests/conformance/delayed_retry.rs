//! Delayed retry: what comes back to a quorum queue waits before it is delivered again. The rules of time are tested in
//! virtual time beside the code.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::leveret_only;
use crate::support::http::Http;
use crate::support::table::{field, text};
use crate::support::{
    AMQPProperties, AMQPValue, Broker, Delivery, PATIENCE, Peer, durable_queue, longstr, pause,
    queue, table, unique,
};

const REASON: &str = "it came with RabbitMQ 4.3";

/// The delay of tests that wait for its end.
const SHORT: i64 = 200;

/// A delay counts from when the broker woke up to read, which may be a little before this test looks at the clock.
const TOLERANCE: Duration = Duration::from_millis(50);

/// Longer than any test.
const HOUR: i64 = 3_600_000;

fn long(number: i64) -> AMQPValue {
    AMQPValue::LongLongInt(number)
}

/// A quorum queue that delays what comes back of this kind. The test deletes it.
fn declare<const N: usize>(
    peer: &mut Peer,
    retry_type: &str,
    min: i64,
    more: [(&'static str, AMQPValue); N],
) -> String {
    let own = [
        ("x-queue-type", longstr("quorum")),
        ("x-delayed-retry-type", longstr(retry_type)),
        ("x-delayed-retry-min", long(min)),
        ("x-delayed-retry-max", long(HOUR)),
    ];
    peer.durable_queue_with("retried", own.into_iter().chain(more))
}

/// What the HTTP API says of a queue.
fn shown(peer: &Peer, queue: &str) -> Value {
    Http::guest(peer.broker()).get(&format!("/api/queues/%2F/{queue}"))
}

/// The next delivery, which is to be of this text.
#[track_caller]
fn expect(peer: &mut Peer, body: &str) -> Delivery {
    let delivery = peer.expect_delivery(1);
    assert_eq!(delivery.text(), body);
    delivery
}

#[test]
fn a_message_that_failed_comes_again_after_its_delay_and_others_come_meanwhile() {
    leveret_only!(REASON);
    let mut peer = Peer::connect();
    let queue = declare(&mut peer, "all", SHORT, []);
    peer.fill(&queue, &["poison", "other"]);
    peer.qos(1, 1, false);
    peer.consume(1, &queue, "c");
    let mut back = Instant::now();
    let first = expect(&mut peer, "poison");
    peer.reject(1, first.tag(), true);
    let other = expect(&mut peer, "other");
    peer.ack(1, other.tag(), false);
    for failed in 1..=2 {
        let again = expect(&mut peer, "poison");
        let delay = Duration::from_millis(SHORT as u64 * failed);
        assert!(back.elapsed() + TOLERANCE >= delay, "{:?}", back.elapsed());
        let headers = again.properties.headers().clone().expect("headers");
        let count = long(failed as i64);
        assert_eq!(field(&headers, "x-delivery-count"), &count);
        back = Instant::now();
        match failed {
            1 => peer.reject(1, again.tag(), true),
            _ => peer.ack(1, again.tag(), false),
        }
    }
    peer.cancel(1, "c");
    assert_eq!(peer.delete_queue(1, &queue), 0);
    peer.close();
}

#[test]
fn what_waits_is_not_ready_and_is_shown() {
    leveret_only!(REASON);
    let mut peer = Peer::connect();
    let queue = declare(&mut peer, "failed", HOUR, []);
    assert_eq!(shown(&peer, &queue)["messages_delayed"], 0);
    peer.fill(&queue, &["fails", "returned"]);
    let failed = peer.get(1, &queue, false).expect("a message");
    peer.reject(1, failed.method.delivery_tag, true);
    let got = peer.get(1, &queue, false).expect("a message");
    assert_eq!(got.body, b"returned");
    peer.nack(1, got.method.delivery_tag, false, true);
    let again = peer.get(1, &queue, false).expect("no failure, no delay");
    assert_eq!(again.body, b"returned");
    peer.nack(1, again.method.delivery_tag, false, true);
    assert_eq!(peer.counts(1, &queue).0, 1);
    let told = shown(&peer, &queue);
    assert_eq!(told["messages_delayed"], 1);
    assert_eq!(
        told["delayed_retry"],
        "failed (min: 3600000ms, max: 3600000ms)"
    );
    assert!(told["next_delayed_at"].as_u64() > Some(HOUR as u64));
    assert_eq!(told["next_delayed_at"], told["last_delayed_at"]);
    assert_eq!(peer.purge(1, &queue), 2, "what waits is purged too");
    assert_eq!(shown(&peer, &queue)["messages_delayed"], 0);
    assert_eq!(peer.delete_queue(1, &queue), 0);
    peer.close();
}

#[test]
fn a_lost_consumer_is_a_failure_and_its_messages_wait() {
    leveret_only!(REASON);
    let mut peer = Peer::connect();
    let queue = declare(&mut peer, "failed", HOUR, []);
    peer.fill(&queue, &["a"]);
    let mut other = Peer::connect();
    other.get(1, &queue, false).expect("a message");
    other.cut();
    let deadline = Instant::now() + PATIENCE;
    while shown(&peer, &queue)["messages_delayed"] != 1 {
        assert!(Instant::now() < deadline, "it is still unanswered");
        pause();
    }
    assert!(peer.get(1, &queue, true).is_none());
    assert_eq!(peer.delete_queue(1, &queue), 0);
    peer.close();
}

#[test]
fn a_delivery_limit_ends_it_and_a_length_limit_counts_what_waits() {
    leveret_only!(REASON);
    let mut peer = Peer::connect();
    let dead = peer.fresh_queue(1, "dead");
    let more = [
        ("x-delivery-limit", long(1)),
        ("x-max-length", long(1)),
        ("x-overflow", longstr("reject-publish")),
        ("x-dead-letter-exchange", longstr("")),
        ("x-dead-letter-routing-key", longstr(&dead)),
    ];
    let queue = declare(&mut peer, "all", 1, more);
    peer.fill(&queue, &["poison"]);
    for _ in 0..2 {
        let got = peer.await_message(1, &queue, false);
        peer.reject(1, got.method.delivery_tag, true);
    }
    let got = peer.await_message(1, &dead, false);
    let headers = got.properties.headers().clone().expect("headers");
    assert_eq!(text(&headers, "x-first-death-reason"), "delivery_limit");
    peer.delete_queue(1, &queue);
    let queue = declare(
        &mut peer,
        "all",
        HOUR,
        [
            ("x-max-length", long(1)),
            ("x-overflow", longstr("reject-publish")),
        ],
    );
    peer.fill(&queue, &["waits"]);
    let got = peer.get(1, &queue, false).expect("a message");
    peer.reject(1, got.method.delivery_tag, true);
    peer.open_channel(2);
    peer.confirm_select(2);
    peer.publish(2, "", &queue, "refused");
    peer.expect::<crate::support::basic::Nack>(2);
    peer.delete_queue(1, &queue);
    peer.close();
}

#[test]
fn a_policy_turns_it_on_and_off() {
    leveret_only!(REASON);
    let mut peer = Peer::connect();
    let queue = unique("retried");
    let declare = queue::Declare {
        arguments: table([("x-queue-type", longstr("quorum"))]),
        ..durable_queue(&queue)
    };
    peer.declare(1, declare);
    assert_eq!(shown(&peer, &queue)["delayed_retry"], "disabled");
    peer.fill(&queue, &["a"]);
    let http = Http::guest(peer.broker());
    let path = format!("/api/policies/%2F/{queue}");
    let definition = json!({ "delayed-retry-type": "returned", "delayed-retry-min": SHORT });
    let mut policy = json!({ "pattern": format!("^{queue}$"), "definition": definition });
    http.done("PUT", &path, Some(policy.clone()));
    let got = peer.get(1, &queue, false).expect("a message");
    let back = Instant::now();
    peer.nack(1, got.method.delivery_tag, false, true);
    peer.consume(1, &queue, "c");
    let again = expect(&mut peer, "a");
    assert!(back.elapsed() + TOLERANCE >= Duration::from_millis(SHORT as u64));
    policy["definition"]["delayed-retry-min"] = HOUR.into();
    http.done("PUT", &path, Some(policy));
    http.done("DELETE", &path, None);
    peer.nack(1, again.tag(), false, true);
    let again = expect(&mut peer, "a");
    assert_eq!(shown(&peer, &queue)["delayed_retry"], "disabled");
    peer.ack(1, again.tag(), false);
    peer.cancel(1, "c");
    peer.delete_queue(1, &queue);
    peer.close();
}

#[test]
fn nothing_that_waits_is_lost_with_the_broker() {
    leveret_only!("it is not ours to end");
    let mut broker = Broker::start();
    let mut peer = Peer::connect_to(&broker);
    let queue = declare(&mut peer, "all", SHORT, []);
    peer.confirm_select(1);
    let persistent = AMQPProperties::default().with_delivery_mode(2);
    peer.publish_with(1, "", &queue, persistent, b"a");
    peer.expect_confirms_to(1, 1);
    let got = peer.get(1, &queue, false).expect("a message");
    peer.reject(1, got.method.delivery_tag, true);
    peer.close();
    broker.restart();
    let mut peer = Peer::connect_to(&broker);
    peer.consume(1, &queue, "c");
    let again = expect(&mut peer, "a");
    assert!(again.method.redelivered);
    let headers = again.properties.headers().clone().expect("headers");
    assert_eq!(field(&headers, "x-delivery-count"), &long(1));
    peer.ack(1, again.tag(), false);
    peer.close();
}
