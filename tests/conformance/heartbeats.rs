//! Heartbeats: sent at half the interval, and two missed end the connection.

use crate::leveret_only;
use crate::support::{AMQPProperties, Login, PATIENCE, Peer};
use amq_protocol::frame::AMQPFrame;
use std::time::{Duration, Instant};

fn beating(seconds: u16) -> Peer {
    Peer::login(&Login {
        heartbeat: seconds,
        ..Login::default()
    })
}

#[track_caller]
fn expect_heartbeat(peer: &mut Peer) {
    let deadline = Instant::now() + PATIENCE;
    let frame = peer.read_frame(deadline, "a heartbeat");
    assert!(matches!(frame, Some(AMQPFrame::Heartbeat)), "{frame:?}");
}

fn send_heartbeat(peer: &mut Peer) {
    peer.send_frame(8, 0, b"", 0xCE);
}

#[test]
fn an_idle_broker_sends_a_heartbeat_at_half_the_interval() {
    let mut peer = beating(2);
    let start = Instant::now();
    expect_heartbeat(&mut peer);
    expect_heartbeat(&mut peer);
    let elapsed = start.elapsed();
    // Two halves of two seconds; RabbitMQ's timer may need one turn more each.
    assert!(elapsed > Duration::from_millis(900), "{elapsed:?}");
    assert!(elapsed < Duration::from_secs(8), "{elapsed:?}");
}

#[test]
fn a_client_that_misses_two_heartbeats_is_dropped() {
    let mut peer = beating(1);
    let elapsed = peer.time_to_end();
    assert!(elapsed > Duration::from_millis(900), "{elapsed:?}");
    assert!(elapsed < Duration::from_secs(10), "{elapsed:?}");
}

#[test]
fn heartbeats_keep_a_connection_alive() {
    let mut peer = beating(1);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(4) {
        expect_heartbeat(&mut peer);
        send_heartbeat(&mut peer);
    }
    peer.open_channel(1);
    peer.close();
}

#[test]
fn any_frame_keeps_a_connection_alive() {
    let mut peer = beating(1);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(4) {
        expect_heartbeat(&mut peer);
        peer.round_trip();
    }
    peer.close();
}

#[test]
fn a_connection_dropped_for_its_heartbeat_gives_back_what_it_held() {
    let mut other = Peer::connect();
    let queue = other.fresh_shared_queue(1, "heartbeat");
    other.fill(&queue, &["held"]);
    let mut peer = beating(1);
    peer.open_channel(1);
    assert_eq!(peer.get(1, &queue, false).expect("it").body, b"held");
    peer.time_to_end();
    let deadline = Instant::now() + PATIENCE;
    let got = loop {
        if let Some(got) = other.get(1, &queue, true) {
            break got;
        }
        assert!(Instant::now() < deadline, "the message did not come back");
    };
    assert!(got.method.redelivered);
    other.delete_queue(1, &queue);
}

/// A client with a heartbeat of one second that consumes more than its socket takes unread.
fn consumer_of_a_large_message(other: &mut Peer, queue: &str, megabytes: usize) -> Peer {
    let mut peer = beating(1);
    peer.open_channel(1);
    peer.consume_no_ack(1, queue, "c");
    let body = vec![b'l'; megabytes << 20];
    other.publish_with(1, "", queue, AMQPProperties::default(), &body);
    peer
}

#[test]
fn a_client_that_reads_slowly_is_alive() {
    const MEGABYTES: usize = 14;
    const FRAMES_IN_HALF_A_SECOND: usize = 8;
    let mut other = Peer::connect();
    let queue = other.fresh_shared_queue(1, "slow");
    // Its heartbeats, two a second, set the pace.
    let mut pace = beating(1);
    let mut slow = consumer_of_a_large_message(&mut other, &queue, MEGABYTES);
    let deadline = Instant::now() + PATIENCE;
    let mut read = 0;
    while read < MEGABYTES << 20 {
        expect_heartbeat(&mut pace);
        send_heartbeat(&mut pace);
        send_heartbeat(&mut slow);
        for _ in 0..FRAMES_IN_HALF_A_SECOND {
            if read == MEGABYTES << 20 {
                break;
            }
            match slow.read_frame(deadline, "more of the message") {
                Some(AMQPFrame::Body(_, part)) => read += part.len(),
                Some(_) => {}
                None => panic!("closed after {read} bytes"),
            }
        }
    }
    slow.round_trip();
    slow.close();
    other.delete_queue(1, &queue);
}

#[test]
fn a_client_that_was_given_up_on_loses_its_connection_although_it_takes_nothing() {
    leveret_only!("RabbitMQ's writer may keep the socket until the send times out");
    let mut other = Peer::connect();
    let queue = other.fresh_shared_queue(1, "silent");
    let mut silent = consumer_of_a_large_message(&mut other, &queue, 12);
    let deadline = Instant::now() + PATIENCE;
    while other.counts(1, &queue).1 > 0 {
        assert!(Instant::now() < deadline, "nobody missed its heartbeats");
    }
    // What is sent to a socket that is closed is answered by a reset.
    let mut pace = beating(1);
    let mut sent = 0;
    while silent.try_send_bytes(&[8, 0, 0, 0, 0, 0, 0, 0xCE]) {
        assert!(
            Instant::now() < deadline,
            "still open, {sent} heartbeats later"
        );
        expect_heartbeat(&mut pace);
        send_heartbeat(&mut pace);
        sent += 1;
    }
    other.delete_queue(1, &queue);
}
