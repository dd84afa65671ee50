//! `GET /api/leveret/attention`: what an operator should look at first. One look at every queue that the user may see,
//! made by the broker so that nobody has to fetch 50,000 of them to find the three that matter.

use std::sync::Arc;

use axum::{Json, extract::State};
use broker_core::{
    broker::ConnectionState,
    queue::{Millis, Queue},
    statistics::{Column, Counts, OF_QUEUE_HISTORY, Range, second},
};
use serde_json::{Map, Value, json};

use crate::{
    Error, Node, Shared,
    caller::{Authorized, Management},
    connections,
    openapi::{Routes, get, schemas::node::Attention},
    request::Query,
};

/// Messages that wait for longer are told of, in milliseconds, unless the client says otherwise.
const USUAL_AGE: Millis = 10 * 60 * 1000;

/// Queues that are told of; the others are only counted.
const MOST: usize = 50;

/// Over how many seconds a queue is looked at.
const WINDOW: u32 = 60;

/// Why messages die, in the words of `x-death`.
pub(super) const DEATHS: [(&str, Column); 4] = [
    ("maxlen", Column::DeadMaxLength),
    ("expired", Column::DeadExpired),
    ("rejected", Column::DeadRejected),
    ("delivery_limit", Column::DeadDeliveryLimit),
];

pub(super) fn routes() -> Routes {
    let attention = get(attention)
        .says("What somebody should look at first")
        .gives::<Attention>()
        .counts(
            "older_than_ms",
            0,
            "messages that wait for longer are told of; 10 minutes if nothing is said",
        );
    Routes::about("The broker").route("/leveret/attention", attention)
}

async fn attention(
    auth: Authorized<Management>,
    State(node): State<Shared>,
    query: Query,
) -> Result<Json<Value>, Error> {
    let age = match query.get("older_than_ms").map(str::parse) {
        None => USUAL_AGE,
        Some(Ok(age)) => age,
        Some(Err(_)) => {
            let text = "older_than_ms has to be a whole number that is not negative";
            return Err(Error::BadRequest(text.to_owned()));
        }
    };
    let mut blocked = connections::visible(&auth, &node)?;
    blocked.retain(|it| it.state() == ConnectionState::Blocked);
    let alarms = node.core.alarms();
    let alarms: Vec<&str> = alarms.resources().map(|it| it.name()).collect();
    let shown = blocked.iter().take(MOST);
    let connections =
        shown.map(|it| json!({ "name": it.name, "user": it.user, "vhost": it.vhost }));
    let mut answer = json!({
        "alarms": alarms,
        "blocked_publishers": blocked.len(),
        "blocked_connections": connections.collect::<Value>(),
        "older_than_ms": age,
    });
    let vhosts = auth.caller.open_vhosts(&node);
    let found = node.elsewhere(move |node| {
        let queues = vhosts.iter().flat_map(|vhost| vhost.queues());
        let found = queues.filter_map(|queue| Found::of(queue, node, age));
        found.collect::<Vec<_>>()
    });
    let mut found = found.await?;
    found.sort_by_key(|it| std::cmp::Reverse((it.weight(), it.ready)));
    if let Some(answer) = answer.as_object_mut() {
        answer.insert("queue_count".to_owned(), found.len().into());
        let shown = found.iter().take(MOST).map(Found::json);
        answer.insert("queues".to_owned(), shown.collect());
    }
    Ok(Json(answer))
}

/// A queue that somebody should look at, and why.
struct Found {
    queue: Arc<Queue>,
    ready: u64,
    consumers: usize,
    /// By how much it has grown without anybody to consume.
    growth: u64,
    /// The age of its oldest message, if that is too old.
    too_old: Option<Millis>,
    paused: bool,
    /// Messages that died.
    dead: Vec<(&'static str, u64)>,
}

impl Found {
    fn of(queue: Arc<Queue>, node: &Node, age: Millis) -> Option<Self> {
        let inspection = queue.inspect_counts();
        let counts = &inspection.counts;
        let change = recent_change(&queue, node);
        let waits = inspection
            .head_entered
            .map(|at| node.now().saturating_sub(at));
        let grown = change
            .get(Column::Ready)
            .cast_signed()
            .max(0)
            .cast_unsigned();
        let dead = DEATHS.map(|(reason, column)| (reason, change.get(column)));
        let found = Self {
            ready: counts.ready as u64,
            consumers: counts.consumers,
            growth: if counts.consumers == 0 { grown } else { 0 },
            too_old: waits.filter(|waits| *waits > age && counts.ready > 0),
            paused: queue.is_paused(),
            dead: dead.into_iter().filter(|(_, count)| *count > 0).collect(),
            queue,
        };
        (found.weight() > 0).then_some(found)
    }

    /// What matters most comes first.
    fn weight(&self) -> u8 {
        let flags = [
            self.growth > 0,
            !self.dead.is_empty(),
            self.too_old.is_some(),
            self.paused,
        ];
        flags
            .iter()
            .fold(0, |weight, flag| weight << 1 | u8::from(*flag))
    }

    fn json(&self) -> Value {
        let dead = self.dead.iter();
        let dead: Map<String, Value> = dead
            .map(|(reason, count)| ((*reason).to_owned(), json!(count)))
            .collect();
        json!({
            "vhost": self.queue.properties.vhost,
            "name": self.queue.name(),
            "messages_ready": self.ready,
            "consumers": self.consumers,
            "growth_without_consumers": self.growth,
            "too_old_ms": self.too_old,
            "paused": self.paused,
            "dead_messages": dead,
        })
    }
}

/// By how much the counts of a queue have changed in the last minute.
fn recent_change(queue: &Queue, node: &Node) -> Counts<OF_QUEUE_HISTORY> {
    let now = second(node.now());
    let range = Range {
        age: WINDOW,
        step: 5,
    };
    let mut change = Counts::default();
    queue.statistics.with_history(|history| {
        // Nothing has changed for that long.
        let history = history.filter(|it| it.last_change().saturating_add(WINDOW) >= now);
        let Some(history) = history else { return };
        // Samples stand at whole steps: what has happened since the last of them counts too.
        if let Some(oldest) = history.samples(range, now).last() {
            change.add_change(history.total(), &oldest.counts);
        }
    });
    change
}
