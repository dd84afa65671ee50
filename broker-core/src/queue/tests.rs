//! What a queue leaves in the store, and whom it tells of its end, when changes of it meet.

use std::{
    sync::atomic::AtomicBool,
    task::{Wake, Waker},
    time::{Duration, Instant},
};

use super::*;
use crate::{
    journal::file_system::Disk,
    outbox::{Event, Outbox, SubscriptionKey},
    spill::Spill,
    statistics::Column,
    store::{MemoryStore, StoredMessage},
};

fn durable_queue(store: &Arc<MemoryStore>) -> Arc<Queue> {
    durable_queue_with(store, QueueArguments::default())
}

pub(super) fn durable_queue_with(
    store: &Arc<MemoryStore>,
    arguments: QueueArguments,
) -> Arc<Queue> {
    queue_with(Arc::clone(store), arguments, Pager::unlimited())
}

fn queue_with(store: Arc<MemoryStore>, arguments: QueueArguments, pager: Arc<Pager>) -> Arc<Queue> {
    let properties = QueueProperties {
        name: "queue".into(),
        vhost: "/".into(),
        durable: true,
        auto_delete: false,
        exclusive_owner: None,
        table: FieldTable::default(),
        priorities: Priorities::of(&arguments),
        arguments: Arc::new(arguments),
    };
    Queue::new(QueueId(1), properties, store, Arc::default(), pager)
}

fn persistent(body: &str) -> Message {
    Message::new("", "queue", &[0, 0], body.as_bytes(), true)
}

/// Waits for what another thread does.
fn until(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < deadline, "{what}: not within a minute");
        std::thread::yield_now();
    }
}

fn publish(queue: &Arc<Queue>, body: &str) {
    let message = std::iter::once(persistent(body));
    queue.publish(message, 0, &mut Work::default(), &mut Vec::new());
}

/// What a transaction does between its batch and its entry into the queue.
fn reserve(queue: &Arc<Queue>, body: &str) -> (Places, Message) {
    let message = persistent(body);
    let mut batch = Vec::new();
    let place = queue.reserve(&message, 0, &mut batch);
    queue.store.append(&mut batch);
    (place, message)
}

fn insert(queue: &Arc<Queue>, reserved: (Places, Message)) {
    queue.insert(reserved.0, reserved.1, 0, &mut Work::default());
}

fn purge(queue: &Arc<Queue>) -> usize {
    queue.purge(0, &mut Work::default())
}

fn get(queue: &Arc<Queue>) -> Entry {
    let got = queue.get(false, 0, &mut Work::default());
    got.unwrap().unwrap().0
}

/// The bodies that the store would give back after a restart.
fn recorded(store: &MemoryStore) -> Vec<String> {
    let mut bodies = Vec::new();
    let mut each = |stored: StoredMessage| {
        bodies.push(String::from_utf8(stored.message.body().to_vec()).unwrap());
    };
    let all = usize::MAX;
    store.read(QueueId(1), 0, u64::MAX, all, &mut each).unwrap();
    bodies
}

#[test]
fn purge_spares_a_message_that_is_about_to_take_its_reserved_place() {
    let store = Arc::new(MemoryStore::new());
    let queue = durable_queue(&store);
    publish(&queue, "before");
    let reserved = reserve(&queue, "reserved");
    publish(&queue, "behind");
    assert_eq!(purge(&queue), 2);
    assert_eq!(recorded(&store), ["reserved"]);
    insert(&queue, reserved);
    assert_eq!(get(&queue).message.body(), b"reserved");
}

#[test]
fn purge_leaves_no_record_of_messages_that_entered_out_of_order() {
    let store = Arc::new(MemoryStore::new());
    let queue = durable_queue(&store);
    let reserved = reserve(&queue, "first place");
    publish(&queue, "second place");
    insert(&queue, reserved);
    assert_eq!(purge(&queue), 2);
    assert!(recorded(&store).is_empty());
}

#[test]
fn record_of_a_refused_message_stays_until_its_dead_letter_is_recorded() {
    let store = Arc::new(MemoryStore::new());
    let arguments = QueueArguments {
        max_length: Some(1),
        overflow: arguments::Overflow::RejectPublishDlx,
        dead_letter_exchange: Some("dlx".into()),
        ..QueueArguments::default()
    };
    let queue = durable_queue_with(&store, arguments);
    publish(&queue, "first");
    let reserved = reserve(&queue, "refused");
    insert(&queue, reserved);
    assert_eq!(queue.counts().ready, 1);
    assert_eq!(recorded(&store), ["first", "refused"]);
    assert_eq!(purge(&queue), 1);
    assert_eq!(recorded(&store), ["refused"], "a purge spares it");
    let mut settled = Vec::new();
    queue.for_each_dead(|dead| {
        assert_eq!(dead.reason, DeadReason::MaxLength);
        settled.extend(dead.entry.settlement(queue.id));
        Ticket::NONE
    });
    store.append(&mut settled);
    assert!(recorded(&store).is_empty());
}

/// A queue with a dead-letter exchange, and a way to let a message die there.
fn dying_queue() -> (Arc<Queue>, impl Fn(&str)) {
    let arguments = QueueArguments {
        dead_letter_exchange: Some("dlx".into()),
        ..QueueArguments::default()
    };
    let queue = durable_queue_with(&Arc::new(MemoryStore::new()), arguments);
    let same = Arc::clone(&queue);
    let die = move |body: &str| {
        publish(&same, body);
        let entry = get(&same);
        same.reject(None, std::iter::once(entry), 0, &mut Work::default());
    };
    (queue, die)
}

#[test]
fn a_thread_takes_on_only_so_many_dead_while_others_bring_more() {
    let (queue, die) = dying_queue();
    die("first");
    let mut taken = 0;
    queue.for_each_dead(|_| {
        taken += 1;
        assert!(taken < 100_000, "it never ends");
        die("one more");
        Ticket::NONE
    });
    assert!(queue.buried(queue.died()).is_none(), "some wait");
    let alarm = queue.scheduled.load(Ordering::Relaxed);
    assert_eq!(alarm, 0, "somebody else takes the rest on, and at once");
    let mut work = Work::default();
    queue.expire(alarm, 0, &mut work);
    assert_eq!(work.dead.len(), 1);
    let mut rest = Vec::new();
    queue.for_each_dead(|dead| {
        rest.push(dead.entry.position);
        Ticket::NONE
    });
    assert!(queue.buried(queue.died()).is_some());
    assert_eq!(rest, [taken + 1]);
}

#[test]
fn a_panic_over_a_dead_letter_does_not_keep_the_others_from_their_way() {
    let (queue, die) = dying_queue();
    ["good", "bad", "good too", "the last"]
        .iter()
        .for_each(|body| die(body));
    let panics = std::panic::AssertUnwindSafe(|| {
        queue.for_each_dead(|dead| {
            assert_ne!(dead.entry.message.body(), b"bad");
            Ticket::NONE
        });
    });
    assert!(std::panic::catch_unwind(panics).is_err());
    assert!(queue.buried(2).is_some() && queue.buried(3).is_none());
    let mut bodies = Vec::new();
    queue.for_each_dead(|dead| {
        bodies.push(dead.entry.message.body().to_vec());
        Ticket::NONE
    });
    assert_eq!(bodies, [&b"good too"[..], b"the last"]);
}

#[test]
fn a_full_queue_refuses_publishes_and_takes_what_nobody_else_has_any_more() {
    for (overflow, exchange) in [
        (arguments::Overflow::RejectPublish, Some("dlx".into())),
        (arguments::Overflow::RejectPublishDlx, None),
    ] {
        let store = Arc::new(MemoryStore::new());
        let arguments = QueueArguments {
            max_length: Some(1),
            overflow,
            dead_letter_exchange: exchange,
            ..QueueArguments::default()
        };
        let queue = durable_queue_with(&store, arguments);
        publish(&queue, "first");
        publish(&queue, "refused");
        let reserved = reserve(&queue, "dead letter");
        insert(&queue, reserved);
        let (places, message) = reserve(&queue, "refused too");
        let (mut work, mut refused) = (Work::default(), Vec::new());
        let refuse = |index| refused.push(index);
        queue.insert_row(places, &[message], 0, &mut work, refuse);
        assert_eq!(refused, [0]);
        assert_eq!(recorded(&store), ["first", "dead letter"]);
        assert_eq!(get(&queue).message.body(), b"first");
        assert_eq!(get(&queue).message.body(), b"dead letter");
    }
}

#[test]
fn purge_spares_a_delivered_message_whose_place_is_between_those_that_wait() {
    let store = Arc::new(MemoryStore::new());
    let queue = durable_queue(&store);
    let reserved = reserve(&queue, "first place");
    publish(&queue, "delivered");
    let delivered = get(&queue);
    insert(&queue, reserved);
    publish(&queue, "third place");
    assert_eq!(purge(&queue), 2);
    assert_eq!(recorded(&store), ["delivered"]);
    let settled = std::iter::once(&delivered);
    queue.settle(None, settled, 0, &mut Work::default());
    assert!(recorded(&store).is_empty());
}

#[test]
fn purge_of_messages_in_order_is_one_range_again_once_disorder_is_gone() {
    let store = Arc::new(MemoryStore::new());
    let queue = durable_queue(&store);
    let reserved = reserve(&queue, "first place");
    publish(&queue, "second place");
    insert(&queue, reserved);
    purge(&queue);
    publish(&queue, "third place");
    publish(&queue, "fourth place");
    let mut effects = Effects::default();
    let mut state = queue.state.lock();
    assert_eq!(state.purge(false, &mut effects, &mut Garbage::default()), 2);
    let operations = effects.operations;
    assert!(
        matches!(
            operations[..],
            [Operation::SettleRange { from: 3, to: 4, .. }]
        ),
        "{operations:?}"
    );
}

#[test]
fn purge_of_what_came_back_is_one_range_if_nobody_holds_anything_of_the_queue() {
    let store = Arc::new(MemoryStore::new());
    let queue = durable_queue(&store);
    for _ in 0..6 {
        publish(&queue, "message");
    }
    let mut taken: Vec<_> = (0..6).map(|_| get(&queue)).collect();
    let held = taken.remove(3);
    let bring_back = |entries: Vec<Entry>| {
        let returned = entries.into_iter().map(|it| (it, Requeued::Unprocessed));
        let (unseen, mut work) = (std::iter::empty(), Work::default());
        queue.requeue(&[], returned, unseen, 0, &mut work);
    };
    let operations = || {
        let mut effects = Effects::default();
        let mut state = queue.state.lock();
        state.purge(false, &mut effects, &mut Garbage::default());
        effects.operations
    };
    bring_back(taken);
    let one_by_one = operations();
    assert_eq!(one_by_one.len(), 5, "{one_by_one:?}");
    publish(&queue, "another");
    let another = get(&queue);
    bring_back(vec![held, another]);
    let operations = operations();
    assert!(
        matches!(
            operations[..],
            [Operation::SettleRange { from: 4, to: 7, .. }]
        ),
        "{operations:?}"
    );
}

#[test]
fn count_and_flag_of_a_returned_message_survive_a_restart() {
    let store = Arc::new(MemoryStore::new());
    let queue = durable_queue(&store);
    publish(&queue, "seen");
    publish(&queue, "unseen");
    for _ in 0..2 {
        let seen = std::iter::once((get(&queue), Requeued::Failed));
        let (unseen, mut work) = (std::iter::empty(), Work::default());
        queue.requeue(&[], seen, unseen, 0, &mut work);
    }
    let queue = durable_queue(&store);
    assert_eq!(queue.recover().unwrap(), 2);
    let (seen, unseen) = (get(&queue), get(&queue));
    assert_eq!((seen.counts.failed, seen.redelivered), (2, true));
    assert_eq!(unseen.counts, DeliveryCounts::default());
    assert!(!unseen.redelivered);
}

#[test]
fn time_to_live_goes_on_over_a_restart() {
    let store = Arc::new(MemoryStore::new());
    let arguments = QueueArguments {
        message_ttl_ms: Some(1_000),
        ..QueueArguments::default()
    };
    let message = std::iter::once(persistent("brief"));
    let queue = durable_queue_with(&store, arguments.clone());
    queue.publish(message, 500, &mut Work::default(), &mut Vec::new());
    let queue = durable_queue_with(&store, arguments);
    queue.recover().unwrap();
    assert_eq!(queue.scheduled.load(Ordering::Acquire), 1_500);
    assert_eq!(queue.counts().ready, 1);
    queue.expire(1_500, 1_500, &mut Work::default());
    until("the message has expired", || queue.counts().ready == 0);
    assert!(recorded(&store).is_empty());
}

#[test]
fn a_much_lower_length_limit_is_put_in_force_in_slices() {
    const SLICE: usize = expire::SLICE;
    let queue = durable_queue(&Arc::new(MemoryStore::new()));
    let messages = std::iter::repeat_n(persistent("much"), 2 * SLICE + 15);
    queue.publish(messages, 0, &mut Work::default(), &mut Vec::new());
    let limited = QueueArguments {
        max_length: Some(10),
        ..QueueArguments::default()
    };
    queue.state.lock().set_limits(Limits::new(&limited));
    queue.schedule(0);
    for left in [SLICE + 15, 15, 10] {
        assert_eq!(queue.scheduled.load(Ordering::Acquire), 0);
        queue.expire(0, 0, &mut Work::default());
        assert_eq!(queue.counts().ready, left);
    }
    assert_eq!(queue.scheduled.load(Ordering::Acquire), NEVER);
    assert_eq!(get(&queue).position, 2 * SLICE as u64 + 6);
}

#[test]
fn publishers_write_to_the_spill_when_the_evictor_does_not_keep_up() {
    const BUDGET: usize = 64 * 1024;
    let folder = tempfile::TempDir::new().unwrap();
    let spill = Spill::open(Arc::new(Disk), folder.path()).unwrap();
    // Nobody has told it of any queue, so its evictor finds none.
    let pager = Pager::new(BUDGET, Some(spill));
    let queue = queue_with(
        Arc::new(MemoryStore::new()),
        QueueArguments::default(),
        Arc::clone(&pager),
    );
    let body = [0; 1_000];
    for _ in 0..1_000 {
        let message = std::iter::once(Message::new("", "q", &[0, 0], &body, false));
        queue.publish(message, 0, &mut Work::default(), &mut Vec::new());
        assert!(pager.resident() <= 3 * BUDGET, "{}", pager.resident());
    }
    assert_eq!(queue.counts().ready, 1_000);
    for place in 1..=1_000 {
        assert_eq!(get(&queue).position, place);
    }
    assert_eq!(pager.resident(), 0);
}

/// Notes whether the queue was locked when the consumer's connection was woken.
struct Woken {
    queue: Arc<Queue>,
    under_lock: AtomicBool,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        let locked = self.queue.state.try_lock().is_none();
        self.under_lock.store(locked, Ordering::Relaxed);
    }
}

#[test]
fn consumers_hear_of_their_deleted_queue_before_its_lock_is_released() {
    let queue = durable_queue(&Arc::new(MemoryStore::new()));
    let outbox = Outbox::new();
    let subscription = Subscription {
        key: SubscriptionKey(7),
        outbox: Arc::clone(&outbox),
        channel_credit: Arc::default(),
        no_ack: false,
        prefetch: 0,
        priority: 0,
        entry: Arc::default(),
    };
    queue.consume(subscription, false).unwrap().unwrap();
    let woken = Arc::new(Woken {
        queue: Arc::clone(&queue),
        under_lock: AtomicBool::new(false),
    });
    assert!(!outbox.poll_ready(&Waker::from(Arc::clone(&woken))));
    queue.delete(|_| Ok(()), &mut Work::default()).unwrap();
    assert!(woken.under_lock.load(Ordering::Relaxed));
    let mut events = Vec::new();
    outbox.take(&mut Vec::new(), &mut events);
    assert_eq!(events, [Event::ConsumerCancelled(SubscriptionKey(7))]);
}

#[test]
fn nothing_is_paged_out_behind_a_record_that_the_store_may_have_written_late() {
    let store = Arc::new(MemoryStore::new());
    let queue = durable_queue(&store);
    let reserved = reserve(&queue, "first place");
    publish(&queue, "second place");
    let mut state = queue.state.lock();
    state.note_records(&reserved.0, Ticket(8), &|| Ticket(7));
    assert_eq!(state.readable(0, 2, || Ticket(7)), 0);
    assert_eq!(state.readable(0, 2, || Ticket(8)), 2);
    let last = state.reserve_row(std::slice::from_ref(&reserved.1));
    state.note_records(&last, Ticket(9), &|| Ticket(8));
    assert_eq!(state.readable(0, 2, || Ticket(8)), 2, "in order");
}

#[test]
fn a_message_that_comes_to_a_deleted_queue_leaves_no_record() {
    let store = Arc::new(MemoryStore::new());
    let queue = durable_queue(&store);
    let message = persistent("late");
    let mut batch = Vec::new();
    let place = queue.reserve(&message, 0, &mut batch);
    queue.end();
    queue.store.append(&mut batch);
    insert(&queue, (place, message));
    assert!(recorded(&store).is_empty());
}

#[test]
fn messages_that_expire_are_counted() {
    let store = Arc::new(MemoryStore::new());
    let arguments = QueueArguments {
        message_ttl_ms: Some(10),
        ..QueueArguments::default()
    };
    let queue = durable_queue_with(&store, arguments);
    publish(&queue, "one");
    publish(&queue, "two");
    queue.dispatch(None, 10, &mut Work::default());
    let counts = queue.statistics_counts();
    assert_eq!(counts.get(Column::DeadExpired), 2);
}

/// There may be 100,000 of them, so whoever makes them larger is to know it. Without what they point to.
#[test]
fn queue_without_messages_stays_small() {
    let (queue, lane) = (size_of::<Queue>(), size_of::<lane::Lane>());
    println!("queue {queue}, lane {lane} bytes");
    assert!(queue <= 1088, "{queue} bytes");
    assert!(lane <= 320, "{lane} bytes");
}
