//! Connections, channels and consumers.

use utoipa::ToSchema;

use super::{Any, Details, Fields, MessageStats, queues::Peer};

/// A connection.
#[derive(ToSchema)]
pub(crate) struct Connection {
    /// `127.0.0.1:50000 -> 127.0.0.1:5672`.
    name: String,
    node: String,
    vhost: String,
    user: String,
    user_who_performed_action: Option<String>,
    /// The name that the client has given it.
    user_provided_name: Option<String>,
    auth_mechanism: Option<String>,
    channel_max: Option<u64>,
    client_properties: Option<Fields>,
    /// Milliseconds since 1970.
    connected_at: Option<u64>,
    frame_max: Option<u64>,
    host: Option<String>,
    port: Option<u16>,
    peer_host: Option<String>,
    peer_port: Option<u16>,
    peer_cert_issuer: Option<String>,
    peer_cert_subject: Option<String>,
    peer_cert_validity: Option<String>,
    protocol: Option<String>,
    /// Whether it is encrypted.
    ssl: Option<bool>,
    ssl_cipher: Option<String>,
    ssl_hash: Option<String>,
    ssl_key_exchange: Option<String>,
    ssl_protocol: Option<String>,
    /// The heartbeat interval in seconds, 0 for none.
    timeout: Option<u64>,
    r#type: Option<String>,
    container_id: Option<String>,
    recv_oct: Option<u64>,
    recv_oct_details: Option<Details>,
    send_oct: Option<u64>,
    send_oct_details: Option<Details>,
    /// Reads from the socket.
    recv_cnt: Option<u64>,
    /// Writes to the socket.
    send_cnt: Option<u64>,
    send_pend: Option<u64>,
    channels: Option<u64>,
    /// `running`, `flow`, `blocking` or `blocked`.
    state: Option<String>,
}

/// A channel.
#[derive(ToSchema)]
pub(crate) struct Channel {
    connection_details: Peer,
    /// `127.0.0.1:50000 -> 127.0.0.1:5672 (1)`.
    name: String,
    node: String,
    number: u64,
    user: String,
    user_who_performed_action: String,
    vhost: String,
    acks_uncommitted: Option<u64>,
    /// Whether publishes are confirmed.
    confirm: Option<bool>,
    consumer_count: Option<u64>,
    global_prefetch_count: Option<u64>,
    messages_unacknowledged: Option<u64>,
    messages_uncommitted: Option<u64>,
    messages_unconfirmed: Option<u64>,
    prefetch_count: Option<u64>,
    pending_raft_commands: Option<u64>,
    cached_segments: Option<u64>,
    state: Option<String>,
    transactional: Option<bool>,
    idle_since: Option<String>,
    message_stats: Option<MessageStats>,
    consumer_details: Option<Vec<Consumer>>,
    /// Always empty.
    deliveries: Option<Vec<Any>>,
    /// Always empty.
    publishes: Option<Vec<Any>>,
}

/// A consumer.
#[derive(ToSchema)]
pub(crate) struct Consumer {
    arguments: Fields,
    ack_required: bool,
    active: bool,
    /// `up`, `waiting` or `single_active`.
    activity_status: String,
    channel_details: ConsumersChannel,
    consumer_tag: String,
    /// How long it may take to answer a delivery, in milliseconds; 0 for any time.
    consumer_timeout: u64,
    exclusive: bool,
    prefetch_count: u64,
    /// Deliveries that it has not answered.
    unacknowledged: u64,
    /// How many more it would get now; `null` for any number.
    credit: Option<u64>,
    queue: QueueName,
}

/// The channel of a consumer; without fields when it has just gone.
#[derive(ToSchema)]
pub(crate) struct ConsumersChannel {
    connection_name: Option<String>,
    name: Option<String>,
    node: Option<String>,
    number: Option<u64>,
    peer_host: Option<String>,
    peer_port: Option<u16>,
    user: Option<String>,
}

/// Which queue.
#[derive(ToSchema)]
pub(crate) struct QueueName {
    name: String,
    vhost: String,
}
