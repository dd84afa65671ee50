//! Queues whose deliveries are stopped.

use serde_json::Value;

use crate::{
    Http, path, scene,
    support::{Peer, durable_queue},
};

fn is_paused(http: &Http, queue: &str) -> Value {
    http.get(&format!("/api/leveret/queues/%2F/{queue}"))["paused"].clone()
}

#[test]
fn paused_queue_takes_messages_and_gives_none_also_after_a_restart() {
    let Some((mut broker, http, mut peer)) = scene(&[]) else {
        return;
    };
    peer.declare(1, durable_queue("q"));
    peer.consume(1, "q", "c");
    http.done("POST", &path("q", "pause"), None);
    assert_eq!(is_paused(&http, "q"), true);
    peer.fill("q", &["one", "two"]);
    assert!(peer.get(1, "q", true).is_none());
    assert_eq!(peer.counts(1, "q"), (2, 1));
    http.done("POST", &path("q", "resume"), None);
    peer.expect_deliveries(1, &["one", "two"]);
    peer.cut();

    http.done("POST", &path("q", "pause"), None);
    broker.restart();
    let http = Http::guest(&broker);
    assert_eq!(is_paused(&http, "q"), true);
    let mut peer = Peer::connect_to(&broker);
    assert!(peer.get(1, "q", true).is_none());
    http.done("POST", &path("q", "resume"), None);
    assert_eq!(is_paused(&http, "q"), false);
    assert_eq!(http.send("POST", &path("none", "pause"), None).status, 404);
}
