//! A publisher: sends as fast as the rate, the confirm window, the consumers and the socket allow.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use amqp_codec::protocol::confirm;
use amqp_codec::{AMQPClass, FrameKind, Method, parse_method};
use tokio::time::timeout;

use super::arguments::PerfArgs;
use super::batch::Messages;
use super::confirm_window::ConfirmWindow;
use super::connection::{CHANNEL, Connection, STOP_POLL, control};
use super::counters::Counters;
use super::latency::Latencies;
use super::pacing::Pacing;
use super::target::Target;
use crate::error::Error;

/// Bytes encoded ahead of the socket, at most; a larger message goes alone.
const BATCH_BYTES: usize = 64 * 1024;

/// How long a publisher sleeps when consumers are too far behind: no socket would wake it.
const IN_FLIGHT_POLL: Duration = Duration::from_micros(500);

/// How long a publisher with a rate sleeps at once, with confirms: the error of their latency.
const CONFIRM_POLL: Duration = Duration::from_micros(100);

/// How long confirms may be awaited after the last publish.
const LAST_CONFIRMS: Duration = Duration::from_secs(10);

struct Publisher<'a> {
    arguments: &'a PerfArgs,
    counters: &'a Counters,
    connection: Connection,
    messages: Messages,
    batch: usize,
    pacing: Pacing,
    /// Messages left to send, when their number is given.
    left: u64,
    confirms: Option<ConfirmWindow>,
    latencies: Latencies,
}

/// Runs publisher `index` until the run stops; gives the times from publish to confirm.
pub async fn run(
    arguments: &PerfArgs,
    target: &Target,
    counters: &Counters,
    index: usize,
) -> Result<Latencies, Error> {
    let mut connection = Connection::open(target, 64 * 1024).await?;
    let confirms =
        (arguments.confirm_window > 0).then(|| ConfirmWindow::new(arguments.confirm_window));
    if confirms.is_some() {
        let select = confirm::AMQPMethod::Select(confirm::Select::default());
        connection.ask(CHANNEL, &AMQPClass::Confirm(select)).await?;
    }
    let messages = Messages::new(arguments, index, connection.frame_max);
    let mut publisher = Publisher {
        batch: (BATCH_BYTES / messages.size()).max(1),
        pacing: Pacing::new(arguments.rate as f64 / arguments.publishers as f64),
        left: part(
            arguments.messages.unwrap_or(u64::MAX),
            arguments.publishers,
            index,
        ),
        latencies: Latencies::new()?,
        arguments,
        counters,
        connection,
        messages,
        confirms,
    };
    publisher.publish().await?;
    publisher.finish().await
}

/// One publisher's part of a number of messages.
fn part(messages: u64, publishers: usize, index: usize) -> u64 {
    if messages == u64::MAX {
        return messages;
    }
    let publishers = publishers as u64;
    messages / publishers + u64::from((index as u64) < messages % publishers)
}

impl Publisher<'_> {
    async fn publish(&mut self) -> Result<(), Error> {
        let start = self.counters.now();
        while !self.counters.stopped() && self.left > 0 {
            let elapsed = Duration::from_nanos(self.counters.now() - start);
            if !self.connection.output.is_empty() || self.window() == 0 {
                // a broker that blocks publishers must not keep the run from ending
                self.connection.step_soon().await?;
            } else if self.consumers_room() == 0 {
                std::thread::sleep(IN_FLIGHT_POLL);
            } else {
                match self.pacing.due(elapsed) {
                    0 => self.wait_for_rate(elapsed),
                    due => self.send(due)?,
                }
            }
            // lets the runtime look at the socket, which nothing above may have waited for
            tokio::task::yield_now().await;
            self.connection.fill()?;
            self.take_frames()?;
        }
        Ok(())
    }

    /// Encodes as many as are allowed, at most a batch, and hands them to the socket.
    fn send(&mut self, due: usize) -> Result<(), Error> {
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        let count = due
            .min(self.batch)
            .min(self.window())
            .min(self.consumers_room())
            .min(left);
        let now = self.counters.now();
        for _ in 0..count {
            self.messages.append(&mut self.connection.output, now);
            if let Some(confirms) = &mut self.confirms {
                confirms.publish(now);
            }
        }
        self.pacing.sent(count);
        self.left -= count as u64;
        self.counters.published.fetch_add(count as u64, Relaxed);
        self.connection.flush()
    }

    /// Sleeps until the next message is due. A timer of the runtime is exact to a millisecond only, too coarse for a
    /// steady rate. With confirms the sleep is short, so that they are seen when they come.
    fn wait_for_rate(&self, elapsed: Duration) {
        let longest = if self.confirms.is_some() {
            CONFIRM_POLL
        } else {
            STOP_POLL
        };
        std::thread::sleep(self.pacing.wait(elapsed).min(longest));
    }

    fn window(&self) -> usize {
        self.confirms
            .as_ref()
            .map_or(usize::MAX, ConfirmWindow::room)
    }

    /// How many messages the consumers' backlog has room for.
    fn consumers_room(&self) -> usize {
        let limit = self.arguments.max_in_flight;
        if limit == 0 || self.arguments.consumers == 0 {
            return usize::MAX;
        }
        let copies = self.arguments.copies();
        let room = limit.saturating_sub(self.counters.in_flight(copies));
        usize::try_from(room.div_ceil(copies)).unwrap_or(usize::MAX)
    }

    fn take_frames(&mut self) -> Result<(), Error> {
        let now = self.counters.now();
        let (mut confirmed, mut refused) = (0, 0);
        while let Some(frame) = self.connection.input.next(self.connection.frame_max)? {
            if frame.kind != FrameKind::Method {
                continue;
            }
            let (tag, multiple, count) = match parse_method(frame.payload)? {
                Method::Ack(ack) => (ack.delivery_tag, ack.multiple, &mut confirmed),
                Method::Nack(nack) => (nack.delivery_tag, nack.multiple, &mut refused),
                _ => {
                    control(&frame)?;
                    continue;
                }
            };
            let Some(confirms) = &mut self.confirms else {
                continue;
            };
            let measuring = self.counters.measuring();
            confirms.settle(tag, multiple, |sent_at| {
                *count += 1;
                if measuring {
                    self.latencies.record(now.saturating_sub(sent_at));
                }
            });
        }
        if confirmed + refused > 0 {
            self.counters.confirmed.fetch_add(confirmed, Relaxed);
            self.counters.refused.fetch_add(refused, Relaxed);
        }
        Ok(())
    }

    /// Sends the rest, waits for the last confirms, keeps the connection until the run stops, and closes it.
    async fn finish(mut self) -> Result<Latencies, Error> {
        let settled = timeout(LAST_CONFIRMS, self.settle());
        if let Ok(result) = settled.await {
            result?;
        }
        while !self.counters.stopped() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.connection.close().await;
        Ok(self.latencies)
    }

    async fn settle(&mut self) -> Result<(), Error> {
        let unsettled = |confirms: &Option<ConfirmWindow>| {
            confirms.as_ref().is_some_and(|window| !window.is_empty())
        };
        while !self.connection.output.is_empty() || unsettled(&self.confirms) {
            self.connection.step().await?;
            self.take_frames()?;
        }
        Ok(())
    }
}
