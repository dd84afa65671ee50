//! Well-formed methods in any order, as no client would send them: whatever the answer, the broker stays in order.
//! (One that panicked fails the test when it is stopped.)

use crate::leveret_only;
use crate::support::content::publish_to;
use crate::support::operations::{consume_from, exchange_of};
use crate::support::peer::method_bytes;
use crate::support::table::longstrs;
use crate::support::{
    AMQPProperties, AMQPValue, Broker, FieldTable, Peer, basic, channel, confirm, exchange,
    longstr, queue, table, tx,
};
use std::time::Duration;

/// A small generator with a printed seed, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn of(&mut self, words: &[&'static str]) -> &'static str {
        words[usize::try_from(self.below(words.len() as u64)).unwrap()]
    }

    fn queue(&mut self) -> &'static str {
        match self.below(20) {
            0 => "amq.rabbitmq.reply-to",
            1 => "",
            _ => self.of(&["q0", "q1", "q2", "q3"]),
        }
    }

    fn exchange(&mut self) -> &'static str {
        match self.below(20) {
            0 => "amq.rabbitmq.trace",
            1..=3 => "",
            _ => self.of(&["e0", "e1", "e2", "amq.topic", "amq.headers"]),
        }
    }

    fn key(&mut self) -> &'static str {
        self.of(&["q0", "q1", "a.b", "#", "*", "a.#", ""])
    }

    fn arguments(&mut self) -> FieldTable {
        match self.below(8) {
            0 => table([("x-max-length", AMQPValue::LongInt(3))]),
            1 => table([("x-message-ttl", AMQPValue::LongInt(20))]),
            2 => table([
                ("x-dead-letter-exchange", longstr("")),
                ("x-dead-letter-routing-key", longstr("q1")),
                ("x-max-length", AMQPValue::LongInt(2)),
            ]),
            3 => table([("x-expires", AMQPValue::LongInt(50))]),
            4 => table([("x-max-priority", AMQPValue::LongInt(3))]),
            5 => table([("x-single-active-consumer", AMQPValue::Boolean(true))]),
            _ => FieldTable::default(),
        }
    }

    fn properties(&mut self) -> AMQPProperties {
        let properties = AMQPProperties::default();
        match self.below(8) {
            0 => properties.with_delivery_mode(2),
            1 => properties.with_expiration("5".into()),
            2 => properties.with_reply_to("amq.rabbitmq.reply-to".into()),
            3 => properties.with_headers(table([("CC", longstrs(["q1", "q2"]))])),
            4 => properties.with_headers(table([("BCC", longstrs(["q3"])), ("h", longstr("v"))])),
            5 => properties.with_priority(2),
            _ => properties,
        }
    }

    /// One method, with its content if it has any, for one of three channels.
    fn method(&mut self) -> Vec<u8> {
        let channel = u16::try_from(1 + self.below(3)).unwrap();
        let (queue, exchange, key) = (self.queue(), self.exchange(), self.key());
        let tag = self.of(&["c0", "c1", ""]);
        let nowait = self.chance(20);
        match self.below(30) {
            0 if self.chance(3) => method_bytes(channel, channel::Open {}),
            1 if self.chance(3) => method_bytes(channel, channel::Close::default()),
            2 if self.chance(3) => method_bytes(channel, channel::CloseOk {}),
            3..=5 => {
                let declare = queue::Declare {
                    queue: queue.into(),
                    durable: self.chance(50),
                    exclusive: self.chance(10),
                    auto_delete: self.chance(20),
                    passive: self.chance(20),
                    nowait,
                    arguments: self.arguments(),
                };
                method_bytes(channel, declare)
            }
            6 if self.chance(40) => {
                let delete = queue::Delete {
                    queue: queue.into(),
                    if_unused: self.chance(30),
                    if_empty: self.chance(30),
                    nowait,
                };
                method_bytes(channel, delete)
            }
            7 => method_bytes(
                channel,
                queue::Purge {
                    queue: queue.into(),
                    nowait,
                },
            ),
            8 | 9 => {
                let bind = queue::Bind {
                    queue: queue.into(),
                    exchange: exchange.into(),
                    routing_key: key.into(),
                    nowait,
                    arguments: FieldTable::default(),
                };
                method_bytes(channel, bind)
            }
            10 => {
                let unbind = queue::Unbind {
                    queue: queue.into(),
                    exchange: exchange.into(),
                    routing_key: key.into(),
                    arguments: FieldTable::default(),
                };
                method_bytes(channel, unbind)
            }
            11 => {
                let kind = self.of(&["direct", "fanout", "topic", "headers"]);
                let declare = exchange::Declare {
                    durable: self.chance(50),
                    internal: self.chance(10),
                    nowait,
                    ..exchange_of(kind, exchange)
                };
                method_bytes(channel, declare)
            }
            12 => {
                let bind = exchange::Bind {
                    destination: exchange.into(),
                    source: self.exchange().into(),
                    routing_key: key.into(),
                    nowait,
                    arguments: FieldTable::default(),
                };
                method_bytes(channel, bind)
            }
            13 if self.chance(40) => {
                let delete = exchange::Delete {
                    exchange: exchange.into(),
                    if_unused: self.chance(50),
                    nowait,
                };
                method_bytes(channel, delete)
            }
            14 | 15 => {
                let consume = basic::Consume {
                    no_ack: self.chance(30),
                    exclusive: self.chance(10),
                    nowait,
                    ..consume_from(queue, tag)
                };
                method_bytes(channel, consume)
            }
            16 => {
                let cancel = basic::Cancel {
                    consumer_tag: tag.into(),
                    nowait,
                };
                method_bytes(channel, cancel)
            }
            17 | 18 => {
                let get = basic::Get {
                    queue: queue.into(),
                    no_ack: self.chance(50),
                };
                method_bytes(channel, get)
            }
            19 => method_bytes(channel, confirm::Select { nowait }),
            20 if self.chance(20) => method_bytes(channel, tx::Select {}),
            20 if self.chance(30) => method_bytes(channel, tx::Commit {}),
            21 if self.chance(20) => method_bytes(channel, tx::Rollback {}),
            22 => {
                let prefetch_count = u16::try_from(self.below(4)).unwrap();
                let global = self.chance(50);
                method_bytes(
                    channel,
                    basic::Qos {
                        prefetch_count,
                        global,
                    },
                )
            }
            23 => method_bytes(
                channel,
                basic::Recover {
                    requeue: self.chance(50),
                },
            ),
            24..=26 => self.settlement(channel),
            _ => self.publish(channel, exchange, key),
        }
    }

    fn settlement(&mut self, channel: u16) -> Vec<u8> {
        let delivery_tag = self.below(4);
        let (multiple, requeue) = (self.chance(50), self.chance(50));
        match self.below(3) {
            0 => method_bytes(
                channel,
                basic::Ack {
                    delivery_tag,
                    multiple,
                },
            ),
            1 => method_bytes(
                channel,
                basic::Nack {
                    delivery_tag,
                    multiple,
                    requeue,
                },
            ),
            _ => method_bytes(
                channel,
                basic::Reject {
                    delivery_tag,
                    requeue,
                },
            ),
        }
    }

    fn publish(&mut self, channel: u16, exchange: &str, key: &str) -> Vec<u8> {
        let publish = basic::Publish {
            mandatory: self.chance(30),
            immediate: self.chance(10),
            ..publish_to(exchange, key)
        };
        let body = vec![b'x'; usize::try_from(self.below(3) * 100).unwrap()];
        crate::support::content::publish_bytes(channel, publish, self.properties(), &body)
    }
}

#[test]
fn methods_in_any_order_never_upset_the_broker() {
    leveret_only!("its connections would take seconds to end");
    let broker = Broker::start();
    for seed in 1..=60_u64 {
        eprintln!("seed {seed}");
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut peer = Peer::connect_to(&broker);
        peer.open_channel(2);
        peer.open_channel(3);
        for _ in 0..60 {
            let run: Vec<u8> = (0..8).flat_map(|_| random.method()).collect();
            if !peer.try_send_bytes(&run) {
                break;
            }
            // Every channel that was closed is opened again; a closed connection ends the round.
            if !peer.answer_closes(Duration::from_millis(2)) {
                break;
            }
        }
        if random.chance(50) {
            peer.cut();
        }
    }
    // It is not stuck.
    let mut peer = Peer::connect_to(&broker);
    let queue = peer.fresh_queue(1, "afterwards");
    peer.fill(&queue, &["a", "b"]);
    assert_eq!(peer.drain(1, &queue), ["a", "b"]);
    peer.close();
}
