//! The `arguments` tables of declare, bind and consume: looking values up, comparing them, naming their types.
//!
//! AMQP has many wire types for the same number, and clients choose among them freely, so arguments are compared by
//! value: an `x-message-ttl` of 10 sent as a byte equals one sent as a long (RabbitMQ's
//! `rabbit_misc:assert_args_equivalence`). The texts that show a value to a client write it as RabbitMQ does, which
//! means as an Erlang term; [`Term`] does that.

mod equivalence;
pub mod json;
mod term;

use std::collections::BTreeMap;

pub use amqp_codec::{AMQPValue, FieldTable, ShortString};

pub(crate) use equivalence::assert_argument_equivalent;
pub use equivalence::{assert_arguments_equivalent, inequivalent_attribute};
pub use term::Term;
pub(crate) use term::{Binary, Float, Quoted};

/// A value without its wire type: what RabbitMQ holds once a field is parsed.
#[derive(Debug, PartialEq)]
enum Untyped<'a> {
    Integer(i128),
    Float(f64),
    Binary(&'a [u8]),
    /// Nested values keep their types in RabbitMQ and are compared with them; so is everything that stands alone.
    Other(&'a AMQPValue),
}

/// The value for `key`, if the table has it.
pub fn lookup<'a>(table: &'a FieldTable, key: &str) -> Option<&'a AMQPValue> {
    table.inner().get(key)
}

/// The table without this key.
pub fn without(table: &FieldTable, key: &str) -> FieldTable {
    let kept = table
        .inner()
        .iter()
        .filter(|(name, _)| name.as_str() != key);
    let kept: BTreeMap<_, _> = kept
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    kept.into()
}

/// The value as a number, if it has one of the integer types. Timestamps and decimals are no integers.
pub fn integer(value: &AMQPValue) -> Option<i64> {
    match *value {
        AMQPValue::ShortShortInt(number) => Some(number.into()),
        AMQPValue::ShortShortUInt(number) => Some(number.into()),
        AMQPValue::ShortInt(number) => Some(number.into()),
        AMQPValue::ShortUInt(number) => Some(number.into()),
        AMQPValue::LongInt(number) => Some(number.into()),
        AMQPValue::LongUInt(number) => Some(number.into()),
        AMQPValue::LongLongInt(number) => Some(number),
        _ => None,
    }
}

/// The value as text, if it is a long string (the only string type that a field table carries) of valid UTF-8.
pub fn text(value: &AMQPValue) -> Option<&str> {
    match value {
        AMQPValue::LongString(text) => std::str::from_utf8(text.as_bytes()).ok(),
        AMQPValue::ShortString(text) => Some(text.as_str()),
        _ => None,
    }
}

/// Whether two values are the same apart from the wire type they came in. An integer never equals a float.
pub fn equivalent(one: &AMQPValue, other: &AMQPValue) -> bool {
    untyped(one) == untyped(other)
}

/// Whether two tables have the same keys with [`equivalent`] values. The order of fields does not count.
pub fn equivalent_tables(one: &FieldTable, other: &FieldTable) -> bool {
    let (one, other) = (one.inner(), other.inner());
    one.len() == other.len()
        && one
            .iter()
            .zip(other)
            .all(|((key, value), (other_key, other_value))| {
                key == other_key && equivalent(value, other_value)
            })
}

/// Whether the header of a message has the value that a binding of a headers exchange asks for.
///
/// The comparison is that of [`equivalent`], but for one habit of RabbitMQ since 3.13: it routes by timestamps in
/// milliseconds, while a binding's timestamp stays in seconds (`mc_amqpl:routing_headers`).
pub fn header_equals(header: &AMQPValue, wanted: &AMQPValue) -> bool {
    match *header {
        AMQPValue::Timestamp(seconds) => {
            Untyped::Integer(i128::from(seconds) * 1000) == untyped(wanted)
        }
        _ => equivalent(header, wanted),
    }
}

/// RabbitMQ's name for the wire type of a value, as its reply texts show it: `longstr`, `signedint`, ...
pub fn type_name(value: &AMQPValue) -> &'static str {
    match value {
        AMQPValue::Boolean(_) => "bool",
        AMQPValue::ShortShortInt(_) => "byte",
        AMQPValue::ShortShortUInt(_) => "unsignedbyte",
        AMQPValue::ShortInt(_) => "short",
        AMQPValue::ShortUInt(_) => "unsignedshort",
        AMQPValue::LongInt(_) => "signedint",
        AMQPValue::LongUInt(_) => "unsignedint",
        AMQPValue::LongLongInt(_) => "long",
        AMQPValue::Float(_) => "float",
        AMQPValue::Double(_) => "double",
        AMQPValue::DecimalValue(_) => "decimal",
        AMQPValue::ShortString(_) | AMQPValue::LongString(_) => "longstr",
        AMQPValue::FieldArray(_) => "array",
        AMQPValue::Timestamp(_) => "timestamp",
        AMQPValue::FieldTable(_) => "table",
        AMQPValue::ByteArray(_) => "binary",
        AMQPValue::Void => "void",
    }
}

/// The bytes of a value that is a string or a byte array: RabbitMQ tells them apart by type only.
pub(crate) fn bytes(value: &AMQPValue) -> Option<&[u8]> {
    match value {
        AMQPValue::LongString(text) => Some(text.as_bytes()),
        AMQPValue::ShortString(text) => Some(text.as_str().as_bytes()),
        AMQPValue::ByteArray(bytes) => Some(bytes.as_slice()),
        _ => None,
    }
}

fn untyped(value: &AMQPValue) -> Untyped<'_> {
    if let Some(number) = integer(value) {
        return Untyped::Integer(number.into());
    }
    if let Some(bytes) = bytes(value) {
        return Untyped::Binary(bytes);
    }
    match *value {
        AMQPValue::Timestamp(seconds) => Untyped::Integer(seconds.into()),
        AMQPValue::Float(number) => Untyped::Float(number.into()),
        AMQPValue::Double(number) => Untyped::Float(number),
        _ => Untyped::Other(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(fields: Vec<(&str, AMQPValue)>) -> FieldTable {
        let mut table = FieldTable::default();
        for (key, value) in fields {
            table.insert(key.into(), value);
        }
        table
    }

    #[test]
    fn integers_of_all_wire_types_compare_by_value() {
        let ten = [
            AMQPValue::ShortShortInt(10),
            AMQPValue::ShortShortUInt(10),
            AMQPValue::ShortInt(10),
            AMQPValue::ShortUInt(10),
            AMQPValue::LongInt(10),
            AMQPValue::LongUInt(10),
            AMQPValue::LongLongInt(10),
        ];
        for one in &ten {
            for other in &ten {
                assert!(equivalent(one, other));
            }
            assert!(!equivalent(one, &AMQPValue::LongInt(11)));
            assert!(!equivalent(one, &AMQPValue::Double(10.0)));
            assert!(!equivalent(one, &AMQPValue::LongString("10".into())));
        }
    }

    #[test]
    fn float_equals_a_double_of_the_same_value() {
        assert!(equivalent(&AMQPValue::Float(1.5), &AMQPValue::Double(1.5)));
        assert!(!equivalent(
            &AMQPValue::Float(1.5),
            &AMQPValue::Double(1.25)
        ));
    }

    #[test]
    fn values_inside_arrays_and_tables_compare_with_their_types() {
        let array = |value| AMQPValue::FieldArray(vec![value].into());
        let long = || AMQPValue::LongLongInt(1);
        assert!(equivalent(&array(long()), &array(long())));
        assert!(!equivalent(&array(long()), &array(AMQPValue::LongInt(1))));
    }

    #[test]
    fn tables_compare_by_keys_and_values_in_any_order() {
        let one = table(vec![("a", AMQPValue::LongInt(1)), ("b", AMQPValue::Void)]);
        let same = table(vec![
            ("b", AMQPValue::Void),
            ("a", AMQPValue::LongLongInt(1)),
        ]);
        let longer = table(vec![
            ("a", AMQPValue::LongInt(1)),
            ("b", AMQPValue::Void),
            ("c", AMQPValue::Void),
        ]);
        assert!(equivalent_tables(&one, &same));
        assert!(!equivalent_tables(&one, &longer));
        assert!(!equivalent_tables(&one, &FieldTable::default()));
    }

    #[test]
    fn timestamp_of_a_header_is_compared_in_milliseconds() {
        let header = AMQPValue::Timestamp(7);
        assert!(header_equals(&header, &AMQPValue::LongLongInt(7000)));
        assert!(!header_equals(&header, &AMQPValue::Timestamp(7)));
    }
}
