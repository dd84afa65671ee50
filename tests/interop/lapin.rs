//! lapin (Rust).

use std::time::Duration;

use futures_lite::StreamExt;
use lapin::{
    BasicProperties, Channel, Confirmation, Consumer, ErrorKind, Event, ExchangeKind,
    message::Delivery,
    options::*,
    types::{AMQPValue, FieldTable, LongString},
};
use tokio::time::timeout;

use crate::{
    client::{
        bodies, connect, consume, declare, declare_exclusive, drain, get, message_count, open,
        publish, publish_confirmed, unique,
    },
    support::{Broker, PATIENCE, with_time_enough},
};

fn uri() -> (std::sync::Arc<Broker>, String) {
    let broker = Broker::shared();
    let uri = broker.amqp_uri();
    (broker, uri)
}

async fn next(consumer: &mut Consumer) -> Delivery {
    let delivery = timeout(PATIENCE, consumer.next())
        .await
        .expect("a delivery in time");
    delivery.expect("the consumer goes on").expect("a delivery")
}

async fn declare_exchange(channel: &Channel, name: &str, kind: ExchangeKind) {
    let options = ExchangeDeclareOptions {
        auto_delete: true,
        ..Default::default()
    };
    let declared = channel.exchange_declare(name.into(), kind, options, FieldTable::default());
    declared.await.expect("an exchange");
}

async fn bind(channel: &Channel, queue: &str, exchange: &str, key: &str, arguments: FieldTable) {
    let options = QueueBindOptions::default();
    let bound = channel.queue_bind(
        queue.into(),
        exchange.into(),
        key.into(),
        options,
        arguments,
    );
    bound.await.expect("a binding");
}

/// The code and text with which the broker closed something.
fn closed_with(error: &lapin::Error) -> (u16, String) {
    match error.kind() {
        ErrorKind::ProtocolError(e) => (e.get_id(), e.get_message().to_string()),
        other => panic!("not closed by the broker: {other:?}"),
    }
}

#[tokio::test]
async fn confirms_a_window_of_messages_and_returns_unroutable_ones() {
    let (_broker, uri) = uri();
    let (_connection, channel) = open(&uri).await;
    let queue = declare_exclusive(&channel).await;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await
        .expect("confirm mode");
    let mut window = Vec::new();
    for number in 0..1000_u32 {
        window.push(
            publish(&channel, "", &queue, &number.to_be_bytes())
                .await
                .expect("to publish"),
        );
    }
    for confirm in window {
        assert_eq!(confirm.await.expect("a confirm"), Confirmation::Ack(None));
    }
    assert_eq!(message_count(&channel, &queue).await, 1000);
    let returned = publish_confirmed(&channel, "", &unique("nobody"), b"lost?").await;
    let returned = returned.expect("a returned message");
    assert_eq!(
        (returned.reply_code, returned.reply_text.as_str()),
        (312, "NO_ROUTE")
    );
    assert_eq!(returned.delivery.data, b"lost?");
}

#[tokio::test]
async fn holds_back_what_exceeds_the_prefetch_and_requeues_in_order() {
    let (_broker, uri) = uri();
    let (_connection, channel) = open(&uri).await;
    let queue = declare_exclusive(&channel).await;
    for body in [b"1", b"2", b"3", b"4"] {
        publish(&channel, "", &queue, body)
            .await
            .expect("to publish");
    }
    channel
        .basic_qos(2, BasicQosOptions::default())
        .await
        .expect("qos");
    let mut consumer = consume(&channel, &queue, "first", false).await;
    let (one, two) = (next(&mut consumer).await, next(&mut consumer).await);
    assert_eq!(message_count(&channel, &queue).await, 2);
    one.ack(BasicAckOptions::default()).await.expect("ack");
    let three = next(&mut consumer).await;
    channel
        .basic_cancel("first".into(), BasicCancelOptions::default())
        .await
        .expect("cancel");
    three
        .reject(BasicRejectOptions { requeue: true })
        .await
        .expect("reject");
    let requeue = BasicNackOptions {
        requeue: true,
        ..Default::default()
    };
    two.nack(requeue).await.expect("nack");
    let rest = drain(&channel, &queue).await;
    assert_eq!(bodies(&rest), ["2", "3", "4"]);
    let flags: Vec<bool> = rest.iter().map(|m| m.redelivered).collect();
    assert_eq!(flags, [true, true, false]);
    channel
        .basic_ack(0, BasicAckOptions { multiple: true })
        .await
        .expect("ack all");
    let deleted = channel
        .queue_delete(queue.as_str().into(), QueueDeleteOptions::default())
        .await;
    assert_eq!(deleted.expect("delete"), 0);
}

#[tokio::test]
async fn routes_by_topic_headers_fanout_and_between_exchanges() {
    let (_broker, uri) = uri();
    let (_connection, channel) = open(&uri).await;
    let (topic, fanout, headers) = (unique("topic"), unique("fanout"), unique("headers"));
    declare_exchange(&channel, &topic, ExchangeKind::Topic).await;
    declare_exchange(&channel, &fanout, ExchangeKind::Fanout).await;
    declare_exchange(&channel, &headers, ExchangeKind::Headers).await;
    let (by_topic, all) = (
        declare_exclusive(&channel).await,
        declare_exclusive(&channel).await,
    );
    bind(
        &channel,
        &by_topic,
        &topic,
        "order.*.created",
        FieldTable::default(),
    )
    .await;
    bind(&channel, &all, &fanout, "", FieldTable::default()).await;
    let (source, any) = (topic.as_str().into(), "#".into());
    let options = ExchangeBindOptions::default();
    let bound = channel.exchange_bind(
        fanout.as_str().into(),
        source,
        any,
        options,
        FieldTable::default(),
    );
    bound.await.expect("an exchange binding");
    for key in ["order.eu.created", "order.eu.deleted"] {
        publish(&channel, &topic, key, key.as_bytes())
            .await
            .expect("to publish");
    }
    assert_eq!(
        bodies(&drain(&channel, &by_topic).await),
        ["order.eu.created"]
    );
    assert_eq!(drain(&channel, &all).await.len(), 2);

    let matched = declare_exclusive(&channel).await;
    let mut wanted = FieldTable::default();
    wanted.insert("x-match".into(), AMQPValue::LongString("all".into()));
    wanted.insert("size".into(), AMQPValue::LongInt(7));
    bind(&channel, &matched, &headers, "", wanted).await;
    for size in [7, 8] {
        let mut given = FieldTable::default();
        given.insert("size".into(), AMQPValue::LongInt(size));
        let properties = BasicProperties::default().with_headers(given);
        let options = BasicPublishOptions::default();
        let published =
            channel.basic_publish(headers.as_str().into(), "".into(), options, b"", properties);
        published.await.expect("to publish");
    }
    assert_eq!(drain(&channel, &matched).await.len(), 1);
}

#[tokio::test]
async fn commits_and_rolls_back_transactions() {
    let (_broker, uri) = uri();
    let (_connection, channel) = open(&uri).await;
    let queue = declare_exclusive(&channel).await;
    channel.tx_select().await.expect("tx mode");
    publish(&channel, "", &queue, b"dropped")
        .await
        .expect("to publish");
    channel.tx_rollback().await.expect("a rollback");
    publish(&channel, "", &queue, b"kept")
        .await
        .expect("to publish");
    assert!(get(&channel, &queue).await.is_none());
    channel.tx_commit().await.expect("a commit");
    assert_eq!(bodies(&drain(&channel, &queue).await), ["kept"]);
}

#[tokio::test]
async fn dead_letters_with_the_history_in_x_death() {
    let (_broker, uri) = uri();
    let (_connection, channel) = open(&uri).await;
    let graveyard = declare_exclusive(&channel).await;
    let mut arguments = FieldTable::default();
    arguments.insert(
        "x-dead-letter-exchange".into(),
        AMQPValue::LongString("".into()),
    );
    let key = AMQPValue::LongString(graveyard.as_str().into());
    arguments.insert("x-dead-letter-routing-key".into(), key);
    arguments.insert("x-message-ttl".into(), AMQPValue::LongInt(20));
    let queue = declare(&channel, "", QueueDeclareOptions::exclusive(), arguments).await;
    publish(&channel, "", queue.name().as_str(), b"late")
        .await
        .expect("to publish");
    let dead = next(&mut consume(&channel, &graveyard, "", true).await).await;
    assert_eq!(dead.data, b"late");
    let headers = dead.properties.headers().as_ref().expect("headers");
    let Some(AMQPValue::FieldArray(deaths)) = headers.inner().get("x-death") else {
        panic!("no x-death in {headers:?}");
    };
    let Some(AMQPValue::FieldTable(death)) = deaths.as_slice().first() else {
        panic!("no death in {deaths:?}");
    };
    let reason = death.inner().get("reason");
    assert_eq!(
        reason,
        Some(&AMQPValue::LongString(LongString::from("expired")))
    );
    assert_eq!(death.inner().get("count"), Some(&AMQPValue::LongLongInt(1)));
}

#[tokio::test]
async fn answers_through_direct_reply_to() {
    let (_broker, uri) = uri();
    let (connection, client) = open(&uri).await;
    let server = connection.create_channel().await.expect("a channel");
    let queue = declare_exclusive(&server).await;
    let mut requests = consume(&server, &queue, "", true).await;
    let mut replies = consume(&client, "amq.rabbitmq.reply-to", "", true).await;
    let properties = BasicProperties::default().with_reply_to("amq.rabbitmq.reply-to".into());
    let options = BasicPublishOptions::default();
    let published = client.basic_publish(
        "".into(),
        queue.as_str().into(),
        options,
        b"2+2",
        properties,
    );
    published.await.expect("to publish");
    let request = next(&mut requests).await;
    let reply_to = request
        .properties
        .reply_to()
        .as_ref()
        .expect("reply-to")
        .to_string();
    assert!(reply_to.starts_with("amq.rabbitmq.reply-to."), "{reply_to}");
    publish(&server, "", &reply_to, b"4")
        .await
        .expect("to publish");
    let reply = next(&mut replies).await;
    assert_eq!(
        (reply.exchange.as_str(), reply.data.as_slice()),
        ("", b"4".as_slice())
    );
}

#[tokio::test]
async fn ends_a_consumer_whose_queue_is_deleted() {
    let (_broker, uri) = uri();
    let (connection, channel) = open(&uri).await;
    let queue = declare_exclusive(&channel).await;
    let mut consumer = consume(&channel, &queue, "", false).await;
    let other = connection.create_channel().await.expect("a channel");
    other
        .queue_delete(queue.as_str().into(), QueueDeleteOptions::default())
        .await
        .expect("delete");
    let end = timeout(PATIENCE, consumer.next())
        .await
        .expect("an end in time");
    assert!(end.is_none(), "{end:?}");
}

#[tokio::test]
async fn reports_channel_exceptions_and_opens_channels_again() {
    let (_broker, uri) = uri();
    let (connection, channel) = open(&uri).await;
    let absent = unique("absent");
    let passive = QueueDeclareOptions::default().passive();
    let error = channel
        .queue_declare(absent.as_str().into(), passive, FieldTable::default())
        .await;
    let text = format!("NOT_FOUND - no queue '{absent}' in vhost '/'");
    assert_eq!(
        closed_with(&error.expect_err("a missing queue")),
        (404, text)
    );

    let channel = connection.create_channel().await.expect("a channel");
    // Not a name of the broker's: redeclaring one of those is refused for its prefix.
    let queue = unique("mine");
    declare(
        &channel,
        &queue,
        QueueDeclareOptions::exclusive(),
        FieldTable::default(),
    )
    .await;
    let passing = QueueDeclareOptions::exclusive().auto_delete();
    let error = channel
        .queue_declare(queue.as_str().into(), passing, FieldTable::default())
        .await;
    let text = format!(
        "PRECONDITION_FAILED - inequivalent arg 'auto_delete' for queue '{queue}' in vhost '/': \
         received 'true' but current is 'false'"
    );
    assert_eq!(
        closed_with(&error.expect_err("another kind of queue")),
        (406, text)
    );
    let channel = connection.create_channel().await.expect("a channel");
    assert_eq!(message_count(&channel, &queue).await, 0);
}

#[tokio::test]
async fn keeps_exclusive_queues_to_their_connection_and_removes_them_with_it() {
    let (_broker, uri) = uri();
    let owner = connect(&uri).await;
    let queue = declare_exclusive(&owner.create_channel().await.expect("a channel")).await;
    let (other, channel) = open(&uri).await;
    let error = channel
        .basic_get(queue.as_str().into(), BasicGetOptions::default())
        .await;
    assert_eq!(closed_with(&error.expect_err("a locked queue")).0, 405);
    owner.close(200, "bye".into()).await.expect("a clean close");
    let channel = other.create_channel().await.expect("a channel");
    let passive = QueueDeclareOptions::default().passive();
    let error = channel
        .queue_declare(queue.as_str().into(), passive, FieldTable::default())
        .await;
    assert_eq!(closed_with(&error.expect_err("a removed queue")).0, 404);
}

#[tokio::test]
async fn carries_large_messages_and_unicode_names() {
    let (_broker, uri) = uri();
    let (_connection, channel) = open(&uri).await;
    let name = unique("Häschen-兔-🐇");
    let queue = declare(
        &channel,
        &name,
        QueueDeclareOptions::exclusive(),
        FieldTable::default(),
    )
    .await;
    assert_eq!(queue.name().as_str(), name);
    let body: Vec<u8> = (0..5 * 1024 * 1024_u32)
        .map(|n| n.to_le_bytes()[0])
        .collect();
    publish(&channel, "", &name, &body)
        .await
        .expect("to publish");
    let mut consumer = consume(&channel, &name, "", true).await;
    assert!(
        next(&mut consumer).await.data == body,
        "the body has changed"
    );
}

#[test]
fn keeps_an_idle_connection_alive_by_heartbeats() {
    with_time_enough([1, 4, 12], |interval| {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(an_idle_connection_is_kept_alive(interval));
    });
}

async fn an_idle_connection_is_kept_alive(interval: u16) {
    let (_broker, uri) = uri();
    let connection = connect(&format!("{uri}?heartbeat={interval}&frame_max=8192")).await;
    assert_eq!(connection.configuration().heartbeat(), interval);
    assert_eq!(connection.configuration().frame_max(), 8192);
    let mut events = connection.events_listener();
    let channel = connection.create_channel().await.expect("a channel");
    // lapin gives up when nothing has come for two intervals, so an event is a failure here; one
    // of blocking would be heard the same way.
    let idle = Duration::from_millis(3200) * interval.into();
    while let Ok(event) = timeout(idle, events.next()).await {
        assert!(matches!(event, Some(Event::Connected)), "{event:?}");
    }
    declare_exclusive(&channel).await;
    connection
        .close(200, "bye".into())
        .await
        .expect("a clean close");
}
