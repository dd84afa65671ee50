//! Parameters of components, and global ones (RabbitMQ: `rabbit_mgmt_wm_parameter`, `rabbit_mgmt_wm_global_parameter`,
//! `rabbit_runtime_parameters`).
//!
//! The components that a broker without plugins has are operator policies and the limits of vhosts. Both are kept as what
//! they are, and shown and set here in the form of parameters.

use axum::{extract::State, http::StatusCode, response::Response};
use broker_core::{
    definitions::VhostLimitsDefinition, policy::PolicyKind, store::Ticket, vhost::Vhost,
};
use serde_json::{Value, json, to_value};

use crate::{
    Error, Node, Shared,
    body::JsonBody,
    caller::{Authorized, Policymaker, VhostPolicymaker},
    limits,
    listing::{self, Ready},
    openapi::{
        Methods, Routes, get,
        schemas::settings::{GlobalParameter, NewValue, Parameter},
    },
    policies,
    request::{Names, Query, put_status},
};

/// Operator policies, one parameter each.
const OPERATOR_POLICY: &str = "operator_policy";

/// The limits of a vhost, all in one parameter.
const VHOST_LIMITS: &str = "vhost-limits";

pub(crate) fn routes() -> Routes {
    let lists = |methods: Methods| methods.lists::<Parameter>();
    let one = get(one)
        .says("A parameter")
        .gives::<Parameter>()
        .put(put)
        .says("Set a parameter")
        .takes::<NewValue>()
        .delete(delete)
        .says("Take a parameter away");
    let one_global = get(global)
        .says("A parameter of the broker as a whole")
        .gives::<GlobalParameter>()
        .put(put_global)
        .says("Set it")
        .takes::<NewValue>()
        .delete(delete_global)
        .says("Take it away");
    let globals = get(globals).says("The parameters of the broker as a whole");
    Routes::about("Parameters")
        .route("/parameters", lists(get(list).says("All parameters")))
        .route(
            "/parameters/{component}",
            lists(get(list).says("The parameters of a component")),
        )
        .route(
            "/parameters/{component}/{vhost}",
            lists(get(list).says("The parameters of a component in a virtual host")),
        )
        .route("/parameters/{component}/{vhost}/{name}", one)
        .route("/global-parameters", globals.lists::<GlobalParameter>())
        .route("/global-parameters/{name}", one_global)
}

async fn list(
    auth: Authorized<VhostPolicymaker>,
    State(node): State<Shared>,
    names: Names,
    query: Query,
) -> Result<Response, Error> {
    let vhosts = auth.scope.listed(&auth.caller, &node)?;
    let all = vhosts
        .iter()
        .flat_map(|vhost| node.core.parameters_json(vhost));
    let component = names.find("component");
    let all = all.filter(|it| component.is_none_or(|component| it["component"] == component));
    listing::all(all.map(Ready).collect(), &["vhost", "name"], &query)
}

fn find(node: &Node, vhost: &Vhost, names: &Names) -> Option<Value> {
    let (component, name) = (names.get("component"), names.get("name"));
    let mut all = node.core.parameters_json(vhost).into_iter();
    all.find(|it| it["component"] == component && it["name"] == name)
}

async fn one(
    auth: Authorized<VhostPolicymaker>,
    State(node): State<Shared>,
    names: Names,
    query: Query,
) -> Result<Response, Error> {
    let found = find(&node, auth.scope.existing()?, &names);
    listing::one(found.ok_or(Error::NoSuchPath)?, &query)
}

async fn put(
    auth: Authorized<VhostPolicymaker>,
    State(node): State<Shared>,
    names: Names,
    body: JsonBody,
) -> Result<StatusCode, Error> {
    let vhost = auth.scope.writable()?;
    let [value] = body.required(["value"])?;
    let new = find(&node, vhost, &names).is_none();
    let component = names.get("component");
    let by = &auth.caller.user;
    let ticket = set(&node, vhost, (component, names.get("name")), value, by)?;
    node.durable(ticket).await?;
    Ok(put_status(new))
}

fn set(
    node: &Node,
    vhost: &Vhost,
    (component, name): (&str, &str),
    value: &Value,
    by: &str,
) -> Result<Ticket, Error> {
    let object = value.as_object().cloned().unwrap_or_default();
    match component {
        OPERATOR_POLICY => {
            let request = policies::request(&JsonBody(object))?;
            let ticket = vhost.set_policy(PolicyKind::OperatorPolicy, name, request)?;
            tracing::info!(target: "audit", by, vhost = &*vhost.name, name, kind = component, "policy set");
            Ok(ticket)
        }
        VHOST_LIMITS => {
            let limits = limits::of_vhost(&vhost.name, &object)?;
            Ok(node.core.set_vhost_limits(&limits, by)?)
        }
        other => Err(unknown_component(other)),
    }
}

/// RabbitMQ's words for a component that there is not.
pub(crate) fn unknown_component(component: &str) -> Error {
    Error::BadRequest(match component {
        "policy" => "policies may not be set using this method".to_owned(),
        other => format!("Validation failed\n\ncomponent {other} not found\n"),
    })
}

async fn delete(
    auth: Authorized<VhostPolicymaker>,
    State(node): State<Shared>,
    names: Names,
) -> Result<StatusCode, Error> {
    let vhost = auth.scope.existing()?;
    find(&node, vhost, &names).ok_or(Error::NoSuchPath)?;
    let (by, name) = (&*auth.caller.user, names.get("name"));
    let ticket = if names.get("component") == OPERATOR_POLICY {
        let ticket = vhost.clear_policy(PolicyKind::OperatorPolicy, name)?;
        tracing::info!(target: "audit", by, vhost = &*vhost.name, name, kind = OPERATOR_POLICY, "policy cleared");
        ticket
    } else {
        let none = VhostLimitsDefinition {
            vhost: vhost.name.to_string(),
            ..VhostLimitsDefinition::default()
        };
        node.core.set_vhost_limits(&none, by)?
    };
    node.durable(ticket).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn globals(
    _: Authorized<Policymaker>,
    State(node): State<Shared>,
    query: Query,
) -> Result<Response, Error> {
    let all = node.core.global_parameters().into_iter();
    let all = all.filter(|it| !is_internal(&it.name));
    let all = all.map(|it| Ready(to_value(it).unwrap_or_default()));
    listing::all(all.collect(), &["name"], &query)
}

/// Names that start like this are the broker's own business (`rabbit_definitions:is_internal_parameter`).
pub(crate) fn is_internal(name: &str) -> bool {
    name.starts_with("internal")
}

async fn global(
    _: Authorized<Policymaker>,
    State(node): State<Shared>,
    names: Names,
    query: Query,
) -> Result<Response, Error> {
    let name = names.get("name");
    let value = node.core.global_parameter(name).ok_or(Error::NoSuchPath)?;
    listing::one(json!({ "name": name, "value": value }), &query)
}

async fn put_global(
    auth: Authorized<Policymaker>,
    State(node): State<Shared>,
    names: Names,
    body: JsonBody,
) -> Result<StatusCode, Error> {
    let [value] = body.required(["value"])?;
    let name = names.get("name");
    let new = node.core.global_parameter(name).is_none();
    let ticket = node
        .core
        .set_global_parameter(name, value.clone(), &auth.caller.user)?;
    node.durable(ticket).await?;
    Ok(put_status(new))
}

async fn delete_global(
    auth: Authorized<Policymaker>,
    State(node): State<Shared>,
    names: Names,
) -> Result<StatusCode, Error> {
    let name = names.get("name");
    node.core.global_parameter(name).ok_or(Error::NoSuchPath)?;
    let ticket = node.core.clear_global_parameter(name, &auth.caller.user)?;
    node.durable(ticket).await?;
    Ok(StatusCode::NO_CONTENT)
}
