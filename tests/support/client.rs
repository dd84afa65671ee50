//! Short words for what whole-broker tests do with lapin. Every step that fails fails the test.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::expect_used,
    reason = "each test crate uses its own part, and a failed step is a failed test"
)]

use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer,
    PublisherConfirm, Queue,
    message::{BasicReturnMessage, Delivery},
    options::*,
    types::FieldTable,
};

/// A connection to the broker.
pub async fn connect(uri: &str) -> Connection {
    let connection = Connection::connect(uri, ConnectionProperties::default()).await;
    connection.expect("a connection")
}

/// A connection and a channel of it. The connection ends when it is dropped.
pub async fn open(uri: &str) -> (Connection, Channel) {
    let connection = connect(uri).await;
    let channel = connection.create_channel().await.expect("a channel");
    (connection, channel)
}

/// Runs something on a channel from a test that is not async.
pub fn blocking<T>(uri: &str, work: impl AsyncFnOnce(&Channel) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let (connection, channel) = open(uri).await;
        let result = work(&channel).await;
        connection
            .close(200, "bye".into())
            .await
            .expect("a clean close");
        result
    })
}

/// A name that no other test uses: they may share a broker.
pub fn unique(name: &str) -> String {
    static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    format!("{name}-{}-{number}", std::process::id())
}

/// A durable queue without arguments.
pub async fn declare_durable(channel: &Channel, queue: &str) -> Queue {
    declare(
        channel,
        queue,
        QueueDeclareOptions::durable(),
        FieldTable::default(),
    )
    .await
}

/// A queue of any kind.
pub async fn declare(
    channel: &Channel,
    queue: &str,
    options: QueueDeclareOptions,
    arguments: FieldTable,
) -> Queue {
    let declared = channel
        .queue_declare(queue.into(), options, arguments)
        .await;
    declared.expect("a queue")
}

/// A queue of this connection alone, named by the broker.
pub async fn declare_exclusive(channel: &Channel) -> String {
    let options = QueueDeclareOptions::exclusive();
    let queue = declare(channel, "", options, FieldTable::default()).await;
    queue.name().to_string()
}

/// How many messages are ready in a queue that must exist.
pub async fn message_count(channel: &Channel, queue: &str) -> u32 {
    let options = QueueDeclareOptions::default().passive();
    declare(channel, queue, options, FieldTable::default())
        .await
        .message_count()
}

/// Publishes a persistent, mandatory message without waiting for its confirm.
pub async fn publish(
    channel: &Channel,
    exchange: &str,
    routing_key: &str,
    body: &[u8],
) -> lapin::Result<PublisherConfirm> {
    let options = BasicPublishOptions {
        mandatory: true,
        ..Default::default()
    };
    let properties = BasicProperties::default().with_delivery_mode(2);
    channel
        .basic_publish(
            exchange.into(),
            routing_key.into(),
            options,
            body,
            properties,
        )
        .await
}

/// Publishes a persistent message with a priority to a queue, without waiting for its confirm.
pub async fn publish_with_priority(
    channel: &Channel,
    queue: &str,
    priority: u8,
    body: &[u8],
) -> lapin::Result<PublisherConfirm> {
    let properties = BasicProperties::default()
        .with_delivery_mode(2)
        .with_priority(priority);
    let options = BasicPublishOptions::default();
    channel
        .basic_publish("".into(), queue.into(), options, body, properties)
        .await
}

/// Publishes and waits for the confirm. What no queue took is given back.
pub async fn publish_confirmed(
    channel: &Channel,
    exchange: &str,
    routing_key: &str,
    body: &[u8],
) -> Option<BasicReturnMessage> {
    let confirm = publish(channel, exchange, routing_key, body)
        .await
        .expect("to publish");
    match confirm.await.expect("a confirm") {
        Confirmation::Ack(returned) => returned,
        other => unreachable!("expected an ack, got {other:?}"),
    }
}

/// Starts to consume; `no_ack` deliveries need no acknowledgement.
pub async fn consume(channel: &Channel, queue: &str, tag: &str, no_ack: bool) -> Consumer {
    let options = BasicConsumeOptions {
        no_ack,
        ..Default::default()
    };
    let consumer = channel.basic_consume(queue.into(), tag.into(), options, FieldTable::default());
    consumer.await.expect("a consumer")
}

/// Gets one message, to be acknowledged by the caller.
pub async fn get(channel: &Channel, queue: &str) -> Option<Delivery> {
    let got = channel
        .basic_get(queue.into(), BasicGetOptions::default())
        .await;
    got.expect("get-ok or get-empty")
        .map(|message| message.delivery)
}

/// Gets everything that is in the queue; it is not acknowledged.
pub async fn drain(channel: &Channel, queue: &str) -> Vec<Delivery> {
    let mut all = Vec::new();
    while let Some(message) = get(channel, queue).await {
        all.push(message);
    }
    all
}

/// Removes what is ready in the queue and says how many that were.
pub async fn purge(channel: &Channel, queue: &str) -> u32 {
    let purged = channel
        .queue_purge(queue.into(), QueuePurgeOptions::default())
        .await;
    purged.expect("purge-ok")
}

/// The messages' bodies, as text.
pub fn bodies(messages: &[Delivery]) -> Vec<String> {
    let text = |m: &Delivery| String::from_utf8_lossy(&m.data).into_owned();
    messages.iter().map(text).collect()
}
