//! The HTTP API of the broker: what an operator's tools for RabbitMQ ask for, in RabbitMQ's words.
//!
//! [`router`] makes the axum router of a [`Node`]: the broker core, and what is known of the program around it. Whoever
//! serves the router must provide the peer's address (`into_make_service_with_connect_info::<SocketAddr>()`), because
//! some users may log in from this machine only. Names and meanings of fields are those of RabbitMQ's HTTP API
//! reference (<https://www.rabbitmq.com/docs/http-api-reference>).
//!
//! The frame: `login.rs` says who sends a request, `caller` what they may see and do, `request.rs` what they sent,
//! `listing` answers with one object or with many, `error` with what went wrong. On it stand the resources, a file
//! each, with a function `routes` that says where they are. `page.rs` serves the web page and `session.rs` is how it
//! stays logged in.

mod audit;
mod bindings;
mod body;
mod caller;
mod channels;
mod cluster;
mod connections;
mod definitions;
mod error;
mod events;
mod exchanges;
mod health;
mod identity;
mod leveret;
mod limits;
mod listing;
mod login;
mod node;
mod nodes;
mod openapi;
mod overview;
mod page;
mod parameters;
mod permissions;
mod policies;
mod prometheus;
mod properties;
mod queues;
mod request;
mod session;
mod statistics;
mod users;
mod vhosts;

use std::sync::Arc;

use axum::{
    Router,
    extract::Request,
    http::{Method, StatusCode, Uri, uri::PathAndQuery},
    middleware::from_fn,
    response::{IntoResponse, Response},
};
use tower::{ServiceExt as _, util::MapRequestLayer};

use self::openapi::Routes;
pub use self::{
    error::Error,
    events::{
        BYTES_OF_A_KIND, EVENTS_OF_A_KIND, Event, EventFilter, EventKind, EventLog, Events,
        Severity,
    },
    node::{Certificate, Clock, Listener, LogLevel, Node, StoreKind},
    nodes::ResourceLimits,
    session::{Secure, Sessions},
};

/// The version of RabbitMQ whose behaviour tools meet here; they choose their requests by it.
pub const RABBITMQ_VERSION: &str = "4.3.0";

/// What every handler gets.
pub(crate) type Shared = Arc<Node>;

/// The whole HTTP interface of a broker.
pub fn router(node: Node) -> Router {
    let api = Routes::about("The broker")
        .merge(overview::routes())
        .merge(nodes::routes())
        .merge(cluster::routes())
        .merge(identity::routes())
        .merge(users::routes())
        .merge(permissions::routes())
        .merge(vhosts::routes())
        .merge(limits::routes())
        .merge(parameters::routes())
        .merge(policies::routes())
        .merge(exchanges::routes())
        .merge(bindings::routes())
        .merge(queues::routes())
        .merge(connections::routes())
        .merge(channels::routes())
        .merge(definitions::routes())
        .merge(health::routes())
        .merge(leveret::routes())
        .merge(openapi::routes())
        .with(|router| {
            let router = router.fallback(async || Error::NoSuchPath);
            router.method_not_allowed_fallback(other_method)
        });
    let all = openapi::described(api.below("/api").merge(prometheus::routes()))
        .fallback(page::serve)
        .layer(from_fn(audit::request))
        .with_state(Arc::new(node));
    // Before routes are looked for, and so around all of them.
    let all = tower::Layer::layer(&MapRequestLayer::new(without_trailing_slash), all);
    Router::new().fallback_service(all.map_err(|never| match never {}))
}

/// `OPTIONS` is answered for every path, with the methods that there are in the header `Allow`.
async fn other_method(method: Method) -> Response {
    match method {
        Method::OPTIONS => StatusCode::OK.into_response(),
        _ => Error::MethodNotAllowed.into_response(),
    }
}

/// A slash at the end of a path means nothing (as in RabbitMQ's server, cowboy).
fn without_trailing_slash(mut request: Request) -> Request {
    let uri = request.uri();
    let Some(path) = uri.path().strip_suffix('/').filter(|path| !path.is_empty()) else {
        return request;
    };
    let stripped = match uri.query() {
        Some(query) => PathAndQuery::try_from(format!("{path}?{query}")),
        None => PathAndQuery::try_from(path),
    };
    let mut parts = uri.clone().into_parts();
    if let Ok(stripped) = stripped {
        parts.path_and_query = Some(stripped);
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
    request
}

#[cfg(test)]
mod tests;
