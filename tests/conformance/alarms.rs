//! Resource alarms: publishers are held back and told so, everybody else goes on.

use crate::leveret_only;
use crate::support::{Broker, Login, PATIENCE, Peer, connection, durable_queue};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Instant;

pub const NO_DISK_IS_ENOUGH: (&str, &str) =
    ("LEVERET_ALARMS_DISK_FREE_LIMIT", "9000000000000000000");
const NO_MEMORY_IS_ENOUGH: (&str, &str) = ("LEVERET_ALARMS_MEMORY_LIMIT", "2");

#[track_caller]
fn expect_blocked(peer: &mut Peer, reason: &str) {
    let blocked = peer.expect::<connection::Blocked>(0);
    assert_eq!(blocked.reason.as_str(), reason);
}

/// Status line and body of the health check.
fn alarm_check(broker: &Broker) -> (String, String) {
    let mut stream = TcpStream::connect(broker.http_address().expect("the HTTP API")).unwrap();
    let request = "GET /api/health/checks/alarms HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                   Authorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    let (head, body) = response.split_once("\r\n\r\n").expect("a response");
    let status = head.lines().next().expect("a status line");
    (status.to_owned(), body.to_owned())
}

#[test]
fn a_publisher_is_blocked_after_its_first_publish_and_consumers_go_on() {
    leveret_only!("its alarms are not ours to raise");
    let broker = Broker::start_with_options(&[NO_DISK_IS_ENOUGH]);
    let mut consumer = Peer::connect_to(&broker);
    consumer.declare(1, durable_queue("work"));
    consumer.consume(1, "work", "c");
    let mut publisher = Peer::connect_to(&broker);
    publisher.confirm_select(1);
    publisher.expect_nothing(0);
    publisher.publish(1, "", "work", "the first");
    expect_blocked(&mut publisher, "low on disk");
    publisher.expect_confirms_to(1, 1);
    publisher.publish(1, "", "work", "held back");
    assert_eq!(consumer.expect_delivery(1).text(), "the first");
    consumer.ack(1, 1, false);
    assert_eq!(consumer.counts(1, "work"), (0, 1));
    consumer.close();
}

#[test]
fn the_reason_names_every_resource_and_so_does_the_health_check() {
    leveret_only!("its alarms are not ours to raise");
    for (limits, reason, alarms) in [
        (&[NO_MEMORY_IS_ENOUGH][..], "low on memory", &["memory"][..]),
        (
            &[NO_MEMORY_IS_ENOUGH, NO_DISK_IS_ENOUGH],
            "low on disk & memory",
            &["disk", "memory"],
        ),
    ] {
        let broker = Broker::start_with_options(limits);
        let mut publisher = Peer::connect_to(&broker);
        publisher.publish(1, "", "nowhere", "");
        expect_blocked(&mut publisher, reason);
        let (status, body) = alarm_check(&broker);
        assert_eq!(status, "HTTP/1.1 503 Service Unavailable");
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["status"], "failed");
        let alarms = alarms.iter().map(
            |resource| serde_json::json!({ "node": "leveret@localhost", "resource": resource }),
        );
        assert_eq!(body["alarms"], alarms.collect::<serde_json::Value>());
    }
}

#[test]
fn a_broker_with_room_blocks_nobody() {
    leveret_only!("its alarms are not ours to raise");
    let broker = Broker::start_with_options(&[
        ("LEVERET_ALARMS_DISK_FREE_LIMIT", "0"),
        ("LEVERET_ALARMS_MEMORY_LIMIT", "1000000000000000"),
    ]);
    let mut publisher = Peer::connect_to(&broker);
    publisher.publish(1, "", "nowhere", "");
    publisher.expect_nothing(0);
    let (status, body) = alarm_check(&broker);
    assert_eq!(status, "HTTP/1.1 200 OK");
    assert_eq!(body, r#"{"status":"ok"}"#);
    publisher.close();
}

/// A small file system of its own would need root; this one exists on every Linux, and hardly anybody writes to it.
#[cfg(target_os = "linux")]
#[test]
fn blocked_publishers_go_on_when_the_alarm_ends() {
    leveret_only!("its alarms are not ours to raise");
    let memory = Path::new("/dev/shm");
    let room = rustix::fs::statvfs(memory).unwrap();
    let room = room.f_bavail * room.f_frsize;
    let margin = (room / 4).min(32 << 20);
    let limit = (room - margin).to_string();
    let broker = Broker::start_inside(
        memory,
        &[("LEVERET_ALARMS_DISK_FREE_LIMIT", limit.as_str())],
    );
    let mut publisher = Peer::connect_to(&broker);
    publisher.declare(1, durable_queue("work"));
    let mut untold = Peer::tcp_to(broker.amqp_address()).opened(&Login {
        capabilities: &[],
        ..Login::default()
    });
    untold.open_channel(1);
    let ballast = broker.data_dir().join("ballast");
    for round in 1..=2 {
        publisher.publish(1, "", "work", "before");
        untold.publish(1, "", "work", "before");
        std::fs::write(&ballast, vec![0; 2 * margin as usize]).unwrap();
        expect_blocked(&mut publisher, "low on disk");
        publisher.publish(1, "", "work", "meanwhile");
        untold.publish(1, "", "work", "meanwhile");
        std::fs::remove_file(&ballast).unwrap();
        publisher.expect::<connection::Unblocked>(0);
        publisher.round_trip();
        untold.round_trip();
        assert_eq!(publisher.counts(1, "work"), (4 * round, 0));
    }
    publisher.close();
    untold.close();
    let cleared = |line: &&String| line.contains("disk resource limit alarm cleared: ");
    let deadline = Instant::now() + PATIENCE;
    while broker.log().iter().filter(cleared).count() < 2 {
        assert!(Instant::now() < deadline, "the end of the second alarm");
        crate::support::pause();
    }
    let log = broker.log().join("\n");
    assert_eq!(
        log.matches("disk resource limit alarm set: ").count(),
        2,
        "{log}"
    );
    assert_eq!(
        log.matches("disk resource limit alarm cleared: ").count(),
        2,
        "{log}"
    );
}
