//! The body of a request: its bounds in size and time, and the JSON object that it nearly always is.

use std::time::Duration;

use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json::{Map, Value};
use tokio::time::timeout;

use crate::{Error, Shared};

/// The longest body, in bytes (`MANAGEMENT_DEFAULT_HTTP_MAX_BODY_SIZE`).
pub(crate) const MAX_BODY_SIZE: usize = 20_000_000;

/// How long a body may take to arrive (cowboy's `idle_timeout`).
const PATIENCE: Duration = Duration::from_secs(60);

/// A body as it came.
pub(crate) struct RawBody(pub(crate) Bytes);

impl FromRequest<Shared> for RawBody {
    type Rejection = Error;

    async fn from_request(request: Request, _: &Shared) -> Result<Self, Error> {
        let body = Limited::new(request.into_body(), MAX_BODY_SIZE);
        match timeout(PATIENCE, body.collect()).await {
            Ok(Ok(collected)) => Ok(Self(collected.to_bytes())),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_long()),
            Ok(Err(error)) => Err(Error::BadRequest(error.to_string())),
            Err(_) => Err(Error::BadRequest("the body took too long".to_owned())),
        }
    }
}

/// RabbitMQ's words for a body that is too long.
pub(crate) fn too_long() -> Error {
    Error::BadRequest("Exceeded HTTP request body size limit".to_owned())
}

/// The body as a JSON object; nothing, `null` and `undefined` count as an empty one (`rabbit_mgmt_util:decode`).
#[derive(Debug, Clone, Default)]
pub(crate) struct JsonBody(pub(crate) Map<String, Value>);

impl FromRequest<Shared> for JsonBody {
    type Rejection = Error;

    async fn from_request(request: Request, node: &Shared) -> Result<Self, Error> {
        let RawBody(bytes) = RawBody::from_request(request, node).await?;
        Self::decode(&bytes)
    }
}

impl JsonBody {
    /// Reads the object.
    ///
    /// # Errors
    /// 400 with RabbitMQ's reasons.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Error> {
        if matches!(bytes, b"" | b"null" | b"undefined") {
            return Ok(Self::default());
        }
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(object)) => Ok(Self(object)),
            Ok(Value::String(_)) => Err(Error::BadRequest(
                "invalid payload: the request body JSON-decoded to a string. Is the input doubly-JSON-encoded?"
                    .to_owned(),
            )),
            Ok(_) | Err(_) => Err(Error::BadRequest("not_json".to_owned())),
        }
    }

    /// The value under this key.
    pub(crate) fn find(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }

    /// The values under these keys.
    ///
    /// # Errors
    /// 400 with RabbitMQ's list of those that are missing: `[{key_missing,value}]`.
    pub(crate) fn required<const N: usize>(&self, keys: [&str; N]) -> Result<[&Value; N], Error> {
        let missing: Vec<String> = keys
            .iter()
            .filter(|key| !self.0.contains_key(**key))
            .map(|key| format!("{{key_missing,{key}}}"))
            .collect();
        if !missing.is_empty() {
            return Err(Error::BadRequest(format!("[{}]", missing.join(","))));
        }
        static NULL: Value = Value::Null;
        Ok(keys.map(|key| self.0.get(key).unwrap_or(&NULL)))
    }

    /// The text under this key.
    ///
    /// # Errors
    /// 400: it is missing, or no text.
    pub(crate) fn text(&self, key: &str) -> Result<&str, Error> {
        let [value] = self.required([key])?;
        let text = value.as_str();
        text.ok_or_else(|| Error::BadRequest(format!("{key} has to be a string")))
    }

    /// The flag under this key, `false` when it is missing. Texts count too (`rabbit_misc:parse_bool`).
    ///
    /// # Errors
    /// 400: it is no flag.
    pub(crate) fn flag(&self, key: &str) -> Result<bool, Error> {
        match self.0.get(key) {
            None | Some(Value::Null | Value::Bool(false)) => Ok(false),
            Some(Value::Bool(true)) => Ok(true),
            Some(Value::String(text)) if text == "true" => Ok(true),
            Some(Value::String(text)) if text == "false" || text == "undefined" => Ok(false),
            Some(other) => Err(Error::BadTerm(vec!["not_boolean".into(), other.clone()])),
        }
    }
}

/// The longest name that AMQP can carry, in bytes.
const LONGEST_NAME: usize = 255;

/// Checks that AMQP can carry a name or a key.
///
/// # Errors
/// 400: it is too long.
pub(crate) fn check_name(what: &str, name: &str) -> Result<(), Error> {
    match name.len() <= LONGEST_NAME {
        true => Ok(()),
        false => Err(Error::BadRequest(format!(
            "{what} has more than {LONGEST_NAME} bytes"
        ))),
    }
}
