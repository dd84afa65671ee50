//! A client that does a little of everything: publishes to one queue or to several at once, and acknowledges, refuses,
//! requeues and keeps what it gets.

use std::collections::BTreeSet;

use lapin::{Channel, Connection, ConnectionProperties, PublisherConfirm, options::*};
use rand::{Rng, rngs::StdRng};

use crate::{
    client,
    kill::{Client, Found, numbers},
    ledger::{self, Ledger},
    support::{Peer, durable_queue},
};

const NAME: &str = "mixed";
const QUEUES: [&str; 2] = ["mixed.a", "mixed.b"];

/// See the module.
#[derive(Default)]
pub struct Mixed {
    next: u64,
    ledgers: [Ledger; 2],
}

/// A delivery that was neither settled nor given back.
struct Held {
    tag: u64,
    queue: usize,
    number: u64,
}

/// A message on its way, and the queues that it is to be in.
struct Sent(u64, &'static [usize], PublisherConfirm);

impl Mixed {
    /// Works until the connection is lost.
    pub async fn work(&mut self, uri: &str, random: &mut StdRng) -> lapin::Result<()> {
        let connection = Connection::connect(uri, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        let confirm = ConfirmSelectOptions::default();
        channel.confirm_select(confirm).await?;
        let mut held = Vec::new();
        loop {
            let unsynced = [0, 1].map(|queue: usize| self.ledgers[queue].unsynced());
            let mut window = Vec::new();
            let count = random.random_range(1..60);
            for _ in 0..self.ledgers[0].next_window(count) {
                window.push(self.publish(&channel, random).await?);
            }
            for _ in 0..random.random_range(0..90) {
                let queue = random.random_range(0..2);
                self.take(&channel, queue, &mut held, random).await?;
            }
            for Sent(number, queues, confirm) in window {
                let confirmation = confirm.await?;
                assert!(confirmation.take_message().is_none(), "given back");
                for queue in queues {
                    self.ledgers[*queue].confirmed(number);
                }
            }
            for (ledger, unsynced) in self.ledgers.iter_mut().zip(unsynced) {
                ledger.synced(&unsynced);
            }
        }
    }

    async fn publish(&mut self, channel: &Channel, random: &mut StdRng) -> lapin::Result<Sent> {
        let number = self.next;
        self.next += 1;
        let (exchange, key, queues): (_, _, &[usize]) = match random.random_range(0..3) {
            0 => ("", QUEUES[0], &[0]),
            1 => ("", QUEUES[1], &[1]),
            _ => ("amq.fanout", "", &[0, 1]),
        };
        for queue in queues {
            self.ledgers[*queue].published(number);
        }
        let body = ledger::body(NAME, number);
        let confirm = client::publish(channel, exchange, key, &body).await?;
        Ok(Sent(number, queues, confirm))
    }

    /// Gets a message and does something with it.
    async fn take(
        &mut self,
        channel: &Channel,
        queue: usize,
        held: &mut Vec<Held>,
        random: &mut StdRng,
    ) -> lapin::Result<()> {
        let options = BasicGetOptions::default();
        let got = channel.basic_get(QUEUES[queue].into(), options).await?;
        let Some(message) = got else {
            return Ok(());
        };
        let number = ledger::number(NAME, &message.data);
        let tag = message.delivery_tag;
        match random.random_range(0..100) {
            0..60 => {
                self.ledgers[queue].settled(number);
                message.ack(BasicAckOptions::default()).await?;
            }
            60..70 => {
                self.ledgers[queue].settled(number);
                let options = BasicRejectOptions { requeue: false };
                message.reject(options).await?;
            }
            70..85 => {
                let options = BasicRejectOptions { requeue: true };
                message.reject(options).await?;
                assert!(self.ledgers[queue].knows(number), "unknown: {number}");
            }
            85..95 => held.push(Held { tag, queue, number }),
            _ => {
                self.ledgers[queue].settled(number);
                // With all that are held, whose tags are smaller.
                for Held {
                    tag: kept,
                    queue,
                    number,
                } in held.drain(..)
                {
                    assert!(kept < tag);
                    self.ledgers[queue].settled(number);
                }
                let options = BasicAckOptions { multiple: true };
                message.ack(options).await?;
            }
        }
        Ok(())
    }
}

impl Client for Mixed {
    fn queues(&self) -> Vec<&'static str> {
        QUEUES.to_vec()
    }

    fn declare(&self, peer: &mut Peer) {
        for queue in QUEUES {
            peer.declare(1, durable_queue(queue));
            peer.bind(1, queue, "amq.fanout", "");
        }
    }

    fn check(&mut self, found: &[Vec<Found>], round: usize) {
        for ((queue, ledger), found) in QUEUES.iter().zip(&mut self.ledgers).zip(found) {
            let numbers = numbers(NAME, found);
            let place = (round, queue);
            assert!(
                numbers.is_sorted_by(|a, b| a < b),
                "{place:?}: out of order: {numbers:?}"
            );
            ledger.check(&BTreeSet::from_iter(numbers), &place);
        }
    }

    fn done(&self) -> u64 {
        self.next
    }
}
