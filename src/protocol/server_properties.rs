//! What the broker says of itself in `connection.start` (AMQP 0-9-1, 1.4.2.1).

use amqp_codec::{AMQPValue, FieldTable, LongString, ShortString};

/// RabbitMQ's extensions, all of which work.
const CAPABILITIES: [&str; 9] = [
    "publisher_confirms",
    "exchange_exchange_bindings",
    "basic.nack",
    "consumer_cancel_notify",
    "connection.blocked",
    "consumer_priorities",
    "authentication_failure_close",
    "per_consumer_qos",
    "direct_reply_to",
];

/// The server properties.
pub fn server_properties(cluster_name: &str) -> FieldTable {
    let mut capabilities = FieldTable::default();
    for name in CAPABILITIES {
        put(&mut capabilities, name, AMQPValue::Boolean(true));
    }
    let mut properties = FieldTable::default();
    let platform = format!("Rust {}", std::env::consts::OS);
    let texts = [
        ("product", "Leveret"),
        ("version", env!("CARGO_PKG_VERSION")),
        ("platform", &platform),
        ("copyright", "Copyright (c) 2026 the Leveret engineers"),
        ("information", "Licensed under the Apache License 2.0"),
        ("cluster_name", cluster_name),
    ];
    for (name, text) in texts {
        let text = LongString::from(text.as_bytes().to_vec());
        put(&mut properties, name, AMQPValue::LongString(text));
    }
    let capabilities = AMQPValue::FieldTable(capabilities);
    put(&mut properties, "capabilities", capabilities);
    properties
}

fn put(table: &mut FieldTable, name: &str, value: AMQPValue) {
    if let Ok(name) = ShortString::try_new(name) {
        table.insert(name, value);
    }
}
