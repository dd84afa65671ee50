//! What a `tx.commit` does: publishes and settlements of several queues as one batch in the store.
//!
//! Places are reserved in every target queue, all records go to the store as one atomic batch, and only then do messages
//! and settlements take effect in the queues. No two queues are ever locked at once.

use std::sync::Arc;

use super::{Route, Vhost};
use crate::{
    message::Message,
    queue::{ConsumerHandle, Dead, DeadReason, Entry, Millis, Places, Queue, Requeued, Work},
    store::Operation,
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
                let bytes = message.body_length();
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

/// Changes of several queues that are one batch in the store: a crash finds all of them or none.
#[derive(Default)]
pub(super) struct Step {
    batch: Vec<Operation>,
    /// Messages that enter queues, with the places that are reserved for them.
    entering: Vec<(Arc<Queue>, Places, Message)>,
}

impl Step {
    /// A message leaves a queue.
    pub(super) fn leave(&mut self, entry: &Entry, queue: &Queue) {
        self.batch.extend(entry.settlement(queue.id));
    }

    /// A message enters queues.
    pub(super) fn enter(&mut self, message: &Message, queues: &[Arc<Queue>], now: Millis) {
        let Self { batch, entering } = self;
        entering.extend(queues.iter().map(|queue| {
            let places = queue.reserve(message, now, batch);
            (Arc::clone(queue), places, message.clone())
        }));
    }
}

impl Vhost {
    /// Carries out a transaction. It is committed once `work.ticket` is durable: all of it then, dead letters included.
    /// So are the counts of what is requeued.
    pub fn commit(&self, transaction: Transaction, now: Millis, work: &mut Work) {
        let mut step = Step::default();
        for (message, route) in &transaction.publishes {
            step.enter(message, &route.queues, now);
        }
        let settlements = transaction.settlements.into_iter().map(Decided::new);
        let settlements: Vec<_> = settlements.collect();
        for settlement in &settlements {
            self.record(settlement, now, &mut step);
        }
        self.carry_out(step, now, work);
        for settlement in settlements {
            settlement.apply(now, work);
        }
    }

    /// Adds to a step what a settlement changes in the store.
    fn record(&self, settlement: &Decided, now: Millis, step: &mut Step) {
        let Decided { queue, entry, .. } = settlement;
        match settlement.fate {
            Fate::Requeued(_) => step.batch.extend(entry.requeueing(queue.id)),
            Fate::Dies(reason) if queue.dead_letters() => {
                let dead = Dead {
                    queue: Arc::clone(queue),
                    entry: entry.clone(),
                    reason,
                };
                self.dead_letter(&dead, now, step);
            }
            Fate::Dies(_) | Fate::Acknowledged => step.leave(entry, queue),
        }
    }

    /// Puts a step into the store, and the messages that enter queues to their places.
    pub(super) fn carry_out(&self, mut step: Step, now: Millis, work: &mut Work) {
        if !step.batch.is_empty() {
            let ticket = self.shared.store.append(&mut step.batch);
            work.ticket = work.ticket.max(ticket);
        }
        for (queue, places, message) in step.entering {
            queue.insert(places, message, now, work);
        }
    }
}

/// A settlement of which is known what becomes of the message, whatever policies do meanwhile.
struct Decided {
    queue: Arc<Queue>,
    consumer: Option<ConsumerHandle>,
    entry: Entry,
    fate: Fate,
}

/// What becomes of a message.
enum Fate {
    Acknowledged,
    Requeued(Requeued),
    Dies(DeadReason),
}

impl Decided {
    fn new(settlement: Settlement) -> Self {
        let Settlement {
            queue,
            consumer,
            mut entry,
            outcome,
        } = settlement;
        let fate = match outcome {
            Outcome::Acknowledged => Fate::Acknowledged,
            Outcome::Rejected => Fate::Dies(DeadReason::Rejected),
            Outcome::Requeued(requeued) => {
                entry.come_back(requeued);
                match queue.failed_too_often(&entry) {
                    true => Fate::Dies(DeadReason::DeliveryLimit),
                    false => Fate::Requeued(requeued),
                }
            }
        };
        Self {
            queue,
            consumer,
            entry,
            fate,
        }
    }

    /// Applies the settlement; what it changes in the store is there already.
    fn apply(self, now: Millis, work: &mut Work) {
        let Self {
            queue,
            consumer,
            entry,
            fate,
        } = self;
        match fate {
            Fate::Acknowledged => queue.settle_recorded(consumer, entry, now, work),
            Fate::Requeued(requeued) => {
                queue.requeue_recorded(consumer, entry, requeued, now, work);
            }
            Fate::Dies(reason) => queue.die_recorded(consumer, &entry, reason, now, work),
        }
    }
}

#[cfg(test)]
mod tests;
