//! Message properties keep their values, agree with `amq-protocol`, and refuse malformed bytes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

use amqp_codec::{
    AMQPValue, Error, FieldTable, Properties, delivery_mode, encode, encode_table,
    parse_content_header, parse_frame, parse_table, properties, protocol::basic,
};
use proptest::{option, prelude::*};

const FIELDS: usize = 9;

/// Texts for the nine string properties, then mode, priority, timestamp, and whether there are headers.
type Values = (
    Vec<Option<String>>,
    Option<u8>,
    Option<u8>,
    Option<u64>,
    bool,
);

fn values() -> impl Strategy<Value = Values> {
    let texts = proptest::collection::vec(option::of("\\PC{0,20}"), FIELDS);
    (
        texts,
        any::<Option<u8>>(),
        any::<Option<u8>>(),
        any::<Option<u64>>(),
        any::<bool>(),
    )
}

fn headers() -> (FieldTable, Vec<u8>) {
    let mut table = FieldTable::default();
    table.insert("x-match".into(), AMQPValue::LongString("all".into()));
    table.insert("retries".into(), AMQPValue::ShortShortInt(-3));
    let mut bytes = Vec::new();
    encode_table(&table, &mut bytes).unwrap();
    (table, bytes)
}

fn properties<'a>(values: &'a Values, headers: &'a [u8]) -> Properties<'a> {
    let (texts, delivery_mode, priority, timestamp, has_headers) = values;
    let text = |index: usize| texts[index].as_deref();
    Properties {
        content_type: text(0),
        content_encoding: text(1),
        headers: has_headers.then_some(headers),
        delivery_mode: *delivery_mode,
        priority: *priority,
        correlation_id: text(2),
        reply_to: text(3),
        expiration: text(4),
        message_id: text(5),
        timestamp: *timestamp,
        kind: text(6),
        user_id: text(7),
        app_id: text(8),
        cluster_id: None,
    }
}

/// A header frame's payload around raw properties.
fn header(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode::content(&mut out, 1, 0, raw, b"");
    let (frame, _) = parse_frame(&out, 0).unwrap().unwrap();
    frame.payload.to_vec()
}

proptest! {
    #[test]
    fn encoded_properties_are_read_back(values in values()) {
        let (_, table) = headers();
        let ours = properties(&values, &table);
        let mut raw = Vec::new();
        ours.encode(&mut raw);
        prop_assert_eq!(Properties::parse(&raw), Ok(ours));
        prop_assert_eq!(delivery_mode(&raw), ours.delivery_mode);
        let header = header(&raw);
        prop_assert_eq!(parse_content_header(&header).unwrap().properties, &raw[..]);
    }

    #[test]
    fn amq_protocol_reads_the_same(values in values()) {
        let (table, bytes) = headers();
        let ours = properties(&values, &bytes);
        let mut raw = Vec::new();
        ours.encode(&mut raw);
        let (rest, theirs) = basic::parse_properties(raw.as_slice()).unwrap();
        prop_assert!(rest.is_empty());
        let text = |value: &Option<amqp_codec::ShortString>| value.as_ref().map(ToString::to_string);
        let owned = |value: Option<&str>| value.map(str::to_owned);
        prop_assert_eq!(text(theirs.content_type()), owned(ours.content_type));
        prop_assert_eq!(text(theirs.expiration()), owned(ours.expiration));
        prop_assert_eq!(text(theirs.app_id()), owned(ours.app_id));
        prop_assert_eq!(text(theirs.kind()), owned(ours.kind));
        prop_assert_eq!(*theirs.timestamp(), ours.timestamp);
        prop_assert_eq!(*theirs.priority(), ours.priority);
        prop_assert_eq!(theirs.headers().as_ref(), ours.headers.map(|_| &table));
    }

    #[test]
    fn exchanging_headers_changes_nothing_else(values in values(), keep: bool) {
        let (_, table) = headers();
        let before = properties(&values, &table);
        let mut raw = Vec::new();
        before.encode(&mut raw);
        let mut changed = Vec::new();
        let headers = keep.then_some(&b"\x01aV"[..]);
        properties::with_headers(&raw, headers, &mut changed).unwrap();
        let after = Properties::parse(&changed).unwrap();
        prop_assert_eq!(after, Properties { headers, ..before });
    }

    #[test]
    fn every_truncation_is_refused(values in values()) {
        let (_, table) = headers();
        let mut raw = Vec::new();
        properties(&values, &table).encode(&mut raw);
        for length in 0..raw.len() {
            let refused = parse_content_header(&header(&raw)[..12 + length]).unwrap_err();
            prop_assert_eq!((refused.reply_code(), refused.method()), (502, (60, 0)));
        }
        raw.push(0);
        prop_assert_eq!(parse_content_header(&header(&raw)).unwrap_err().reply_code(), 502);
    }
}

#[test]
fn bytes_that_are_not_utf8_travel_unless_the_broker_reads_them() {
    let correlation_id = [0x04, 0x00, 1, 0xff];
    assert!(parse_content_header(&header(&correlation_id)).is_ok());
    assert_eq!(
        Properties::parse(&correlation_id).unwrap().correlation_id,
        None
    );
    let mut same = Vec::new();
    properties::with_headers(&correlation_id, None, &mut same).unwrap();
    assert_eq!(same, correlation_id);
    let user_id = [0x00, 0x10, 1, 0xff];
    let refused = Properties::parse(&user_id).unwrap_err();
    assert!(matches!(refused, Error::MalformedUtf8 { class_id: 60, .. }));
}

#[test]
fn absent_properties_are_written_as_no_flags() {
    assert_eq!(header(&[])[12..], [0, 0]);
    assert_eq!(Properties::parse(&[]), Ok(Properties::default()));
    assert_eq!(delivery_mode(&[]), None);
    assert!(properties::is_plain(&[0x10, 0, 2]) && !properties::is_plain(&[0x18, 0, 2, 5]));
}

#[test]
fn malformed_headers_are_refused_in_the_content_header() {
    let raw = [0x20, 0, 0, 0, 0, 3, 1, b'k', b'?'];
    let refused = parse_content_header(&header(&raw)).unwrap_err();
    assert_eq!(refused.to_string(), "unknown type of a table field");
    assert!(parse_table(&raw[6..]).is_err());
}
