//! A consumer: takes deliveries out of large reads in place, and settles them with one write per read.

use std::sync::atomic::Ordering::Relaxed;

use amqp_codec::protocol::basic;
use amqp_codec::{AMQPClass, Frame, FrameKind, Method, encode, parse_content_header, parse_method};

use super::arguments::PerfArgs;
use super::batch::stamp_of;
use super::connection::{CHANNEL, Connection, control, short};
use super::counters::Counters;
use super::latency::Latencies;
use super::target::Target;
use crate::error::Error;

/// Bytes of one read.
const READ_BUFFER: usize = 512 * 1024;

/// Class and method of basic.deliver, as the first bytes of its payload.
const DELIVER: &[u8] = &[0, 60, 0, 60];

/// What is known of the delivery under way, and of those to settle.
struct Deliveries {
    ack_batch: u64,
    delivery_tag: u64,
    unsettled: u64,
    /// Bytes of body still to come.
    body_left: u64,
    /// Whether the next body frame is the first.
    at_stamp: bool,
    delivered: u64,
    measuring: bool,
    now: u64,
    latencies: Latencies,
}

/// Runs consumer `index` until the run stops; gives the times from publish to delivery.
pub async fn run(
    arguments: &PerfArgs,
    target: &Target,
    counters: &Counters,
    index: usize,
) -> Result<Latencies, Error> {
    let mut connection = Connection::open(target, READ_BUFFER).await?;
    subscribe(&mut connection, arguments, index).await?;
    let mut deliveries = Deliveries {
        ack_batch: arguments.ack_batch,
        delivery_tag: 0,
        unsettled: 0,
        body_left: 0,
        at_stamp: false,
        delivered: 0,
        measuring: false,
        now: 0,
        latencies: Latencies::new()?,
    };
    while !counters.stopped() {
        deliveries.now = counters.now();
        // messages of an earlier run carry the time of another clock
        deliveries.measuring = counters.measuring() && arguments.publishers > 0;
        let Connection {
            input,
            output,
            frame_max,
            ..
        } = &mut connection;
        while let Some(frame) = input.next(*frame_max)? {
            deliveries.take(&frame, output)?;
        }
        let delivered = std::mem::take(&mut deliveries.delivered);
        if delivered > 0 {
            counters.delivered.fetch_add(delivered, Relaxed);
        }
        connection.flush()?;
        connection.step_soon().await?;
    }
    connection.close().await;
    Ok(deliveries.latencies)
}

/// Starts to consume from the queues of consumer `index`.
pub async fn subscribe(
    connection: &mut Connection,
    arguments: &PerfArgs,
    index: usize,
) -> Result<(), Error> {
    let qos = basic::AMQPMethod::Qos(basic::Qos {
        prefetch_count: arguments.prefetch,
        global: false,
    });
    connection.ask(CHANNEL, &AMQPClass::Basic(qos)).await?;
    for queue in arguments.share(index, arguments.consumers) {
        let consume = basic::AMQPMethod::Consume(basic::Consume {
            queue: short(&arguments.queue(queue))?,
            no_ack: arguments.ack_batch == 0,
            // the answer could hide between the first deliveries
            nowait: true,
            consumer_tag: short(&format!("c{queue}"))?,
            ..Default::default()
        });
        encode::method(&mut connection.output, CHANNEL, &AMQPClass::Basic(consume))?;
    }
    connection.flush()
}

impl Deliveries {
    #[inline]
    fn take(&mut self, frame: &Frame<'_>, output: &mut Vec<u8>) -> Result<(), Error> {
        match frame.kind {
            FrameKind::Method if frame.payload.starts_with(DELIVER) => {
                if self.ack_batch > 0
                    && let Method::Deliver(deliver) = parse_method(frame.payload)?
                {
                    self.delivery_tag = deliver.delivery_tag;
                }
            }
            FrameKind::Method => self.control(frame)?,
            FrameKind::Header => {
                self.body_left = parse_content_header(frame.payload)?.body_size;
                self.at_stamp = true;
                if self.body_left == 0 {
                    self.complete(output);
                }
            }
            FrameKind::Body => self.body(frame.payload, output),
            FrameKind::Heartbeat => {}
        }
        Ok(())
    }

    #[cold]
    fn control(&self, frame: &Frame<'_>) -> Result<(), Error> {
        match control(frame)? {
            Some(AMQPClass::Basic(basic::AMQPMethod::Cancel(_))) => {
                Err(Error::PerfRefused("the broker cancelled a consumer".into()))
            }
            _ => Ok(()),
        }
    }

    #[inline]
    fn body(&mut self, part: &[u8], output: &mut Vec<u8>) {
        if std::mem::take(&mut self.at_stamp)
            && self.measuring
            && let Some(sent_at) = stamp_of(part)
        {
            self.latencies.record(self.now.saturating_sub(sent_at));
        }
        self.body_left = self.body_left.saturating_sub(part.len() as u64);
        if self.body_left == 0 {
            self.complete(output);
        }
    }

    #[inline]
    fn complete(&mut self, output: &mut Vec<u8>) {
        self.delivered += 1;
        if self.ack_batch == 0 {
            return;
        }
        self.unsettled += 1;
        if self.unsettled >= self.ack_batch {
            encode::ack(output, CHANNEL, self.delivery_tag, self.ack_batch > 1);
            self.unsettled = 0;
        }
    }
}
