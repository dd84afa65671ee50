//! Exchanges (RabbitMQ: `rabbit_mgmt_wm_exchanges`, `rabbit_mgmt_wm_exchange`).

use std::sync::Arc;

use axum::{extract::State, http::StatusCode, response::Response};
use broker_core::{
    arguments::json::table_to_json,
    vhost::{Exchange, ExchangeDeclaration, Publication},
};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{
    Error, Shared,
    bindings::arguments,
    body::{JsonBody, check_name},
    caller::{Authorized, VhostMember},
    listing::{self, Columns, Key, Listed},
    openapi::{
        Methods, Routes, get, post,
        schemas::{
            messages::{NewMessage, Routed},
            topology as schemas,
        },
    },
    properties,
    request::{Names, Query, put_status},
    statistics::{Ranges, put_exchange},
};

pub(crate) fn routes() -> Routes {
    let lists = |methods: Methods| methods.pages::<schemas::Exchange>().with_statistics();
    let one = get(one)
        .says("An exchange")
        .gives::<schemas::Exchange>()
        .with_statistics()
        .put(put)
        .says("Declare an exchange")
        .takes::<schemas::NewExchange>()
        .delete(delete)
        .says("Delete an exchange")
        .flag("if-unused", "only if nothing is bound to it");
    let publish = post(publish)
        .says("Publish a message; the answer comes when it is safe")
        .takes::<NewMessage>()
        .gives::<Routed>();
    Routes::about("Exchanges")
        .route("/exchanges", lists(get(list).says("All exchanges")))
        .route(
            "/exchanges/{vhost}",
            lists(get(list).says("The exchanges of a virtual host")),
        )
        .route("/exchanges/{vhost}/{exchange}", one)
        .route("/exchanges/{vhost}/{exchange}/publish", publish)
}

/// An exchange of a list.
struct Item {
    node: Shared,
    ranges: Option<Ranges>,
    vhost: Arc<str>,
    exchange: Arc<Exchange>,
}

impl Listed for Item {
    fn name(&self) -> &str {
        &self.exchange.name
    }

    fn key(&self, field: &str) -> Option<Key> {
        match field {
            "vhost" => Some(Key::Text(Arc::clone(&self.vhost))),
            "name" => Some(Key::Text(Arc::clone(&self.exchange.name))),
            "type" => Some(Key::Text(self.exchange.kind.as_str().into())),
            _ => None,
        }
    }

    fn object(&self, _: &Columns) -> impl Serialize {
        let mut object = exchange_json(&self.vhost, &self.exchange);
        if let Some(ranges) = &self.ranges {
            put_exchange(&self.node, &self.exchange, ranges, &mut object);
        }
        object
    }
}

/// The samples that a client wants to see; `None` if it wants no statistics.
fn ranges(query: &Query) -> Result<Option<Ranges>, Error> {
    match query.is_true("disable_stats") {
        true => Ok(None),
        false => Ranges::of(query).map(Some),
    }
}

/// What the API says of an exchange.
fn exchange_json(vhost: &str, exchange: &Exchange) -> Map<String, Value> {
    let mut object = Map::new();
    let mut put = |key: &str, value: Value| object.insert(key.to_owned(), value);
    put("name", (*exchange.name).into());
    put("vhost", vhost.into());
    put("type", exchange.kind.as_str().into());
    put("durable", exchange.durable.into());
    put("auto_delete", exchange.auto_delete.into());
    put("internal", exchange.internal.into());
    put("arguments", table_to_json(&exchange.arguments));
    let policies = exchange.policies();
    if let Some(policy) = policies.policy {
        put("policy", policy.record.name.as_str().into());
    }
    object
}

async fn list(
    auth: Authorized<VhostMember>,
    State(node): State<Shared>,
    query: Query,
) -> Result<Response, Error> {
    let ranges = ranges(&query)?;
    let vhosts = auth.scope.listed(&auth.caller, &node)?;
    let items = vhosts.iter().flat_map(|vhost| {
        let exchanges = vhost.exchanges().into_iter();
        exchanges.map(|exchange| Item {
            node: Arc::clone(&node),
            ranges,
            vhost: Arc::clone(&vhost.name),
            exchange,
        })
    });
    listing::paged(items.collect(), &["vhost", "name"], &query)
}

async fn one(
    auth: Authorized<VhostMember>,
    State(node): State<Shared>,
    names: Names,
    query: Query,
) -> Result<Response, Error> {
    let vhost = auth.scope.existing()?;
    let exchange = vhost
        .exchange(names.get("exchange"))
        .ok_or(Error::NoSuchPath)?;
    let mut object = exchange_json(&vhost.name, &exchange);
    if let Some(ranges) = ranges(&query)? {
        put_exchange(&node, &exchange, &ranges, &mut object);
        object.insert("incoming".to_owned(), json!([]));
        object.insert("outgoing".to_owned(), json!([]));
    }
    listing::one(object, &query)
}

async fn put(
    auth: Authorized<VhostMember>,
    State(node): State<Shared>,
    names: Names,
    body: JsonBody,
) -> Result<StatusCode, Error> {
    let vhost = auth.scope.writable()?;
    let kind = body.find("type").filter(|it| !it.is_null());
    let declaration = ExchangeDeclaration {
        name: names.get("exchange").to_owned(),
        kind: match kind {
            None => "direct".to_owned(),
            Some(_) => body.text("type")?.to_owned(),
        },
        durable: body.flag("durable")?,
        auto_delete: body.flag("auto_delete")?,
        internal: body.flag("internal")?,
        arguments: arguments(&body)?,
    };
    check_name("the exchange's name", &declaration.name)?;
    let access = auth.caller.access(&node, vhost);
    let permit = || vhost.permit_declare_exchange(&declaration, &access);
    auth.caller.decide(&access, permit)?;
    let new = vhost.exchange(&declaration.name).is_none();
    let name = declaration.name.clone();
    let ticket = vhost.declare_exchange(declaration)?;
    if new {
        let by = &*auth.caller.user;
        tracing::info!(target: "audit", by, vhost = &*vhost.name, name, "exchange declared");
    }
    node.durable(ticket).await?;
    Ok(put_status(new))
}

async fn delete(
    auth: Authorized<VhostMember>,
    State(node): State<Shared>,
    names: Names,
    query: Query,
) -> Result<StatusCode, Error> {
    let vhost = auth.scope.existing()?;
    let name = names.get("exchange");
    vhost.exchange(name).ok_or(Error::NoSuchPath)?;
    let access = auth.caller.access(&node, vhost);
    let permit = || vhost.permit_delete_exchange(name, &access);
    auth.caller.decide(&access, permit)?;
    let ticket = vhost.delete_exchange(name, query.is_true("if-unused"))?;
    let by = &*auth.caller.user;
    tracing::info!(target: "audit", by, vhost = &*vhost.name, name, "exchange deleted");
    node.durable(ticket).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Publishes a message, and answers when it is safe whether a queue was found for it.
async fn publish(
    auth: Authorized<VhostMember>,
    State(node): State<Shared>,
    names: Names,
    body: JsonBody,
) -> Result<Response, Error> {
    let vhost = auth.scope.writable()?;
    let exchange = names.get("exchange");
    if vhost.exchange(exchange).is_none() {
        return Err(Error::NotFound("exchange_not_found".to_owned()));
    }
    let [_, properties, payload, encoding] =
        body.required(["routing_key", "properties", "payload", "payload_encoding"])?;
    let publication = Publication {
        exchange,
        routing_key: body.text("routing_key")?,
        properties: &properties::of_json(properties)?,
        body: &properties::payload(payload, encoding)?,
    };
    let access = auth.caller.access(&node, vhost);
    if !auth.caller.may_open(&node, &vhost.name) {
        return Err(Error::NotAuthorised("Access refused.".to_owned()));
    }
    let user = &auth.caller.user;
    let publish = || vhost.publish_one(&publication, user, &access, node.now());
    let published = auth.caller.decide(&access, publish);
    let published = published.map_err(|error| channel_error(&error))?;
    node.stored(published.ticket).await?;
    if published.refused {
        let text = "rejected Unable to publish message. Check queue limits.";
        return Err(Error::BadRequest(text.to_owned()));
    }
    listing::one(json!({ "routed": published.routed }), &Query::default())
}

/// What ends a channel, in the words of `rabbit_mgmt_util:with_channel`.
pub(crate) fn channel_error(error: &broker_core::Error) -> Error {
    use broker_core::Error as Core;
    let (code, name) = match error {
        Core::NotFound(_) => return Error::NotFound(format!("NOT_FOUND - {error}")),
        Core::AccessRefused(_) => return Error::NotAuthorised(format!("ACCESS_REFUSED - {error}")),
        Core::PreconditionFailed(_) => (406, "PRECONDITION_FAILED"),
        Core::ResourceLocked(_) => (405, "RESOURCE_LOCKED"),
        Core::NotAllowed(_) => (530, "NOT_ALLOWED"),
        Core::CommandInvalid(_) => (503, "COMMAND_INVALID"),
        Core::NotImplemented(_) => (540, "NOT_IMPLEMENTED"),
        Core::Internal(_) => (541, "INTERNAL_ERROR"),
    };
    Error::BadRequest(format!("{code} {name} - {error}"))
}
