//! The rules that arguments of queues and consumers are refused by, in RabbitMQ's order and with its reasons.

use std::fmt;

use super::{QUEUE_TYPE, QueueType};
use crate::{
    Error,
    arguments::{AMQPValue, FieldTable, Quoted, integer, lookup, text, type_name},
};

/// Ten years: the largest time to live and expiry, in milliseconds.
const MAX_EXPIRY_MS: i64 = 315_360_000_000;
const MAX_PRIORITY: i64 = 255;

/// What a classic queue knows (`rabbit_classic_queue:capabilities`), in the order of comparison. The last two are for
/// quorum queues only in RabbitMQ.
const CLASSIC: &[&str] = &[
    "x-expires",
    "x-message-ttl",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-priority",
    "x-overflow",
    "x-queue-mode",
    "x-queue-version",
    "x-single-active-consumer",
    QUEUE_TYPE,
    "x-queue-master-locator",
    "x-queue-leader-locator",
    "x-delivery-limit",
    "x-consumer-timeout",
];

/// What a quorum queue knows (`rabbit_quorum_queue:capabilities`).
const QUORUM: &[&str] = &[
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-dead-letter-strategy",
    "x-expires",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-in-memory-length",
    "x-max-in-memory-bytes",
    "x-overflow",
    "x-single-active-consumer",
    QUEUE_TYPE,
    "x-quorum-initial-group-size",
    "x-member-placement-tag",
    "x-delivery-limit",
    "x-message-ttl",
    "x-queue-leader-locator",
    "x-consumer-disconnected-timeout",
    "x-consumer-timeout",
    "x-delayed-retry-type",
    "x-delayed-retry-min",
    "x-delayed-retry-max",
];

/// What only a stream knows: other types of queue refuse it (`rabbit_stream_queue:capabilities`).
const STREAM_ONLY: &[&str] = &[
    "x-max-age",
    "x-stream-max-segment-size-bytes",
    "x-stream-filter-size-bytes",
    "x-initial-cluster-size",
];

/// What consumers of every queue know; the second is for quorum queues only in RabbitMQ.
const CONSUMER: &[&str] = &["x-priority", "x-consumer-timeout"];
const STREAM_ONLY_CONSUMER: &[&str] = &[
    "x-stream-offset",
    "x-stream-filter",
    "x-stream-match-unfiltered",
];

const LEADER_LOCATORS: &[&str] = &[
    "client-local",
    "balanced",
    "random",
    "least-leaders",
    "min-masters",
];

type Check = fn(&AMQPValue, &FieldTable) -> Result<(), Reason>;

/// The checks in the order of `rabbit_amqqueue:declare_args`, which decides what of several faults is reported.
const QUEUE_CHECKS: &[(&str, Check)] = &[
    ("x-expires", expires),
    ("x-message-ttl", expiry),
    ("x-dead-letter-exchange", string),
    ("x-dead-letter-routing-key", dead_letter_routing_key),
    ("x-dead-letter-strategy", |value, _| {
        one_of(
            value,
            &["at-most-once", "at-least-once"],
            "invalid_dlx_strategy",
        )
    }),
    ("x-max-length", unsigned),
    ("x-max-length-bytes", unsigned),
    ("x-max-in-memory-length", unsigned),
    ("x-max-in-memory-bytes", unsigned),
    ("x-max-priority", max_priority),
    ("x-overflow", |value, _| {
        one_of(
            value,
            &["drop-head", "reject-publish", "reject-publish-dlx"],
            "invalid_overflow",
        )
    }),
    ("x-queue-version", queue_version),
    ("x-single-active-consumer", boolean),
    ("x-consumer-timeout", unsigned),
    ("x-consumer-disconnected-timeout", unsigned),
    ("x-quorum-initial-group-size", positive),
    ("x-queue-leader-locator", |value, _| {
        one_of(value, LEADER_LOCATORS, "invalid_queue_locator_arg")
    }),
    ("x-member-placement-tag", member_placement_tag),
];

const CONSUMER_CHECKS: &[(&str, Check)] = &[
    ("x-priority", any_integer),
    ("x-consumer-timeout", unsigned),
];

/// Why a value is refused: the Erlang term that RabbitMQ shows (`~255p`).
enum Reason {
    Atom(&'static str),
    /// `{value_negative,-1}`
    Number(&'static str, i64),
    /// `{unacceptable_type,longstr}`
    UnacceptableType(&'static str),
    /// A string, in quotes.
    Text(String),
}

impl fmt::Display for Reason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Atom(atom) => out.write_str(atom),
            Self::Number(tag, number) => write!(out, "{{{tag},{number}}}"),
            Self::UnacceptableType(name) => write!(out, "{{unacceptable_type,{name}}}"),
            Self::Text(text) => write!(out, "{}", Quoted(text)),
        }
    }
}

/// Checks the arguments of a queue.declare.
pub(super) fn queue(table: &FieldTable, resource: &str) -> Result<(), Error> {
    if let Some(value) = lookup(table, QUEUE_TYPE) {
        queue_type(value).map_err(|reason| invalid(QUEUE_TYPE, resource, &reason))?;
    }
    let queue_type = QueueType::of(table);
    let known = known_to(queue_type);
    values(table, resource, known, QUEUE_CHECKS)?;
    keys(
        table,
        resource,
        queue_type,
        known,
        &[CLASSIC, QUORUM, STREAM_ONLY],
    )
}

/// Checks the arguments of a basic.consume.
pub(super) fn consumer(
    table: &FieldTable,
    queue_type: QueueType,
    resource: &str,
) -> Result<(), Error> {
    values(table, resource, CONSUMER, CONSUMER_CHECKS)?;
    keys(
        table,
        resource,
        queue_type,
        CONSUMER,
        &[STREAM_ONLY_CONSUMER],
    )
}

/// The arguments that a type of queue knows, and that have to be equivalent when it is declared again.
pub(super) fn known_to(queue_type: QueueType) -> &'static [&'static str] {
    match queue_type {
        QueueType::Classic => CLASSIC,
        QueueType::Quorum => QUORUM,
    }
}

fn values(
    table: &FieldTable,
    resource: &str,
    known: &[&str],
    checks: &[(&str, Check)],
) -> Result<(), Error> {
    for (key, check) in checks.iter().filter(|(key, _)| known.contains(key)) {
        if let Some(value) = lookup(table, key) {
            check(value, table).map_err(|reason| invalid(key, resource, &reason))?;
        }
    }
    Ok(())
}

/// Refuses arguments that another type of queue knows and this one does not.
fn keys(
    table: &FieldTable,
    resource: &str,
    queue_type: QueueType,
    known: &[&str],
    all: &[&[&str]],
) -> Result<(), Error> {
    let foreign = |key: &&str| !known.contains(key) && all.iter().any(|some| some.contains(key));
    match table.inner().keys().map(|key| key.as_str()).find(foreign) {
        None => Ok(()),
        Some(key) => Err(Error::PreconditionFailed(format!(
            "invalid arg '{key}' for {resource} of queue type {}",
            queue_type.module()
        ))),
    }
}

fn invalid(key: &str, resource: &str, reason: &Reason) -> Error {
    Error::PreconditionFailed(format!("invalid arg '{key}' for {resource}: {reason}"))
}

fn queue_type(value: &AMQPValue) -> Result<(), Reason> {
    string(value, &FieldTable::default())?;
    match text(value) {
        // The last two count as not given (maybe_inject_default_queue_type_shortcut_into_args).
        Some("classic" | "quorum" | "" | "undefined") => Ok(()),
        other => {
            let name = other.unwrap_or_default();
            Err(Reason::Text(format!("unsupported queue type '{name}'")))
        }
    }
}

fn int(value: &AMQPValue) -> Result<i64, Reason> {
    integer(value)
        .ok_or_else(|| Reason::Text(format!("expected integer, got {}", type_name(value))))
}

fn non_negative(value: &AMQPValue) -> Result<i64, Reason> {
    match int(value)? {
        number if number < 0 => Err(Reason::Number("value_negative", number)),
        number => Ok(number),
    }
}

fn any_integer(value: &AMQPValue, _: &FieldTable) -> Result<(), Reason> {
    int(value).map(drop)
}

fn unsigned(value: &AMQPValue, _: &FieldTable) -> Result<(), Reason> {
    non_negative(value).map(drop)
}

fn positive(value: &AMQPValue, _: &FieldTable) -> Result<(), Reason> {
    match non_negative(value)? {
        0 => Err(Reason::Number("value_zero", 0)),
        _ => Ok(()),
    }
}

fn expiry(value: &AMQPValue, _: &FieldTable) -> Result<(), Reason> {
    match non_negative(value)? {
        number if number > MAX_EXPIRY_MS => Err(Reason::Number("value_too_large", number)),
        _ => Ok(()),
    }
}

fn expires(value: &AMQPValue, table: &FieldTable) -> Result<(), Reason> {
    positive(value, table)?;
    expiry(value, table)
}

fn max_priority(value: &AMQPValue, _: &FieldTable) -> Result<(), Reason> {
    match non_negative(value)? {
        number if number > MAX_PRIORITY => Err(Reason::Number("max_value_exceeded", number)),
        _ => Ok(()),
    }
}

fn queue_version(value: &AMQPValue, _: &FieldTable) -> Result<(), Reason> {
    match non_negative(value)? {
        2 => Ok(()),
        number => Err(Reason::Text(format!(
            "unsupported queue version '{number}'"
        ))),
    }
}

fn boolean(value: &AMQPValue, _: &FieldTable) -> Result<(), Reason> {
    match value {
        AMQPValue::Boolean(_) => Ok(()),
        _ => Err(Reason::UnacceptableType(type_name(value))),
    }
}

fn string(value: &AMQPValue, _: &FieldTable) -> Result<(), Reason> {
    match value {
        AMQPValue::LongString(_) | AMQPValue::ShortString(_) => Ok(()),
        _ => Err(Reason::UnacceptableType(type_name(value))),
    }
}

fn one_of(value: &AMQPValue, allowed: &[&str], otherwise: &'static str) -> Result<(), Reason> {
    string(value, &FieldTable::default())?;
    match text(value) {
        Some(text) if allowed.contains(&text) => Ok(()),
        _ => Err(Reason::Atom(otherwise)),
    }
}

fn dead_letter_routing_key(value: &AMQPValue, table: &FieldTable) -> Result<(), Reason> {
    string(value, table)?;
    match lookup(table, "x-dead-letter-exchange") {
        Some(_) => Ok(()),
        None => Err(Reason::Atom("routing_key_but_no_dlx_defined")),
    }
}

fn member_placement_tag(value: &AMQPValue, table: &FieldTable) -> Result<(), Reason> {
    string(value, table)?;
    match text(value) {
        Some("") => Err(Reason::Atom("invalid_member_placement_tag_arg")),
        _ => Ok(()),
    }
}
