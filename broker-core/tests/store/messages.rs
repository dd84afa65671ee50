//! What every message store does with batches, tickets and queues; and what the ones on disk do over a restart.

use std::sync::Arc;

use broker_core::{
    message::Message,
    store::{MemoryStore, MessageStore, Operation, QueueId, Ticket},
};

use crate::support::{
    ENQUEUED_AT, InMemory, Journal, OnDisk, OnSled, SmallJournal, Subject, Told, commit, contents,
    delete, enqueue, message, positions, read, requeue, settle, settle_range, stored,
};

fn empty_batch_needs_no_ticket(store: &dyn MessageStore) {
    assert_eq!(store.append(&mut Vec::new()), Ticket::NONE);
    let told = Arc::new(Told::default());
    store.notify(Ticket::NONE, told.clone());
    assert_eq!(told.so_far(), [Ticket::NONE]);
}

fn append_takes_the_operations_and_leaves_the_allocation(store: &dyn MessageStore) {
    let mut batch = Vec::with_capacity(16);
    batch.push(enqueue(1, 1, b"x"));
    store.append(&mut batch);
    assert!(batch.is_empty());
    assert!(batch.capacity() >= 16);
}

fn tickets_complete_in_order(store: &dyn MessageStore) {
    let told = Arc::new(Told::default());
    let mut tickets = Vec::new();
    for position in 0..500 {
        let ticket = store.append(&mut vec![enqueue(1, position, b"x")]);
        store.notify(ticket, told.clone());
        tickets.push(ticket);
    }
    assert!(tickets.is_sorted_by(|a, b| a < b));
    assert_eq!(told.wait(500), tickets);
    // A store may take tickets of its own in between.
    commit(store, [enqueue(1, 500, b"x")]);
    assert!(store.durable() >= tickets[499]);
}

fn ticket_of_settlements_alone_completes_when_awaited(store: &dyn MessageStore) {
    commit(store, [enqueue(1, 1, b"x")]);
    commit(store, [settle(1, 1)]);
    assert!(positions(store, 1).is_empty());
}

fn ticket_of_an_earlier_batch_completes_after_a_later_one(store: &dyn MessageStore) {
    let early = store.append(&mut vec![enqueue(1, 1, b"x")]);
    commit(store, [enqueue(1, 2, b"x")]);
    let told = Arc::new(Told::default());
    store.notify(early, told.clone());
    assert_eq!(told.wait(1), [early]);
}

fn read_gives_positions_in_order_with_all_of_the_message(store: &dyn MessageStore) {
    commit(store, [enqueue(1, 9, b"c"), enqueue(1, 300, b"d")]);
    commit(store, [enqueue(1, 2, b"b"), enqueue(2, 1, b"other")]);
    let found = stored(store, 1);
    let expected = [(2, b"b"), (9, b"c"), (300, b"d")];
    assert_eq!(found.len(), expected.len());
    for (stored, (place, body)) in found.iter().zip(expected) {
        let (found, expected) = (&stored.message, message(body));
        assert_eq!(stored.position, place);
        assert_eq!(stored.enqueued_at, ENQUEUED_AT + place);
        assert_eq!((stored.delivery_count, stored.redelivered), (0, false));
        assert_eq!(found.body(), expected.body());
        assert_eq!(found.properties(), expected.properties());
        assert_eq!(found.routing_key(), expected.routing_key());
        assert_eq!(found.exchange(), expected.exchange());
        assert!(found.persistent());
    }
}

fn read_keeps_to_its_range_and_its_bytes(store: &dyn MessageStore) {
    commit(store, (1..=9).map(|at| enqueue(1, at, &[0; 100])));
    let places = |from, to, bytes| {
        let found = read(store, 1, from, to, bytes);
        found.iter().map(|s| s.position).collect::<Vec<_>>()
    };
    assert_eq!(places(3, 6, usize::MAX), [3, 4, 5, 6]);
    assert_eq!(places(3, 9, 1), [3]);
    let size = message(&[0; 100]).size();
    assert_eq!(places(3, 9, 2 * size), [3, 4]);
    assert_eq!(places(3, 9, 2 * size + 1), [3, 4, 5]);
    assert_eq!(places(10, 20, 100), [0; 0]);
    assert_eq!(places(6, 3, 100), [0; 0]);
}

fn backlog_counts_what_is_there(store: &dyn MessageStore) {
    assert_eq!(store.backlog(QueueId(1)).unwrap(), None);
    commit(store, (3..=9).map(|at| enqueue(1, at, &[0; 100])));
    commit(store, [settle(1, 3), settle(1, 6), enqueue(2, 1, b"x")]);
    let backlog = store.backlog(QueueId(1)).unwrap().unwrap();
    assert_eq!((backlog.first, backlog.last), (4, 9));
    assert_eq!((backlog.count, backlog.bytes), (5, 500));
    assert!(backlog.oldest <= ENQUEUED_AT + 4);
    assert!(!backlog.may_expire);
    let (queue, position, enqueued_at) = (QueueId(1), 10, ENQUEUED_AT);
    // The properties hold an expiration: bit 8 of the flags, and a short string.
    let message = Message::new("", "q", &[1, 0, 1, b'5'], b"", true);
    let expiring = Operation::Enqueue {
        queue,
        position,
        enqueued_at,
        message,
    };
    commit(store, [expiring]);
    let backlog = store.backlog(QueueId(1)).unwrap().unwrap();
    assert!(backlog.may_expire);
    commit(store, [settle_range(1, 0, 100)]);
    assert_eq!(store.backlog(QueueId(1)).unwrap(), None);
}

fn requeued_message_keeps_its_last_count_and_its_flag(store: &dyn MessageStore) {
    let large = vec![7; 20_000];
    commit(store, (1..=4).map(|at| enqueue(1, at, &large)));
    commit(store, [requeue(1, 2, 1), requeue(1, 3, 1)]);
    commit(store, [requeue(1, 2, 2), settle(1, 3)]);
    commit(store, [enqueue(1, 5, b"x"), requeue(1, 5, 1)]);
    commit(store, [requeue(1, 4, 1), settle_range(1, 4, 4)]);
    let found = stored(store, 1).into_iter();
    let flags: Vec<_> = found
        .map(|s| (s.position, s.delivery_count, s.redelivered))
        .collect();
    assert_eq!(flags, [(1, 0, false), (2, 2, true), (5, 1, true)]);
    assert_eq!(contents(store, 1)[1].1, large);
    commit(store, [settle_range(1, 1, 5)]);
    assert_eq!(store.queues().unwrap(), []);
}

fn readable_is_seen_by_read(store: &dyn MessageStore) {
    commit(store, (1..=9).map(|at| enqueue(1, at, b"x")));
    let readable = store.readable(QueueId(1)).min(9);
    assert!(positions(store, 1).starts_with(&(1..=readable).collect::<Vec<_>>()));
}

fn empty_and_large_bodies_are_kept(store: &dyn MessageStore) {
    let bodies: Vec<Vec<u8>> = [0, 1, 6_000, 6_144, 6_145, 20_000, 300_000, 3_000_000]
        .map(|length| (0..length).map(|at| (at % 251) as u8).collect())
        .into();
    commit(
        store,
        bodies
            .iter()
            .zip(1..)
            .map(|(body, position)| enqueue(1, position, body)),
    );
    let expected: Vec<_> = (1..).zip(bodies).collect();
    assert!(contents(store, 1) == expected, "a body is not what it was");
    commit(store, [settle(1, 7), settle(1, 2), settle(1, 8)]);
    assert_eq!(positions(store, 1), [1, 3, 4, 5, 6]);
    commit(store, [settle_range(1, 1, 5)]);
    assert_eq!(positions(store, 1), [6]);
}

fn settling_takes_out_that_message_only(store: &dyn MessageStore) {
    commit(
        store,
        (1..=5).flat_map(|at| [enqueue(1, at, b"x"), enqueue(2, at, b"x")]),
    );
    commit(store, [settle(1, 3)]);
    assert_eq!(positions(store, 1), [1, 2, 4, 5]);
    assert_eq!(positions(store, 2), [1, 2, 3, 4, 5]);
}

fn settling_what_is_not_there_changes_nothing(store: &dyn MessageStore) {
    commit(store, [enqueue(1, 1, b"x")]);
    commit(
        store,
        [settle(1, 7), settle(3, 1), settle_range(1, 5, 9), delete(4)],
    );
    assert_eq!(positions(store, 1), [1]);
}

fn settling_a_range_includes_both_ends(store: &dyn MessageStore) {
    commit(store, (1..=9).map(|at| enqueue(1, at, b"x")));
    commit(store, [settle_range(1, 3, 7)]);
    assert_eq!(positions(store, 1), [1, 2, 8, 9]);
    commit(store, [settle_range(1, 9, 8)]);
    assert_eq!(positions(store, 1), [1, 2, 8, 9]);
}

fn enqueued_and_settled_at_once_leaves_nothing(store: &dyn MessageStore) {
    commit(
        store,
        [enqueue(1, 1, b"x"), settle(1, 1), enqueue(1, 2, b"y")],
    );
    commit(
        store,
        [
            enqueue(1, 3, b"x"),
            settle_range(1, 2, 3),
            enqueue(1, 4, b"z"),
        ],
    );
    commit(store, [enqueue(2, 1, b"x"), delete(2)]);
    assert_eq!(positions(store, 1), [4]);
    assert_eq!(store.queues().unwrap(), [QueueId(1)]);
}

fn deleting_a_queue_leaves_the_others(store: &dyn MessageStore) {
    commit(store, (1..=4).map(|queue| enqueue(queue, 1, b"x")));
    commit(store, [delete(2), delete(4)]);
    assert_eq!(store.queues().unwrap(), [QueueId(1), QueueId(3)]);
    assert!(positions(store, 2).is_empty());
}

fn queues_are_those_that_hold_messages(store: &dyn MessageStore) {
    assert_eq!(store.queues().unwrap(), []);
    let high = (1 << 40) + 7;
    commit(
        store,
        [
            enqueue(high, 1, b"x"),
            enqueue(1, 1, b"x"),
            enqueue(1, 2, b"x"),
        ],
    );
    assert_eq!(store.queues().unwrap(), [QueueId(1), QueueId(high)]);
}

fn purge_of_thousands_takes_effect(store: &dyn MessageStore) {
    commit(store, (0..5_000).map(|at| enqueue(1, at, b"x")));
    commit(store, [settle_range(1, 10, 4_899), enqueue(1, 5_000, b"x")]);
    let left: Vec<_> = (0..10).chain(4_900..=5_000).collect();
    assert_eq!(positions(store, 1), left);
    commit(store, [enqueue(2, 1, b"x")]);
    store.close();
}

fn closed_store_refuses_and_promises_nothing(store: &dyn MessageStore) {
    commit(store, [enqueue(1, 1, b"x")]);
    let pending = store.append(&mut vec![settle(1, 1)]);
    store.close();
    assert_eq!(store.durable(), pending);
    let ticket = store.append(&mut vec![enqueue(1, 2, b"x")]);
    assert_eq!(ticket, Ticket::NEVER);
    let told = Arc::new(Told::default());
    store.notify(ticket, told.clone());
    store.notify(pending, told.clone());
    assert_eq!(told.so_far(), [pending]);
    assert_eq!(store.pending_bytes(), 0);
    store.close();
}

macro_rules! conformance {
    ($module:ident, $subject:ty, $($rule:ident),+ $(,)?) => {
        mod $module {
            use super::*;
            $(#[test]
            fn $rule() {
                super::$rule(<$subject>::new().store());
            })+
        }
    };
}

macro_rules! every_store {
    ($($rule:ident),+ $(,)?) => {
        conformance!(memory, InMemory, $($rule),+);
        conformance!(sled, OnSled, $($rule),+);
        conformance!(journal, Journal, $($rule),+);
        conformance!(small_journal, SmallJournal, $($rule),+);
    };
}

every_store!(
    empty_batch_needs_no_ticket,
    append_takes_the_operations_and_leaves_the_allocation,
    tickets_complete_in_order,
    ticket_of_settlements_alone_completes_when_awaited,
    ticket_of_an_earlier_batch_completes_after_a_later_one,
    read_gives_positions_in_order_with_all_of_the_message,
    read_keeps_to_its_range_and_its_bytes,
    backlog_counts_what_is_there,
    requeued_message_keeps_its_last_count_and_its_flag,
    readable_is_seen_by_read,
    empty_and_large_bodies_are_kept,
    settling_takes_out_that_message_only,
    settling_what_is_not_there_changes_nothing,
    settling_a_range_includes_both_ends,
    enqueued_and_settled_at_once_leaves_nothing,
    deleting_a_queue_leaves_the_others,
    queues_are_those_that_hold_messages,
    purge_of_thousands_takes_effect,
    closed_store_refuses_and_promises_nothing,
);

#[test]
fn held_store_completes_when_the_test_says_so() {
    let store = MemoryStore::held();
    let told = Arc::new(Told::default());
    let tickets: Vec<_> = (0..3)
        .map(|at| store.append(&mut vec![enqueue(1, at, b"x")]))
        .collect();
    for ticket in tickets.iter().rev() {
        store.notify(*ticket, told.clone());
    }
    assert_eq!(told.so_far(), []);
    store.release(tickets[1]);
    assert_eq!(told.so_far(), tickets[..2]);
    assert_eq!(store.durable(), tickets[1]);
    store.release_all();
    assert_eq!(told.so_far(), tickets);
}

fn keeps_everything_over_a_restart(mut subject: impl OnDisk) {
    commit(
        subject.store(),
        (1..=3).map(|at| enqueue(1, at, &vec![7; at as usize * 5_000])),
    );
    // Nobody waits for these: closing is enough.
    subject.store().append(&mut vec![enqueue(2, 1, b"")]);
    subject.store().append(&mut vec![settle(1, 2)]);
    subject.reopen();
    assert_eq!(positions(subject.store(), 1), [1, 3]);
    assert_eq!(contents(subject.store(), 2), [(1, Vec::new())]);
    commit(subject.store(), [settle(1, 3)]);
    subject.reopen();
    assert_eq!(contents(subject.store(), 1), [(1, vec![7; 5_000])]);
}

/// A store that writes such a message once for all its queues must not take one for another of an earlier life.
fn keeps_messages_for_several_queues_apart_over_restarts(mut subject: impl OnDisk) {
    let bodies = [1, 2, 3].map(|at| vec![at as u8; 5_000]);
    for (at, body) in (1..).zip(&bodies) {
        let message = message(body);
        let enqueue = |queue| Operation::Enqueue {
            queue: QueueId(queue),
            position: at,
            enqueued_at: at,
            message: message.clone(),
        };
        commit(subject.store(), [enqueue(1), enqueue(2)]);
        subject.reopen();
    }
    let expected: Vec<_> = (1..).zip(bodies).collect();
    for queue in [1, 2] {
        assert!(contents(subject.store(), queue) == expected);
    }
}

fn finishes_an_interrupted_purge_at_start(mut subject: impl OnDisk) {
    commit(subject.store(), (0..5_000).map(|at| enqueue(1, at, b"x")));
    commit(subject.store(), (0..3_000).map(|at| enqueue(2, at, b"x")));
    // The purge and the deletion are durable before their keys are gone, and closing does not wait for that.
    commit(
        subject.store(),
        [
            settle_range(1, 10, 4_989),
            enqueue(1, 5_000, b"x"),
            delete(2),
        ],
    );
    subject.reopen();
    let expected: Vec<_> = (0..10).chain(4_990..=5_000).collect();
    assert_eq!(positions(subject.store(), 1), expected);
    assert_eq!(subject.store().queues().unwrap(), [QueueId(1)]);
}

/// New messages must not come to places that are still being cleared up.
fn what_comes_after_an_interrupted_purge_stays(mut subject: impl OnDisk) {
    let body = vec![7; 15_000];
    commit(subject.store(), (1..=1_500).map(|at| enqueue(1, at, &body)));
    commit(subject.store(), [settle_range(1, 2, 1_500)]);
    subject.reopen();
    let next = next_place(&subject);
    commit(subject.store(), [enqueue(1, next, b"new")]);
    let expected = [(1, body), (next, b"new".to_vec())];
    assert!(contents(subject.store(), 1) == expected);
    commit(subject.store(), [settle(1, 1)]);
    subject.reopen();
    assert_eq!(contents(subject.store(), 1), expected[1..]);
    commit(subject.store(), [settle(1, next)]);
    subject.reopen();
    assert_eq!(subject.store().queues().unwrap(), []);
}

/// What a client has to be told of each message: how often it came back, and whether it may have been seen.
fn flags(subject: &impl OnDisk) -> Vec<(u32, bool)> {
    let found = stored(subject.store(), 1).into_iter();
    found.map(|s| (s.delivery_count, s.redelivered)).collect()
}

fn keeps_counts_over_a_proper_close(mut subject: impl OnDisk) {
    let large = vec![7; 20_000];
    commit(
        subject.store(),
        [enqueue(1, 1, &large), enqueue(1, 2, b"x"), requeue(1, 1, 3)],
    );
    subject.reopen();
    assert_eq!(flags(&subject), [(3, true), (0, false)]);
    commit(subject.store(), [settle(1, 1)]);
    subject.reopen();
    assert_eq!(contents(subject.store(), 1), [(2, b"x".to_vec())]);
}

fn flags_what_it_finds_after_an_unclean_stop(mut subject: impl OnDisk) {
    commit(subject.store(), [enqueue(1, 1, b"x"), requeue(1, 1, 3)]);
    commit(subject.store(), [enqueue(1, 2, b"x")]);
    subject.reopen_unclosed();
    commit(subject.store(), [enqueue(1, 3, b"x")]);
    assert_eq!(flags(&subject), [(3, true), (0, true), (0, false)]);
}

/// Where a queue goes on after a start.
fn next_place(subject: &impl OnDisk) -> u64 {
    let backlog = subject.store().backlog(QueueId(1)).unwrap();
    let last = backlog.map_or(0, |backlog| backlog.last);
    last.max(subject.store().last_position(QueueId(1))) + 1
}

fn what_comes_after_a_start_is_not_taken_for_what_was_settled(mut subject: impl OnDisk) {
    commit(subject.store(), (1..=10).map(|at| enqueue(1, at, b"old")));
    commit(subject.store(), [requeue(1, 10, 3), settle(1, 10)]);
    subject.reopen();
    let next = next_place(&subject);
    commit(subject.store(), [enqueue(1, next, b"new")]);
    let mut expected: Vec<_> = (1..10).map(|at| (at, b"old".to_vec())).collect();
    expected.push((next, b"new".to_vec()));
    assert_eq!(contents(subject.store(), 1), expected);
    subject.reopen();
    assert_eq!(contents(subject.store(), 1), expected);
    assert_eq!(flags(&subject), [(0, false); 10]);
}

fn what_comes_after_a_crash_is_not_flagged(mut subject: impl OnDisk) {
    commit(subject.store(), (1..=10).map(|at| enqueue(1, at, b"old")));
    commit(subject.store(), (1..=10).map(|at| settle(1, at)));
    subject.reopen_unclosed();
    let next = next_place(&subject);
    commit(subject.store(), [enqueue(1, next, b"new")]);
    assert_eq!(flags(&subject), [(0, false)]);
    subject.reopen();
    assert_eq!(flags(&subject), [(0, false)]);
}

macro_rules! on_disk {
    ($($module:ident: $subject:ty),+ => $rules:tt) => {
        $(on_disk!(@ $module, $subject, $rules);)+
    };
    (@ $module:ident, $subject:ty, { $($rule:ident),+ $(,)? }) => {
        mod $module {
            use super::*;
            $(#[test]
            fn $rule() {
                super::$rule(<$subject>::new());
            })+
        }
    };
}

on_disk!(sled_on_disk: OnSled, journal_on_disk: Journal, small_journal_on_disk: SmallJournal => {
    keeps_everything_over_a_restart,
    keeps_messages_for_several_queues_apart_over_restarts,
    finishes_an_interrupted_purge_at_start,
    what_comes_after_an_interrupted_purge_stays,
    keeps_counts_over_a_proper_close,
    flags_what_it_finds_after_an_unclean_stop,
    what_comes_after_a_start_is_not_taken_for_what_was_settled,
    what_comes_after_a_crash_is_not_flagged,
});
