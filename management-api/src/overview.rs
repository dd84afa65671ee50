//! `GET /api/overview` and the health check of alarms.

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Value, json};

use crate::{
    Node, RABBITMQ_VERSION, Shared,
    caller::{Authorized, Management},
};

pub(crate) fn routes() -> Router<Shared> {
    Router::new()
        .route("/overview", get(overview))
        .route("/health/checks/alarms", get(alarms))
}

async fn overview(_: Authorized<Management>, State(node): State<Shared>) -> Json<Value> {
    let totals = node.core.totals();
    Json(json!({
        "product_name": "Leveret",
        "product_version": env!("CARGO_PKG_VERSION"),
        "rabbitmq_version": RABBITMQ_VERSION,
        "management_version": RABBITMQ_VERSION,
        "node": node.name,
        "cluster_name": node.name,
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

/// 503 while an alarm is in effect (RabbitMQ: `rabbit_mgmt_wm_health_check_alarms`).
async fn alarms(_: Authorized<Management>, State(node): State<Shared>) -> Response {
    let alarms = node.core.alarms();
    let alarms: Vec<Value> = alarms
        .resources()
        .map(|resource| json!({ "node": node.name, "resource": resource.name() }))
        .collect();
    if alarms.is_empty() {
        return Json(json!({ "status": "ok" })).into_response();
    }
    let body = json!({
        "status": "failed",
        "reason": "There are alarms in effect in the cluster",
        "alarms": alarms,
    });
    (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
}
