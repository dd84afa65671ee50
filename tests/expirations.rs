//! Very many messages with an expiration of their own: they go when their time has come, in a queue that goes on working.
//!
//! `LEVERET_TEST_EXPIRATIONS` sets their number, `LEVERET_TEST_SHORTEST_TTL` the least time that they live, and `cargo test --release --test expirations -- --nocapture` prints what
//! `docs/performance.md` tells. With `LEVERET_TEST_AMQP` a broker of another build is measured, whose process
//! `LEVERET_TEST_BROKER_PID` names.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a failed step is a failed test, and its panic is the report"
)]

#[path = "support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng, rngs::StdRng};
use support::{
    AMQPProperties, Broker, Peer,
    content::{publish_bytes, publish_to},
    foreign_broker, unique,
};

/// Messages that enter between two looks at the clock.
const CHUNK: usize = 2_000;

/// The least time to live, in milliseconds.
const SHORTEST: u64 = 2_000;

/// What a machine that is busy with other tests may add. The figures of a quiet one are in `docs/performance.md`.
const PATIENCE: Duration = Duration::from_secs(60);

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// When a message expires at the earliest and at the latest, in milliseconds of the test: it entered between two looks at
/// the clock.
struct Ends {
    earliest: Vec<u64>,
    latest: Vec<u64>,
}

/// Publishes `count` messages with times to live of up to `span` more than the shortest.
fn publish(peer: &mut Peer, queue: &str, count: usize, span: u64, begin: Instant) -> Ends {
    let shortest = from_environment("LEVERET_TEST_SHORTEST_TTL").unwrap_or(SHORTEST);
    let mut random = StdRng::seed_from_u64(1);
    let mut ends = Ends {
        earliest: Vec::with_capacity(count),
        latest: Vec::with_capacity(count),
    };
    for first in (0..count).step_by(CHUNK) {
        let ttls: Vec<u64> = (first..count.min(first + CHUNK))
            .map(|_| shortest + random.random_range(0..span))
            .collect();
        let publish = |ttl: &u64| {
            let properties = AMQPProperties::default().with_expiration(ttl.to_string().into());
            publish_bytes(1, publish_to("", queue), properties, b"0123456789abcdef")
        };
        let bytes: Vec<u8> = ttls.iter().flat_map(publish).collect();
        let before = begin.elapsed().as_millis() as u64;
        peer.send_bytes(&bytes);
        // The answer comes when all of them have entered.
        peer.counts(1, queue);
        let after = begin.elapsed().as_millis() as u64 + 1;
        // The broker's clock has milliseconds: a message entered up to one before it says so.
        ends.earliest
            .extend(ttls.iter().map(|ttl| (before + ttl).saturating_sub(1)));
        ends.latest.extend(ttls.iter().map(|ttl| after + ttl));
    }
    ends.earliest.sort_unstable();
    ends.latest.sort_unstable();
    ends
}

/// What was seen while messages expired.
#[derive(Debug, Default)]
struct Seen {
    /// The longest time by which a message outlived its end.
    late: Duration,
    /// How many were gone that should still have been there, at most.
    early: usize,
    /// The longest and the second longest times that the queue took to answer.
    pauses: [Duration; 2],
}

/// Asks the queue for its length until it is empty.
fn watch(peer: &mut Peer, queue: &str, ends: &Ends, begin: Instant) -> Seen {
    let mut seen = Seen::default();
    let last = Duration::from_millis(*ends.latest.last().expect("messages"));
    loop {
        let asked = begin.elapsed();
        let left = peer.counts(1, queue).0 as usize;
        let answered = begin.elapsed();
        seen.pauses[1] = seen.pauses[1].max((answered - asked).min(seen.pauses[0]));
        seen.pauses[0] = seen.pauses[0].max(answered - asked);
        let gone = ends.latest.len() - left;
        if let Some(next) = ends.latest.get(gone) {
            let late = asked.saturating_sub(Duration::from_millis(*next));
            seen.late = seen.late.max(late);
        }
        let ended = ends
            .earliest
            .partition_point(|end| u128::from(*end) <= answered.as_millis());
        seen.early = seen.early.max(gone.saturating_sub(ended));
        if left == 0 {
            return seen;
        }
        assert!(asked < last + PATIENCE, "{left} messages do not go");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// User and system time of a process.
fn cpu_seconds(pid: u64) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().ok()? + fields[12].parse::<u64>().ok()?;
    Some(ticks as f64 / 100.0)
}

#[test]
fn many_messages_expire_at_their_own_times() {
    let count = from_environment("LEVERET_TEST_EXPIRATIONS").unwrap_or(20_000) as usize;
    let span = count as u64 / 50 + 1_000;
    let mut peer = Peer::connect();
    let pid = match foreign_broker() {
        true => from_environment("LEVERET_TEST_BROKER_PID"),
        false => Broker::shared().pid().map(u64::from),
    };
    let cpu = || pid.and_then(cpu_seconds).unwrap_or_default();
    let queue = peer.fresh_queue(1, &unique("expirations"));
    let (begin, at_first) = (Instant::now(), cpu());
    let ends = publish(&mut peer, &queue, count, span, begin);
    let (published, full) = (begin.elapsed(), cpu());
    let left = peer.counts(1, &queue).0;
    let seen = watch(&mut peer, &queue, &ends, begin);
    let (all, empty) = (begin.elapsed(), cpu());
    eprintln!(
        "{count} messages published in {published:.1?}, {left} of them left then, all gone after {all:.1?}"
    );
    eprintln!("{seen:?}");
    let (publishing, expiring) = (full - at_first, empty - full);
    eprintln!("the broker's CPU: {publishing:.2} s while publishing, {expiring:.2} s afterwards");
    assert_eq!(seen.early, 0, "messages went before their time");
    assert!(seen.late < PATIENCE);
    peer.close();
}
