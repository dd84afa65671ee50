//! Policies and operator policies (RabbitMQ: `rabbit_mgmt_wm_policy`, `rabbit_mgmt_wm_operator_policy`).

use axum::{extract::State, http::StatusCode, response::Response};
use broker_core::policy::{
    PolicyDefinition,
    PolicyKind::{self, OperatorPolicy, Policy},
    PolicyRequest,
};
use serde_json::{Value, to_value};

use crate::{
    Error, Shared,
    body::JsonBody,
    caller::{Administrator, Authorized, Level, VhostMember, VhostPolicymaker},
    listing::{self, Ready},
    openapi::{Methods, Routes, get, schemas::settings as schemas},
    request::{Names, Query, put_status},
};

pub(crate) fn routes() -> Routes {
    let policy = get(one::<VhostPolicymaker, Policies>)
        .says("A policy")
        .gives::<schemas::Policy>()
        .put(put::<VhostPolicymaker, Policies>)
        .says("Set a policy")
        .takes::<schemas::NewPolicy>()
        .delete(delete::<VhostPolicymaker, Policies>)
        .says("Take a policy away");
    let operator_policy = get(one::<Administrator, OperatorPolicies>)
        .says("An operator policy")
        .gives::<schemas::Policy>()
        .put(put::<Administrator, OperatorPolicies>)
        .says("Set an operator policy")
        .takes::<schemas::NewPolicy>()
        .delete(delete::<Administrator, OperatorPolicies>)
        .says("Take an operator policy away");
    let lists = |methods: Methods| methods.lists::<schemas::Policy>();
    Routes::about("Policies")
        .route(
            "/policies",
            lists(get(list::<Policies>).says("All policies")),
        )
        .route(
            "/policies/{vhost}",
            lists(get(list::<Policies>).says("The policies of a virtual host")),
        )
        .route("/policies/{vhost}/{name}", policy)
        .route(
            "/operator-policies",
            lists(get(list::<OperatorPolicies>).says("All operator policies")),
        )
        .route(
            "/operator-policies/{vhost}",
            lists(get(list::<OperatorPolicies>).says("The operator policies of a virtual host")),
        )
        .route("/operator-policies/{vhost}/{name}", operator_policy)
}

/// Which of the two sorts a handler is for.
trait Sort: Send + 'static {
    const KIND: PolicyKind;
}

struct Policies;

impl Sort for Policies {
    const KIND: PolicyKind = Policy;
}

struct OperatorPolicies;

impl Sort for OperatorPolicies {
    const KIND: PolicyKind = OperatorPolicy;
}

async fn list<S: Sort>(
    auth: Authorized<VhostMember>,
    State(node): State<Shared>,
    query: Query,
) -> Result<Response, Error> {
    let vhosts = auth.scope.listed(&auth.caller, &node)?;
    let policies = vhosts.iter().flat_map(|vhost| vhost.policies(S::KIND));
    let policies = policies.map(|policy| Ready(policy_json(&policy.record)));
    listing::all(policies.collect(), &["priority"], &query)
}

/// What the API says of a policy: the words of a definitions file.
pub(crate) fn policy_json(policy: &PolicyDefinition) -> Value {
    to_value(policy).unwrap_or_default()
}

async fn one<L: Level, S: Sort>(
    auth: Authorized<L>,
    names: Names,
    query: Query,
) -> Result<Response, Error> {
    let found = auth.scope.existing()?.policy(S::KIND, names.get("name"));
    listing::one(policy_json(&found.ok_or(Error::NoSuchPath)?.record), &query)
}

async fn put<L: Level, S: Sort>(
    auth: Authorized<L>,
    State(node): State<Shared>,
    names: Names,
    body: JsonBody,
) -> Result<StatusCode, Error> {
    let vhost = auth.scope.writable()?;
    let name = names.get("name");
    let request = request(&body)?;
    let new = vhost.policy(S::KIND, name).is_none();
    let ticket = vhost.set_policy(S::KIND, name, request)?;
    let (by, kind) = (&*auth.caller.user, S::KIND.as_str());
    tracing::info!(target: "audit", by, vhost = &*vhost.name, name, kind, "policy set");
    node.durable(ticket).await?;
    Ok(put_status(new))
}

/// What a body wants a policy to be; what it is of that is the core's to check.
///
/// # Errors
/// 400: pattern or definition are missing.
pub(crate) fn request(body: &JsonBody) -> Result<PolicyRequest, Error> {
    let [pattern, definition] = body.required(["pattern", "definition"])?;
    let optional = |key: &str| body.find(key).filter(|it| !it.is_null()).cloned();
    Ok(PolicyRequest {
        pattern: pattern.clone(),
        definition: definition.clone(),
        priority: optional("priority"),
        apply_to: optional("apply-to"),
    })
}

async fn delete<L: Level, S: Sort>(
    auth: Authorized<L>,
    State(node): State<Shared>,
    names: Names,
) -> Result<StatusCode, Error> {
    let vhost = auth.scope.existing()?;
    let name = names.get("name");
    vhost.policy(S::KIND, name).ok_or(Error::NoSuchPath)?;
    let ticket = vhost.clear_policy(S::KIND, name)?;
    let (by, kind) = (&*auth.caller.user, S::KIND.as_str());
    tracing::info!(target: "audit", by, vhost = &*vhost.name, name, kind, "policy cleared");
    node.durable(ticket).await?;
    Ok(StatusCode::NO_CONTENT)
}
