//! What a queue tells of itself: how long messages stay, and what is in force.

use serde_json::{Value, json};

use crate::{
    scene,
    support::{AMQPValue, durable_queue, queue, table},
};

#[test]
fn queue_tells_how_long_messages_stayed_and_when_they_were_acknowledged() {
    let Some((_broker, http, mut peer)) = scene(&[]) else {
        return;
    };
    peer.declare(1, durable_queue("q"));
    let found = http.get("/api/leveret/queues/%2F/q");
    assert_eq!(
        (&found["time_in_queue"], &found["publish_to_ack"]),
        (&Value::Null, &Value::Null)
    );
    peer.fill("q", &["one", "two", "three"]);
    for _ in 0..3 {
        let got = peer.get(1, "q", false).unwrap();
        peer.ack(1, got.method.delivery_tag, false);
    }
    peer.round_trip();
    let found = http.get("/api/leveret/queues/%2F/q");
    for field in ["time_in_queue", "publish_to_ack"] {
        let times = &found[field];
        assert_eq!(times["count"], 3, "{field}");
        let [p50, p99, p999, max] =
            ["p50_ms", "p99_ms", "p99_9_ms", "max_ms"].map(|it| times[it].as_u64().unwrap());
        assert!(p50 <= p99 && p99 <= p999 && p999 <= max, "{times}");
        assert_eq!(http.get("/api/queues/%2F/q")[field]["count"], 3);
    }
}

#[test]
fn queue_and_exchange_tell_which_settings_are_in_force_and_who_said_so() {
    let Some((_broker, http, mut peer)) = scene(&[]) else {
        return;
    };
    let arguments = table([
        ("x-max-length", AMQPValue::LongInt(10)),
        ("x-message-ttl", AMQPValue::LongInt(5000)),
    ]);
    peer.declare(
        1,
        queue::Declare {
            arguments,
            ..durable_queue("q")
        },
    );
    let policy = |kind: &str, definition: Value| {
        let body = json!({ "pattern": "", "definition": definition });
        http.done("PUT", &format!("/api/{kind}/%2F/p"), Some(body));
    };
    let definition = json!({ "alternate-exchange": "rest", "dead-letter-exchange": "dlx" });
    policy("policies", definition);
    policy("operator-policies", json!({ "max-length": 3 }));
    let of = |path: &str, key: &str| {
        let found = http.get(&format!("/api/leveret/{path}"));
        let settings = found["effective_configuration"].as_array().unwrap().clone();
        let setting = settings.into_iter().find(|it| it["key"] == key).unwrap();
        (setting["value"].clone(), setting["source"].clone())
    };
    let queue = "queues/%2F/q";
    assert_eq!(
        of(queue, "max-length"),
        (json!(3), json!("operator_policy"))
    );
    assert_eq!(of(queue, "message-ttl"), (json!(5000), json!("argument")));
    assert_eq!(
        of(queue, "dead-letter-exchange"),
        (json!("dlx"), json!("policy"))
    );
    let exchange = "exchanges/%2F/amq.topic";
    assert_eq!(
        of(exchange, "alternate-exchange"),
        (json!("rest"), json!("policy"))
    );
}
