//! What operators can do with Leveret that RabbitMQ's API does not know: the real binary is asked over HTTP, and what
//! comes of it is seen by clients of AMQP.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed step is a failed test, and its panic is the report"
)]

use serde_json::{Value, json};
use support::{Broker, Peer, foreign_broker, http::Http};

#[path = "../support/mod.rs"]
mod support;

mod events;
mod explain;
mod moves;
mod pause;
mod peek;
mod permissions;
mod policy_preview;
mod times;

/// A broker of the test's own, its API and a client.
fn scene(options: &[(&str, &str)]) -> Option<(Broker, Http, Peer)> {
    if foreign_broker() {
        eprintln!("not run against another broker: it has no such API");
        return None;
    }
    let broker = Broker::start_with_options(options);
    let (http, peer) = (Http::guest(&broker), Peer::connect_to(&broker));
    Some((broker, http, peer))
}

fn path(queue: &str, what: &str) -> String {
    format!("/api/leveret/queues/%2F/{queue}/{what}")
}

/// The payloads of up to 100 messages from `offset` on.
fn payloads(http: &Http, queue: &str, offset: usize) -> Vec<String> {
    let found = http.post(
        &path(queue, "peek"),
        json!({ "offset": offset, "count": 100 }),
    );
    texts(&found["messages"], "payload")
}

fn texts(list: &Value, field: &str) -> Vec<String> {
    let list = list.as_array().expect("a list");
    let texts = list.iter().map(|it| it[field].as_str().expect("a text"));
    texts.map(str::to_owned).collect()
}
