//! Exchanges and bindings.

use utoipa::ToSchema;

use super::{Any, Fields, MessageStats, queues::Setting};

/// An exchange.
#[derive(ToSchema)]
pub(crate) struct Exchange {
    /// Empty for the default exchange.
    name: String,
    vhost: String,
    /// `direct`, `fanout`, `topic` or `headers`.
    r#type: String,
    durable: bool,
    auto_delete: bool,
    /// Whether clients may not publish to it.
    internal: bool,
    arguments: Fields,
    /// The name of the policy that counts.
    policy: Option<String>,
    message_stats: Option<MessageStats>,
    /// Always empty.
    incoming: Option<Vec<Any>>,
    /// Always empty.
    outgoing: Option<Vec<Any>>,
}

/// How an exchange is to be.
#[derive(ToSchema)]
pub(crate) struct NewExchange {
    /// `direct` if nothing is said.
    r#type: Option<String>,
    durable: Option<bool>,
    auto_delete: Option<bool>,
    internal: Option<bool>,
    arguments: Option<Fields>,
}

/// What only Leveret tells of an exchange.
#[derive(ToSchema)]
pub(crate) struct OwnExchange {
    vhost: String,
    name: String,
    effective_configuration: Vec<Setting>,
}

/// A binding.
#[derive(ToSchema)]
pub(crate) struct Binding {
    /// The exchange; empty for the default one.
    source: String,
    vhost: String,
    destination: String,
    /// `queue` or `exchange`.
    destination_type: String,
    routing_key: String,
    arguments: Fields,
    /// What tells it from others between the same ends.
    properties_key: String,
}

/// How a binding is to be.
#[derive(ToSchema)]
pub(crate) struct NewBinding {
    routing_key: Option<String>,
    arguments: Option<Fields>,
}
