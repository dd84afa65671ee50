//! `POST /api/leveret/exchanges/{vhost}/{exchange}/explain`: where a publish would go, and why.

use axum::{Json, extract::State};
use broker_core::{
    arguments::{FieldTable, json::table_of_json, json::table_to_json},
    definitions::DestinationKind,
    exchange::ExchangeKind,
    permissions::{Access, Operation, Resource},
    queue::Queue,
    vhost::{
        Exchange, Explanation, MatchedBinding, Reached, Visit, carbon_copies, without_blind_copies,
    },
};
use serde_json::{Value, json};

use super::{check_keys, optional_text};
use crate::{
    Error, Shared,
    body::JsonBody,
    caller::{Authorized, VhostMember},
    openapi::{Routes, post, schemas::messages as schemas},
    request::Names,
};

pub(super) fn routes() -> Routes {
    let explain = post(explain)
        .says("Where a publish would go, and why")
        .takes::<schemas::Explain>()
        .gives::<schemas::Explained>();
    Routes::about("Leveret: messages")
        .route("/leveret/exchanges/{vhost}/{exchange}/explain", explain)
}

async fn explain(
    auth: Authorized<VhostMember>,
    State(node): State<Shared>,
    names: Names,
    body: JsonBody,
) -> Result<Json<Value>, Error> {
    check_keys(&body, &["routing_key", "headers", "user"])?;
    let vhost = auth.scope.existing()?;
    let exchange = vhost
        .exchange(names.get("exchange"))
        .ok_or(Error::NoSuchPath)?;
    let headers = match body.find("headers") {
        None | Some(Value::Null) => FieldTable::default(),
        Some(Value::Object(headers)) => table_of_json(headers)?,
        Some(_) => return Err(Error::BadRequest("headers have to be an object".to_owned())),
    };
    let key = optional_text(&body, "routing_key")?.unwrap_or_default();
    let copies = carbon_copies(&headers)?;
    let headers = without_blind_copies(&headers);
    let access = optional_text(&body, "user")?.map(|user| {
        let user = user.as_str().into();
        node.core.access(&user, &vhost.name)
    });
    let refused = refused(&exchange, &key, &copies, access.as_deref());
    let explanation = vhost.explain(&exchange, &key, &copies, &headers);
    Ok(Json(explanation_json(&explanation, refused)))
}

/// Why a publish would not even be routed.
fn refused(
    exchange: &Exchange,
    key: &str,
    copies: &[String],
    access: Option<&Access>,
) -> Option<String> {
    let name = &exchange.name;
    if let Some(access) = access {
        let mut permitted = access.check(Operation::Write, Resource::Exchange(name));
        if exchange.kind == ExchangeKind::Topic {
            for key in std::iter::once(key).chain(copies.iter().map(String::as_str)) {
                let topic = || access.check_topic(Operation::Write, name, key);
                permitted = permitted.and_then(|()| topic());
            }
        }
        if let Err(error) = permitted {
            return Some(error.to_string());
        }
    }
    let internal = exchange.internal;
    internal.then(|| format!("exchange '{name}' is internal: clients cannot publish to it"))
}

fn explanation_json(explanation: &Explanation, refused: Option<String>) -> Value {
    let queues = &explanation.route.queues;
    let reason = refused.clone().or_else(|| explanation.why_unroutable());
    json!({
        "routed": refused.is_none() && !queues.is_empty(),
        "refused": refused.is_some(),
        "reason": reason,
        "routing_keys": explanation.keys,
        "queues": queues.iter().map(|queue| queue_json(queue)).collect::<Vec<_>>(),
        "path": explanation.visits.iter().map(visit_json).collect::<Vec<_>>(),
    })
}

fn queue_json(queue: &Queue) -> Value {
    let counts = queue.counts();
    json!({
        "name": queue.name(),
        "durable": queue.properties.durable,
        "messages_ready": counts.ready,
        "consumers": counts.consumers,
        "paused": queue.is_paused(),
        "full": queue.refuses(1, 0),
    })
}

fn visit_json(visit: &Visit) -> Value {
    let exchange = &visit.exchange;
    let (by, from) = match &visit.reached {
        Reached::Published => ("publish", None),
        Reached::Bound(from) => ("binding", Some(from)),
        Reached::Alternate(from) => ("alternate_exchange", Some(from)),
    };
    let alternate = visit.alternate.as_ref();
    json!({
        "exchange": exchange.name,
        "type": exchange.kind.as_str(),
        "reached_by": by,
        "reached_from": from,
        "bindings": exchange.binding_count(),
        "matched": visit.matched.iter().map(binding_json).collect::<Vec<_>>(),
        "alternate_exchange": alternate.map(|it| json!({ "name": it.name, "exists": it.exists })),
    })
}

fn binding_json(binding: &MatchedBinding) -> Value {
    json!({
        "destination": binding.destination,
        "destination_type": match binding.destination_kind {
            DestinationKind::Queue => "queue",
            DestinationKind::Exchange => "exchange",
        },
        "routing_key": binding.binding_key,
        "arguments": table_to_json(&binding.arguments),
        "matched_key": binding.key,
    })
}
