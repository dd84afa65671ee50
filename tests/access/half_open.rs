//! Connections that never finish logging in: many of them keep nobody else from the broker, and cost little.

use std::{fs, io::Write as _, net::TcpStream, time::Instant};

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::{
    leveret_only,
    support::{Broker, Login, PATIENCE, Peer, peer::method_bytes},
};

/// Half-open logins.
const COUNT: usize = 2000;

/// What each may cost the broker, in bytes.
const COST: u64 = 64 * 1024;

/// Lets this process have as many sockets as the system permits.
fn allow_sockets() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
    let enough = limit.maximum.is_none_or(|most| most > COUNT as u64 + 200);
    assert!(enough, "too few sockets for this test: ulimit -Hn 4096");
}

/// Bytes of memory that the broker has in use.
fn resident(broker: &Broker) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", broker.pid()?)).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kilobytes = line.split_whitespace().nth(1)?.parse::<u64>().ok()?;
    Some(kilobytes * 1024)
}

/// What a client sends that takes its time: nothing, part of the header, the header, most of a large frame.
fn beginnings() -> [Vec<u8>; 4] {
    let header = b"AMQP\x00\x00\x09\x01".to_vec();
    let mut start_ok = Login::default().start_ok();
    start_ok.response = vec![b'x'; 20_000].into();
    let mut most = header.clone();
    most.extend(method_bytes(0, start_ok));
    most.truncate(20_000);
    [Vec::new(), header[..4].to_vec(), header, most]
}

#[test]
fn two_thousand_half_open_logins_cost_little_and_keep_nobody_out() {
    leveret_only!("its memory is measured");
    allow_sockets();
    let timeout = [("LEVERET_AMQP_LOGIN_TIMEOUT_SECONDS", "600")];
    let broker = Broker::start_with_options(&timeout);
    Peer::connect_to(&broker).close();
    let before = resident(&broker);
    let beginnings = beginnings();
    let mut half_open: Vec<TcpStream> = Vec::new();
    for number in 0..COUNT {
        let mut stream = TcpStream::connect(broker.amqp_address()).expect("to connect");
        let beginning = &beginnings[number % beginnings.len()];
        stream.write_all(beginning).expect("to send");
        half_open.push(stream);
    }
    for _ in 0..20 {
        let mut peer = Peer::connect_to(&broker);
        let queue = peer.fresh_queue(1, "served");
        peer.publish(1, "", &queue, "meanwhile");
        assert_eq!(peer.drain(1, &queue), ["meanwhile"]);
        peer.close();
    }
    if let (Some(before), Some(after)) = (before, resident(&broker)) {
        let each = after.saturating_sub(before) / COUNT as u64;
        assert!(each < COST, "{each} bytes each");
    }
}

#[test]
fn an_address_has_no_more_connections_than_it_may() {
    leveret_only!("the limit is configured");
    let options = [
        ("LEVERET_AMQP_CONNECTION_MAX_PER_ADDRESS", "3"),
        // Nobody is dropped for being slow.
        ("LEVERET_AMQP_LOGIN_TIMEOUT_SECONDS", "600"),
    ];
    let broker = Broker::start_with_options(&options);
    let deadline = Instant::now() + PATIENCE;
    // The test's own look at the port may not be over yet.
    let mut peers = Vec::new();
    while peers.len() < 3 {
        assert!(Instant::now() < deadline, "three connections");
        let mut peer = Peer::tcp_to(broker.amqp_address());
        peer.try_send_bytes(b"AMQP\x00\x00\x09\x01");
        if peer.read_frame(deadline, "start").is_some() {
            peers.push(peer);
        }
    }
    let mut fourth = Peer::tcp_to(broker.amqp_address());
    fourth.time_to_end();
    drop(peers.pop());
    loop {
        assert!(Instant::now() < deadline, "the place is not given back");
        let mut peer = Peer::tcp_to(broker.amqp_address());
        peer.try_send_bytes(b"AMQP\x00\x00\x09\x01");
        if peer.read_frame(deadline, "start").is_some() {
            break;
        }
    }
}

#[test]
fn behind_a_load_balancer_the_client_is_where_the_header_says() {
    leveret_only!("the protocol is configured");
    let option = [("LEVERET_AMQP_PROXY_PROTOCOL", "required")];
    let broker = Broker::start_with_options(&option);
    let greeted = |header: &[u8]| {
        let mut peer = Peer::tcp_to(broker.amqp_address());
        peer.send_bytes(header);
        peer.greet();
        peer.send(0, Login::default().start_ok());
        peer
    };
    let mut near = greeted(b"PROXY TCP4 127.0.0.1 127.0.0.1 1234 5672\r\n");
    near.expect::<crate::support::connection::Tune>(0);
    let mut far = greeted(b"PROXY TCP4 192.0.2.7 192.0.2.1 1234 5672\r\n");
    far.expect_close_with_code(403);
    broker.await_line("the refusal", |line| line.contains("peer=192.0.2.7:1234"));
    let mut without = Peer::tcp_to(broker.amqp_address());
    without.try_send_bytes(b"AMQP\x00\x00\x09\x01AMQP\x00\x00\x09\x01");
    without.time_to_end();
}
