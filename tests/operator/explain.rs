//! Where a publish would go, and why.

use serde_json::json;

use crate::{
    scene,
    support::{durable_queue, exchange, longstr, table},
    texts,
};

fn exchange_of(kind: &str, name: &str, alternate: Option<&str>) -> exchange::Declare {
    exchange::Declare {
        exchange: name.into(),
        kind: kind.into(),
        arguments: match alternate {
            Some(alternate) => table([("alternate-exchange", longstr(alternate))]),
            None => table([]),
        },
        ..exchange::Declare::default()
    }
}

#[test]
fn explanation_names_the_bindings_and_the_queues_that_a_publish_reaches() {
    let Some((_broker, http, mut peer)) = scene(&[]) else {
        return;
    };
    for exchange in [
        exchange_of("topic", "events", Some("rest")),
        exchange_of("fanout", "audit", None),
        exchange_of("fanout", "rest", None),
    ] {
        peer.call::<_, exchange::DeclareOk>(1, exchange);
    }
    for queue in ["orders", "all", "unrouted"] {
        peer.declare(1, durable_queue(queue));
    }
    peer.bind(1, "orders", "events", "order.#");
    peer.bind_exchange(1, "audit", "events", "#.paid");
    peer.bind(1, "all", "audit", "");
    peer.bind(1, "unrouted", "rest", "");

    let path = "/api/leveret/exchanges/%2F/events/explain";
    let found = http.post(path, json!({ "routing_key": "order.7.paid" }));
    assert_eq!(found["routed"], true);
    assert_eq!(texts(&found["queues"], "name"), ["orders", "all"]);
    assert_eq!(texts(&found["path"], "exchange"), ["events", "audit"]);
    let matched = &found["path"][0]["matched"];
    assert_eq!(texts(matched, "destination_type"), ["queue", "exchange"]);
    assert_eq!(texts(matched, "routing_key"), ["order.#", "#.paid"]);
    assert_eq!(found["path"][1]["reached_by"], "binding");
    assert_eq!(found["path"][1]["reached_from"], "events");

    // As published: the same queues.
    peer.publish(1, "events", "order.7.paid", "x");
    peer.round_trip();
    assert_eq!(
        (peer.counts(1, "orders").0, peer.counts(1, "all").0),
        (1, 1)
    );

    let found = http.post(path, json!({ "routing_key": "other" }));
    assert_eq!(texts(&found["queues"], "name"), ["unrouted"]);
    let alternate = &found["path"][0]["alternate_exchange"];
    assert_eq!(*alternate, json!({ "name": "rest", "exists": true }));

    // Further keys count too.
    let headers = json!({ "BCC": ["order.8"] });
    let found = http.post(path, json!({ "routing_key": "other", "headers": headers }));
    assert_eq!(texts(&found["queues"], "name"), ["orders"]);
    assert_eq!(found["routing_keys"], json!(["other", "order.8"]));
}

#[test]
fn explanation_says_why_nobody_gets_a_message() {
    let Some((_broker, http, _peer)) = scene(&[]) else {
        return;
    };
    let explain = |exchange: &str, body| {
        http.post(
            &format!("/api/leveret/exchanges/%2F/{exchange}/explain"),
            body,
        )
    };
    let found = explain("amq.default", json!({ "routing_key": "nobody" }));
    assert_eq!(found["routed"], false);
    assert_eq!(found["reason"], "there is no queue named 'nobody'");
    let found = explain("amq.topic", json!({ "routing_key": "a" }));
    assert_eq!(found["reason"], "exchange 'amq.topic' has no bindings");
    let found = explain("amq.rabbitmq.trace", json!({}));
    assert_eq!(found["refused"], true);
    // Somebody without permissions.
    let found = explain("amq.topic", json!({ "user": "nobody" }));
    let text = "write access to exchange 'amq.topic' in vhost '/' refused for user 'nobody'";
    assert_eq!(found["reason"], text);

    let unknown = http.send(
        "POST",
        "/api/leveret/exchanges/%2F/none/explain",
        Some(json!({})),
    );
    assert_eq!(unknown.status, 404);
    let typo = json!({ "routing-key": "a" });
    let path = "/api/leveret/exchanges/%2F/amq.topic/explain";
    assert_eq!(http.send("POST", path, Some(typo)).status, 400);
}
