//! A message as the API shows it: the fields of RabbitMQ's `get`, and where and how long it has been lying.

use base64::{Engine, prelude::BASE64_STANDARD};
use broker_core::queue::{Entry, Millis, NEVER};
use serde_json::{Value, json};

use crate::{Error, properties};

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
            "properties": properties::to_json(&message.visible_properties()),
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
