//! Routing: a direct exchange passes a message to the queues bound with exactly its routing key.
//!
//! One subscriber takes errors only, the other takes every severity.

use futures_lite::StreamExt;
use lapin::{
    BasicProperties, Connection, ConnectionProperties, Consumer, ExchangeKind, options::*,
    types::FieldTable,
};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const EXCHANGE: &str = "direct_logs";

/// A consumer of a new queue that is bound once for each severity.
async fn subscribe(connection: &Connection, severities: &[&str]) -> Result<Consumer> {
    let channel = connection.create_channel().await?;
    let queue = channel
        .queue_declare(
            "".into(),
            QueueDeclareOptions::exclusive(),
            FieldTable::default(),
        )
        .await?;
    for severity in severities {
        channel
            .queue_bind(
                queue.name().clone(),
                EXCHANGE.into(),
                (*severity).into(),
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

/// Prints the next `count` messages of a subscriber.
async fn show(name: &str, subscriber: &mut Consumer, count: usize) -> Result<()> {
    for _ in 0..count {
        let line = subscriber
            .next()
            .await
            .ok_or("the subscription has ended")??;
        println!(
            "{name}: [{}] {}",
            line.routing_key,
            String::from_utf8_lossy(&line.data)
        );
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
            ExchangeKind::Direct,
            ExchangeDeclareOptions::default(),
            FieldTable::default(),
        )
        .await?;

    let mut pager = subscribe(&connection, &["error"]).await?;
    let mut console = subscribe(&connection, &["info", "warning", "error"]).await?;
    for (severity, line) in [
        ("info", "hello"),
        ("warning", "careful"),
        ("error", "it broke"),
    ] {
        channel
            .basic_publish(
                EXCHANGE.into(),
                severity.into(),
                BasicPublishOptions::default(),
                line.as_bytes(),
                BasicProperties::default(),
            )
            .await?;
    }

    show("console", &mut console, 3).await?;
    show("pager", &mut pager, 1).await?;
    connection.close(200, "bye".into()).await?;
    Ok(())
}
