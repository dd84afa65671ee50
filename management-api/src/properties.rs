//! The properties and the body of a message as JSON (`rabbit_mgmt_format:to_basic_properties`).

use amqp_codec::{Properties, encode_table, parse_table};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use broker_core::arguments::json::{table_of_json, table_to_json};
use serde_json::Value;

use crate::{Error, statistics::Object};

/// The raw properties that an object says.
///
/// # Errors
/// 400 with RabbitMQ's reasons: a property is of the wrong type.
pub(crate) fn of_json(properties: &Value) -> Result<Vec<u8>, Error> {
    let text = |key: &'static str| match properties.get(key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(wrong("not_string", key)),
    };
    let number = |key: &'static str| match properties.get(key) {
        None => Ok(None),
        Some(value) => value
            .as_u64()
            .map(Some)
            .ok_or_else(|| wrong("not_int", key)),
    };
    let octet = |key: &'static str| {
        let number = number(key)?;
        let octet = number.map(u8::try_from).transpose();
        octet.map_err(|_| wrong("not_int", key))
    };
    let headers = headers(properties)?;
    let mut raw = Vec::new();
    Properties {
        content_type: text("content_type")?,
        content_encoding: text("content_encoding")?,
        headers: headers.as_deref(),
        delivery_mode: octet("delivery_mode")?,
        priority: octet("priority")?,
        correlation_id: text("correlation_id")?,
        reply_to: text("reply_to")?,
        expiration: text("expiration")?,
        message_id: text("message_id")?,
        timestamp: number("timestamp")?,
        kind: text("type")?,
        user_id: text("user_id")?,
        app_id: text("app_id")?,
        cluster_id: text("cluster_id")?,
    }
    .encode(&mut raw);
    Ok(raw)
}

/// The headers as the entries of a table.
fn headers(properties: &Value) -> Result<Option<Vec<u8>>, Error> {
    let Some(Value::Object(headers)) = properties.get("headers") else {
        return Ok(None);
    };
    let table = table_of_json(headers)?;
    let mut entries = Vec::new();
    let encoded = encode_table(&table, &mut entries);
    encoded.map_err(|error| Error::BadRequest(error.to_string()))?;
    Ok(Some(entries))
}

fn wrong(what: &str, key: &str) -> Error {
    Error::BadTerm(vec![what.into(), key.into()])
}

/// A body, given as a text or in base64.
///
/// # Errors
/// 400 with RabbitMQ's reasons.
pub(crate) fn payload(payload: &Value, encoding: &Value) -> Result<Vec<u8>, Error> {
    let bad = |text: String| Error::BadRequest(text);
    let text = payload.as_str();
    let text = text.ok_or_else(|| bad("payload_not_string".to_owned()))?;
    match encoding.as_str() {
        Some("string") => Ok(text.as_bytes().to_vec()),
        Some("base64") => {
            let decoded = STANDARD.decode(text.trim());
            decoded.map_err(|_| Error::BadTerm(vec!["not_base64".into(), text.into()]))
        }
        _ => Err(Error::BadTerm(vec![
            "unsupported_encoding".into(),
            encoding.clone(),
        ])),
    }
}

/// The properties that a message has, under RabbitMQ's names (`rabbit_mgmt_format:basic_properties`).
pub(crate) fn to_json(raw: &[u8]) -> Object {
    let mut object = Object::new();
    let Ok(properties) = Properties::parse(raw) else {
        return object;
    };
    let texts = [
        ("content_type", properties.content_type),
        ("content_encoding", properties.content_encoding),
        ("correlation_id", properties.correlation_id),
        ("reply_to", properties.reply_to),
        ("expiration", properties.expiration),
        ("message_id", properties.message_id),
        ("type", properties.kind),
        ("user_id", properties.user_id),
        ("app_id", properties.app_id),
        ("cluster_id", properties.cluster_id),
    ];
    for (name, text) in texts {
        object.extend(text.map(|text| (name.to_owned(), text.into())));
    }
    let numbers = [
        ("delivery_mode", properties.delivery_mode.map(u64::from)),
        ("priority", properties.priority.map(u64::from)),
        ("timestamp", properties.timestamp),
    ];
    for (name, number) in numbers {
        object.extend(number.map(|number| (name.to_owned(), number.into())));
    }
    if let Some(headers) = properties.headers {
        let headers = parse_table(headers).unwrap_or_default();
        object.insert("headers".to_owned(), table_to_json(&headers));
    }
    object
}
