//! `GET /api/overview` and the health check of alarms.

use std::net::SocketAddr;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};

use crate::authentication::LoggedIn;
use crate::{RABBITMQ_VERSION, Shared};

/// Names and counts of the whole broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overview {
    /// The node's name, `leveret@host`.
    pub node: String,
    /// The cluster's name.
    pub cluster_name: String,
    /// How many of everything there are.
    pub object_totals: ObjectTotals,
    /// Where the broker listens.
    pub listeners: Vec<Listener>,
    /// What keeps persistent messages, and what a confirm of one means.
    pub store: StoreKind,
}

/// What keeps persistent messages, and what a confirm of one means. Not part of RabbitMQ's API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoreKind {
    /// `journal` or `sled`, as `store.engine` says.
    pub engine: &'static str,
    /// `sync`, `interval` or `none`, as `store.durability` says.
    pub durability: &'static str,
    /// Milliseconds between two syncs, with `interval`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sync_interval: Option<u64>,
}

/// How many objects the broker has, over all vhosts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ObjectTotals {
    /// Client connections.
    pub connections: u64,
    /// Open channels.
    pub channels: u64,
    /// Exchanges, the predeclared ones included.
    pub exchanges: u64,
    /// Queues.
    pub queues: u64,
    /// Consumers.
    pub consumers: u64,
}

/// A port that the broker listens on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// RabbitMQ's name of the protocol: `amqp`, `http`.
    pub protocol: &'static str,
    /// Address and port.
    pub address: SocketAddr,
}

pub(crate) async fn overview(_: LoggedIn, State(broker): State<Shared>) -> Json<Value> {
    let overview = broker.overview();
    let node = &overview.node;
    let listeners = overview.listeners.iter().map(|listener| {
        json!({
            "node": node,
            "protocol": listener.protocol,
            "ip_address": listener.address.ip().to_string(),
            "port": listener.address.port(),
        })
    });
    Json(json!({
        "product_name": "Leveret",
        "product_version": env!("CARGO_PKG_VERSION"),
        "rabbitmq_version": RABBITMQ_VERSION,
        "management_version": RABBITMQ_VERSION,
        "node": node,
        "cluster_name": overview.cluster_name,
        "object_totals": overview.object_totals,
        "store": overview.store,
        "listeners": listeners.collect::<Vec<_>>(),
    }))
}

/// 503 while an alarm is in effect (RabbitMQ: `rabbit_mgmt_wm_health_check_alarms`).
pub(crate) async fn alarms(_: LoggedIn, State(broker): State<Shared>) -> Response {
    let alarms = broker.alarms();
    if alarms.is_empty() {
        return Json(json!({ "status": "ok" })).into_response();
    }
    let node = broker.overview().node;
    let alarms = alarms
        .iter()
        .map(|resource| json!({ "node": node, "resource": resource }));
    let body = json!({
        "status": "failed",
        "reason": "There are alarms in effect in the cluster",
        "alarms": alarms.collect::<Vec<_>>(),
    });
    (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
}
