//! Connections of clients (RabbitMQ: `rabbit_mgmt_wm_connections`, `rabbit_mgmt_wm_connection`,
//! `rabbit_mgmt_wm_connections_vhost`, `rabbit_mgmt_wm_connection_user_name`).

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Response,
};
use broker_core::{
    arguments::json::table_to_json,
    broker::{ConnectionEntry, ConnectionState},
    outbox::Event,
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    Error, Node, Shared,
    caller::{Authorized, Caller, Level, Management, VhostVisible},
    listing::{self, Columns, Key, Listed, Ready},
    openapi::{Methods, Routes, get, schemas::Any, schemas::clients as schemas},
    request::{Names, Query},
    statistics::{Figures, Object, Ranges, put_socket},
};

/// Why a connection is closed unless the operator says (RabbitMQ's words).
const CLOSED: &str = "Closed via management plugin";

pub(crate) fn routes() -> Routes {
    let lists = |methods: Methods| methods.pages::<schemas::Connection>().with_statistics();
    let one = get(one)
        .says("A connection")
        .gives::<schemas::Connection>()
        .with_statistics()
        .delete(close)
        .says("Close a connection")
        .header("X-Reason", "what the client is told");
    let of_user = get(of_user)
        .says("The connections of a user, in short")
        .pages::<schemas::Connection>()
        .delete(close_user)
        .says("Close the connections of a user")
        .header("X-Reason", "what the clients are told");
    let sessions = get(sessions).says("The sessions of AMQP 1.0 on a connection: none");
    Routes::about("Connections")
        .route(
            "/connections",
            lists(get(list::<Management>).says("All connections")),
        )
        .route(
            "/vhosts/{vhost}/connections",
            lists(get(list::<VhostVisible>).says("The connections to a virtual host")),
        )
        .route("/connections/{connection}", one)
        .route(
            "/connections/{connection}/sessions",
            sessions.gives::<Vec<Any>>(),
        )
        .route("/connections/username/{username}", of_user)
}

/// A connection of a list.
struct Item {
    node: Shared,
    ranges: Ranges,
    statistics: bool,
    connection: Arc<ConnectionEntry>,
}

impl Listed for Item {
    fn name(&self) -> &str {
        &self.connection.name
    }

    /// Addresses say little to people: they look for the user, or for the name that the client gave itself.
    fn is_meant(&self, filter: &dyn Fn(&str) -> bool) -> bool {
        let connection = &self.connection;
        let provided = || connection.facts.provided_name();
        filter(&connection.name)
            || filter(&connection.user)
            || provided().is_some_and(|name| filter(&name))
    }

    fn key(&self, field: &str) -> Option<Key> {
        let connection = &self.connection;
        match field {
            "name" => Some(Key::Text(connection.name.as_str().into())),
            "vhost" => Some(Key::Text(Arc::clone(&connection.vhost))),
            "user" => Some(Key::Text(Arc::clone(&connection.user))),
            "state" => Some(Key::Text(connection.state().as_str().into())),
            "channels" => Some(Key::Number(connection.channel_count() as f64)),
            "connected_at" => Some(Key::Number(connection.facts.connected_at as f64)),
            _ => None,
        }
    }

    fn object(&self, _: &Columns) -> impl Serialize {
        let mut object = facts(&self.connection, &self.node);
        if self.statistics {
            put_statistics(&self.connection, &self.node, &self.ranges, &mut object);
        }
        object
    }
}

/// The connections that a list shows to the sender of a request (`filter_conn_ch_list`).
pub(crate) fn visible<L>(
    auth: &Authorized<L>,
    node: &Node,
) -> Result<Vec<Arc<ConnectionEntry>>, Error> {
    use crate::caller::Scope;
    let vhost = match &auth.scope {
        Scope::All => None,
        Scope::Missing => return Err(Error::NoSuchPath),
        Scope::One(vhost) => Some(&vhost.name),
    };
    let mut connections = node.core.connections();
    connections.retain(|it| vhost.is_none_or(|vhost| *vhost == it.vhost));
    connections.retain(|it| may_see(&auth.caller, &it.user));
    Ok(connections)
}

/// Whether somebody may see what a user does (`filter_user`).
pub(crate) fn may_see(caller: &Caller, user: &str) -> bool {
    caller.is_monitor() || *caller.user == *user
}

/// The connection of this name.
///
/// # Errors
/// 404: there is none. 401: the sender may not see it.
pub(crate) fn named<L>(
    name: &str,
    auth: &Authorized<L>,
    node: &Node,
) -> Result<Arc<ConnectionEntry>, Error> {
    let connection = node.core.connection_named(name);
    let connection = connection.ok_or(Error::NoSuchPath)?;
    permit(&auth.caller, &connection.user)?;
    Ok(connection)
}

/// # Errors
/// 401 with RabbitMQ's reason: what this user does is not for everybody to see (`is_authorized_user`).
pub(crate) fn permit(caller: &Caller, user: &str) -> Result<(), Error> {
    match may_see(caller, user) {
        true => Ok(()),
        false => Err(Error::NotAuthorised(
            "User not authorised to access object".to_owned(),
        )),
    }
}

/// What a connection was agreed to be.
fn facts(connection: &ConnectionEntry, node: &Node) -> Object {
    let facts = &connection.facts;
    let Value::Object(object) = json!({
        "auth_mechanism": facts.auth_mechanism,
        "channel_max": facts.channel_max,
        "client_properties": table_to_json(&facts.client_properties()),
        "connected_at": facts.connected_at,
        "frame_max": facts.frame_max,
        "host": facts.local.ip().to_canonical().to_string(),
        "name": connection.name,
        "node": node.name,
        "peer_cert_issuer": null,
        "peer_cert_subject": null,
        "peer_cert_validity": null,
        "peer_host": facts.peer.ip().to_canonical().to_string(),
        "peer_port": facts.peer.port(),
        "port": facts.local.port(),
        "protocol": "AMQP 0-9-1",
        "ssl": facts.ssl,
        "ssl_cipher": null,
        "ssl_hash": null,
        "ssl_key_exchange": null,
        "ssl_protocol": null,
        "timeout": facts.timeout,
        "type": "network",
        "user": connection.user,
        "user_who_performed_action": connection.user,
        "user_provided_name": connection.facts.provided_name(),
        "vhost": connection.vhost,
        "container_id": null,
    }) else {
        return Object::new();
    };
    // What is not known is not said.
    let known = |key: &str, value: &Value| {
        !value.is_null() || !matches!(key, "user_provided_name" | "container_id")
    };
    object
        .into_iter()
        .filter(|(key, value)| known(key, value))
        .collect()
}

fn put_statistics(connection: &ConnectionEntry, node: &Node, ranges: &Ranges, object: &mut Object) {
    let octets = connection.octets.read();
    connection.with_history(|history| {
        put_socket(&Figures::new(octets, history, node), ranges, object);
    });
    let channels = connection.channel_count();
    object.insert("channels".to_owned(), channels.into());
    object.insert("send_pend".to_owned(), 0.into());
    let state = connection.state().as_str();
    object.insert("state".to_owned(), state.into());
}

async fn list<L: Level>(
    auth: Authorized<L>,
    State(node): State<Shared>,
    query: Query,
) -> Result<Response, Error> {
    let ranges = Ranges::of(&query)?;
    let connections = visible(&auth, &node)?.into_iter();
    let items = connections.map(|connection| Item {
        node: Arc::clone(&node),
        ranges,
        statistics: !query.is_true("disable_stats"),
        connection,
    });
    listing::paged(items.collect(), &["vhost", "name"], &query)
}

async fn one(
    auth: Authorized<Management>,
    State(node): State<Shared>,
    names: Names,
    query: Query,
) -> Result<Response, Error> {
    let ranges = Ranges::of(&query)?;
    let connection = named(names.get("connection"), &auth, &node)?;
    let mut object = facts(&connection, &node);
    if !query.is_true("disable_stats") {
        put_statistics(&connection, &node, &ranges, &mut object);
    }
    listing::one(object, &query)
}

async fn close(
    auth: Authorized<Management>,
    State(node): State<Shared>,
    names: Names,
    headers: HeaderMap,
) -> Result<StatusCode, Error> {
    let connection = named(names.get("connection"), &auth, &node)?;
    end(&connection, &auth.caller, &headers);
    Ok(StatusCode::NO_CONTENT)
}

/// Asks a connection to close with 320 and the reason that the operator gives.
fn end(connection: &ConnectionEntry, by: &Caller, headers: &HeaderMap) {
    let reason = headers
        .get("x-reason")
        .map(|it| String::from_utf8_lossy(it.as_bytes()));
    let reason = reason.as_deref().unwrap_or(CLOSED);
    let (by, name) = (&*by.user, connection.name.as_str());
    tracing::info!(target: "audit", by, connection = name, reason, "connection closed");
    connection.outbox.post(Event::Close(reason.into()));
}

/// AMQP 1.0 has sessions, AMQP 0-9-1 has none.
async fn sessions(
    auth: Authorized<Management>,
    State(node): State<Shared>,
    names: Names,
    query: Query,
) -> Result<Response, Error> {
    named(names.get("connection"), &auth, &node)?;
    listing::one(json!([]), &query)
}

async fn of_user(
    auth: Authorized<Management>,
    State(node): State<Shared>,
    names: Names,
    query: Query,
) -> Result<Response, Error> {
    let connections = connections_of(names.get("username"), &auth, &node)?.into_iter();
    let items = connections.map(|connection| {
        Ready(json!({
            "name": connection.name,
            "node": node.name,
            "user": connection.user,
            "vhost": connection.vhost,
        }))
    });
    listing::paged(items.collect(), &["vhost", "name"], &query)
}

async fn close_user(
    auth: Authorized<Management>,
    State(node): State<Shared>,
    names: Names,
    headers: HeaderMap,
) -> Result<StatusCode, Error> {
    for connection in connections_of(names.get("username"), &auth, &node)? {
        end(&connection, &auth.caller, &headers);
    }
    Ok(StatusCode::NO_CONTENT)
}

fn connections_of(
    user: &str,
    auth: &Authorized<Management>,
    node: &Node,
) -> Result<Vec<Arc<ConnectionEntry>>, Error> {
    permit(&auth.caller, user)?;
    let mut connections = node.core.connections();
    connections.retain(|it| *it.user == *user);
    Ok(connections)
}

/// What a channel says of its connection's state.
pub(crate) fn channel_state(connection: &ConnectionEntry) -> &'static str {
    match connection.state() {
        ConnectionState::Flow => "flow",
        ConnectionState::Running | ConnectionState::Blocking | ConnectionState::Blocked => {
            "running"
        }
    }
}
