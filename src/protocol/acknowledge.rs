//! Answers to deliveries: ack, nack, reject, recover (AMQP 0-9-1, 1.8.3.13 and following; nack is RabbitMQ's).
//!
//! Acknowledgements of one run are gathered in the [`Batch`] and settled queue by queue when it ends: one lock for a
//! thousand acks. Everything else is rare enough to be done at once.

use std::sync::Arc;

use amqp_codec::encode;
use broker_core::{
    outbox::SubscriptionKey,
    queue::{ConsumerHandle, Entry, Queue, Requeued},
    vhost::{Outcome, Settlement},
};

use super::{
    batch::Batch,
    channel::{Channel, Handled},
    exception::{Exception, MethodId},
    running::OUTPUT_OF_A_RUN,
    session::Session,
    unacked::{Sent, Unacked},
};

impl Channel {
    /// `basic.ack`.
    pub(super) fn acknowledge(
        &mut self,
        tag: u64,
        multiple: bool,
        id: MethodId,
        session: &mut Session,
        batch: &mut Batch,
    ) -> Handled {
        if self.transaction.is_some() {
            return self.settle_later(tag, multiple, Outcome::Acknowledged, id);
        }
        if !multiple {
            let unacked = self.unackeds.take(tag);
            let unacked = unacked.ok_or_else(|| unknown_tag(tag, id))?;
            batch
                .acknowledged
                .push((unacked.subscription, unacked.entry));
            self.count_acks(1);
        } else {
            let acknowledged = &mut batch.acknowledged;
            let before = acknowledged.len();
            let known = self.unackeds.take_up_to(tag, |unacked| {
                acknowledged.push((unacked.subscription, unacked.entry));
            });
            if !known {
                return Err(unknown_tag(tag, id));
            }
            self.count_acks((batch.acknowledged.len() - before) as u64);
        }
        if self.credit.limited() {
            session.settle(batch);
            self.revive_consumers(session, batch);
        }
        Ok(())
    }

    /// `basic.nack` and `basic.reject`.
    pub(super) fn refuse(
        &mut self,
        (tag, multiple): (u64, bool),
        outcome: Outcome,
        id: MethodId,
        session: &mut Session,
        batch: &mut Batch,
    ) -> Handled {
        if self.transaction.is_some() {
            return self.settle_later(tag, multiple, outcome, id);
        }
        let taken = self.take(tag, multiple, id)?;
        match outcome {
            Outcome::Requeued(requeued) => {
                session.requeue(taken, |_| requeued, Vec::new(), batch);
            }
            _ => session.reject(taken, batch),
        }
        if self.credit.limited() {
            self.revive_consumers(session, batch);
        }
        Ok(())
    }

    /// Takes unanswered deliveries out by tag.
    pub(super) fn take(
        &mut self,
        tag: u64,
        multiple: bool,
        id: MethodId,
    ) -> Result<Vec<Unacked>, Exception> {
        let mut taken = Vec::new();
        let known = match multiple {
            true => self.unackeds.take_up_to(tag, |unacked| taken.push(unacked)),
            false => {
                taken.extend(self.unackeds.take(tag));
                !taken.is_empty()
            }
        };
        self.show_unacked();
        match known {
            true => Ok(taken),
            false => Err(unknown_tag(tag, id)),
        }
    }

    /// `basic.recover`. With requeue everything goes back to its queue; without, it is sent to the same consumers again
    /// (AMQP 0-9-1, 1.8.3.17; RabbitMQ has only the first).
    pub(super) fn recover(&mut self, requeue: bool, session: &mut Session, batch: &mut Batch) {
        let mut taken = Vec::new();
        self.unackeds.take_up_to(0, |unacked| taken.push(unacked));
        let again = match requeue {
            true => Vec::new(),
            false => taken
                .extract_if(.., |unacked| session.still_consumes(unacked.subscription))
                .collect(),
        };
        session.requeue(taken, |_| Requeued::Unprocessed, Vec::new(), batch);
        let mut rest = again.into_iter();
        for unacked in rest.by_ref() {
            self.redeliver(unacked, session, batch);
            if batch.out.len() >= OUTPUT_OF_A_RUN {
                break;
            }
        }
        // More than fits into one run goes through the queue, which finds its consumers as they take it.
        let rest = rest.collect();
        session.requeue(rest, |_| Requeued::Unprocessed, Vec::new(), batch);
        if self.credit.limited() {
            self.revive_consumers(session, batch);
        }
    }

    fn redeliver(&mut self, mut unacked: Unacked, session: &mut Session, batch: &mut Batch) {
        unacked.entry.redelivered = true;
        unacked.entry.counts.add(Requeued::Unprocessed);
        unacked.sent = Sent::at(batch.now);
        let entry = unacked.entry.clone();
        let Some(subscribed) = session.subscription(unacked.subscription) else {
            return;
        };
        let consumer = Arc::clone(&subscribed.tag);
        let tag = self.unackeds.push(unacked);
        session.watch.delivered(batch.now);
        encode::deliver(
            &mut batch.out.frames,
            self.number,
            &*consumer,
            tag,
            true,
            entry.message.exchange_bytes(),
            entry.message.routing_key_bytes(),
        );
        batch.out.content(
            self.number,
            session.frame_max,
            &entry.properties(),
            &entry.message,
        );
    }
}

/// 406, in RabbitMQ's words.
pub(super) fn unknown_tag(tag: u64, id: MethodId) -> Exception {
    Exception::precondition_failed(&format!("unknown delivery tag {tag}"), id)
}

/// Deliveries of one queue, on their way back.
struct Return {
    queue: Arc<Queue>,
    credit: Vec<(ConsumerHandle, u32)>,
    seen: Vec<(Entry, Requeued)>,
    unseen: Vec<Entry>,
}

impl Session {
    /// Settles the acknowledgements of this run.
    pub fn settle(&mut self, batch: &mut Batch) {
        if batch.acknowledged.is_empty() {
            return;
        }
        // Nobody waits for settlements: the confirms of this run must not.
        let published = batch.work.ticket;
        let mut acknowledged = std::mem::take(&mut batch.acknowledged);
        if !acknowledged.is_sorted_by_key(|(key, _)| key.0) {
            acknowledged.sort_by_key(|(key, _)| key.0);
        }
        for run in acknowledged.chunk_by(|a, b| a.0 == b.0) {
            self.settle_run(run, batch);
        }
        acknowledged.clear();
        batch.acknowledged = acknowledged;
        self.vhost.bury(batch.now, &mut batch.work);
        batch.work.ticket = published;
    }

    fn settle_run(&mut self, run: &[(SubscriptionKey, Entry)], batch: &mut Batch) {
        let Some(&(key, _)) = run.first() else { return };
        let source = self.subscriptions.get(key.0 as usize);
        let Some((queue, consumer)) = source.and_then(|s| s.queue()) else {
            return;
        };
        let queue = Arc::clone(queue);
        self.answered(key, run.len() as u32);
        let entries = run.iter().map(|(_, entry)| entry);
        queue.settle(consumer, entries, batch.now, &mut batch.work);
    }

    /// Gives deliveries back to their queues: `unseen` are those that were never sent, the others count as `requeued`
    /// says.
    pub fn requeue(
        &mut self,
        seen: Vec<Unacked>,
        requeued: impl Fn(&Unacked) -> Requeued,
        unseen: Vec<Unacked>,
        batch: &mut Batch,
    ) {
        let mut returns: Vec<Return> = Vec::new();
        for unacked in unseen {
            self.add_return(unacked, None, &mut returns);
        }
        for unacked in seen {
            let requeued = requeued(&unacked);
            self.add_return(unacked, Some(requeued), &mut returns);
        }
        for back in returns {
            back.queue.requeue(
                &back.credit,
                back.seen.into_iter(),
                back.unseen.into_iter(),
                batch.now,
                &mut batch.work,
            );
        }
        self.vhost.bury(batch.now, &mut batch.work);
    }

    fn add_return(
        &mut self,
        unacked: Unacked,
        requeued: Option<Requeued>,
        returns: &mut Vec<Return>,
    ) {
        let Some(subscribed) = self.subscription(unacked.subscription) else {
            return;
        };
        let Some((queue, handle)) = subscribed.queue() else {
            return;
        };
        let queue = Arc::clone(queue);
        let known = returns.iter().position(|r| Arc::ptr_eq(&r.queue, &queue));
        let index = known.unwrap_or(returns.len());
        if known.is_none() {
            returns.push(Return {
                queue,
                credit: Vec::new(),
                seen: Vec::new(),
                unseen: Vec::new(),
            });
        }
        let Some(back) = returns.get_mut(index) else {
            return;
        };
        if let Some(handle) = handle {
            match back.credit.iter_mut().find(|(known, _)| *known == handle) {
                Some((_, count)) => *count += 1,
                None => back.credit.push((handle, 1)),
            }
        }
        match requeued {
            None => back.unseen.push(unacked.entry),
            Some(requeued) => back.seen.push((unacked.entry, requeued)),
        }
        self.answered(unacked.subscription, 1);
    }

    fn reject(&mut self, taken: Vec<Unacked>, batch: &mut Batch) {
        for Unacked {
            subscription,
            entry,
            ..
        } in taken
        {
            let source = self.subscriptions.get(subscription.0 as usize);
            let Some((queue, consumer)) = source.and_then(|s| s.queue()) else {
                continue;
            };
            let queue = Arc::clone(queue);
            self.answered(subscription, 1);
            let entry = std::iter::once(entry);
            queue.reject(consumer, entry, batch.now, &mut batch.work);
        }
        self.vhost.bury(batch.now, &mut batch.work);
    }

    fn still_consumes(&self, key: SubscriptionKey) -> bool {
        let subscribed = self.subscriptions.get(key.0 as usize);
        subscribed.is_some_and(|s| !s.ended)
    }
}

impl Channel {
    /// The settlement of a taken delivery, for a transaction.
    pub(super) fn settlement(
        unacked: Unacked,
        outcome: Outcome,
        session: &Session,
    ) -> Option<Settlement> {
        let subscribed = session.subscriptions.get(unacked.subscription.0 as usize)?;
        let (queue, consumer) = subscribed.queue()?;
        Some(Settlement {
            queue: Arc::clone(queue),
            consumer,
            entry: unacked.entry,
            outcome,
        })
    }
}
