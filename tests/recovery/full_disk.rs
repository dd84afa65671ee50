//! A disk without room, made by the system's limit on the size of files: publishers are held back and told so, nothing
//! is confirmed that is not on disk, and with room everything goes on.

use std::time::Instant;

use amq_protocol::frame::AMQPFrame;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use crate::{
    kill::{contents, persistent},
    mortal_broker_with,
    support::{Broker, Login, PATIENCE, Peer, basic, connection, durable_queue, queue},
};

const QUEUE: &str = "full";

/// Bytes of a file of the log: one file holds all that this test writes.
const FILE: u64 = 4 * 1024 * 1024;

/// Bytes that the database may become longer when the broker starts: enough for that, and less than it wants for more.
const ROOM: u64 = 1024 * 1024;

fn broker() -> Option<Broker> {
    broker_with("journal")
}

fn broker_with(engine: &str) -> Option<Broker> {
    let options = [
        ("LEVERET_STORE_ENGINE", engine.to_owned()),
        ("LEVERET_STORE_LOG_FILE_SIZE", FILE.to_string()),
    ];
    mortal_broker_with(&options)
}

/// Lets the broker's files grow to `bytes`, or without limit.
fn limit_files(broker: &Broker, bytes: Option<u64>) {
    let pid = broker.pid().and_then(|pid| Pid::from_raw(pid as i32));
    let limit = Rlimit {
        current: bytes,
        maximum: getrlimit(Resource::Fsize).maximum,
    };
    prlimit(pid, Resource::Fsize, limit).expect("the right to limit a child");
}

fn body(number: usize) -> Vec<u8> {
    let mut body = format!("{number} ").into_bytes();
    body.resize(1_000, b'.');
    body
}

fn publish(peer: &mut Peer, numbers: std::ops::Range<usize>) {
    for number in numbers {
        peer.publish_with(1, "", QUEUE, persistent(), &body(number));
    }
}

fn check(broker: &Broker, count: usize) {
    let found = contents(broker, QUEUE);
    let bodies: Vec<_> = found.into_iter().map(|it| it.body).collect();
    assert!(bodies == (0..count).map(body).collect::<Vec<_>>());
}

#[test]
fn full_disk_blocks_publishers_until_there_is_room_and_loses_nothing() {
    check_full_disk("journal");
}

#[test]
fn full_disk_blocks_publishers_of_the_other_engine_too() {
    check_full_disk("sled");
}

fn check_full_disk(engine: &str) {
    let Some(mut broker) = broker_with(engine) else {
        return;
    };
    let mut peer = Peer::connect_to(&broker);
    peer.declare(1, durable_queue(QUEUE));
    peer.confirm_select(1);
    publish(&mut peer, 0..50);
    peer.expect_confirms_to(1, 50);

    limit_files(&broker, Some(100_000));
    // More than fits, in one piece.
    publish(&mut peer, 50..200);
    let blocked = peer.expect::<connection::Blocked>(0);
    assert_eq!(blocked.reason.as_str(), "low on disk");
    // Who does not publish goes on.
    let mut reader = Peer::connect_to(&broker);
    assert!(reader.get(1, QUEUE, false).is_some());
    reader.close();

    limit_files(&broker, None);
    peer.expect::<connection::Unblocked>(0);
    let mut confirmed = 50;
    while confirmed < 200 {
        let ack = peer.expect::<basic::Ack>(1);
        assert!(ack.delivery_tag > confirmed);
        confirmed = ack.delivery_tag;
    }
    broker.kill();
    broker.start_again();
    check(&broker, 200);
    broker.restart();
    check(&broker, 200);
}

#[test]
fn broker_that_is_killed_while_the_disk_is_full_keeps_what_it_confirmed() {
    let Some(mut broker) = broker() else {
        return;
    };
    let mut peer = Peer::connect_to(&broker);
    peer.declare(1, durable_queue(QUEUE));
    peer.confirm_select(1);
    publish(&mut peer, 0..50);
    peer.expect_confirms_to(1, 50);
    limit_files(&broker, Some(100_000));
    publish(&mut peer, 50..200);
    peer.expect::<connection::Blocked>(0);
    broker.kill();
    broker.start_again();
    let found = contents(&broker, QUEUE);
    assert!(found.len() >= 50);
    for (number, found) in found.iter().enumerate() {
        assert!(found.body == body(number), "message {number}");
    }
}

#[test]
fn declaration_on_a_full_disk_waits_for_room_and_the_broker_lives() {
    let Some(mut broker) = broker() else {
        return;
    };
    let mut peer = Peer::connect_to(&broker);
    peer.declare(1, durable_queue(QUEUE));
    peer.confirm_select(1);
    publish(&mut peer, 0..50);
    peer.expect_confirms_to(1, 50);

    limit_files(&broker, Some(100_000));
    let mut late = Peer::connect_to(&broker);
    late.send(1, durable_queue("late"));
    // The alarm comes of the declaration alone: nothing is published that needs room.
    peer.expect::<connection::Blocked>(0);
    let mut reader = Peer::connect_to(&broker);
    assert!(reader.get(1, QUEUE, false).is_some());
    reader.close();

    limit_files(&broker, None);
    late.expect::<queue::DeclareOk>(1);
    broker.kill();
    broker.start_again();
    check(&broker, 50);
    let mut again = Peer::connect_to(&broker);
    assert_eq!(again.counts(1, "late"), (0, 0));
}

/// More than two intervals without a word, and a client takes the broker for dead.
#[test]
fn client_whose_declaration_waits_for_room_goes_on_getting_heartbeats() {
    let Some(broker) = broker() else {
        return;
    };
    let mut peer = Peer::connect_to(&broker);
    let login = Login {
        heartbeat: 2,
        ..Login::default()
    };
    let mut late = Peer::tcp_to(broker.amqp_address()).opened(&login);
    late.open_channel(1);
    limit_files(&broker, Some(100_000));
    // At once: until it waits for an answer, it has to send heartbeats itself.
    late.send(1, durable_queue("late"));
    peer.publish(1, "", "nowhere", "from now on told of alarms");
    peer.expect::<connection::Blocked>(0);
    for _ in 0..5 {
        let frame = late.read_frame(Instant::now() + PATIENCE, "a heartbeat");
        assert!(matches!(frame, Some(AMQPFrame::Heartbeat)), "{frame:?}");
    }
    limit_files(&broker, None);
    late.expect::<queue::DeclareOk>(1);
    assert_eq!(late.counts(1, "late"), (0, 0));
}

/// As docs/durability.md promises: all is there, consumers go on, and publishers until what they publish finds no room.
#[test]
fn broker_starts_on_a_full_disk_with_all_that_was_confirmed() {
    for killed in [true, false] {
        start_on_a_full_disk("journal", killed);
    }
}

#[test]
fn broker_with_the_other_engine_starts_on_a_full_disk_too() {
    for killed in [true, false] {
        start_on_a_full_disk("sled", killed);
    }
}

fn start_on_a_full_disk(engine: &str, killed: bool) {
    let Some(mut broker) = broker_with(engine) else {
        return;
    };
    let mut peer = Peer::connect_to(&broker);
    peer.declare(1, durable_queue(QUEUE));
    peer.confirm_select(1);
    publish(&mut peer, 0..50);
    peer.expect_confirms_to(1, 50);
    drop(peer);
    if killed {
        broker.kill();
    } else {
        assert!(broker.stop().success());
    }
    let database = broker.data_dir().join("sled/db");
    let length = std::fs::metadata(database).expect("the database").len();
    broker.limit_files_at_start(Some(length + ROOM));
    broker.start_again();
    broker.await_line("of the full disk", |line| {
        line.contains("definitions cannot be changed until there is room")
    });
    let mut peer = Peer::connect_to(&broker);
    assert_eq!(peer.counts(1, QUEUE), (50, 0));
    let got = peer.get(1, QUEUE, false).expect("a message");
    assert!(got.body == body(0));
    peer.cut();

    let mut peer = Peer::connect_to(&broker);
    peer.confirm_select(1);
    // More than can be written.
    publish(&mut peer, 50..2_000);
    let blocked = peer.expect::<connection::Blocked>(0);
    assert_eq!(blocked.reason.as_str(), "low on disk");
    limit_files(&broker, None);
    peer.expect::<connection::Unblocked>(0);
    let mut confirmed = 0;
    while confirmed < 1_950 {
        confirmed = peer.expect::<basic::Ack>(1).delivery_tag;
    }
    broker.limit_files_at_start(None);
    broker.kill();
    broker.start_again();
    check(&broker, 2_000);
}
