//! Which queues a message reaches: direct, fanout and topic exchanges, exchange-to-exchange bindings, alternate
//! exchanges.

use crate::support::operations::exchange_of;
use crate::support::{Peer, exchange, longstr, table, unique};

/// Queues `count` of a fresh name each.
fn queues<const N: usize>(peer: &mut Peer) -> [String; N] {
    std::array::from_fn(|_| peer.fresh_queue(1, "routed"))
}

#[test]
fn the_default_exchange_routes_to_the_queue_of_that_name() {
    let mut peer = Peer::connect();
    let [a, b] = queues(&mut peer);
    peer.publish(1, "", &a, "to a");
    assert_eq!(peer.drain(1, &b), [""; 0]);
    assert_eq!(peer.drain(1, &a), ["to a"]);
    peer.expect_unroutable(1, "", &unique("absent"));
    peer.close();
}

#[test]
fn a_direct_exchange_routes_to_all_queues_with_that_key() {
    let mut peer = Peer::connect();
    let exchange = peer.fresh_exchange(1, "direct");
    let [a, b, c] = queues(&mut peer);
    peer.bind(1, &a, &exchange, "k");
    peer.bind(1, &b, &exchange, "k");
    peer.bind(1, &b, &exchange, "l");
    peer.bind(1, &c, &exchange, "");
    peer.publish(1, &exchange, "k", "1");
    peer.publish(1, &exchange, "l", "2");
    peer.publish(1, &exchange, "", "3");
    peer.publish(1, &exchange, "#", "4");
    assert_eq!(peer.drain(1, &a), ["1"]);
    assert_eq!(peer.drain(1, &b), ["1", "2"]);
    assert_eq!(peer.drain(1, &c), ["3"]);
    peer.close();
}

#[test]
fn a_fanout_exchange_looks_at_no_key() {
    let mut peer = Peer::connect();
    let exchange = peer.fresh_exchange(1, "fanout");
    let [a, b] = queues(&mut peer);
    peer.bind(1, &a, &exchange, "k");
    peer.bind(1, &b, &exchange, "");
    peer.bind(1, &b, &exchange, "another");
    peer.publish(1, &exchange, "anything", "1");
    assert_eq!(peer.drain(1, &a), ["1"]);
    assert_eq!(peer.drain(1, &b), ["1"]);
    peer.close();
}

#[test]
fn topic_patterns_match_word_by_word() {
    let mut peer = Peer::connect();
    let exchange = peer.fresh_exchange(1, "topic");
    let keys = [
        "",
        "a",
        "a.b",
        "a.b.c",
        "a.a.b",
        "b",
        "a.",
        ".a",
        "a..b",
        "order.7.created",
        "*",
        "#",
        ".",
    ];
    // The pattern, and the keys that it must match; all others it must not.
    let patterns: [(&str, &[&str]); 16] = [
        ("#", &keys),
        ("", &[""]),
        // An empty key has no word at all.
        ("*", &["a", "b", "*", "#"]),
        ("a", &["a"]),
        ("a.*", &["a.b", "a."]),
        ("a.#", &["a", "a.b", "a.b.c", "a.a.b", "a.", "a..b"]),
        ("#.b", &["b", "a.b", "a.a.b", "a..b"]),
        ("#.b.#", &["b", "a.b", "a.b.c", "a.a.b", "a..b"]),
        ("a.#.b", &["a.b", "a.a.b", "a..b"]),
        ("a.*.#.b", &["a.a.b", "a..b"]),
        ("*.*", &["a.b", "a.", ".a", "."]),
        ("#.#", &keys),
        ("#.*.#", &keys[1..]),
        (
            "*.#.*",
            &[
                "a.b",
                "a.b.c",
                "a.a.b",
                "a.",
                ".a",
                "a..b",
                "order.7.created",
                ".",
            ],
        ),
        ("order.*.created", &["order.7.created"]),
        ("a*", &[]),
    ];
    let queues: Vec<String> = patterns
        .iter()
        .map(|_| peer.fresh_queue(1, "topic"))
        .collect();
    for ((pattern, _), queue) in patterns.iter().zip(&queues) {
        peer.bind(1, queue, &exchange, pattern);
    }
    for key in keys {
        peer.publish(1, &exchange, key, key);
    }
    for ((pattern, expected), queue) in patterns.iter().zip(&queues) {
        // Both in the order of publishing.
        let expected = keys.iter().filter(|key| expected.contains(key));
        let expected: Vec<_> = expected.copied().collect();
        assert_eq!(peer.drain(1, queue), expected, "pattern {pattern:?}");
    }
    peer.close();
}

#[test]
fn a_message_reaches_a_queue_once_however_many_bindings_match() {
    let mut peer = Peer::connect();
    let exchange = peer.fresh_exchange(1, "topic");
    let [queue] = queues(&mut peer);
    for pattern in ["#", "a.#", "a.*", "*.b", "a.b", "#.b.#"] {
        peer.bind(1, &queue, &exchange, pattern);
    }
    peer.publish(1, &exchange, "a.b", "once");
    assert_eq!(peer.drain(1, &queue), ["once"]);
    peer.close();
}

#[test]
fn a_message_reaches_a_queue_once_over_several_exchanges() {
    let mut peer = Peer::connect();
    let [source, left, right] = std::array::from_fn(|_| peer.fresh_exchange(1, "fanout"));
    let [queue] = queues(&mut peer);
    for middle in [&left, &right] {
        peer.bind_exchange(1, middle, &source, "");
        peer.bind(1, &queue, middle, "");
    }
    peer.bind(1, &queue, &source, "");
    peer.publish(1, &source, "", "once");
    assert_eq!(peer.drain(1, &queue), ["once"]);
    peer.close();
}

#[test]
fn exchanges_route_to_exchanges_with_the_first_key() {
    let mut peer = Peer::connect();
    let (topic, direct) = (
        peer.fresh_exchange(1, "topic"),
        peer.fresh_exchange(1, "direct"),
    );
    let [a, b] = queues(&mut peer);
    peer.bind_exchange(1, &direct, &topic, "x.#");
    peer.bind(1, &a, &direct, "x.a");
    peer.bind(1, &b, &direct, "x.b");
    peer.publish(1, &topic, "x.a", "1");
    peer.publish(1, &topic, "x.b", "2");
    peer.publish(1, &topic, "y.a", "3");
    let got = peer.get(1, &a, true).expect("a message");
    assert_eq!(got.body, b"1");
    assert_eq!(got.method.exchange.as_str(), topic);
    assert_eq!(got.method.routing_key.as_str(), "x.a");
    assert_eq!(peer.drain(1, &b), ["2"]);
    peer.close();
}

#[test]
fn cycles_of_exchanges_end() {
    let mut peer = Peer::connect();
    let exchanges: [String; 3] = std::array::from_fn(|_| peer.fresh_exchange(1, "fanout"));
    let [queue] = queues(&mut peer);
    for (i, source) in exchanges.iter().enumerate() {
        peer.bind_exchange(1, &exchanges[(i + 1) % 3], source, "");
        peer.bind_exchange(1, source, source, "");
    }
    peer.bind(1, &queue, &exchanges[2], "");
    peer.publish(1, &exchanges[0], "", "round and round");
    assert_eq!(peer.drain(1, &queue), ["round and round"]);
    for exchange in &exchanges {
        peer.delete_exchange(1, exchange);
    }
    peer.close();
}

#[test]
fn unbinding_exchanges_stops_the_messages() {
    let mut peer = Peer::connect();
    let (source, middle) = (
        peer.fresh_exchange(1, "fanout"),
        peer.fresh_exchange(1, "fanout"),
    );
    let [queue, witness] = queues(&mut peer);
    peer.bind_exchange(1, &middle, &source, "");
    peer.bind(1, &queue, &middle, "");
    peer.bind(1, &witness, &source, "");
    let unbind = exchange::Unbind {
        destination: middle.as_str().into(),
        source: source.as_str().into(),
        ..exchange::Unbind::default()
    };
    peer.call::<_, exchange::UnbindOk>(1, unbind);
    peer.publish(1, &source, "", "1");
    assert_eq!(peer.drain(1, &witness), ["1"]);
    assert_eq!(peer.drain(1, &queue), [""; 0]);
    peer.close();
}

/// A fresh exchange with this alternate exchange.
fn alternating(peer: &mut Peer, kind: &str, alternate: &str) -> String {
    let name = unique(kind);
    let declare = exchange::Declare {
        arguments: table([("alternate-exchange", longstr(alternate))]),
        ..exchange_of(kind, &name)
    };
    peer.call::<_, exchange::DeclareOk>(1, declare);
    name
}

#[test]
fn an_alternate_exchange_gets_what_its_exchange_cannot_route() {
    let mut peer = Peer::connect();
    let alternate = peer.fresh_exchange(1, "fanout");
    let exchange = alternating(&mut peer, "direct", &alternate);
    let [routed, unrouted] = queues(&mut peer);
    peer.bind(1, &routed, &exchange, "k");
    peer.bind(1, &unrouted, &alternate, "");
    peer.publish(1, &exchange, "k", "routed");
    peer.publish(1, &exchange, "l", "unrouted");
    assert_eq!(peer.drain(1, &routed), ["routed"]);
    let got = peer.get(1, &unrouted, true).expect("a message");
    assert_eq!(got.body, b"unrouted");
    // It still comes from the exchange that it was published to.
    assert_eq!(got.method.exchange.as_str(), exchange);
    assert_eq!(got.method.routing_key.as_str(), "l");
    assert_eq!(peer.drain(1, &unrouted), [""; 0]);
    peer.close();
}

#[test]
fn alternate_exchanges_form_chains_and_a_missing_one_is_none() {
    let mut peer = Peer::connect();
    let last = peer.fresh_exchange(1, "fanout");
    let middle = alternating(&mut peer, "direct", &last);
    let first = alternating(&mut peer, "direct", &middle);
    let dangling = alternating(&mut peer, "direct", &unique("absent"));
    let [queue] = queues(&mut peer);
    peer.bind(1, &queue, &last, "");
    peer.publish(1, &first, "k", "through both");
    assert_eq!(peer.drain(1, &queue), ["through both"]);
    peer.expect_unroutable(1, &dangling, "k");
    for exchange in [first, middle, dangling] {
        peer.delete_exchange(1, &exchange);
    }
    peer.close();
}

#[test]
fn cycles_of_alternate_exchanges_end() {
    let mut peer = Peer::connect();
    let (first, second) = (unique("cycle"), unique("cycle"));
    for (name, alternate) in [(&first, &second), (&second, &first)] {
        let declare = exchange::Declare {
            arguments: table([("alternate-exchange", longstr(alternate))]),
            ..exchange_of("direct", name)
        };
        peer.call::<_, exchange::DeclareOk>(1, declare);
    }
    peer.expect_unroutable(1, &first, "k");
    peer.delete_exchange(1, &first);
    peer.delete_exchange(1, &second);
    peer.close();
}

#[test]
fn a_mandatory_message_that_an_alternate_exchange_took_is_not_returned() {
    let mut peer = Peer::connect();
    let alternate = peer.fresh_exchange(1, "fanout");
    let exchange = alternating(&mut peer, "direct", &alternate);
    let [queue] = queues(&mut peer);
    peer.bind(1, &queue, &alternate, "");
    let publish = crate::support::basic::Publish {
        mandatory: true,
        ..crate::support::content::publish_to(&exchange, "k")
    };
    peer.send_publish(1, publish, Default::default(), b"taken");
    assert_eq!(peer.drain(1, &queue), ["taken"]);
    peer.expect_nothing(1);
    peer.delete_exchange(1, &exchange);
    peer.close();
}
