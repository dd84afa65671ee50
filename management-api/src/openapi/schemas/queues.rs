//! Queues.

use std::collections::BTreeMap;

use utoipa::ToSchema;

use super::{Any, Details, Fields, MessageStats, clients::Consumer};

/// A queue. `disable_stats` leaves only what was declared; lists have less than one queue asked for by its name.
#[derive(ToSchema)]
pub(crate) struct Queue {
    name: String,
    vhost: String,
    durable: bool,
    auto_delete: bool,
    exclusive: bool,
    arguments: Fields,
    /// `classic` or `quorum`.
    r#type: String,
    /// Always `running`.
    state: String,
    node: String,
    internal: bool,
    /// Always `false`: there are no internal queues.
    internal_owner: bool,
    /// The name of the policy that counts.
    policy: Option<String>,
    /// The name of the operator policy that counts.
    operator_policy: Option<String>,
    /// What both come to together.
    effective_policy_definition: Option<Fields>,
    /// The connection that has the queue to itself.
    owner_pid_details: Option<Peer>,
    messages: Option<u64>,
    messages_details: Option<Details>,
    messages_ready: Option<u64>,
    messages_ready_details: Option<Details>,
    messages_unacknowledged: Option<u64>,
    messages_unacknowledged_details: Option<Details>,
    message_stats: Option<MessageStats>,
    consumers: Option<u64>,
    /// 1 if a consumer would take a message now, else 0.
    consumer_capacity: Option<f64>,
    /// The same.
    consumer_utilisation: Option<f64>,
    /// What waiting messages cost in memory, in bytes.
    memory: Option<u64>,
    /// Bytes of bodies.
    message_bytes: Option<u64>,
    message_bytes_ready: Option<u64>,
    message_bytes_unacknowledged: Option<u64>,
    message_bytes_ram: Option<u64>,
    messages_ram: Option<u64>,
    messages_ready_ram: Option<u64>,
    messages_unacknowledged_ram: Option<u64>,
    /// Ready messages that lie on disk only.
    messages_paged_out: Option<u64>,
    /// Messages of a quorum queue that came back and wait for their next try.
    messages_delayed: Option<u64>,
    /// When the first of them is ready again, in milliseconds since 1970.
    next_delayed_at: Option<u64>,
    /// When the last of them is.
    last_delayed_at: Option<u64>,
    /// What of that which comes back to a quorum queue waits, and for how long: `disabled`, or
    /// `all (min: 1000ms, max: 5000ms)`.
    delayed_retry: Option<String>,
    /// The property `timestamp` of the first message, in seconds since 1970.
    head_message_timestamp: Option<u64>,
    storage_version: Option<u64>,
    exclusive_consumer_tag: Option<String>,
    single_active_consumer_tag: Option<String>,
    /// For how long the first message has been waiting, in milliseconds.
    oldest_message_age: Option<u64>,
    undeliverable_dead_letters: Option<UndeliverableDeadLetters>,
    /// Since when nothing went in or out.
    idle_since: Option<String>,
    consumer_details: Option<Vec<Consumer>>,
    /// Always empty.
    deliveries: Option<Vec<Any>>,
    /// Always empty.
    incoming: Option<Vec<Any>>,
    /// Whether deliveries are held back.
    paused: Option<bool>,
    effective_configuration: Option<Vec<Setting>>,
    time_in_queue: Option<Times>,
    publish_to_ack: Option<Times>,
    /// Messages per second that come, over the last five.
    in_rate: Option<f64>,
    /// Messages per second that leave, in whatever way.
    out_rate: Option<f64>,
    /// When the queue will be empty if that goes on, in milliseconds; `null` if it does not shrink.
    drain_estimate_ms: Option<u64>,
    /// Messages that died in it, by reason.
    dead_messages: Option<BTreeMap<String, u64>>,
}

/// The client at the other end of a connection.
#[derive(ToSchema)]
pub(crate) struct Peer {
    name: String,
    peer_host: String,
    peer_port: u16,
}

/// Dead letters that went nowhere, by reason.
#[derive(ToSchema)]
pub(crate) struct UndeliverableDeadLetters {
    missing_exchange: u64,
    unroutable: u64,
    cycles: u64,
}

/// A setting that is in force.
#[derive(ToSchema)]
pub(crate) struct Setting {
    key: String,
    value: Any,
    /// Who said so: `default`, `argument`, `policy` or `operator_policy`.
    source: String,
}

/// Times over the last minute.
#[derive(ToSchema)]
pub(crate) struct Times {
    /// Messages that were measured.
    count: u64,
    p50_ms: u64,
    p99_ms: u64,
    p99_9_ms: u64,
    max_ms: u64,
}

/// What only Leveret tells of a queue.
#[derive(ToSchema)]
pub(crate) struct OwnQueue {
    vhost: String,
    name: String,
    /// Whether deliveries are held back.
    paused: bool,
    effective_configuration: Vec<Setting>,
    /// How long messages waited.
    time_in_queue: Option<Times>,
    /// How long it took until they were acknowledged.
    publish_to_ack: Option<Times>,
    /// Messages per second that come, over the last five.
    in_rate: f64,
    /// Messages per second that leave, in whatever way.
    out_rate: f64,
    /// When the queue will be empty if that goes on, in milliseconds; `null` if it does not shrink.
    drain_estimate_ms: Option<u64>,
    /// Messages that died in it, by reason.
    dead_messages: BTreeMap<String, u64>,
    /// The latest first, if a range was asked for.
    latency_samples: Option<Vec<LatencySample>>,
}

/// How long messages stayed in the minute before.
#[derive(ToSchema)]
pub(crate) struct LatencySample {
    /// Milliseconds since 1970.
    timestamp: u64,
    time_in_queue: Option<Latencies>,
    publish_to_ack: Option<Latencies>,
}

/// Times of a minute.
#[derive(ToSchema)]
pub(crate) struct Latencies {
    p50_ms: u64,
    p99_ms: u64,
}

/// How a queue is to be.
#[derive(ToSchema)]
pub(crate) struct NewQueue {
    durable: Option<bool>,
    auto_delete: Option<bool>,
    arguments: Option<Fields>,
}

/// What to do with a queue.
#[derive(ToSchema)]
pub(crate) struct Action {
    /// `sync` or `cancel_sync`: neither does anything.
    action: String,
}
