//! Remote procedure call: a server computes Fibonacci numbers, a client waits for the answers.
//!
//! The client consumes from the pseudo-queue `amq.rabbitmq.reply-to`, so an answer goes straight
//! to its channel and no reply queue has to be declared.

use futures_lite::StreamExt;
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties, options::*, types::FieldTable,
};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const REQUESTS: &str = "rpc_queue";
const REPLIES: &str = "amq.rabbitmq.reply-to";

fn fibonacci(n: u64) -> u64 {
    (0..n).fold((0, 1), |(a, b), _| (b, a + b)).0
}

/// Answers requests until its channel is closed.
async fn serve(channel: Channel) -> lapin::Result<()> {
    channel.basic_qos(1, BasicQosOptions::default()).await?;
    let mut requests = channel
        .basic_consume(
            REQUESTS.into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await?;
    while let Some(request) = requests.next().await {
        let request = request?;
        let number = String::from_utf8_lossy(&request.data).parse().unwrap_or(0);
        let mut properties = BasicProperties::default();
        if let Some(id) = request.properties.correlation_id() {
            properties = properties.with_correlation_id(id.clone());
        }
        if let Some(reply_to) = request.properties.reply_to() {
            channel
                .basic_publish(
                    "".into(),
                    reply_to.clone(),
                    BasicPublishOptions::default(),
                    fibonacci(number).to_string().as_bytes(),
                    properties,
                )
                .await?;
        }
        request.ack(BasicAckOptions::default()).await?;
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
        .queue_declare(
            REQUESTS.into(),
            QueueDeclareOptions::default(),
            FieldTable::default(),
        )
        .await?;
    tokio::spawn(serve(connection.create_channel().await?));

    // Replies must be consumed before the first request is sent, and without acknowledgements.
    let mut replies = channel
        .basic_consume(
            REPLIES.into(),
            "".into(),
            BasicConsumeOptions {
                no_ack: true,
                ..Default::default()
            },
            FieldTable::default(),
        )
        .await?;
    for (number, expected) in [(10, "55"), (30, "832040")] {
        let id = format!("request-{number}");
        channel
            .basic_publish(
                "".into(),
                REQUESTS.into(),
                BasicPublishOptions::default(),
                number.to_string().as_bytes(),
                BasicProperties::default()
                    .with_reply_to(REPLIES.into())
                    .with_correlation_id(id.as_str().into()),
            )
            .await?;
        let reply = replies.next().await.ok_or("the connection has ended")??;
        let text = String::from_utf8_lossy(&reply.data);
        println!("fibonacci({number}) = {text}");
        let same_id = reply
            .properties
            .correlation_id()
            .as_ref()
            .is_some_and(|i| i.as_str() == id);
        if !same_id || text != expected {
            return Err(format!("expected {expected} for {id}").into());
        }
    }
    connection.close(200, "bye".into()).await?;
    Ok(())
}
