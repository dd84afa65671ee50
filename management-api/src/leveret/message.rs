//! A message as the API shows it: the fields of RabbitMQ's `get`, and where and how long it has been lying.

use amqp_codec::{Properties, parse_table};
use base64::{Engine, prelude::BASE64_STANDARD};
use broker_core::{
    arguments::json::table_to_json,
    message::Message,
    queue::{Entry, Millis, NEVER},
};
use serde_json::{Map, Value, json};

use crate::Error;

/// How bodies are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// As text where they are UTF-8, else in base64.
    Auto,
    /// In base64.
    Base64,
}

impl Encoding {
    /// The encoding of that name.
    ///
    /// # Errors
    /// 400: there is none.
    pub(super) fn parse(name: Option<&str>) -> Result<Self, Error> {
        match name {
            None | Some("auto") => Ok(Self::Auto),
            Some("base64") => Ok(Self::Base64),
            Some(other) => Err(Error::BadRequest(format!(
                "unsupported encoding '{other}': auto or base64"
            ))),
        }
    }

    fn encode(self, payload: &[u8]) -> (Value, &'static str) {
        match (self, std::str::from_utf8(payload)) {
            (Self::Auto, Ok(text)) => (text.into(), "string"),
            _ => (BASE64_STANDARD.encode(payload).into(), "base64"),
        }
    }
}

/// How a message is shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown {
    /// Its body.
    pub(super) encoding: Encoding,
    /// Bytes of the body that are shown at most.
    pub(super) truncate: usize,
    /// The time.
    pub(super) now: Millis,
}

impl Shown {
    /// The message, `expiry` being when it expires.
    pub(super) fn json(&self, entry: &Entry, expiry: Millis) -> Value {
        let message = &entry.message;
        let body = message.body();
        let (payload, payload_encoding) =
            self.encoding
                .encode(cut(body, self.truncate, self.encoding));
        json!({
            "payload_bytes": body.len(),
            "redelivered": entry.redelivered,
            "exchange": message.exchange(),
            "routing_key": message.routing_key(),
            "properties": properties(message),
            "payload": payload,
            "payload_encoding": payload_encoding,
            "position": entry.position,
            "priority": entry.lane,
            "persistent": message.persistent(),
            "entered_at": entry.entered,
            "age_ms": self.now.saturating_sub(entry.entered),
            "acquired_count": entry.counts.acquired,
            "delivery_count": entry.counts.failed,
            "expires_in_ms": (expiry != NEVER).then(|| expiry.saturating_sub(self.now)),
        })
    }
}

/// The first `most` bytes of a body; fewer where text would be cut within a character.
fn cut(body: &[u8], most: usize, encoding: Encoding) -> &[u8] {
    let Some((first, _)) = body.split_at_checked(most) else {
        return body;
    };
    match std::str::from_utf8(first) {
        Err(error) if encoding == Encoding::Auto && error.error_len().is_none() => {
            first.get(..error.valid_up_to()).unwrap_or(first)
        }
        _ => first,
    }
}

/// The properties that a message has, under RabbitMQ's names.
pub(super) fn properties(message: &Message) -> Value {
    let visible = message.visible_properties();
    let Ok(properties) = Properties::parse(&visible) else {
        return json!({});
    };
    let mut shown = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            shown.insert(name.to_owned(), value);
        }
    };
    put("type", properties.kind.map(Value::from));
    put("user_id", properties.user_id.map(Value::from));
    put("app_id", properties.app_id.map(Value::from));
    put("cluster_id", properties.cluster_id.map(Value::from));
    put("timestamp", properties.timestamp.map(Value::from));
    put("message_id", properties.message_id.map(Value::from));
    put("expiration", properties.expiration.map(Value::from));
    put("reply_to", properties.reply_to.map(Value::from));
    put("correlation_id", properties.correlation_id.map(Value::from));
    put("priority", properties.priority.map(Value::from));
    put("delivery_mode", properties.delivery_mode.map(Value::from));
    let headers = properties.headers.and_then(|raw| parse_table(raw).ok());
    put("headers", headers.map(|headers| table_to_json(&headers)));
    put(
        "content_encoding",
        properties.content_encoding.map(Value::from),
    );
    put("content_type", properties.content_type.map(Value::from));
    Value::Object(shown)
}
