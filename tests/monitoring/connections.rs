//! Connections, channels and consumers over HTTP.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{
    http::{Http, encoded, started},
    support::{
        AMQPValue, Broker, FieldTable, PATIENCE, Peer, durable_queue, operations::consume_from,
        table,
    },
};

/// How long something may take to be seen.
const HALF_A_SECOND: Duration = Duration::from_millis(500);

fn is_not_empty(list: &Value) -> bool {
    list.as_array().is_some_and(|list| !list.is_empty())
}

/// Does the same again until it is quick: what a busy machine adds is not the broker's.
#[track_caller]
fn quickly(mut all_of_it: impl FnMut() -> Duration) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let took = all_of_it();
        if took < HALF_A_SECOND {
            return;
        }
        assert!(Instant::now() < deadline, "{took:?}");
    }
}

#[test]
fn a_connection_a_channel_and_a_queue_are_seen_within_half_a_second() {
    let broker = Broker::start();
    let http = Http::of(&broker);
    // A login costs time of its own: the first one.
    http.get("/api/overview");
    quickly(|| a_connection_a_channel_and_a_queue_are_seen(&broker, &http));
}

/// Gives the longest time that one of them took.
fn a_connection_a_channel_and_a_queue_are_seen(broker: &Broker, http: &Http) -> Duration {
    let mut peer = Peer::connect_to(broker);
    let (connections, of_connection) = http.wait_for("/api/connections", is_not_empty);
    let connection = &connections[0];
    let port = peer.local_address().port();
    let name = format!("127.0.0.1:{port} -> 127.0.0.1:{}", broker.amqp_port());
    assert_eq!(connection["name"], *name);
    assert_eq!(connection["user"], "guest");
    assert_eq!(connection["vhost"], "/");
    assert_eq!(connection["protocol"], "AMQP 0-9-1");
    assert_eq!(connection["state"], "running");
    assert_eq!(connection["peer_port"], port);
    assert!(connection["connected_at"].as_u64() > Some(1_600_000_000_000));
    peer.open_channel(7);
    let channels = format!("/api/connections/{}/channels", encoded(&name));
    let seven = |list: &Value| {
        let list = list.as_array();
        list.is_some_and(|list| list.iter().any(|it| it["number"] == 7))
    };
    let (_, of_channel) = http.wait_for(&channels, seven);
    peer.declare(1, durable_queue("q"));
    let (_, of_queue) = http.wait_for("/api/queues", is_not_empty);
    peer.delete_queue(1, "q");
    peer.close();
    let (_, of_end) = http.wait_for("/api/connections", |list| !is_not_empty(list));
    let all = [of_connection, of_channel, of_queue, of_end];
    all.into_iter().max().unwrap()
}

#[test]
fn a_channel_shows_its_modes_its_limits_and_what_waits_for_an_answer() {
    let (_broker, http, mut peer) = started();
    peer.declare(1, durable_queue("q"));
    peer.fill("q", &["a", "b", "c", "d"]);
    peer.open_channel(2);
    peer.qos(2, 3, false);
    peer.qos(2, 9, true);
    peer.consume(2, "q", "eater");
    let delivery = peer.expect_delivery(2);
    peer.expect_deliveries(2, &["b", "c"]);
    peer.ack(2, delivery.tag(), false);
    peer.expect_deliveries(2, &["d"]);
    let name = http.get("/api/connections")[0]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    let path = format!("/api/channels/{}", encoded(&format!("{name} (2)")));
    let three = |channel: &Value| channel["messages_unacknowledged"] == 3;
    let (channel, _) = http.wait_for(&path, three);
    assert_eq!(channel["prefetch_count"], 3);
    assert_eq!(channel["global_prefetch_count"], 9);
    assert_eq!(channel["consumer_count"], 1);
    assert_eq!(channel["confirm"], false);
    assert_eq!(channel["message_stats"]["deliver"], 4);
    assert_eq!(channel["message_stats"]["ack"], 1);
    let consumer = &channel["consumer_details"][0];
    assert_eq!(consumer["consumer_tag"], "eater");
    assert_eq!(consumer["queue"]["name"], "q");
    assert_eq!(consumer["prefetch_count"], 3);
    assert_eq!(consumer["channel_details"]["number"], 2);
    let consumers = http.get("/api/consumers/%2F");
    assert_eq!(consumers[0]["consumer_tag"], "eater");
    assert_eq!(
        http.get("/api/queues/%2F/q")["consumer_details"][0],
        consumers[0]
    );
    peer.cancel(2, "eater");
    http.wait_for("/api/consumers", |list| !is_not_empty(list));
    peer.confirm_select(2);
    let (channel, _) = http.wait_for(&path, |channel| channel["confirm"] == true);
    assert_eq!(channel["transactional"], false);
}

/// The argument of `basic.consume` and of `queue.declare`.
fn timeout(milliseconds: i32) -> FieldTable {
    table([("x-consumer-timeout", AMQPValue::LongInt(milliseconds))])
}

#[test]
fn a_consumer_shows_how_long_it_may_hold_a_delivery() {
    let (_broker, http, mut peer) = started();
    peer.declare(1, durable_queue("plain"));
    let mut limited = durable_queue("limited");
    limited.arguments = timeout(70_000);
    peer.declare(1, limited);
    peer.consume(1, "plain", "as the broker says");
    peer.consume(1, "limited", "as the queue says");
    let mut impatient = consume_from("limited", "as it says");
    impatient.arguments = timeout(65_000);
    peer.consume_with(1, impatient);
    let consumers = http.get("/api/consumers");
    let shown = |tag: &str| {
        let mut all = consumers.as_array().unwrap().iter();
        let consumer = all.find(|it| it["consumer_tag"] == tag).unwrap();
        consumer["consumer_timeout"].as_u64()
    };
    assert_eq!(shown("as the broker says"), Some(30 * 60 * 1000));
    assert_eq!(shown("as the queue says"), Some(70_000));
    assert_eq!(shown("as it says"), Some(65_000));
}

#[test]
fn an_operator_closes_a_connection_with_320_and_a_reason() {
    let (broker, http, mut peer) = started();
    let name = http.get("/api/connections")[0]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    let path = format!("/api/connections/{}", encoded(&name));
    let (status, _) = http.send("DELETE", &path, "X-Reason: out of here\r\n", "");
    assert_eq!(status, 204);
    let close = peer.expect_close_with_code(320);
    assert_eq!(close.reply_text.as_str(), "CONNECTION_FORCED - out of here");
    assert_eq!(http.send("GET", &path, "", "").0, 404);
    let mut peer = Peer::connect_to(&broker);
    let (status, _) = http.send("DELETE", "/api/connections/username/guest", "", "");
    assert_eq!(status, 204);
    let close = peer.expect_close_with_code(320);
    assert_eq!(
        close.reply_text.as_str(),
        "CONNECTION_FORCED - Closed via management plugin"
    );
}

#[test]
fn what_a_closed_channel_has_counted_stays_in_the_totals() {
    let (_broker, http, mut peer) = started();
    let queue = peer.fresh_queue(1, "q");
    for _ in 0..3 {
        peer.open_channel(2);
        peer.fill(&queue, &["x"]);
        peer.close_channel(2);
    }
    assert!(peer.get(1, &queue, true).is_some());
    peer.close();
    let (overview, _) = http.wait_for("/api/overview", |it| it["message_stats"]["publish"] == 3);
    assert_eq!(overview["message_stats"]["get_no_ack"], 1);
    assert_eq!(overview["churn_rates"]["channel_created"], 7);
    assert_eq!(overview["churn_rates"]["channel_closed"], 7);
    assert_eq!(overview["churn_rates"]["connection_closed"], 1);
    // The queue went with its connection, and its messages out of the totals.
    http.wait_for("/api/overview", |it| it["queue_totals"]["messages"] == 0);
}
