//! Messages that move on by themselves, from a queue where they expire to one that has no room for them and on to a
//! third: wherever the broker is killed, each is in exactly one of them, and they arrive in order.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Instant,
};

use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::{
    kill::{Lives, contents, numbers, persistent, until_killed},
    ledger::{self, Ledger},
    mortal_broker_with, random,
    support::{
        AMQPValue, Broker, Login, PATIENCE, Peer, basic, durable_queue, longstr, queue, table,
    },
};

const NAME: &str = "chain";
const QUEUES: [&str; 3] = ["chain.expiring", "chain.short", "chain.last"];

/// Room in the second queue.
const ROOM: i32 = 30;

/// How often the broker is killed.
const KILLS: usize = 15;

fn declare(peer: &mut Peer) {
    let [expiring, short, last] = QUEUES;
    peer.declare(1, durable_queue(last));
    let limits = [
        (expiring, short, "x-message-ttl", 3),
        (short, last, "x-max-length", ROOM),
    ];
    for (name, next, limit, value) in limits {
        let arguments = table([
            ("x-dead-letter-exchange", longstr("")),
            ("x-dead-letter-routing-key", longstr(next)),
            (limit, AMQPValue::LongInt(value)),
        ]);
        let declare = queue::Declare {
            arguments,
            ..durable_queue(name)
        };
        peer.declare(1, declare);
    }
}

/// Publishes windows of messages and waits for their confirms, until the connection is lost.
fn publish(address: SocketAddr, ledger: &mut Ledger, next: &mut u64, random: &mut StdRng) {
    let mut peer = Peer::tcp_to(address).opened(&Login::default());
    peer.open_channel(1);
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
            peer.publish_with(1, "", QUEUES[0], persistent(), &body);
        }
        // Confirms come in order.
        while peer.expect::<basic::Ack>(1).delivery_tag < sent {}
        (first..*next).for_each(|number| ledger.confirmed(number));
    }
}

/// Waits until nothing moves any more. A message on its way is in none of the queues for a moment; if one is lost, this
/// takes its time and leaves it to the check to say which.
fn rest(broker: &Broker, least: usize) {
    let mut peer = Peer::connect_to(broker);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let [expiring, short, last] = QUEUES.map(|queue| peer.counts(1, queue).0);
        let rest = expiring == 0 && short <= ROOM as u32;
        if rest && (expiring + short + last) as usize >= least {
            break;
        }
        if Instant::now() > deadline {
            assert!(rest, "{expiring} and {short} messages stay where they are");
            break;
        }
    }
    peer.close();
}

#[test]
fn dead_letters_are_in_exactly_one_queue_of_their_way_whenever_the_broker_is_killed() {
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
            thread::sleep(life);
            killed.store(true, Ordering::Release);
            broker.kill();
        });
        broker.start_again();
        rest(&broker, ledger.confirmed_count());
        check(&broker, &mut ledger, round);
    }
}

fn check(broker: &Broker, ledger: &mut Ledger, round: usize) {
    let way: Vec<_> = QUEUES.iter().rev().collect();
    let found: Vec<u64> = way
        .iter()
        .flat_map(|queue| numbers(NAME, &contents(broker, queue)))
        .collect();
    assert!(
        found.is_sorted_by(|one, other| one < other),
        "round {round}: twice, or out of order: {found:?}"
    );
    ledger.check(&found.into_iter().collect::<BTreeSet<_>>(), &(round, way));
}
