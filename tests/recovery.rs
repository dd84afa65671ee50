//! What survives. The real binary is ended with `kill -9` at random moments and started again on
//! the same data: every confirmed message is there, in order; what was settled stays away; durable
//! definitions come back and transient ones do not; a transaction happened whole or not at all.
//!
//! Moments come from a seed that a failing test prints; `LEVERET_TEST_SEED` repeats it, as far as
//! the scheduling of processes lets it.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a failed step is a failed test, and its panic is the report"
)]

use std::{
    collections::BTreeSet,
    pin::pin,
    time::{Duration, SystemTime},
};

use client::{
    bodies, connect, declare, declare_durable, drain, get, message_count, open, publish,
    publish_confirmed,
};
use lapin::{
    BasicProperties, Channel, Connection, ErrorKind, ExchangeKind, PublisherConfirm, options::*,
    types::FieldTable,
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use support::{Broker, foreign_broker};
use tokio::time::{sleep, timeout};

#[path = "support/client.rs"]
mod client;
#[path = "support/mod.rs"]
mod support;

const ROUNDS: usize = 6;
const QUEUE: &str = "durable";

/// A broker of our own; another one cannot be killed from here.
fn mortal_broker() -> Option<Broker> {
    if foreign_broker() {
        eprintln!("not run against another broker: it cannot be killed from here");
        return None;
    }
    Some(Broker::start())
}

fn random() -> StdRng {
    let chosen = std::env::var("LEVERET_TEST_SEED").ok();
    let seed = chosen
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            now.expect("a clock after 1970").as_nanos() as u64
        });
    eprintln!("LEVERET_TEST_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

/// How long what had arrived before a kill is still looked at.
const AFTERMATH: Duration = Duration::from_millis(500);

/// Runs `work` until the broker, killed after a random time, cuts it off.
async fn until_killed<T>(
    broker: &mut Broker,
    random: &mut StdRng,
    work: impl AsyncFnOnce() -> lapin::Result<T>,
) {
    let life = Duration::from_millis(random.random_range(20..400));
    let mut work = pin!(work());
    let ended = match timeout(life, &mut work).await {
        Ok(ended) => Some(ended),
        Err(_) => {
            broker.kill();
            // Bounded, as lapin (4.12) sometimes leaves a future pending for ever that it was given in the moment
            // in which the connection was lost.
            timeout(AFTERMATH, work).await.ok()
        }
    };
    assert!(!matches!(ended, Some(Ok(_))), "the work ended by itself");
    assert!(
        broker.pid().is_none(),
        "the connection ended before the kill"
    );
}

/// Whether there were enough rounds: on a busy machine a broker may die several times before it has done anything.
fn enough(rounds: usize, something_done: bool) -> bool {
    assert!(
        something_done || rounds < 10 * ROUNDS,
        "nothing was done in {rounds} rounds"
    );
    something_done && rounds >= ROUNDS
}

fn number(body: &[u8]) -> u64 {
    let text = std::str::from_utf8(body).expect("a number's digits");
    text.parse().expect("a number")
}

/// Everything in a queue, which keeps it: the connection ends without acknowledging.
async fn contents(uri: &str, queue: &str) -> Vec<u64> {
    let (connection, channel) = open(uri).await;
    let all = drain(&channel, queue).await;
    connection
        .close(200, "looked".into())
        .await
        .expect("a clean close");
    all.iter().map(|message| number(&message.data)).collect()
}

/// What the client knows of the queue's messages, over all rounds.
#[derive(Default)]
struct Known {
    next: u64,
    confirmed: BTreeSet<u64>,
    /// Acknowledged; the broker may or may not have heard of it.
    acknowledged: BTreeSet<u64>,
    /// Acknowledged before something that was confirmed later on: it must not come back.
    settled: BTreeSet<u64>,
}

impl Known {
    /// Compares with what is in the queue after a restart, and goes on from there.
    fn check(&mut self, found: &[u64], round: usize) {
        assert!(
            found.is_sorted_by(|a, b| a < b),
            "round {round}: out of order: {found:?}"
        );
        let found: BTreeSet<u64> = found.iter().copied().collect();
        let wanted = self.confirmed.difference(&self.acknowledged);
        let lost: Vec<_> = wanted.filter(|n| !found.contains(n)).collect();
        assert!(
            lost.is_empty(),
            "round {round}: confirmed and lost: {lost:?}"
        );
        let back: Vec<_> = self.settled.intersection(&found).collect();
        assert!(back.is_empty(), "round {round}: settled and back: {back:?}");
        let invented = found.last().is_some_and(|last| *last >= self.next);
        assert!(!invented, "round {round}: never published: {found:?}");
        // Whatever is here after a restart is on disk; whatever is not has been settled.
        self.settled
            .extend((0..self.next).filter(|n| !found.contains(n)));
        self.acknowledged.clone_from(&self.settled);
        self.confirmed = found;
    }
}

/// Publishes windows of confirmed messages and takes some of them away again, until cut off.
async fn publish_and_take(
    connection: &Connection,
    known: &mut Known,
    random: &mut StdRng,
) -> lapin::Result<()> {
    let publisher = connection.create_channel().await?;
    publisher
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    let taker = connection.create_channel().await?;
    loop {
        let settling = known.acknowledged.clone();
        let mut window: Vec<(u64, PublisherConfirm)> = Vec::new();
        for _ in 0..random.random_range(1..60) {
            let n = known.next;
            known.next += 1;
            window.push((
                n,
                publish(&publisher, "", QUEUE, n.to_string().as_bytes()).await?,
            ));
        }
        take(&taker, known, random.random_range(0..50)).await?;
        for (n, confirm) in window {
            confirm.await?;
            known.confirmed.insert(n);
        }
        known.settled.extend(settling);
    }
}

/// Gets and acknowledges some messages; returns when the broker has read the acknowledgements.
async fn take(channel: &Channel, known: &mut Known, count: u32) -> lapin::Result<()> {
    for _ in 0..count {
        let got = channel
            .basic_get(QUEUE.into(), BasicGetOptions::default())
            .await?;
        let Some(message) = got else { break };
        known.acknowledged.insert(number(&message.data));
        message.ack(BasicAckOptions::default()).await?;
    }
    channel.basic_qos(1, BasicQosOptions::default()).await
}

#[tokio::test]
async fn confirmed_messages_survive_kill_9_in_order_and_settled_ones_stay_away() {
    let Some(mut broker) = mortal_broker() else {
        return;
    };
    let mut random = random();
    let uri = broker.amqp_uri();
    let (connection, channel) = open(&uri).await;
    declare_durable(&channel, QUEUE).await;
    drop((channel, connection));
    let mut known = Known::default();
    for round in 0.. {
        if enough(round, !known.settled.is_empty()) {
            break;
        }
        let mut choices = StdRng::seed_from_u64(random.random());
        let connection = connect(&uri).await;
        until_killed(&mut broker, &mut random, async || {
            publish_and_take(&connection, &mut known, &mut choices).await
        })
        .await;
        broker.start_again();
        known.check(&contents(&uri, QUEUE).await, round);
    }
}

#[tokio::test]
async fn durable_definitions_survive_kill_9_and_transient_ones_do_not() {
    let Some(mut broker) = mortal_broker() else {
        return;
    };
    let uri = broker.amqp_uri();
    let (_connection, channel) = open(&uri).await;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await
        .expect("confirm mode");
    declare_durable(&channel, "kept").await;
    declare(
        &channel,
        "lost",
        QueueDeclareOptions::default(),
        FieldTable::default(),
    )
    .await;
    for (exchange, durable) in [("kept.topic", true), ("lost.topic", false)] {
        let options = ExchangeDeclareOptions {
            durable,
            ..Default::default()
        };
        let (kind, none) = (ExchangeKind::Topic, FieldTable::default());
        channel
            .exchange_declare(exchange.into(), kind, options, none)
            .await
            .expect("an exchange");
        let (options, none) = (QueueBindOptions::default(), FieldTable::default());
        let bound = channel.queue_bind("kept".into(), exchange.into(), "a.#".into(), options, none);
        bound.await.expect("a binding");
    }
    let transient = channel.basic_publish(
        "".into(),
        "kept".into(),
        BasicPublishOptions::default(),
        b"transient",
        BasicProperties::default().with_delivery_mode(1),
    );
    transient
        .await
        .expect("to publish")
        .await
        .expect("a confirm");
    publish_confirmed(&channel, "kept.topic", "a.b", b"persistent").await;
    broker.kill();
    broker.start_again();

    let (connection, channel) = open(&uri).await;
    assert_eq!(bodies(&drain(&channel, "kept").await), ["persistent"]);
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await
        .expect("confirm mode");
    let returned = publish_confirmed(&channel, "kept.topic", "a.c", b"again").await;
    assert!(returned.is_none(), "the binding is gone");
    let passive = QueueDeclareOptions::default().passive();
    let lost = channel
        .queue_declare("lost".into(), passive, FieldTable::default())
        .await;
    assert_eq!(closed_with(&lost.expect_err("a transient queue")), 404);
    let channel = connection.create_channel().await.expect("a channel");
    let passive = ExchangeDeclareOptions {
        passive: true,
        ..Default::default()
    };
    let (kind, none) = (ExchangeKind::Topic, FieldTable::default());
    let lost = channel
        .exchange_declare("lost.topic".into(), kind, passive, none)
        .await;
    assert_eq!(closed_with(&lost.expect_err("a transient exchange")), 404);
}

/// In each transaction: takes one message from `source` and publishes its number to `a` and to `b`.
async fn move_by_transactions(
    connection: &Connection,
    committed: &mut BTreeSet<u64>,
) -> lapin::Result<()> {
    let channel = connection.create_channel().await?;
    channel.tx_select().await?;
    loop {
        let got = channel
            .basic_get("source".into(), BasicGetOptions::default())
            .await?;
        // With the source empty there is nothing to do but to wait for the kill.
        let Some(message) = got else {
            sleep(Duration::from_millis(5)).await;
            continue;
        };
        publish(&channel, "", "a", &message.data).await?;
        publish(&channel, "", "b", &message.data).await?;
        message.ack(BasicAckOptions::default()).await?;
        channel.tx_commit().await?;
        committed.insert(number(&message.data));
    }
}

#[tokio::test]
async fn a_transaction_over_several_queues_survives_kill_9_whole_or_not_at_all() {
    const MESSAGES: u64 = 2000;
    let Some(mut broker) = mortal_broker() else {
        return;
    };
    let mut random = random();
    let uri = broker.amqp_uri();
    let (connection, channel) = open(&uri).await;
    for queue in ["source", "a", "b"] {
        declare_durable(&channel, queue).await;
    }
    channel.tx_select().await.expect("tx mode");
    for n in 0..MESSAGES {
        publish(&channel, "", "source", n.to_string().as_bytes())
            .await
            .expect("to publish");
    }
    channel.tx_commit().await.expect("a commit");
    drop((channel, connection));
    let mut committed = BTreeSet::new();
    for round in 0.. {
        if enough(round, !committed.is_empty()) {
            break;
        }
        let connection = connect(&uri).await;
        until_killed(&mut broker, &mut random, async || {
            move_by_transactions(&connection, &mut committed).await
        })
        .await;
        broker.start_again();
        let (source, a) = (contents(&uri, "source").await, contents(&uri, "a").await);
        assert_eq!(
            a,
            contents(&uri, "b").await,
            "round {round}: half a transaction"
        );
        let moved: BTreeSet<u64> = a.iter().copied().collect();
        let lost: Vec<_> = committed.difference(&moved).collect();
        assert!(
            lost.is_empty(),
            "round {round}: committed and lost: {lost:?}"
        );
        assert!(
            a.is_sorted_by(|x, y| x < y),
            "round {round}: out of order: {a:?}"
        );
        let source: BTreeSet<u64> = source.into_iter().collect();
        let twice: Vec<_> = source.intersection(&moved).collect();
        assert!(
            twice.is_empty(),
            "round {round}: moved and still in the source: {twice:?}"
        );
        let nowhere = (0..MESSAGES).filter(|n| !source.contains(n) && !moved.contains(n));
        assert_eq!(
            nowhere.collect::<Vec<_>>(),
            [0; 0],
            "round {round}: in no queue"
        );
    }
}

#[tokio::test]
async fn a_graceful_restart_keeps_everything_and_tells_the_clients() {
    let Some(mut broker) = mortal_broker() else {
        return;
    };
    let uri = broker.amqp_uri();
    let (_connection, channel) = open(&uri).await;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await
        .expect("confirm mode");
    declare_durable(&channel, QUEUE).await;
    for n in 0..100_u64 {
        publish(&channel, "", QUEUE, n.to_string().as_bytes())
            .await
            .expect("to publish");
    }
    channel.wait_for_confirms().await.expect("all confirmed");
    // One is settled, one is held: the held one belongs to the queue again.
    let settled = get(&channel, QUEUE).await.expect("the first message");
    settled
        .ack(BasicAckOptions::default())
        .await
        .expect("an ack");
    let held = get(&channel, QUEUE).await.expect("the second message");
    assert_eq!(number(&held.data), 1);
    assert_eq!(message_count(&channel, QUEUE).await, 98);
    broker.restart();

    let ended = channel.basic_qos(1, BasicQosOptions::default()).await;
    let ended = ended.expect_err("a closed connection");
    if let ErrorKind::ProtocolError(error) = ended.kind() {
        assert_eq!(error.get_id(), 320, "{error}");
    }
    let expected: Vec<u64> = (1..100).collect();
    assert_eq!(contents(&uri, QUEUE).await, expected);
    broker.restart();
    assert_eq!(contents(&uri, QUEUE).await, expected);
    connect(&uri)
        .await
        .close(200, "bye".into())
        .await
        .expect("a clean close");
}

/// The code with which the broker closed the channel.
fn closed_with(error: &lapin::Error) -> u16 {
    match error.kind() {
        ErrorKind::ProtocolError(e) => e.get_id(),
        other => panic!("not closed by the broker: {other:?}"),
    }
}
