//! The `CC` and `BCC` headers: further routing keys, the latter kept from the receiver.

use crate::support::table::longstrs;
use crate::support::{AMQPProperties, AMQPValue, FieldTable, Peer, basic, longstr, table};

fn with_headers(headers: FieldTable) -> AMQPProperties {
    AMQPProperties::default().with_headers(headers)
}

#[test]
fn cc_and_bcc_are_further_routing_keys() {
    let mut peer = Peer::connect();
    let [to, cc, bcc] = ["to", "cc", "bcc"].map(|word| peer.fresh_queue(1, word));
    let headers = table([
        ("CC", longstrs([&cc])),
        ("BCC", longstrs([&bcc])),
        ("kept", longstr("1")),
    ]);
    peer.publish_with(1, "", &to, with_headers(headers), b"copied");
    for queue in [&to, &cc, &bcc] {
        let got = peer.get(1, queue, true).expect("a copy");
        assert_eq!(got.body, b"copied");
        assert_eq!(got.method.routing_key.as_str(), to);
        let headers = got.properties.headers().clone().expect("headers");
        assert!(headers.inner().contains_key("kept"));
        assert!(headers.inner().contains_key("CC"), "{headers:?}");
        assert!(!headers.inner().contains_key("BCC"), "{headers:?}");
    }
    peer.close();
}

#[test]
fn a_queue_named_twice_gets_one_copy() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "twice");
    let headers = table([
        ("CC", longstrs([&queue, &queue])),
        ("BCC", longstrs([&queue])),
    ]);
    peer.publish_with(1, "", &queue, with_headers(headers), b"one");
    assert_eq!(peer.drain(1, &queue), ["one"]);
    peer.close();
}

#[test]
fn cc_works_with_topic_and_direct_exchanges() {
    let mut peer = Peer::connect();
    for kind in ["topic", "direct"] {
        let exchange = peer.fresh_exchange(1, kind);
        let queue = peer.fresh_queue(1, kind);
        peer.bind(1, &queue, &exchange, "copied.here");
        let headers = table([("CC", longstrs(["nowhere", "copied.here"]))]);
        peer.publish_with(1, &exchange, "to.nobody", with_headers(headers), b"copy");
        assert_eq!(peer.drain(1, &queue), ["copy"], "{kind}");
        peer.delete_queue(1, &queue);
    }
    peer.close();
}

#[test]
fn a_mandatory_message_that_only_cc_routes_is_not_returned() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "cc");
    let publish = basic::Publish {
        mandatory: true,
        ..crate::support::content::publish_to("", "no such queue at all")
    };
    let headers = table([("CC", longstrs([&queue]))]);
    peer.send_publish(1, publish, with_headers(headers), b"routed");
    assert_eq!(peer.drain(1, &queue), ["routed"]);
    peer.expect_nothing(1);
    peer.close();
}

#[test]
fn a_cc_or_bcc_that_is_no_list_is_406() {
    let mut peer = Peer::connect();
    for (key, value, kind) in [
        ("CC", longstr("queue"), "longstr"),
        ("BCC", longstr("queue"), "longstr"),
        ("CC", AMQPValue::LongInt(1), "signedint"),
    ] {
        peer.publish_with(1, "", "q", with_headers(table([(key, value)])), b"?");
        peer.expect_channel_close::<basic::Publish>(
            1,
            406,
            &format!(
                "PRECONDITION_FAILED - invalid message: {{unacceptable_type_in_header,\"{key}\",\
                 {kind}}}"
            ),
        );
        peer.open_channel(1);
    }
    peer.close();
}

#[test]
fn what_is_no_string_in_the_list_is_skipped() {
    let mut peer = Peer::connect();
    let queue = peer.fresh_queue(1, "cc");
    let list = vec![AMQPValue::LongInt(1), longstr(&queue), AMQPValue::Void];
    let headers = table([("CC", AMQPValue::FieldArray(list.into()))]);
    peer.publish_with(1, "", "nowhere", with_headers(headers), b"copy");
    assert_eq!(peer.drain(1, &queue), ["copy"]);
    peer.close();
}
