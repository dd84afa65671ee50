//! amqprs (Rust).

use amqprs::{
    Ack, BasicProperties, Cancel, CloseChannel, Nack, Return,
    callbacks::{ChannelCallback, DefaultConnectionCallback},
    channel::{
        BasicAckArguments, BasicCancelArguments, BasicConsumeArguments, BasicGetArguments,
        BasicNackArguments, BasicPublishArguments, BasicQosArguments, Channel,
        ConfirmSelectArguments, ConsumerMessage, ExchangeDeclareArguments, QueueBindArguments,
        QueueDeclareArguments, QueueDeleteArguments, QueuePurgeArguments,
    },
    connection::{Connection, OpenConnectionArguments},
};
use tokio::{sync::mpsc, time::timeout};

use crate::{
    client::unique,
    support::{Broker, PATIENCE},
};

/// What the broker told a channel of its own accord.
#[derive(Debug, PartialEq)]
enum Told {
    Closed(u16, String),
    Cancelled(String),
    Acked(u64, bool),
    Nacked,
    Returned(u16, Vec<u8>),
}

/// Passes everything on to the test.
struct Listener(mpsc::UnboundedSender<Told>);

#[async_trait::async_trait]
impl ChannelCallback for Listener {
    async fn close(
        &mut self,
        _: &Channel,
        close: CloseChannel,
    ) -> Result<(), amqprs::error::Error> {
        self.0
            .send(Told::Closed(close.reply_code(), close.reply_text().clone()))
            .ok();
        Ok(())
    }
    async fn cancel(&mut self, _: &Channel, cancel: Cancel) -> Result<(), amqprs::error::Error> {
        self.0
            .send(Told::Cancelled(cancel.consumer_tag().clone()))
            .ok();
        Ok(())
    }
    async fn flow(&mut self, _: &Channel, active: bool) -> Result<bool, amqprs::error::Error> {
        Ok(active)
    }
    async fn publish_ack(&mut self, _: &Channel, ack: Ack) {
        self.0
            .send(Told::Acked(ack.delivery_tag(), ack.mutiple()))
            .ok();
    }
    async fn publish_nack(&mut self, _: &Channel, _: Nack) {
        self.0.send(Told::Nacked).ok();
    }
    async fn publish_return(
        &mut self,
        _: &Channel,
        ret: Return,
        _: BasicProperties,
        body: Vec<u8>,
    ) {
        self.0.send(Told::Returned(ret.reply_code(), body)).ok();
    }
}

async fn connect(broker: &Broker) -> Connection {
    let address = broker.amqp_address();
    let host = address.ip().to_string();
    let arguments = OpenConnectionArguments::new(&host, address.port(), "guest", "guest");
    let connection = Connection::open(&arguments).await.expect("a connection");
    connection
        .register_callback(DefaultConnectionCallback)
        .await
        .expect("callbacks");
    connection
}

async fn open(connection: &Connection) -> (Channel, mpsc::UnboundedReceiver<Told>) {
    let channel = connection.open_channel(None).await.expect("a channel");
    let (sender, told) = mpsc::unbounded_channel();
    channel
        .register_callback(Listener(sender))
        .await
        .expect("callbacks");
    (channel, told)
}

async fn queue(channel: &Channel, name: &str) -> String {
    let arguments = QueueDeclareArguments::new(name).exclusive(true).finish();
    let declared = channel.queue_declare(arguments).await.expect("a queue");
    declared.expect("declare-ok").0
}

async fn publish(channel: &Channel, exchange: &str, key: &str, body: &[u8], mandatory: bool) {
    let arguments = BasicPublishArguments::new(exchange, key)
        .mandatory(mandatory)
        .finish();
    let properties = BasicProperties::default().with_delivery_mode(2).finish();
    channel
        .basic_publish(properties, body.to_vec(), arguments)
        .await
        .expect("to publish");
}

async fn next<T>(receiver: &mut mpsc::UnboundedReceiver<T>) -> T {
    timeout(PATIENCE, receiver.recv())
        .await
        .expect("something in time")
        .expect("an open channel")
}

fn body(message: ConsumerMessage) -> (u64, bool, Vec<u8>) {
    let deliver = message.deliver.expect("a delivery");
    (
        deliver.delivery_tag(),
        deliver.redelivered(),
        message.content.expect("a body"),
    )
}

#[tokio::test]
async fn reads_the_servers_capabilities() {
    let broker = Broker::shared();
    let connection = connect(&broker).await;
    let capabilities = connection.server_properties().capabilities();
    assert!(capabilities.publisher_confirms() && capabilities.basic_nack());
    assert!(capabilities.direct_reply_to() && capabilities.consumer_cancel_notify());
    assert!(capabilities.connection_blocked() && capabilities.per_consumer_qos());
    assert_eq!(connection.frame_max(), 131_072);
    assert_eq!(connection.heartbeat(), 60);
    connection.close().await.expect("a clean close");
}

#[tokio::test]
async fn confirms_and_returns() {
    let broker = Broker::shared();
    let connection = connect(&broker).await;
    let (channel, mut told) = open(&connection).await;
    let name = queue(&channel, "").await;
    channel
        .confirm_select(ConfirmSelectArguments::default())
        .await
        .expect("confirm mode");
    for _ in 0..100 {
        publish(&channel, "", &name, b"x", true).await;
    }
    let mut confirmed = 0;
    while confirmed < 100 {
        match next(&mut told).await {
            Told::Acked(tag, multiple) => {
                assert!(multiple || tag == confirmed + 1, "{tag} after {confirmed}");
                confirmed = tag;
            }
            other => panic!("{other:?}"),
        }
    }
    publish(&channel, "", &unique("nobody"), b"lost?", true).await;
    assert_eq!(
        next(&mut told).await,
        Told::Returned(312, b"lost?".to_vec())
    );
    assert_eq!(next(&mut told).await, Told::Acked(101, false));
    let purged = channel
        .queue_purge(QueuePurgeArguments::new(&name))
        .await
        .expect("purge");
    assert_eq!(purged, Some(100));
    connection.close().await.expect("a clean close");
}

#[tokio::test]
async fn consumes_with_prefetch_and_requeues() {
    let broker = Broker::shared();
    let connection = connect(&broker).await;
    let (channel, _told) = open(&connection).await;
    let exchange = unique("topic");
    let declare = ExchangeDeclareArguments::new(&exchange, "topic")
        .auto_delete(true)
        .finish();
    channel
        .exchange_declare(declare)
        .await
        .expect("an exchange");
    let name = queue(&channel, &unique("Häschen-🐇")).await;
    let bind = QueueBindArguments::new(&name, &exchange, "order.*.created");
    channel.queue_bind(bind).await.expect("a binding");
    for key in [
        "order.1.created",
        "order.2.created",
        "order.3.deleted",
        "order.4.created",
    ] {
        publish(&channel, &exchange, key, key.as_bytes(), false).await;
    }
    channel
        .basic_qos(BasicQosArguments::new(0, 1, false))
        .await
        .expect("qos");
    let arguments = BasicConsumeArguments::new(&name, "tag")
        .manual_ack(true)
        .finish();
    let (tag, mut messages) = channel
        .basic_consume_rx(arguments)
        .await
        .expect("a consumer");
    let (first, redelivered, content) = body(next(&mut messages).await);
    assert_eq!(
        (redelivered, content.as_slice()),
        (false, b"order.1.created".as_slice())
    );
    let requeue = BasicNackArguments::new(first, false, true);
    channel.basic_nack(requeue).await.expect("nack");
    for (again, expected) in [(true, 1), (false, 2), (false, 4)] {
        let (tag, redelivered, content) = body(next(&mut messages).await);
        assert_eq!(
            String::from_utf8_lossy(&content),
            format!("order.{expected}.created")
        );
        assert_eq!(redelivered, again);
        channel
            .basic_ack(BasicAckArguments::new(tag, false))
            .await
            .expect("ack");
    }
    channel
        .basic_cancel(BasicCancelArguments::new(&tag))
        .await
        .expect("cancel");
    assert!(
        channel
            .basic_get(BasicGetArguments::new(&name))
            .await
            .expect("get")
            .is_none()
    );
    connection.close().await.expect("a clean close");
}

#[tokio::test]
async fn hears_of_cancelled_consumers_and_closed_channels() {
    let broker = Broker::shared();
    let connection = connect(&broker).await;
    let (channel, mut told) = open(&connection).await;
    let name = queue(&channel, "").await;
    let arguments = BasicConsumeArguments::new(&name, "mine");
    let (_tag, _messages) = channel
        .basic_consume_rx(arguments)
        .await
        .expect("a consumer");
    let (other, _) = open(&connection).await;
    other
        .queue_delete(QueueDeleteArguments::new(&name))
        .await
        .expect("delete");
    assert_eq!(next(&mut told).await, Told::Cancelled("mine".to_owned()));

    let absent = unique("absent");
    publish(&channel, &absent, "key", b"an asynchronous 404", false).await;
    let text = format!("NOT_FOUND - no exchange '{absent}' in vhost '/'");
    assert_eq!(next(&mut told).await, Told::Closed(404, text));
    let (channel, _) = open(&connection).await;
    queue(&channel, "").await;
    connection.close().await.expect("a clean close");
}

#[tokio::test]
async fn carries_large_messages() {
    let broker = Broker::shared();
    let connection = connect(&broker).await;
    let (channel, _told) = open(&connection).await;
    let name = queue(&channel, "").await;
    let sent: Vec<u8> = (0..5 * 1024 * 1024_u32)
        .map(|n| n.to_le_bytes()[0])
        .collect();
    publish(&channel, "", &name, &sent, false).await;
    let got = channel
        .basic_get(BasicGetArguments::new(&name))
        .await
        .expect("get");
    let (_, _, content) = got.expect("a message");
    assert!(content == sent, "the body has changed");
    connection.close().await.expect("a clean close");
}
