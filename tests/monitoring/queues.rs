//! Queues over HTTP: lists, declaring, deleting, purging, and looking at messages.

use std::time::Instant;

use serde_json::{Value, json};

use crate::{
    http::{Http, started},
    support::{AMQPProperties, durable_queue},
};

fn bodies(messages: &Value) -> Vec<&str> {
    let messages = messages.as_array().unwrap();
    messages
        .iter()
        .map(|it| it["payload"].as_str().unwrap())
        .collect()
}

#[test]
fn the_age_of_the_oldest_message_goes_on_after_a_restart_though_nobody_has_read_it_from_the_disk() {
    let (mut broker, http, mut peer) = started();
    peer.declare(1, durable_queue("backlog"));
    peer.confirm_select(1);
    let persistent = AMQPProperties::default().with_delivery_mode(2);
    peer.publish_with(1, "", "backlog", persistent, b"old");
    peer.expect_confirms_to(1, 1);
    let published = Instant::now();
    broker.restart();
    let least = published.elapsed().as_millis() as u64;
    let queue = http.get("/api/queues/%2F/backlog");
    let age = queue["oldest_message_age"].as_u64();
    assert!(age >= Some(least), "at least {least}: {queue}");
    let metrics = http.text("/metrics");
    assert!(
        !metrics.contains("leveret_oldest_message_age_seconds 0\n"),
        "{metrics}"
    );
}

#[test]
fn a_queue_is_declared_listed_purged_and_deleted() {
    let (_broker, http, mut peer) = started();
    let path = "/api/queues/%2F/made";
    let body = json!({ "durable": true, "arguments": { "x-max-length": 10 } }).to_string();
    assert_eq!(http.send("PUT", path, "", &body).0, 201);
    assert_eq!(http.send("PUT", path, "", &body).0, 204);
    let (status, answer) = http.send("PUT", path, "", "{}");
    assert_eq!(status, 400, "{answer}");
    assert!(answer.contains("inequivalent arg 'durable' for queue 'made' in vhost '/'"));
    peer.fill("made", &["a", "b", "c"]);
    let queue = http.get(path);
    assert_eq!(queue["messages_ready"], 3);
    assert_eq!(queue["messages"], 3);
    assert_eq!(queue["message_bytes_ready"], 3);
    assert_eq!(queue["arguments"], json!({ "x-max-length": 10 }));
    assert_eq!(queue["consumers"], 0);
    let (status, answer) = http.send("DELETE", "/api/queues/%2F/made?if-empty=true", "", "");
    assert_eq!(status, 400);
    assert!(
        answer.contains("queue 'made' in vhost '/' not empty"),
        "{answer}"
    );
    assert_eq!(
        http.send("DELETE", "/api/queues/%2F/made/contents", "", "")
            .0,
        204
    );
    assert_eq!(http.get(path)["messages"], 0);
    assert_eq!(
        http.send("DELETE", "/api/queues/%2F/made?if-empty=true", "", "")
            .0,
        204
    );
    assert_eq!(http.send("GET", path, "", "").0, 404);
    assert_eq!(http.send("DELETE", path, "", "").0, 404);
}

#[test]
fn messages_are_got_in_every_mode_that_rabbitmq_has() {
    let (_broker, http, mut peer) = started();
    peer.declare(1, durable_queue("q"));
    peer.fill("q", &["one", "two", "three"]);
    let get = |mode: &str, count: usize| {
        let body = json!({ "ackmode": mode, "count": count, "encoding": "auto" });
        let (status, messages) = http.post("/api/queues/%2F/q/get", &body);
        assert_eq!(status, 200, "{messages}");
        messages
    };
    let seen = get("ack_requeue_true", 5);
    assert_eq!(bodies(&seen), ["one", "two", "three"]);
    assert_eq!(seen[0]["redelivered"], false);
    assert_eq!(seen[0]["message_count"], 2);
    let again = get("reject_requeue_true", 1);
    assert_eq!(bodies(&again), ["one"]);
    assert_eq!(again[0]["redelivered"], true);
    assert_eq!(bodies(&get("ack_requeue_false", 1)), ["one"]);
    assert_eq!(bodies(&get("reject_requeue_false", 1)), ["two"]);
    assert_eq!(bodies(&get("ack_requeue_true", 5)), ["three"]);
    let (status, refused) = http.post("/api/queues/%2F/q/get", &json!({ "ackmode": "x" }));
    assert_eq!(status, 400);
    assert_eq!(
        refused["reason"],
        "[{key_missing,count},{key_missing,encoding}]"
    );
}

#[test]
fn what_is_no_text_comes_in_base64_and_long_bodies_are_cut() {
    let (_broker, http, mut peer) = started();
    peer.declare(1, durable_queue("q"));
    let properties = AMQPProperties::default()
        .with_content_type("text/plain".into())
        .with_timestamp(77)
        .with_delivery_mode(2);
    peer.publish_with(1, "", "q", properties, "Grüße".as_bytes());
    peer.round_trip();
    let get = |more: Value| {
        let mut body = json!({ "ackmode": "ack_requeue_true", "count": 1, "encoding": "auto" });
        for (key, value) in more.as_object().unwrap() {
            body[key] = value.clone();
        }
        http.post("/api/queues/%2F/q/get", &body).1[0].clone()
    };
    let message = get(json!({}));
    assert_eq!(message["payload"], "Grüße");
    assert_eq!(message["payload_encoding"], "string");
    assert_eq!(message["payload_bytes"], 7);
    let properties = json!({ "content_type": "text/plain", "timestamp": 77, "delivery_mode": 2 });
    assert_eq!(message["properties"], properties);
    let base64 = get(json!({ "encoding": "base64" }));
    assert_eq!(base64["payload"], "R3LDvMOfZQ==");
    assert_eq!(get(json!({ "truncate": 2 }))["payload"], "Gr");
    let half_a_letter = get(json!({ "truncate": 3 }));
    assert_eq!(half_a_letter["payload_encoding"], "base64");
    assert_eq!(http.get("/api/queues/%2F/q")["head_message_timestamp"], 77);
}

#[test]
fn lists_are_short_without_statistics_and_have_pages() {
    let (_broker, http, mut peer) = started();
    for number in 0..30 {
        peer.declare(1, durable_queue(&format!("queue-{number:02}")));
    }
    peer.fill("queue-07", &["x"]);
    let page = http.get("/api/queues?page=2&page_size=10&sort=name");
    assert_eq!(page["total_count"], 30);
    assert_eq!(page["items"][0]["name"], "queue-10");
    let found = http.get("/api/queues?page=1&name=^queue-0[78]$&use_regex=true");
    assert_eq!(found["filtered_count"], 2);
    let longest = http.get("/api/queues/%2F?sort=messages&sort_reverse=true&page=1&page_size=1");
    assert_eq!(longest["items"][0]["name"], "queue-07");
    let short = http.get("/api/queues?disable_stats=true");
    assert!(short[0]["messages"].is_null() && short[0]["node"].is_string());
    let totals = http.get("/api/queues?disable_stats=true&enable_queue_totals=true");
    assert_eq!(totals[0]["messages"], 0);
    assert!(totals[0]["memory"].is_null());
    let columns = http.get("/api/queues?columns=name,messages_details.rate&page=1&page_size=1");
    let first = json!({ "name": "queue-00", "messages_details": { "rate": 0.0 } });
    assert_eq!(columns["items"][0], first);
}

/// The names on all pages together.
fn paged(http: &Http, query: &str) -> Vec<String> {
    let mut names = Vec::new();
    for page in 1.. {
        let answer = http.get(&format!("/api/queues?page={page}&page_size=2&{query}"));
        let items = answer["items"].as_array().unwrap();
        assert_eq!(answer["item_count"], items.len());
        names.extend(
            items
                .iter()
                .map(|it| format!("{} {}", it["vhost"], it["name"])),
        );
        if answer["page_count"].as_u64() <= Some(page) {
            break;
        }
    }
    names
}

/// The names in the whole list.
fn unpaged(http: &Http) -> Vec<String> {
    let all = http.get("/api/queues");
    let all = all.as_array().unwrap().iter();
    all.map(|it| format!("{} {}", it["vhost"], it["name"]))
        .collect()
}

#[test]
fn pages_together_are_the_list_whatever_comes_and_goes() {
    let (_broker, http, mut peer) = started();
    let put = |path: &str| http.send("PUT", path, "", "{}").0;
    assert_eq!(put("/api/vhosts/a"), 201);
    for path in ["%2F/b", "%2F/A", "%2F/c", "a/z", "a/b"] {
        assert_eq!(put(&format!("/api/queues/{path}")), 201);
        assert_eq!(paged(&http, ""), unpaged(&http), "with {path}");
    }
    let mut reversed = unpaged(&http);
    reversed.reverse();
    assert_eq!(paged(&http, "sort_reverse=true"), reversed);
    assert_eq!(paged(&http, "sort=name&sort_reverse=true").len(), 5);
    let filtered = [r#""/" "b""#, r#""a" "b""#];
    assert_eq!(paged(&http, "name=B&columns=vhost,name"), filtered);
    peer.delete_queue(1, "b");
    assert_eq!(paged(&http, ""), unpaged(&http), "after a deletion");
    assert_eq!(unpaged(&http).len(), 4);
    assert_eq!(http.send("DELETE", "/api/vhosts/a", "", "").0, 204);
    assert_eq!(paged(&http, ""), [r#""/" "A""#, r#""/" "c""#]);
}

#[test]
fn an_exclusive_queue_names_its_owner_and_is_for_nobody_else() {
    let (_broker, http, mut peer) = started();
    let queue = peer.fresh_queue(1, "mine");
    let path = format!("/api/queues/%2F/{queue}");
    let owner = &http.get(&path)["owner_pid_details"];
    assert_eq!(owner["peer_port"], peer.local_address().port());
    let (status, answer) = http.send("DELETE", &path, "", "");
    assert_eq!(status, 400);
    assert!(
        answer.contains("cannot obtain exclusive access"),
        "{answer}"
    );
}
