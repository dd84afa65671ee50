//! The load of a soak. Every client is a loop that begins anew when the broker was ended under it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::Serialize;
use tokio::time::sleep;

use super::PATIENCE;
use super::client::{Client, Event, Queue};
use crate::error::Error;
use crate::perf::runtime;
use crate::perf::target::Target;

/// Time between two attempts to connect.
const AGAIN: Duration = Duration::from_millis(100);

/// The queue whose messages are checked one by one.
const CHECKED: &str = "soak-checked";
/// Publishes of it that wait for their confirms.
const WINDOW: u64 = 50;
/// Messages of it that may wait.
const BACKLOG: u64 = 2_000;

/// Publishes of a queue's life.
const FEW: u64 = 20;

/// What was done so far.
#[derive(Debug, Default, Clone, Copy, Serialize)]
pub(super) struct Counts {
    /// Publishes of all clients.
    pub(super) published: u64,
    /// Confirms.
    pub(super) confirmed: u64,
    /// Deliveries.
    pub(super) delivered: u64,
    /// Confirmed messages that never came.
    pub(super) lost: u64,
    /// Connections that were opened.
    pub(super) connections: u64,
    /// Queues that were declared.
    pub(super) queues: u64,
}

/// The clients, and what they have found.
pub(super) struct Load {
    target: Target,
    stopped: AtomicBool,
    counts: Mutex<Counts>,
    failures: Mutex<Vec<String>>,
    /// Numbers of the checked queue: below the first all are confirmed, below the second all have come.
    confirmed: AtomicU64,
    received: AtomicU64,
}

impl Load {
    pub(super) fn new(target: Target) -> Self {
        Self {
            target,
            stopped: AtomicBool::new(false),
            counts: Mutex::default(),
            failures: Mutex::default(),
            confirmed: AtomicU64::new(0),
            received: AtomicU64::new(0),
        }
    }

    /// Starts all clients, a thread each.
    pub(super) fn spawn_all<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>) {
        scope.spawn(|| self.again_and_again(async || self.publish_checked().await));
        scope.spawn(|| self.again_and_again(async || self.receive_checked().await));
        scope.spawn(|| self.again_and_again(async || self.large().await));
        scope.spawn(|| self.again_and_again(async || self.slow_consumer().await));
        scope.spawn(|| self.again_and_again(async || self.flood_the_slow_one().await));
        scope.spawn(|| self.again_and_again(async || self.connection_churn().await));
        scope.spawn(|| self.again_and_again(async || self.queue_churn().await));
    }

    /// Ends all clients soon.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Relaxed);
    }

    pub(super) fn counts(&self) -> Counts {
        *self.counts.lock()
    }

    /// What no restart explains.
    pub(super) fn failures(&self) -> Vec<String> {
        self.failures.lock().clone()
    }

    fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.counts.lock());
    }

    fn goes_on(&self) -> bool {
        !self.stopped.load(Relaxed)
    }

    async fn client(&self) -> Result<Client, Error> {
        let client = Client::open(&self.target).await?;
        self.count(|counts| counts.connections += 1);
        Ok(client)
    }

    async fn declare(&self, client: &mut Client, queue: Queue<'_>) -> Result<(), Error> {
        client.declare(queue).await?;
        self.count(|counts| counts.queues += 1);
        Ok(())
    }

    /// Runs a client anew whenever it loses its connection.
    fn again_and_again(&self, work: impl AsyncFn() -> Result<(), Error>) {
        let runtime = match runtime() {
            Ok(runtime) => runtime,
            Err(error) => return self.failures.lock().push(error.to_string()),
        };
        runtime.block_on(async {
            let mut well = Instant::now();
            while self.goes_on() {
                let began = Instant::now();
                if let Err(error) = work().await {
                    if began.elapsed() > AGAIN * 5 {
                        well = Instant::now();
                    }
                    let lasts = well.elapsed() > PATIENCE;
                    if !of_a_restart(&error) || lasts {
                        self.failures.lock().push(error.to_string());
                        well = Instant::now();
                    }
                    sleep(AGAIN).await;
                }
            }
        });
    }

    /// Numbers in order, each until it is confirmed.
    async fn publish_checked(&self) -> Result<(), Error> {
        let mut client = self.client().await?;
        let queue = Queue {
            name: CHECKED,
            durable: true,
            ..Queue::default()
        };
        self.declare(&mut client, queue).await?;
        client.select_confirms().await?;
        let first = self.confirmed.load(Relaxed);
        let mut next = first;
        while self.goes_on() {
            let confirmed = self.confirmed.load(Relaxed);
            let waiting = next.saturating_sub(self.received.load(Relaxed));
            if next < confirmed + WINDOW && waiting < BACKLOG {
                client.publish(CHECKED, next, 200 + (next % 40) as usize * 50, true)?;
                next += 1;
                self.count(|counts| counts.published += 1);
                continue;
            }
            if let Event::Confirmed(tag) = client.next().await? {
                // With `multiple` or not: confirms of one queue come in their order.
                let now = (first + tag).max(confirmed);
                self.count(|counts| counts.confirmed += now - confirmed);
                self.confirmed.store(now, Relaxed);
            }
        }
        client.close().await;
        Ok(())
    }

    /// Each number at least once, and none before all below it.
    async fn receive_checked(&self) -> Result<(), Error> {
        let mut client = self.client().await?;
        let queue = Queue {
            name: CHECKED,
            durable: true,
            ..Queue::default()
        };
        self.declare(&mut client, queue).await?;
        client.consume(CHECKED, Some(100)).await?;
        while self.goes_on() || self.received.load(Relaxed) < self.confirmed.load(Relaxed) {
            let event = client.next().await?;
            let Event::Delivered { tag, number } = event else {
                if !self.goes_on() {
                    break;
                }
                continue;
            };
            let expected = self.received.load(Relaxed);
            self.count(|counts| {
                counts.delivered += 1;
                counts.lost += number.saturating_sub(expected);
            });
            self.received.store(expected.max(number + 1), Relaxed);
            client.ack(tag)?;
        }
        client.close().await;
        Ok(())
    }

    /// A message of some mebibytes there and back, a few times a second.
    async fn large(&self) -> Result<(), Error> {
        const NAME: &str = "soak-large";
        let mut client = self.client().await?;
        let queue = Queue {
            name: NAME,
            durable: true,
            ..Queue::default()
        };
        self.declare(&mut client, queue).await?;
        client.consume(NAME, Some(1)).await?;
        let mut number = 0;
        while self.goes_on() {
            client.publish(
                NAME,
                number,
                (1 + number as usize % 4) << 20,
                number.is_multiple_of(2),
            )?;
            self.count(|counts| counts.published += 1);
            let came = self.wait_for_delivery(&mut client).await?;
            number += 1;
            if came {
                sleep(Duration::from_millis(200)).await;
            }
        }
        client.close().await;
        Ok(())
    }

    /// Waits for a delivery and acknowledges it.
    async fn wait_for_delivery(&self, client: &mut Client) -> Result<bool, Error> {
        while self.goes_on() {
            if let Event::Delivered { tag, .. } = client.next().await? {
                self.count(|counts| counts.delivered += 1);
                client.ack(tag)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes 20 messages a second of a queue that gets more.
    async fn slow_consumer(&self) -> Result<(), Error> {
        let mut client = self.client().await?;
        self.declare(&mut client, SLOW).await?;
        client.consume(SLOW.name, Some(10)).await?;
        while self.goes_on() {
            self.wait_for_delivery(&mut client).await?;
            sleep(Duration::from_millis(50)).await;
        }
        client.close().await;
        Ok(())
    }

    /// The queue of the slow consumer is full most of the time: the oldest messages give way.
    async fn flood_the_slow_one(&self) -> Result<(), Error> {
        let mut client = self.client().await?;
        self.declare(&mut client, SLOW).await?;
        while self.goes_on() {
            for number in 0..FEW {
                client.publish(SLOW.name, number, 1024, number.is_multiple_of(2))?;
            }
            self.count(|counts| counts.published += FEW);
            client.next().await?;
        }
        client.close().await;
        Ok(())
    }

    /// Connections that declare something of their own, and leave: politely or not.
    async fn connection_churn(&self) -> Result<(), Error> {
        let mut number = 0_u64;
        while self.goes_on() {
            let mut client = self.client().await?;
            let name = format!("soak-exclusive-{number}");
            let queue = Queue {
                name: &name,
                exclusive: true,
                ..Queue::default()
            };
            self.declare(&mut client, queue).await?;
            client.publish(&name, number, 100, false)?;
            self.count(|counts| counts.published += 1);
            if number.is_multiple_of(2) {
                client.close().await;
            }
            number += 1;
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Durable queues that are filled, read by half and deleted.
    async fn queue_churn(&self) -> Result<(), Error> {
        let mut number = 0_u64;
        while self.goes_on() {
            let mut client = self.client().await?;
            let name = format!("soak-queue-{}", number % 50);
            let queue = Queue {
                name: &name,
                durable: true,
                ..Queue::default()
            };
            self.declare(&mut client, queue).await?;
            for number in 0..FEW {
                client.publish(&name, number, 500, true)?;
            }
            self.count(|counts| counts.published += FEW);
            client.consume(&name, Some(5)).await?;
            self.wait_for_delivery(&mut client).await?;
            client.close().await;
            let mut client = self.client().await?;
            client.delete(&name).await?;
            client.close().await;
            number += 1;
            thread::yield_now();
        }
        Ok(())
    }
}

const SLOW: Queue<'_> = Queue {
    name: "soak-slow",
    durable: true,
    exclusive: false,
    max_length: Some(2_000),
};

/// Whether the end of the broker explains it.
fn of_a_restart(error: &Error) -> bool {
    match error {
        Error::PerfIo { .. } => true,
        Error::PerfRefused(text) => text.starts_with("CONNECTION_FORCED"),
        _ => false,
    }
}
