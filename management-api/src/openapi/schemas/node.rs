//! The node and the broker as a whole.

use std::collections::BTreeMap;

use utoipa::ToSchema;

use super::{Any, ChurnRates, Details, Fields, MessageStats, QueueTotals};

/// The broker as a whole.
#[derive(ToSchema)]
pub(crate) struct Overview {
    management_version: String,
    rates_mode: String,
    /// Seconds for which samples are kept.
    sample_retention_policies: Fields,
    exchange_types: Vec<Kind>,
    product_name: String,
    product_version: String,
    /// The version of RabbitMQ that Leveret works like.
    rabbitmq_version: String,
    cluster_name: String,
    cluster_tags: Fields,
    node_tags: Fields,
    disable_stats: bool,
    enable_queue_totals: bool,
    default_queue_type: String,
    is_op_policy_updating_enabled: bool,
    require_definition_json_extension: bool,
    statistics_db_event_queue: u64,
    node: String,
    store: Store,
    message_stats: Option<MessageStats>,
    churn_rates: Option<ChurnRates>,
    queue_totals: Option<QueueTotals>,
    object_totals: ObjectTotals,
    /// For monitors only.
    listeners: Option<Vec<Listener>>,
    /// For monitors only.
    contexts: Option<Vec<Context>>,
}

/// What keeps persistent messages.
#[derive(ToSchema)]
pub(crate) struct Store {
    /// `journal` or `sled`.
    engine: String,
    /// `sync`, `interval` or `none`.
    durability: String,
    /// Milliseconds between two syncs.
    sync_interval: Option<u64>,
}

/// An exchange type or a way to log in.
#[derive(ToSchema)]
pub(crate) struct Kind {
    name: String,
    description: String,
    enabled: bool,
}

/// How many there are of each.
#[derive(ToSchema)]
pub(crate) struct ObjectTotals {
    connections: u64,
    channels: u64,
    exchanges: u64,
    queues: u64,
    consumers: Option<u64>,
}

/// A port.
#[derive(ToSchema)]
pub(crate) struct Listener {
    node: String,
    /// `amqp`, `amqp/ssl`, `http` or `https`.
    protocol: String,
    ip_address: String,
    port: u16,
    socket_opts: Fields,
    tls: bool,
}

/// Where HTTP is served.
#[derive(ToSchema)]
pub(crate) struct Context {
    description: String,
    node: String,
    path: String,
    port: String,
    ssl_opts: Vec<Any>,
}

/// The node.
#[derive(ToSchema)]
pub(crate) struct Node {
    name: String,
    r#type: String,
    running: bool,
    being_drained: bool,
    os_pid: Option<String>,
    /// Milliseconds.
    uptime: Option<u64>,
    mem_limit: Option<u64>,
    mem_alarm: Option<bool>,
    mem_used: Option<u64>,
    mem_used_details: Option<Details>,
    disk_free_limit: Option<u64>,
    disk_free_alarm: Option<bool>,
    disk_free: Option<u64>,
    disk_free_details: Option<Details>,
    fd_total: Option<u64>,
    fd_used: Option<u64>,
    fd_used_details: Option<Details>,
    sockets_total: Option<u64>,
    sockets_used: Option<u64>,
    sockets_used_details: Option<Details>,
    proc_total: Option<u64>,
    proc_used: Option<u64>,
    proc_used_details: Option<Details>,
    processors: Option<u64>,
    run_queue: Option<u64>,
    rates_mode: Option<String>,
    mem_calculation_strategy: Option<String>,
    net_ticktime: Option<u64>,
    db_dir: Option<String>,
    log_files: Option<Vec<Any>>,
    config_files: Option<Vec<Any>>,
    partitions: Option<Vec<Any>>,
    cluster_links: Option<Vec<Any>>,
    enabled_plugins: Option<Vec<String>>,
    exchange_types: Option<Vec<Kind>>,
    auth_mechanisms: Option<Vec<Kind>>,
    applications: Option<Vec<Application>>,
    contexts: Option<Vec<Context>>,
    metrics_gc_queue_length: Option<Fields>,
    ra_open_file_metrics: Option<Fields>,
    node_tags: Option<Fields>,
    connection_created: Option<u64>,
    connection_created_details: Option<Details>,
    connection_closed: Option<u64>,
    connection_closed_details: Option<Details>,
    channel_created: Option<u64>,
    channel_created_details: Option<Details>,
    channel_closed: Option<u64>,
    channel_closed_details: Option<Details>,
    queue_declared: Option<u64>,
    queue_declared_details: Option<Details>,
    queue_created: Option<u64>,
    queue_created_details: Option<Details>,
    queue_deleted: Option<u64>,
    queue_deleted_details: Option<Details>,
}

/// A part of the program.
#[derive(ToSchema)]
pub(crate) struct Application {
    name: String,
    description: String,
    version: String,
}

/// What memory is used for.
#[derive(ToSchema)]
pub(crate) struct NodeMemory {
    memory: Memory,
}

/// Bytes of memory. What is not described is 0: only RabbitMQ has memory for it.
#[derive(ToSchema)]
pub(crate) struct Memory {
    /// Messages that wait.
    queue_procs: u64,
    /// All the rest.
    other_proc: u64,
    connection_readers: u64,
    connection_writers: u64,
    connection_channels: u64,
    connection_other: u64,
    quorum_queue_procs: u64,
    stream_queue_procs: u64,
    stream_queue_replica_reader_procs: u64,
    stream_queue_coordinator_procs: u64,
    plugins: u64,
    metadata_store: u64,
    metrics: u64,
    mgmt_db: u64,
    mnesia: u64,
    quorum_ets: u64,
    metadata_store_ets: u64,
    other_ets: u64,
    binary: u64,
    msg_index: u64,
    code: u64,
    atom: u64,
    other_system: u64,
    allocated_unused: u64,
    reserved_unallocated: u64,
    quorum_queue_dlx_procs: u64,
    strategy: String,
    total: MemoryTotal,
}

/// Bytes of memory, three times the same: RabbitMQ has three ways to measure.
#[derive(ToSchema)]
pub(crate) struct MemoryTotal {
    rss: u64,
    allocated: u64,
    erlang: u64,
}

/// What memory is used for, in per cent.
#[derive(ToSchema)]
pub(crate) struct RelativeNodeMemory {
    memory: RelativeMemory,
}

/// Parts of memory in per cent.
#[derive(ToSchema)]
pub(crate) struct RelativeMemory {
    /// 100.
    total: u64,
    /// Messages that wait.
    queue_procs: u64,
    other_proc: u64,
}

/// What a health check found.
#[derive(ToSchema)]
pub(crate) struct Health {
    /// `ok` or `failed`.
    status: String,
    reason: Option<String>,
    /// The alarms that are in effect.
    alarms: Option<Vec<Any>>,
    /// The listeners whose certificates expire.
    expired: Option<Vec<Any>>,
    /// The port that something listens on.
    port: Option<Any>,
    /// Where something listens.
    ports: Option<Vec<u16>>,
    /// The protocols that are served.
    protocols: Option<Vec<String>>,
    /// The port, or the protocols, that nothing serves.
    missing: Option<Any>,
    /// How many connections there are, if that is as many as there may be.
    connections: Option<u64>,
}

/// The name of the cluster.
#[derive(ToSchema)]
pub(crate) struct ClusterName {
    name: String,
}

/// Logins that were tried.
#[derive(ToSchema)]
pub(crate) struct Attempts {
    /// `amqp091` or `http`.
    protocol: String,
    auth_attempts: u64,
    auth_attempts_succeeded: u64,
    auth_attempts_failed: u64,
}

/// The same from one address, by one user.
#[derive(ToSchema)]
pub(crate) struct AttemptsBySource {
    remote_address: String,
    username: String,
    /// `amqp091` or `http`.
    protocol: String,
    auth_attempts: u64,
    auth_attempts_succeeded: u64,
    auth_attempts_failed: u64,
}

/// Which lines are logged.
#[derive(ToSchema)]
pub(crate) struct LogLevel {
    /// `info`, or `info,leveret::protocol=debug`.
    level: String,
}

/// What somebody should look at first.
#[derive(ToSchema)]
pub(crate) struct Attention {
    /// `memory`, `disk`.
    alarms: Vec<String>,
    blocked_publishers: u64,
    blocked_connections: Vec<BlockedConnection>,
    older_than_ms: u64,
    /// How many queues there are to look at; the list has 50 at most.
    queue_count: u64,
    queues: Vec<AttentionQueue>,
}

/// A connection that an alarm keeps from publishing.
#[derive(ToSchema)]
pub(crate) struct BlockedConnection {
    name: String,
    user: String,
    vhost: String,
}

/// A queue that somebody should look at, and why.
#[derive(ToSchema)]
pub(crate) struct AttentionQueue {
    vhost: String,
    name: String,
    messages_ready: u64,
    consumers: u64,
    /// By how much it has grown in the last minute without anybody to consume.
    growth_without_consumers: u64,
    /// The age of its oldest message, if that is too old.
    too_old_ms: Option<u64>,
    paused: bool,
    /// Messages that died in the last minute, by reason.
    dead_messages: BTreeMap<String, u64>,
}

/// How the store of persistent messages is.
#[derive(ToSchema)]
pub(crate) struct Journal {
    /// `journal` or `sled`.
    engine: String,
    /// `sync`, `interval` or `none`.
    durability: String,
    /// Bytes on their way to the disk.
    pending_bytes: u64,
    /// Bytes of memory of waiting messages.
    message_memory: u64,
    message_memory_budget: u64,
    syncs: Option<Vec<Syncs>>,
    /// All of them together.
    sync_seconds: Option<f64>,
    log_files: Option<u64>,
    segments: Option<u64>,
    bytes: Option<u64>,
    /// Bytes that are still needed.
    live_bytes: Option<u64>,
    written_bytes: Option<u64>,
    compactions: Option<u64>,
    compacted_bytes: Option<u64>,
}

/// Syncs by the time that they took.
#[derive(ToSchema)]
pub(crate) struct Syncs {
    /// `null` for all longer ones.
    up_to_ms: Option<f64>,
    count: u64,
}
