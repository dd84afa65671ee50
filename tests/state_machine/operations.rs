//! What a fuzzer lets clients do: methods that make sense more often than not, frames that never do, and plain junk.

use std::collections::BTreeMap;

use amqp_codec::{
    AMQPClass, AMQPValue, FieldArray, FieldTable, LongString, Properties, Publish, encode,
    encode_table,
    protocol::{basic, channel, confirm, connection, exchange, queue, tx},
};
use arbitrary::{Arbitrary, Result, Unstructured};

/// Everything that happens in one case.
#[derive(Debug, Arbitrary)]
pub struct Case {
    /// The store says that something is durable only when it is released.
    pub held: bool,
    /// The steps.
    pub steps: Vec<Step>,
}

/// One thing that happens to one of the connections.
#[derive(Debug, Arbitrary)]
pub struct Step {
    /// Which connection.
    pub second: bool,
    /// What happens.
    pub operation: Operation,
}

/// What can happen.
#[derive(Debug, Arbitrary)]
pub enum Operation {
    /// A method is sent.
    Method(Number, Box<Request>),
    /// A publish is sent with its content.
    Publish(Number, Box<Message>),
    /// A method is sent and not read before the next operation.
    Held(Number, Box<Request>),
    /// A publish is sent and not read before the next operation.
    HeldPublish(Number, Box<Message>),
    /// A frame of some kind is sent.
    Frame(u8, u8, Vec<u8>),
    /// Bytes are sent.
    Bytes(Vec<u8>),
    /// Only the start of a frame arrives that claims to be this long.
    Claim(u8, u32),
    /// What was sent arrives in pieces of this size.
    Pieces(u8),
    /// The connection's task runs.
    Run,
    /// Milliseconds pass.
    Time(u16),
    /// The client takes what the broker writes, or no longer.
    Reads(bool),
    /// What was appended to the store so far is durable.
    Release,
    /// An alarm stops publishers, or ends.
    Alarm(bool),
    /// The client vanishes and comes back, with a complete handshake or with none of it.
    Reconnect(bool),
    /// The operator closes all connections.
    CloseAll,
}

/// A channel number: nearly always 1 or 2.
#[derive(Debug, Clone, Copy, Arbitrary)]
pub struct Number(u8);

impl Number {
    /// The number on the wire.
    pub fn get(self) -> u16 {
        match self.0 {
            0..=200 => 1 + u16::from(self.0) % 2,
            number => u16::from(number) % 4,
        }
    }
}

/// One of a few names of queues.
#[derive(Debug, Clone, Copy, Arbitrary)]
pub struct QueueName(u8);

impl QueueName {
    /// The name.
    pub fn as_str(self) -> &'static str {
        let names = ["a", "b", "c", "d", "", "amq.rabbitmq.reply-to", "missing"];
        names[usize::from(self.0) % names.len()]
    }
}

/// One of a few names of exchanges.
#[derive(Debug, Clone, Copy, Arbitrary)]
pub struct ExchangeName(u8);

impl ExchangeName {
    /// The name.
    pub fn as_str(self) -> &'static str {
        let names = [
            "",
            "x",
            "y",
            "z",
            "amq.topic",
            "amq.fanout",
            "amq.headers",
            "missing",
        ];
        names[usize::from(self.0) % names.len()]
    }
}

/// One of a few consumer tags.
#[derive(Debug, Clone, Copy, Arbitrary)]
pub struct Tag(u8);

impl Tag {
    fn as_str(self) -> &'static str {
        ["", "one", "two"][usize::from(self.0) % 3]
    }
}

/// Arguments of a declaration, a binding or a consumer.
#[derive(Debug, Arbitrary)]
pub struct Arguments(Vec<(u8, u8)>);

impl Arguments {
    fn table(&self) -> FieldTable {
        let mut table = FieldTable::default();
        for &(key, value) in self.0.iter().take(4) {
            let text = |text: &str| AMQPValue::LongString(LongString::from(text.as_bytes()));
            let number = AMQPValue::LongInt(i32::from(value % 8));
            let (key, value) = match key % 9 {
                0 => ("x-max-length", number),
                1 => ("x-message-ttl", AMQPValue::LongInt(i32::from(value) * 4)),
                2 => ("x-max-length-bytes", AMQPValue::LongInt(i32::from(value))),
                3 => {
                    let kinds = ["drop-head", "reject-publish", "reject-publish-dlx"];
                    ("x-overflow", text(kinds[usize::from(value) % 3]))
                }
                4 => {
                    let exchange = ExchangeName(value).as_str();
                    ("x-dead-letter-exchange", text(exchange))
                }
                5 => {
                    let queue = QueueName(value).as_str();
                    ("x-dead-letter-routing-key", text(queue))
                }
                6 => ("x-priority", number),
                7 => ("alternate-exchange", text(ExchangeName(value).as_str())),
                _ => ("x-match", text(["all", "any"][usize::from(value) % 2])),
            };
            table.insert(key.into(), value);
        }
        table
    }
}

/// A method of a client.
#[derive(Debug, Arbitrary)]
#[allow(missing_docs)]
pub enum Request {
    OpenChannel,
    CloseChannel,
    CloseChannelOk,
    Flow(bool),
    DeclareQueue(QueueName, u8, Arguments),
    DeleteQueue(QueueName, u8),
    PurgeQueue(QueueName),
    BindQueue(QueueName, ExchangeName, QueueName, Arguments),
    UnbindQueue(QueueName, ExchangeName, QueueName, Arguments),
    DeclareExchange(ExchangeName, u8, u8, Arguments),
    DeleteExchange(ExchangeName, bool),
    BindExchange(ExchangeName, ExchangeName, QueueName),
    UnbindExchange(ExchangeName, ExchangeName, QueueName),
    Qos(u8, bool),
    Consume(QueueName, Tag, u8, Arguments),
    Cancel(Tag, bool),
    Get(QueueName, bool),
    Ack(u8, bool),
    Nack(u8, bool, bool),
    Reject(u8, bool),
    Recover(bool),
    RecoverAsync(bool),
    SelectConfirms,
    SelectTransactions,
    Commit,
    Rollback,
    CloseConnection,
    CloseConnectionOk,
    PublishWithoutContent(ExchangeName, QueueName),
}

fn bit(flags: u8, place: u8) -> bool {
    flags & (1 << place) != 0
}

impl Request {
    /// Writes the method.
    pub fn encode(&self, number: u16, out: &mut Vec<u8>) {
        match self {
            Self::Ack(tag, multiple) => encode::ack(out, number, (*tag).into(), *multiple),
            Self::Nack(tag, multiple, requeue) => {
                encode::nack(out, number, (*tag).into(), *multiple, *requeue);
            }
            Self::Reject(tag, requeue) => encode::reject(out, number, (*tag).into(), *requeue),
            Self::PublishWithoutContent(exchange, key) => {
                let publish = Publish {
                    exchange: exchange.as_str(),
                    routing_key: key.as_str(),
                    mandatory: false,
                    immediate: false,
                };
                encode::publish(out, number, &publish);
            }
            Self::CloseConnection | Self::CloseConnectionOk => {
                encode::method(out, 0, &self.class()).expect("encodes");
            }
            _ => encode::method(out, number, &self.class()).expect("encodes"),
        }
    }

    fn class(&self) -> AMQPClass {
        match self {
            Self::CloseConnection => {
                AMQPClass::Connection(connection::AMQPMethod::Close(connection::Close::default()))
            }
            Self::CloseConnectionOk => {
                AMQPClass::Connection(connection::AMQPMethod::CloseOk(connection::CloseOk {}))
            }
            Self::SelectConfirms => {
                AMQPClass::Confirm(confirm::AMQPMethod::Select(confirm::Select {
                    nowait: false,
                }))
            }
            Self::SelectTransactions => AMQPClass::Tx(tx::AMQPMethod::Select(tx::Select {})),
            Self::Commit => AMQPClass::Tx(tx::AMQPMethod::Commit(tx::Commit {})),
            Self::Rollback => AMQPClass::Tx(tx::AMQPMethod::Rollback(tx::Rollback {})),
            _ => self.channel_class(),
        }
    }

    fn channel_class(&self) -> AMQPClass {
        use channel::AMQPMethod::{Close, CloseOk, Flow, Open};
        match self {
            Self::OpenChannel => AMQPClass::Channel(Open(channel::Open {})),
            Self::CloseChannel => AMQPClass::Channel(Close(channel::Close::default())),
            Self::CloseChannelOk => AMQPClass::Channel(CloseOk(channel::CloseOk {})),
            Self::Flow(active) => AMQPClass::Channel(Flow(channel::Flow { active: *active })),
            _ => self.topology_class(),
        }
    }

    fn topology_class(&self) -> AMQPClass {
        use queue::AMQPMethod as Queue;
        let class = match self {
            Self::DeclareQueue(name, flags, arguments) => Queue::Declare(queue::Declare {
                queue: name.as_str().into(),
                passive: bit(*flags, 0) && bit(*flags, 1),
                durable: bit(*flags, 2),
                exclusive: bit(*flags, 3) && bit(*flags, 4),
                auto_delete: bit(*flags, 5) && bit(*flags, 6),
                nowait: bit(*flags, 7),
                arguments: arguments.table(),
            }),
            Self::DeleteQueue(name, flags) => Queue::Delete(queue::Delete {
                queue: name.as_str().into(),
                if_unused: bit(*flags, 0),
                if_empty: bit(*flags, 1),
                nowait: bit(*flags, 2),
            }),
            Self::PurgeQueue(name) => Queue::Purge(queue::Purge {
                queue: name.as_str().into(),
                nowait: false,
            }),
            Self::BindQueue(name, exchange, key, arguments) => Queue::Bind(queue::Bind {
                queue: name.as_str().into(),
                exchange: exchange.as_str().into(),
                routing_key: key.as_str().into(),
                nowait: false,
                arguments: arguments.table(),
            }),
            Self::UnbindQueue(name, exchange, key, arguments) => Queue::Unbind(queue::Unbind {
                queue: name.as_str().into(),
                exchange: exchange.as_str().into(),
                routing_key: key.as_str().into(),
                arguments: arguments.table(),
            }),
            _ => return self.exchange_class(),
        };
        AMQPClass::Queue(class)
    }

    fn exchange_class(&self) -> AMQPClass {
        use exchange::AMQPMethod as Exchange;
        let class = match self {
            Self::DeclareExchange(name, kind, flags, arguments) => {
                let kinds = ["direct", "fanout", "topic", "headers", "unknown"];
                Exchange::Declare(exchange::Declare {
                    exchange: name.as_str().into(),
                    kind: kinds[usize::from(*kind) % kinds.len()].into(),
                    passive: bit(*flags, 0) && bit(*flags, 1),
                    durable: bit(*flags, 2),
                    auto_delete: bit(*flags, 3),
                    internal: bit(*flags, 4) && bit(*flags, 5),
                    nowait: bit(*flags, 6),
                    arguments: arguments.table(),
                })
            }
            Self::DeleteExchange(name, if_unused) => Exchange::Delete(exchange::Delete {
                exchange: name.as_str().into(),
                if_unused: *if_unused,
                nowait: false,
            }),
            Self::BindExchange(destination, source, key) => Exchange::Bind(exchange::Bind {
                destination: destination.as_str().into(),
                source: source.as_str().into(),
                routing_key: key.as_str().into(),
                nowait: false,
                arguments: FieldTable::default(),
            }),
            Self::UnbindExchange(destination, source, key) => Exchange::Unbind(exchange::Unbind {
                destination: destination.as_str().into(),
                source: source.as_str().into(),
                routing_key: key.as_str().into(),
                nowait: false,
                arguments: FieldTable::default(),
            }),
            _ => return self.basic_class(),
        };
        AMQPClass::Exchange(class)
    }

    fn basic_class(&self) -> AMQPClass {
        use basic::AMQPMethod as Basic;
        AMQPClass::Basic(match self {
            Self::Qos(prefetch_count, global) => Basic::Qos(basic::Qos {
                prefetch_count: (*prefetch_count % 8).into(),
                global: *global,
            }),
            Self::Consume(name, tag, flags, arguments) => Basic::Consume(basic::Consume {
                queue: name.as_str().into(),
                consumer_tag: tag.as_str().into(),
                no_local: bit(*flags, 0),
                no_ack: bit(*flags, 1),
                exclusive: bit(*flags, 2) && bit(*flags, 3),
                nowait: bit(*flags, 4) && bit(*flags, 5),
                arguments: arguments.table(),
            }),
            Self::Cancel(tag, nowait) => Basic::Cancel(basic::Cancel {
                consumer_tag: tag.as_str().into(),
                nowait: *nowait,
            }),
            Self::Get(name, no_ack) => Basic::Get(basic::Get {
                queue: name.as_str().into(),
                no_ack: *no_ack,
            }),
            Self::Recover(requeue) => Basic::Recover(basic::Recover { requeue: *requeue }),
            Self::RecoverAsync(requeue) => {
                Basic::RecoverAsync(basic::RecoverAsync { requeue: *requeue })
            }
            _ => Basic::RecoverOk(basic::RecoverOk {}),
        })
    }
}

/// A publish.
#[derive(Debug)]
pub struct Message {
    exchange: ExchangeName,
    routing_key: QueueName,
    flags: u8,
    body: u16,
    header: Option<(u8, QueueName)>,
}

impl<'a> Arbitrary<'a> for Message {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self {
            exchange: u.arbitrary()?,
            routing_key: u.arbitrary()?,
            flags: u.arbitrary()?,
            // mostly small, sometimes large enough for a full outbox
            body: match u8::arbitrary(u)? {
                small @ 0..=200 => u16::from(small % 16),
                201..=250 => 5000,
                _ => 60_000,
            },
            header: u.arbitrary()?,
        })
    }
}

impl Message {
    /// Writes method and content.
    pub fn encode(&self, number: u16, out: &mut Vec<u8>) {
        let publish = Publish {
            exchange: self.exchange.as_str(),
            routing_key: self.routing_key.as_str(),
            mandatory: bit(self.flags, 0),
            immediate: bit(self.flags, 1) && bit(self.flags, 2),
        };
        encode::publish(out, number, &publish);
        let headers = self.headers();
        let properties = Properties {
            delivery_mode: Some(1 + u8::from(bit(self.flags, 3))),
            expiration: bit(self.flags, 4).then_some("100"),
            reply_to: (self.flags >> 5 == 7).then_some("amq.rabbitmq.reply-to"),
            headers: headers.as_deref(),
            ..Properties::default()
        };
        let mut raw = Vec::new();
        properties.encode(&mut raw);
        let body = vec![b'b'; usize::from(self.body)];
        encode::content(out, number, 4096, &raw, &body);
    }

    fn headers(&self) -> Option<Vec<u8>> {
        let (kind, queue) = self.header?;
        let key = AMQPValue::LongString(LongString::from(queue.as_str().as_bytes()));
        let keys = AMQPValue::FieldArray(FieldArray::from(vec![key.clone()]));
        let (name, value) = match kind % 4 {
            0 => ("CC", keys),
            1 => ("BCC", keys),
            2 => ("CC", key),
            _ => ("x", key),
        };
        let table = FieldTable::from(BTreeMap::from([(name.into(), value)]));
        let mut bytes = Vec::new();
        encode_table(&table, &mut bytes).expect("a table");
        Some(bytes)
    }
}
