//! Expiry of whole queues: order, slices, counts, and what a start finds.

use std::time::{Duration, Instant};

use super::*;
use crate::{
    message::Message,
    queue::{QueueArguments, tests::durable_queue_with},
    statistics::Column,
    store::MemoryStore,
};

fn queue(store: &Arc<MemoryStore>, dead_letters: bool) -> Arc<Queue> {
    let arguments = QueueArguments {
        dead_letter_exchange: dead_letters.then(|| "dlx".into()),
        ..QueueArguments::default()
    };
    durable_queue_with(store, arguments)
}

/// A persistent message that expires after `ttl`, which is also its body.
fn expiring(ttl: &str) -> Message {
    let mut properties = vec![1, 0, ttl.len() as u8];
    properties.extend_from_slice(ttl.as_bytes());
    Message::new("", "queue", &properties, ttl.as_bytes(), true)
}

fn publish(queue: &Arc<Queue>, messages: impl Iterator<Item = Message>) {
    queue.publish(messages, 0, &mut Work::default(), &mut Vec::new());
}

fn expire(queue: &Arc<Queue>, now: Millis) {
    let at = queue.scheduled.load(Ordering::Relaxed);
    queue.expire(at, now, &mut Work::default());
}

#[test]
fn dead_letters_leave_in_the_order_of_time_and_are_counted() {
    let queue = queue(&Arc::default(), true);
    let stays = Message::new("", "queue", &[0, 0], b"stays", true);
    let messages = ["70", "30", "50", "90", "30"].map(expiring);
    publish(&queue, std::iter::once(stays).chain(messages));
    expire(&queue, 75);
    let mut dead = Vec::new();
    queue.for_each_dead(|it| {
        dead.push((it.entry.message.body().to_vec(), it.entry.position));
        Ticket::NONE
    });
    let expected = [("30", 3), ("30", 6), ("50", 4), ("70", 2)];
    let expected = expected.map(|(body, place)| (body.as_bytes().to_vec(), place));
    assert_eq!(dead, expected);
    assert_eq!(queue.counts().ready, 2);
    assert_eq!(queue.statistics_counts().get(Column::DeadExpired), 4);
}

#[test]
fn much_that_expires_at_once_goes_in_slices_and_is_never_delivered() {
    let queue = queue(&Arc::default(), false);
    let many = (0..2 * SLICE + 5).map(|_| expiring("10"));
    publish(&queue, many.chain([expiring("99")]));
    expire(&queue, 50);
    assert_eq!(queue.counts().ready, SLICE + 6);
    assert_eq!(
        queue.scheduled.load(Ordering::Relaxed),
        10,
        "it goes on at once"
    );
    let got = queue.get(false, 50, &mut Work::default()).unwrap();
    assert_eq!(got.unwrap().0.message.body(), b"99");
    assert_eq!(queue.counts().ready, 0);
}

#[test]
fn a_backlog_is_looked_through_after_a_start() {
    let store = Arc::new(MemoryStore::pageable());
    publish(
        &queue(&store, false),
        ["500", "40", "20"].map(expiring).into_iter(),
    );
    let queue = queue(&store, false);
    assert_eq!(queue.recover().unwrap(), 3);
    expire(&queue, 30);
    let deadline = Instant::now() + Duration::from_secs(60);
    while queue.counts().ready != 2 || queue.scheduled.load(Ordering::Relaxed) != 40 {
        assert!(Instant::now() < deadline, "not within a minute");
        std::thread::yield_now();
    }
    while queue.counts().ready != 1 {
        assert!(Instant::now() < deadline, "not within a minute");
        expire(&queue, 45);
    }
    assert_eq!(queue.scheduled.load(Ordering::Relaxed), 500);
}
