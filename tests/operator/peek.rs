//! Messages where they lie.

use serde_json::{Value, json};

use crate::{
    path, payloads, scene,
    support::{AMQPProperties, durable_queue, longstr, table, table::longstrs},
};

#[test]
fn peek_shows_messages_and_leaves_no_trace() {
    let Some((_broker, http, mut peer)) = scene(&[]) else {
        return;
    };
    peer.declare(1, durable_queue("q"));
    peer.confirm_select(1);
    let headers = table([("tenant", longstr("a")), ("BCC", longstrs(["hidden"]))]);
    let properties = AMQPProperties::default()
        .with_content_type("text/plain".into())
        .with_delivery_mode(2)
        .with_expiration("60000".into())
        .with_headers(headers);
    peer.publish_with(1, "", "q", AMQPProperties::default(), b"first");
    peer.publish_with(1, "", "q", properties, b"second");
    peer.publish_with(1, "", "q", AMQPProperties::default(), &[0xff, 0, 1]);
    peer.expect_confirms_to(1, 3);

    let found = http.post(&path("q", "peek"), json!({ "truncate": 4 }));
    assert_eq!(
        (&found["messages_ready"], &found["examined"]),
        (&json!(3), &json!(3))
    );
    assert_eq!(found["next_offset"], Value::Null);
    let second = &found["messages"][1];
    assert_eq!(
        (&second["payload"], &second["payload_bytes"]),
        (&json!("seco"), &json!(6))
    );
    assert_eq!(
        (&second["offset"], &second["redelivered"]),
        (&json!(1), &json!(false))
    );
    let shown = json!({
        "content_type": "text/plain",
        "delivery_mode": 2,
        "expiration": "60000",
        "headers": { "tenant": "a" },
    });
    assert_eq!(second["properties"], shown);
    let expires = second["expires_in_ms"].as_u64().unwrap();
    assert!((1..=60_000).contains(&expires), "{expires}");
    let third = &found["messages"][2];
    assert_eq!(
        (&third["payload"], &third["payload_encoding"]),
        (&json!("/wAB"), &json!("base64"))
    );

    let got = peer.get(1, "q", true).unwrap();
    assert!(!got.method.redelivered);
    assert_eq!(peer.counts(1, "q").0, 2);
}

#[test]
fn peek_finds_any_place_and_what_a_filter_means_also_on_disk() {
    let budget = ("LEVERET_MEMORY_MESSAGE_BUDGET", "65536");
    let Some((mut broker, _, mut peer)) = scene(&[budget]) else {
        return;
    };
    peer.declare(1, durable_queue("long"));
    peer.bind(1, "long", "amq.topic", "#");
    peer.confirm_select(1);
    for number in 0..5000 {
        let key = if number % 1000 == 7 { "rare" } else { "usual" };
        let properties = AMQPProperties::default().with_delivery_mode(1 + number as u8 % 2);
        peer.publish_with(
            1,
            "amq.topic",
            key,
            properties,
            number.to_string().as_bytes(),
        );
    }
    peer.expect_confirms_to(1, 5000);
    let http = crate::Http::guest(&broker);
    for offset in [0, 1, 999, 2500, 4321, 4990] {
        let expected: Vec<String> = (offset..(offset + 100).min(5000))
            .map(|it| it.to_string())
            .collect();
        assert_eq!(payloads(&http, "long", offset), expected);
    }
    assert_eq!(payloads(&http, "long", 5000), [""; 0]);
    let rare = json!({ "count": 100, "filter": { "routing_key": "rare" } });
    let found = http.post(&path("long", "peek"), rare);
    assert_eq!(
        crate::texts(&found["messages"], "payload"),
        ["7", "1007", "2007", "3007", "4007"]
    );
    assert_eq!(found["messages"][4]["offset"], 4007);

    // After a restart every other one is left.
    broker.restart();
    let http = crate::Http::guest(&broker);
    let expected: Vec<String> = (0..100).map(|it| (2 * it + 2001).to_string()).collect();
    assert_eq!(payloads(&http, "long", 1000), expected);
}

#[test]
fn peek_that_makes_no_sense_is_refused() {
    let Some((_broker, http, mut peer)) = scene(&[]) else {
        return;
    };
    peer.declare(1, durable_queue("q"));
    let status = |queue: &str, body| http.send("POST", &path(queue, "peek"), Some(body)).status;
    assert_eq!(status("none", json!({})), 404);
    assert_eq!(status("q", json!({ "ofset": 3 })), 400);
    assert_eq!(status("q", json!({ "count": -1 })), 400);
    assert_eq!(status("q", json!({ "encoding": "hex" })), 400);
    assert_eq!(
        status(
            "q",
            json!({ "filter": { "headers": { "x-match": "any" } } })
        ),
        400
    );
}
