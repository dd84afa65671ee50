//! What concerns the broker as a whole: its name and version, feature flags, and what RabbitMQ does with several nodes
//! and plugins, which there are none of here.

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use broker_core::broker::parameters::CLUSTER_NAME;
use serde_json::json;

use crate::{
    Error, RABBITMQ_VERSION, Shared,
    body::JsonBody,
    caller::{Administrator, Authorized, Management},
    listing,
    openapi::{ABSENT, Routes, delete, get, post, put, schemas::Any, schemas::node::ClusterName},
    request::{Names, Query},
};

pub(crate) fn routes() -> Routes {
    let name = get(name)
        .says("The name of the cluster")
        .gives::<ClusterName>()
        .put(set_name)
        .says("Name the cluster")
        .takes::<ClusterName>()
        .answers(StatusCode::NO_CONTENT);
    let nothing = |what| get(nothing).says(what).gives::<Vec<Any>>();
    let configuration = get(configuration)
        .says("The configuration in effect, with the source of each value and without secrets")
        .gives_text("text/plain");
    let version = get(version).says("The version of RabbitMQ that Leveret works like");
    Routes::about("The broker")
        .route("/cluster-name", name)
        .route("/version", version.gives::<String>().open())
        .route(
            "/extensions",
            nothing("Extensions of the management page: none"),
        )
        .route("/feature-flags", nothing("Feature flags: none"))
        .route(
            "/feature-flags/{name}/enable",
            put(enable).says("Enable a feature flag: always 400, as there is none"),
        )
        .route("/deprecated-features", nothing("Deprecated features: none"))
        .route(
            "/deprecated-features/used",
            nothing("Deprecated features in use: none"),
        )
        .route("/config/effective", configuration)
        .route(
            "/rebalance/queues",
            post(rebalance).says("Spread queues over nodes: they are where they belong"),
        )
        .merge(absent())
}

/// What RabbitMQ has, and Leveret has nothing for.
fn absent() -> Routes {
    let both = || {
        let methods = post(no_replicas).says("Add a replica of a queue").never();
        methods
            .delete(no_replicas)
            .says("Remove a replica of a queue")
            .never()
    };
    let reset = || delete(no_reset).says("Forget statistics").never();
    Routes::about(ABSENT)
        .route("/reset", reset())
        .route("/reset/{node}", reset())
        .route(
            "/users/{user}/queues",
            get(no_owners)
                .says("The queues that a user has declared")
                .never(),
        )
        .route(
            "/queues/quorum/{vhost}/{queue}/status",
            get(no_replicas).says("The replicas of a queue").never(),
        )
        .route("/queues/quorum/{vhost}/{queue}/replicas/add", both())
        .route("/queues/quorum/{vhost}/{queue}/replicas/delete", both())
        .route("/queues/quorum/replicas/on/{node}/grow", both())
        .route("/queues/quorum/replicas/on/{node}/shrink", both())
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

/// A configuration file that says where each value comes from. RabbitMQ gives its own as Erlang's terms.
async fn configuration(_: Authorized<Administrator>, State(node): State<Shared>) -> Response {
    node.configuration.clone().into_response()
}

/// The queues of one node are where they belong.
async fn rebalance(_: Authorized<Administrator>) -> StatusCode {
    StatusCode::NO_CONTENT
}

async fn no_replicas(_: Authorized<Administrator>) -> Error {
    Error::NotImplemented("queues have no replicas on other nodes".to_owned())
}

async fn no_reset(_: Authorized<Administrator>) -> Error {
    Error::NotImplemented("statistics last until the broker stops".to_owned())
}

async fn no_owners(_: Authorized<Management>) -> Error {
    Error::NotImplemented("who declared a queue is not kept".to_owned())
}
