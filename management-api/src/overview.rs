//! `GET /api/overview`.

use axum::{Json, Router, extract::State, routing::get};
use serde_json::{Value, json};

use crate::{
    Node, RABBITMQ_VERSION, Shared,
    caller::{Authorized, Management},
};

pub(crate) fn routes() -> Router<Shared> {
    Router::new().route("/overview", get(overview))
}

async fn overview(_: Authorized<Management>, State(node): State<Shared>) -> Json<Value> {
    let totals = node.core.totals();
    Json(json!({
        "product_name": "Leveret",
        "product_version": env!("CARGO_PKG_VERSION"),
        "rabbitmq_version": RABBITMQ_VERSION,
        "management_version": RABBITMQ_VERSION,
        "node": node.name,
        "cluster_name": node.cluster_name(),
        "object_totals": {
            "connections": totals.connections,
            "channels": totals.channels,
            "exchanges": totals.exchanges,
            "queues": totals.queues,
            "consumers": totals.consumers,
        },
        "store": node.store,
        "listeners": listeners(&node),
    }))
}

fn listeners(node: &Node) -> Vec<Value> {
    let listeners = node.listeners.iter().map(|listener| {
        json!({
            "node": node.name,
            "protocol": listener.protocol,
            "ip_address": listener.address.ip().to_string(),
            "port": listener.address.port(),
        })
    });
    listeners.collect()
}
