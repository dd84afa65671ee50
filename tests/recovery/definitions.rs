//! Durable definitions come back, transient ones do not.

use lapin::{BasicProperties, ErrorKind, ExchangeKind, options::*, types::FieldTable};

use crate::{
    client::{bodies, declare, declare_durable, drain, open, publish_confirmed},
    mortal_broker,
};

#[tokio::test]
async fn durable_definitions_survive_kill_9_and_transient_ones_do_not() {
    let Some(mut broker) = mortal_broker() else {
        return;
    };
    let uri = broker.amqp_uri();
    let (_connection, channel) = open(&uri).await;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await
        .expect("confirm mode");
    declare_durable(&channel, "kept").await;
    declare(
        &channel,
        "lost",
        QueueDeclareOptions::default(),
        FieldTable::default(),
    )
    .await;
    for (exchange, durable) in [("kept.topic", true), ("lost.topic", false)] {
        let options = ExchangeDeclareOptions {
            durable,
            ..Default::default()
        };
        let (kind, none) = (ExchangeKind::Topic, FieldTable::default());
        channel
            .exchange_declare(exchange.into(), kind, options, none)
            .await
            .expect("an exchange");
        let (options, none) = (QueueBindOptions::default(), FieldTable::default());
        let bound = channel.queue_bind("kept".into(), exchange.into(), "a.#".into(), options, none);
        bound.await.expect("a binding");
    }
    let transient = channel.basic_publish(
        "".into(),
        "kept".into(),
        BasicPublishOptions::default(),
        b"transient",
        BasicProperties::default().with_delivery_mode(1),
    );
    transient
        .await
        .expect("to publish")
        .await
        .expect("a confirm");
    publish_confirmed(&channel, "kept.topic", "a.b", b"persistent").await;
    broker.kill();
    broker.start_again();

    let (connection, channel) = open(&uri).await;
    assert_eq!(bodies(&drain(&channel, "kept").await), ["persistent"]);
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await
        .expect("confirm mode");
    let returned = publish_confirmed(&channel, "kept.topic", "a.c", b"again").await;
    assert!(returned.is_none(), "the binding is gone");
    let passive = QueueDeclareOptions::default().passive();
    let lost = channel
        .queue_declare("lost".into(), passive, FieldTable::default())
        .await;
    assert_eq!(closed_with(&lost.expect_err("a transient queue")), 404);
    let channel = connection.create_channel().await.expect("a channel");
    let passive = ExchangeDeclareOptions {
        passive: true,
        ..Default::default()
    };
    let (kind, none) = (ExchangeKind::Topic, FieldTable::default());
    let lost = channel
        .exchange_declare("lost.topic".into(), kind, passive, none)
        .await;
    assert_eq!(closed_with(&lost.expect_err("a transient exchange")), 404);
}

/// The code with which the broker closed the channel.
fn closed_with(error: &lapin::Error) -> u16 {
    match error.kind() {
        ErrorKind::ProtocolError(e) => e.get_id(),
        other => panic!("not closed by the broker: {other:?}"),
    }
}
