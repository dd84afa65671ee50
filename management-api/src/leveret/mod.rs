//! What RabbitMQ's API does not have, under `/api/leveret/`: where a publish would go, messages where they lie, moving
//! them, queues that are paused, what a policy would match, what happened lately, and the level of the log.
//!
//! Who may do what follows from what the same would take over AMQP: looking at messages needs permission to read the
//! queue, moving them also permission to write where they go.

mod attention;
mod events;
mod explain;
mod filter;
mod journal;
mod log_level;
mod message;
mod moves;
mod peek;
mod policy_preview;
mod queue;
mod session;

use serde_json::Value;

pub(crate) use self::queue::own_json;
use crate::{Error, body::JsonBody, openapi::Routes};

pub(crate) fn routes() -> Routes {
    Routes::about("Leveret: messages")
        .merge(attention::routes())
        .merge(events::routes())
        .merge(explain::routes())
        .merge(journal::routes())
        .merge(log_level::routes())
        .merge(moves::routes())
        .merge(peek::routes())
        .merge(policy_preview::routes())
        .merge(queue::routes())
        .merge(session::routes())
}

/// Refuses a body that has other keys than `known`: a word that is misspelled must not be a condition that is missing.
fn check_keys(body: &JsonBody, known: &[&str]) -> Result<(), Error> {
    match body.0.keys().find(|key| !known.contains(&key.as_str())) {
        None => Ok(()),
        Some(key) => Err(Error::BadRequest(format!(
            "unknown key '{key}'; there are {}",
            known.join(", ")
        ))),
    }
}

/// The number under this key, if it is there.
fn number(body: &JsonBody, key: &str) -> Result<Option<u64>, Error> {
    match body.find(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64() {
            Some(number) => Ok(Some(number)),
            None => Err(Error::BadRequest(format!(
                "{key} has to be a whole number that is not negative"
            ))),
        },
    }
}

/// The text under this key, if it is there.
fn optional_text(body: &JsonBody, key: &str) -> Result<Option<String>, Error> {
    match body.find(key) {
        None | Some(Value::Null) => Ok(None),
        Some(_) => body.text(key).map(|text| Some(text.to_owned())),
    }
}
