//! What a transaction requeues is part of its one batch, whatever becomes of it.

use amqp_codec::AMQPValue;

use super::*;
use crate::{
    broker::scene::{Scene, body, text},
    queue::DeliveryCounts,
    store::MessageStore as _,
};

impl Scene {
    /// Publishes messages to a queue and takes them, one answer for each.
    fn answered(&self, queue: &Arc<Queue>, answers: &[(&str, Outcome)]) -> Vec<Settlement> {
        let messages = answers.iter().map(|(body, _)| persistent(body));
        let mut work = Work::default();
        queue.publish(messages, 0, &mut work, &mut Vec::new());
        let settlements = answers.iter().map(|(_, outcome)| Settlement {
            queue: Arc::clone(queue),
            consumer: None,
            entry: queue
                .get(false, 0, &mut Work::default())
                .unwrap()
                .unwrap()
                .0,
            outcome: *outcome,
        });
        settlements.collect()
    }

    /// Commits; says how many batches went to the store.
    fn commit(&self, settlements: Vec<Settlement>) -> u64 {
        let before = self.store.durable();
        let mut work = Work::default();
        let transaction = Transaction {
            settlements,
            ..Transaction::default()
        };
        self.vhost.commit(transaction, 0, &mut work);
        assert!(work.dead.is_empty(), "nothing is left to be buried");
        let after = self.store.durable();
        after.0 - before.0
    }

    /// The messages that the store has of a queue, with their delivery counts.
    fn counted(&self, queue: &Queue) -> Vec<(String, DeliveryCounts)> {
        let stored = self.stored(queue.id).into_iter();
        let counted = stored.map(|it| (body(&it), DeliveryCounts::from_bits(it.delivery_count)));
        counted.collect()
    }
}

fn persistent(body: &str) -> Message {
    Message::new("", "q", &[0, 0], body.as_bytes(), true)
}

const FAILED: Outcome = Outcome::Requeued(Requeued::Failed);
const UNPROCESSED: Outcome = Outcome::Requeued(Requeued::Unprocessed);

fn counts(acquired: u16, failed: u16) -> DeliveryCounts {
    DeliveryCounts { acquired, failed }
}

#[test]
fn a_message_that_has_failed_too_often_goes_on_in_the_batch_of_the_transaction() {
    let scene = Scene::new();
    let dead = scene.queue("dead", &[]);
    let queue = scene.queue(
        "q",
        &[
            ("x-delivery-limit", AMQPValue::LongInt(0)),
            ("x-dead-letter-exchange", text("")),
            ("x-dead-letter-routing-key", text("dead")),
        ],
    );
    let answers = [
        ("dies", FAILED),
        ("stays", UNPROCESSED),
        ("done", Outcome::Acknowledged),
    ];
    let settlements = scene.answered(&queue, &answers);
    assert_eq!(scene.commit(settlements), 1);
    assert_eq!(scene.counted(&dead), [("dies".to_owned(), counts(0, 0))]);
    assert_eq!(scene.counted(&queue), [("stays".to_owned(), counts(1, 0))]);
    assert_eq!(
        (queue.counts().ready, queue.counts().unacknowledged),
        (1, 0)
    );
    assert_eq!(dead.counts().ready, 1);
    let again = queue
        .get(false, 0, &mut Work::default())
        .unwrap()
        .unwrap()
        .0;
    assert!(again.redelivered);
    assert_eq!(again.counts, counts(1, 0));
    let counted = queue.statistics_counts();
    let column = crate::statistics::Column::DeadDeliveryLimit;
    assert_eq!(counted.get(column), 1);
}

#[test]
fn without_a_dead_letter_exchange_it_leaves_in_that_batch() {
    let scene = Scene::new();
    let queue = scene.queue("q", &[("x-delivery-limit", AMQPValue::LongInt(0))]);
    let settlements = scene.answered(&queue, &[("dies", FAILED), ("stays", UNPROCESSED)]);
    assert_eq!(scene.commit(settlements), 1);
    assert_eq!(scene.counted(&queue), [("stays".to_owned(), counts(1, 0))]);
    assert_eq!(queue.counts().ready, 1);
}

#[test]
fn what_it_requeues_waits_where_the_queue_delays_what_comes_back() {
    let scene = Scene::new();
    let queue = scene.queue(
        "q",
        &[
            ("x-queue-type", text("quorum")),
            ("x-delayed-retry-type", text("failed")),
            ("x-delayed-retry-min", AMQPValue::LongInt(100)),
        ],
    );
    let settlements = scene.answered(&queue, &[("waits", FAILED), ("ready", UNPROCESSED)]);
    assert_eq!(scene.commit(settlements), 1);
    assert_eq!((queue.counts().ready, queue.counts().delayed), (1, 1));
}
