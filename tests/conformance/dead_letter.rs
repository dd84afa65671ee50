//! Dead-lettering: which messages go to the dead-letter exchange, and what they tell about their death.

use crate::leveret_only;
use crate::support::operations::exchange_of;
use crate::support::table::{field, longstrs, number, text};
use crate::support::{
    AMQPProperties, AMQPValue, Broker, FieldTable, Got, PATIENCE, Peer, durable_queue, exchange,
    foreign_broker, longstr, queue, table, unique,
};
use std::collections::BTreeMap;
use std::time::Instant;

/// A queue whose dead letters go to another one through an exchange of their own.
struct Morgue {
    peer: Peer,
    exchange: String,
    dead: String,
}

impl Morgue {
    fn new() -> Morgue {
        let mut peer = Peer::connect();
        let exchange = peer.fresh_exchange(1, "fanout");
        let dead = peer.fresh_queue(1, "dead");
        peer.bind(1, &dead, &exchange, "");
        Morgue {
            peer,
            exchange,
            dead,
        }
    }

    /// A queue that dead-letters here, with further arguments.
    fn queue<const N: usize>(&mut self, more: [(&str, AMQPValue); N]) -> String {
        let mut arguments: BTreeMap<_, _> = more
            .into_iter()
            .map(|(key, value)| (key.into(), value))
            .collect();
        arguments.insert("x-dead-letter-exchange".into(), longstr(&self.exchange));
        self.peer
            .fresh_queue_with(1, "living", FieldTable::from(arguments))
    }

    /// The next dead letter.
    #[track_caller]
    fn letter(&mut self) -> Got {
        let dead = self.dead.clone();
        self.peer.await_message(1, &dead, true)
    }

    /// The bodies of the next dead letters.
    #[track_caller]
    fn bodies(&mut self, count: usize) -> Vec<String> {
        let bodies = (0..count).map(|_| String::from_utf8(self.letter().body).expect("text"));
        bodies.collect()
    }
}

fn headers_of(got: &Got) -> FieldTable {
    got.properties.headers().clone().expect("headers")
}

/// The deaths in the header `x-death`, the latest first.
fn deaths(got: &Got) -> Vec<FieldTable> {
    let AMQPValue::FieldArray(deaths) = field(&headers_of(got), "x-death").clone() else {
        panic!("x-death is no array");
    };
    let tables = deaths.as_slice().iter().map(|death| match death {
        AMQPValue::FieldTable(table) => table.clone(),
        other => panic!("a death is no table but {other:?}"),
    });
    tables.collect()
}

#[track_caller]
fn assert_death(death: &FieldTable, count: i64, reason: &str, queue: &str) {
    assert_eq!(field(death, "count"), &AMQPValue::LongLongInt(count));
    assert_eq!(text(death, "reason"), reason);
    assert_eq!(text(death, "queue"), queue);
    assert!(matches!(field(death, "time"), AMQPValue::Timestamp(_)));
}

#[test]
fn a_rejected_message_tells_its_whole_death() {
    let mut morgue = Morgue::new();
    let queue = morgue.queue([]);
    let peer = &mut morgue.peer;
    peer.bind(1, &queue, "amq.topic", "conformance.dead.#");
    let mine = table([("mine", longstr("kept"))]);
    let properties = AMQPProperties::default()
        .with_headers(mine)
        .with_message_id("id".into())
        .with_delivery_mode(2);
    peer.publish_with(1, "amq.topic", "conformance.dead.it", properties, b"body");
    peer.get(1, &queue, false).expect("a message");
    peer.reject(1, 1, false);
    let got = morgue.letter();
    assert_eq!(got.body, b"body");
    assert_eq!(got.method.exchange.as_str(), morgue.exchange);
    assert_eq!(got.method.routing_key.as_str(), "conformance.dead.it");
    assert!(!got.method.redelivered);
    assert_eq!(
        got.properties.message_id().as_ref().map(|id| id.as_str()),
        Some("id")
    );
    assert_eq!(*got.properties.delivery_mode(), Some(2));
    let deaths = deaths(&got);
    assert_eq!(deaths.len(), 1);
    assert_death(&deaths[0], 1, "rejected", &queue);
    assert_eq!(text(&deaths[0], "exchange"), "amq.topic");
    assert_eq!(
        field(&deaths[0], "routing-keys"),
        &longstrs(["conformance.dead.it"])
    );
    assert_eq!(deaths[0].inner().len(), 6);
    let headers = headers_of(&got);
    assert_eq!(text(&headers, "mine"), "kept");
    assert_eq!(text(&headers, "x-first-death-reason"), "rejected");
    assert_eq!(text(&headers, "x-first-death-queue"), queue);
    assert_eq!(text(&headers, "x-first-death-exchange"), "amq.topic");
    if !foreign_broker() {
        // Since RabbitMQ 3.13.
        assert_eq!(text(&headers, "x-last-death-reason"), "rejected");
        assert_eq!(text(&headers, "x-last-death-queue"), queue);
        assert_eq!(text(&headers, "x-last-death-exchange"), "amq.topic");
    }
    morgue.peer.close();
}

#[test]
fn refused_messages_are_dead_lettered_in_order() {
    let mut morgue = Morgue::new();
    let queue = morgue.queue([]);
    let peer = &mut morgue.peer;
    peer.fill(&queue, &["a", "b", "c", "d"]);
    for _ in 0..4 {
        peer.get(1, &queue, false).expect("a message");
    }
    peer.nack(1, 3, true, false);
    peer.nack(1, 4, false, true);
    assert_eq!(morgue.bodies(3), ["a", "b", "c"]);
    assert_eq!(morgue.peer.drain(1, &queue), ["d"]);
    morgue.peer.close();
}

#[test]
fn what_is_acknowledged_purged_or_deleted_is_not_dead_lettered() {
    let mut morgue = Morgue::new();
    let queue = morgue.queue([]);
    let peer = &mut morgue.peer;
    peer.fill(&queue, &["acknowledged", "purged"]);
    peer.get(1, &queue, false).expect("a message");
    peer.ack(1, 1, false);
    assert_eq!(peer.purge(1, &queue), 1);
    peer.fill(&queue, &["deleted"]);
    assert_eq!(peer.delete_queue(1, &queue), 1);
    assert_eq!(peer.counts(1, &morgue.dead).0, 0);
    morgue.peer.close();
}

#[test]
fn a_message_that_outlives_the_ttl_of_its_queue_is_dead_lettered() {
    let mut morgue = Morgue::new();
    let queue = morgue.queue([("x-message-ttl", AMQPValue::LongInt(1))]);
    morgue.peer.fill(&queue, &["a", "b"]);
    let got = morgue.letter();
    assert_eq!(got.body, b"a");
    let deaths = deaths(&got);
    assert_death(&deaths[0], 1, "expired", &queue);
    assert!(deaths[0].inner().get("original-expiration").is_none());
    assert_eq!(text(&headers_of(&got), "x-first-death-reason"), "expired");
    assert_eq!(morgue.bodies(1), ["b"]);
    morgue.peer.close();
}

#[test]
fn an_expired_message_loses_its_expiration_and_remembers_it() {
    let mut morgue = Morgue::new();
    let queue = morgue.queue([]);
    let properties = AMQPProperties::default().with_expiration("2".into());
    morgue.peer.publish_with(1, "", &queue, properties, b"a");
    let got = morgue.letter();
    assert_eq!(*got.properties.expiration(), None);
    let deaths = deaths(&got);
    assert_death(&deaths[0], 1, "expired", &queue);
    assert_eq!(text(&deaths[0], "original-expiration"), "2");
    assert_eq!(text(&deaths[0], "exchange"), "");
    assert_eq!(field(&deaths[0], "routing-keys"), &longstrs([&queue]));
    morgue.peer.close();
}

#[test]
fn a_message_rejected_before_it_expired_loses_its_expiration_too() {
    let mut morgue = Morgue::new();
    let queue = morgue.queue([]);
    let properties = AMQPProperties::default().with_expiration("3600000".into());
    morgue.peer.publish_with(1, "", &queue, properties, b"a");
    morgue.peer.get(1, &queue, false).expect("a message");
    morgue.peer.reject(1, 1, false);
    let got = morgue.letter();
    assert_eq!(*got.properties.expiration(), None);
    assert_eq!(text(&deaths(&got)[0], "original-expiration"), "3600000");
    morgue.peer.close();
}

#[test]
fn the_shorter_of_both_expirations_counts() {
    let mut morgue = Morgue::new();
    let short_queue = morgue.queue([("x-message-ttl", AMQPValue::LongInt(1))]);
    let long_queue = morgue.queue([("x-message-ttl", AMQPValue::LongInt(3_600_000))]);
    let with = |expiration: &str| AMQPProperties::default().with_expiration(expiration.into());
    morgue
        .peer
        .publish_with(1, "", &short_queue, with("3600000"), b"short queue");
    assert_eq!(morgue.bodies(1), ["short queue"]);
    morgue
        .peer
        .publish_with(1, "", &long_queue, with("1"), b"short message");
    assert_eq!(morgue.bodies(1), ["short message"]);
    morgue.peer.close();
}

#[test]
fn an_expired_message_is_not_delivered() {
    let mut peer = Peer::connect();
    let arguments = table([("x-message-ttl", AMQPValue::LongInt(0))]);
    let queue = peer.fresh_queue_with(1, "ttl", arguments);
    peer.fill(&queue, &["a", "b"]);
    assert_eq!(peer.counts(1, &queue).0, 0);
    peer.consume_no_ack(1, &queue, "c");
    peer.expect_nothing(1);
    peer.publish(1, "", &queue, "somebody waits");
    assert_eq!(peer.expect_delivery(1).text(), "somebody waits");
    peer.close();
}

#[test]
fn the_oldest_message_makes_room_in_a_full_queue() {
    let mut morgue = Morgue::new();
    let queue = morgue.queue([("x-max-length", AMQPValue::LongInt(2))]);
    morgue.peer.fill(&queue, &["a", "b", "c", "d"]);
    let got = morgue.letter();
    assert_eq!(got.body, b"a");
    assert_death(&deaths(&got)[0], 1, "maxlen", &queue);
    assert_eq!(morgue.bodies(1), ["b"]);
    assert_eq!(morgue.peer.drain(1, &queue), ["c", "d"]);
    morgue.peer.close();
}

#[test]
fn the_oldest_messages_make_room_for_bytes_of_bodies() {
    let mut morgue = Morgue::new();
    let queue = morgue.queue([("x-max-length-bytes", AMQPValue::LongInt(10))]);
    morgue.peer.fill(&queue, &["aaaa", "bbbbbb", "", "cccc"]);
    assert_eq!(morgue.bodies(1), ["aaaa"]);
    assert_eq!(morgue.peer.drain(1, &queue), ["bbbbbb", "", "cccc"]);
    morgue.peer.fill(&queue, &["dddd", "too long for it"]);
    assert_eq!(morgue.bodies(2), ["dddd", "too long for it"]);
    assert_eq!(morgue.peer.counts(1, &queue).0, 0);
    morgue.peer.close();
}

#[test]
fn a_requeued_message_can_make_a_queue_too_long() {
    let mut morgue = Morgue::new();
    let queue = morgue.queue([("x-max-length", AMQPValue::LongInt(1))]);
    morgue.peer.fill(&queue, &["a"]);
    morgue.peer.get(1, &queue, false).expect("a message");
    morgue.peer.fill(&queue, &["b"]);
    morgue.peer.reject(1, 1, true);
    let got = morgue.letter();
    assert_eq!(got.body, b"a");
    assert_death(&deaths(&got)[0], 1, "maxlen", &queue);
    assert_eq!(morgue.peer.drain(1, &queue), ["b"]);
    morgue.peer.close();
}

#[test]
fn only_ready_messages_count_towards_the_length() {
    let mut morgue = Morgue::new();
    let queue = morgue.queue([("x-max-length", AMQPValue::LongInt(1))]);
    morgue.peer.fill(&queue, &["a"]);
    morgue.peer.get(1, &queue, false).expect("a message");
    morgue.peer.fill(&queue, &["b"]);
    assert_eq!(morgue.peer.counts(1, &queue).0, 1);
    assert_eq!(morgue.peer.counts(1, &morgue.dead).0, 0);
    morgue.peer.close();
}

#[test]
fn a_full_queue_may_dead_letter_what_it_rejects() {
    let mut morgue = Morgue::new();
    let queue = morgue.queue([
        ("x-max-length", AMQPValue::LongInt(1)),
        ("x-overflow", longstr("reject-publish-dlx")),
    ]);
    for body in ["a", "b"] {
        morgue.peer.publish(1, "", &queue, body);
    }
    let got = morgue.letter();
    assert_eq!(got.body, b"b");
    assert_death(&deaths(&got)[0], 1, "maxlen", &queue);
    assert_eq!(morgue.peer.drain(1, &queue), ["a"]);
    morgue.peer.close();
}

#[test]
fn a_routing_key_for_dead_letters_replaces_all_others() {
    let mut peer = Peer::connect();
    let dead = peer.fresh_queue(1, "dead");
    let copy = peer.fresh_queue(1, "copy");
    let arguments = table([
        ("x-dead-letter-exchange", longstr("")),
        ("x-dead-letter-routing-key", longstr(&dead)),
    ]);
    let queue = peer.fresh_queue_with(1, "living", arguments);
    let headers = table([("CC", longstrs([&copy]))]);
    let properties = AMQPProperties::default().with_headers(headers);
    peer.publish_with(1, "", &queue, properties, b"a");
    assert_eq!(peer.drain(1, &copy), ["a"]);
    peer.get(1, &queue, false).expect("a message");
    let tag = 2; // the copy had the first
    peer.reject(1, tag, false);
    let got = peer.await_message(1, &dead, true);
    assert_eq!(got.method.routing_key.as_str(), dead);
    assert_eq!(got.method.exchange.as_str(), "");
    assert_eq!(
        field(&deaths(&got)[0], "routing-keys"),
        &longstrs([&queue, &copy])
    );
    assert_eq!(peer.counts(1, &copy).0, 0, "its CC is no longer followed");
    if !foreign_broker() {
        // Since RabbitMQ 3.13; earlier releases took the header out.
        assert_eq!(field(&headers_of(&got), "CC"), &longstrs([&copy]));
    }
    peer.close();
}

#[test]
fn copies_that_a_routing_key_has_replaced_are_not_followed_from_the_next_queue_either() {
    let mut peer = Peer::connect();
    let [copy, dead] = ["copy", "dead"].map(|word| peer.fresh_queue(1, word));
    let exchange = peer.fresh_exchange(1, "fanout");
    peer.bind(1, &dead, &exchange, "");
    let second = table([("x-dead-letter-exchange", longstr(&exchange))]);
    let second = peer.fresh_queue_with(1, "second", second);
    let first = table([
        ("x-dead-letter-exchange", longstr("")),
        ("x-dead-letter-routing-key", longstr(&second)),
    ]);
    let first = peer.fresh_queue_with(1, "first", first);
    let headers = table([("CC", longstrs([&copy]))]);
    let properties = AMQPProperties::default().with_headers(headers);
    peer.publish_with(1, "", &first, properties, b"a");
    assert_eq!(peer.drain(1, &copy), ["a"]);
    for (tag, queue) in [(2, &first), (3, &second)] {
        let deadline = Instant::now() + PATIENCE;
        while peer.get(1, queue, false).is_none() {
            assert!(Instant::now() < deadline, "nothing came to {queue}");
        }
        peer.reject(1, tag, false);
    }
    let deaths = deaths(&peer.await_message(1, &dead, true));
    assert_eq!(field(&deaths[0], "routing-keys"), &longstrs([&second]));
    peer.close();
}

#[test]
fn deaths_that_a_client_tells_of_are_replaced_by_the_real_ones() {
    let mut morgue = Morgue::new();
    let queue = morgue.queue([]);
    let death = table([
        ("count", AMQPValue::LongLongInt(5)),
        ("reason", longstr("rejected")),
        ("queue", longstr(&queue)),
    ]);
    let told = [
        AMQPValue::FieldArray(vec![AMQPValue::FieldTable(death)].into()),
        longstr("no array at all"),
        AMQPValue::FieldArray(vec![longstr("no table")].into()),
    ];
    for (round, told) in told.into_iter().enumerate() {
        if foreign_broker() && round != 1 {
            // Before release 4 RabbitMQ continued the deaths that a client told of.
            continue;
        }
        let headers = table([("x-death", told.clone())]);
        let properties = AMQPProperties::default().with_headers(headers);
        let peer = &mut morgue.peer;
        peer.publish_with(1, "", &queue, properties, b"a");
        let got = peer.get(1, &queue, false).expect("a message");
        assert_eq!(field(&headers_of(&got), "x-death"), &told);
        peer.reject(1, got.method.delivery_tag, false);
        let deaths = deaths(&morgue.letter());
        assert_eq!(deaths.len(), 1);
        assert_death(&deaths[0], 1, "rejected", &queue);
    }
    morgue.peer.close();
}

#[test]
fn a_message_that_a_client_publishes_again_is_no_cycle() {
    leveret_only!("before release 4 RabbitMQ continued the deaths that a client told of");
    let mut morgue = Morgue::new();
    let grave = morgue.dead.clone();
    let queue = morgue.queue([("x-message-ttl", AMQPValue::LongInt(1))]);
    morgue.peer.publish(1, "", &queue, "a");
    for _ in 0..2 {
        let got = morgue.peer.await_message(1, &grave, true);
        assert_death(&deaths(&got)[0], 1, "expired", &queue);
        let (headers, peer) = (headers_of(&got), &mut morgue.peer);
        let properties = AMQPProperties::default().with_headers(headers);
        peer.publish_with(1, "", &queue, properties, &got.body);
    }
    morgue.peer.close();
}

#[test]
fn deaths_are_counted_on_after_the_end_of_the_broker() {
    leveret_only!("it is not ours to end");
    let mut broker = Broker::start();
    let mut peer = Peer::connect_to(&broker);
    let arguments = table([
        ("x-dead-letter-exchange", longstr("")),
        ("x-dead-letter-routing-key", longstr("q")),
    ]);
    peer.declare(
        1,
        queue::Declare {
            arguments,
            ..durable_queue("q")
        },
    );
    let persistent = AMQPProperties::default().with_delivery_mode(2);
    peer.confirm_select(1);
    peer.publish_with(1, "", "q", persistent, b"a");
    peer.expect_confirms_to(1, 1);
    for count in 1..3 {
        let got = peer.await_message(1, "q", false);
        peer.reject(1, got.method.delivery_tag, false);
        peer.close();
        broker.restart();
        peer = Peer::connect_to(&broker);
        let got = peer.await_message(1, "q", false);
        assert_death(&deaths(&got)[0], count, "rejected", "q");
        peer.nack(1, got.method.delivery_tag, false, true);
    }
}

#[test]
fn without_a_routing_key_for_dead_letters_they_keep_theirs() {
    let mut peer = Peer::connect();
    let exchange = peer.fresh_exchange(1, "direct");
    let dead = peer.fresh_queue(1, "dead");
    let dead_copy = peer.fresh_queue(1, "dead-copy");
    let queue = peer.fresh_queue_with(
        1,
        "living",
        table([("x-dead-letter-exchange", longstr(&exchange))]),
    );
    peer.bind(1, &dead, &exchange, &queue);
    peer.bind(1, &dead_copy, &exchange, "copy");
    let headers = table([("CC", longstrs(["copy"]))]);
    let properties = AMQPProperties::default().with_headers(headers);
    peer.publish_with(1, "", &queue, properties, b"a");
    peer.get(1, &queue, false).expect("a message");
    peer.reject(1, 1, false);
    assert_eq!(peer.await_message(1, &dead, true).body, b"a");
    assert_eq!(peer.await_message(1, &dead_copy, true).body, b"a");
    peer.close();
}

#[test]
fn hidden_routing_keys_are_followed_by_dead_letters_and_told_to_nobody() {
    let mut peer = Peer::connect();
    let exchange = peer.fresh_exchange(1, "direct");
    let next = peer.fresh_exchange(1, "direct");
    let dead = peer.fresh_queue(1, "dead");
    let hidden = peer.fresh_queue_with(
        1,
        "hidden",
        table([("x-dead-letter-exchange", longstr(&next))]),
    );
    let last = peer.fresh_queue(1, "last");
    let queue = peer.fresh_queue_with(
        1,
        "living",
        table([("x-dead-letter-exchange", longstr(&exchange))]),
    );
    peer.bind(1, &dead, &exchange, &queue);
    peer.bind(1, &hidden, &exchange, "blind");
    peer.bind(1, &last, &next, "blind");
    let headers = table([("BCC", longstrs(["blind"])), ("CC", longstrs(["copy"]))]);
    let properties = AMQPProperties::default().with_headers(headers);
    peer.publish_with(1, "", &queue, properties, b"a");
    let got = peer.get(1, &queue, false).expect("a message");
    assert!(!headers_of(&got).contains_key("BCC"));
    peer.reject(1, 1, false);
    let got = peer.await_message(1, &dead, true);
    assert!(!headers_of(&got).contains_key("BCC"));
    assert_eq!(
        field(&deaths(&got)[0], "routing-keys"),
        &longstrs([&queue, "copy"])
    );
    // The copy by the hidden key dies as well, and its key goes on with it.
    let got = peer.await_message(1, &hidden, false);
    assert!(!headers_of(&got).contains_key("BCC"));
    peer.reject(1, got.method.delivery_tag, false);
    let got = peer.await_message(1, &last, true);
    assert!(!headers_of(&got).contains_key("BCC"));
    assert_eq!(deaths(&got).len(), 2);
    peer.close();
}

#[test]
fn dead_letters_that_go_nowhere_leave_a_line_each_for_queue_and_reason() {
    leveret_only!("its log is not ours to read");
    let broker = Broker::start();
    let mut peer = Peer::connect_to(&broker);
    let lost = peer.fresh_exchange(1, "direct");
    for (exchange, line) in [
        ("missing", "their exchange does not exist"),
        (&*lost, "its exchange leads to no queue"),
    ] {
        let arguments = table([("x-dead-letter-exchange", longstr(exchange))]);
        let queue = peer.fresh_queue_with(1, "living", arguments);
        peer.fill(&queue, &["a", "b"]);
        for _ in 0..2 {
            let got = peer.await_message(1, &queue, false);
            peer.reject(1, got.method.delivery_tag, false);
        }
        peer.expect_nothing(1);
        broker.await_line(line, |it| it.contains(&queue) && it.contains(line));
        let log = broker.log();
        let lines = log.iter().filter(|it| it.contains(&queue));
        assert_eq!(lines.filter(|it| it.contains(line)).count(), 1, "{log:?}");
    }
    peer.close();
}

#[test]
fn a_missing_dead_letter_exchange_drops_the_message() {
    let mut peer = Peer::connect();
    let missing = unique("missing");
    let arguments = table([("x-dead-letter-exchange", longstr(&missing))]);
    let queue = peer.fresh_queue_with(1, "living", arguments);
    peer.fill(&queue, &["a"]);
    peer.get(1, &queue, false).expect("a message");
    peer.reject(1, 1, false);
    peer.expect_nothing(1);
    assert_eq!(peer.counts(1, &queue).0, 0);
    peer.close();
}

#[test]
fn a_dead_letter_exchange_may_be_declared_later() {
    let mut peer = Peer::connect();
    let name = unique("later");
    let arguments = table([("x-dead-letter-exchange", longstr(&name))]);
    let queue = peer.fresh_queue_with(1, "living", arguments);
    peer.fill(&queue, &["a"]);
    let declare = exchange_of("fanout", &name);
    peer.call::<_, exchange::DeclareOk>(1, declare);
    let dead = peer.fresh_queue(1, "dead");
    peer.bind(1, &dead, &name, "");
    peer.get(1, &queue, false).expect("a message");
    peer.reject(1, 1, false);
    assert_eq!(peer.await_message(1, &dead, true).body, b"a");
    peer.close();
}

#[test]
fn a_message_counts_its_deaths_by_queue_and_reason_the_latest_first() {
    let mut peer = Peer::connect();
    let first = unique("first");
    let second = unique("second");
    for (queue, next) in [(&first, &second), (&second, &first)] {
        let arguments = table([
            ("x-dead-letter-exchange", longstr("")),
            ("x-dead-letter-routing-key", longstr(next)),
        ]);
        let declare = queue::Declare {
            exclusive: true,
            durable: false,
            arguments,
            ..durable_queue(queue)
        };
        peer.declare(1, declare);
    }
    peer.publish(1, "", &first, "a");
    let mut tag = 0;
    let mut die = |peer: &mut Peer, queue: &str| {
        let deadline = Instant::now() + PATIENCE;
        while peer.get(1, queue, false).is_none() {
            assert!(Instant::now() < deadline, "nothing came to {queue}");
        }
        tag += 1;
        peer.reject(1, tag, false);
    };
    die(&mut peer, &first);
    die(&mut peer, &second);
    die(&mut peer, &first);
    let got = peer.await_message(1, &second, true);
    let deaths = deaths(&got);
    assert_eq!(deaths.len(), 2);
    assert_death(&deaths[0], 2, "rejected", &first);
    assert_death(&deaths[1], 1, "rejected", &second);
    let headers = headers_of(&got);
    assert_eq!(text(&headers, "x-first-death-queue"), first);
    if !foreign_broker() {
        assert_eq!(text(&headers, "x-last-death-queue"), first);
    }
    peer.close();
}

#[test]
fn a_cycle_without_a_rejection_ends_in_nothing() {
    let mut peer = Peer::connect();
    let queue = unique("cycle");
    let arguments = table([
        ("x-dead-letter-exchange", longstr("")),
        ("x-dead-letter-routing-key", longstr(&queue)),
        ("x-max-length", AMQPValue::LongInt(1)),
    ]);
    let declare = queue::Declare {
        exclusive: true,
        durable: false,
        arguments,
        ..durable_queue(&queue)
    };
    peer.declare(1, declare);
    peer.fill(&queue, &["a", "b"]);
    assert_eq!(peer.drain(1, &queue), ["b"]);
    peer.close();
}

#[test]
fn a_cycle_with_a_rejection_goes_on() {
    let mut peer = Peer::connect();
    let queue = unique("cycle");
    let arguments = table([
        ("x-dead-letter-exchange", longstr("")),
        ("x-dead-letter-routing-key", longstr(&queue)),
    ]);
    let declare = queue::Declare {
        exclusive: true,
        durable: false,
        arguments,
        ..durable_queue(&queue)
    };
    peer.declare(1, declare);
    peer.consume(1, &queue, "c");
    peer.publish(1, "", &queue, "a");
    for round in 0..5 {
        let delivery = peer.expect_delivery(1);
        let headers = delivery.properties.headers().clone().unwrap_or_default();
        if round > 0 {
            let AMQPValue::FieldArray(deaths) = field(&headers, "x-death") else {
                panic!("x-death is no array");
            };
            let [AMQPValue::FieldTable(death)] = deaths.as_slice() else {
                panic!("not one death: {deaths:?}");
            };
            assert_eq!(number(death, "count"), round);
        }
        peer.reject(1, delivery.tag(), false);
    }
    peer.close();
}

#[test]
fn a_dead_letter_is_persistent_if_the_message_was() {
    let mut morgue = Morgue::new();
    let queue = morgue.queue([("x-message-ttl", AMQPValue::LongInt(1))]);
    for mode in [1, 2] {
        let properties = AMQPProperties::default().with_delivery_mode(mode);
        morgue.peer.publish_with(1, "", &queue, properties, b"a");
        assert_eq!(*morgue.letter().properties.delivery_mode(), Some(mode));
    }
    morgue.peer.close();
}

#[test]
fn a_dead_letter_to_a_full_queue_does_not_disturb_the_confirm_of_the_original() {
    let mut peer = Peer::connect();
    let arguments = table([
        ("x-max-length", AMQPValue::LongInt(0)),
        ("x-overflow", longstr("reject-publish")),
    ]);
    let full = peer.fresh_queue_with(1, "full", arguments);
    let arguments = table([
        ("x-dead-letter-exchange", longstr("")),
        ("x-dead-letter-routing-key", longstr(&full)),
        ("x-max-length", AMQPValue::LongInt(1)),
    ]);
    let queue = peer.fresh_queue_with(1, "living", arguments);
    peer.fill(&queue, &["a", "b", "c"]);
    assert_eq!(peer.drain(1, &queue), ["c"]);
    // Nobody could hear that they were refused, so they are taken; RabbitMQ's classic queues drop them.
    let taken = if foreign_broker() { 0 } else { 2 };
    assert_eq!(peer.counts(1, &full).0, taken);
    peer.close();
}
