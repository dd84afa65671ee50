//! A client that moves messages between queues by transactions: each happened whole, or not at all, and in the order of
//! the messages.
//!
//! One thing may change that order: a message that has come back 20 times lets others go first (`docs/queues.md`). The
//! checks bring all messages back in each round, so some get there. The client counts how often each has come back, and
//! bears it from those alone that may have come back as often.

use std::collections::{BTreeMap, BTreeSet};

use lapin::{Channel, Connection, ConnectionProperties, options::*};
use rand::{Rng, rngs::StdRng};

use crate::{
    client,
    kill::{Client, Found, numbers},
    ledger,
    support::{Peer, durable_queue},
};

const NAME: &str = "transactions";
const QUEUES: [&str; 3] = ["tx.source", "tx.a", "tx.b"];
const SOURCE: usize = 0;
const COPIES: [usize; 2] = [1, 2];

/// How often a message comes back before it gives way.
const PATIENCE: u16 = 20;

/// Where a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Source,
    Copies,
    Nowhere,
}

/// The messages that are somewhere.
type Places = BTreeMap<u64, Place>;

/// See the module.
#[derive(Default)]
pub struct Transactions {
    next: u64,
    places: Places,
    /// What there is if the commit that was sent last has happened.
    committing: Option<Places>,
    /// How often each message of the source may have come back. A kill may have brought back what was taken.
    returns: BTreeMap<u64, u16>,
    /// What was taken out of the source since the last commit or rollback.
    taken: Vec<u64>,
    /// What has given way.
    late: BTreeSet<u64>,
}

impl Transactions {
    /// Works until the connection is lost.
    pub async fn work(&mut self, uri: &str, random: &mut StdRng) -> lapin::Result<()> {
        let connection = Connection::connect(uri, ConnectionProperties::default()).await?;
        let mut channel = select(&connection).await?;
        loop {
            let mut places = self.places.clone();
            match random.random_range(0..10) {
                0..4 => self.fill(&channel, &mut places, random).await?,
                4..8 => self.go_on(&channel, &mut places, random).await?,
                _ => end(&channel, &mut places, random).await?,
            }
            if random.random_ratio(1, 6) {
                channel.tx_rollback().await?;
                // What was taken is still the channel's, and goes back with it.
                channel.close(200, "rolled back".into()).await?;
                let back = std::mem::take(&mut self.taken);
                self.came_back(back);
                channel = select(&connection).await?;
                continue;
            }
            self.committing = Some(places);
            channel.tx_commit().await?;
            self.places = self.committing.take().unwrap_or_default();
            self.taken.clear();
        }
    }

    /// New messages into the source.
    async fn fill(
        &mut self,
        channel: &Channel,
        places: &mut Places,
        random: &mut StdRng,
    ) -> lapin::Result<()> {
        for _ in 0..random.random_range(1..40) {
            let number = self.next;
            self.next += 1;
            let body = ledger::body(NAME, number);
            client::publish(channel, "", QUEUES[SOURCE], &body).await?;
            places.insert(number, Place::Source);
        }
        Ok(())
    }

    /// From the source into both other queues.
    async fn go_on(
        &mut self,
        channel: &Channel,
        places: &mut Places,
        random: &mut StdRng,
    ) -> lapin::Result<()> {
        for _ in 0..random.random_range(1..20) {
            let Some(number) = take(channel, SOURCE).await? else {
                break;
            };
            self.taken.push(number);
            assert_eq!(places.insert(number, Place::Copies), Some(Place::Source));
            let passed_over = places.range(..number);
            let passed_over = passed_over.filter(|(_, place)| **place == Place::Source);
            self.give_way(number, passed_over.map(|(number, _)| *number));
            let body = ledger::body(NAME, number);
            for queue in COPIES {
                client::publish(channel, "", QUEUES[queue], &body).await?;
            }
        }
        Ok(())
    }

    /// Notes what still waits before the message that was taken.
    fn give_way(&mut self, number: u64, waiting: impl Iterator<Item = u64>) {
        for waits in waiting {
            let returns = self.returns.get(&waits).copied().unwrap_or_default();
            assert!(
                returns >= PATIENCE,
                "{waits} was passed over by {number}, and has come back at most {returns} times"
            );
            self.late.insert(waits);
        }
    }

    fn came_back(&mut self, numbers: impl IntoIterator<Item = u64>) {
        for number in numbers {
            *self.returns.entry(number).or_default() += 1;
        }
    }
}

async fn select(connection: &Connection) -> lapin::Result<Channel> {
    let channel = connection.create_channel().await?;
    channel.tx_select().await?;
    Ok(channel)
}

/// Out of both.
async fn end(channel: &Channel, places: &mut Places, random: &mut StdRng) -> lapin::Result<()> {
    for _ in 0..random.random_range(1..30) {
        let [a, b] = COPIES;
        let Some(number) = take(channel, a).await? else {
            break;
        };
        assert_eq!(take(channel, b).await?, Some(number));
        assert_eq!(places.insert(number, Place::Nowhere), Some(Place::Copies));
    }
    Ok(())
}

/// Gets and acknowledges a message.
async fn take(channel: &Channel, queue: usize) -> lapin::Result<Option<u64>> {
    let options = BasicGetOptions::default();
    let got = channel.basic_get(QUEUES[queue].into(), options).await?;
    let Some(message) = got else {
        return Ok(None);
    };
    message.ack(BasicAckOptions::default()).await?;
    Ok(Some(ledger::number(NAME, &message.data)))
}

/// Without the messages that are nowhere.
fn somewhere(places: &Places) -> Places {
    let there = places.iter().filter(|(_, place)| **place != Place::Nowhere);
    there.map(|(number, place)| (*number, *place)).collect()
}

impl Client for Transactions {
    fn queues(&self) -> Vec<&'static str> {
        QUEUES.to_vec()
    }

    fn declare(&self, peer: &mut Peer) {
        for queue in QUEUES {
            peer.declare(1, durable_queue(queue));
        }
    }

    fn check(&mut self, found: &[Vec<Found>], round: usize) {
        let queues: Vec<Vec<u64>> = found.iter().map(|it| numbers(NAME, it)).collect();
        let [source, a, b] = queues.as_slice() else {
            unreachable!("three queues")
        };
        assert_eq!(a, b, "round {round}: half a transaction");
        for queue in [source, a] {
            let in_order = queue.iter().filter(|it| !self.late.contains(it));
            assert!(
                in_order.is_sorted_by(|x, y| x < y),
                "round {round}: out of order: {queue:?}, but for {:?}",
                self.late
            );
        }
        let in_source = source.iter().map(|it| (*it, Place::Source));
        let now: Places = in_source
            .chain(a.iter().map(|it| (*it, Place::Copies)))
            .collect();
        assert_eq!(
            now.len(),
            source.len() + a.len(),
            "round {round}: in both places"
        );
        let possible = [Some(&self.places), self.committing.as_ref()];
        let mut possible = possible.into_iter().flatten().map(somewhere);
        assert!(
            possible.any(|places| places == now),
            "round {round}: neither before nor after the last transaction: {now:?}, before: {:?}, after: {:?}",
            self.places,
            self.committing
        );
        drop(possible);
        self.places = now;
        self.committing = None;
        let taken = std::mem::take(&mut self.taken);
        self.came_back(taken);
        self.came_back(source.iter().copied());
    }

    fn done(&self) -> u64 {
        self.next
    }
}
