//! Messages: published, taken out, looked at.

use utoipa::ToSchema;

use super::{Any, Fields};

/// A message to publish.
#[derive(ToSchema)]
pub(crate) struct NewMessage {
    routing_key: String,
    /// `delivery_mode`, `headers`, `content_type` and so on; an empty list for none.
    properties: Any,
    payload: String,
    /// `string` or `base64`.
    payload_encoding: String,
}

/// Whether a queue has got the message.
#[derive(ToSchema)]
pub(crate) struct Routed {
    routed: bool,
}

/// Which messages to take out, and what becomes of them.
#[derive(ToSchema)]
pub(crate) struct Get {
    /// `ack_requeue_true`, `ack_requeue_false`, `reject_requeue_true` or `reject_requeue_false`.
    ackmode: String,
    /// How many.
    count: i64,
    /// `auto` for text where it is UTF-8, or `base64`.
    encoding: String,
    /// Bytes of a body that are shown at most.
    truncate: Option<i64>,
}

/// A message that was taken out.
#[derive(ToSchema)]
pub(crate) struct Got {
    payload_bytes: u64,
    redelivered: bool,
    exchange: String,
    routing_key: String,
    /// Messages that were left behind it.
    message_count: u64,
    /// Those that it has; an empty list for none.
    properties: Any,
    payload: String,
    /// `string` or `base64`.
    payload_encoding: String,
}

/// Which messages are meant: those that fulfil every condition.
#[derive(ToSchema)]
pub(crate) struct Filter {
    /// A pattern as topic exchanges know it.
    routing_key: Option<String>,
    exchange: Option<String>,
    /// Headers with these values; `null` for any value.
    headers: Option<Fields>,
    older_than_ms: Option<u64>,
    younger_than_ms: Option<u64>,
    /// `expired`, `rejected`, `maxlen` or `delivery_limit`.
    death_reason: Option<String>,
    /// The queue in which it died.
    death_queue: Option<String>,
}

/// Which messages to show where they lie.
#[derive(ToSchema)]
pub(crate) struct Peek {
    /// How many to pass over, 0 if nothing is said.
    offset: Option<u64>,
    /// How many to show, 10 if nothing is said and 1000 at most.
    count: Option<u64>,
    filter: Option<Filter>,
    /// `auto` for text where it is UTF-8, or `base64`.
    encoding: Option<String>,
    /// Bytes of a body that are shown at most.
    truncate: Option<u64>,
}

/// Messages where they lie.
#[derive(ToSchema)]
pub(crate) struct Peeked {
    messages: Vec<PeekedMessage>,
    messages_ready: u64,
    /// How many were looked at.
    examined: u64,
    /// Where to go on; `null` at the end.
    next_offset: Option<u64>,
}

/// A message where it lies.
#[derive(ToSchema)]
pub(crate) struct PeekedMessage {
    /// How many precede it.
    offset: u64,
    /// Its place, which never changes.
    position: u64,
    payload_bytes: u64,
    redelivered: bool,
    exchange: String,
    routing_key: String,
    /// Those that it has; an empty list for none.
    properties: Any,
    payload: String,
    /// `string` or `base64`.
    payload_encoding: String,
    priority: u64,
    persistent: bool,
    /// Milliseconds since 1970.
    entered_at: u64,
    age_ms: u64,
    /// How often it was handed out.
    acquired_count: u64,
    /// How often that failed.
    delivery_count: u64,
    expires_in_ms: Option<u64>,
}

/// A publish to explain.
#[derive(ToSchema)]
pub(crate) struct Explain {
    routing_key: Option<String>,
    headers: Option<Fields>,
    /// The user whose permissions are looked at.
    user: Option<String>,
}

/// Where a publish would go, and why.
#[derive(ToSchema)]
pub(crate) struct Explained {
    routed: bool,
    /// Whether it would be refused.
    refused: bool,
    /// Why it would go nowhere.
    reason: Option<String>,
    /// The routing key and those of the headers `CC` and `BCC`.
    routing_keys: Vec<String>,
    queues: Vec<ExplainedQueue>,
    path: Vec<ExplainedExchange>,
}

/// A queue that would get it.
#[derive(ToSchema)]
pub(crate) struct ExplainedQueue {
    name: String,
    durable: bool,
    messages_ready: u64,
    consumers: u64,
    paused: bool,
    /// Whether it would refuse the message.
    full: bool,
}

/// An exchange on the way.
#[derive(ToSchema)]
pub(crate) struct ExplainedExchange {
    exchange: String,
    r#type: String,
    /// `publish`, `binding` or `alternate_exchange`.
    reached_by: String,
    /// The exchange before it.
    reached_from: Option<String>,
    /// How many bindings it has.
    bindings: u64,
    matched: Vec<MatchedBinding>,
    alternate_exchange: Option<AlternateExchange>,
}

/// A binding that matches.
#[derive(ToSchema)]
pub(crate) struct MatchedBinding {
    destination: String,
    /// `queue` or `exchange`.
    destination_type: String,
    routing_key: String,
    arguments: Fields,
    /// The routing key that it matches.
    matched_key: String,
}

/// Where an exchange sends what it cannot route.
#[derive(ToSchema)]
pub(crate) struct AlternateExchange {
    name: String,
    exists: bool,
}
