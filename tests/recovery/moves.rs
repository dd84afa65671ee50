//! Messages that an operator moves between two queues while the broker is killed: each is in one of the two, in its
//! order, and what is not meant stays where it is. Most of them lie on disk only.

use std::{
    thread,
    time::{Duration, Instant},
};

use rand::Rng;
use serde_json::{Value, json};

use crate::{
    kill::persistent,
    mortal_broker_with, random,
    support::{Broker, PATIENCE, Peer, durable_queue, http::Http, pause},
};

const MESSAGES: u64 = 4000;
const QUEUES: [&str; 2] = ["here", "there"];

/// The numbers of the messages in a queue, as a peek shows them.
fn numbers(http: &Http, queue: &str) -> Vec<u64> {
    let path = format!("/api/leveret/queues/%2F/{queue}/peek");
    let (mut numbers, mut offset) = (Vec::new(), Value::from(0));
    while !offset.is_null() {
        let found = http.post(&path, json!({ "offset": offset, "count": 1000 }));
        let messages = found["messages"].as_array().expect("messages");
        let payloads = messages
            .iter()
            .map(|it| it["payload"].as_str().expect("text"));
        numbers.extend(payloads.map(|it| it.parse::<u64>().expect("a number")));
        offset = found["next_offset"].clone();
    }
    numbers
}

fn is_meant(number: &u64) -> bool {
    number.is_multiple_of(2)
}

/// Every message once, those that are not meant in the first queue, all in their order.
fn check(http: &Http, round: usize) -> [Vec<u64>; 2] {
    let found = QUEUES.map(|queue| numbers(http, queue));
    let mut all: Vec<u64> = found.iter().flatten().copied().collect();
    all.sort_unstable();
    assert!(
        all.iter().copied().eq(0..MESSAGES),
        "round {round}: lost or doubled"
    );
    let sorted = |numbers: Vec<u64>| numbers.is_sorted_by(|one, next| one < next);
    for numbers in &found {
        let (meant, others): (Vec<_>, Vec<_>) = numbers.iter().partition(|it| is_meant(it));
        assert!(
            sorted(meant) && sorted(others),
            "round {round}: out of order"
        );
    }
    assert!(
        found[1].iter().all(is_meant),
        "round {round}: moved what was not meant"
    );
    found
}

fn publish(broker: &Broker) {
    let mut peer = Peer::connect_to(broker);
    peer.confirm_select(1);
    for queue in QUEUES {
        peer.declare(1, durable_queue(queue));
    }
    peer.bind(1, "here", "amq.topic", "number.#");
    for number in 0..MESSAGES {
        let key = if is_meant(&number) {
            "number.even"
        } else {
            "number.odd"
        };
        let body = number.to_string();
        peer.publish_with(1, "amq.topic", key, persistent(), body.as_bytes());
    }
    peer.expect_confirms_to(1, MESSAGES);
}

/// Starts a move and gives the path where its progress is seen.
fn start_move(http: &Http, from: &str, to: &str, rate: u64) -> String {
    let body = json!({
        "to": { "queue": to },
        "filter": { "routing_key": "*.even" },
        "rate": rate,
        "wait_ms": 0,
    });
    let started = http.post(&format!("/api/leveret/queues/%2F/{from}/move"), body);
    format!("/api/leveret/moves/{}", started["id"])
}

/// Waits until something was moved for good: what is counted as moved is on disk.
fn await_moved(http: &Http, progress: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = http.get(progress);
        if found["moved"].as_u64().expect("a count") > 0 {
            return;
        }
        assert!(Instant::now() < deadline, "nothing is moved: {found}");
        pause();
    }
}

#[test]
fn moved_messages_are_in_one_of_the_two_queues_after_each_kill() {
    let budget = ("LEVERET_MEMORY_MESSAGE_BUDGET", "65536".to_owned());
    let Some(mut broker) = mortal_broker_with(&[budget]) else {
        return;
    };
    let mut random = random();
    publish(&broker);
    let kills = std::env::var("LEVERET_TEST_KILLS").ok();
    let kills: usize = kills.and_then(|text| text.parse().ok()).unwrap_or(8);
    let (mut from, mut to) = (0, 1);
    for round in 0..kills {
        let http = Http::guest(&broker);
        // The first kill meets the move surely: at its rate that takes 20 s. The others come at any moment of a faster one.
        let rate = if round == 0 { 100 } else { 10_000 };
        let progress = start_move(&http, QUEUES[from], QUEUES[to], rate);
        match round {
            0 => await_moved(&http, &progress),
            _ => thread::sleep(Duration::from_millis(random.random_range(1..250))),
        }
        broker.kill();
        broker.start_again();
        let found = check(&http, round);
        let left = found[from].iter().filter(|it| is_meant(it)).count();
        if round == 0 {
            assert!(left > 0 && !found[to].is_empty(), "the kill met no move");
        }
        if left == 0 {
            (from, to) = (to, from);
        }
    }
    // What is left can be moved and consumed as ever.
    let http = Http::guest(&broker);
    let path = format!("/api/leveret/queues/%2F/{}/move", QUEUES[1]);
    let body = json!({ "to": { "queue": QUEUES[0] }, "wait_ms": 30_000 });
    assert_eq!(http.post(&path, body)["state"], "done");
    let mut peer = Peer::connect_to(&broker);
    let mut bodies = peer.drain(1, QUEUES[0]);
    bodies.sort_by_key(|body| body.parse::<u64>().expect("a number"));
    assert!(
        bodies
            .iter()
            .map(|it| it.parse().unwrap_or(u64::MAX))
            .eq(0..MESSAGES)
    );
    assert!(peer.drain(1, QUEUES[1]).is_empty());
}
