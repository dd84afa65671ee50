//! Moving messages and sending dead letters back.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    path, payloads, scene,
    support::{AMQPProperties, Broker, PATIENCE, Peer, durable_queue, longstr, queue, table},
    texts,
};

#[test]
fn dead_letters_go_back_and_are_consumed_as_if_nothing_had_been() {
    let Some((_broker, http, mut peer)) = scene(&[]) else {
        return;
    };
    let arguments = table([
        ("x-dead-letter-exchange", longstr("")),
        ("x-dead-letter-routing-key", longstr("dead")),
    ]);
    peer.declare(1, durable_queue("dead"));
    peer.declare(
        1,
        queue::Declare {
            arguments,
            ..durable_queue("work")
        },
    );
    peer.bind(1, "work", "amq.topic", "order.*");
    let tenant = |name| AMQPProperties::default().with_headers(table([("tenant", longstr(name))]));
    peer.publish_with(1, "amq.topic", "order.1", tenant("a"), b"one");
    peer.publish_with(1, "amq.topic", "order.2", tenant("b"), b"two");
    for _ in 0..2 {
        let got = peer.get(1, "work", false).unwrap();
        peer.reject(1, got.method.delivery_tag, false);
    }
    peer.round_trip();

    let filter = json!({ "headers": { "tenant": "b" }, "death_reason": "rejected" });
    let body = json!({ "filter": filter, "dry_run": true });
    let counted = http.post(&path("dead", "requeue"), body);
    assert_eq!(
        (&counted["matched"], &counted["moved"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(payloads(&http, "dead", 0), ["one", "two"]);

    let done = http.post(&path("dead", "requeue"), json!({ "filter": filter }));
    assert_eq!(
        (&done["state"], &done["moved"]),
        (&json!("done"), &json!(1))
    );
    assert_eq!(payloads(&http, "dead", 0), ["one"]);
    let back = peer.get(1, "work", true).unwrap();
    assert_eq!(back.body, b"two");
    assert_eq!(
        (
            back.method.exchange.as_str(),
            back.method.routing_key.as_str()
        ),
        ("amq.topic", "order.2")
    );
    assert!(!back.method.redelivered);
    let headers = back.properties.headers().as_ref().unwrap();
    assert_eq!(headers.inner().len(), 1, "{headers:?}");

    let done = http.post(&path("dead", "requeue"), json!({ "by": "exchange" }));
    assert_eq!(done["moved"], 1);
    assert_eq!(payloads(&http, "work", 0), ["one"]);
}

#[test]
fn messages_move_to_an_exchange_with_a_key_of_their_own_or_another() {
    let Some((_broker, http, mut peer)) = scene(&[]) else {
        return;
    };
    for queue in ["from", "one", "other"] {
        peer.declare(1, durable_queue(queue));
    }
    peer.bind(1, "from", "amq.fanout", "");
    peer.bind(1, "one", "amq.direct", "k1");
    peer.bind(1, "other", "amq.direct", "k2");
    for key in ["k1", "k2", "k3"] {
        peer.publish(1, "amq.fanout", key, key);
    }
    peer.round_trip();
    let done = http.post(
        &path("from", "move"),
        json!({ "to": { "exchange": "amq.direct" } }),
    );
    assert_eq!(
        (&done["moved"], &done["unroutable"]),
        (&json!(2), &json!(1))
    );
    assert_eq!(payloads(&http, "other", 0), ["k2"]);
    let to = json!({ "exchange": "amq.direct", "routing_key": "k1" });
    http.post(&path("from", "move"), json!({ "to": to }));
    let bodies: Vec<_> = (0..2).map(|_| peer.get(1, "one", true).unwrap()).collect();
    assert_eq!(
        (&*bodies[0].body, &*bodies[1].body),
        (&b"k1"[..], &b"k3"[..])
    );
    assert_eq!(bodies[1].method.routing_key.as_str(), "k1");
}

#[test]
fn consumer_of_the_target_is_served_while_a_long_move_goes_on() {
    let Some((_broker, http, mut peer)) = scene(&[]) else {
        return;
    };
    for queue in ["from", "to"] {
        peer.declare(1, durable_queue(queue));
    }
    // So many that the move takes a minute.
    let bodies: Vec<String> = (0..1200).map(|it| it.to_string()).collect();
    let bodies: Vec<&str> = bodies.iter().map(String::as_str).collect();
    peer.fill("from", &bodies);
    peer.consume_no_ack(1, "to", "c");
    let body = json!({ "to": { "queue": "to" }, "rate": 20, "wait_ms": 0 });
    let started = http.send("POST", &path("from", "move"), Some(body));
    assert_eq!(started.status, 202);
    let id = started.body["id"].as_u64().unwrap();
    peer.expect_deliveries(1, &bodies[..5]);
    let job = format!("/api/leveret/moves/{id}");
    let running = http.get(&job);
    assert_eq!(
        (&running["state"], &running["queue"]),
        (&json!("running"), &json!("from"))
    );
    assert_eq!(http.get("/api/leveret/moves")[0]["id"], id);
    http.done("DELETE", &job, None);
    let ended = until_over(&http, &job);
    assert_eq!(ended["state"], "cancelled");
    let moved = ended["moved"].as_u64().unwrap() as usize;
    let left = payloads(&http, "from", 0);
    assert_eq!(left, bodies[moved..moved + left.len()]);
    // Deliveries may still come on the first channel.
    peer.open_channel(2);
    assert_eq!(peer.counts(2, "from").0 as usize, bodies.len() - moved);
    assert_eq!(http.send("GET", "/api/leveret/moves/999", None).status, 404);
}

/// Consumes until `total` messages were consumed by all.
fn consume_all(broker: &Broker, queue: &str, seen: &AtomicUsize, total: usize) -> Vec<u64> {
    let mut peer = Peer::connect_to(broker);
    peer.qos(1, 20, false);
    peer.consume(1, queue, "c");
    let (mut numbers, deadline) = (Vec::new(), Instant::now() + 3 * PATIENCE);
    while seen.load(Ordering::Acquire) < total {
        assert!(
            Instant::now() < deadline,
            "{} of {total}",
            seen.load(Ordering::Acquire)
        );
        if !peer.readable(Duration::from_millis(20)) {
            continue;
        }
        let delivery = peer.expect_delivery(1);
        numbers.push(delivery.text().parse().unwrap());
        peer.ack(1, delivery.tag(), false);
        seen.fetch_add(1, Ordering::AcqRel);
    }
    peer.round_trip();
    numbers
}

#[test]
fn each_message_is_consumed_once_while_some_are_moved_away_from_under_a_consumer() {
    const MESSAGES: usize = 6000;
    let budget = ("LEVERET_MEMORY_MESSAGE_BUDGET", "65536");
    let Some((broker, http, mut peer)) = scene(&[budget]) else {
        return;
    };
    for queue in ["from", "to"] {
        peer.declare(1, durable_queue(queue));
    }
    peer.bind(1, "from", "amq.topic", "#");
    peer.confirm_select(1);
    for number in 0..MESSAGES {
        let key = ["even", "odd"][number % 2];
        let properties = AMQPProperties::default().with_delivery_mode(1 + (number / 7 % 2) as u8);
        peer.publish_with(
            1,
            "amq.topic",
            key,
            properties,
            number.to_string().as_bytes(),
        );
    }
    peer.expect_confirms_to(1, MESSAGES as u64);
    let body = json!({ "to": { "queue": "to" }, "filter": { "routing_key": "odd" }, "rate": 5000, "wait_ms": 0 });
    let id = http.post(&path("from", "move"), body)["id"].clone();
    // Something is for the second consumer, however quick the first one is.
    let mut other = Peer::connect_to(&broker);
    let deadline = Instant::now() + PATIENCE;
    while other.counts(1, "to").0 == 0 {
        assert!(Instant::now() < deadline, "nothing is moved");
    }
    let seen = AtomicUsize::new(0);
    let consume = |queue| consume_all(&broker, queue, &seen, MESSAGES);
    let (from, to) = thread::scope(|scope| {
        let (from, to) = (
            scope.spawn(|| consume("from")),
            scope.spawn(|| consume("to")),
        );
        (from.join().unwrap(), to.join().unwrap())
    });
    let ended = until_over(&http, &format!("/api/leveret/moves/{id}"));
    assert_eq!(ended["state"], "done");
    assert!(
        !from.is_empty() && !to.is_empty(),
        "{} {}",
        from.len(),
        to.len()
    );
    for numbers in [&from, &to] {
        assert!(numbers.is_sorted_by(|one, next| one < next), "out of order");
    }
    assert!(to.iter().all(|number| number % 2 == 1));
    let mut all: Vec<u64> = from.into_iter().chain(to).collect();
    all.sort_unstable();
    assert!(all.into_iter().eq(0..MESSAGES as u64), "lost or doubled");
}

fn until_over(http: &crate::Http, job: &str) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = http.get(job);
        if !found["finished_at"].is_null() {
            return found;
        }
        assert!(Instant::now() < deadline, "{found}");
    }
}

#[test]
fn move_that_makes_no_sense_is_refused() {
    let Some((_broker, http, mut peer)) = scene(&[]) else {
        return;
    };
    peer.declare(1, durable_queue("q"));
    let exclusive = peer.fresh_queue(1, "mine");
    let refused = |queue: &str, body: Value| {
        let answer = http.send("POST", &path(queue, "move"), Some(body));
        (
            answer.status,
            answer.body["reason"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        )
    };
    let to = |queue: &str| json!({ "to": { "queue": queue } });
    assert_eq!(refused("none", to("q")).0, 404);
    assert_eq!(refused("q", to("none")).0, 404);
    assert_eq!(
        refused("q", to("q")),
        (400, "queue 'q' in vhost '/' is the source too".to_owned())
    );
    assert_eq!(refused(&exclusive, to("q")).0, 400);
    assert_eq!(refused("q", to(&exclusive)).0, 400);
    assert_eq!(refused("q", json!({})).0, 400);
    assert_eq!(refused("q", json!({ "to": {} })).0, 400);
    assert_eq!(
        refused("q", json!({ "to": { "queue": "x", "exchange": "y" } })).0,
        400
    );
    assert_eq!(
        refused("q", json!({ "to": { "queue": "x" }, "filters": {} })).0,
        400
    );
    assert_eq!(
        refused("q", json!({ "to": { "queue": "x" }, "rate": 0 })).0,
        400
    );
    assert!(texts(&http.get("/api/leveret/moves"), "state").is_empty());
}
