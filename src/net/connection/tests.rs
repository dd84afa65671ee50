//! Rules of the task between socket and state machine, one poll at a time.

use amqp_codec::{FieldTable, Properties};
use tokio::net::TcpListener;

use super::*;
use crate::protocol::connection::tests::{Scene, fill_with_stale_deliveries, message, publish};

/// A task for this machine, and the client's side of its socket.
async fn driver(machine: Connection) -> (Driver<TcpStream>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await;
    let (stream, _) = listener.accept().await.unwrap();
    let clock = Clock::start();
    let driver = Driver {
        stream,
        machine,
        clock,
        rest: Vec::new(),
        unparsed: false,
        output: Output::default(),
        held: None,
        timer: Box::pin(sleep_until(Instant::now())),
        timer_at: clock.now(),
        unflushed: false,
        inquiry: None,
        end: None,
    };
    (driver, client.unwrap())
}

#[tokio::test]
async fn consumers_that_were_passed_over_are_asked_again_when_there_is_nothing_to_write() {
    let mut scene = Scene::new();
    let queue = scene.queue("living", FieldTable::default());
    scene.consume("living");
    fill_with_stale_deliveries(scene.machine.outbox());
    publish(&queue, message(Properties::default(), b"passed over"), 0);
    assert_eq!(queue.counts().ready, 1);
    let (mut driver, _client) = driver(scene.machine).await;
    let polled = poll_fn(|cx| Poll::Ready(driver.poll(cx))).await;
    assert!(polled.is_pending());
    assert_eq!(queue.counts().ready, 0);
}

/// What becomes of a client of whom nothing was read for very much longer than two heartbeats, at the next look.
async fn after_a_standstill(send: &[u8]) -> Poll<()> {
    let scene = Scene::with(|settings| settings.heartbeat = 1);
    let (mut driver, mut client) = driver(scene.machine).await;
    client.write_all(send).await.unwrap();
    if !send.is_empty() {
        driver.stream.peek(&mut [0]).await.unwrap();
    }
    poll_fn(|cx| Poll::Ready(driver.poll(cx))).await
}

#[tokio::test]
async fn a_heartbeat_that_waits_in_the_socket_after_a_standstill_counts() {
    let mut heartbeat = Vec::new();
    encode::heartbeat(&mut heartbeat);
    assert!(after_a_standstill(&heartbeat).await.is_pending());
    assert!(after_a_standstill(b"").await.is_ready(), "a silent one");
}
