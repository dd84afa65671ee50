//! The scripted peer: a blocking AMQP client that does exactly what the test says and checks exactly what comes back.
//!
//! Frames of other channels that arrive while one channel is waited for are kept, each channel in its order: AMQP
//! promises order within a channel only.

use super::broker::Broker;
use super::method::Method;
use super::{AMQPClass, PATIENCE, channel, connection, exchange};
use amq_protocol::frame::{AMQPFrame, WriteContext, gen_frame, parse_frame};
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The channel that [`Peer::expect_nothing`] makes its round trip on.
const SPARE_CHANNEL: u16 = 1999;

/// One TCP connection to the broker under test.
pub struct Peer {
    pub(super) stream: TcpStream,
    unread: Vec<u8>,
    inbox: VecDeque<AMQPFrame>,
    spare_channel_open: bool,
    /// Keeps the shared broker alive for as long as somebody talks to it.
    pub(super) broker: Option<Arc<Broker>>,
    pub(super) frame_max: usize,
}

impl Peer {
    /// A TCP connection to the shared broker, nothing said yet.
    pub fn tcp() -> Peer {
        let broker = Broker::shared();
        let mut peer = Peer::tcp_to(broker.amqp_address());
        peer.broker = Some(broker);
        peer
    }

    /// A TCP connection to `address`, nothing said yet.
    pub fn tcp_to(address: SocketAddr) -> Peer {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("to connect");
        stream.set_nodelay(true).expect("no delay");
        stream
            .set_write_timeout(Some(PATIENCE))
            .expect("a write timeout");
        Peer {
            stream,
            unread: Vec::new(),
            inbox: VecDeque::new(),
            spare_channel_open: false,
            broker: None,
            frame_max: 131_072,
        }
    }

    /// The broker it talks to, when that is the shared one.
    pub fn broker(&self) -> &Broker {
        self.broker.as_ref().expect("a peer of the shared broker")
    }

    /// Our side of the connection, which the broker's log calls the peer.
    pub fn local_address(&self) -> SocketAddr {
        self.stream.local_addr().expect("an address")
    }

    /// Sends bytes as they are.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("to send");
    }

    /// Sends bytes that the broker may refuse by closing the socket meanwhile.
    pub fn try_send_bytes(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Sends one frame with any type, channel, payload and end octet.
    pub fn send_frame(&mut self, kind: u8, channel: u16, payload: &[u8], end: u8) {
        self.send_bytes(&frame_bytes(kind, channel, payload, end));
    }

    /// Sends a method.
    pub fn send<M: Method>(&mut self, channel: u16, method: M) {
        self.send_bytes(&method_bytes(channel, method));
    }

    /// Sends a method and expects its answer: `peer.call::<_, queue::DeclareOk>(1, queue::Declare { .. })`.
    pub fn call<M: Method, Answer: Method>(&mut self, channel: u16, method: M) -> Answer {
        self.send(channel, method);
        self.expect(channel)
    }

    /// The next frame on `channel` must be this method.
    #[track_caller]
    pub fn expect<M: Method>(&mut self, channel: u16) -> M {
        let class = self.next_method(channel, M::NAME);
        M::from_class(class).unwrap_or_else(|other| {
            panic!("expected {} on channel {channel}, got {other:?}", M::NAME)
        })
    }

    /// The next frame on `channel` must be a method, any.
    #[track_caller]
    pub fn next_method(&mut self, channel: u16, wanted: &str) -> AMQPClass {
        match self.next_frame(channel, wanted) {
            AMQPFrame::Method(_, class) => class,
            other => panic!("expected {wanted} on channel {channel}, got {other:?}"),
        }
    }

    /// The channel must be closed by the broker with this code and this whole text, blaming the method `M`; answers
    /// with close-ok, after which the number is free again.
    #[track_caller]
    pub fn expect_channel_close<M: Method>(&mut self, channel: u16, code: u16, text: &str) {
        let close = self.expect::<channel::Close>(channel);
        assert_eq!((close.reply_code, close.reply_text.as_str()), (code, text));
        assert_eq!(
            (close.class_id, close.method_id),
            (M::CLASS, M::ID),
            "class and method id"
        );
        self.send(channel, channel::CloseOk {});
    }

    /// The connection must be closed by the broker with this code and this whole text, blaming the method `M`;
    /// answers with close-ok and expects the end of the stream.
    #[track_caller]
    pub fn expect_connection_close<M: Method>(&mut self, code: u16, text: &str) {
        let close = self.expect_close_with_code(code);
        assert_eq!(close.reply_text.as_str(), text);
        assert_eq!(
            (close.class_id, close.method_id),
            (M::CLASS, M::ID),
            "class and method id"
        );
        self.expect_end();
    }

    /// The connection must be closed by the broker with this code, whatever the text: for what RabbitMQ words in
    /// terms of its own implementation, or answers by dropping the connection. Sends the close-ok.
    #[track_caller]
    pub fn expect_close_with_code(&mut self, code: u16) -> connection::Close {
        let close = self.expect::<connection::Close>(0);
        assert_eq!(close.reply_code, code, "{}", close.reply_text);
        self.try_send_bytes(&method_bytes(0, connection::CloseOk {}));
        close
    }

    /// The broker must close the socket without sending any further frame.
    #[track_caller]
    pub fn expect_end(&mut self) {
        if let Some(frame) = self.read_frame(Instant::now() + PATIENCE, "the end of the stream") {
            panic!("expected the end of the stream, got {frame:?}");
        }
    }

    /// Nothing may have come on `channel`. Proved by a round trip on another channel, not by waiting: what the broker
    /// had to say because of earlier frames was said before the answer.
    #[track_caller]
    pub fn expect_nothing(&mut self, channel: u16) {
        self.round_trip();
        if let Some(frame) = self
            .inbox
            .iter()
            .find(|frame| frame.channel_id() == channel)
        {
            panic!("expected nothing on channel {channel}, got {frame:?}");
        }
    }

    /// A synchronous exchange on a channel that no test uses.
    #[track_caller]
    pub fn round_trip(&mut self) {
        if !self.spare_channel_open {
            self.spare_channel_open = true;
            self.call::<_, channel::OpenOk>(SPARE_CHANNEL, channel::Open {});
        }
        let amq_direct = exchange::Declare {
            exchange: "amq.direct".into(),
            kind: "direct".into(),
            passive: true,
            ..exchange::Declare::default()
        };
        self.call::<_, exchange::DeclareOk>(SPARE_CHANNEL, amq_direct);
    }

    /// The next frame on `channel`; frames of other channels are kept for later. Heartbeats are skipped.
    #[track_caller]
    pub fn next_frame(&mut self, channel: u16, wanted: &str) -> AMQPFrame {
        if let Some(kept) = self
            .inbox
            .iter()
            .position(|frame| frame.channel_id() == channel)
        {
            return self.inbox.remove(kept).expect("just found");
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.read_frame(deadline, wanted) {
                Some(AMQPFrame::Heartbeat) => {}
                Some(frame) if frame.channel_id() == channel => return frame,
                Some(AMQPFrame::Method(0, close)) => {
                    panic!("expected {wanted} on channel {channel}, got {close:?}")
                }
                Some(frame) => self.inbox.push_back(frame),
                None => panic!("expected {wanted} on channel {channel}, got the end of the stream"),
            }
        }
    }

    /// The next frame of the connection, heartbeats too; `None` at the end of the stream.
    #[track_caller]
    pub fn read_frame(&mut self, deadline: Instant, wanted: &str) -> Option<AMQPFrame> {
        loop {
            if let Some(length) = whole_frame(&self.unread) {
                let bytes: Vec<u8> = self.unread.drain(..length).collect();
                let (rest, frame) = parse_frame(&bytes[..]).expect("a frame that can be read");
                assert!(
                    rest.is_empty(),
                    "a frame longer than its content: {bytes:?}"
                );
                return Some(frame);
            }
            if self.read_some(deadline, wanted) == 0 {
                assert!(self.unread.is_empty(), "the stream ended within a frame");
                return None;
            }
        }
    }

    /// Whether something comes, or has come, within `pause`.
    pub fn readable(&mut self, pause: Duration) -> bool {
        if !self.inbox.is_empty() || !self.unread.is_empty() {
            return true;
        }
        self.stream
            .set_read_timeout(Some(pause))
            .expect("a read timeout");
        self.stream.peek(&mut [0]).is_ok()
    }

    /// Reads `count` bytes that are no frame.
    #[track_caller]
    pub fn read_bytes(&mut self, count: usize) -> Vec<u8> {
        let deadline = Instant::now() + PATIENCE;
        while self.unread.len() < count {
            assert_ne!(
                self.read_some(deadline, "bytes"),
                0,
                "the stream ended: {:?}",
                self.unread
            );
        }
        self.unread.drain(..count).collect()
    }

    /// How long it takes until the broker ends the stream, whatever it sends before.
    #[track_caller]
    pub fn time_to_end(&mut self) -> Duration {
        let start = Instant::now();
        while self.read_some(start + PATIENCE, "the end of the stream") != 0 {}
        start.elapsed()
    }

    /// Reads what comes within `pause` and drops it, but answers each channel.close and opens the channel again. False
    /// when the connection has ended or is closed by the broker, which is answered too.
    pub fn answer_closes(&mut self, pause: Duration) -> bool {
        self.stream
            .set_read_timeout(Some(pause))
            .expect("a read timeout");
        let mut chunk = [0; 65_536];
        let open = match self.stream.read(&mut chunk) {
            Ok(count) => {
                self.unread.extend_from_slice(&chunk[..count]);
                count > 0
            }
            Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        };
        while let Some(length) = whole_frame(&self.unread) {
            let bytes: Vec<u8> = self.unread.drain(..length).collect();
            let (_, frame) = parse_frame(&bytes[..]).expect("a frame that can be read");
            match frame {
                AMQPFrame::Method(0, AMQPClass::Connection(connection::AMQPMethod::Close(_))) => {
                    self.try_send_bytes(&method_bytes(0, connection::CloseOk {}));
                    return false;
                }
                AMQPFrame::Method(channel, AMQPClass::Channel(channel::AMQPMethod::Close(_))) => {
                    let mut answer = method_bytes(channel, channel::CloseOk {});
                    answer.extend(method_bytes(channel, channel::Open {}));
                    self.try_send_bytes(&answer);
                }
                _ => {}
            }
        }
        open
    }

    #[track_caller]
    fn read_some(&mut self, deadline: Instant, wanted: &str) -> usize {
        let left = deadline.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "waited too long for {wanted}");
        self.stream
            .set_read_timeout(Some(left))
            .expect("a read timeout");
        let mut chunk = [0; 65_536];
        match self.stream.read(&mut chunk) {
            Ok(count) => {
                self.unread.extend_from_slice(&chunk[..count]);
                count
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
            Err(error) => panic!("waiting for {wanted}: {error}"),
        }
    }

    /// Cuts the TCP connection without a word.
    pub fn cut(self) {
        drop(self.stream.shutdown(Shutdown::Both));
    }
}

/// A whole frame as bytes, well formed or not.
pub fn frame_bytes(kind: u8, channel: u16, payload: &[u8], end: u8) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend(channel.to_be_bytes());
    bytes.extend(
        u32::try_from(payload.len())
            .expect("a short payload")
            .to_be_bytes(),
    );
    bytes.extend(payload);
    bytes.push(end);
    bytes
}

/// A method frame as bytes.
pub fn method_bytes<M: Method>(channel: u16, method: M) -> Vec<u8> {
    generate(&AMQPFrame::Method(channel, method.into_class()))
}

pub(super) fn generate(frame: &AMQPFrame) -> Vec<u8> {
    let context = WriteContext::from(Vec::new());
    let context = gen_frame(frame)(context).expect("a frame that can be written");
    context.into_inner().0
}

fn whole_frame(bytes: &[u8]) -> Option<usize> {
    let size = bytes.get(3..7)?.try_into().expect("four bytes");
    let length = u32::from_be_bytes(size) as usize + 8;
    (bytes.len() >= length).then_some(length)
}
