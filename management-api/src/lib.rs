//! The HTTP API of the broker: what an operator's tools for RabbitMQ ask for, in RabbitMQ's words.
//!
//! The crate knows the broker as the trait [`Broker`] only. [`router`] makes the axum router; whoever serves it must
//! provide the peer's address (`into_make_service_with_connect_info::<SocketAddr>()`), because some users may log in
//! from this machine only. Names and meanings of fields are those of RabbitMQ's HTTP API reference
//! (<https://www.rabbitmq.com/docs/http-api-reference>).

mod authentication;
mod error;
mod overview;
mod page;

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::routing::get;

pub use error::Error;
pub use overview::{Listener, ObjectTotals, Overview, StoreKind};

/// The version of RabbitMQ whose behaviour tools meet here; they choose their requests by it.
pub const RABBITMQ_VERSION: &str = "4.3.0";

/// What the API asks of the broker.
pub trait Broker: Send + Sync + 'static {
    /// Whether this user may use the API from `peer` with this password.
    fn log_in(&self, user: &str, password: &str, peer: IpAddr) -> bool;

    /// Names and counts of the whole broker, at a cost that does not grow with them.
    fn overview(&self) -> Overview;

    /// The resources whose alarm is on, in RabbitMQ's words: `disk`, `memory`.
    fn alarms(&self) -> Vec<&'static str>;
}

/// What every handler gets.
pub(crate) type Shared = Arc<dyn Broker>;

/// The whole HTTP interface of `broker`.
pub fn router(broker: Arc<dyn Broker>) -> Router {
    let api = Router::new()
        .route("/overview", get(overview::overview))
        .route("/health/checks/alarms", get(overview::alarms))
        .fallback(async || Error::NotFound)
        .method_not_allowed_fallback(async || Error::MethodNotAllowed);
    Router::new()
        .route("/", get(page::index))
        .route("/style.css", get(page::style))
        .nest("/api", api)
        .fallback(async || Error::NotFound)
        .with_state(broker)
}

#[cfg(test)]
mod tests;
