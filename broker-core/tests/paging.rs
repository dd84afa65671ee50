//! Queues that do not fit into memory, with all threads running: loads meet purges, deletions and cancelled consumers,
//! many small queues come under the budget, and damage stops one queue alone.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a failed step is a failed test, and its panic is the report"
)]

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use amqp_codec::{AMQPValue, FieldTable};
use broker_core::{
    Error,
    broker::Broker,
    definitions::MemoryDefinitions,
    journal::file_system::Disk,
    message::Message,
    outbox::{Delivery, Event, Outbox, SubscriptionKey},
    paging::Pager,
    queue::{ConnectionId, ConsumerHandle, Queue, Requeued, Subscription, Work},
    spill::Spill,
    store::{
        Backlog, Completion, MemoryStore, MessageStore, Operation, Position, QueueId, SledDatabase,
        SledStore, StoredMessage, Ticket,
    },
    users::FirstStart,
    vhost::QueueDeclaration,
};
use tempfile::TempDir;

const NOW: u64 = 1_000;
const BUDGET: usize = 64 * 1024;
const BY: ConnectionId = ConnectionId(1);

struct Scene {
    broker: Arc<Broker>,
    _folder: TempDir,
}

impl Scene {
    fn new(store: Arc<dyn MessageStore>) -> Self {
        let folder = TempDir::new().unwrap();
        let spill = Spill::open(Arc::new(Disk), &folder.path().join("spill")).unwrap();
        let pager = Pager::new(BUDGET, Some(spill));
        let definitions = Arc::new(MemoryDefinitions::new());
        let first = FirstStart::default();
        let broker = Broker::start_with(store, definitions, pager, &first).unwrap();
        Self {
            broker,
            _folder: folder,
        }
    }

    fn queue(&self, name: &str) -> Arc<Queue> {
        self.queue_with(name, FieldTable::default())
    }

    fn queue_with(&self, name: &str, arguments: FieldTable) -> Arc<Queue> {
        let declaration = QueueDeclaration {
            name: name.to_owned(),
            durable: true,
            exclusive: false,
            auto_delete: false,
            arguments,
        };
        let vhost = self.broker.vhost("/").unwrap();
        vhost.declare_queue(declaration, BY).unwrap().0
    }

    fn delete(&self, name: &str) {
        let vhost = self.broker.vhost("/").unwrap();
        vhost
            .delete_queue(name, BY, (false, false), &mut Work::default())
            .unwrap();
    }

    fn comes_under_the_budget(&self) {
        until("messages come under the budget", || {
            self.broker.pager().resident() <= BUDGET
        });
    }
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < deadline, "{what}: not within a minute");
        std::thread::yield_now();
    }
}

fn message(number: usize, persistent: bool) -> Message {
    let body = format!("{number:0100}");
    Message::new("", "q", &[0, 0], body.as_bytes(), persistent)
}

fn number(message: &Message) -> usize {
    let body = std::str::from_utf8(message.body()).unwrap();
    body.parse().unwrap()
}

fn publish(queue: &Arc<Queue>, messages: impl Iterator<Item = Message>) {
    queue.publish(messages, NOW, &mut Work::default(), &mut Vec::new());
}

fn get(queue: &Arc<Queue>) -> Option<usize> {
    let got = queue.get(true, NOW, &mut Work::default()).unwrap();
    got.map(|(entry, _)| number(&entry.message))
}

/// A client that consumes and acknowledges.
struct Consumer {
    outbox: Arc<Outbox>,
    queue: Arc<Queue>,
    handle: ConsumerHandle,
}

impl Consumer {
    fn of(queue: &Arc<Queue>) -> Result<Self, Error> {
        let outbox = Outbox::new();
        let subscription = Subscription {
            key: SubscriptionKey(1),
            outbox: Arc::clone(&outbox),
            channel_credit: Arc::default(),
            no_ack: false,
            prefetch: 200,
            priority: 0,
            entry: Arc::default(),
        };
        let handle = queue.consume(subscription, false)?;
        let handle = handle.ok_or_else(|| Error::NotFound("deleted".to_owned()))?;
        queue.dispatch(None, NOW, &mut Work::default());
        Ok(Self {
            outbox,
            queue: Arc::clone(queue),
            handle,
        })
    }

    /// Takes and acknowledges what has come.
    fn take(&self, each: impl FnMut(&Delivery)) {
        let mut deliveries = Vec::new();
        self.outbox.take(&mut deliveries, &mut Vec::new());
        deliveries.iter().for_each(each);
        let entries = deliveries.iter().map(|delivery| &delivery.entry);
        let work = &mut Work::default();
        self.queue.settle(Some(self.handle), entries, NOW, work);
    }

    fn was_cancelled(&self) -> bool {
        let mut events = Vec::new();
        self.outbox.take(&mut Vec::new(), &mut events);
        events == [Event::ConsumerCancelled(SubscriptionKey(1))]
    }

    /// As a connection does that ends: what was not seen goes back.
    fn cancel(self) {
        self.queue.cancel(self.handle);
        let rest = self
            .outbox
            .close()
            .into_iter()
            .map(|delivery| delivery.entry);
        let (seen, work) = (std::iter::empty(), &mut Work::default());
        self.queue.requeue(&[], seen, rest, NOW, work);
    }
}

/// Priorities beyond the budget: each is drained in its order, the highest first, also what comes back.
fn priorities_are_drained_in_order(store: Arc<dyn MessageStore>) {
    const COUNT: usize = 20_000;
    const HIGHEST: usize = 3;
    let scene = Scene::new(store);
    let highest = AMQPValue::LongInt(HIGHEST as i32);
    let arguments = FieldTable::from(BTreeMap::from([("x-max-priority".into(), highest)]));
    let queue = scene.queue_with("q", arguments);
    let message = |number: usize| {
        let body = format!("{number:0100}");
        let properties = [8, 0, (number % (HIGHEST + 1)) as u8];
        Message::new(
            "",
            "q",
            &properties,
            body.as_bytes(),
            number.is_multiple_of(3),
        )
    };
    for first in (0..COUNT).step_by(100) {
        publish(&queue, (first..first + 100).map(message));
    }
    scene.comes_under_the_budget();
    assert_eq!(queue.counts().ready, COUNT);
    assert_eq!(queue.counts().ready_bytes, COUNT * 100);
    assert!(queue.counts().paged > COUNT / 2);
    let place = |number: usize| (HIGHEST - number % (HIGHEST + 1), number);
    let mut expected: Vec<usize> = (0..COUNT).collect();
    expected.sort_by_key(|&number| place(number));
    let held = queue.get(false, NOW, &mut Work::default()).unwrap();
    let (held, _) = held.unwrap();
    assert_eq!(number(&held.message), expected[0]);
    assert_eq!(get(&queue), Some(expected[1]));
    let (seen, unseen) = (
        std::iter::once((held, Requeued::Failed)),
        std::iter::empty(),
    );
    queue.requeue(&[], seen, unseen, NOW, &mut Work::default());
    assert_eq!(get(&queue), Some(expected[0]));
    let consumer = Consumer::of(&queue).unwrap();
    let mut rest = expected[2..].iter();
    until("all is delivered", || {
        consumer.take(|delivery| {
            assert_eq!(Some(&number(&delivery.entry.message)), rest.next());
        });
        rest.len() == 0
    });
    assert_eq!(get(&queue), None);
    assert_eq!(queue.counts().ready_bytes, 0);
    assert_eq!(scene.broker.pager().resident(), 0);
}

#[test]
fn priorities_are_drained_in_order_with_a_store_that_gives_back() {
    priorities_are_drained_in_order(Arc::new(MemoryStore::pageable()));
}

#[test]
fn priorities_are_drained_in_order_with_a_store_that_gives_nothing_back() {
    priorities_are_drained_in_order(Arc::new(MemoryStore::new()));
}

fn backlog_is_drained_in_order(store: Arc<dyn MessageStore>, count: usize) {
    let scene = Scene::new(store);
    let queue = scene.queue("q");
    for first in (0..count).step_by(100) {
        // Persistent, transient, and both by turns.
        let kind = |at: usize| match first / 1_000 % 3 {
            0 => true,
            1 => false,
            _ => at.is_multiple_of(2),
        };
        publish(&queue, (first..first + 100).map(|at| message(at, kind(at))));
    }
    scene.comes_under_the_budget();
    assert_eq!(queue.counts().ready, count);
    assert_eq!(queue.counts().ready_bytes, count * 100);
    assert!(queue.counts().paged > count / 2);
    assert_eq!(get(&queue), Some(0));
    let consumer = Consumer::of(&queue).unwrap();
    let mut next = 1;
    until("all is delivered", || {
        consumer.take(|delivery| {
            assert_eq!(number(&delivery.entry.message), next);
            assert!(!delivery.entry.redelivered);
            next += 1;
        });
        next == count
    });
    assert_eq!(get(&queue), None);
    assert_eq!(queue.counts().ready_bytes, 0);
    assert_eq!(scene.broker.pager().resident(), 0);
}

#[test]
fn backlog_beyond_the_budget_is_drained_in_order() {
    backlog_is_drained_in_order(Arc::new(MemoryStore::pageable()), 20_000);
}

#[test]
fn backlog_is_spilled_where_the_store_gives_nothing_back() {
    backlog_is_drained_in_order(Arc::new(MemoryStore::new()), 20_000);
}

#[test]
fn backlog_in_sled_is_drained_in_order() {
    let folder = TempDir::new().unwrap();
    let database = SledDatabase::open(folder.path()).unwrap();
    let failed = Box::new(|error| panic!("{error}"));
    let store = SledStore::open(&database, failed).unwrap();
    backlog_is_drained_in_order(Arc::new(store), 6_000);
}

#[test]
fn many_small_queues_come_under_the_budget_together() {
    let scene = Scene::new(Arc::new(MemoryStore::pageable()));
    let queues: Vec<_> = (0..500).map(|at| scene.queue(&format!("q{at}"))).collect();
    for (at, queue) in queues.iter().enumerate() {
        publish(
            queue,
            (0..20).map(|number| message(number, at.is_multiple_of(2))),
        );
    }
    scene.comes_under_the_budget();
    for queue in &queues {
        assert_eq!(queue.counts().ready, 20);
        assert!((0..20).all(|number| get(queue) == Some(number)));
        assert_eq!(get(queue), None);
    }
    assert_eq!(scene.broker.pager().resident(), 0);
}

#[test]
fn loads_meet_purges_deletions_and_consumers_that_go() {
    let scene = Scene::new(Arc::new(MemoryStore::pageable()));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for name in ["a", "b"] {
            let (scene, stop) = (&scene, &stop);
            scope.spawn(move || {
                for round in 0..300 {
                    let queue = scene.queue(name);
                    publish(&queue, (0..700).map(|at| message(at, at % 3 > 0)));
                    match round % 10 {
                        9 => scene.delete(name),
                        4 => drop(queue.purge(NOW, &mut Work::default())),
                        _ => {}
                    }
                }
                stop.store(true, Ordering::Relaxed);
            });
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let queue = scene.queue(name);
                    let Ok(consumer) = Consumer::of(&queue) else {
                        continue;
                    };
                    let mut last: Option<(u64, usize)> = None;
                    for _ in 0..20 {
                        consumer.take(|delivery| {
                            let (position, found) =
                                (delivery.entry.position, number(&delivery.entry.message));
                            if let Some((before, _)) = last {
                                assert!(position > before, "{position} after {before}");
                            }
                            last = Some((position, found));
                        });
                        std::thread::yield_now();
                    }
                    consumer.cancel();
                }
            });
        }
    });
    for name in ["a", "b"] {
        let queue = scene.queue(name);
        let count = queue.counts().ready;
        let found = std::iter::from_fn(|| get(&queue)).count();
        assert_eq!(found, count);
        assert_eq!(queue.counts().ready_bytes, 0);
        scene.delete(name);
    }
    until("nothing is left in memory", || {
        scene.broker.pager().resident() == 0
    });
    assert!(scene.broker.store().queues().unwrap().is_empty());
}

/// A store that cannot read one of its queues.
struct Damaged {
    store: MemoryStore,
    queue: QueueId,
}

impl MessageStore for Damaged {
    fn append(&self, batch: &mut Vec<Operation>) -> Ticket {
        self.store.append(batch)
    }

    fn durable(&self) -> Ticket {
        self.store.durable()
    }

    fn notify(&self, ticket: Ticket, completion: Arc<dyn Completion>) {
        self.store.notify(ticket, completion);
    }

    fn backlog(&self, queue: QueueId) -> Result<Option<Backlog>, Error> {
        self.store.backlog(queue)
    }

    fn read(
        &self,
        queue: QueueId,
        from: Position,
        to: Position,
        max_bytes: usize,
        each: &mut dyn FnMut(StoredMessage),
    ) -> Result<(), Error> {
        self.store.read(queue, from, to, max_bytes, each)?;
        match queue == self.queue {
            true => Err(Error::Internal(
                "segment-7.seg at offset 40 is damaged".into(),
            )),
            false => Ok(()),
        }
    }

    fn readable(&self, queue: QueueId) -> Position {
        self.store.readable(queue)
    }

    fn queues(&self) -> Result<Vec<QueueId>, Error> {
        self.store.queues()
    }

    fn pending_bytes(&self) -> usize {
        0
    }

    fn close(&self) {
        self.store.close();
    }
}

#[test]
fn damage_stops_its_queue_alone_until_it_is_purged() {
    let store = MemoryStore::pageable();
    let names = Scene::new(Arc::new(MemoryStore::new()));
    let queue = names.queue("broken").id;
    let scene = Scene::new(Arc::new(Damaged { store, queue }));
    let (broken, whole) = (scene.queue("broken"), scene.queue("whole"));
    assert_eq!(broken.id, queue);
    for queue in [&broken, &whole] {
        publish(queue, (0..5_000).map(|at| message(at, true)));
    }
    scene.comes_under_the_budget();
    let consumer = Consumer::of(&broken).unwrap();
    let mut seen = 0;
    until("the consumer is cancelled", || {
        let mut deliveries = Vec::new();
        let mut events = Vec::new();
        consumer.outbox.take(&mut deliveries, &mut events);
        let entries = deliveries.iter().map(|delivery| &delivery.entry);
        let work = &mut Work::default();
        broken.settle(Some(consumer.handle), entries, NOW, work);
        seen += deliveries.len();
        events == [Event::ConsumerCancelled(SubscriptionKey(1))]
    });
    assert!(!consumer.was_cancelled(), "told once");
    assert_eq!(broken.counts().ready, 5_000 - seen);
    let errors = [
        broken.get(true, NOW, &mut Work::default()).unwrap_err(),
        Consumer::of(&broken).err().unwrap(),
    ];
    for error in errors {
        let text = error.to_string();
        assert!(matches!(error, Error::Internal(_)), "{text}");
        assert!(
            text.starts_with("queue 'broken' in vhost '/' holds"),
            "{text}"
        );
        assert!(text.contains("segment-7.seg at offset 40"), "{text}");
    }
    assert!((0..5_000).all(|at| get(&whole) == Some(at)));
    assert_eq!(broken.purge(NOW, &mut Work::default()), 5_000 - seen);
    publish(&broken, [message(7, true)].into_iter());
    assert_eq!(get(&broken), Some(7));
}
