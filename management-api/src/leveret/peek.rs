//! `POST /api/leveret/queues/{vhost}/{queue}/peek`: messages where they lie.

use axum::{Json, extract::State};
use broker_core::permissions::{Operation, Resource};
use serde_json::{Value, json};

use super::{
    check_keys,
    filter::filter_of,
    message::{Encoding, Shown},
    number, optional_text,
};
use crate::{
    Error, Shared,
    body::JsonBody,
    caller::{Authorized, VhostMember},
    openapi::{Routes, post, schemas::messages as schemas},
    request::Names,
};

/// Most messages of one answer.
const MOST: usize = 1000;

/// Messages that are shown unless the client says otherwise.
const USUAL: u64 = 10;

/// Bytes of the messages of one answer, about.
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// Most messages that one request looks at to find those that are meant.
const MOST_EXAMINED: usize = 200_000;

pub(super) fn routes() -> Routes {
    let peek = post(peek)
        .says("Show messages where they lie")
        .takes::<schemas::Peek>();
    Routes::about("Leveret: messages").route(
        "/leveret/queues/{vhost}/{queue}/peek",
        peek.gives::<schemas::Peeked>(),
    )
}

async fn peek(
    auth: Authorized<VhostMember>,
    State(node): State<Shared>,
    names: Names,
    body: JsonBody,
) -> Result<Json<Value>, Error> {
    let known = ["offset", "count", "filter", "encoding", "truncate"];
    check_keys(&body, &known)?;
    let vhost = auth.scope.existing()?;
    let queue = vhost.queue(names.get("queue")).ok_or(Error::NoSuchPath)?;
    let access = auth.caller.access(&node, vhost);
    let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let offset = size(number(&body, "offset")?.unwrap_or(0));
    let count = size(number(&body, "count")?.unwrap_or(USUAL)).min(MOST);
    let matcher = filter_of(&body)?.compile()?;
    let shown = Shown {
        encoding: Encoding::parse(optional_text(&body, "encoding")?.as_deref())?,
        truncate: size(number(&body, "truncate")?.unwrap_or(u64::MAX)),
        now: node.now(),
    };
    node.elsewhere(move |_| {
        access.decide(|| access.check(Operation::Read, Resource::Queue(queue.name())))?;
        let wanted = broker_core::queue::Peek {
            offset,
            count,
            most_bytes: MOST_BYTES,
            most_examined: MOST_EXAMINED,
        };
        let found = queue.peek(&wanted, |entry| matcher.matches(entry, shown.now))?;
        let messages = found.messages.iter().map(|(offset, entry)| {
            let mut message = shown.json(entry, queue.expiry_of(entry));
            if let Some(message) = message.as_object_mut() {
                message.insert("offset".to_owned(), json!(offset));
            }
            message
        });
        Ok(Json(json!({
            "messages": messages.collect::<Vec<_>>(),
            "messages_ready": found.ready,
            "examined": found.examined,
            "next_offset": found.next_offset,
        })))
    })
    .await?
}
