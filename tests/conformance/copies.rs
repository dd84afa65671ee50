//! The headers `CC` and `BCC`: further routing keys of a message (RabbitMQ's sender-selected distribution).

use crate::support::content::publish_to;
use crate::support::table::longstrs;
use crate::support::{
    AMQPProperties, AMQPValue, FieldArray, FieldTable, Peer, basic, longstr, table,
};

fn with_headers(headers: FieldTable) -> AMQPProperties {
    AMQPProperties::default().with_headers(headers)
}

fn header(key: &str, value: AMQPValue) -> AMQPProperties {
    with_headers(table([(key, value)]))
}

#[test]
fn cc_and_bcc_route_to_further_queues_of_the_default_exchange() {
    let mut peer = Peer::connect();
    let queues: Vec<String> = (0..5).map(|_| peer.fresh_queue(1, "copy")).collect();
    let headers = table([
        ("CC", longstrs([&queues[1], &queues[2]])),
        ("BCC", longstrs([&queues[3]])),
    ]);
    peer.publish_with(1, "", &queues[0], with_headers(headers), b"copied");
    for queue in &queues[..4] {
        assert_eq!(peer.drain(1, queue), ["copied"], "{queue}");
    }
    assert!(peer.drain(1, &queues[4]).is_empty());
    peer.close();
}

#[test]
fn cc_stays_in_the_message_and_bcc_does_not() {
    let mut peer = Peer::connect();
    let to = peer.fresh_queue(1, "to");
    let blind = peer.fresh_queue(1, "blind");
    let headers = table([
        ("CC", longstrs(["somewhere"])),
        ("BCC", longstrs([&blind])),
        ("other", longstr("kept")),
    ]);
    peer.publish_with(1, "", &to, with_headers(headers), b"copied");
    let seen = table([("CC", longstrs(["somewhere"])), ("other", longstr("kept"))]);
    for queue in [&to, &blind] {
        let got = peer.get(1, queue, true).expect("a message");
        assert_eq!(got.properties.headers().as_ref(), Some(&seen));
        assert_eq!(
            got.method.routing_key.as_str(),
            to,
            "the first key is shown"
        );
    }
    peer.close();
}

#[test]
fn a_queue_named_twice_gets_the_message_once() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "copy");
    let headers = table([
        ("CC", longstrs([&queue, &queue])),
        ("BCC", longstrs([&queue])),
    ]);
    peer.publish_with(1, "", &queue, with_headers(headers), b"once");
    assert_eq!(peer.drain(1, &queue), ["once"]);
    peer.close();
}

#[test]
fn further_keys_are_matched_by_every_type_of_exchange() {
    let mut peer = Peer::connect();
    for (kind, pattern, key) in [("direct", "copy", "copy"), ("topic", "a.#", "a.b.c")] {
        let exchange = peer.fresh_exchange(1, kind);
        let queue = peer.fresh_queue(1, "copy");
        peer.bind(1, &queue, &exchange, pattern);
        peer.publish_with(
            1,
            &exchange,
            "unbound",
            header("CC", longstrs([key])),
            b"cc",
        );
        peer.publish_with(
            1,
            &exchange,
            "unbound",
            header("BCC", longstrs([key])),
            b"bcc",
        );
        peer.publish_with(
            1,
            &exchange,
            "unbound",
            header("CC", longstrs(["no"])),
            b"no",
        );
        assert_eq!(peer.drain(1, &queue), ["cc", "bcc"], "{kind}");
    }
    peer.close();
}

#[test]
fn further_keys_are_matched_past_a_bound_exchange() {
    let mut peer = Peer::connect();
    let source = peer.fresh_exchange(1, "fanout");
    let inner = peer.fresh_exchange(1, "direct");
    let queue = peer.fresh_queue(1, "copy");
    peer.bind(1, &queue, &inner, "copy");
    peer.bind_exchange(1, &inner, &source, "");
    peer.publish_with(
        1,
        &source,
        "unbound",
        header("CC", longstrs(["copy"])),
        b"cc",
    );
    assert_eq!(peer.drain(1, &queue), ["cc"]);
    peer.close();
}

#[test]
fn a_mandatory_message_is_not_returned_when_a_copy_was_routed() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "copy");
    let mandatory = || basic::Publish {
        mandatory: true,
        ..publish_to("", "nobody-listens")
    };
    peer.send_publish(1, mandatory(), header("CC", longstrs([&queue])), b"cc");
    assert_eq!(peer.drain(1, &queue), ["cc"]);
    peer.expect_nothing(1);
    peer.send_publish(
        1,
        mandatory(),
        header("CC", longstrs(["nor-there"])),
        b"back",
    );
    let returned = peer.expect_return(1);
    assert_eq!(returned.method.routing_key.as_str(), "nobody-listens");
    assert_eq!(returned.properties, header("CC", longstrs(["nor-there"])));
    peer.close();
}

#[test]
fn what_is_no_list_is_refused() {
    for (key, value, kind) in [
        ("CC", longstr("queue"), "longstr"),
        ("BCC", longstr("queue"), "longstr"),
        ("CC", AMQPValue::LongInt(5), "signedint"),
        ("BCC", AMQPValue::Boolean(true), "bool"),
        ("CC", AMQPValue::FieldTable(table([])), "table"),
    ] {
        let mut peer = Peer::connect();
        let queue = peer.fresh_queue(1, "copy");
        peer.publish_with(1, "", &queue, header(key, value), b"refused");
        let text = format!(
            "PRECONDITION_FAILED - invalid message: \
             {{unacceptable_type_in_header,\"{key}\",{kind}}}"
        );
        peer.expect_channel_close::<basic::Publish>(1, 406, &text);
        peer.open_channel(1);
        assert_eq!(peer.counts(1, &queue), (0, 0));
        peer.close();
    }
}

#[test]
fn elements_that_are_no_strings_are_passed_over() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "copy");
    let keys = vec![AMQPValue::LongInt(7), longstr(&queue), AMQPValue::Void];
    let keys = AMQPValue::FieldArray(FieldArray::from(keys));
    peer.publish_with(1, "", "nobody-listens", header("CC", keys), b"cc");
    assert_eq!(peer.drain(1, &queue), ["cc"]);
    peer.close();
}

#[test]
fn lower_case_names_are_ordinary_headers() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "copy");
    let copy = peer.fresh_queue(1, "copy");
    let headers = table([("cc", longstrs([&copy])), ("bcc", longstr("text"))]);
    peer.publish_with(1, "", &queue, with_headers(headers.clone()), b"one");
    let got = peer.get(1, &queue, true).expect("a message");
    assert_eq!(got.properties.headers().as_ref(), Some(&headers));
    assert_eq!(peer.counts(1, &copy).0, 0);
    peer.close();
}
