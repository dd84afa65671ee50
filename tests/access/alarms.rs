//! Alarms that come and go while clients publish and consume.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Instant,
};

use amq_protocol::frame::AMQPFrame;
use broker_core::{alarms::Resource, broker::ConnectionState};

use crate::{
    served::Served,
    support::{AMQPClass, PATIENCE, Peer, basic, connection, durable_queue},
};

const PUBLISHERS: usize = 3;

/// Messages that a publisher sends before it waits for their confirms.
const WINDOW: u64 = 50;

/// What a publisher has sent, and what it was told meanwhile: whether it is blocked.
struct Published {
    count: u64,
    told: Vec<bool>,
}

/// Publishes without end, and waits for confirms.
fn publish(mut peer: Peer, name: usize, stop: &AtomicBool) -> Published {
    use connection::AMQPMethod::{Blocked, Unblocked};
    peer.confirm_select(1);
    let (mut count, mut confirmed) = (0, 0);
    let mut told = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        for _ in 0..WINDOW {
            peer.publish(1, "", "work", &format!("{name} {count}"));
            count += 1;
        }
        while confirmed < count {
            let frame = peer.read_frame(Instant::now() + PATIENCE, "a confirm");
            match frame {
                Some(AMQPFrame::Method(1, AMQPClass::Basic(basic::AMQPMethod::Ack(ack)))) => {
                    confirmed = ack.delivery_tag;
                }
                Some(AMQPFrame::Method(0, AMQPClass::Connection(Blocked(_)))) => told.push(true),
                Some(AMQPFrame::Method(0, AMQPClass::Connection(Unblocked(_)))) => told.push(false),
                other => panic!("{other:?}"),
            }
        }
    }
    Published { count, told }
}

/// Takes and acknowledges messages up to the one that says it is the last.
fn consume(mut peer: Peer) -> Vec<String> {
    peer.consume(1, "work", "c");
    let mut taken = Vec::new();
    loop {
        let delivery = peer.expect_delivery(1);
        peer.ack(1, delivery.tag(), false);
        if delivery.text() == "the last" {
            return taken;
        }
        taken.push(delivery.text().to_owned());
    }
}

fn await_that(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        crate::support::pause();
    }
}

#[test]
fn alarms_block_publishers_and_nobody_else_and_nothing_is_lost() {
    let served = Served::start();
    let mut guest = served.connect("guest");
    guest.declare(1, durable_queue("work"));
    let stop = Arc::new(AtomicBool::new(false));
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|name| {
            let (peer, stop) = (served.connect("guest"), Arc::clone(&stop));
            thread::spawn(move || publish(peer, name, &stop))
        })
        .collect();
    let peer = served.connect("guest");
    let consumer = thread::spawn(move || consume(peer));

    let rounds: [&[Resource]; 3] = [
        &[Resource::Memory],
        &[Resource::Disk],
        &[Resource::Memory, Resource::Disk],
    ];
    for resources in rounds {
        for resource in resources {
            assert!(served.broker.set_alarm(*resource, true));
        }
        await_that("all publishers are blocked", || {
            let connections = served.broker.connections();
            let blocked = connections
                .iter()
                .filter(|it| it.state() == ConnectionState::Blocked);
            blocked.count() == PUBLISHERS
        });
        await_that("the queue is drained", || guest.counts(1, "work").0 == 0);
        for resource in resources {
            assert!(served.broker.set_alarm(*resource, false));
        }
    }

    stop.store(true, Ordering::SeqCst);
    let mut sent = HashMap::new();
    for (name, publisher) in publishers.into_iter().enumerate() {
        let Published { count, told } = publisher.join().expect("a publisher");
        assert_eq!(told, [true, false].repeat(rounds.len()));
        sent.insert(name, count);
    }
    guest.publish(1, "", "work", "the last");
    let taken = consumer.join().expect("the consumer");
    assert_eq!(taken.len() as u64, sent.values().sum::<u64>());
    for (name, count) in sent {
        let start = format!("{name} ");
        let of_this = taken.iter().filter_map(|text| text.strip_prefix(&start));
        let expected = (0..count).map(|number| number.to_string());
        assert!(of_this.eq(expected), "messages of publisher {name}");
    }
}
