//! How long messages stay.

use serde_json::Value;

use crate::{scene, support::durable_queue};

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
    }
}
