//! A durable queue with priorities over a kill: what was confirmed and not acknowledged is there, the highest priority
//! first, each priority in its order, and nothing twice.

use std::collections::BTreeSet;

use crate::{
    kill::{contents, persistent},
    mortal_broker, mortal_broker_with,
    support::{AMQPValue, Broker, Peer, durable_queue, queue, table},
};

const QUEUE: &str = "priorities";
const NEIGHBOUR: &str = "neighbour";
const HIGHEST: u8 = 9;
const COUNT: u64 = 3_000;

/// A priority that looks like chance, the same in each run; some are beyond the highest.
fn priority(number: u64) -> u8 {
    (number.wrapping_mul(2_654_435_761) >> 7) as u8 % (HIGHEST + 3)
}

/// Where a message belongs: falling priority, then rising number.
fn place(number: u64) -> (u8, u64) {
    (HIGHEST - priority(number).min(HIGHEST), number)
}

/// Publishes on a channel of its own, and waits for the confirms.
fn publish(peer: &mut Peer, queue: &str, numbers: std::ops::Range<u64>) {
    const CHANNEL: u16 = 9;
    peer.open_channel(CHANNEL);
    peer.confirm_select(CHANNEL);
    let count = numbers.end - numbers.start;
    for number in numbers {
        let properties = persistent().with_priority(priority(number));
        let body = number.to_string();
        peer.publish_with(CHANNEL, "", queue, properties, body.as_bytes());
    }
    peer.expect_confirms_to(CHANNEL, count);
    peer.close_channel(CHANNEL);
}

fn declare(peer: &mut Peer) {
    let arguments = table([("x-max-priority", AMQPValue::LongInt(HIGHEST.into()))]);
    let declare = queue::Declare {
        arguments,
        ..durable_queue(QUEUE)
    };
    peer.declare(1, declare);
}

fn number(body: &[u8]) -> u64 {
    let text = std::str::from_utf8(body).expect("digits");
    text.parse().expect("a number")
}

/// Takes and settles `count` messages, which come as expected; some come back before.
fn take(peer: &mut Peer, expected: &mut BTreeSet<(u8, u64)>, count: usize) {
    for step in 0..count {
        let mut got = peer.get(1, QUEUE, false).expect("a message");
        let first = expected.pop_first().expect("as many as were published");
        assert_eq!(
            place(number(&got.body)),
            first,
            "the highest priority first"
        );
        if step % 3 == 0 {
            peer.reject(1, got.method.delivery_tag, true);
            let again = peer.get(1, QUEUE, false).expect("the same");
            assert_eq!(again.body, got.body);
            got = again;
        }
        peer.ack(1, got.method.delivery_tag, false);
    }
}

fn places(broker: &Broker) -> Vec<(u8, u64)> {
    let found = contents(broker, QUEUE).into_iter();
    found.map(|it| place(number(&it.body))).collect()
}

#[test]
fn every_priority_comes_back_in_its_order_after_a_kill() {
    // Little memory, so that most of it is paged.
    let options = [("LEVERET_MEMORY_MESSAGE_BUDGET", "65536".to_owned())];
    let Some(mut broker) = mortal_broker_with(&options) else {
        return;
    };
    let mut peer = Peer::connect_to(&broker);
    declare(&mut peer);
    // What is declared next has its own places in the store.
    peer.declare(1, durable_queue(NEIGHBOUR));
    publish(&mut peer, QUEUE, 0..COUNT);
    publish(&mut peer, NEIGHBOUR, 0..1);
    let mut expected: BTreeSet<_> = (0..COUNT).map(place).collect();
    take(&mut peer, &mut expected, 1_000);
    // Acknowledgements are on disk with a confirm that comes after them.
    publish(&mut peer, NEIGHBOUR, 1..2);
    broker.kill();
    broker.start_again();
    assert_eq!(
        places(&broker),
        expected.iter().copied().collect::<Vec<_>>()
    );
    let mut peer = Peer::connect_to(&broker);
    publish(&mut peer, QUEUE, COUNT..COUNT + 500);
    expected.extend((COUNT..COUNT + 500).map(place));
    take(&mut peer, &mut expected, 100);
    assert_eq!(peer.counts(1, QUEUE).0 as usize, expected.len());
    broker.restart();
    assert_eq!(places(&broker), expected.into_iter().collect::<Vec<_>>());
    assert_eq!(contents(&broker, NEIGHBOUR).len(), 2);
}

#[test]
fn no_priority_comes_back_after_a_purge_or_a_deletion() {
    let Some(mut broker) = mortal_broker() else {
        return;
    };
    let mut peer = Peer::connect_to(&broker);
    declare(&mut peer);
    publish(&mut peer, QUEUE, 0..200);
    assert_eq!(peer.purge(1, QUEUE), 200);
    publish(&mut peer, QUEUE, 200..230);
    broker.kill();
    broker.start_again();
    let expected: BTreeSet<_> = (200..230).map(place).collect();
    assert_eq!(places(&broker), expected.into_iter().collect::<Vec<_>>());
    let mut peer = Peer::connect_to(&broker);
    assert_eq!(peer.delete_queue(1, QUEUE), 30);
    declare(&mut peer);
    broker.kill();
    broker.start_again();
    assert!(places(&broker).is_empty());
}
