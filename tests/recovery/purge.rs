//! The scripted peer: publishes long windows, acknowledges many deliveries at once, purges the queue, and deletes it and
//! declares it again.

use std::collections::BTreeSet;

use rand::{Rng, rngs::StdRng};

use crate::{
    kill::{Client, Found, numbers, persistent},
    ledger::{self, Ledger},
    support::{Peer, durable_queue},
};

const NAME: &str = "purge";
const QUEUE: &str = "purged";

/// See the module.
#[derive(Default)]
pub struct Purge {
    next: u64,
    /// Confirms expected on the channel so far.
    sent: u64,
    ledger: Ledger,
}

impl Purge {
    /// Works until the connection is lost, which is a panic.
    pub fn work(&mut self, broker: std::net::SocketAddr, random: &mut StdRng) {
        let mut peer = Peer::tcp_to(broker).opened(&Default::default());
        peer.open_channel(1);
        peer.open_channel(2);
        peer.confirm_select(1);
        self.sent = 0;
        loop {
            let count = random.random_range(1..300);
            self.publish(&mut peer, self.ledger.next_window(count));
            match random.random_range(0..10) {
                0..6 => self.consume(&mut peer, random.random_range(1..250)),
                6..8 => self.purge(&mut peer),
                8 => self.delete(&mut peer),
                _ => {}
            }
        }
    }

    /// Publishes and waits until all is confirmed, and with it all that was settled before.
    fn publish(&mut self, peer: &mut Peer, count: u64) {
        let unsynced = self.ledger.unsynced();
        let numbers = self.next..self.next + count;
        self.next += count;
        for number in numbers.clone() {
            self.ledger.published(number);
            let body = ledger::body(NAME, number);
            peer.publish_with(1, "", QUEUE, persistent(), &body);
        }
        let wanted = self.sent + count;
        while self.sent < wanted {
            self.sent = peer.expect::<crate::support::basic::Ack>(1).delivery_tag;
        }
        numbers.for_each(|number| self.ledger.confirmed(number));
        self.ledger.synced(&unsynced);
    }

    /// Takes the first messages and acknowledges most of them in one.
    fn consume(&mut self, peer: &mut Peer, count: u16) {
        let (ready, _) = peer.counts(2, QUEUE);
        let count = u32::from(count).min(ready);
        peer.qos(2, count as u16, false);
        peer.consume(2, QUEUE, "c");
        let mut deliveries = Vec::new();
        for _ in 0..count {
            deliveries.push(peer.expect_delivery(2));
        }
        if let Some(last) = deliveries.get(deliveries.len() * 3 / 4) {
            for delivery in &deliveries {
                if delivery.tag() <= last.tag() {
                    let number = ledger::number(NAME, &delivery.body);
                    self.ledger.settled(number);
                }
            }
            peer.ack(2, last.tag(), true);
        }
        // The others go back to their places, and with the channel whatever else was delivered meanwhile.
        peer.send(2, crate::support::channel::Close::default());
        while !matches!(
            peer.next_frame(2, "close-ok"),
            amq_protocol::frame::AMQPFrame::Method(
                _,
                crate::support::AMQPClass::Channel(crate::support::channel::AMQPMethod::CloseOk(_))
            )
        ) {}
        peer.open_channel(2);
    }

    fn purge(&mut self, peer: &mut Peer) {
        self.ledger.all_settled();
        peer.purge(2, QUEUE);
    }

    /// What was in a queue that is deleted does not come back, not even with its name.
    fn delete(&mut self, peer: &mut Peer) {
        self.ledger.all_settled();
        peer.delete_queue(2, QUEUE);
        self.declare(peer);
        let gone = self.ledger.unsynced();
        self.ledger.synced(&gone);
    }
}

impl Client for Purge {
    fn queues(&self) -> Vec<&'static str> {
        vec![QUEUE]
    }

    fn declare(&self, peer: &mut Peer) {
        peer.declare(1, durable_queue(QUEUE));
    }

    fn check(&mut self, found: &[Vec<Found>], round: usize) {
        let numbers = numbers(NAME, &found[0]);
        let place = (round, QUEUE);
        assert!(
            numbers.is_sorted_by(|a, b| a < b),
            "{place:?}: out of order: {numbers:?}"
        );
        self.ledger.check(&BTreeSet::from_iter(numbers), &place);
    }

    fn done(&self) -> u64 {
        self.next
    }
}
