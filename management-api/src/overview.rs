//! `GET /api/overview` (RabbitMQ: `rabbit_mgmt_wm_overview`).

use std::sync::Arc;

use axum::{extract::State, response::Response};
use broker_core::{
    statistics::{Counts, OF_NODE},
    vhost::Vhost,
};
use serde_json::{Value, json};

use crate::{
    Error, Node, RABBITMQ_VERSION, Shared,
    caller::{Authorized, Caller, Management},
    listing,
    nodes::{contexts, exchange_types},
    openapi::{Routes, get, schemas::node as schemas},
    request::Query,
    statistics::{Figures, Object, Ranges, put_overview},
};

pub(crate) fn routes() -> Routes {
    let overview = get(overview)
        .says("What there is, and what is going on")
        .with_statistics();
    Routes::about("The broker").route("/overview", overview.gives::<schemas::Overview>())
}

async fn overview(
    auth: Authorized<Management>,
    State(node): State<Shared>,
    query: Query,
) -> Result<Response, Error> {
    let ranges = Ranges::of(&query)?;
    let mut object = facts(&node, &query);
    let monitor = auth.caller.is_monitor();
    let vhosts = auth.caller.visible_vhosts(&node);
    if !query.is_true("disable_stats") {
        put_statistics(&node, monitor, &vhosts, &ranges, &mut object);
    }
    let totals = object_totals(&node, &auth.caller, &vhosts);
    object.insert("object_totals".to_owned(), totals);
    if monitor {
        object.insert("listeners".to_owned(), listeners(&node));
        object.insert("contexts".to_owned(), contexts(&node));
    }
    listing::one(object, &query)
}

/// What does not change.
fn facts(node: &Node, query: &Query) -> Object {
    let Value::Object(object) = json!({
        "management_version": RABBITMQ_VERSION,
        "rates_mode": "basic",
        "sample_retention_policies": {
            "global": [60, 3600, 86400],
            "basic": [60, 3600, 86400],
            "detailed": [],
        },
        "exchange_types": exchange_types(),
        "product_name": "Leveret",
        "product_version": env!("CARGO_PKG_VERSION"),
        "rabbitmq_version": RABBITMQ_VERSION,
        "cluster_name": node.cluster_name(),
        "cluster_tags": {},
        "node_tags": {},
        "disable_stats": query.is_true("disable_stats"),
        "enable_queue_totals": query.is_true("enable_queue_totals"),
        "default_queue_type": "classic",
        "is_op_policy_updating_enabled": true,
        "require_definition_json_extension": false,
        "statistics_db_event_queue": 0,
        "node": node.name,
        "store": node.store,
    }) else {
        return Object::new();
    };
    object
}

/// The node as a whole to monitors, to others the vhosts that they may see.
fn put_statistics(
    node: &Node,
    monitor: bool,
    vhosts: &[Arc<Vhost>],
    ranges: &Ranges,
    object: &mut Object,
) {
    let statistics = node.core.statistics();
    if monitor {
        let counts = statistics.counts();
        statistics.with_history(|history| {
            put_overview(&Figures::new(counts, history, node), ranges, object);
        });
        return;
    }
    let mut counts = Counts::<OF_NODE>::default();
    let mut rates = [0.0; OF_NODE];
    for vhost in vhosts {
        counts.add_change(&vhost.statistics.counts(), &Counts::<OF_NODE>::default());
        vhost.statistics.with_history(|history| {
            let of_vhost = Figures::new(Counts::default(), history, node);
            for (sum, rate) in rates.iter_mut().zip(of_vhost.rates()) {
                *sum += rate;
            }
        });
    }
    let figures = Figures::new(counts, None, node).with_rates(rates);
    put_overview(&figures, ranges, object);
}

fn object_totals(node: &Node, caller: &Caller, vhosts: &[Arc<Vhost>]) -> Value {
    if caller.is_monitor() {
        let totals = node.core.totals();
        return json!({
            "connections": totals.connections,
            "channels": totals.channels,
            "exchanges": totals.exchanges,
            "queues": totals.queues,
            "consumers": totals.consumers,
        });
    }
    let mut connections = node.core.connections();
    connections.retain(|it| *it.user == *caller.user);
    let channels: usize = connections.iter().map(|it| it.channel_count()).sum();
    let queues: usize = vhosts.iter().map(|it| it.queue_count()).sum();
    let exchanges: usize = vhosts.iter().map(|it| it.exchange_count()).sum();
    json!({
        "connections": connections.len(),
        "channels": channels,
        "exchanges": exchanges,
        "queues": queues,
    })
}

fn listeners(node: &Node) -> Value {
    let listeners = node.listeners.iter().map(|listener| {
        json!({
            "node": node.name,
            "protocol": listener.protocol,
            "ip_address": listener.address.ip().to_string(),
            "port": listener.address.port(),
            "socket_opts": {},
            "tls": listener.is_secure(),
        })
    });
    listeners.collect()
}
