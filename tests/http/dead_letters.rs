//! What the HTTP API tells of messages that fail and die.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{
    broker::Broker,
    requests::{Answer, send},
};

fn request(broker: &Broker, method: &str, path: &str, body: &Value) -> Value {
    let Answer { status, body, .. } = send(broker, method, path, &body.to_string());
    assert!((200..300).contains(&status), "{path}: {status} {body}");
    body
}

fn get(broker: &Broker, queue: &str, mode: &str) -> Value {
    let path = format!("/api/queues/%2F/{queue}/get");
    let wanted = json!({"count": 1, "ackmode": mode, "encoding": "auto"});
    request(broker, "POST", &path, &wanted)
        .get(0)
        .expect("a message")
        .clone()
}

#[test]
fn a_queue_shows_failures_and_dead_letters_that_went_nowhere() {
    let broker = Broker::start();
    let arguments = json!({"x-dead-letter-exchange": "missing", "x-delivery-limit": 1});
    let declaration = json!({"durable": true, "auto_delete": false, "arguments": arguments});
    request(&broker, "PUT", "/api/queues/%2F/failing", &declaration);
    let message = json!({
        "properties": {},
        "routing_key": "failing",
        "payload": "poison",
        "payload_encoding": "string",
    });
    let path = "/api/exchanges/%2F/amq.default/publish";
    request(&broker, "POST", path, &message);
    get(&broker, "failing", "reject_requeue_true");
    let again = get(&broker, "failing", "reject_requeue_true");
    let headers = &again["properties"]["headers"];
    assert_eq!(headers["x-delivery-count"], 1);
    assert_eq!(headers["x-acquired-count"], 1);
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let queue = request(&broker, "GET", "/api/queues/%2F/failing", &json!({}));
        let lost = &queue["undeliverable_dead_letters"];
        if !lost.is_null() {
            let expected = json!({"missing_exchange": 1, "unroutable": 0, "cycles": 0});
            assert_eq!(*lost, expected);
            break;
        }
        assert!(Instant::now() < deadline, "{queue}");
    }
}
