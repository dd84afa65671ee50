//! Bindings (RabbitMQ: `rabbit_mgmt_wm_bindings`, `rabbit_mgmt_wm_binding`).
//!
//! Between the same two ends there can be several bindings. `properties_key` tells them apart: the routing key, and
//! behind a `~` the hash of the arguments, if there are any.

mod hash;

use std::sync::Arc;

use axum::{
    extract::{OriginalUri, State},
    http::{StatusCode, header::LOCATION},
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use broker_core::{
    arguments::{
        FieldTable,
        json::{table_of_json, table_to_json},
    },
    definitions::{BindingDefinition, DestinationKind},
    queue::ConnectionId,
    vhost::{BindingRequest, Vhost},
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    Error, Shared,
    body::{JsonBody, RawBody, check_name},
    caller::{Authorized, VhostMember},
    listing::{self, Columns, Key, Listed},
    openapi::{Methods, Routes, get, schemas::topology as schemas},
    request::{Names, Query},
};

/// The longest body of a new binding, in bytes.
const MAX_BODY_SIZE: usize = 5000;

/// Nobody's connection: the exclusive queues of all connections are those of others.
pub(crate) const NO_CONNECTION: ConnectionId = ConnectionId(0);

const ORDER: &[&str] = &[
    "vhost",
    "source",
    "type",
    "destination",
    "routing_key",
    "properties_key",
];

pub(crate) fn routes() -> Routes {
    let ends = "/bindings/{vhost}/e/{source}/{dtype}/{destination}";
    let lists = |methods: Methods| methods.lists::<schemas::Binding>();
    let between = lists(
        get(between).says("The bindings between an exchange and a queue or another exchange"),
    )
    .post(create)
    .says("Make a binding; the header `Location` says where it is")
    .takes::<schemas::NewBinding>()
    .answers(StatusCode::CREATED);
    let one = get(one)
        .says("A binding")
        .gives::<schemas::Binding>()
        .delete(delete)
        .says("Take a binding away");
    Routes::about("Bindings")
        .route("/bindings", lists(get(list).says("All bindings")))
        .route(
            "/bindings/{vhost}",
            lists(get(list).says("The bindings of a virtual host")),
        )
        .route(ends, between)
        .route(&format!("{ends}/{{props}}"), one)
        .route(
            "/exchanges/{vhost}/{exchange}/bindings/source",
            lists(get(from_exchange).says("The bindings that lead away from an exchange")),
        )
        .route(
            "/exchanges/{vhost}/{exchange}/bindings/destination",
            lists(get(to_exchange).says("The bindings that lead to an exchange")),
        )
        .route(
            "/queues/{vhost}/{queue}/bindings",
            lists(get(to_queue).says("The bindings that lead to a queue")),
        )
}

impl Listed for BindingDefinition {
    fn name(&self) -> &str {
        ""
    }

    fn key(&self, field: &str) -> Option<Key> {
        let text = |text: &str| Some(Key::Text(text.into()));
        match field {
            "vhost" => text(&self.vhost),
            "source" => text(&self.source),
            "destination" => text(&self.destination),
            "destination_type" => text(kind_text(self.destination_kind)),
            "routing_key" => text(&self.routing_key),
            "properties_key" => text(&properties_key(&self.routing_key, &self.arguments)),
            _ => Some(Key::NOTHING),
        }
    }

    fn object(&self, _: &Columns) -> impl Serialize {
        binding_json(self)
    }
}

/// RabbitMQ's word for what a binding leads to.
pub(crate) fn kind_text(kind: DestinationKind) -> &'static str {
    match kind {
        DestinationKind::Queue => "queue",
        DestinationKind::Exchange => "exchange",
    }
}

fn binding_json(binding: &BindingDefinition) -> Value {
    json!({
        "source": binding.source,
        "vhost": binding.vhost,
        "destination": binding.destination,
        "destination_type": kind_text(binding.destination_kind),
        "routing_key": binding.routing_key,
        "arguments": table_to_json(&binding.arguments),
        "properties_key": properties_key(&binding.routing_key, &binding.arguments),
    })
}

/// What tells a binding from others between the same ends (`rabbit_mgmt_format:pack_binding_props`).
fn properties_key(routing_key: &str, arguments: &FieldTable) -> String {
    match (routing_key, arguments.inner().is_empty()) {
        ("", true) => "~".to_owned(),
        (key, true) => quote_binding(key),
        (key, false) => {
            let hash = hash::of_table(arguments).to_be_bytes();
            format!("{}~{}", quote_binding(key), URL_SAFE_NO_PAD.encode(hash))
        }
    }
}

fn quote_binding(text: &str) -> String {
    quote(text).replace('~', "%7E")
}

/// `rabbit_http_util:quote_plus`.
fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'~' | b'_' => {
                quoted.push(byte.into());
            }
            b' ' => quoted.push('+'),
            other => quoted.push_str(&format!("%{other:02X}")),
        }
    }
    quoted
}

/// `rabbit_http_util:unquote`.
fn unquote(text: &str) -> String {
    let query = format!("={text}");
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    pairs
        .next()
        .map(|(_, text)| text.into_owned())
        .unwrap_or_default()
}

async fn list(
    auth: Authorized<VhostMember>,
    State(node): State<Shared>,
    query: Query,
) -> Result<Response, Error> {
    let vhosts = auth.scope.listed(&auth.caller, &node)?;
    let bindings = vhosts.iter().flat_map(|vhost| vhost.bindings());
    listing::all(bindings.collect(), ORDER, &query)
}

async fn from_exchange(
    auth: Authorized<VhostMember>,
    names: Names,
    query: Query,
) -> Result<Response, Error> {
    let vhost = auth.scope.existing()?;
    let exchange = vhost.exchange(names.get("exchange"));
    let bindings = exchange.map(|exchange| vhost.bindings_from(&exchange));
    listing::all(bindings.unwrap_or_default(), ORDER, &query)
}

async fn to_exchange(
    auth: Authorized<VhostMember>,
    names: Names,
    query: Query,
) -> Result<Response, Error> {
    let vhost = auth.scope.existing()?;
    let exchange = vhost.exchange(names.get("exchange"));
    let bindings = exchange.map(|exchange| vhost.bindings_to_exchange(&exchange));
    listing::all(bindings.unwrap_or_default(), ORDER, &query)
}

async fn to_queue(
    auth: Authorized<VhostMember>,
    names: Names,
    query: Query,
) -> Result<Response, Error> {
    let vhost = auth.scope.existing()?;
    let queue = vhost.queue(names.get("queue"));
    let bindings = queue.map(|queue| vhost.bindings_to_queue(&queue));
    listing::all(bindings.unwrap_or_default(), ORDER, &query)
}

/// The ends that a path names.
struct Ends<'a> {
    vhost: &'a Arc<Vhost>,
    source: &'a str,
    kind: DestinationKind,
    destination: &'a str,
}

impl<'a> Ends<'a> {
    fn of(vhost: &'a Arc<Vhost>, names: &'a Names) -> Result<Self, Error> {
        let kind = match names.get("dtype") {
            "q" => DestinationKind::Queue,
            "e" => DestinationKind::Exchange,
            _ => return Err(Error::NoSuchPath),
        };
        Ok(Self {
            vhost,
            source: names.get("source"),
            kind,
            destination: names.get("destination"),
        })
    }

    fn bindings(&self) -> Vec<BindingDefinition> {
        let (source, destination) = (self.source, self.destination);
        self.vhost.bindings_between(source, self.kind, destination)
    }

    /// The binding with this `properties_key`, also when it is quoted otherwise than we do.
    fn find(&self, properties_key: &str) -> Option<BindingDefinition> {
        let (key, hash) = match properties_key.split_once('~') {
            Some((key, "")) => (key, None),
            Some((key, hash)) => (key, Some(hash)),
            None => (properties_key, None),
        };
        let key = unquote(key);
        self.bindings().into_iter().find(|binding| {
            let arguments = &binding.arguments;
            let same_arguments = match hash {
                None => arguments.inner().is_empty(),
                Some(hash) => {
                    URL_SAFE_NO_PAD.encode(hash::of_table(arguments).to_be_bytes()) == hash
                }
            };
            binding.routing_key == key && same_arguments
        })
    }

    fn request(&self, routing_key: String, arguments: FieldTable) -> BindingRequest {
        BindingRequest {
            source: self.source.to_owned(),
            destination_kind: self.kind,
            destination: self.destination.to_owned(),
            routing_key,
            arguments,
        }
    }
}

async fn between(
    auth: Authorized<VhostMember>,
    names: Names,
    query: Query,
) -> Result<Response, Error> {
    let ends = Ends::of(auth.scope.existing()?, &names)?;
    listing::all(ends.bindings(), ORDER, &query)
}

async fn create(
    auth: Authorized<VhostMember>,
    State(node): State<Shared>,
    names: Names,
    OriginalUri(uri): OriginalUri,
    RawBody(body): RawBody,
) -> Result<Response, Error> {
    if body.len() > MAX_BODY_SIZE {
        return Err(Error::BadRequest("Payload size limit exceeded".to_owned()));
    }
    let body = JsonBody::decode(&body)?;
    let vhost = auth.scope.writable()?;
    let ends = Ends::of(vhost, &names)?;
    let routing_key = match body.find("routing_key") {
        None => String::new(),
        Some(Value::String(key)) => key.clone(),
        Some(_) => {
            return Err(Error::BadRequest(
                "routing_key has to be a string".to_owned(),
            ));
        }
    };
    check_name("routing_key", &routing_key)?;
    let arguments = arguments(&body)?;
    let key = properties_key(&routing_key, &arguments);
    let request = ends.request(routing_key, arguments);
    let access = auth.caller.access(&node, vhost);
    auth.caller
        .decide(&access, || vhost.permit_bind(&request, &access))?;
    let ticket = vhost.bind(&request, NO_CONNECTION)?;
    log(&auth, vhost, &request, "binding made");
    node.durable(ticket).await?;
    let location = location(uri.path(), ends.destination, &key);
    Ok((StatusCode::CREATED, [(LOCATION, location)]).into_response())
}

/// The `arguments` of a body as a table.
///
/// # Errors
/// 400: they are none.
pub(crate) fn arguments(body: &JsonBody) -> Result<FieldTable, Error> {
    match body.find("arguments") {
        None => Ok(FieldTable::default()),
        Some(Value::Object(arguments)) => Ok(table_of_json(arguments)?),
        // An empty list is what languages without a type for objects send.
        Some(Value::Array(none)) if none.is_empty() => Ok(FieldTable::default()),
        Some(_) => Err(Error::BadRequest(
            "arguments have to be an object".to_owned(),
        )),
    }
}

fn log(auth: &Authorized<VhostMember>, vhost: &Vhost, request: &BindingRequest, what: &str) {
    let by = &*auth.caller.user;
    let (source, destination, key) = (&request.source, &request.destination, &request.routing_key);
    tracing::info!(target: "audit", by, vhost = &*vhost.name, source, destination, key, "{what}");
}

/// Where the new binding is, seen from the path that it was posted to (`rabbit_web_dispatch_util:relativise`).
fn location(path: &str, destination: &str, properties_key: &str) -> String {
    let end = format!("{}/{}", quote(destination), quote(properties_key));
    match path.rsplit('/').next() {
        Some(last) if last == quote(destination) => end,
        _ => format!("../{end}"),
    }
}

async fn one(auth: Authorized<VhostMember>, names: Names, query: Query) -> Result<Response, Error> {
    let ends = Ends::of(auth.scope.existing()?, &names)?;
    let found = ends.find(names.get("props")).ok_or(Error::NoSuchPath)?;
    listing::one(binding_json(&found), &query)
}

async fn delete(
    auth: Authorized<VhostMember>,
    State(node): State<Shared>,
    names: Names,
) -> Result<StatusCode, Error> {
    let vhost = auth.scope.existing()?;
    let ends = Ends::of(vhost, &names)?;
    let found = ends.find(names.get("props")).ok_or(Error::NoSuchPath)?;
    let request = ends.request(found.routing_key, found.arguments);
    let access = auth.caller.access(&node, vhost);
    auth.caller
        .decide(&access, || vhost.permit_bind(&request, &access))?;
    let ticket = vhost.unbind(&request, NO_CONNECTION)?;
    log(&auth, vhost, &request, "binding taken away");
    node.durable(ticket).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_properties_key_is_the_quoted_routing_key_and_the_hash_of_the_arguments() {
        let none = FieldTable::default();
        for (key, expected) in [
            ("", "~"),
            ("a.b", "a.b"),
            ("#", "%23"),
            ("*.a b/c", "%2A.a+b%2Fc"),
            ("a~b", "a%7Eb"),
            ("\u{fc}", "%C3%BC"),
        ] {
            assert_eq!(properties_key(key, &none), expected);
        }
    }

    #[test]
    fn quoted_texts_come_back() {
        for text in ["", "a b", "+", "%41", "&=;", "\u{fc}~"] {
            assert_eq!(unquote(&quote_binding(text)), text);
        }
    }

    #[test]
    fn a_new_binding_is_told_relative_to_its_ends() {
        let path = "/api/bindings/%2F/e/x/q/my%2Fq";
        assert_eq!(location(path, "my/q", "%23"), "my%2Fq/%2523");
        assert_eq!(location("/e/x/q/my%2fq", "my/q", "~"), "../my%2Fq/~");
    }
}
