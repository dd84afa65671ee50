//! What a `tx.commit` does: publishes and settlements of several queues as one batch in the store.
//!
//! Places are reserved in every target queue, all records go to the store as one atomic batch, and only then do messages
//! and settlements take effect in the queues. No two queues are ever locked at once.

use std::sync::Arc;

use super::{Route, Vhost};
use crate::{
    message::Message,
    queue::{ConsumerHandle, Entry, Millis, Queue, Requeued, Work},
};

/// How a delivery is settled.
#[derive(Debug)]
pub struct Settlement {
    /// The queue that it came from.
    pub queue: Arc<Queue>,
    /// The consumer that had it, none for `basic.get`.
    pub consumer: Option<ConsumerHandle>,
    /// The delivery.
    pub entry: Entry,
    /// What becomes of it.
    pub outcome: Outcome,
}

/// What becomes of a settled delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Done with: `basic.ack`.
    Acknowledged,
    /// Back to its place: `basic.nack` or `basic.reject` with requeue.
    Requeued(Requeued),
    /// Dropped or dead-lettered: `basic.nack` or `basic.reject` without requeue.
    Rejected,
}

/// What a channel gathered since the last commit.
#[derive(Debug, Default)]
pub struct Transaction {
    /// Messages and where they go, in publishing order.
    pub publishes: Vec<(Message, Arc<Route>)>,
    /// Answers to deliveries.
    pub settlements: Vec<Settlement>,
}

impl Transaction {
    /// Whether a full queue would refuse one of these messages. Then none is to be published: all or nothing.
    pub fn would_be_refused(publishes: &[(Message, Arc<Route>)]) -> bool {
        let mut loads: Vec<(&Arc<Queue>, usize, usize)> = Vec::new();
        for (message, route) in publishes.iter().filter(|(_, route)| route.refuses) {
            for queue in &route.queues {
                let bytes = message.body().len();
                match loads.iter_mut().find(|load| Arc::ptr_eq(load.0, queue)) {
                    Some((_, count, total)) => {
                        *count += 1;
                        *total += bytes;
                    }
                    None => loads.push((queue, 1, bytes)),
                }
            }
        }
        let mut loads = loads.into_iter();
        loads.any(|(queue, count, bytes)| queue.refuses(count, bytes))
    }
}

impl Vhost {
    /// Carries out a transaction. It is committed once `work.ticket` is durable.
    pub fn commit(&self, mut transaction: Transaction, now: Millis, work: &mut Work) {
        for settlement in &mut transaction.settlements {
            settlement.simplify();
        }
        let mut batch = Vec::new();
        let mut places = Vec::new();
        for (message, route) in &transaction.publishes {
            for queue in &route.queues {
                places.push((
                    Arc::clone(queue),
                    queue.reserve(message, now, &mut batch),
                    message,
                ));
            }
        }
        for settlement in &transaction.settlements {
            if settlement.outcome == Outcome::Acknowledged {
                batch.extend(settlement.entry.settlement(settlement.queue.id));
            }
        }
        if !batch.is_empty() {
            let ticket = self.shared.store.append(&mut batch);
            work.ticket = work.ticket.max(ticket);
        }
        for (queue, place, message) in places {
            queue.insert(place, message.clone(), now, work);
        }
        for settlement in transaction.settlements {
            settlement.apply(now, work);
        }
    }
}

impl Settlement {
    /// Refusing a message that is not dead-lettered is the same as acknowledging it.
    fn simplify(&mut self) {
        let arguments = self.queue.arguments();
        if self.outcome == Outcome::Rejected && arguments.dead_letter_exchange.is_none() {
            self.outcome = Outcome::Acknowledged;
        }
    }

    /// Applies the settlement; an acknowledgement's record is in the store already.
    fn apply(self, now: Millis, work: &mut Work) {
        let Self {
            queue,
            consumer,
            entry,
            outcome,
        } = self;
        let entry = std::iter::once(entry);
        match outcome {
            Outcome::Acknowledged => queue.settle_recorded(consumer, entry, now, work),
            Outcome::Requeued(requeued) => {
                let credit: Vec<_> = consumer.map(|consumer| (consumer, 1)).into_iter().collect();
                let entry = entry.map(|entry| (entry, requeued));
                queue.requeue(&credit, entry, std::iter::empty(), now, work);
            }
            Outcome::Rejected => queue.reject(consumer, entry, now, work),
        }
    }
}
