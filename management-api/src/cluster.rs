//! What concerns the broker as a whole: its name and version, feature flags, and what RabbitMQ does with several nodes
//! and plugins, which there are none of here.

use axum::{
    Router,
    extract::State,
    http::StatusCode,
    response::Response,
    routing::{get, post, put},
};
use broker_core::broker::parameters::CLUSTER_NAME;
use serde_json::json;

use crate::{
    Error, RABBITMQ_VERSION, Shared,
    body::JsonBody,
    caller::{Administrator, Authorized, Management},
    listing,
    request::{Names, Query},
};

pub(crate) fn routes() -> Router<Shared> {
    let no_replicas = post(no_replicas).delete(no_replicas);
    Router::new()
        .route("/cluster-name", get(name).put(set_name))
        .route("/version", get(version))
        .route("/extensions", get(nothing))
        .route("/feature-flags", get(nothing))
        .route("/feature-flags/{name}/enable", put(enable))
        .route("/deprecated-features", get(nothing))
        .route("/deprecated-features/used", get(nothing))
        .route("/rebalance/queues", post(rebalance))
        .route(
            "/queues/quorum/{vhost}/{queue}/replicas/add",
            no_replicas.clone(),
        )
        .route(
            "/queues/quorum/{vhost}/{queue}/replicas/delete",
            no_replicas.clone(),
        )
        .route(
            "/queues/quorum/replicas/on/{node}/grow",
            no_replicas.clone(),
        )
        .route("/queues/quorum/replicas/on/{node}/shrink", no_replicas)
}

async fn name(
    _: Authorized<Management>,
    State(node): State<Shared>,
    query: Query,
) -> Result<Response, Error> {
    listing::one(json!({ "name": node.cluster_name() }), &query)
}

async fn set_name(
    auth: Authorized<Administrator>,
    State(node): State<Shared>,
    body: JsonBody,
) -> Result<StatusCode, Error> {
    let name = body.text("name")?;
    let by = &auth.caller.user;
    let ticket = node
        .core
        .set_global_parameter(CLUSTER_NAME, name.into(), by)?;
    node.durable(ticket).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The version of RabbitMQ that tools find here. Anybody may ask, as in RabbitMQ.
async fn version(query: Query) -> Result<Response, Error> {
    listing::one(RABBITMQ_VERSION, &query)
}

/// There are no extensions, feature flags and deprecated features.
async fn nothing(_: Authorized<Management>, query: Query) -> Result<Response, Error> {
    listing::one(json!([]), &query)
}

async fn enable(_: Authorized<Administrator>, names: Names) -> Error {
    let name = names.get("name");
    Error::BadRequest(format!("unsupported: there is no feature flag '{name}'"))
}

/// The queues of one node are where they belong.
async fn rebalance(_: Authorized<Administrator>) -> StatusCode {
    StatusCode::NO_CONTENT
}

async fn no_replicas(_: Authorized<Administrator>) -> Error {
    Error::NotImplemented("queues have no replicas on other nodes".to_owned())
}
