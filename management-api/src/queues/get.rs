//! Taking messages out of a queue to look at them (RabbitMQ: `rabbit_mgmt_wm_queue_get`).
//!
//! They are taken with `basic.get` and put back as the client says. This changes the order of nothing, but what is put
//! back is flagged as redelivered, as in RabbitMQ.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use broker_core::{
    permissions::{Operation, Resource},
    queue::{Entry, Millis, Queue, Requeued, Work},
    statistics::Column,
    vhost::Vhost,
};
use serde_json::{Value, json};

use super::NO_CONNECTION;
use crate::{
    Error, Shared,
    body::JsonBody,
    caller::{Authorized, VhostMember},
    listing, properties,
    request::{Names, Query},
};

/// The most messages of one answer: it is made in memory.
const MOST_MESSAGES: usize = 100_000;

/// The most bytes of bodies in one answer, after which no more messages are taken.
const MOST_BYTES: usize = 128 * 1024 * 1024;

/// What becomes of the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AckMode {
    /// They are gone.
    Ack,
    /// They are refused: dead-lettered if the queue does that.
    Reject,
    /// They go back, as with `basic.nack` or `basic.reject`.
    Requeue(Requeued),
}

impl AckMode {
    fn of(text: &str) -> Result<Self, Error> {
        match text {
            "ack_requeue_false" => Ok(Self::Ack),
            "reject_requeue_false" => Ok(Self::Reject),
            "ack_requeue_true" => Ok(Self::Requeue(Requeued::Unprocessed)),
            "reject_requeue_true" => Ok(Self::Requeue(Requeued::Failed)),
            other => Err(Error::BadRequest(format!(
                "Invalid ackmode value: {other}. Valid values are: ack_requeue_true, ack_requeue_false, \
                 reject_requeue_true, reject_requeue_false"
            ))),
        }
    }
}

/// What a client asks for.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    mode: AckMode,
    count: usize,
    /// Bodies in base64 even where they are text.
    base64: bool,
    /// Bytes of a body after which it is cut off.
    truncate: Option<usize>,
}

impl Wanted {
    fn of(body: &JsonBody) -> Result<Self, Error> {
        let [_, count, _] = body.required(["ackmode", "count", "encoding"])?;
        Ok(Self {
            mode: AckMode::of(body.text("ackmode")?)?,
            count: integer(count)?.map_or(MOST_MESSAGES, |it| it.min(MOST_MESSAGES)),
            base64: match body.text("encoding")? {
                "auto" => false,
                "base64" => true,
                _ => {
                    let text = "Unsupported encoding. Please use auto or base64.";
                    return Err(Error::BadRequest(text.to_owned()));
                }
            },
            truncate: match body.find("truncate") {
                None | Some(Value::Null) => None,
                Some(value) => integer(value)?,
            },
        })
    }
}

/// A number, or the text of one. Negative ones stand for no limit.
fn integer(value: &Value) -> Result<Option<usize>, Error> {
    let number = match value {
        Value::Number(number) => number
            .as_i64()
            .or_else(|| number.as_f64().map(|it| it as i64)),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    let number = number.ok_or_else(|| Error::BadRequest(format!("[not_integer,{value}]")))?;
    Ok(usize::try_from(number).ok())
}

pub(super) async fn get(
    auth: Authorized<VhostMember>,
    State(node): State<Shared>,
    names: Names,
    body: JsonBody,
) -> Result<Response, Error> {
    let vhost = auth.scope.writable()?;
    let queue = vhost.queue(names.get("queue"));
    let queue = queue.ok_or_else(|| Error::NotFound("queue_not_found".to_owned()))?;
    let wanted = Wanted::of(&body)?;
    let access = auth.caller.access(&node, vhost);
    vhost.check_exclusive(&queue, NO_CONNECTION)?;
    let vhost = Arc::clone(vhost);
    let messages = node.elsewhere(move |node| {
        access.decide(|| access.check(Operation::Read, Resource::Queue(queue.name())))?;
        take(&vhost, &queue, wanted, node.now())
    });
    listing::one(messages.await??, &Query::default())
}

/// Takes messages and gives them back. Nothing is awaited in between, so that none is ever lost.
fn take(
    vhost: &Vhost,
    queue: &Arc<Queue>,
    wanted: Wanted,
    now: Millis,
) -> Result<Vec<Value>, Error> {
    let work = &mut Work::default();
    let no_ack = wanted.mode == AckMode::Ack;
    let (mut taken, mut messages, mut bytes) = (Vec::new(), Vec::new(), 0);
    let mut failed = None;
    while messages.len() < wanted.count && bytes < MOST_BYTES {
        match queue.get(no_ack, now, work) {
            Ok(Some((entry, remaining))) => {
                bytes += entry.message.size();
                messages.push(message_json(&entry, remaining, wanted));
                taken.push(entry);
            }
            Ok(None) => {
                vhost.statistics.count(Column::GetEmpty, 1);
                break;
            }
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    let column = if no_ack {
        Column::GetNoAck
    } else {
        Column::Get
    };
    vhost.statistics.count(column, taken.len() as u64);
    match wanted.mode {
        AckMode::Ack => {}
        AckMode::Reject => queue.reject(None, taken.into_iter(), now, work),
        AckMode::Requeue(how) => {
            let taken = taken.into_iter().map(|entry| (entry, how));
            queue.requeue(&[], taken, std::iter::empty(), now, work);
        }
    }
    vhost.bury(now, work);
    match failed {
        Some(error) if messages.is_empty() => Err(error.into()),
        _ => Ok(messages),
    }
}

fn message_json(entry: &Entry, remaining: usize, wanted: Wanted) -> Value {
    let message = &entry.message;
    let body = message.body();
    let shown = wanted
        .truncate
        .and_then(|length| body.get(..length))
        .unwrap_or(body);
    let (payload, encoding) = match std::str::from_utf8(shown) {
        Ok(text) if !wanted.base64 => (text.to_owned(), "string"),
        _ => (STANDARD.encode(shown), "base64"),
    };
    json!({
        "payload_bytes": body.len(),
        "redelivered": entry.redelivered,
        "exchange": message.exchange(),
        "routing_key": message.routing_key(),
        "message_count": remaining,
        "properties": shown_properties(&entry.properties()),
        "payload": payload,
        "payload_encoding": encoding,
    })
}

/// The properties that a message has. Without any RabbitMQ shows an empty list.
fn shown_properties(raw: &[u8]) -> Value {
    let properties = properties::to_json(raw);
    match properties.is_empty() {
        true => json!([]),
        false => properties.into(),
    }
}
