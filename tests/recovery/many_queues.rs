//! Thousands of durable queues in a process that may open few files: filled, restarted, killed and drained. A queue costs
//! no file and no mapping of its own, however short.

use std::fs;

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::{
    kill::persistent,
    mortal_broker_with,
    support::{Broker, Peer, basic, durable_queue, queue},
};

const QUEUES: usize = 2_000;
const MESSAGES: usize = 20;
/// Most files, and about as many mappings as there are without queues.
const DESCRIPTORS: u64 = 256;

fn name(number: usize) -> String {
    format!("one of many {number}")
}

/// Limits the process to few files, and checks that it does with them.
fn limit(broker: &Broker) {
    let pid = broker.pid().expect("a running broker");
    let limit = Rlimit {
        current: Some(DESCRIPTORS),
        maximum: Some(DESCRIPTORS),
    };
    let process = Pid::from_raw(pid as i32);
    prlimit(process, Resource::Nofile, limit).expect("the right to limit a child");
    check(broker);
}

fn check(broker: &Broker) {
    let pid = broker.pid().expect("a running broker");
    let files = fs::read_dir(format!("/proc/{pid}/fd")).expect("its files");
    assert!(files.count() < 100);
    let mappings = fs::read_to_string(format!("/proc/{pid}/maps")).expect("its mappings");
    assert!(mappings.lines().count() < 1_000);
}

fn declare_all(peer: &mut Peer) {
    for number in 0..QUEUES {
        let declare = queue::Declare {
            nowait: true,
            ..durable_queue(&name(number))
        };
        peer.send(1, declare);
    }
    peer.round_trip();
}

/// Round after round, so that the messages of each queue lie all over the journal.
fn fill(broker: &Broker) {
    let mut peer = Peer::connect_to(broker);
    declare_all(&mut peer);
    peer.confirm_select(1);
    for round in 0..MESSAGES {
        for number in 0..QUEUES {
            let body = format!("{number} {round} {:.<90}", "");
            peer.publish_with(1, "", &name(number), persistent(), body.as_bytes());
        }
        let last = ((round + 1) * QUEUES) as u64;
        while peer.expect::<basic::Ack>(1).delivery_tag < last {}
    }
}

fn check_counts(broker: &Broker) {
    let mut peer = Peer::connect_to(broker);
    for number in (0..QUEUES).step_by(50) {
        assert_eq!(peer.counts(1, &name(number)), (MESSAGES as u32, 0));
    }
}

/// Takes everything out through one consumer for each queue.
fn drain(broker: &Broker) {
    let mut peer = Peer::connect_to(broker);
    for number in 0..QUEUES {
        let consume = basic::Consume {
            queue: name(number).as_str().into(),
            consumer_tag: number.to_string().as_str().into(),
            no_ack: true,
            nowait: true,
            ..basic::Consume::default()
        };
        peer.send(1, consume);
    }
    let mut next = vec![0; QUEUES];
    for _ in 0..QUEUES * MESSAGES {
        let delivery = peer.expect_delivery(1);
        let number: usize = delivery.consumer().parse().expect("a number");
        let start = format!("{number} {} .", next[number]);
        assert!(delivery.text().starts_with(&start), "{}", delivery.text());
        next[number] += 1;
    }
    check(broker);
}

#[test]
fn thousands_of_queues_need_few_descriptors_and_mappings() {
    let options = [("LEVERET_STORE_LOG_FILE_SIZE", (1024 * 1024).to_string())];
    let Some(mut broker) = mortal_broker_with(&options) else {
        return;
    };
    limit(&broker);
    fill(&broker);
    check(&broker);
    broker.restart();
    limit(&broker);
    check_counts(&broker);
    broker.kill();
    broker.start_again();
    limit(&broker);
    check_counts(&broker);
    drain(&broker);
    broker.restart();
    let mut peer = Peer::connect_to(&broker);
    assert_eq!(peer.counts(1, &name(QUEUES - 1)), (0, 0));
}
