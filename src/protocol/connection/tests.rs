//! Rules of a whole connection that need a time of the test's own or a look between two runs.

use std::{sync::mpsc, thread, time::Duration};

use amqp_codec::{
    AMQPClass, AMQPValue, FieldTable, Properties, encode,
    protocol::{
        basic, channel,
        connection::{self, AMQPMethod},
    },
};
use broker_core::{
    authentication::Chain,
    definitions::MemoryDefinitions,
    message::Message,
    outbox::{Delivery, SubscriptionKey},
    queue::{ConnectionId, Entry, Queue, Work},
    store::MemoryStore,
    vhost::{QueueDeclaration, Vhost},
};

use super::*;
use crate::protocol::{running::OUTPUT_OF_A_RUN, server_properties::Greeting};

/// Longer than any step takes when all is well.
const PATIENCE: Duration = Duration::from_secs(60);

const FRAME_MAX: u32 = 131_072;

/// A connection with channel 1 open, on a broker of its own.
pub(crate) struct Scene {
    pub(crate) machine: Connection,
    batch: Batch,
    vhost: Arc<Vhost>,
}

impl Scene {
    pub(crate) fn new() -> Self {
        Self::of(Chain::default(), |_| {})
    }

    /// The same with other settings.
    pub(crate) fn with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::of(Chain::default(), change)
    }

    /// A broker whose users these backends know.
    fn of(chain: Chain, change: impl FnOnce(&mut Settings)) -> Self {
        let store = Arc::new(MemoryStore::new());
        let broker = Broker::start(store, Arc::new(MemoryDefinitions::new()), 0).unwrap();
        broker.set_authentication(chain);
        let mut settings = Settings {
            greeting: Greeting::new("test"),
            heartbeat: 0,
            channel_max: 10,
            frame_max: FRAME_MAX,
            max_message_size: 1 << 20,
            consumer_timeout: 0,
            login_timeout: 1000,
            connection_max: 0,
            loopback_users: Vec::new(),
        };
        change(&mut settings);
        let vhost = broker.vhost("/").unwrap();
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        let mut scene = Self {
            machine: Connection::new(broker, Arc::new(settings), (peer, peer), 0),
            batch: Batch::default(),
            vhost,
        };
        scene.log_in();
        scene
    }

    fn log_in(&mut self) {
        self.input(&PROTOCOL_HEADER);
        let start = connection::StartOk {
            mechanism: "PLAIN".into(),
            response: "\0guest\0guest".into(),
            locale: "en_US".into(),
            ..connection::StartOk::default()
        };
        self.send(0, AMQPClass::Connection(AMQPMethod::StartOk(start)));
        let tune = connection::TuneOk {
            channel_max: 10,
            frame_max: FRAME_MAX,
            heartbeat: self.machine.settings.heartbeat,
        };
        self.send(0, AMQPClass::Connection(AMQPMethod::TuneOk(tune)));
        let open = connection::Open {
            virtual_host: "/".into(),
        };
        self.send(0, AMQPClass::Connection(AMQPMethod::Open(open)));
        let open = channel::AMQPMethod::Open(channel::Open {});
        self.send(1, AMQPClass::Channel(open));
        self.batch.out.clear();
    }

    fn send(&mut self, channel: u16, method: AMQPClass) {
        let mut bytes = Vec::new();
        encode::method(&mut bytes, channel, &method).unwrap();
        self.input(&bytes);
    }

    fn input(&mut self, bytes: &[u8]) {
        assert_eq!(
            self.machine.handle_input(bytes, &mut self.batch),
            bytes.len()
        );
        assert!(!self.machine.is_closed());
    }

    pub(crate) fn basic(&mut self, method: basic::AMQPMethod) {
        self.send(1, AMQPClass::Basic(method));
    }

    /// A consumer, with acknowledgements.
    pub(crate) fn consume(&mut self, queue: &str) {
        self.consume_with(queue, FieldTable::default());
    }

    /// The same with arguments.
    pub(crate) fn consume_with(&mut self, queue: &str, arguments: FieldTable) {
        let consume = basic::Consume {
            queue: queue.into(),
            arguments,
            ..basic::Consume::default()
        };
        self.basic(basic::AMQPMethod::Consume(consume));
    }

    /// `basic.get`, to be answered.
    pub(crate) fn get(&mut self, queue: &str) {
        let get = basic::Get {
            queue: queue.into(),
            no_ack: false,
        };
        self.basic(basic::AMQPMethod::Get(get));
    }

    pub(crate) fn ack(&mut self, tag: u64) {
        let mut ack = Vec::new();
        encode::ack(&mut ack, 1, tag, false);
        self.input(&ack);
    }

    /// Writes what came for the client.
    pub(crate) fn deliver(&mut self) {
        self.machine.deliver(&mut self.batch);
    }

    pub(crate) fn vhost(&self) -> Arc<Vhost> {
        Arc::clone(&self.vhost)
    }

    /// Lets the time pass, alarm by alarm; gives what the client was sent meanwhile as text.
    pub(crate) fn pass_to(&mut self, moment: Millis) -> String {
        self.batch.out.clear();
        while let Some(due) = self.machine.poll_timeout().filter(|due| *due <= moment) {
            self.batch.now = due.max(self.batch.now);
            self.machine.handle_timeout(&mut self.batch);
        }
        self.batch.now = moment;
        String::from_utf8_lossy(&self.batch.out.frames).into_owned()
    }

    pub(crate) fn queue(&self, name: &str, arguments: FieldTable) -> Arc<Queue> {
        let declaration = QueueDeclaration {
            name: name.to_owned(),
            durable: false,
            exclusive: false,
            auto_delete: false,
            arguments,
        };
        self.vhost
            .declare_queue(declaration, ConnectionId(0))
            .unwrap()
            .0
    }
}

pub(crate) fn publish(queue: &Arc<Queue>, message: Message, now: Millis) {
    let mut work = Work::default();
    queue.publish(std::iter::once(message), now, &mut work, &mut Vec::new());
}

pub(crate) fn message(properties: Properties<'_>, body: &[u8]) -> Message {
    let mut raw = Vec::new();
    properties.encode(&mut raw);
    Message::new("", "living", &raw, body, false)
}

#[test]
fn dead_letters_found_while_acknowledgements_are_settled_are_carried_out_in_the_same_run() {
    let mut scene = Scene::new();
    let text = |text: &str| AMQPValue::LongString(text.into());
    let mut arguments = FieldTable::default();
    arguments.insert("x-dead-letter-exchange".into(), text(""));
    arguments.insert("x-dead-letter-routing-key".into(), text("dead"));
    let living = scene.queue("living", arguments);
    let dead = scene.queue("dead", FieldTable::default());
    publish(&living, message(Properties::default(), b"a"), 0);
    publish(&living, message(Properties::default(), b"h"), 0);
    for body in [b"1", b"2"] {
        let properties = Properties {
            expiration: Some("10"),
            ..Properties::default()
        };
        publish(&living, message(properties, body), 0);
    }
    let qos = basic::Qos {
        prefetch_count: 1,
        global: false,
    };
    scene.basic(basic::AMQPMethod::Qos(qos));
    scene.consume("living");
    scene.machine.deliver(&mut scene.batch);
    assert_eq!((living.counts().ready, dead.counts().ready), (3, 0));
    scene.batch.now = 100;
    let mut ack = Vec::new();
    encode::ack(&mut ack, 1, 1, false);
    scene.input(&ack);
    assert_eq!((living.counts().ready, dead.counts().ready), (0, 2));
}

#[test]
fn a_burst_of_gets_is_answered_in_runs_and_in_order() {
    const COUNT: u8 = 200;
    const SIZE: usize = 100 * 1024;
    let mut scene = Scene::new();
    let queue = scene.queue("living", FieldTable::default());
    for number in 0..COUNT {
        publish(&queue, message(Properties::default(), &[number; SIZE]), 0);
    }
    let mut burst = Vec::new();
    for _ in 0..COUNT {
        let get = basic::AMQPMethod::Get(basic::Get {
            queue: "living".into(),
            no_ack: true,
        });
        encode::method(&mut burst, 1, &AMQPClass::Basic(get)).unwrap();
    }
    let mut rest = burst.as_slice();
    let mut output = Vec::new();
    while !rest.is_empty() {
        let used = scene.machine.handle_input(rest, &mut scene.batch);
        assert!(used > 0);
        rest = &rest[used..];
        let answered = scene.batch.out.len();
        assert!(answered < OUTPUT_OF_A_RUN + 2 * SIZE, "{answered}");
        output.append(&mut scene.batch.out.frames);
    }
    let mut numbers = Vec::new();
    let mut rest = output.as_slice();
    while let Some((frame, length)) = parse_frame(rest, FRAME_MAX as usize).unwrap() {
        if frame.kind == FrameKind::Body {
            assert_eq!(frame.payload.len(), SIZE);
            numbers.push(frame.payload[0]);
        }
        rest = &rest[length..];
    }
    assert!(numbers.iter().copied().eq(0..COUNT), "{numbers:?}");
}

/// Fills an outbox with deliveries for a consumer that its connection does not have: taken, they leave nothing to write.
pub(crate) fn fill_with_stale_deliveries(outbox: &Outbox) {
    let message = message(Properties::default(), &[0; 600 * 1024]);
    let entry = Entry::new(1, message, 0);
    let delivery = || Delivery {
        subscription: SubscriptionKey(99),
        entry: entry.clone(),
    };
    outbox.deliver(&mut vec![delivery(), delivery()]);
    assert_eq!(outbox.room(), 0);
}

#[test]
fn deliveries_for_a_consumer_that_is_not_there_are_dropped() {
    let (done, is_done) = mpsc::channel();
    thread::spawn(move || {
        let mut scene = Scene::new();
        fill_with_stale_deliveries(scene.machine.outbox());
        scene.machine.deliver(&mut scene.batch);
        done.send(scene.batch.out.len()).unwrap();
    });
    assert_eq!(is_done.recv_timeout(PATIENCE), Ok(0));
}

mod body_frames;
mod expiry;

/// There may be 100,000 of them, so whoever makes them larger is to know it. Without what they point to.
#[test]
fn connection_and_channel_stay_small() {
    use crate::protocol::{channel::Channel, running::Running};
    let (connection, running, channel) = (
        size_of::<Connection>(),
        size_of::<Running>(),
        size_of::<Channel>(),
    );
    println!("connection {connection}, running {running}, channel {channel} bytes");
    assert!(connection <= 384, "{connection} bytes");
    assert!(running <= 520, "{running} bytes");
    assert!(channel <= 192, "{channel} bytes");
}
