//! JSON values written as Erlang writes them once they are decoded (`~tp`), since RabbitMQ's texts contain them.
//!
//! Erlang breaks long terms over several lines; here they stay on one.

use std::fmt;

use serde_json::Value;

use crate::arguments::{Binary, Float, Quoted};

/// Displays a value as an Erlang term: `10`, `<<"text">>`, `[1,2]`, `#{<<"key">> => null}`.
pub(super) struct JsonTerm<'a>(pub &'a Value);

impl fmt::Display for JsonTerm<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Null => out.write_str("null"),
            Value::Bool(value) => write!(out, "{value}"),
            Value::Number(number) => match number.as_f64() {
                Some(float) if number.is_f64() => write!(out, "{}", Float(float)),
                _ => write!(out, "{number}"),
            },
            Value::String(text) => write!(out, "{}", Binary(text.as_bytes())),
            Value::Array(values) => array(out, values),
            Value::Object(fields) => object(out, fields),
        }
    }
}

/// Erlang takes a list of character codes for a string.
fn array(out: &mut fmt::Formatter<'_>, values: &[Value]) -> fmt::Result {
    let code = |value: &Value| u32::try_from(value.as_u64()?).ok().and_then(char::from_u32);
    let text: Option<String> = values.iter().map(code).collect();
    if let Some(text) = text
        && !text.is_empty()
    {
        return write!(out, "{}", Quoted(&text));
    }
    out.write_str("[")?;
    for (place, value) in values.iter().enumerate() {
        let comma = if place > 0 { "," } else { "" };
        write!(out, "{comma}{}", JsonTerm(value))?;
    }
    out.write_str("]")
}

fn object(out: &mut fmt::Formatter<'_>, fields: &super::Definition) -> fmt::Result {
    out.write_str("#{")?;
    for (place, (key, value)) in fields.iter().enumerate() {
        let comma = if place > 0 { "," } else { "" };
        write!(
            out,
            "{comma}{} => {}",
            Binary(key.as_bytes()),
            JsonTerm(value)
        )?;
    }
    out.write_str("}")
}

/// Displays settings as the list of pairs that RabbitMQ makes of an object: `[{<<"key">>,1}]`.
pub(super) struct Pairs<'a>(pub &'a [(&'a String, &'a Value)]);

impl fmt::Display for Pairs<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("[")?;
        for (place, (key, value)) in self.0.iter().enumerate() {
            let comma = if place > 0 { "," } else { "" };
            let key = Binary(key.as_bytes());
            write!(out, "{comma}{{{key},{}}}", JsonTerm(value))?;
        }
        out.write_str("]")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(value: Value) -> String {
        JsonTerm(&value).to_string()
    }

    #[test]
    fn json_is_shown_as_erlang_shows_it_once_decoded() {
        assert_eq!(shown(json!(-1)), "-1");
        assert_eq!(shown(json!(1.5)), "1.5");
        assert_eq!(shown(json!(1e22)), "1.0e22");
        assert_eq!(shown(json!("a\"b")), r#"<<"a\"b">>"#);
        assert_eq!(shown(json!("")), "<<>>");
        assert_eq!(shown(json!(null)), "null");
        assert_eq!(shown(json!([])), "[]");
        assert_eq!(shown(json!([1, true])), "[1,true]");
        assert_eq!(shown(json!([104, 105])), r#""hi""#);
        assert_eq!(
            shown(json!({"b": 1, "a": [2]})),
            r#"#{<<"a">> => [2],<<"b">> => 1}"#
        );
    }
}
