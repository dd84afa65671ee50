//! Messages that every consumer fails on: wherever the broker is killed, each is in its queue or with the dead letters,
//! never in both and never lost, and none stays for ever.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::{
    kill::{Lives, contents, numbers, persistent, until_killed},
    ledger::{self, Ledger},
    mortal_broker_with, random,
    support::{AMQPValue, Broker, Login, Peer, basic, durable_queue, longstr, queue, table},
};

const NAME: &str = "poison";
const SOURCE: &str = "poison.living";
const TARGET: &str = "poison.dead";

/// How often a message may fail.
const LIMIT: i64 = 2;

/// How often the broker is killed.
const KILLS: usize = 15;

fn declare(peer: &mut Peer) {
    peer.declare(1, durable_queue(TARGET));
    let arguments = table([
        ("x-queue-type", longstr("quorum")),
        ("x-delivery-limit", AMQPValue::LongLongInt(LIMIT)),
        ("x-dead-letter-exchange", longstr("")),
        ("x-dead-letter-routing-key", longstr(TARGET)),
    ]);
    let declare = queue::Declare {
        arguments,
        ..durable_queue(SOURCE)
    };
    peer.declare(1, declare);
}

fn open(address: SocketAddr) -> Peer {
    let mut peer = Peer::tcp_to(address).opened(&Login::default());
    peer.open_channel(1);
    peer
}

/// Publishes windows of messages and waits for their confirms, until the connection is lost.
fn publish(address: SocketAddr, ledger: &mut Ledger, next: &mut u64, random: &mut StdRng) {
    let mut peer = open(address);
    peer.confirm_select(1);
    let mut sent = 0;
    loop {
        let first = *next;
        let most = random.random_range(1..40);
        for _ in 0..ledger.next_window(most) {
            let number = *next;
            *next += 1;
            sent += 1;
            ledger.published(number);
            let body = ledger::body(NAME, number);
            peer.publish_with(1, "", SOURCE, persistent(), &body);
        }
        while peer.expect::<basic::Ack>(1).delivery_tag < sent {}
        (first..*next).for_each(|number| ledger.confirmed(number));
    }
}

/// Fails on everything that comes, until the connection is lost.
fn fail(address: SocketAddr) {
    let mut peer = open(address);
    peer.qos(1, 20, false);
    peer.consume(1, SOURCE, "failing");
    loop {
        let delivery = peer.expect_delivery(1);
        peer.reject(1, delivery.tag(), true);
    }
}

/// Fails on what is left until nothing is. A message fails a few times and not for ever.
fn finish(broker: &Broker, known: u64) {
    let mut peer = Peer::connect_to(broker);
    let mut failures = 0;
    while let Some(got) = peer.get(1, SOURCE, false) {
        failures += 1;
        assert!(failures <= known * (LIMIT as u64 + 1), "it never ends");
        peer.reject(1, got.method.delivery_tag, true);
    }
    assert_eq!(peer.counts(1, SOURCE).0, 0);
    peer.close();
}

#[test]
fn a_message_that_fails_too_often_is_dead_lettered_once_whenever_the_broker_is_killed() {
    let options = [
        ("LEVERET_MEMORY_MESSAGE_BUDGET", "262144".to_owned()),
        ("LEVERET_STORE_LOG_FILE_SIZE", "262144".to_owned()),
    ];
    let Some(mut broker) = mortal_broker_with(&options) else {
        return;
    };
    let mut random = random();
    let (mut ledger, mut next) = (Ledger::default(), 0);
    declare(&mut Peer::connect_to(&broker));
    let mut lives = Lives::new(KILLS, 300);
    while let Some((round, life)) = lives.next(next == 0, &mut random) {
        let killed = Arc::new(AtomicBool::new(false));
        let mut choices = StdRng::from_rng(&mut random);
        let address = broker.amqp_address();
        thread::scope(|scope| {
            scope.spawn(|| {
                until_killed(&killed, || {
                    publish(address, &mut ledger, &mut next, &mut choices);
                });
            });
            scope.spawn(|| until_killed(&killed, || fail(address)));
            thread::sleep(life);
            killed.store(true, Ordering::Release);
            broker.kill();
        });
        broker.start_again();
        finish(&broker, next);
        let found = contents(&broker, TARGET);
        assert!(found.iter().all(|it| it.died), "round {round}: not dead");
        let found = numbers(NAME, &found);
        let once: BTreeSet<_> = found.iter().copied().collect();
        assert_eq!(once.len(), found.len(), "round {round}: dead twice");
        ledger.check(&once, &round);
    }
}
