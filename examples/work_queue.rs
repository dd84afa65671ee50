//! Work queue: tasks are shared out between workers, and none is lost when a worker dies.
//!
//! A task's dots stand for the work in it. Two workers take one task at a time (prefetch 1) and
//! acknowledge it when it is done; what is not acknowledged would go to another worker.

use std::time::Duration;

use futures_lite::StreamExt;
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties, options::*, types::FieldTable,
};
use tokio::sync::mpsc;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const QUEUE: &str = "task_queue";
const TASKS: [&str; 6] = [
    "first.", "second..", "third...", "fourth.", "fifth..", "sixth...",
];

/// Takes tasks until its channel is closed and reports each one that is done.
async fn work(name: &str, channel: Channel, done: mpsc::Sender<()>) -> lapin::Result<()> {
    // At most one unacknowledged task at a time: a busy worker gets no second one.
    channel.basic_qos(1, BasicQosOptions::default()).await?;
    let mut tasks = channel
        .basic_consume(
            QUEUE.into(),
            name.into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await?;
    while let Some(task) = tasks.next().await {
        let task = task?;
        let text = String::from_utf8_lossy(&task.data);
        let effort = text.matches('.').count() as u64;
        tokio::time::sleep(Duration::from_millis(20 * effort)).await;
        println!("{name} did '{text}'");
        task.ack(BasicAckOptions::default()).await?;
        if done.send(()).await.is_err() {
            break;
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

    // A durable queue and persistent messages (delivery mode 2) survive a restart of the broker.
    channel
        .queue_declare(
            QUEUE.into(),
            QueueDeclareOptions::durable(),
            FieldTable::default(),
        )
        .await?;
    let (done, mut finished) = mpsc::channel(TASKS.len());
    for name in ["worker-1", "worker-2"] {
        let channel = connection.create_channel().await?;
        tokio::spawn(work(name, channel, done.clone()));
    }
    for task in TASKS {
        channel
            .basic_publish(
                "".into(),
                QUEUE.into(),
                BasicPublishOptions::default(),
                task.as_bytes(),
                BasicProperties::default().with_delivery_mode(2),
            )
            .await?;
    }

    for _ in TASKS {
        finished.recv().await.ok_or("the workers have gone")?;
    }
    connection.close(200, "bye".into()).await?;
    Ok(())
}
