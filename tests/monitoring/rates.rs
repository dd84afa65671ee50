//! Rates, samples and totals.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{
    http::{Http, started},
    support::{AMQPProperties, Broker, Peer, durable_queue},
};

const EXCHANGE: &str = "/api/exchanges/%2F/amq.direct";

/// Whether both the queue, in which are so many messages, and the exchange show for a moment that something flows.
fn rates_are_seen(http: &Http, count: u64) -> bool {
    let rate = |of: &Value| of["rate"].as_f64().unwrap_or_default();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(4) {
        let (queue, exchange) = (http.get("/api/queues/%2F/q"), http.get(EXCHANGE));
        let length = rate(&queue["messages_details"]);
        let published = rate(&queue["message_stats"]["publish_details"]);
        if published > 1.0 && rate(&exchange["message_stats"]["publish_in_details"]) > 1.0 {
            assert_eq!(queue["message_stats"]["publish"], count);
            assert!((1.0..=count as f64).contains(&length), "{length}");
            return true;
        }
        crate::support::pause();
    }
    false
}

#[test]
fn what_goes_through_is_counted_with_a_rate_that_ends() {
    let (_broker, http, mut peer) = started();
    peer.declare(1, durable_queue("q"));
    peer.bind(1, "q", "amq.direct", "k");
    peer.publish(1, "amq.direct", "nowhere", "x");
    let queue = "/api/queues/%2F/q";
    let mut count = 0;
    // A rate is shown for some seconds, in which a busy machine may not come to look: then there is another one.
    while count == 0 || !rates_are_seen(&http, count) {
        assert!(count < 300, "no rate is shown");
        for _ in 0..10 {
            peer.publish(1, "amq.direct", "k", "x");
        }
        peer.round_trip();
        count += 10;
    }
    let exchange = http.get(EXCHANGE);
    assert_eq!(exchange["message_stats"]["publish_in"], count + 1);
    assert_eq!(exchange["message_stats"]["publish_out"], count);
    let (overview, _) = http.wait_for("/api/overview", |it| {
        it["queue_totals"]["messages"] == count
    });
    assert_eq!(overview["message_stats"]["publish"], count + 1);
    assert_eq!(overview["message_stats"]["drop_unroutable"], 1);
    let vhost = http.get("/api/vhosts/%2F");
    assert_eq!(vhost["messages_ready"], count);
    assert_eq!(vhost["message_stats"]["publish"], count + 1);
    let ended = |queue: &Value| queue["message_stats"]["publish_details"]["rate"] == 0.0;
    http.wait_for(queue, ended);
}

#[test]
fn samples_are_as_many_as_were_asked_for_latest_first() {
    let (_broker, http, mut peer) = started();
    peer.declare(1, durable_queue("q"));
    peer.fill("q", &["a", "b"]);
    let path =
        "/api/queues/%2F/q?lengths_age=60&lengths_incr=5&msg_rates_age=3600&msg_rates_incr=60";
    let (queue, _) = http.wait_for(path, |it| {
        it["messages_details"]["samples"]
            .as_array()
            .is_some_and(|samples| samples.first().is_some_and(|it| it["sample"] == 2))
    });
    let samples = queue["messages_details"]["samples"].as_array().unwrap();
    assert_eq!(samples.len(), 13);
    let time = |index: usize| samples[index]["timestamp"].as_u64().unwrap();
    assert_eq!(time(0) - time(1), 5000);
    assert_eq!(samples[12]["sample"], 0);
    let publishes = &queue["message_stats"]["publish_details"];
    assert_eq!(publishes["samples"].as_array().unwrap().len(), 61);
    assert!(publishes["avg_rate"].is_number() && publishes["avg"].is_number());
    let (status, refused) = http.send("GET", "/api/overview?lengths_age=60&lengths_incr=0", "", "");
    assert_eq!(status, 400);
    assert!(
        refused.contains("Invalid range parameters: age 60, incr 0"),
        "{refused}"
    );
}

#[test]
fn messages_that_a_restart_finds_are_in_the_totals() {
    let mut broker = Broker::start();
    let mut peer = Peer::connect_to(&broker);
    peer.declare(1, durable_queue("q"));
    peer.confirm_select(1);
    let properties = AMQPProperties::default().with_delivery_mode(2);
    peer.publish_with(1, "", "q", properties, b"kept");
    peer.expect_confirms_to(1, 1);
    peer.close();
    broker.restart();
    let http = Http::of(&broker);
    http.wait_for("/api/overview", |it| {
        it["queue_totals"]["messages_ready"] == 1
    });
    assert_eq!(http.get("/api/overview")["message_stats"]["publish"], 0);
}

#[test]
fn a_queue_has_not_grown_by_what_a_restart_finds_in_it() {
    let mut broker = Broker::start();
    let mut peer = Peer::connect_to(&broker);
    peer.declare(1, durable_queue("q"));
    peer.confirm_select(1);
    let properties = AMQPProperties::default().with_delivery_mode(2);
    peer.publish_with(1, "", "q", properties, b"kept");
    peer.expect_confirms_to(1, 1);
    peer.close();
    broker.restart();
    let http = Http::of(&broker);
    http.wait_for("/api/overview", |it| {
        it["queue_totals"]["messages_ready"] == 1
    });
    let attention = http.get("/api/leveret/attention");
    assert_eq!(attention["queue_count"], 0, "{attention}");
    let mut peer = Peer::connect_to(&broker);
    peer.publish(1, "", "q", "new");
    let (attention, _) = http.wait_for("/api/leveret/attention", |it| it["queue_count"] == 1);
    let growth = &attention["queues"][0]["growth_without_consumers"];
    assert_eq!(*growth, 1, "{attention}");
}

#[test]
fn the_node_tells_what_it_uses_and_may_use() {
    let broker = Broker::start();
    let http = Http::of(&broker);
    let (nodes, _) = http.wait_for("/api/nodes", |it| {
        it[0]["mem_used"].as_u64() > Some(1 << 20)
    });
    let node = &nodes[0];
    assert_eq!(node["being_drained"], false);
    assert_eq!(node["running"], true);
    assert_eq!(node["mem_alarm"], false);
    assert_eq!(node["rates_mode"], "basic");
    assert!(node["mem_limit"].as_u64() > node["mem_used"].as_u64());
    assert!(node["fd_total"].as_u64() > node["fd_used"].as_u64());
    assert!(node["disk_free"].as_u64() > Some(0));
    let name = node["name"].as_str().unwrap();
    assert_eq!(http.get(&format!("/api/nodes/{name}"))["name"], name);
    assert_eq!(http.send("GET", "/api/nodes/other", "", "").0, 404);
}
