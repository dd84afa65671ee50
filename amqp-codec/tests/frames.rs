//! Frames come out of a buffer whole, in any pieces, and malformed ones are told apart.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

use amqp_codec::{
    Error, FrameKind, PROTOCOL_HEADER, ProtocolHeader, Publish, codec::FrameCodec, encode,
    parse_content_header, parse_frame, parse_protocol_header,
};
use bytes::BytesMut;
use proptest::prelude::*;
use tokio_util::codec::{Decoder, Encoder};

fn published(body: &[u8], frame_max: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let publish = Publish {
        exchange: "",
        routing_key: "q",
        mandatory: false,
        immediate: false,
    };
    encode::publish(&mut out, 1, &publish);
    encode::content(&mut out, 1, frame_max, &[], body);
    encode::heartbeat(&mut out);
    out
}

#[test]
fn every_strict_prefix_of_a_frame_needs_more() {
    let mut frame = Vec::new();
    encode::frame(&mut frame, FrameKind::Body, 3, b"payload");
    for length in 0..frame.len() {
        assert_eq!(parse_frame(&frame[..length], 4096), Ok(None), "{length}");
    }
    assert!(parse_frame(&frame, 4096).unwrap().is_some());
}

#[test]
fn oversize_is_refused_from_the_header_alone() {
    let error = parse_frame(&[3, 0, 1, 0xff, 0xff, 0xff, 0xff], 4096).unwrap_err();
    assert_eq!(error.reply_code(), 501);
    assert_eq!(
        error.to_string(),
        "type 3, all octets = <<>>: {frame_too_large,4294967295,4088}"
    );
}

#[test]
fn payload_of_the_whole_frame_max_is_tolerated_and_one_more_is_not() {
    let frame = |payload: usize| {
        let mut out = Vec::new();
        encode::frame(&mut out, FrameKind::Body, 1, &vec![0; payload]);
        out
    };
    assert!(parse_frame(&frame(4096), 4096).unwrap().is_some());
    assert!(matches!(
        parse_frame(&frame(4097), 4096),
        Err(Error::Oversize { .. })
    ));
    assert!(parse_frame(&frame(4097), 0).unwrap().is_some());
}

#[test]
fn wrong_end_and_unknown_type_are_frame_errors() {
    let end = parse_frame(&[1, 0, 0, 0, 0, 0, 1, b'x', 0], 4096).unwrap_err();
    assert!(matches!(end, Error::BadEnd { marker: 0, .. }));
    let kind = parse_frame(&[4, 0, 0, 0, 0, 0, 0, 206], 4096).unwrap_err();
    assert!(matches!(kind, Error::UnknownType { frame_type: 4, .. }));
    let heartbeat = parse_frame(&[8, 0, 0, 0, 0, 0, 1, 0, 206], 4096).unwrap_err();
    assert!(matches!(
        heartbeat,
        Error::UnknownType { frame_type: 8, .. }
    ));
    assert_eq!((end.reply_code(), kind.reply_code()), (501, 501));
}

#[test]
fn header_with_a_weight_is_an_unexpected_frame() {
    let error = parse_content_header(&[0, 60, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).unwrap_err();
    assert_eq!(error.reply_code(), 505);
}

#[test]
fn protocol_headers_are_told_apart() {
    assert_eq!(
        parse_protocol_header(&PROTOCOL_HEADER),
        ProtocolHeader::Amqp091
    );
    assert_eq!(
        parse_protocol_header(b"AMQP\x01\x01\x00\x09"),
        ProtocolHeader::Amqp091
    );
    assert_eq!(
        parse_protocol_header(b"AMQP\x00\x01\x00\x00"),
        ProtocolHeader::Other
    );
    assert_eq!(
        parse_protocol_header(b"GET / HTTP/1.1"),
        ProtocolHeader::Other
    );
    assert_eq!(
        parse_protocol_header(b"AMQP\x00\x00\x09"),
        ProtocolHeader::Incomplete
    );
}

#[test]
fn empty_body_has_no_body_frame() {
    let bytes = published(&[], 4096);
    let mut codec = FrameCodec { frame_max: 4096 };
    let mut buffer = BytesMut::from(&bytes[..]);
    let mut kinds = Vec::new();
    while let Some(frame) = codec.decode(&mut buffer).unwrap() {
        kinds.push(frame.kind);
    }
    assert_eq!(
        kinds,
        [FrameKind::Method, FrameKind::Header, FrameKind::Heartbeat]
    );
}

proptest! {
    #[test]
    fn stream_in_pieces_gives_the_same_frames(
        body in proptest::collection::vec(any::<u8>(), 0..10_000),
        cuts in proptest::collection::vec(1..3000usize, 0..20),
    ) {
        let bytes = published(&body, 4096);
        let mut codec = FrameCodec { frame_max: 4096 };
        let (mut buffer, mut again, mut joined) = (BytesMut::new(), BytesMut::new(), Vec::new());
        let mut rest = &bytes[..];
        for cut in cuts.into_iter().chain([usize::MAX]) {
            let (piece, later) = rest.split_at(cut.min(rest.len()));
            rest = later;
            buffer.extend_from_slice(piece);
            while let Some(frame) = codec.decode(&mut buffer).unwrap() {
                prop_assert!(frame.payload.len() <= 4088);
                if frame.kind == FrameKind::Header {
                    prop_assert_eq!(parse_content_header(&frame.payload).unwrap().body_size, body.len() as u64);
                }
                if frame.kind == FrameKind::Body {
                    joined.extend_from_slice(&frame.payload);
                }
                codec.encode(frame, &mut again).unwrap();
            }
        }
        prop_assert_eq!(joined, body);
        prop_assert_eq!(&again[..], &bytes[..]);
    }
}
