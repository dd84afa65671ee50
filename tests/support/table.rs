//! Field tables written as the test means them.

use super::{AMQPValue, FieldTable};
use std::collections::BTreeMap;

/// A table of the given fields.
pub fn table<const N: usize>(fields: [(&str, AMQPValue); N]) -> FieldTable {
    let fields: BTreeMap<_, _> = fields
        .into_iter()
        .map(|(key, value)| (key.into(), value))
        .collect();
    FieldTable::from(fields)
}

/// The type that clients send strings as.
pub fn longstr(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

/// An array of long strings, as in the `CC` header.
pub fn longstrs<const N: usize>(texts: [&str; N]) -> AMQPValue {
    AMQPValue::FieldArray(texts.map(longstr).to_vec().into())
}

/// The field `key` of a table.
///
/// # Panics
/// When there is none.
pub fn field<'t>(table: &'t FieldTable, key: &str) -> &'t AMQPValue {
    table
        .inner()
        .get(key)
        .unwrap_or_else(|| panic!("no field {key} in {table:?}"))
}

/// The field `key` of a table as text.
pub fn text(table: &FieldTable, key: &str) -> String {
    match field(table, key) {
        AMQPValue::LongString(value) => value.to_string(),
        other => panic!("{key} is no long string but {other:?}"),
    }
}

/// The field `key` of a table as a number, whatever its width on the wire.
pub fn number(table: &FieldTable, key: &str) -> i64 {
    match field(table, key) {
        AMQPValue::ShortShortInt(value) => i64::from(*value),
        AMQPValue::ShortInt(value) => i64::from(*value),
        AMQPValue::LongInt(value) => i64::from(*value),
        AMQPValue::LongLongInt(value) => *value,
        other => panic!("{key} is no number but {other:?}"),
    }
}
