//! Topics: patterns over routing keys of dotted words. `*` stands for one word, `#` for any number.

use futures_lite::StreamExt;
use lapin::{
    BasicProperties, Connection, ConnectionProperties, Consumer, ExchangeKind, options::*,
    types::FieldTable,
};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const EXCHANGE: &str = "animals";

/// A consumer of a new queue that is bound with each of the patterns.
async fn subscribe(connection: &Connection, patterns: &[&str]) -> Result<Consumer> {
    let channel = connection.create_channel().await?;
    let queue = channel
        .queue_declare(
            "".into(),
            QueueDeclareOptions::exclusive(),
            FieldTable::default(),
        )
        .await?;
    for pattern in patterns {
        channel
            .queue_bind(
                queue.name().clone(),
                EXCHANGE.into(),
                (*pattern).into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            )
            .await?;
    }
    let consumer = channel
        .basic_consume(
            queue.name().clone(),
            "".into(),
            BasicConsumeOptions {
                no_ack: true,
                ..Default::default()
            },
            FieldTable::default(),
        )
        .await?;
    Ok(consumer)
}

/// Checks that the subscriber gets these routing keys, in this order.
async fn expect(name: &str, subscriber: &mut Consumer, keys: &[&str]) -> Result<()> {
    for key in keys {
        let message = subscriber
            .next()
            .await
            .ok_or("the subscription has ended")??;
        println!("{name}: {}", message.routing_key);
        if message.routing_key.as_str() != *key {
            return Err(format!("{name} expected {key}").into());
        }
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let url = std::env::var("AMQP_URL")
        .unwrap_or_else(|_| "amqp://guest:guest@localhost:5672/%2f".into());
    let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel
        .exchange_declare(
            EXCHANGE.into(),
            ExchangeKind::Topic,
            ExchangeDeclareOptions::default(),
            FieldTable::default(),
        )
        .await?;

    // Routing keys here are <speed>.<colour>.<species>.
    let mut orange = subscribe(&connection, &["*.orange.*"]).await?;
    let mut rabbits_and_lazy = subscribe(&connection, &["*.*.rabbit", "lazy.#"]).await?;
    for key in [
        "quick.orange.rabbit",
        "lazy.orange.elephant",
        "quick.brown.fox",
        "lazy.hare",
    ] {
        channel
            .basic_publish(
                EXCHANGE.into(),
                key.into(),
                BasicPublishOptions::default(),
                b"",
                BasicProperties::default(),
            )
            .await?;
    }

    // A message reaches a queue once, however many of its bindings match.
    let both = ["quick.orange.rabbit", "lazy.orange.elephant"];
    expect("orange", &mut orange, &both).await?;
    expect("rabbits and lazy ones", &mut rabbits_and_lazy, &both).await?;
    expect(
        "rabbits and lazy ones",
        &mut rabbits_and_lazy,
        &["lazy.hare"],
    )
    .await?;
    connection.close(200, "bye".into()).await?;
    Ok(())
}
