//! `/api/leveret/queues/{vhost}/{queue}` and `/api/leveret/exchanges/{vhost}/{exchange}`: what only Leveret tells of a
//! queue or an exchange, and pausing a queue.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use broker_core::{
    permissions::{Operation, Resource},
    policy::{Setting, Source},
    queue::{Inspection, Millis, Quantiles, Queue},
    statistics::{Column, OF_QUEUE_HISTORY, Percentiles, Range, second},
};
use serde_json::{Map, Value, json};

use super::attention::DEATHS;
use crate::{
    Error, Node, Shared,
    caller::{Authorized, VhostMember},
    openapi::{
        Routes, get, post,
        schemas::{queues::OwnQueue, topology::OwnExchange},
    },
    request::{Names, Query},
    statistics::range,
};

pub(super) fn routes() -> Routes {
    let one = get(one)
        .says("What RabbitMQ does not tell of a queue")
        .gives::<OwnQueue>()
        .counts("latency_age", 1, "samples of latencies of so many seconds")
        .counts("latency_incr", 1, "the seconds between two of them");
    let exchange = get(exchange)
        .says("What RabbitMQ does not tell of an exchange")
        .gives::<OwnExchange>();
    Routes::about("Leveret: queues and exchanges")
        .route("/leveret/queues/{vhost}/{queue}", one)
        .route("/leveret/exchanges/{vhost}/{exchange}", exchange)
        .route(
            "/leveret/queues/{vhost}/{queue}/pause",
            post(pause).says("Hold back the deliveries of a queue"),
        )
        .route(
            "/leveret/queues/{vhost}/{queue}/resume",
            post(resume).says("Deliver again"),
        )
}

async fn one(
    auth: Authorized<VhostMember>,
    State(node): State<Shared>,
    names: Names,
    query: Query,
) -> Result<Json<Value>, Error> {
    let latency = range(&query, "latency")?;
    let vhost = auth.scope.existing()?;
    let queue = vhost.queue(names.get("queue")).ok_or(Error::NoSuchPath)?;
    let mut object = own_json(&queue, &queue.inspect_counts(), &node);
    if let Some(range) = latency {
        let samples = latency_samples(&queue, range, node.now());
        object.insert("latency_samples".to_owned(), samples);
    }
    object.insert("vhost".to_owned(), json!(vhost.name));
    object.insert("name".to_owned(), json!(queue.name()));
    Ok(Json(Value::Object(object)))
}

/// What RabbitMQ does not tell of a queue, which holds what `inspection` says.
pub(crate) fn own_json(queue: &Queue, inspection: &Inspection, node: &Node) -> Map<String, Value> {
    let now = node.now();
    let times = queue.times(now);
    let fields = [
        ("paused", json!(queue.is_paused())),
        (
            "effective_configuration",
            settings_json(&settings(queue, node)),
        ),
        (
            "time_in_queue",
            json!(times.time_in_queue.map(quantiles_json)),
        ),
        (
            "publish_to_ack",
            json!(times.publish_to_ack.map(quantiles_json)),
        ),
    ];
    let fields = fields.map(|(name, value)| (name.to_owned(), value));
    let mut object: Map<String, Value> = fields.into_iter().collect();
    put_flow(queue, inspection, now, &mut object);
    object
}

/// Writes how fast messages come and go, and when the queue is empty if that goes on. What leaves is what comes less what
/// the queue has grown by, so messages that die or are moved count too.
fn put_flow(queue: &Queue, inspection: &Inspection, now: Millis, object: &mut Map<String, Value>) {
    let rates = queue.statistics.with_history(|history| {
        history.map_or([0.0; OF_QUEUE_HISTORY], |it| it.rates(second(now)))
    });
    let rate = |column: Column| rates.get(column as usize).copied().unwrap_or_default();
    let comes = rate(Column::Publish);
    let growth = rate(Column::Ready) + rate(Column::Unacknowledged) + rate(Column::Delayed);
    let counts = &inspection.counts;
    let messages = counts.messages() as f64;
    let estimate = (growth < 0.0).then(|| (messages / -growth * 1000.0).round() as u64);
    object.insert("in_rate".to_owned(), comes.into());
    object.insert("out_rate".to_owned(), (comes - growth).max(0.0).into());
    object.insert("drain_estimate_ms".to_owned(), estimate.into());
    let dead = DEATHS.map(|(reason, column)| {
        let count = inspection.statistics.get(column);
        (reason.to_owned(), Value::from(count))
    });
    let dead: Map<String, Value> = dead.into_iter().collect();
    object.insert("dead_messages".to_owned(), dead.into());
}

/// How long messages stayed in the minute before each step of a range, latest first.
fn latency_samples(queue: &Queue, range: Range, now: Millis) -> Value {
    let now = second(now);
    let samples = queue
        .statistics
        .with_times(|times| times.map_or_else(Vec::new, |times| times.samples(range, now)));
    let percentiles = |times: Option<Percentiles>| {
        times.map(|times| json!({ "p50_ms": times.p50, "p99_ms": times.p99 }))
    };
    let samples = samples.into_iter().map(|sample| {
        json!({
            "timestamp": u64::from(sample.second) * 1000,
            "time_in_queue": percentiles(sample.time_in_queue),
            "publish_to_ack": percentiles(sample.publish_to_ack),
        })
    });
    samples.collect()
}

async fn exchange(auth: Authorized<VhostMember>, names: Names) -> Result<Json<Value>, Error> {
    let vhost = auth.scope.existing()?;
    let exchange = vhost.exchange(names.get("exchange"));
    let exchange = exchange.ok_or(Error::NoSuchPath)?;
    Ok(Json(json!({
        "vhost": vhost.name,
        "name": exchange.name,
        "effective_configuration": settings_json(&exchange.settings()),
    })))
}

async fn pause(
    auth: Authorized<VhostMember>,
    State(node): State<Shared>,
    names: Names,
) -> Result<StatusCode, Error> {
    set_paused(&auth, &node, &names, true).await
}

async fn resume(
    auth: Authorized<VhostMember>,
    State(node): State<Shared>,
    names: Names,
) -> Result<StatusCode, Error> {
    set_paused(&auth, &node, &names, false).await
}

async fn set_paused(
    auth: &Authorized<VhostMember>,
    node: &Shared,
    names: &Names,
    paused: bool,
) -> Result<StatusCode, Error> {
    let vhost = auth.scope.existing()?;
    let name = names.get("queue");
    vhost.queue(name).ok_or(Error::NoSuchPath)?;
    let access = auth.caller.access(node, vhost);
    let (of, queue) = (Arc::clone(vhost), name.to_owned());
    let done = node.elsewhere(move |_| {
        access.decide(|| access.check(Operation::Configure, Resource::Queue(&queue)))?;
        of.set_paused(&queue, paused)
    });
    let ticket = done.await??;
    let by = &*auth.caller.user;
    tracing::info!(target: "audit", by, vhost = &*vhost.name, queue = name, paused, "deliveries of a queue");
    node.durable(ticket).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Times in milliseconds.
fn quantiles_json(times: Quantiles) -> Value {
    json!({
        "count": times.count,
        "p50_ms": times.p50,
        "p99_ms": times.p99,
        "p99_9_ms": times.p999,
        "max_ms": times.max,
    })
}

/// The settings in force on a queue, with the broker's consumer timeout where nobody has set another one.
fn settings(queue: &Queue, node: &Node) -> Vec<Setting> {
    const TIMEOUT: &str = "consumer-timeout";
    let mut settings = queue.settings();
    if let Err(index) = settings.binary_search_by(|it| it.key.as_str().cmp(TIMEOUT)) {
        let timeout = Setting {
            key: TIMEOUT.to_owned(),
            value: node.consumer_timeout.into(),
            source: Source::Default,
        };
        settings.insert(index, timeout);
    }
    settings
}

/// Every setting in force with who said so.
fn settings_json(settings: &[Setting]) -> Value {
    let settings = settings.iter().map(|setting| {
        json!({
            "key": setting.key,
            "value": setting.value,
            "source": match setting.source {
                Source::Default => "default",
                Source::Argument => "argument",
                Source::Policy => "policy",
                Source::OperatorPolicy => "operator_policy",
            },
        })
    });
    settings.collect()
}
