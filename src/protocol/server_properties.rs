//! What the broker says of itself in `connection.start` (AMQP 0-9-1, 1.4.2.1).

use std::sync::Arc;

use amqp_codec::{
    AMQPClass, AMQPValue, FieldTable, LongString, ShortString, encode,
    protocol::connection::{AMQPMethod, Start},
};

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

/// The frame of `connection.start`. It is made once and copied to every client: they are all told the same.
#[derive(Debug, Clone)]
pub struct Greeting {
    /// To a client without a certificate.
    plain: Arc<[u8]>,
    /// To a client that may also log in with the certificate that it has shown.
    certified: Arc<[u8]>,
}

impl Greeting {
    /// What clients of this cluster are told.
    pub fn new(cluster_name: &str) -> Self {
        let properties = server_properties(cluster_name);
        Self {
            plain: start(properties.clone(), "PLAIN AMQPLAIN"),
            certified: start(properties, "PLAIN AMQPLAIN EXTERNAL"),
        }
    }

    /// The bytes for a client that has shown a certificate, or has not.
    pub fn frame(&self, certificate: bool) -> &[u8] {
        match certificate {
            true => &self.certified,
            false => &self.plain,
        }
    }
}

fn start(server_properties: FieldTable, mechanisms: &str) -> Arc<[u8]> {
    let start = AMQPMethod::Start(Start {
        version_major: 0,
        version_minor: 9,
        server_properties,
        mechanisms: mechanisms.into(),
        locales: "en_US".into(),
    });
    let mut frame = Vec::new();
    if let Err(error) = encode::method(&mut frame, 0, &AMQPClass::Connection(start)) {
        tracing::error!(%error, "cannot encode a method");
    }
    frame.into()
}

/// The server properties.
fn server_properties(cluster_name: &str) -> FieldTable {
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
