//! Virtual hosts (RabbitMQ: `rabbit_mgmt_wm_vhosts`, `rabbit_mgmt_wm_vhost`, `rabbit_mgmt_wm_vhost_deletion_protection`,
//! `rabbit_mgmt_wm_vhost_restart`).

use std::sync::Arc;

use axum::{extract::State, http::StatusCode, response::Response};
use broker_core::{
    definitions::{PermissionDefinition, VhostDefinition},
    vhost::Vhost,
};
use serde_json::{Value, json};

use crate::{
    Error, Node, Shared,
    body::JsonBody,
    caller::{Administrator, Authorized, Management},
    listing::{self, Ready},
    openapi::{Routes, get, post, schemas::access as schemas},
    request::{Names, Query, put_status},
    statistics::{Ranges, put_vhost},
    users::tag_list,
};

pub(crate) fn routes() -> Routes {
    let list = get(list).says("The virtual hosts that you may know of");
    let one = get(one)
        .says("A virtual host")
        .gives::<schemas::Vhost>()
        .with_statistics()
        .put(put)
        .says("Make a virtual host, or change it")
        .takes::<schemas::NewVhost>()
        .delete(delete)
        .says("Delete a virtual host with everything in it")
        .answers(StatusCode::NO_CONTENT)
        .answers_with::<crate::openapi::schemas::Error>(StatusCode::PRECONDITION_FAILED);
    let protection = post(protect)
        .says("Protect a virtual host from deletion")
        .delete(unprotect)
        .says("No longer protect it");
    let start = post(start).says("Start a virtual host that has stopped; none ever has");
    Routes::about("Virtual hosts")
        .route("/vhosts", list.pages::<schemas::Vhost>().with_statistics())
        .route("/vhosts/{vhost}", one)
        .route("/vhosts/{vhost}/deletion/protection", protection)
        .route("/vhosts/{vhost}/start/{node}", start)
}

async fn list(
    auth: Authorized<Management>,
    State(node): State<Shared>,
    query: Query,
) -> Result<Response, Error> {
    let ranges = Ranges::of(&query)?;
    let vhosts = auth.caller.visible_vhosts(&node);
    let vhosts = vhosts
        .iter()
        .map(|vhost| Ready(vhost_json(&node, vhost, &query, &ranges)));
    listing::paged(vhosts.collect(), &["name"], &query)
}

async fn one(
    auth: Authorized<Administrator>,
    State(node): State<Shared>,
    query: Query,
) -> Result<Response, Error> {
    let ranges = Ranges::of(&query)?;
    let vhost = auth.scope.existing()?;
    listing::one(vhost_json(&node, vhost, &query, &ranges), &query)
}

/// What the API says of a vhost.
fn vhost_json(node: &Node, vhost: &Vhost, query: &Query, ranges: &Ranges) -> Value {
    let definition = node.core.vhost_definition(&vhost.name).unwrap_or_default();
    let mut object = json!({
        "name": vhost.name,
        "description": definition.description,
        "tags": definition.tags,
        "default_queue_type": vhost.default_queue_type(),
        "metadata": metadata(vhost, &definition),
        "tracing": false,
        "protected_from_deletion": definition.protected_from_deletion,
        "cluster_state": { node.name.as_str(): "running" },
    });
    if !query.is_true("disable_stats")
        && let Some(fields) = object.as_object_mut()
    {
        put_vhost(node, vhost, ranges, fields);
    }
    object
}

/// What RabbitMQ keeps as a vhost's metadata, in the API and in definitions files.
pub(crate) fn metadata(vhost: &Vhost, definition: &VhostDefinition) -> Value {
    json!({
        "description": definition.description,
        "tags": definition.tags,
        "default_queue_type": vhost.default_queue_type(),
    })
}

async fn put(
    auth: Authorized<Administrator>,
    State(node): State<Shared>,
    names: Names,
    body: JsonBody,
) -> Result<StatusCode, Error> {
    let text = |key: &str| body.find(key).and_then(Value::as_str).map(str::to_owned);
    if body.find("default_queue_type") == Some(&json!("")) {
        let text = "default_queue_type must not be an empty string";
        return Err(Error::BadRequest(text.to_owned()));
    }
    let vhost = VhostDefinition {
        name: names.get("vhost").to_owned(),
        description: text("description").unwrap_or_default(),
        tags: body.find("tags").map(tag_list).unwrap_or_default(),
        // The second name is one that RabbitMQ 3.11 had by mistake.
        default_queue_type: text("default_queue_type").or_else(|| text("defaultqueuetype")),
        protected_from_deletion: false,
    };
    let by = &auth.caller.user;
    let (new, mut ticket) = node.core.put_vhost(&vhost, by)?;
    // Whoever makes a vhost may do everything in it (`rabbit_vhost:maybe_grant_full_permissions`).
    if new && node.core.user(by).is_some() {
        let everything = PermissionDefinition::everything(by, &vhost.name);
        ticket = node.core.set_permissions(&everything, by)?;
    }
    node.durable(ticket).await?;
    Ok(put_status(new))
}

async fn delete(
    auth: Authorized<Administrator>,
    State(node): State<Shared>,
) -> Result<StatusCode, Error> {
    let vhost = Arc::clone(auth.scope.existing()?);
    let by = auth.caller.user;
    let deleted = node
        .elsewhere(move |node| node.core.delete_vhost(&vhost.name, &by))
        .await?;
    let ticket = deleted.map_err(|error| match error {
        broker_core::Error::PreconditionFailed(reason) => Error::PreconditionFailed(reason),
        other => other.into(),
    })?;
    node.durable(ticket).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn protect(
    auth: Authorized<Administrator>,
    State(node): State<Shared>,
) -> Result<StatusCode, Error> {
    set_protection(&auth, &node, true).await
}

async fn unprotect(
    auth: Authorized<Administrator>,
    State(node): State<Shared>,
) -> Result<StatusCode, Error> {
    set_protection(&auth, &node, false).await
}

async fn set_protection(
    auth: &Authorized<Administrator>,
    node: &Shared,
    protected: bool,
) -> Result<StatusCode, Error> {
    let vhost = auth.scope.existing()?;
    let by = &auth.caller.user;
    let ticket = node.core.protect_vhost(&vhost.name, protected, by)?;
    node.durable(ticket).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Starts a vhost that has stopped: here none ever has.
async fn start(
    auth: Authorized<Administrator>,
    State(node): State<Shared>,
    names: Names,
) -> Result<StatusCode, Error> {
    auth.scope.existing()?;
    match names.get("node") {
        name if name == node.name => Ok(StatusCode::NO_CONTENT),
        other => Err(Error::BadRequest(format!("Unknown node: {other}"))),
    }
}
