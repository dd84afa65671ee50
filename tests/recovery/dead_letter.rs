//! A client that refuses messages, which makes them move to another queue: whatever happens, each is in one of the two.

use std::collections::BTreeSet;

use lapin::{Channel, Connection, ConnectionProperties, options::*};
use rand::{Rng, rngs::StdRng};

use crate::{
    client,
    kill::{Client, Found, numbers},
    ledger::{self, Ledger},
    support::{Peer, durable_queue, longstr, queue, table},
};

const NAME: &str = "dead-letter";
const SOURCE: &str = "refused.from";
const TARGET: &str = "refused.to";

/// See the module.
#[derive(Default)]
pub struct DeadLetter {
    next: u64,
    ledger: Ledger,
    /// Refused in the source; the broker may not have written that down.
    refused: BTreeSet<u64>,
    /// Refused in the source before something that was confirmed later on.
    moved: BTreeSet<u64>,
}

impl DeadLetter {
    /// Works until the connection is lost.
    pub async fn work(&mut self, uri: &str, random: &mut StdRng) -> lapin::Result<()> {
        let connection = Connection::connect(uri, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        let confirm = ConfirmSelectOptions::default();
        channel.confirm_select(confirm).await?;
        loop {
            let unsynced = self.ledger.unsynced();
            let refused = self.refused.clone();
            let mut window = Vec::new();
            let count = random.random_range(1..40);
            for _ in 0..self.ledger.next_window(count) {
                let number = self.next;
                self.next += 1;
                self.ledger.published(number);
                let body = ledger::body(NAME, number);
                window.push((number, client::publish(&channel, "", SOURCE, &body).await?));
            }
            self.refuse(&channel, random.random_range(0..40)).await?;
            self.acknowledge(&channel, random.random_range(0..40))
                .await?;
            for (number, confirm) in window {
                confirm.await?;
                self.ledger.confirmed(number);
            }
            self.ledger.synced(&unsynced);
            self.moved.extend(refused);
        }
    }

    async fn refuse(&mut self, channel: &Channel, count: u32) -> lapin::Result<()> {
        for _ in 0..count {
            let options = BasicGetOptions::default();
            let got = channel.basic_get(SOURCE.into(), options).await?;
            let Some(message) = got else { break };
            let number = ledger::number(NAME, &message.data);
            assert!(self.refused.insert(number), "{number} was refused before");
            let options = BasicNackOptions::default();
            message.nack(options).await?;
        }
        Ok(())
    }

    async fn acknowledge(&mut self, channel: &Channel, count: u32) -> lapin::Result<()> {
        for _ in 0..count {
            let options = BasicGetOptions::default();
            let got = channel.basic_get(TARGET.into(), options).await?;
            let Some(message) = got else { break };
            let number = ledger::number(NAME, &message.data);
            assert!(self.refused.contains(&number), "{number} was not refused");
            self.ledger.settled(number);
            message.ack(BasicAckOptions::default()).await?;
        }
        Ok(())
    }
}

impl Client for DeadLetter {
    fn queues(&self) -> Vec<&'static str> {
        vec![SOURCE, TARGET]
    }

    fn declare(&self, peer: &mut Peer) {
        peer.declare(1, durable_queue(TARGET));
        let arguments = table([
            ("x-dead-letter-exchange", longstr("")),
            ("x-dead-letter-routing-key", longstr(TARGET)),
        ]);
        let source = queue::Declare {
            arguments,
            ..durable_queue(SOURCE)
        };
        peer.declare(1, source);
    }

    fn check(&mut self, found: &[Vec<Found>], round: usize) {
        let [in_source, in_target] = found else {
            unreachable!("two queues")
        };
        assert!(
            in_target.iter().all(|it| it.died),
            "round {round}: no x-death"
        );
        assert!(
            !in_source.iter().any(|it| it.died),
            "round {round}: x-death"
        );
        let source = numbers(NAME, in_source);
        assert!(
            source.is_sorted_by(|a, b| a < b),
            "round {round}: out of order: {source:?}"
        );
        let target = numbers(NAME, in_target);
        let source: BTreeSet<u64> = source.into_iter().collect();
        let together: BTreeSet<u64> = source.iter().chain(&target).copied().collect();
        assert_eq!(
            together.len(),
            source.len() + target.len(),
            "round {round}: in both queues, or twice in one: {source:?} {target:?}"
        );
        self.ledger.check(&together, &(round, SOURCE, TARGET));
        let back: Vec<_> = self.moved.intersection(&source).collect();
        assert!(back.is_empty(), "round {round}: moved and back: {back:?}");
        self.refused = target.iter().copied().collect();
        self.moved.clone_from(&self.refused);
    }

    fn done(&self) -> u64 {
        self.next
    }
}
