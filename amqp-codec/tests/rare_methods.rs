//! Every other method goes through `amq-protocol`, behind a check by its layout.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

use amqp_codec::{
    AMQPClass, AMQPValue, Error, FieldTable, Method, encode, layout, parse_frame, parse_method,
    protocol::{basic, connection, queue},
    qos_prefetch_size,
};

const CLASSES: [u16; 8] = [10, 20, 30, 40, 50, 60, 85, 90];

/// A payload for a method with every field as short as it can be.
fn smallest(class: u16, method: u16, fields: &[layout::Field]) -> Vec<u8> {
    let mut payload = [class.to_be_bytes(), method.to_be_bytes()].concat();
    for field in fields {
        let size = match field {
            layout::Field::Octet | layout::Field::Bits | layout::Field::ShortString => 1,
            layout::Field::Short => 2,
            layout::Field::Long | layout::Field::LongString | layout::Field::Table => 4,
            layout::Field::LongLong => 8,
        };
        payload.extend(vec![0; size]);
    }
    payload
}

fn all_layouts() -> impl Iterator<Item = (u16, u16, &'static [layout::Field])> {
    CLASSES.into_iter().flat_map(|class| {
        (0..=130).filter_map(move |method| {
            layout::fields(class, method).map(|fields| (class, method, fields))
        })
    })
}

#[test]
fn every_method_with_a_layout_is_parsed_and_written_back() {
    for (class, method, fields) in all_layouts() {
        let payload = smallest(class, method, fields);
        let parsed = parse_method(&payload).unwrap();
        assert_eq!(parsed.id(), (class, method));
        if let Method::Other(other) = &parsed {
            let mut out = Vec::new();
            encode::method(&mut out, 7, other).unwrap();
            let (frame, _) = parse_frame(&out, 0).unwrap().unwrap();
            // not byte for byte: access.request-ok always carries ticket 1
            assert_eq!(parse_method(frame.payload), Ok(parsed));
        }
    }
    assert_eq!(all_layouts().count(), 66);
}

#[test]
fn truncated_and_overlong_arguments_are_refused_as_undecodable() {
    for (class, method, fields) in all_layouts() {
        let mut payload = smallest(class, method, fields);
        payload.push(0);
        for length in (4..payload.len() - 1).chain([payload.len()]) {
            let error = parse_method(&payload[..length]).unwrap_err();
            assert!(matches!(error, Error::Undecodable { .. }), "{error:?}");
            assert_eq!((error.reply_code(), error.method()), (501, (class, method)));
        }
    }
}

#[test]
fn unknown_class_and_unknown_method_are_command_invalid() {
    for id in [[0, 99, 0, 10], [0, 60, 0, 99]] {
        let error = parse_method(&id).unwrap_err();
        assert_eq!(
            (error.reply_code(), error.reply_name()),
            (503, "COMMAND_INVALID")
        );
        assert_eq!(error.method(), (id[1].into(), id[3].into()));
    }
}

#[test]
fn method_frame_without_a_method_is_an_unknown_frame() {
    let error = parse_method(&[0, 60, 0]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "type 1, all octets = <<0,60,0>>: unknown_frame"
    );
}

#[test]
fn names_that_are_not_utf8_are_refused() {
    let publish = [0, 60, 0, 40, 0, 0, 1, 255, 0, 0];
    let declare = [0, 50, 0, 10, 0, 0, 1, 255, 0, 0, 0, 0, 0];
    for payload in [&publish[..], &declare[..]] {
        let error = parse_method(payload).unwrap_err();
        assert_eq!(error.to_string(), "Malformed UTF-8 in shortstr");
        assert_eq!(error.reply_code(), 501);
    }
}

#[test]
fn bad_table_is_a_syntax_error_of_its_method() {
    let declare = [0, 50, 0, 10, 0, 0, 0, 0, 0, 0, 0, 3, 1, b'k', b'?'];
    let error = parse_method(&declare).unwrap_err();
    assert_eq!((error.reply_code(), error.method()), (502, (50, 10)));
}

#[test]
fn declare_keeps_its_arguments() {
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(10));
    arguments.insert("binary".into(), AMQPValue::LongString(vec![0xff, 0].into()));
    let declare = AMQPClass::Queue(queue::AMQPMethod::Declare(queue::Declare {
        queue: "q".into(),
        durable: true,
        arguments,
        ..Default::default()
    }));
    let mut out = vec![1, 2, 3];
    encode::method(&mut out, 1, &declare).unwrap();
    let (frame, _) = parse_frame(&out[3..], 0).unwrap().unwrap();
    assert_eq!(parse_method(frame.payload), Ok(Method::Other(declare)));
}

#[test]
fn prefetch_size_is_not_lost() {
    let qos = [0, 60, 0, 10, 0, 0, 1, 0, 0, 9, 0];
    assert_eq!(qos_prefetch_size(&qos), 256);
    let parsed = parse_method(&qos).unwrap();
    let Method::Other(AMQPClass::Basic(basic::AMQPMethod::Qos(parsed))) = parsed else {
        panic!("{parsed:?}");
    };
    assert_eq!(parsed.prefetch_count, 9);
    assert_eq!(qos_prefetch_size(&[0, 60, 0, 20, 0, 0, 1, 0]), 0);
}

#[test]
fn credentials_of_any_bytes_pass() {
    let start_ok = AMQPClass::Connection(connection::AMQPMethod::StartOk(connection::StartOk {
        client_properties: FieldTable::default(),
        mechanism: "PLAIN".into(),
        response: vec![0, 0xff, 0, 0xfe].into(),
        locale: "en_US".into(),
    }));
    let mut out = Vec::new();
    encode::method(&mut out, 0, &start_ok).unwrap();
    let (frame, _) = parse_frame(&out, 0).unwrap().unwrap();
    assert_eq!(parse_method(frame.payload), Ok(Method::Other(start_ok)));
}
