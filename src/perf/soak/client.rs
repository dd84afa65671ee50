//! A client of a soak: publishes numbered messages, and sees deliveries and confirms one by one.

use amqp_codec::protocol::{basic, confirm, queue};
use amqp_codec::{
    AMQPClass, AMQPValue, FieldTable, FrameKind, Method, Properties, Publish, encode,
    parse_content_header, parse_method,
};

use crate::error::Error;
use crate::perf::connection::{CHANNEL, Connection, control, short};
use crate::perf::target::Target;

/// Bytes of one read.
const READ_BUFFER: usize = 64 * 1024;

/// What the broker sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// A message, by the number that its body begins with.
    Delivered {
        /// By which it is acknowledged.
        tag: u64,
        /// Its number.
        number: u64,
    },
    /// All publishes up to this one, or it alone.
    Confirmed(u64),
    /// Nothing for a while.
    Silence,
}

/// A queue to declare.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Queue<'a> {
    pub(super) name: &'a str,
    pub(super) durable: bool,
    pub(super) exclusive: bool,
    /// `x-max-length`, if it has one.
    pub(super) max_length: Option<i32>,
}

/// A connection with its channel.
pub(super) struct Client {
    connection: Connection,
    /// The delivery under way.
    tag: u64,
    number: [u8; 8],
    seen: usize,
    left: u64,
}

impl Client {
    pub(super) async fn open(target: &Target) -> Result<Self, Error> {
        Ok(Self {
            connection: Connection::open(target, READ_BUFFER).await?,
            tag: 0,
            number: [0; 8],
            seen: 0,
            left: 0,
        })
    }

    pub(super) async fn declare(&mut self, it: Queue<'_>) -> Result<(), Error> {
        let mut arguments = FieldTable::default();
        if let Some(length) = it.max_length {
            arguments.insert("x-max-length".into(), AMQPValue::LongInt(length));
        }
        let declare = queue::AMQPMethod::Declare(queue::Declare {
            queue: short(it.name)?,
            durable: it.durable,
            exclusive: it.exclusive,
            auto_delete: !it.durable,
            arguments,
            ..Default::default()
        });
        self.connection
            .ask(CHANNEL, &AMQPClass::Queue(declare))
            .await
            .map(drop)
    }

    pub(super) async fn delete(&mut self, name: &str) -> Result<(), Error> {
        let delete = queue::AMQPMethod::Delete(queue::Delete {
            queue: short(name)?,
            ..Default::default()
        });
        self.connection
            .ask(CHANNEL, &AMQPClass::Queue(delete))
            .await
            .map(drop)
    }

    pub(super) async fn select_confirms(&mut self) -> Result<(), Error> {
        let select = confirm::AMQPMethod::Select(confirm::Select::default());
        self.connection
            .ask(CHANNEL, &AMQPClass::Confirm(select))
            .await
            .map(drop)
    }

    /// Begins to consume; without `prefetch` deliveries need no acknowledgement.
    pub(super) async fn consume(&mut self, name: &str, prefetch: Option<u16>) -> Result<(), Error> {
        let qos = basic::AMQPMethod::Qos(basic::Qos {
            prefetch_count: prefetch.unwrap_or(0),
            global: false,
        });
        self.connection.ask(CHANNEL, &AMQPClass::Basic(qos)).await?;
        let consume = basic::AMQPMethod::Consume(basic::Consume {
            queue: short(name)?,
            no_ack: prefetch.is_none(),
            // The answer could hide between the first deliveries.
            nowait: true,
            consumer_tag: short("soak")?,
            ..Default::default()
        });
        let output = &mut self.connection.output;
        encode::method(output, CHANNEL, &AMQPClass::Basic(consume))?;
        self.connection.flush()
    }

    /// Publishes a message of so many bytes, 8 at least.
    pub(super) fn publish(
        &mut self,
        queue: &str,
        number: u64,
        size: usize,
        persistent: bool,
    ) -> Result<(), Error> {
        let publish = Publish {
            exchange: "",
            routing_key: queue,
            mandatory: false,
            immediate: false,
        };
        let mut properties = Vec::new();
        Properties {
            delivery_mode: Some(if persistent { 2 } else { 1 }),
            ..Default::default()
        }
        .encode(&mut properties);
        let mut body = number.to_be_bytes().to_vec();
        body.resize(size.max(8), 0);
        let frame_max = self.connection.frame_max;
        let output = &mut self.connection.output;
        encode::publish(output, CHANNEL, &publish);
        encode::content(output, CHANNEL, frame_max, &properties, &body);
        self.connection.flush()
    }

    pub(super) fn ack(&mut self, tag: u64) -> Result<(), Error> {
        encode::ack(&mut self.connection.output, CHANNEL, tag, true);
        self.connection.flush()
    }

    /// The next thing that the broker sends, if something comes soon.
    pub(super) async fn next(&mut self) -> Result<Event, Error> {
        loop {
            if let Some(event) = self.take()? {
                return Ok(event);
            }
            if !self.connection.step_soon().await? {
                return Ok(Event::Silence);
            }
        }
    }

    /// The next event of what was read.
    fn take(&mut self) -> Result<Option<Event>, Error> {
        let Connection {
            input, frame_max, ..
        } = &mut self.connection;
        while let Some(frame) = input.next(*frame_max)? {
            match frame.kind {
                FrameKind::Method => match parse_method(frame.payload)? {
                    Method::Deliver(deliver) => self.tag = deliver.delivery_tag,
                    Method::Ack(ack) => return Ok(Some(Event::Confirmed(ack.delivery_tag))),
                    Method::Nack(_) => {
                        return Err(Error::PerfRefused("a publish was refused".to_owned()));
                    }
                    _ => _ = control(&frame)?,
                },
                FrameKind::Header => {
                    self.left = parse_content_header(frame.payload)?.body_size;
                    self.seen = 0;
                }
                FrameKind::Body => {
                    let rest = self.number.get_mut(self.seen..).unwrap_or_default();
                    for (place, byte) in rest.iter_mut().zip(frame.payload) {
                        *place = *byte;
                        self.seen += 1;
                    }
                    self.left = self.left.saturating_sub(frame.payload.len() as u64);
                    if self.left == 0 {
                        return Ok(Some(Event::Delivered {
                            tag: self.tag,
                            number: u64::from_be_bytes(self.number),
                        }));
                    }
                }
                FrameKind::Heartbeat => {}
            }
        }
        Ok(None)
    }

    /// Closes in order.
    pub(super) async fn close(self) {
        self.connection.close().await;
    }
}
