//! Publish/subscribe: a fanout exchange gives every subscriber its own copy.

use futures_lite::StreamExt;
use lapin::{
    BasicProperties, Connection, ConnectionProperties, Consumer, ExchangeKind, options::*,
    types::FieldTable,
};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const EXCHANGE: &str = "logs";
const LINES: [&str; 3] = ["starting", "working", "done"];

/// Binds a queue of its own, named by the broker and gone with the connection, to the exchange.
async fn subscribe(connection: &Connection) -> Result<Consumer> {
    let channel = connection.create_channel().await?;
    let queue = channel
        .queue_declare(
            "".into(),
            QueueDeclareOptions::exclusive(),
            FieldTable::default(),
        )
        .await?;
    channel
        .queue_bind(
            queue.name().clone(),
            EXCHANGE.into(),
            "".into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await?;
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

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let url = std::env::var("AMQP_URL")
        .unwrap_or_else(|_| "amqp://guest:guest@localhost:5672/%2f".into());
    let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel
        .exchange_declare(
            EXCHANGE.into(),
            ExchangeKind::Fanout,
            ExchangeDeclareOptions::default(),
            FieldTable::default(),
        )
        .await?;

    let mut screen = subscribe(&connection).await?;
    let mut file = subscribe(&connection).await?;
    for line in LINES {
        channel
            .basic_publish(
                EXCHANGE.into(),
                "".into(), // a fanout exchange does not look at the routing key
                BasicPublishOptions::default(),
                line.as_bytes(),
                BasicProperties::default(),
            )
            .await?;
    }

    for (name, subscriber) in [("screen", &mut screen), ("file", &mut file)] {
        for _ in LINES {
            let line = subscriber
                .next()
                .await
                .ok_or("the subscription has ended")??;
            println!("{name}: {}", String::from_utf8_lossy(&line.data));
        }
    }
    connection.close(200, "bye".into()).await?;
    Ok(())
}
