//! The program of `docs/clients.md`: one message is published with a confirm, received and acknowledged.

use futures_lite::StreamExt;
use lapin::{
    BasicProperties, Confirmation, Connection, ConnectionProperties, options::*, types::FieldTable,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("AMQP_URL")
        .unwrap_or_else(|_| "amqp://guest:guest@localhost:5672/%2F".into());
    let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let (durable, no_arguments) = (QueueDeclareOptions::durable(), FieldTable::default());
    channel
        .queue_declare("hello".into(), durable, no_arguments)
        .await?;

    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    let mandatory = BasicPublishOptions {
        mandatory: true,
        ..Default::default()
    };
    let persistent = BasicProperties::default().with_delivery_mode(2);
    let confirm = channel
        .basic_publish(
            "".into(),
            "hello".into(),
            mandatory,
            b"Hello World!",
            persistent,
        )
        .await?
        .await?; // now the message is safe, or it came back
    if confirm != Confirmation::Ack(None) {
        return Err("the message was refused".into());
    }

    channel.basic_qos(10, BasicQosOptions::default()).await?;
    let mut deliveries = channel
        .basic_consume(
            "hello".into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await?;
    let delivery = deliveries.next().await.ok_or("the consumer has ended")??;
    println!("received: {}", String::from_utf8_lossy(&delivery.data));
    delivery.ack(BasicAckOptions::default()).await?;
    connection.close(200, "bye".into()).await?;
    Ok(())
}
