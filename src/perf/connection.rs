//! The generator's client: one connection with one channel, driven by the worker that owns it.
//!
//! Nothing runs in the background. A worker appends frames to `output`, calls [`Connection::step`] to wait for the socket,
//! and takes frames from `input`. Reading and writing never wait for each other, so a broker that stops reading until its
//! own writes are taken cannot be deadlocked with.

use std::io::ErrorKind;
use std::time::Duration;

use amqp_codec::protocol::{channel, connection};
use amqp_codec::{
    AMQPClass, AMQPValue, FieldTable, Frame, FrameKind, Method, PROTOCOL_HEADER, encode,
    parse_method,
};
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::input::Input;
use super::target::Target;
use crate::error::Error;

/// The channel that everything happens on.
pub const CHANNEL: u16 = 1;

/// The largest frame that is asked for; a broker may ask for less.
const FRAME_MAX: u32 = 131_072;

/// How long a broker may take to answer a method.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a worker waits for its socket before it looks whether the run is over.
pub const STOP_POLL: Duration = Duration::from_millis(100);

/// How long a broker may take to answer the last one.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// An open connection with an open channel.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    /// What the broker sent.
    pub input: Input,
    /// Frames to send.
    pub output: Vec<u8>,
    written: usize,
    /// The negotiated frame size, in bytes with the envelope.
    pub frame_max: usize,
}

impl Connection {
    /// Connects, logs in and opens the channel. `read_buffer` is in bytes: large for consumers, small for idle ones.
    pub async fn open(target: &Target, read_buffer: usize) -> Result<Self, Error> {
        let stream = TcpStream::connect(target.address).await;
        let stream = stream.map_err(|error| {
            Error::perf_io(format!("cannot connect to {}", target.address), error)
        })?;
        stream.set_nodelay(true).map_err(lost)?;
        let mut connection = Self {
            stream,
            input: Input::new(read_buffer),
            output: PROTOCOL_HEADER.to_vec(),
            written: 0,
            frame_max: FRAME_MAX as usize,
        };
        connection.log_in(target).await?;
        let open = channel::AMQPMethod::Open(channel::Open::default());
        connection.ask(CHANNEL, &AMQPClass::Channel(open)).await?;
        Ok(connection)
    }

    async fn log_in(&mut self, target: &Target) -> Result<(), Error> {
        use connection::{AMQPMethod, Open, StartOk, TuneOk};
        self.answer().await?;
        let start_ok = AMQPMethod::StartOk(StartOk {
            client_properties: client_properties(),
            mechanism: "PLAIN".into(),
            response: format!("\0{}\0{}", target.user, target.password).into(),
            locale: "en_US".into(),
        });
        let tune = match self.ask(0, &AMQPClass::Connection(start_ok)).await? {
            AMQPClass::Connection(AMQPMethod::Tune(tune)) => tune,
            other => return Err(unexpected(&other)),
        };
        let frame_max = match tune.frame_max {
            0 => FRAME_MAX,
            offered => offered.min(FRAME_MAX),
        };
        self.frame_max = frame_max as usize;
        let tune_ok = AMQPMethod::TuneOk(TuneOk {
            channel_max: tune.channel_max,
            frame_max,
            // no heartbeats: an idle connection must cost the broker what it costs at rest
            heartbeat: 0,
        });
        encode::method(&mut self.output, 0, &AMQPClass::Connection(tune_ok))?;
        let virtual_host = short(&target.vhost)?;
        let open = AMQPMethod::Open(Open { virtual_host });
        self.ask(0, &AMQPClass::Connection(open)).await?;
        Ok(())
    }

    /// Sends a method and waits for its answer, which is the next method on any channel.
    pub async fn ask(&mut self, channel: u16, method: &AMQPClass) -> Result<AMQPClass, Error> {
        encode::method(&mut self.output, channel, method)?;
        self.answer().await
    }

    /// Sends what is in `output` and waits for a method.
    pub async fn answer(&mut self) -> Result<AMQPClass, Error> {
        self.answer_within(ANSWER_TIMEOUT).await
    }

    /// The same with another limit of time.
    pub async fn answer_within(&mut self, limit: Duration) -> Result<AMQPClass, Error> {
        let answer = tokio::time::timeout(limit, self.next_method()).await;
        answer.unwrap_or_else(|_| Err(lost(ErrorKind::TimedOut.into())))
    }

    async fn next_method(&mut self) -> Result<AMQPClass, Error> {
        loop {
            while let Some(frame) = self.input.next(self.frame_max)? {
                if let Some(method) = control(&frame)? {
                    return Ok(method);
                }
            }
            self.step().await?;
        }
    }

    /// Closes in order, so that the broker's log stays quiet. Deliveries under way are dropped, and so is an error: what
    /// was measured counts, also when the broker blocks this connection and never answers.
    pub async fn close(self) {
        let _ = self.close_within(CLOSE_TIMEOUT).await;
    }

    /// Closes in order and waits for `connection.close-ok`, which says that everything before it has been handled.
    ///
    /// # Errors
    /// The broker does not answer in this time, or says that something else is wrong.
    pub async fn close_within(mut self, limit: Duration) -> Result<(), Error> {
        let close = connection::AMQPMethod::Close(connection::Close {
            reply_code: 200,
            ..Default::default()
        });
        encode::method(&mut self.output, 0, &AMQPClass::Connection(close))?;
        let closed = tokio::time::timeout(limit, self.closed()).await;
        closed.unwrap_or_else(|_| Err(lost(ErrorKind::TimedOut.into())))
    }

    async fn closed(&mut self) -> Result<(), Error> {
        use connection::AMQPMethod::CloseOk;
        while !matches!(self.next_method().await?, AMQPClass::Connection(CloseOk(_))) {}
        Ok(())
    }

    /// The same as [`Self::step`], but waits for [`STOP_POLL`] at most. Says whether there was anything to do.
    pub async fn step_soon(&mut self) -> Result<bool, Error> {
        match tokio::time::timeout(STOP_POLL, self.step()).await {
            Ok(done) => done.map(|()| true),
            Err(_) => Ok(false),
        }
    }

    /// Waits until the socket can be read, or written when there is output, and does what it can.
    pub async fn step(&mut self) -> Result<(), Error> {
        let interest = if self.output.is_empty() {
            Interest::READABLE
        } else {
            Interest::READABLE | Interest::WRITABLE
        };
        let ready = self.stream.ready(interest).await.map_err(lost)?;
        if ready.is_writable() {
            self.flush()?;
        }
        if ready.is_readable() {
            self.fill()?;
        }
        Ok(())
    }

    /// Writes as much of `output` as the socket takes now.
    pub fn flush(&mut self) -> Result<(), Error> {
        while let Some(unwritten) = self
            .output
            .get(self.written..)
            .filter(|rest| !rest.is_empty())
        {
            match self.stream.try_write(unwritten) {
                Ok(bytes) => self.written += bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(lost(error)),
            }
        }
        self.output.clear();
        self.written = 0;
        Ok(())
    }

    /// Reads what the socket has now, once.
    pub fn fill(&mut self) -> Result<(), Error> {
        match self.stream.try_read(self.input.room()) {
            Ok(0) => Err(lost(ErrorKind::UnexpectedEof.into())),
            Ok(bytes) => {
                self.input.filled(bytes);
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(lost(error)),
        }
    }
}

/// The method in a frame, for those who wait for one: `None` for content, deliveries and notices.
///
/// # Errors
/// When the broker closes the channel or the connection: a measurement cannot go on then.
pub fn control(frame: &Frame<'_>) -> Result<Option<AMQPClass>, Error> {
    if frame.kind != FrameKind::Method {
        return Ok(None);
    }
    let Method::Other(method) = parse_method(frame.payload)? else {
        return Ok(None);
    };
    match method {
        AMQPClass::Connection(connection::AMQPMethod::Close(close)) => {
            Err(Error::PerfRefused(close.reply_text.to_string()))
        }
        AMQPClass::Channel(channel::AMQPMethod::Close(close)) => {
            Err(Error::PerfRefused(close.reply_text.to_string()))
        }
        AMQPClass::Connection(
            connection::AMQPMethod::Blocked(_) | connection::AMQPMethod::Unblocked(_),
        ) => Ok(None),
        other => Ok(Some(other)),
    }
}

/// What the client says about itself. Without the capabilities, RabbitMQ would not explain a refused login.
fn client_properties() -> FieldTable {
    let mut capabilities = FieldTable::default();
    for name in [
        "publisher_confirms",
        "basic.nack",
        "authentication_failure_close",
    ] {
        capabilities.insert(name.into(), AMQPValue::Boolean(true));
    }
    let mut properties = FieldTable::default();
    let product = AMQPValue::LongString("leveret perf".into());
    properties.insert("product".into(), product);
    properties.insert("capabilities".into(), AMQPValue::FieldTable(capabilities));
    properties
}

/// A short string of the protocol.
pub fn short(text: &str) -> Result<amqp_codec::ShortString, Error> {
    let refuse = |_| Error::PerfArguments(format!("{text:?} is longer than 255 bytes"));
    amqp_codec::ShortString::try_new(text).map_err(refuse)
}

fn unexpected(method: &AMQPClass) -> Error {
    let id = (method.get_amqp_class_id(), method.get_amqp_method_id());
    Error::PerfRefused(format!("unexpected answer {id:?}"))
}

fn lost(error: std::io::Error) -> Error {
    Error::perf_io("connection to the broker lost", error)
}
