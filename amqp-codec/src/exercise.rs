//! What the fuzz target runs, kept here so that `cargo test` can replay its corpus through the same code.

use crate::{
    FrameKind, Method, Properties, encode, encode_table, parse_content_header, parse_frame,
    parse_method, parse_protocol_header, parse_table, properties,
};

/// A frame-max as small as the specification allows, so that short inputs reach the limit.
const FRAME_MAX: usize = 4096;

/// Feeds arbitrary bytes to every parser of the crate, and checks that what was understood is written back so that it
/// is understood the same.
///
/// # Panics
/// When a round trip changes something: that is a bug in this crate.
#[allow(clippy::panic, clippy::expect_used)]
pub fn exercise(data: &[u8]) {
    let _ = parse_protocol_header(data);
    let mut rest = data;
    while let Ok(Some((frame, consumed))) = parse_frame(rest, FRAME_MAX) {
        let mut again = Vec::new();
        encode::frame(&mut again, frame.kind, frame.channel, frame.payload);
        assert_eq!(rest.get(..consumed), Some(again.as_slice()), "frame");
        exercise_payload(frame.kind, frame.payload);
        rest = rest.get(consumed..).unwrap_or_default();
    }
    exercise_payload(FrameKind::Method, data);
    exercise_payload(FrameKind::Header, data);
    exercise_properties(data);
    exercise_table(data);
}

fn exercise_payload(kind: FrameKind, payload: &[u8]) {
    match kind {
        FrameKind::Method => exercise_method(payload),
        FrameKind::Header => {
            if let Ok(header) = parse_content_header(payload) {
                exercise_properties(header.properties);
            }
        }
        FrameKind::Body | FrameKind::Heartbeat => {}
    }
}

#[allow(clippy::expect_used)]
fn exercise_method(payload: &[u8]) {
    let Ok(method) = parse_method(payload) else {
        return;
    };
    let mut out = Vec::new();
    encode_method(&mut out, &method);
    let (frame, _) = parse_frame(&out, 0)
        .expect("an encoded method is a frame")
        .expect("an encoded method is a whole frame");
    let again = parse_method(frame.payload).expect("an encoded method is a method");
    // a debug text compares NaN equal to itself
    assert_eq!(format!("{method:?}"), format!("{again:?}"), "method");
}

#[allow(clippy::expect_used)]
fn encode_method(out: &mut Vec<u8>, method: &Method<'_>) {
    match method {
        Method::Publish(publish) => encode::publish(out, 1, publish),
        Method::Deliver(deliver) => encode::deliver(
            out,
            1,
            deliver.consumer_tag,
            deliver.delivery_tag,
            deliver.redelivered,
            deliver.exchange,
            deliver.routing_key,
        ),
        Method::GetOk(got) => encode::get_ok(
            out,
            1,
            got.delivery_tag,
            got.redelivered,
            got.exchange,
            got.routing_key,
            got.message_count,
        ),
        Method::Ack(ack) => encode::ack(out, 1, ack.delivery_tag, ack.multiple),
        Method::Nack(nack) => {
            encode::nack(out, 1, nack.delivery_tag, nack.multiple, nack.requeue);
        }
        Method::Reject(reject) => encode::reject(out, 1, reject.delivery_tag, reject.requeue),
        Method::Other(class) => encode::method(out, 1, class).expect("a parsed method encodes"),
    }
}

#[allow(clippy::expect_used)]
fn exercise_properties(raw: &[u8]) {
    let Ok(parsed) = Properties::parse(raw) else {
        return;
    };
    assert_eq!(
        properties::delivery_mode(raw),
        parsed.delivery_mode,
        "delivery mode"
    );
    let mut again = Vec::new();
    parsed.encode(&mut again);
    assert_eq!(
        Properties::parse(&again).as_ref(),
        Ok(&parsed),
        "properties"
    );
    let mut same = Vec::new();
    properties::with_headers(raw, parsed.headers, &mut same).expect("parsed before");
    if !raw.is_empty() {
        assert_eq!(same, raw, "headers exchanged for themselves");
    }
    exercise_table(parsed.headers.unwrap_or_default());
}

#[allow(clippy::expect_used)]
fn exercise_table(bytes: &[u8]) {
    let Ok(table) = parse_table(bytes) else {
        return;
    };
    let mut again = Vec::new();
    encode_table(&table, &mut again).expect("a parsed table encodes");
    let again = parse_table(&again).expect("an encoded table parses");
    assert_eq!(format!("{table:?}"), format!("{again:?}"), "table");
}
