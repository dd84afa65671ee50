//! What the fuzz target `connection` runs: two connections to one broker, and what must hold whatever they do.

use std::sync::Arc;

use amqp_codec::{
    AMQPClass, AMQPValue, FieldTable, FrameKind, PROTOCOL_HEADER, encode,
    protocol::connection::{self, AMQPMethod},
};
use arbitrary::{Arbitrary as _, Unstructured};
use broker_core::alarms::Resource;
use broker_core::{
    broker::Broker,
    definitions::MemoryDefinitions,
    queue::{Millis, Queue, Work},
    store::MemoryStore,
};

use super::{
    client::Client,
    operations::{Case, Operation, Step},
    wire::Wire,
};

/// When it all begins.
pub const START: Millis = 1_000_000;

/// Steps beyond these are cut off: a case is to be short.
const STEPS: usize = 200;

/// Carries out what the bytes say.
///
/// # Panics
/// When a rule is broken: that is a bug in the broker.
pub fn exercise(data: &[u8]) {
    let Ok(case) = Case::arbitrary_take_rest(Unstructured::new(data)) else {
        return;
    };
    let mut world = World::new(case.held);
    for step in case.steps.iter().take(STEPS) {
        world.step(step);
    }
    world.end();
}

struct World {
    store: Arc<MemoryStore>,
    definitions: Arc<MemoryDefinitions>,
    broker: Arc<Broker>,
    now: Millis,
    ends: [End; 2],
}

/// A connection with its client.
pub struct End {
    pub wire: Wire,
    pub client: Client,
}

impl End {
    pub fn new(broker: &Arc<Broker>, now: Millis, shake: bool) -> Self {
        let mut end = Self {
            wire: Wire::new(broker, now),
            client: Client::default(),
        };
        if shake {
            end.wire.send_bytes(&PROTOCOL_HEADER);
            for method in handshake() {
                end.wire.send(0, &AMQPClass::Connection(method));
            }
            end.run(now);
        }
        end
    }

    pub fn run(&mut self, now: Millis) {
        self.wire.run(now);
        self.client.receive(&self.wire.take_received());
    }
}

/// Everything that a client says until its connection is open.
pub fn handshake() -> [AMQPMethod; 3] {
    let understood = [
        "authentication_failure_close",
        "connection.blocked",
        "consumer_cancel_notify",
    ];
    let mut capabilities = FieldTable::default();
    for name in understood {
        capabilities.insert(name.into(), AMQPValue::Boolean(true));
    }
    let mut client_properties = FieldTable::default();
    client_properties.insert("capabilities".into(), AMQPValue::FieldTable(capabilities));
    [
        AMQPMethod::StartOk(connection::StartOk {
            client_properties,
            mechanism: "PLAIN".into(),
            response: "\0guest\0guest".into(),
            locale: "en_US".into(),
        }),
        AMQPMethod::TuneOk(connection::TuneOk {
            channel_max: 2047,
            frame_max: 4096,
            heartbeat: 60,
        }),
        AMQPMethod::Open(connection::Open {
            virtual_host: "/".into(),
        }),
    ]
}

impl World {
    fn new(held: bool) -> Self {
        let store = Arc::new(match held {
            true => MemoryStore::held(),
            false => MemoryStore::new(),
        });
        let definitions = Arc::new(MemoryDefinitions::new());
        let broker = start(&store, &definitions);
        let ends = [
            End::new(&broker, START, true),
            End::new(&broker, START, true),
        ];
        let mut world = Self {
            store,
            definitions,
            broker,
            now: START,
            ends,
        };
        for number in [1, 2] {
            for end in &mut world.ends {
                let mut open = Vec::new();
                super::operations::Request::OpenChannel.encode(number, &mut open);
                end.wire.send_bytes(&open);
                end.run(START);
            }
        }
        world
    }

    fn step(&mut self, step: &Step) {
        let now = self.now;
        let end = &mut self.ends[usize::from(step.second)];
        let mut bytes = Vec::new();
        match &step.operation {
            Operation::Method(number, request) | Operation::Held(number, request) => {
                request.encode(number.get(), &mut bytes);
            }
            Operation::Publish(number, message) | Operation::HeldPublish(number, message) => {
                message.encode(number.get(), &mut bytes);
            }
            Operation::Frame(kind, channel, payload) => {
                let kinds = [
                    FrameKind::Method,
                    FrameKind::Header,
                    FrameKind::Body,
                    FrameKind::Heartbeat,
                ];
                let kind = kinds[usize::from(*kind) % kinds.len()];
                encode::frame(&mut bytes, kind, (*channel % 4).into(), payload);
            }
            Operation::Bytes(junk) => bytes.extend_from_slice(junk),
            Operation::Claim(kind, length) => {
                bytes.extend([kind % 9, 0, 1]);
                bytes.extend(length.to_be_bytes());
            }
            other => return self.happen(step.second, other),
        }
        end.wire.send_bytes(&bytes);
        let held = matches!(
            step.operation,
            Operation::Held(..) | Operation::HeldPublish(..)
        );
        if !held {
            end.run(now);
        }
    }

    fn happen(&mut self, second: bool, operation: &Operation) {
        let end = &mut self.ends[usize::from(second)];
        match operation {
            Operation::Pieces(size) => {
                end.wire.run_in_pieces(self.now, usize::from(*size));
                end.run(self.now);
            }
            Operation::Time(passed) => {
                self.now += Millis::from(*passed);
                self.broker.run_expiries(self.now);
                self.run_all();
            }
            Operation::Reads(reads) => end.wire.reads = *reads,
            Operation::Release => {
                self.store.release_all();
                self.run_all();
            }
            Operation::Alarm(on) => {
                self.broker.set_alarm(Resource::Disk, *on);
            }
            Operation::Reconnect(shake) => {
                end.wire.cut(self.now);
                *end = End::new(&self.broker, self.now, *shake);
            }
            Operation::CloseAll => self.broker.close_connections("bye"),
            _ => end.run(self.now),
        }
    }

    fn run_all(&mut self) {
        for end in &mut self.ends {
            end.run(self.now);
        }
    }

    fn end(mut self) {
        for end in &mut self.ends {
            end.run(self.now);
            end.wire.cut(self.now);
        }
        assert_eq!(self.broker.connection_count(), 0, "connections stay");
        let vhost = self.broker.vhost("/").expect("the default vhost");
        let mut queues = Vec::new();
        vhost.for_each_queue(|queue| queues.push(Arc::clone(queue)));
        for queue in &queues {
            let counts = queue.counts();
            assert_eq!(counts.consumers, 0, "{queue:?} keeps consumers");
            assert_eq!(counts.unacknowledged, 0, "{queue:?} keeps deliveries");
            let owner = queue.properties.exclusive_owner;
            assert_eq!(owner, None, "{queue:?} outlives its connection");
        }
        self.store.release_all();
        self.check_recovery(&queues);
    }

    /// A broker that starts from the same stores has the same durable queues with the same persistent messages.
    fn check_recovery(&self, queues: &[Arc<Queue>]) {
        let again = start(&self.store, &self.definitions);
        let vhost = again.vhost("/").expect("the default vhost");
        let durable: Vec<_> = queues.iter().filter(|q| q.properties.durable).collect();
        assert_eq!(vhost.queue_count(), durable.len(), "queues recovered");
        for queue in durable {
            let recovered = vhost.queue(queue.name()).expect("recovered");
            assert_eq!(contents(&recovered), contents(queue), "{queue:?}");
        }
    }
}

/// A broker over stores in memory.
pub fn start(store: &Arc<MemoryStore>, definitions: &Arc<MemoryDefinitions>) -> Arc<Broker> {
    Broker::start(Arc::clone(store) as _, Arc::clone(definitions) as _, START)
        .expect("a broker over memory")
}

/// The places and keys of a queue's persistent messages. At time 0 nothing has expired yet.
fn contents(queue: &Arc<Queue>) -> Vec<(u64, String)> {
    let mut work = Work::default();
    let entries =
        std::iter::from_fn(|| queue.get(false, 0, &mut work).expect("messages in memory"));
    let persistent = entries.filter(|(entry, _)| entry.message.persistent());
    persistent
        .map(|(entry, _)| {
            let key = entry.message.routing_key().to_owned();
            (entry.position, key)
        })
        .collect()
}
