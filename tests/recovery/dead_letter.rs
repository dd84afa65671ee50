//! A client that refuses messages, which makes them move to another queue: whatever happens, each is in one of the two.
//! There are two such clients: one with plain queues, and one whose messages have priorities in both queues.

use std::collections::{BTreeMap, BTreeSet};

use lapin::{Channel, Connection, ConnectionProperties, options::*};
use rand::{Rng, rngs::StdRng};

use crate::{
    client,
    kill::{Client, Found, numbers},
    ledger::{self, Ledger},
    support::{AMQPValue, FieldTable, Peer, durable_queue, longstr, queue},
};

/// The queues of a client.
struct Queues {
    client: &'static str,
    source: &'static str,
    target: &'static str,
    /// The highest priority, 0 for queues without priorities.
    highest: u8,
}

const PLAIN: Queues = Queues {
    client: "dead-letter",
    source: "refused.from",
    target: "refused.to",
    highest: 0,
};

const WITH_PRIORITIES: Queues = Queues {
    client: "dead-letter-by-priority",
    source: "refused.by-priority.from",
    target: "refused.by-priority.to",
    highest: 3,
};

/// See the module.
pub struct DeadLetter {
    queues: Queues,
    next: u64,
    ledger: Ledger,
    /// Refused in the source; the broker may not have written that down.
    refused: BTreeSet<u64>,
    /// Refused in the source before something that was confirmed later on.
    moved: BTreeSet<u64>,
}

impl DeadLetter {
    /// The one with plain queues.
    pub fn plain() -> Self {
        Self::with(PLAIN)
    }

    /// The one with priorities.
    pub fn with_priorities() -> Self {
        Self::with(WITH_PRIORITIES)
    }

    fn with(queues: Queues) -> Self {
        Self {
            queues,
            next: 0,
            ledger: Ledger::default(),
            refused: BTreeSet::new(),
            moved: BTreeSet::new(),
        }
    }

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
                let body = ledger::body(self.queues.client, number);
                let (source, priority) = (self.queues.source, priority(number));
                let publish = client::publish_with_priority(&channel, source, priority, &body);
                window.push((number, publish.await?));
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
            let got = channel
                .basic_get(self.queues.source.into(), options)
                .await?;
            let Some(message) = got else { break };
            let number = ledger::number(self.queues.client, &message.data);
            assert!(self.refused.insert(number), "{number} was refused before");
            let options = BasicNackOptions::default();
            message.nack(options).await?;
        }
        Ok(())
    }

    async fn acknowledge(&mut self, channel: &Channel, count: u32) -> lapin::Result<()> {
        for _ in 0..count {
            let options = BasicGetOptions::default();
            let got = channel
                .basic_get(self.queues.target.into(), options)
                .await?;
            let Some(message) = got else { break };
            let number = ledger::number(self.queues.client, &message.data);
            assert!(self.refused.contains(&number), "{number} was not refused");
            self.ledger.settled(number);
            message.ack(BasicAckOptions::default()).await?;
        }
        Ok(())
    }
}

impl Client for DeadLetter {
    fn queues(&self) -> Vec<&'static str> {
        vec![self.queues.source, self.queues.target]
    }

    fn declare(&self, peer: &mut Peer) {
        let Queues {
            source,
            target,
            highest,
            ..
        } = self.queues;
        let priorities =
            (highest > 0).then(|| ("x-max-priority", AMQPValue::LongInt(highest.into())));
        let dead_letters = [
            ("x-dead-letter-exchange", longstr("")),
            ("x-dead-letter-routing-key", longstr(target)),
        ];
        let declare = |name, arguments: Vec<_>| queue::Declare {
            arguments: fields(arguments),
            ..durable_queue(name)
        };
        let of_source = dead_letters.into_iter().chain(priorities.clone());
        peer.declare(1, declare(target, priorities.into_iter().collect()));
        peer.declare(1, declare(source, of_source.collect()));
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
        let Queues {
            client, highest, ..
        } = self.queues;
        let source = numbers(client, in_source);
        let place = |number: &u64| (highest - priority(*number).min(highest), *number);
        assert!(
            source.iter().map(place).is_sorted_by(|a, b| a < b),
            "round {round}: out of order: {source:?}"
        );
        let target = numbers(client, in_target);
        let source: BTreeSet<u64> = source.into_iter().collect();
        let together: BTreeSet<u64> = source.iter().chain(&target).copied().collect();
        assert_eq!(
            together.len(),
            source.len() + target.len(),
            "round {round}: in both queues, or twice in one: {source:?} {target:?}"
        );
        self.ledger.check(&together, &(round, client));
        let back: Vec<_> = self.moved.intersection(&source).collect();
        assert!(back.is_empty(), "round {round}: moved and back: {back:?}");
        self.refused = target.iter().copied().collect();
        self.moved.clone_from(&self.refused);
    }

    fn done(&self) -> u64 {
        self.next
    }
}

/// The priority that a message says, which is beyond the highest now and then.
fn priority(number: u64) -> u8 {
    (number % 5) as u8
}

fn fields(fields: Vec<(&'static str, AMQPValue)>) -> FieldTable {
    let fields = fields.into_iter();
    let fields: BTreeMap<_, _> = fields.map(|(key, value)| (key.into(), value)).collect();
    FieldTable::from(fields)
}
