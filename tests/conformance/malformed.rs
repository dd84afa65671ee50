//! Bytes that no well-behaved client sends: each gets its close and its line in the log, and costs the broker nothing.
//!
//! RabbitMQ itself ends the connection without a close where its parser crashes (an unknown class, a truncated
//! property); the specification's code is expected from Leveret only.

use crate::leveret_only;
use crate::support::content::{header_bytes, publish_to};
use crate::support::peer::{frame_bytes, method_bytes};
use crate::support::{
    AMQPProperties, Peer, basic, channel, connection, durable_queue, foreign_broker,
};

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const HEARTBEAT: u8 = 8;
const END: u8 = 0xCE;

fn header(body_size: u64) -> Vec<u8> {
    header_bytes(1, body_size, AMQPProperties::default())
}

/// A method's payload: class, method, fields.
fn payload(class: u16, method: u16, fields: &[u8]) -> Vec<u8> {
    let mut payload = class.to_be_bytes().to_vec();
    payload.extend(method.to_be_bytes());
    payload.extend(fields);
    payload
}

/// These bytes on an open channel 1 must be answered by a close with one of `codes`.
#[track_caller]
fn refused(bytes: &[u8], codes: &[u16]) -> connection::Close {
    let mut peer = Peer::connect();
    peer.send_bytes(bytes);
    let close = peer.expect::<connection::Close>(0);
    assert!(codes.contains(&close.reply_code), "{close:?}");
    peer.try_send_bytes(&method_bytes(0, connection::CloseOk {}));
    peer.time_to_end();
    close
}

/// As [`refused`], with the whole text and no method to blame.
#[track_caller]
fn refused_saying(bytes: &[u8], code: u16, text: &str) {
    let close = refused(bytes, &[code]);
    assert_eq!(close.reply_text.as_str(), text);
    assert_eq!((close.class_id, close.method_id), (0, 0));
}

/// As [`refused`], but another broker may answer as it likes.
#[track_caller]
fn refused_by_leveret(bytes: &[u8], codes: &[u16]) {
    if foreign_broker() {
        let mut peer = Peer::connect();
        peer.send_bytes(bytes);
        peer.cut();
    } else {
        refused(bytes, codes);
    }
}

#[test]
fn a_wrong_frame_end_is_501() {
    refused_saying(
        &frame_bytes(METHOD, 1, &payload(20, 20, &[1]), 0),
        501,
        "FRAME_ERROR - type 1, all octets = <<0,20,0,20,1>>: {invalid_frame_end_marker,0}",
    );
}

#[test]
fn an_unknown_frame_type_is_501() {
    refused_saying(
        &frame_bytes(4, 1, b"what?", END),
        501,
        "FRAME_ERROR - type 4, all octets = <<\"what?\">>: unknown_frame",
    );
    refused_saying(
        &frame_bytes(255, 0, &[0, 1, 2], END),
        501,
        "FRAME_ERROR - type 255, all octets = <<0,1,2>>: unknown_frame",
    );
}

#[test]
fn a_method_frame_too_short_for_its_ids_is_501() {
    refused_saying(
        &frame_bytes(METHOD, 1, &[0, 20, 0], END),
        501,
        "FRAME_ERROR - type 1, all octets = <<0,20,0>>: unknown_frame",
    );
}

#[test]
fn a_header_frame_too_short_is_501() {
    refused(&frame_bytes(HEADER, 1, &[0, 60, 0, 0, 0], END), &[501]);
}

#[test]
fn a_frame_that_announces_four_gigabytes_is_501_at_once() {
    let mut bytes = vec![BODY, 0, 1];
    bytes.extend(u32::MAX.to_be_bytes());
    refused_saying(
        &bytes,
        501,
        "FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,4294967295,131064}",
    );
}

#[test]
fn a_heartbeat_on_a_channel_is_505() {
    refused_saying(
        &frame_bytes(HEARTBEAT, 1, b"", END),
        505,
        "UNEXPECTED_FRAME - type 8, all octets = <<>>",
    );
}

#[test]
fn a_heartbeat_with_content_is_501() {
    refused_saying(
        &frame_bytes(HEARTBEAT, 0, b"x", END),
        501,
        "FRAME_ERROR - type 8, all octets = <<\"x\">>: unknown_frame",
    );
}

#[test]
fn content_on_channel_0_is_505() {
    refused_saying(
        &frame_bytes(BODY, 0, b"body", END),
        505,
        "UNEXPECTED_FRAME - type 3, all octets = <<\"body\">>",
    );
    let header = header_bytes(0, 4, AMQPProperties::default());
    refused(&header, &[505]);
}

#[test]
fn content_without_its_method_is_505() {
    let text = "UNEXPECTED_FRAME - expected method frame, got non method frame instead";
    refused_saying(&header(3), 505, text);
    refused_saying(&frame_bytes(BODY, 1, b"abc", END), 505, text);
}

#[test]
fn content_on_a_channel_never_opened_is_505() {
    refused_saying(
        &frame_bytes(BODY, 9, b"abc", END),
        505,
        "UNEXPECTED_FRAME - expected method frame, got non method frame instead",
    );
}

/// Frames after a publish that the specification does not allow there.
#[track_caller]
fn refused_after_publish(frames: &[Vec<u8>], code: u16, text: &str) {
    let mut peer = Peer::connect();
    peer.send(1, publish_to("", "q"));
    peer.send_bytes(&frames.concat());
    peer.expect_connection_close::<basic::Publish>(code, text);
}

#[test]
fn a_method_in_place_of_the_content_header_is_505() {
    refused_after_publish(
        &[method_bytes(1, durable_queue("q"))],
        505,
        "UNEXPECTED_FRAME - expected content header for class 60, got non content header frame instead",
    );
}

#[test]
fn a_body_in_place_of_the_content_header_is_505() {
    refused_after_publish(
        &[frame_bytes(BODY, 1, b"abc", END)],
        505,
        "UNEXPECTED_FRAME - expected content header for class 60, got non content header frame instead",
    );
}

#[test]
fn a_content_header_of_another_class_is_505() {
    let header = payload(50, 0, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    refused_after_publish(
        &[frame_bytes(HEADER, 1, &header, END)],
        505,
        "UNEXPECTED_FRAME - expected content header for class 60, got one for class 50 instead",
    );
}

#[test]
fn a_method_in_place_of_the_body_is_505() {
    refused_after_publish(
        &[header(5), method_bytes(1, durable_queue("q"))],
        505,
        "UNEXPECTED_FRAME - expected content body, got non content body frame instead",
    );
}

#[test]
fn a_second_content_header_is_505() {
    refused_after_publish(
        &[header(5), header(5)],
        505,
        "UNEXPECTED_FRAME - expected content body, got non content body frame instead",
    );
}

#[test]
fn more_body_than_announced_is_501() {
    leveret_only!("RabbitMQ 3.10 does not check it");
    refused_after_publish(
        &[header(2), frame_bytes(BODY, 1, b"abc", END)],
        501,
        "FRAME_ERROR - content body frame exceeds remaining content size",
    );
}

#[test]
fn frames_of_other_channels_may_come_between_a_message_and_its_body() {
    let mut peer = Peer::connect();
    peer.open_channel(2);
    let name = peer.fresh_queue(2, "between");
    peer.send(1, publish_to("", &name));
    assert_eq!(peer.counts(2, &name), (0, 0));
    peer.send_bytes(&header(4));
    assert_eq!(peer.counts(2, &name), (0, 0));
    peer.send_frame(BODY, 1, b"ab", END);
    assert_eq!(peer.counts(2, &name), (0, 0));
    peer.send_frame(HEARTBEAT, 0, b"", END);
    peer.send_frame(BODY, 1, b"cd", END);
    assert_eq!(peer.drain(1, &name), ["abcd"]);
    peer.close();
}

#[test]
fn an_unknown_class_or_method_is_503() {
    for (class, method) in [(99, 10), (20, 99), (0, 0), (65535, 65535), (60, 130)] {
        refused_by_leveret(
            &frame_bytes(METHOD, 1, &payload(class, method, b""), END),
            &[503],
        );
    }
}

#[test]
fn a_truncated_method_is_501() {
    // queue.declare with a name of 200 bytes that ends after 3; basic.ack without its tag; an empty exchange.declare.
    for fields in [
        payload(50, 10, b"\x00\x00\xc8abc"),
        payload(60, 80, &[0, 0, 0]),
        payload(40, 10, b""),
    ] {
        refused(&frame_bytes(METHOD, 1, &fields, END), &[501, 502]);
    }
}

#[test]
fn a_bad_table_is_501_or_502() {
    let declare = |table: &[u8]| {
        let mut fields = b"\x00\x00\x01q\x00".to_vec();
        fields.extend(u32::try_from(table.len()).unwrap().to_be_bytes());
        fields.extend(table);
        frame_bytes(METHOD, 1, &payload(50, 10, &fields), END)
    };
    for table in [
        &b"\x03x-a"[..],
        b"\x03x-a?\x00",
        b"\x03x-aS\xff\xff\xff\xffabc",
        b"\x03x-aF\x00\x00\x00\x09abc",
        b"\x03x-aA\x00\x00\x00\x02I\x00",
        b"\xffx",
    ] {
        refused_by_leveret(&declare(table), &[501, 502]);
    }
    // A table whose own length goes beyond the frame.
    let fields = b"\x00\x00\x01q\x00\xff\xff\xff\xff";
    refused(
        &frame_bytes(METHOD, 1, &payload(50, 10, fields), END),
        &[501, 502],
    );
}

#[test]
fn tables_nested_to_the_depth_of_a_frame_do_not_end_the_broker() {
    // Each level is a field without name that holds the next.
    let levels = 20_000;
    let mut table = Vec::new();
    for level in (0..levels).rev() {
        let rest = (levels - 1 - level) * 6;
        table.extend([0, b'F']);
        table.extend(u32::try_from(rest).unwrap().to_be_bytes());
    }
    let mut fields = b"\x00\x00\x00\x08".to_vec();
    fields.extend(u32::try_from(table.len()).unwrap().to_be_bytes());
    fields.extend(table);
    let mut peer = Peer::connect();
    peer.send_frame(METHOD, 1, &payload(50, 10, &fields), END);
    if !foreign_broker() {
        let close = peer.expect::<connection::Close>(0);
        assert!([501, 502].contains(&close.reply_code), "{close:?}");
    }
    Peer::connect().close();
}

#[test]
fn bad_properties_end_the_connection_and_not_the_broker() {
    let publish = |properties: &[u8]| {
        let mut payload = payload(60, 0, &5_u64.to_be_bytes());
        payload.extend(properties);
        let mut bytes = method_bytes(1, publish_to("", "q"));
        bytes.extend(frame_bytes(HEADER, 1, &payload, END));
        bytes.extend(frame_bytes(BODY, 1, b"01234", END));
        bytes
    };
    for properties in [
        &b""[..],
        b"\x80",
        b"\x80\x00\x09text",
        b"\x20\x00\x00\x00\x00\x09\x01aS",
        b"\x10\x00",
        b"\x00\x01\x00\x01\x00\x01\x00\x01",
    ] {
        refused_by_leveret(&publish(properties), &[501, 502, 541]);
    }
    Peer::connect().close();
}

#[test]
fn a_body_size_beyond_all_limits_reserves_nothing() {
    leveret_only!("RabbitMQ 3.10 does not check it");
    let mut peer = Peer::connect();
    peer.send(1, publish_to("", "q"));
    peer.send_bytes(&header(u64::MAX));
    peer.expect_connection_close::<basic::Publish>(
        501,
        "FRAME_ERROR - content body size 18446744073709551615 exceeds maximum allowed size 536870912",
    );
}

#[test]
fn the_log_names_the_peer_of_a_malformed_frame() {
    leveret_only!("its log is not ours");
    let mut peer = Peer::connect();
    let address = peer.local_address().to_string();
    peer.send_frame(METHOD, 1, b"x", 1);
    peer.expect_close_with_code(501);
    peer.broker()
        .await_line(&address, |line| line.contains(&address));
}

#[test]
fn what_comes_after_a_connection_exception_is_ignored() {
    let mut peer = Peer::connect();
    peer.send(1, channel::Flow { active: false });
    peer.send(1, durable_queue("never"));
    peer.send(1, channel::Flow { active: false });
    peer.expect_connection_close::<channel::Flow>(540, "NOT_IMPLEMENTED - active=false");
}

#[test]
fn a_peer_that_vanishes_within_a_frame_leaves_no_trace() {
    let mut peer = Peer::connect();
    peer.send_bytes(&[METHOD, 0, 1, 0, 0, 0, 200, 0, 50]);
    peer.cut();
    Peer::connect().close();
}

#[test]
fn random_bytes_after_the_handshake_never_end_the_broker() {
    // A fixed sequence: xorshift from this seed.
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    for _ in 0..50 {
        let mut peer = Peer::connect();
        let noise: Vec<u8> = (0..64).flat_map(|_| next()).collect();
        peer.send_frame(1, 1, &noise[..32], END);
        peer.try_send_bytes(&noise);
        peer.cut();
    }
    Peer::connect().close();
}
