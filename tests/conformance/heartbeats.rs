//! Heartbeats: sent at half the interval, and two missed end the connection.

use crate::leveret_only;
use crate::support::{AMQPProperties, Login, PATIENCE, Peer, with_time_enough};
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
    let start = Instant::now();
    let mut peer = beating(2);
    expect_heartbeat(&mut peer);
    expect_heartbeat(&mut peer);
    let elapsed = start.elapsed();
    // Two halves of two seconds; RabbitMQ's timer may need one turn more each.
    assert!(elapsed > Duration::from_millis(900), "{elapsed:?}");
}

#[test]
fn a_client_that_misses_two_heartbeats_is_dropped() {
    let start = Instant::now();
    beating(1).time_to_end();
    let elapsed = start.elapsed();
    assert!(elapsed > Duration::from_millis(900), "{elapsed:?}");
}

/// Seconds between heartbeats of a client that has to be in time.
const INTERVALS: [u16; 3] = [1, 4, 12];

/// A connection lives for four intervals by what the client sends after each heartbeat of the broker.
fn lives_by(send: fn(&mut Peer)) {
    with_time_enough(INTERVALS, |interval| {
        let mut peer = beating(interval);
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(4) * interval.into() {
            expect_heartbeat(&mut peer);
            send(&mut peer);
        }
        peer.open_channel(1);
        peer.close();
    });
}

#[test]
fn heartbeats_keep_a_connection_alive() {
    lives_by(send_heartbeat);
}

#[test]
fn any_frame_keeps_a_connection_alive() {
    lives_by(Peer::round_trip);
}

#[test]
fn a_connection_dropped_for_its_heartbeat_gives_back_what_it_held() {
    with_time_enough(INTERVALS, a_connection_dropped_gives_back_what_it_held);
}

fn a_connection_dropped_gives_back_what_it_held(interval: u16) {
    let mut other = Peer::connect();
    let queue = other.fresh_shared_queue(1, "heartbeat");
    other.fill(&queue, &["held"]);
    let mut peer = beating(interval);
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

/// A client with heartbeats that consumes more than its socket takes unread.
fn consumer_of_a_large_message(
    interval: u16,
    other: &mut Peer,
    queue: &str,
    megabytes: usize,
) -> Peer {
    let mut peer = beating(interval);
    peer.open_channel(1);
    peer.consume_no_ack(1, queue, "c");
    let body = vec![b'l'; megabytes << 20];
    other.publish_with(1, "", queue, AMQPProperties::default(), &body);
    peer
}

#[test]
fn a_client_that_reads_slowly_is_alive() {
    with_time_enough([1, 2, 4], a_slow_client_is_alive);
}

fn a_slow_client_is_alive(interval: u16) {
    const MEGABYTES: usize = 14;
    const FRAMES_IN_HALF_AN_INTERVAL: usize = 8;
    let mut other = Peer::connect();
    let queue = other.fresh_shared_queue(1, "slow");
    // Its heartbeats, two in an interval, set the pace.
    let mut pace = beating(interval);
    let mut slow = consumer_of_a_large_message(interval, &mut other, &queue, MEGABYTES);
    let deadline = Instant::now() + PATIENCE;
    let mut read = 0;
    while read < MEGABYTES << 20 {
        expect_heartbeat(&mut pace);
        send_heartbeat(&mut pace);
        send_heartbeat(&mut slow);
        for _ in 0..FRAMES_IN_HALF_AN_INTERVAL {
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
    with_time_enough(INTERVALS, a_silent_client_loses_its_connection);
}

fn a_silent_client_loses_its_connection(interval: u16) {
    let mut other = Peer::connect();
    let queue = other.fresh_shared_queue(1, "silent");
    let mut silent = consumer_of_a_large_message(interval, &mut other, &queue, 12);
    let deadline = Instant::now() + PATIENCE;
    while other.counts(1, &queue).1 > 0 {
        assert!(Instant::now() < deadline, "nobody missed its heartbeats");
    }
    // What is sent to a socket that is closed is answered by a reset.
    let mut pace = beating(interval);
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
