//! The node (RabbitMQ: `rabbit_mgmt_wm_nodes`, `rabbit_mgmt_wm_node`, `rabbit_mgmt_wm_node_memory`).
//!
//! What concerns Erlang, its file handle cache and its message store is left out; see `docs/compatibility.md`.

use axum::{extract::State, response::Response};
use broker_core::{
    alarms,
    statistics::{Column, Resource},
};
use serde_json::{Value, json};

use crate::{
    Error, Node, Shared,
    caller::{Authorized, Monitor},
    listing::{self, Ready},
    openapi::{Routes, get, schemas::node as schemas},
    request::{Names, Query},
    statistics::{Object, Ranges, put_churn, put_resources},
};

/// What the process may use, in the words of `/api/nodes`.
#[derive(Debug, Clone, Copy, Default)]
pub struct ResourceLimits {
    /// Bytes of memory above which publishers are blocked.
    pub mem_limit: u64,
    /// Free bytes of the disk below which publishers are blocked.
    pub disk_free_limit: u64,
    /// Open file descriptors.
    pub fd_total: u64,
    /// Threads of the runtime.
    pub processors: usize,
}

pub(crate) fn routes() -> Routes {
    let memory = || {
        get(memory)
            .says("What its memory is used for")
            .gives::<schemas::NodeMemory>()
    };
    let list = get(list)
        .says("The node, as a list")
        .lists::<schemas::Node>();
    let one = get(one).says("The node").gives::<schemas::Node>();
    let relative = get(relative_memory).says("The same in per cent");
    let relative = relative.gives::<schemas::RelativeNodeMemory>();
    Routes::about("The broker")
        .route("/nodes", list.with_statistics())
        .route("/nodes/{node}", one.with_statistics())
        .route("/nodes/{node}/memory", memory())
        .route("/nodes/{node}/memory/relative", relative)
        .route("/nodes/{node}/memory/ets", memory())
}

async fn list(
    _: Authorized<Monitor>,
    State(node): State<Shared>,
    query: Query,
) -> Result<Response, Error> {
    let ranges = Ranges::of(&query)?;
    let items = vec![Ready(node_json(&node, &query, &ranges).into())];
    listing::all(items, &["name"], &query)
}

async fn one(
    _: Authorized<Monitor>,
    State(node): State<Shared>,
    names: Names,
    query: Query,
) -> Result<Response, Error> {
    let ranges = Ranges::of(&query)?;
    check_name(&names, &node)?;
    listing::one(node_json(&node, &query, &ranges), &query)
}

/// What the Erlang machine has memory for and nothing here: tools expect each of them.
const ERLANG_MEMORY: [&str; 24] = [
    "connection_readers",
    "connection_writers",
    "connection_channels",
    "connection_other",
    "quorum_queue_procs",
    "stream_queue_procs",
    "stream_queue_replica_reader_procs",
    "stream_queue_coordinator_procs",
    "plugins",
    "metadata_store",
    "metrics",
    "mgmt_db",
    "mnesia",
    "quorum_ets",
    "metadata_store_ets",
    "other_ets",
    "binary",
    "msg_index",
    "code",
    "atom",
    "other_system",
    "allocated_unused",
    "reserved_unallocated",
    "quorum_queue_dlx_procs",
];

/// RabbitMQ divides the memory by what the Erlang machine has it for.
async fn memory(
    _: Authorized<Monitor>,
    State(node): State<Shared>,
    names: Names,
    query: Query,
) -> Result<Response, Error> {
    check_name(&names, &node)?;
    let used = node.core.statistics().resources();
    let used = used.0.first().copied().unwrap_or_default();
    let queues = node.core.pager().resident() as u64;
    let mut memory: Object = ERLANG_MEMORY
        .map(|part| (part.to_owned(), 0.into()))
        .into_iter()
        .collect();
    memory.insert("queue_procs".to_owned(), queues.into());
    memory.insert("other_proc".to_owned(), used.saturating_sub(queues).into());
    memory.insert("strategy".to_owned(), "rss".into());
    let total = json!({ "rss": used, "allocated": used, "erlang": used });
    memory.insert("total".to_owned(), total);
    let memory = json!({ "memory": memory });
    listing::one(memory, &query)
}

/// The same in per cent (`rabbit_mgmt_wm_node_memory:format`): what is there at all is at least 1.
async fn relative_memory(
    _: Authorized<Monitor>,
    State(node): State<Shared>,
    names: Names,
    query: Query,
) -> Result<Response, Error> {
    check_name(&names, &node)?;
    let total = used(&node, Resource::MemUsed).max(1);
    let queues = node.core.pager().resident() as u64;
    let percentage = |part: u64| match (part as f64 / total as f64 * 100.0).round() as u64 {
        0 if part > 0 => 1,
        rounded => rounded,
    };
    let memory = json!({
        "memory": {
            "total": 100,
            "queue_procs": percentage(queues),
            "other_proc": percentage(total.saturating_sub(queues)),
        }
    });
    listing::one(memory, &query)
}

fn check_name(names: &Names, node: &Node) -> Result<(), Error> {
    match names.get("node") == node.name {
        true => Ok(()),
        false => Err(Error::NoSuchPath),
    }
}

/// What the API says of the node.
fn node_json(node: &Node, query: &Query, ranges: &Ranges) -> Object {
    let Value::Object(mut object) = json!({
        "name": node.name,
        "type": "disc",
        "running": true,
        "being_drained": false,
    }) else {
        return Object::new();
    };
    if query.is_true("disable_stats") {
        return object;
    }
    put_facts(node, &mut object);
    put_resources(node, ranges, &mut object);
    put_churn(node, ranges, &mut object);
    object
}

fn put_facts(node: &Node, object: &mut Object) {
    let alarms = node.core.alarms();
    let alarm = |resource: alarms::Resource| alarms.resources().any(|on| on == resource);
    let limits = &node.limits;
    let mut put = |key: &str, value: Value| object.insert(key.to_owned(), value);
    put("os_pid", std::process::id().to_string().into());
    put("uptime", node.now().saturating_sub(node.started_at).into());
    put("mem_limit", limits.mem_limit.into());
    put("mem_alarm", alarm(alarms::Resource::Memory).into());
    put("disk_free_limit", limits.disk_free_limit.into());
    put("disk_free_alarm", alarm(alarms::Resource::Disk).into());
    put("fd_total", limits.fd_total.into());
    // A connection is one descriptor.
    put("sockets_total", limits.fd_total.into());
    put("proc_total", (1u64 << 20).into());
    put("processors", limits.processors.into());
    put("run_queue", 0.into());
    put("rates_mode", "basic".into());
    put("mem_calculation_strategy", "rss".into());
    put("net_ticktime", 60.into());
    put("db_dir", node.data_dir.display().to_string().into());
    for key in ["log_files", "config_files", "partitions", "cluster_links"] {
        put(key, json!([]));
    }
    put(
        "enabled_plugins",
        json!(["rabbitmq_management", "rabbitmq_prometheus"]),
    );
    put("exchange_types", exchange_types());
    put("auth_mechanisms", auth_mechanisms());
    put("applications", applications());
    put("contexts", contexts(node));
    put("metrics_gc_queue_length", json!({}));
    put("ra_open_file_metrics", json!({}));
    put("node_tags", json!({}));
}

/// The exchange types that there are.
pub(crate) fn exchange_types() -> Value {
    let kind = |name: &str| {
        let description = format!("AMQP {name} exchange, as per the AMQP specification");
        json!({ "name": name, "description": description, "enabled": true })
    };
    ["direct", "fanout", "headers", "topic"]
        .map(kind)
        .to_vec()
        .into()
}

fn auth_mechanisms() -> Value {
    let mechanism = |name: &str, description: &str| json!({ "name": name, "description": description, "enabled": true });
    json!([
        mechanism("PLAIN", "SASL PLAIN authentication mechanism"),
        mechanism("AMQPLAIN", "QPid AMQPLAIN mechanism"),
        mechanism("EXTERNAL", "SASL EXTERNAL authentication mechanism"),
    ])
}

fn applications() -> Value {
    json!([
        { "name": "leveret", "description": "Leveret", "version": env!("CARGO_PKG_VERSION") },
        { "name": "rabbit", "description": "RabbitMQ", "version": crate::RABBITMQ_VERSION },
    ])
}

/// Where HTTP is served.
pub(crate) fn contexts(node: &Node) -> Value {
    let http = node.listeners.iter();
    let http = http.filter(|it| it.protocol.starts_with("http"));
    let contexts = http.map(|listener| {
        json!({
            "description": "Leveret Management",
            "node": node.name,
            "path": "/",
            "port": listener.address.port().to_string(),
            "ssl_opts": [],
        })
    });
    contexts.collect()
}

/// Publishers that cannot publish at the moment.
pub(crate) fn blocked_publishers(node: &Node) -> usize {
    use broker_core::broker::ConnectionState;
    let connections = node.core.connections();
    let blocked = connections.iter();
    blocked
        .filter(|it| it.state() == ConnectionState::Blocked)
        .count()
}

/// What is known of one resource of the process.
pub(crate) fn used(node: &Node, resource: Resource) -> u64 {
    let used = node.core.statistics().resources();
    used.0.get(resource as usize).copied().unwrap_or_default()
}

/// A total of the node.
pub(crate) fn total(node: &Node, column: Column) -> u64 {
    node.core.statistics().counts().get(column)
}
