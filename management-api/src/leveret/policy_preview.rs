//! `POST /api/leveret/policies/{vhost}/preview` and `.../operator-policies/...`: what a policy would match, before it is
//! set.
//!
//! The body is that of setting it, and what is wrong with it is answered in the same words. So a page can show what a
//! pattern is for while somebody types it.

use std::sync::Arc;

use axum::{Json, extract::State};
use broker_core::{
    policy::{Matched, Policy, PolicyKind, PolicyRequest},
    queue::Queue,
    vhost::{Exchange, PolicyPreview, Previewed, Vhost},
};
use serde_json::{Value, json};

use super::{check_keys, number, optional_text};
use crate::{
    Error, Shared,
    body::JsonBody,
    caller::{Administrator, Authorized, VhostPolicymaker},
    openapi::{
        Methods, Routes, post,
        schemas::settings::{Preview, PreviewedPolicy},
    },
};

/// How many matches an answer names, unless it is asked for another number.
const USUAL_LIMIT: u64 = 100;

/// The most matches that an answer names.
const HIGHEST_LIMIT: u64 = 1_000;

const KEYS: &[&str] = &[
    "name",
    "pattern",
    "apply-to",
    "priority",
    "definition",
    "limit",
];

pub(super) fn routes() -> Routes {
    let described = |methods: Methods| methods.takes::<PreviewedPolicy>().gives::<Preview>();
    let policy = post(policy).says("What a policy would match, before it is set");
    let operator_policy = post(operator_policy).says("The same for an operator policy");
    Routes::about("Policies")
        .route("/leveret/policies/{vhost}/preview", described(policy))
        .route(
            "/leveret/operator-policies/{vhost}/preview",
            described(operator_policy),
        )
}

async fn policy(
    auth: Authorized<VhostPolicymaker>,
    State(node): State<Shared>,
    body: JsonBody,
) -> Result<Json<Value>, Error> {
    preview(PolicyKind::Policy, auth.scope.existing()?, node, body).await
}

async fn operator_policy(
    auth: Authorized<Administrator>,
    State(node): State<Shared>,
    body: JsonBody,
) -> Result<Json<Value>, Error> {
    preview(
        PolicyKind::OperatorPolicy,
        auth.scope.existing()?,
        node,
        body,
    )
    .await
}

async fn preview(
    kind: PolicyKind,
    vhost: &Arc<Vhost>,
    node: Shared,
    body: JsonBody,
) -> Result<Json<Value>, Error> {
    check_keys(&body, KEYS)?;
    let limit = number(&body, "limit")?.unwrap_or(USUAL_LIMIT);
    let limit = usize::try_from(limit.min(HIGHEST_LIMIT)).unwrap_or_default();
    let name = optional_text(&body, "name")?.unwrap_or_default();
    let request = request(&body)?;
    let vhost = Arc::clone(vhost);
    // Many names, and a pattern may be slow.
    let found = node.elsewhere(move |_| {
        let preview = vhost.preview_policy(kind, &name, request)?;
        Ok::<_, Error>(preview_json(&preview, limit))
    });
    Ok(Json(found.await??))
}

/// What the body wants a policy to be. Other than for setting it, the definition may be missing.
fn request(body: &JsonBody) -> Result<PolicyRequest, Error> {
    let [pattern] = body.required(["pattern"])?;
    let optional = |key: &str| body.find(key).filter(|it| !it.is_null()).cloned();
    Ok(PolicyRequest {
        pattern: pattern.clone(),
        definition: optional("definition").unwrap_or_default(),
        priority: optional("priority"),
        apply_to: optional("apply-to"),
    })
}

fn preview_json(preview: &PolicyPreview, limit: usize) -> Value {
    let (queues, exchanges) = (&preview.queues, &preview.exchanges);
    let named = queues.iter().map(queue_json);
    let named = named.chain(exchanges.iter().map(exchange_json));
    let effective = count(queues) + count(exchanges);
    json!({
        "queues": queues.len(),
        "exchanges": exchanges.len(),
        "takes_effect": effective,
        "lost": preview.lost,
        "matches": named.take(limit).collect::<Vec<_>>(),
        "truncated": queues.len() + exchanges.len() > limit,
    })
}

fn count<T>(matches: &[Previewed<T>]) -> usize {
    matches.iter().filter(|it| it.takes_effect).count()
}

fn queue_json(matched: &Previewed<Queue>) -> Value {
    let queue = &matched.object;
    let policies = queue.policies();
    let mut object = object_json("queue", queue.name(), &policies, matched.takes_effect);
    let queue_type = queue.properties.arguments.queue_type.as_str();
    if let Some(fields) = object.as_object_mut() {
        fields.insert("queue_type".to_owned(), queue_type.into());
    }
    object
}

fn exchange_json(matched: &Previewed<Exchange>) -> Value {
    let exchange = &matched.object;
    let policies = exchange.policies();
    object_json("exchange", &exchange.name, &policies, matched.takes_effect)
}

fn object_json(kind: &str, name: &str, now: &Matched, takes_effect: bool) -> Value {
    let name_of =
        |policy: &Option<Arc<Policy>>| policy.as_ref().map(|policy| policy.record.name.clone());
    json!({
        "type": kind,
        "name": name,
        "policy": name_of(&now.policy),
        "operator_policy": name_of(&now.operator_policy),
        "takes_effect": takes_effect,
    })
}
