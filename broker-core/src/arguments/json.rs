//! Tables as the JSON of the HTTP API and of definitions files, which knows fewer types than AMQP does
//! (`rabbit_misc:amqp_table`, `rabbit_misc:to_amqp_table`): every integer becomes a `long`, every text a `longstr`.

use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Map, Value};

use super::{AMQPValue, FieldTable, ShortString, bytes, integer};
use crate::Error;

/// Characters of a line of base64 (MIME).
const LINE: usize = 76;

/// A table as an object.
pub fn table_to_json(table: &FieldTable) -> Value {
    let fields = table.inner().iter();
    let fields = fields.map(|(key, value)| (key.to_string(), value_to_json(value)));
    Value::Object(fields.collect())
}

/// A value of a table.
pub fn value_to_json(value: &AMQPValue) -> Value {
    if let Some(number) = integer(value) {
        return number.into();
    }
    if let Some(bytes) = bytes(value) {
        return text_of(bytes).into();
    }
    match value {
        AMQPValue::Boolean(flag) => (*flag).into(),
        AMQPValue::Float(number) => f64::from(*number).into(),
        AMQPValue::Double(number) => (*number).into(),
        AMQPValue::Timestamp(seconds) => (*seconds).into(),
        AMQPValue::DecimalValue(decimal) => {
            let text = format!("{}.{}", decimal.scale, decimal.value);
            text.parse::<f64>().unwrap_or_default().into()
        }
        AMQPValue::FieldArray(values) => values.as_slice().iter().map(value_to_json).collect(),
        AMQPValue::FieldTable(table) => table_to_json(table),
        _ => "undefined".into(),
    }
}

/// Bytes as text; those that are none in base64, which is said.
pub fn text_of(bytes: &[u8]) -> String {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return text.to_owned();
    }
    let mut lines = String::from("Not UTF-8, base64 is: ");
    for (position, letter) in BASE64_STANDARD.encode(bytes).chars().enumerate() {
        if position > 0 && position % LINE == 0 {
            lines.push('\n');
        }
        lines.push(letter);
    }
    lines
}

/// The table that an object stands for.
///
/// # Errors
/// 406: `null` is no value of a table; a key or the nesting is longer than AMQP allows; a number does not fit.
pub fn table_of_json(object: &Map<String, Value>) -> Result<FieldTable, Error> {
    table_within(object, amqp_codec::MAX_TABLE_DEPTH)
}

fn table_within(object: &Map<String, Value>, depth: usize) -> Result<FieldTable, Error> {
    let mut fields = BTreeMap::new();
    for (key, value) in object {
        let name = ShortString::try_new(key.as_str());
        let name = name.map_err(|_| refused("a key of more than 255 bytes"))?;
        fields.insert(name, value_within(value, depth)?);
    }
    Ok(FieldTable::from(fields))
}

fn value_within(value: &Value, depth: usize) -> Result<AMQPValue, Error> {
    let inside = depth
        .checked_sub(1)
        .ok_or_else(|| refused("tables that are nested too deep"));
    Ok(match value {
        Value::Null => return Err(refused("null_not_allowed")),
        Value::Bool(flag) => AMQPValue::Boolean(*flag),
        Value::String(text) => AMQPValue::LongString(text.as_str().into()),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => AMQPValue::LongLongInt(number),
            (None, Some(number)) if value.is_f64() => AMQPValue::Double(number),
            _ => return Err(refused("a number of more than 64 bits")),
        },
        Value::Array(values) => {
            let inside = inside?;
            let values = values.iter().map(|value| value_within(value, inside));
            AMQPValue::FieldArray(values.collect::<Result<Vec<_>, _>>()?.into())
        }
        Value::Object(object) => AMQPValue::FieldTable(table_within(object, inside?)?),
    })
}

fn refused(what: &str) -> Error {
    Error::PreconditionFailed(what.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(value: Value) -> Result<FieldTable, Error> {
        table_of_json(value.as_object().unwrap())
    }

    #[test]
    fn json_comes_back_from_a_table_as_it_was() {
        let object = json!({
            "text": "t", "number": 7, "flag": true, "double": 1.5, "list": [1, "two", { "three": 3 }], "table": {},
        });
        let table = of(object.clone()).unwrap();
        assert_eq!(
            table.inner().get("number"),
            Some(&AMQPValue::LongLongInt(7))
        );
        assert_eq!(table_to_json(&table), object);
    }

    #[test]
    fn types_that_json_does_not_have_are_shown_as_rabbitmq_shows_them() {
        assert_eq!(value_to_json(&AMQPValue::Timestamp(5)), json!(5));
        assert_eq!(value_to_json(&AMQPValue::Void), json!("undefined"));
        let bytes = AMQPValue::LongString(vec![0xff; 60].into());
        let text = value_to_json(&bytes);
        let text = text.as_str().unwrap();
        assert!(text.starts_with("Not UTF-8, base64 is: ////"));
        assert_eq!(text.lines().count(), 2);
    }

    #[test]
    fn what_no_table_can_hold_is_refused() {
        let deep = (0..200).fold(json!(1), |inside, _| json!({ "k": inside }));
        for object in [
            json!({ "k": null }),
            json!({ "k": u64::MAX }),
            json!({ "k".repeat(256): 1 }),
            deep,
        ] {
            assert!(of(object.clone()).is_err(), "{object}");
        }
    }
}
