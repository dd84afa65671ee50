//! Delayed retry in virtual time: who waits, for how long, and what else happens to a queue meanwhile.

use std::sync::{Arc, atomic::Ordering};

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{
    message::Message,
    queue::{
        DeadReason, DeliveryCounts, Queue, QueueArguments, Work,
        arguments::{DelayedRetryType, Overflow, QueueType},
        tests::durable_queue_with,
    },
    store::{MemoryStore, MessageStore},
};

const START: Millis = 1_000_000;

fn retrying() -> QueueArguments {
    QueueArguments {
        queue_type: QueueType::Quorum,
        delayed_retry_type: DelayedRetryType::All,
        delayed_retry_min_ms: Some(100),
        delayed_retry_max_ms: Some(250),
        ..QueueArguments::default()
    }
}

fn queue(arguments: QueueArguments) -> Arc<Queue> {
    durable_queue_with(&Arc::default(), arguments)
}

fn message(body: &str, ttl: Option<&str>) -> Message {
    let mut properties = vec![u8::from(ttl.is_some()), 0];
    if let Some(ttl) = ttl {
        properties.push(ttl.len() as u8);
        properties.extend_from_slice(ttl.as_bytes());
    }
    Message::new("", "queue", &properties, body.as_bytes(), true)
}

/// How many messages the store has, of whatever priority.
fn stored(store: &MemoryStore) -> usize {
    let count = |queue| store.backlog(queue).unwrap().map_or(0, |it| it.count);
    store.queues().unwrap().into_iter().map(count).sum()
}

/// Says how many were refused.
fn publish_expiring(queue: &Arc<Queue>, bodies: &[&str], ttl: Option<&str>, now: Millis) -> usize {
    let messages = bodies.iter().map(|body| message(body, ttl));
    let mut refused = Vec::new();
    queue.publish(messages, now, &mut Work::default(), &mut refused);
    refused.len()
}

fn publish(queue: &Arc<Queue>, bodies: &[&str], now: Millis) -> usize {
    publish_expiring(queue, bodies, None, now)
}

fn get(queue: &Arc<Queue>, now: Millis) -> Option<Entry> {
    let got = queue.get(false, now, &mut Work::default()).unwrap();
    got.map(|(entry, _)| entry)
}

fn body(queue: &Arc<Queue>, now: Millis) -> Option<String> {
    get(queue, now).map(|entry| String::from_utf8_lossy(entry.message.body()).into())
}

fn bring_back(queue: &Arc<Queue>, entry: Entry, requeued: Requeued, now: Millis) {
    let (seen, unseen) = (std::iter::once((entry, requeued)), std::iter::empty());
    queue.requeue(&[], seen, unseen, now, &mut Work::default());
}

/// Delivers the first message and brings it back as a failure.
fn fail_one(queue: &Arc<Queue>, now: Millis) {
    let entry = get(queue, now).unwrap();
    bring_back(queue, entry, Requeued::Failed, now);
}

/// Runs the alarm that the queue waits for, if it is due.
fn ring(queue: &Arc<Queue>, now: Millis, work: &mut Work) {
    let at = queue.scheduled.load(Ordering::Relaxed);
    if at <= now {
        queue.expire(at, now, work);
    }
}

#[test]
fn a_message_waits_longer_after_each_failure_and_is_put_back_by_the_alarm() {
    let queue = queue(retrying());
    publish(&queue, &["a"], START);
    let mut now = START;
    for delay in [100, 200, 250, 250] {
        fail_one(&queue, now);
        let counts = queue.counts();
        assert_eq!((counts.ready, counts.delayed, counts.messages()), (0, 1, 1));
        let delayed = queue.inspect().delayed;
        assert_eq!(
            (delayed.next_at, delayed.last_at),
            (Some(now + delay), Some(now + delay))
        );
        assert_eq!(queue.scheduled.load(Ordering::Relaxed), now + delay);
        assert!(get(&queue, now + delay - 1).is_none());
        now += delay;
        ring(&queue, now, &mut Work::default());
        let counts = queue.counts();
        assert_eq!((counts.ready, counts.delayed), (1, 0));
    }
    let entry = get(&queue, now).unwrap();
    assert_eq!((entry.counts.acquired, entry.counts.failed), (4, 4));
    assert!(entry.redelivered);
}

#[test]
fn others_are_delivered_meanwhile_and_then_it_precedes_them_again() {
    let queue = queue(retrying());
    publish(&queue, &["a", "b", "c"], START);
    fail_one(&queue, START);
    assert_eq!(body(&queue, START + 50).unwrap(), "b");
    assert_eq!(body(&queue, START + 100).unwrap(), "a");
    assert_eq!(body(&queue, START + 100).unwrap(), "c");
}

#[test]
fn only_what_the_type_names_waits() {
    let queue = queue(QueueArguments {
        delayed_retry_type: DelayedRetryType::Returned,
        ..retrying()
    });
    publish(&queue, &["a"], START);
    fail_one(&queue, START);
    let entry = get(&queue, START).expect("a failure does not wait");
    bring_back(&queue, entry, Requeued::Unprocessed, START);
    assert!(get(&queue, START + 99).is_none());
    assert!(get(&queue, START + 100).is_some());
}

#[test]
fn a_message_that_has_failed_too_often_leaves_at_once() {
    let queue = queue(QueueArguments {
        delivery_limit: Some(1),
        dead_letter_exchange: Some("dlx".into()),
        ..retrying()
    });
    publish(&queue, &["a"], START);
    fail_one(&queue, START);
    let entry = get(&queue, START + 100).unwrap();
    let mut work = Work::default();
    let (seen, unseen) = (
        std::iter::once((entry, Requeued::Failed)),
        std::iter::empty(),
    );
    queue.requeue(&[], seen, unseen, START + 100, &mut work);
    assert_eq!(queue.counts().messages(), 0);
    assert_eq!(work.dead.len(), 1);
}

#[test]
fn a_message_that_expires_while_it_waits_is_dead_lettered_in_its_time() {
    let queue = queue(QueueArguments {
        dead_letter_exchange: Some("dlx".into()),
        ..retrying()
    });
    publish_expiring(&queue, &["a"], Some("60"), START);
    fail_one(&queue, START);
    assert_eq!(queue.scheduled.load(Ordering::Relaxed), START + 60);
    let mut work = Work::default();
    ring(&queue, START + 60, &mut work);
    assert_eq!(queue.counts().messages(), 0);
    let mut reasons = Vec::new();
    queue.for_each_dead(|dead| {
        reasons.push(dead.reason);
        crate::store::Ticket::NONE
    });
    assert_eq!(reasons, [DeadReason::Expired]);
}

#[test]
fn what_waits_counts_towards_the_length_and_what_is_ready_makes_room() {
    let queue = queue(QueueArguments {
        max_length: Some(2),
        ..retrying()
    });
    publish(&queue, &["a", "b"], START);
    fail_one(&queue, START);
    publish(&queue, &["c"], START);
    let counts = queue.counts();
    assert_eq!((counts.ready, counts.delayed), (1, 1));
    assert_eq!(body(&queue, START).unwrap(), "c");
    assert_eq!(body(&queue, START + 100).unwrap(), "a");
}

#[test]
fn a_queue_that_is_full_of_what_waits_refuses_publishes() {
    let queue = queue(QueueArguments {
        max_length: Some(1),
        overflow: Overflow::RejectPublish,
        ..retrying()
    });
    publish(&queue, &["a"], START);
    fail_one(&queue, START);
    assert_eq!(publish(&queue, &["b"], START), 1);
    assert!(get(&queue, START + 100).is_some());
    assert_eq!(publish(&queue, &["b"], START + 100), 0);
}

#[test]
fn purge_and_delete_take_what_waits_out_of_the_store_too() {
    let store = Arc::new(MemoryStore::new());
    let queue = durable_queue_with(&store, retrying());
    publish(&queue, &["a", "b", "c"], START);
    fail_one(&queue, START);
    assert_eq!(queue.purge(START, &mut Work::default()), 3);
    assert_eq!(queue.counts().messages(), 0);
    assert_eq!(stored(&store), 0);
    assert!(get(&queue, START + 1000).is_none());
    publish(&queue, &["d", "e"], START);
    fail_one(&queue, START);
    let deleted = queue.delete(|_| Ok(()), &mut Work::default()).unwrap();
    assert_eq!(deleted, 1, "ready messages are what RabbitMQ counts");
    assert_eq!(stored(&store), 0);
}

/// A queue after a start, with what the store holds.
fn recovered(store: &Arc<MemoryStore>, arguments: QueueArguments, now: Millis) -> Arc<Queue> {
    let queue = durable_queue_with(store, arguments);
    queue.recover().unwrap();
    ring(&queue, now, &mut Work::default());
    queue
}

#[test]
fn after_a_start_what_came_back_waits_anew_and_keeps_its_place() {
    let store = Arc::new(MemoryStore::new());
    let queue = durable_queue_with(&store, retrying());
    publish(&queue, &["a", "b", "c", "d"], START);
    let (first, second) = (get(&queue, START).unwrap(), get(&queue, START).unwrap());
    bring_back(&queue, second, Requeued::Failed, START);
    bring_back(&queue, first, Requeued::Unprocessed, START + 1000);
    drop(queue);
    let start = START + 5000;
    let queue = recovered(&store, retrying(), start);
    assert_eq!(queue.counts().messages(), 4);
    assert_eq!(body(&queue, start + 50).unwrap(), "c");
    assert_eq!((queue.counts().ready, queue.counts().delayed), (1, 2));
    assert_eq!(queue.scheduled.load(Ordering::Relaxed), start + 100);
    assert_eq!(body(&queue, start + 99).unwrap(), "d");
    assert_eq!(body(&queue, start + 99), None);
    ring(&queue, start + 100, &mut Work::default());
    assert_eq!(body(&queue, start + 100).unwrap(), "a");
    assert_eq!(body(&queue, start + 100).unwrap(), "b");
    assert_eq!(queue.counts().messages(), 4, "all with consumers");
    drop(queue);
    let queue = recovered(&store, retrying(), start);
    let late = start + 10_000;
    let bodies: Vec<_> = std::iter::from_fn(|| body(&queue, late)).collect();
    assert_eq!(
        bodies,
        ["a", "b", "c", "d"],
        "they have waited since the start"
    );
}

#[test]
fn what_waits_since_a_start_comes_between_its_neighbours() {
    let store = Arc::new(MemoryStore::new());
    let queue = durable_queue_with(&store, retrying());
    publish(&queue, &["a", "b", "c"], START);
    let (_held, second) = (get(&queue, START).unwrap(), get(&queue, START).unwrap());
    bring_back(&queue, second, Requeued::Failed, START);
    drop(queue);
    let queue = recovered(&store, retrying(), START);
    // Loads everything, and brings the first one back unseen, as a consumer does that is gone.
    let first = get(&queue, START).unwrap();
    let (none, unseen) = (std::iter::empty(), std::iter::once(first));
    queue.requeue(&[], none, unseen, START, &mut Work::default());
    ring(&queue, START + 100, &mut Work::default());
    let bodies: Vec<_> = std::iter::from_fn(|| body(&queue, START + 100)).collect();
    assert_eq!(bodies, ["a", "b", "c"]);
    assert_eq!(queue.purge(START + 100, &mut Work::default()), 0);
}

#[test]
fn without_the_rule_nothing_is_kept_for_it() {
    let queue = queue(QueueArguments::default());
    publish(&queue, &["a"], START);
    fail_one(&queue, START);
    assert!(queue.state.lock().delayed.is_none());
    assert_eq!(body(&queue, START).unwrap(), "a");
}

#[test]
fn another_rule_counts_for_what_comes_back_from_then_on() {
    let queue = queue(retrying());
    publish(&queue, &["a", "b"], START);
    fail_one(&queue, START);
    queue.state.lock().set_delayed_retry(None);
    let entry = get(&queue, START).unwrap();
    assert_eq!(entry.message.body(), b"b");
    bring_back(&queue, entry, Requeued::Failed, START);
    assert_eq!(body(&queue, START).unwrap(), "b");
    assert_eq!(body(&queue, START + 99), None);
    assert_eq!(body(&queue, START + 100).unwrap(), "a");
    assert!(
        queue.state.lock().delayed.is_none(),
        "nothing is left of it"
    );
}

#[derive(Debug, Clone)]
enum Step {
    Publish(u8),
    Get,
    /// One of the deliveries is answered: acknowledged, or brought back.
    Answer(usize, Option<Requeued>),
    Pass(u64),
    /// Whatever can be forgotten is.
    Evict,
    Purge,
    /// The broker ends, with everything that is delivered.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let requeued = prop_oneof![
        1 => Just(None),
        2 => Just(Some(Requeued::Failed)),
        2 => Just(Some(Requeued::Unprocessed)),
    ];
    prop_oneof![
        3 => (1..6_u8).prop_map(Step::Publish),
        6 => Just(Step::Get),
        6 => (any::<usize>(), requeued).prop_map(|(which, how)| Step::Answer(which, how)),
        3 => (1..200_u64).prop_map(Step::Pass),
        2 => Just(Step::Evict),
        1 => Just(Step::Purge),
        1 => Just(Step::Restart),
    ]
}

/// What a message is up to, and its counts.
#[derive(Debug, Clone, Copy)]
struct Modelled {
    counts: DeliveryCounts,
    /// When it is ready; `None` while it is delivered.
    ready_at: Option<Millis>,
}

type Model = BTreeMap<u64, Modelled>;

/// A queue with the type of delay, and what has to be true of it.
struct Trial {
    store: Arc<MemoryStore>,
    arguments: QueueArguments,
    queue: Arc<Queue>,
    model: Model,
    held: Vec<(u64, Entry)>,
    next: u64,
    now: Millis,
}

impl Trial {
    fn new(retry_type: DelayedRetryType) -> Self {
        let arguments = QueueArguments {
            delayed_retry_type: retry_type,
            delivery_limit: Some(-1),
            ..retrying()
        };
        let store = Arc::new(MemoryStore::pageable());
        Self {
            queue: durable_queue_with(&store, arguments.clone()),
            store,
            arguments,
            model: Model::new(),
            held: Vec::new(),
            next: 0,
            now: START,
        }
    }

    fn publish(&mut self) {
        publish(&self.queue, &[&self.next.to_string()], self.now);
        let new = Modelled {
            counts: DeliveryCounts::default(),
            ready_at: Some(self.now),
        };
        self.model.insert(self.next, new);
        self.next += 1;
    }

    fn get(&mut self) {
        let ready = |it: &&mut Modelled| it.ready_at.is_some_and(|at| at <= self.now);
        let mut waiting = self.model.iter_mut();
        let expected = waiting.find(|(_, it)| ready(it));
        let entry = get(&self.queue, self.now);
        let number = entry.as_ref().map(|entry| {
            let body = String::from_utf8_lossy(entry.message.body());
            body.parse::<u64>().unwrap()
        });
        assert_eq!(number, expected.as_ref().map(|(number, _)| **number));
        if let (Some(entry), Some((number, modelled))) = (entry, expected) {
            assert_eq!(entry.counts, modelled.counts);
            modelled.ready_at = None;
            self.held.push((*number, entry));
        }
    }

    fn answer(&mut self, which: usize, requeued: Option<Requeued>) {
        if self.held.is_empty() {
            return;
        }
        let (number, entry) = self.held.swap_remove(which % self.held.len());
        let Some(requeued) = requeued else {
            let entries = std::iter::once(&entry);
            self.queue
                .settle(None, entries, self.now, &mut Work::default());
            self.model.remove(&number);
            return;
        };
        bring_back(&self.queue, entry, requeued, self.now);
        let modelled = self.model.get_mut(&number).unwrap();
        modelled.counts.add(requeued);
        let rule = self.arguments.delayed_retry().unwrap();
        let delay = rule.delay(modelled.counts, requeued).unwrap_or(0);
        modelled.ready_at = Some(self.now + delay);
    }

    fn purge(&mut self) {
        let waiting = self.model.values().filter(|it| it.ready_at.is_some());
        let waiting = waiting.count();
        let purged = self.queue.purge(self.now, &mut Work::default());
        assert_eq!(purged, waiting);
        self.model.retain(|_, it| it.ready_at.is_none());
    }

    fn restart(&mut self) {
        self.held.clear();
        self.queue = recovered(&self.store, self.arguments.clone(), self.now);
        let rule = self.arguments.delayed_retry().unwrap();
        for modelled in self.model.values_mut() {
            let delay = rule.delay_after_start(modelled.counts).unwrap_or(0);
            modelled.ready_at = Some(self.now + delay);
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Publish(count) => (0..count).for_each(|_| self.publish()),
            Step::Get => self.get(),
            Step::Answer(which, requeued) => self.answer(which, requeued),
            Step::Pass(time) => {
                self.now += time;
                ring(&self.queue, self.now, &mut Work::default());
            }
            Step::Evict => drop(self.queue.evict(&|| false)),
            Step::Purge => self.purge(),
            Step::Restart => self.restart(),
        }
    }

    fn check(&self) {
        let counts = self.queue.counts();
        assert_eq!(counts.messages(), self.model.len());
        assert_eq!(counts.unacknowledged, self.held.len());
        assert_eq!(stored(&self.store), self.model.len());
    }
}

proptest! {
    #[test]
    fn every_message_comes_in_its_time_and_its_place_and_none_is_lost(
        retry_type in prop_oneof![
            Just(DelayedRetryType::All),
            Just(DelayedRetryType::Failed),
            Just(DelayedRetryType::Returned),
        ],
        steps in vec(step(), 1..60),
    ) {
        let mut trial = Trial::new(retry_type);
        for step in steps {
            trial.take(step);
            trial.check();
        }
        // In the end everything comes, in its order.
        trial.now += 1000;
        ring(&trial.queue, trial.now, &mut Work::default());
        let waiting = trial.model.len() - trial.held.len();
        (0..=waiting).for_each(|_| trial.get());
        prop_assert_eq!(trial.held.len(), trial.model.len());
    }
}
