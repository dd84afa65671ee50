//! The headers exchange: `x-match` in its four forms, and values compared by their type.

use crate::support::{
    AMQPProperties, AMQPValue, FieldTable, Peer, foreign_broker, longstr, queue, table,
};

/// Whether a queue bound with `arguments` gets a message with `headers`.
fn matches(peer: &mut Peer, arguments: FieldTable, headers: FieldTable) -> bool {
    let exchange = peer.fresh_exchange(1, "headers");
    let queue = peer.fresh_queue(1, "headers");
    peer.bind_with(1, &queue, &exchange, "", arguments);
    let properties = AMQPProperties::default().with_headers(headers);
    peer.publish_with(1, &exchange, "no matter", properties, b"?");
    let got = peer.drain(1, &queue);
    peer.delete_queue(1, &queue);
    !got.is_empty()
}

fn x_match(word: &str) -> (&'static str, AMQPValue) {
    ("x-match", longstr(word))
}

#[test]
fn all_needs_every_header_and_is_the_default() {
    let mut peer = Peer::connect();
    let (a, b) = (|| ("a", longstr("1")), || ("b", longstr("2")));
    for with_match in [true, false] {
        let arguments = || match with_match {
            true => table([x_match("all"), a(), b()]),
            false => table([a(), b()]),
        };
        let c = ("c", longstr("3"));
        assert!(matches(&mut peer, arguments(), table([a(), b()])));
        assert!(matches(&mut peer, arguments(), table([a(), b(), c])));
        assert!(!matches(&mut peer, arguments(), table([a()])));
        let other = ("b", longstr("other"));
        assert!(!matches(&mut peer, arguments(), table([a(), other])));
        assert!(!matches(&mut peer, arguments(), table([])));
    }
    peer.close();
}

#[test]
fn any_needs_one_header() {
    let mut peer = Peer::connect();
    let arguments = || table([x_match("any"), ("a", longstr("1")), ("b", longstr("2"))]);
    assert!(matches(
        &mut peer,
        arguments(),
        table([("a", longstr("1"))])
    ));
    let one_of_two = table([("a", longstr("no")), ("b", longstr("2"))]);
    assert!(matches(&mut peer, arguments(), one_of_two));
    assert!(!matches(
        &mut peer,
        arguments(),
        table([("a", longstr("2"))])
    ));
    assert!(!matches(&mut peer, arguments(), table([])));
    peer.close();
}

#[test]
fn without_criteria_all_matches_everything_and_any_nothing() {
    let mut peer = Peer::connect();
    let headers = || table([("a", longstr("1"))]);
    assert!(matches(&mut peer, table([]), headers()));
    assert!(matches(&mut peer, table([x_match("all")]), table([])));
    assert!(!matches(&mut peer, table([x_match("any")]), headers()));
    peer.close();
}

#[test]
fn headers_that_begin_with_x_count_only_with_x() {
    let mut peer = Peer::connect();
    let x = || ("x-a", longstr("1"));
    let wrong = || table([("x-a", longstr("2"))]);
    assert!(matches(&mut peer, table([x_match("all"), x()]), wrong()));
    assert!(!matches(
        &mut peer,
        table([x_match("any"), x()]),
        table([x()])
    ));
    for word in ["all-with-x", "any-with-x"] {
        assert!(matches(
            &mut peer,
            table([x_match(word), x()]),
            table([x()])
        ));
        assert!(!matches(&mut peer, table([x_match(word), x()]), wrong()));
    }
    peer.close();
}

#[test]
fn a_void_value_asks_only_whether_the_header_is_there() {
    let mut peer = Peer::connect();
    let arguments = || table([x_match("all"), ("a", AMQPValue::Void)]);
    let number = table([("a", AMQPValue::LongInt(7))]);
    assert!(matches(&mut peer, arguments(), number));
    assert!(!matches(
        &mut peer,
        arguments(),
        table([("b", longstr("1"))])
    ));
    peer.close();
}

#[test]
fn numbers_are_not_their_texts_and_true_is_not_1() {
    let mut peer = Peer::connect();
    let one = || ("a", AMQPValue::LongInt(1));
    let arguments = || table([x_match("all"), one()]);
    assert!(matches(&mut peer, arguments(), table([one()])));
    assert!(!matches(
        &mut peer,
        arguments(),
        table([("a", longstr("1"))])
    ));
    let yes = table([("a", AMQPValue::Boolean(true))]);
    assert!(!matches(&mut peer, arguments(), yes));
    let float = table([("a", AMQPValue::Double(1.0))]);
    // RabbitMQ 3.10 still took 1.0 for 1.
    assert!(!matches(&mut peer, arguments(), float) || foreign_broker());
    peer.close();
}

#[test]
fn integers_of_any_width_are_the_same_value() {
    // RabbitMQ compares the numbers it has parsed; 3.10 compared the wire types as well.
    let mut peer = Peer::connect();
    let arguments = || table([x_match("all"), ("a", AMQPValue::LongInt(1))]);
    for same in [
        AMQPValue::ShortInt(1),
        AMQPValue::LongLongInt(1),
        AMQPValue::ShortShortInt(1),
    ] {
        let matched = matches(&mut peer, arguments(), table([("a", same)]));
        assert!(matched || foreign_broker());
    }
    peer.close();
}

#[test]
fn an_x_match_of_another_value_is_406() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "x-match");
    let bind = |value| queue::Bind {
        queue: queue.as_str().into(),
        exchange: "amq.headers".into(),
        arguments: table([("x-match", value)]),
        ..queue::Bind::default()
    };
    peer.send(1, bind(longstr("some")));
    peer.expect_channel_close::<queue::Bind>(
        1,
        406,
        "PRECONDITION_FAILED - Invalid x-match field value <<\"some\">>; expected all, any, \
         all-with-x, or any-with-x",
    );
    peer.open_channel(1);
    peer.send(1, bind(AMQPValue::LongInt(1)));
    peer.expect_channel_close::<queue::Bind>(
        1,
        406,
        "PRECONDITION_FAILED - Invalid x-match field type signedint (value 1); expected longstr",
    );
    peer.close();
}

#[test]
fn a_message_without_headers_matches_only_empty_criteria() {
    let mut peer = Peer::connect();
    let exchange = peer.fresh_exchange(1, "headers");
    let (all, some) = (peer.fresh_queue(1, "all"), peer.fresh_queue(1, "some"));
    peer.bind(1, &all, &exchange, "");
    peer.bind_with(1, &some, &exchange, "", table([("a", longstr("1"))]));
    peer.publish(1, &exchange, "", "bare");
    assert_eq!(peer.drain(1, &all), ["bare"]);
    assert_eq!(peer.drain(1, &some), [""; 0]);
    peer.close();
}
