//! Heartbeats: sent at half the interval, and two missed end the connection.

use crate::support::{Login, PATIENCE, Peer};
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
