//! Hello world: one message through one queue.
//!
//! `cargo run --example hello`, with the broker's URI in `AMQP_URL` if it is not on this machine.

use lapin::{BasicProperties, Connection, ConnectionProperties, options::*, types::FieldTable};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let url = std::env::var("AMQP_URL")
        .unwrap_or_else(|_| "amqp://guest:guest@localhost:5672/%2f".into());
    let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;

    // Declaring a queue that is already there with the same settings changes nothing, so sender
    // and receiver both declare it and it does not matter who comes first.
    channel
        .queue_declare(
            "hello".into(),
            QueueDeclareOptions::durable(),
            FieldTable::default(),
        )
        .await?;

    // The default exchange, whose name is empty, routes to the queue named by the routing key.
    channel
        .basic_publish(
            "".into(),
            "hello".into(),
            BasicPublishOptions::default(),
            b"Hello World!",
            BasicProperties::default(),
        )
        .await?;
    println!("sent 'Hello World!'");

    let message = channel
        .basic_get("hello".into(), BasicGetOptions { no_ack: true })
        .await?
        .ok_or("the queue is empty")?;
    println!("received '{}'", String::from_utf8_lossy(&message.data));

    connection.close(200, "bye".into()).await?;
    Ok(())
}
