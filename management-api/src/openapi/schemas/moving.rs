//! Messages that are moved.

use utoipa::ToSchema;

use super::{Any, messages::Filter};

/// A move to a queue or an exchange.
#[derive(ToSchema)]
pub(crate) struct NewMove {
    to: MoveTo,
    filter: Option<Filter>,
    /// Messages per second at most.
    rate: Option<u64>,
    /// Messages at most.
    limit: Option<u64>,
    /// Only count.
    dry_run: Option<bool>,
    /// How long the answer may wait for the end, in milliseconds.
    wait_ms: Option<u64>,
}

/// Where to: a queue, or an exchange.
#[derive(ToSchema)]
pub(crate) struct MoveTo {
    queue: Option<String>,
    exchange: Option<String>,
    /// Another one than each message has.
    routing_key: Option<String>,
}

/// Dead letters back to where they came from.
#[derive(ToSchema)]
pub(crate) struct Requeue {
    /// `queue` for the queue in which they died, or `exchange` for the exchange that they were published to.
    by: Option<String>,
    filter: Option<Filter>,
    /// Messages per second at most.
    rate: Option<u64>,
    /// Messages at most.
    limit: Option<u64>,
    /// Only count.
    dry_run: Option<bool>,
    /// How long the answer may wait for the end, in milliseconds.
    wait_ms: Option<u64>,
}

/// A move, and how far it is.
#[derive(ToSchema)]
pub(crate) struct Move {
    id: u64,
    vhost: String,
    queue: String,
    /// Where to: an object, or `original queue`, or `original exchange`.
    to: Any,
    filter: Filter,
    rate: Option<u64>,
    limit: Option<u64>,
    dry_run: bool,
    user: String,
    state: String,
    /// Why it failed.
    reason: Option<String>,
    /// Milliseconds since 1970.
    started_at: u64,
    finished_at: Option<u64>,
    ready_at_start: u64,
    examined: u64,
    matched: u64,
    moved: u64,
    unroutable: u64,
    not_dead_lettered: u64,
    refused: u64,
}
