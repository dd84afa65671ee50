//! AMQP field tables as JSON that gives back every value with its exact type.
//!
//! Each value is tagged with the letter that it has on the wire (RabbitMQ: "AMQP 0-9-1 Errata", field types):
//! `{"x-message-ttl": {"I": 60000}}`. Floats are kept as their bits, for JSON has no NaN and may round; strings that
//! are no UTF-8 as bytes.

use std::collections::BTreeMap;

use amqp_codec::{
    AMQPValue, ByteArray, DecimalValue, FieldArray, FieldTable, LongString, ShortString,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A value under its wire letter.
#[derive(Serialize, Deserialize)]
enum Stored {
    #[serde(rename = "t")]
    Boolean(bool),
    #[serde(rename = "b")]
    ShortShortInt(i8),
    #[serde(rename = "B")]
    ShortShortUInt(u8),
    #[serde(rename = "s")]
    ShortInt(i16),
    #[serde(rename = "u")]
    ShortUInt(u16),
    #[serde(rename = "I")]
    LongInt(i32),
    #[serde(rename = "i")]
    LongUInt(u32),
    #[serde(rename = "l")]
    LongLongInt(i64),
    #[serde(rename = "f")]
    Float(u32),
    #[serde(rename = "d")]
    Double(u64),
    #[serde(rename = "D")]
    Decimal { scale: u8, value: u32 },
    #[serde(rename = "short")]
    ShortString(String),
    #[serde(rename = "S")]
    Text(String),
    #[serde(rename = "S-bytes")]
    NoText(Vec<u8>),
    #[serde(rename = "A")]
    Array(Vec<Stored>),
    #[serde(rename = "T")]
    Timestamp(u64),
    #[serde(rename = "F")]
    Table(BTreeMap<String, Stored>),
    #[serde(rename = "x")]
    Bytes(Vec<u8>),
    #[serde(rename = "V")]
    Void,
}

/// For `#[serde(with = "arguments")]`.
pub(super) fn serialize<S: Serializer>(table: &FieldTable, to: S) -> Result<S::Ok, S::Error> {
    store_table(table).serialize(to)
}

/// For `#[serde(with = "arguments")]`.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<FieldTable, D::Error> {
    let stored = BTreeMap::deserialize(from)?;
    load_table(stored).ok_or_else(|| D::Error::custom("a field name of more than 255 bytes"))
}

/// The same as a string, equal for equal tables.
pub(super) fn text(table: &FieldTable) -> String {
    serde_json::to_string(&store_table(table)).unwrap_or_default()
}

/// The table of such a string; `None` if it is none.
pub(super) fn of_text(text: &str) -> Option<FieldTable> {
    load_table(serde_json::from_str(text).ok()?)
}

fn store_table(table: &FieldTable) -> BTreeMap<String, Stored> {
    table
        .into_iter()
        .map(|(name, value)| (name.to_string(), store(value)))
        .collect()
}

fn store(value: &AMQPValue) -> Stored {
    match value {
        AMQPValue::Boolean(value) => Stored::Boolean(*value),
        AMQPValue::ShortShortInt(value) => Stored::ShortShortInt(*value),
        AMQPValue::ShortShortUInt(value) => Stored::ShortShortUInt(*value),
        AMQPValue::ShortInt(value) => Stored::ShortInt(*value),
        AMQPValue::ShortUInt(value) => Stored::ShortUInt(*value),
        AMQPValue::LongInt(value) => Stored::LongInt(*value),
        AMQPValue::LongUInt(value) => Stored::LongUInt(*value),
        AMQPValue::LongLongInt(value) => Stored::LongLongInt(*value),
        AMQPValue::Float(value) => Stored::Float(value.to_bits()),
        AMQPValue::Double(value) => Stored::Double(value.to_bits()),
        AMQPValue::DecimalValue(value) => Stored::Decimal {
            scale: value.scale,
            value: value.value,
        },
        AMQPValue::ShortString(value) => Stored::ShortString(value.to_string()),
        AMQPValue::LongString(value) => store_string(value.as_bytes()),
        AMQPValue::FieldArray(array) => Stored::Array(array.as_slice().iter().map(store).collect()),
        AMQPValue::Timestamp(value) => Stored::Timestamp(*value),
        AMQPValue::FieldTable(table) => Stored::Table(store_table(table)),
        AMQPValue::ByteArray(value) => Stored::Bytes(value.as_slice().to_vec()),
        AMQPValue::Void => Stored::Void,
    }
}

fn store_string(bytes: &[u8]) -> Stored {
    match std::str::from_utf8(bytes) {
        Ok(text) => Stored::Text(text.to_owned()),
        Err(_) => Stored::NoText(bytes.to_vec()),
    }
}

/// `None` if a name is too long for a short string.
fn load_table(stored: BTreeMap<String, Stored>) -> Option<FieldTable> {
    let mut table = FieldTable::default();
    for (name, value) in stored {
        table.insert(ShortString::try_new(name).ok()?, load(value)?);
    }
    Some(table)
}

fn load(stored: Stored) -> Option<AMQPValue> {
    Some(match stored {
        Stored::Boolean(value) => AMQPValue::Boolean(value),
        Stored::ShortShortInt(value) => AMQPValue::ShortShortInt(value),
        Stored::ShortShortUInt(value) => AMQPValue::ShortShortUInt(value),
        Stored::ShortInt(value) => AMQPValue::ShortInt(value),
        Stored::ShortUInt(value) => AMQPValue::ShortUInt(value),
        Stored::LongInt(value) => AMQPValue::LongInt(value),
        Stored::LongUInt(value) => AMQPValue::LongUInt(value),
        Stored::LongLongInt(value) => AMQPValue::LongLongInt(value),
        Stored::Float(bits) => AMQPValue::Float(f32::from_bits(bits)),
        Stored::Double(bits) => AMQPValue::Double(f64::from_bits(bits)),
        Stored::Decimal { scale, value } => AMQPValue::DecimalValue(DecimalValue { scale, value }),
        Stored::ShortString(value) => AMQPValue::ShortString(ShortString::try_new(value).ok()?),
        Stored::Text(value) => AMQPValue::LongString(LongString::from(value)),
        Stored::NoText(value) => AMQPValue::LongString(LongString::from(value)),
        Stored::Array(values) => {
            let values: Option<Vec<_>> = values.into_iter().map(load).collect();
            AMQPValue::FieldArray(FieldArray::from(values?))
        }
        Stored::Timestamp(value) => AMQPValue::Timestamp(value),
        Stored::Table(table) => AMQPValue::FieldTable(load_table(table)?),
        Stored::Bytes(value) => AMQPValue::ByteArray(ByteArray::from(value)),
        Stored::Void => AMQPValue::Void,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize, Deserialize)]
    struct Holder(#[serde(with = "super")] FieldTable);

    fn through_json(table: &FieldTable) -> FieldTable {
        let json = serde_json::to_vec(&Holder(table.clone())).unwrap();
        serde_json::from_slice::<Holder>(&json).unwrap().0
    }

    fn table(values: impl IntoIterator<Item = AMQPValue>) -> FieldTable {
        let mut table = FieldTable::default();
        for (number, value) in values.into_iter().enumerate() {
            table.insert(ShortString::from(format!("field-{number}")), value);
        }
        table
    }

    fn every_type() -> Vec<AMQPValue> {
        vec![
            AMQPValue::Boolean(true),
            AMQPValue::ShortShortInt(i8::MIN),
            AMQPValue::ShortShortUInt(u8::MAX),
            AMQPValue::ShortInt(i16::MIN),
            AMQPValue::ShortUInt(u16::MAX),
            AMQPValue::LongInt(i32::MIN),
            AMQPValue::LongUInt(u32::MAX),
            AMQPValue::LongLongInt(i64::MIN),
            AMQPValue::Float(0.1),
            AMQPValue::Float(f32::INFINITY),
            AMQPValue::Double(0.1 + 0.2),
            AMQPValue::Double(f64::NEG_INFINITY),
            AMQPValue::DecimalValue(DecimalValue {
                scale: 2,
                value: 12_345,
            }),
            AMQPValue::ShortString("short".into()),
            AMQPValue::LongString("text \"quoted\" \u{1f407}".into()),
            AMQPValue::LongString(vec![0xff, 0, 0xfe].into()),
            AMQPValue::Timestamp(u64::MAX),
            AMQPValue::ByteArray(vec![1, 2, 3].into()),
            AMQPValue::Void,
        ]
    }

    #[test]
    fn arguments_keep_the_type_of_every_value() {
        let mut values = every_type();
        values.push(AMQPValue::FieldArray(every_type().into()));
        values.push(AMQPValue::FieldTable(table(every_type())));
        let table = table(values);
        assert_eq!(through_json(&table), table);
    }

    #[test]
    fn arguments_keep_the_bits_of_a_nan() {
        let table = table([AMQPValue::Double(f64::from_bits(0x7ff8_0000_0000_0001))]);
        let kept = through_json(&table);
        let AMQPValue::Double(kept) = kept.inner()["field-0"] else {
            panic!("not a double")
        };
        assert_eq!(kept.to_bits(), 0x7ff8_0000_0000_0001);
    }

    #[test]
    fn arguments_as_deep_as_the_codec_allows_are_kept() {
        let mut value = AMQPValue::Void;
        for level in 0..amqp_codec::MAX_TABLE_DEPTH {
            value = match level % 2 {
                0 => AMQPValue::FieldTable(table([value])),
                _ => AMQPValue::FieldArray(vec![value].into()),
            };
        }
        let table = table([value]);
        assert_eq!(through_json(&table), table);
    }

    #[test]
    fn arguments_with_a_field_name_of_256_bytes_are_refused() {
        let json = format!("{{\"{}\": \"V\"}}", "n".repeat(256));
        assert!(serde_json::from_str::<Holder>(&json).is_err());
    }
}
