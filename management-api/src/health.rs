//! Health checks (<https://www.rabbitmq.com/docs/monitoring#health-checks>): 200 with `{"status": "ok"}`, or 503 with
//! the reason.

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header::CACHE_CONTROL},
    response::{IntoResponse as _, Response},
};
use serde_json::{Value, json};

use crate::{
    Error, Node, Shared,
    caller::{Authorized, Management, VhostMember},
    openapi::{Methods, Routes, get, schemas::node::Health},
    request::Names,
};

pub(crate) fn routes() -> Routes {
    let check = |methods: Methods, what| {
        let methods = methods.says(what).gives::<Health>();
        methods.answers_with::<Health>(StatusCode::SERVICE_UNAVAILABLE)
    };
    let limit = get(below_connection_limit);
    let clients = get(ready_to_serve);
    Routes::about("Health")
        .route(
            "/alarms",
            check(
                get(alarms),
                "Are publishers blocked, because memory or disk is short?",
            ),
        )
        .route(
            "/local-alarms",
            check(get(local_alarms), "The same on this node"),
        )
        .route(
            "/certificate-expiration/{within}/{unit}",
            check(
                get(certificates),
                "Does a certificate expire within this time?",
            ),
        )
        .route(
            "/port-listener/{port}",
            check(get(port_listener), "Does anything listen on this port?"),
        )
        .route(
            "/protocol-listener/{protocols}",
            check(get(protocol_listener), "Is one of these protocols served?"),
        )
        .route(
            "/virtual-hosts",
            check(get(fine), "Do all virtual hosts run?"),
        )
        .route(
            "/metadata-store/initialized",
            check(get(fine), "Are definitions there?"),
        )
        .route(
            "/metadata-store/initialized/with-data",
            check(get(with_data), "Is there a virtual host?"),
        )
        .route(
            "/node-is-quorum-critical",
            check(get(quorum_critical), "May this node stop?"),
        )
        .route(
            "/reached-target-cluster-size",
            check(get(anybody_fine), "Are enough nodes there?").open(),
        )
        .route(
            "/is-in-service",
            check(get(in_service), "Does the broker not stop?").open(),
        )
        .route(
            "/below-node-connection-limit",
            check(limit, "May another client connect?").open(),
        )
        .route(
            "/ready-to-serve-clients",
            check(clients, "Can clients connect?").open(),
        )
        .below("/health/checks")
        .merge(leaders())
        .route(
            "/healthchecks/node",
            check(get(node_health), "The check of RabbitMQ 3"),
        )
        .route(
            "/healthchecks/node/{node}",
            check(get(node_health), "The check of RabbitMQ 3"),
        )
        .route(
            "/aliveness-test/{vhost}",
            check(get(aliveness), "May you connect to this virtual host?"),
        )
}

/// Queues are where the node is.
fn leaders() -> Routes {
    let leaders = || {
        get(fine)
            .says("Do all quorum queues have a leader?")
            .gives::<Health>()
    };
    Routes::about("Health")
        .route("/all-vhosts", leaders())
        .route("/all-vhosts/pattern/{pattern}", leaders())
        .route("/vhost/{vhost}", leaders())
        .route("/vhost/{vhost}/pattern/{pattern}", leaders())
        .below("/health/checks/quorum-queues-without-elected-leaders")
}

fn ok() -> Response {
    answer(StatusCode::OK, json!({ "status": "ok" }))
}

fn answer(status: StatusCode, body: Value) -> Response {
    (status, [(CACHE_CONTROL, "no-cache")], Json(body)).into_response()
}

/// 503 with a reason, and `more` about it.
fn failed(reason: &str, more: Value) -> Response {
    let mut body = json!({ "status": "failed", "reason": reason });
    if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
        body.extend(more);
    }
    answer(StatusCode::SERVICE_UNAVAILABLE, body)
}

/// What cannot fail here: a broker that listens has read its definitions and runs all of its vhosts, and a queue is where
/// the node is.
async fn fine(_: Authorized<Management>) -> Response {
    ok()
}

/// The same, without a login, as in RabbitMQ.
async fn anybody_fine() -> Response {
    ok()
}

async fn alarms(_: Authorized<Management>, State(node): State<Shared>) -> Response {
    check_alarms(&node, "There are alarms in effect in the cluster")
}

async fn local_alarms(_: Authorized<Management>, State(node): State<Shared>) -> Response {
    check_alarms(&node, "There are alarms in effect on the node")
}

fn check_alarms(node: &Node, reason: &str) -> Response {
    let alarms = node.core.alarms();
    let alarms = alarms.resources();
    let alarms: Vec<Value> = alarms
        .map(|resource| json!({ "node": node.name, "resource": resource.name() }))
        .collect();
    match alarms.is_empty() {
        true => ok(),
        false => failed(reason, json!({ "alarms": alarms })),
    }
}

/// Seconds in the unit of a time.
fn seconds(unit: &str) -> Option<u64> {
    const DAY: u64 = 86_400;
    match unit.to_lowercase().as_str() {
        "days" => Some(DAY),
        "weeks" => Some(7 * DAY),
        "months" => Some(DAY * 365 / 12),
        "years" => Some(365 * DAY),
        _ => None,
    }
}

async fn certificates(
    _: Authorized<Management>,
    State(node): State<Shared>,
    names: Names,
) -> Result<Response, Error> {
    let bad = |text: &str| Error::BadRequest(text.to_owned());
    let within: u64 = names
        .get("within")
        .parse()
        .map_err(|_| bad("Invalid expiration value."))?;
    let unit = seconds(names.get("unit")).ok_or_else(|| {
        bad("Time unit not recognised. Supported units: days, weeks, months, years.")
    })?;
    let until = node.now() / 1000 + within.saturating_mul(unit);
    let expiring = node
        .certificates()
        .into_iter()
        .filter(|it| it.expires_at < until);
    let expired: Vec<Value> = expiring
        .flat_map(|certificate| node.expired_listeners(&certificate))
        .collect();
    Ok(match expired.is_empty() {
        true => ok(),
        false => failed("Certificates expiring", json!({ "expired": expired })),
    })
}

async fn port_listener(
    _: Authorized<Management>,
    State(node): State<Shared>,
    names: Names,
) -> Result<Response, Error> {
    let port = names.get("port").parse::<i64>();
    let port = port.map_err(|_| Error::BadRequest("Invalid port".to_owned()))?;
    let ports: Vec<i64> = node
        .listeners
        .iter()
        .map(|listener| listener.address.port().into())
        .collect();
    Ok(match ports.contains(&port) {
        true => answer(StatusCode::OK, json!({ "status": "ok", "port": port })),
        false => failed(
            "No active listener",
            json!({ "missing": port, "ports": ports }),
        ),
    })
}

async fn protocol_listener(
    _: Authorized<Management>,
    State(node): State<Shared>,
    names: Names,
) -> Response {
    let mut active: Vec<&str> = node.listeners.iter().map(|it| it.protocol).collect();
    active.sort_unstable();
    active.dedup();
    let requested = names.get("protocols").to_lowercase();
    let requested = requested.split(',').map(protocol);
    let mut missing: Vec<&str> = requested.filter(|it| !active.contains(it)).collect();
    missing.sort_unstable();
    missing.dedup();
    match missing.is_empty() {
        true => answer(
            StatusCode::OK,
            json!({ "status": "ok", "protocols": active }),
        ),
        false => failed(
            "No active listener",
            json!({ "missing": missing, "protocols": active }),
        ),
    }
}

/// The name under which a listener goes, for all that clients call it.
fn protocol(name: &str) -> &str {
    match name {
        "amqp091" | "amqp0.9.1" | "amqp0-9-1" | "amqp0_9_1" => "amqp",
        "amqp10" | "amqp1.0" | "amqp1-0" | "amqp1_0" => "amqp 1.0",
        "amqps" => "amqp/ssl",
        "http1" | "http1.1" | "http_api" | "management" | "management_ui" | "ui" => "http",
        other => other,
    }
}

async fn with_data(_: Authorized<Management>, State(node): State<Shared>) -> Response {
    let text = "Metadata store has not yet been initialized: it reports to have no virtual hosts";
    match node.core.vhosts().is_empty() {
        false => ok(),
        true => failed(text, json!({})),
    }
}

async fn quorum_critical(_: Authorized<Management>) -> Response {
    let body = json!({ "status": "ok", "reason": "single node cluster" });
    answer(StatusCode::OK, body)
}

async fn in_service(State(node): State<Shared>) -> Response {
    match node.core.is_stopping() {
        false => ok(),
        true => failed(
            "this rabbit node is not currently available to serve",
            json!({}),
        ),
    }
}

async fn below_connection_limit(State(node): State<Shared>) -> Response {
    match node.connection_limit_reached() {
        None => ok(),
        Some(_) => failed("node connection limit is reached", json!({})),
    }
}

async fn ready_to_serve(State(node): State<Shared>) -> Response {
    let serves = |protocol: &str| protocol == "amqp" || protocol == "amqp/ssl";
    if node.core.is_stopping() {
        let text = "the rabbit node is not currently available to serve";
        return failed(text, json!({}));
    }
    if !node.listeners.iter().any(|it| serves(it.protocol)) {
        return failed("no active listeners for AMQP/AMQPS", json!({}));
    }
    match node.connection_limit_reached() {
        None => ok(),
        Some(count) => failed(
            "node connection limit is reached",
            json!({ "connections": count }),
        ),
    }
}

/// The check of old, of the node and of everything in it.
async fn node_health(
    _: Authorized<Management>,
    State(node): State<Shared>,
    names: Names,
) -> Result<Response, Error> {
    if let Some(name) = names.find("node") {
        node.check_name(name)?;
    }
    let alarms = node.core.alarms();
    let on: Vec<&str> = alarms.resources().map(|it| it.name()).collect();
    Ok(match on.is_empty() {
        true => ok(),
        false => failed(
            &format!("resource alarm(s) in effect:[{}]", on.join(",")),
            json!({}),
        ),
    })
}

/// Whether the user could open a connection to the vhost; nothing is published (as in RabbitMQ 4).
async fn aliveness(
    auth: Authorized<VhostMember>,
    State(node): State<Shared>,
) -> Result<Response, Error> {
    let vhost = auth.scope.existing()?;
    match auth.caller.may_open(&node, &vhost.name) {
        true => Ok(ok()),
        false => Err(Error::NotAuthorised("Access refused.".to_owned())),
    }
}
