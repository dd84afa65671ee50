//! Publisher confirms: the broker says when a message is its own, and returns what no queue takes.
//!
//! For a persistent message and a durable queue the confirm means that the message is on disk.

use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, PublisherConfirm,
    options::*, types::FieldTable,
};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const QUEUE: &str = "confirms";
const MESSAGES: usize = 1000;

async fn publish(channel: &Channel, queue: &str, body: &str) -> lapin::Result<PublisherConfirm> {
    let mandatory = BasicPublishOptions {
        mandatory: true,
        ..Default::default()
    };
    let persistent = BasicProperties::default().with_delivery_mode(2);
    channel
        .basic_publish(
            "".into(),
            queue.into(),
            mandatory,
            body.as_bytes(),
            persistent,
        )
        .await
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let url = std::env::var("AMQP_URL")
        .unwrap_or_else(|_| "amqp://guest:guest@localhost:5672/%2f".into());
    let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel
        .queue_declare(
            QUEUE.into(),
            QueueDeclareOptions::durable(),
            FieldTable::default(),
        )
        .await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;

    // Publish a window of messages, then wait for their confirms: waiting after each message
    // would cost a round trip to the broker, and its disk, every time.
    let mut window = Vec::with_capacity(MESSAGES);
    for number in 0..MESSAGES {
        window.push(publish(&channel, QUEUE, &number.to_string()).await?);
    }
    for confirm in window {
        if confirm.await? != Confirmation::Ack(None) {
            return Err("a message was refused".into());
        }
    }
    println!("{MESSAGES} messages confirmed");

    // A mandatory message that no queue takes comes back first and is then confirmed: the broker
    // has done all it could.
    let returned = publish(&channel, "no such queue", "lost?").await?.await?;
    let returned = returned
        .take_message()
        .ok_or("the message was not returned")?;
    println!("returned: {} {}", returned.reply_code, returned.reply_text);

    channel
        .queue_delete(QUEUE.into(), QueueDeleteOptions::default())
        .await?;
    connection.close(200, "bye".into()).await?;
    Ok(())
}
