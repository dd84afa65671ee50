//! One connection's state machine on a wire in memory: bytes in, bytes out, and the time is whatever the test says.
//!
//! [`Wire::run`] does what the network driver does, in the driver's order, until the machine has come to rest.

use std::{cell::RefCell, net::SocketAddr, sync::Arc, task::Waker};

use amqp_codec::{AMQPClass, Publish, encode};
use broker_core::{broker::Broker, queue::Millis};
use leveret::protocol::{
    Settings, batch::Batch, connection::Connection, server_properties::Greeting,
};

thread_local! {
    /// As in the broker, the connections of a thread share one.
    static BATCH: RefCell<Batch> = RefCell::default();
}

/// Output that may wait before input is no longer taken.
const PENDING_OUTPUT: usize = 1024 * 1024;

/// Turns after which a connection that is still busy is caught in a circle.
const TURNS: usize = 100_000;

/// What the connections of a test are allowed.
pub fn settings() -> Arc<Settings> {
    Arc::new(Settings {
        greeting: Greeting::new("test"),
        heartbeat: 60,
        channel_max: 2047,
        frame_max: 131_072,
        max_message_size: 100_000,
        consumer_timeout: 0,
        login_timeout: 10_000,
        connection_max: 0,
        loopback_users: vec!["guest".to_owned()],
    })
}

/// A connection and both directions of its wire.
pub struct Wire {
    machine: Connection,
    input: Vec<u8>,
    output: Vec<u8>,
    /// What the client has read.
    received: Vec<u8>,
    /// The client takes what is written.
    pub reads: bool,
    ended: bool,
}

impl Wire {
    /// A connection that was just accepted.
    pub fn new(broker: &Arc<Broker>, now: Millis) -> Self {
        let here = SocketAddr::from(([127, 0, 0, 1], 5672));
        Self {
            machine: Connection::new(Arc::clone(broker), settings(), (here, here), now),
            input: Vec::new(),
            output: Vec::new(),
            received: Vec::new(),
            reads: true,
            ended: false,
        }
    }

    /// Whether the socket is closed.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// When the machine wants to hear of the time.
    pub fn poll_timeout(&self) -> Option<Millis> {
        self.machine.poll_timeout()
    }

    /// Bytes on their way to the broker; they arrive with the next [`Self::run`].
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        if !self.ended {
            self.input.extend_from_slice(bytes);
        }
    }

    /// A method on its way to the broker.
    pub fn send(&mut self, channel: u16, method: &AMQPClass) {
        let mut bytes = Vec::new();
        encode::method(&mut bytes, channel, method).expect("a method that can be encoded");
        self.send_bytes(&bytes);
    }

    /// A publish to the default exchange on its way to the broker.
    pub fn publish(&mut self, channel: u16, routing_key: &str, persistent: bool, body: &[u8]) {
        let publish = Publish {
            exchange: "",
            routing_key,
            mandatory: false,
            immediate: false,
        };
        let mode: &[u8] = if persistent {
            &[0x10, 0, 2]
        } else {
            &[0x10, 0, 1]
        };
        let mut bytes = Vec::new();
        encode::publish(&mut bytes, channel, &publish);
        encode::content(&mut bytes, channel, 4096, mode, body);
        self.send_bytes(&bytes);
    }

    /// Takes what the client has read.
    pub fn take_received(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.received)
    }

    /// Lets the connection run until it has nothing more to do at this moment.
    pub fn run(&mut self, now: Millis) {
        self.run_with(now, usize::MAX);
    }

    /// The same for input that comes in pieces of `piece` bytes.
    pub fn run_in_pieces(&mut self, now: Millis, piece: usize) {
        let arriving = std::mem::take(&mut self.input);
        for piece in arriving.chunks(piece.max(1)) {
            self.send_bytes(piece);
            self.run(now);
        }
    }

    fn run_with(&mut self, now: Millis, limit: usize) {
        BATCH.with_borrow_mut(|batch| {
            batch.now = now;
            for _ in 0..TURNS.min(limit) {
                if self.ended || !self.turn(batch) {
                    assert_empty(batch);
                    return;
                }
            }
            panic!("the connection does not come to rest");
        });
    }

    /// The client is gone.
    pub fn cut(&mut self, now: Millis) {
        BATCH.with_borrow_mut(|batch| {
            batch.now = now;
            self.end(batch);
        });
    }

    fn end(&mut self, batch: &mut Batch) {
        self.machine.terminate(batch);
        batch.out.clear();
        batch.trim();
        self.ended = true;
        self.input.clear();
        self.output.clear();
        assert_empty(batch);
    }

    fn turn(&mut self, batch: &mut Batch) -> bool {
        let mut progress = self.poll_time(batch);
        progress |= self.poll_outbox(batch);
        progress |= self.poll_input(batch);
        if let Some(inquiry) = self.machine.poll_inquiry() {
            let now = batch.now;
            let finding = inquiry.ask(self.machine.broker(), || now);
            self.machine.handle_finding(finding, batch);
            progress = true;
        }
        progress |= self.flush(batch);
        if self.machine.is_closed() && self.output.is_empty() {
            self.end(batch);
        }
        progress
    }

    fn poll_time(&mut self, batch: &mut Batch) -> bool {
        let due = self
            .machine
            .poll_timeout()
            .is_some_and(|at| batch.now >= at);
        if due {
            self.machine.handle_timeout(batch);
        }
        due
    }

    fn poll_outbox(&mut self, batch: &mut Batch) -> bool {
        let waker = Waker::noop();
        if !self.machine.poll_writable() {
            return self.machine.outbox().poll_durable(waker);
        }
        if !self.output.is_empty() || !batch.out.is_empty() {
            return false;
        }
        if !self.machine.outbox().poll_ready(waker) {
            return false;
        }
        self.machine.deliver(batch);
        true
    }

    fn poll_input(&mut self, batch: &mut Batch) -> bool {
        if !self.machine.reads() || self.input.is_empty() || self.output.len() > PENDING_OUTPUT {
            return false;
        }
        let used = self.machine.handle_input(&self.input, batch);
        self.input.drain(..used);
        used > 0
    }

    fn flush(&mut self, batch: &mut Batch) -> bool {
        if self.output.is_empty() && batch.out.is_empty() {
            return false;
        }
        self.output.append(&mut batch.out.frames);
        if !self.machine.poll_writable() || !self.reads {
            return false;
        }
        self.received.append(&mut self.output);
        self.machine.handle_written(batch.now);
        self.machine.revive(batch);
        self.output.append(&mut batch.out.frames);
        true
    }
}

/// Between two runs everything in a batch is empty: the next run may be another connection's.
fn assert_empty(batch: &Batch) {
    assert!(batch.groups.is_empty(), "publishes were left behind");
    assert!(batch.acknowledged.is_empty(), "acks were left behind");
    assert!(batch.confirming.is_empty(), "confirms were left behind");
    assert!(batch.refused.is_empty(), "refusals were left behind");
    assert!(batch.deliveries.is_empty(), "deliveries were left behind");
    assert!(batch.events.is_empty(), "events were left behind");
    assert!(
        batch.refused_indices.is_empty(),
        "refusals were left behind"
    );
    assert!(batch.work.dead.is_empty(), "dead letters were left behind");
    assert!(batch.out.is_empty(), "output was left behind");
}
