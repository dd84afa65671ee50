//! Memory of a broker at rest and of one with much to do.

use std::{fs, time::Instant};

use crate::support::{AMQPProperties, Broker, PATIENCE, Peer, pause};

/// Whether the system may back the process's memory with huge pages.
fn huge_pages(broker: &Broker) -> bool {
    let process = broker.pid().expect("a broker of our own");
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|it| it.strip_prefix("THP_enabled:"));
    line.expect("Linux 5.0 or later").trim() == "1"
}

#[test]
fn a_broker_at_rest_goes_without_huge_pages_and_a_large_one_does_not() {
    let broker = Broker::start();
    assert!(!huge_pages(&broker));
    let mut peer = Peer::connect_to(&broker);
    let queue = peer.fresh_queue(1, "large");
    peer.confirm_select(1);
    let body = vec![7; 1 << 20];
    for _ in 0..80 {
        peer.publish_with(1, "", &queue, AMQPProperties::default(), &body);
    }
    peer.expect_confirms_to(1, 80);
    let deadline = Instant::now() + PATIENCE;
    while !huge_pages(&broker) {
        assert!(Instant::now() < deadline, "80 MiB are not large");
        pause();
    }
}
