//! Dead-lettering: messages that leave a queue other than by an acknowledgement go on to its dead-letter exchange
//! (<https://www.rabbitmq.com/docs/dlx>).
//!
//! It is a work list, never nested: a dead letter may overflow the next queue and kill another message there. A message
//! leaves its queue in the same store batch in which it enters the next, so a crash finds it in exactly one of them.

use std::sync::Arc;

use super::{Vhost, death_header::Deaths, transaction::Step};
use crate::{
    message::Message,
    queue::{Dead, DeadReason, Millis, Queue, Undeliverable, Work},
};

impl Vhost {
    /// Dead-letters what `work` has gathered, and what dies of that in turn. Another thread that is at it may take it
    /// over; very much of it is left to the next alarm of its queue.
    pub fn bury(&self, now: Millis, work: &mut Work) {
        while !work.dead.is_empty() {
            for queue in std::mem::take(&mut work.dead) {
                queue.for_each_dead(|dead| {
                    self.bury_one(&dead, now, work);
                    work.ticket
                });
            }
        }
    }

    /// The same for an answer that promises it: everything has gone on when this returns, and `work.ticket` covers also
    /// what another thread has taken over.
    pub fn bury_for_sure(&self, now: Millis, work: &mut Work) {
        let marks: Vec<_> = work
            .dead
            .iter()
            .map(|it| (Arc::clone(it), it.died()))
            .collect();
        self.bury(now, work);
        for (queue, mark) in marks {
            let ticket = loop {
                if let Some(ticket) = queue.buried(mark) {
                    break ticket;
                }
                work.dead.push(Arc::clone(&queue));
                self.bury(now, work);
            };
            work.ticket = work.ticket.max(ticket);
        }
    }

    fn bury_one(&self, dead: &Dead, now: Millis, work: &mut Work) {
        let mut step = Step::default();
        self.dead_letter(dead, now, &mut step);
        self.carry_out(step, now, work);
    }

    /// Adds to a step that a message leaves its queue, and enters in its new form those that it goes on to.
    pub(super) fn dead_letter(&self, dead: &Dead, now: Millis, step: &mut Step) {
        step.leave(&dead.entry, &dead.queue);
        let message = &dead.entry.message;
        let arguments = dead.queue.arguments();
        let name = arguments.dead_letter_exchange.as_deref();
        let Some(exchange) = name.and_then(|name| self.exchange(name)) else {
            self.note_missing(&dead.queue, name.unwrap_or_default());
            return;
        };
        let mut deaths = Deaths::of(message);
        let new_key = arguments.dead_letter_routing_key.as_deref();
        let copies = match new_key {
            Some(_) => Vec::new(),
            None => deaths.copies(),
        };
        deaths.record(dead, now);
        let key = new_key.unwrap_or(message.routing_key());
        let mut queues = self
            .route(&exchange, key, &copies, Some(deaths.headers()))
            .queues;
        if queues.is_empty() {
            self.note_unroutable(&dead.queue, &exchange.name, key);
        } else if dead.reason != DeadReason::Rejected {
            queues.retain(|queue| !self.is_cycle(&dead.queue, &deaths, queue));
        }
        let properties = deaths.properties(message);
        let flags = deaths.flags(new_key.is_some());
        let message = Message::with_flags(&exchange.name, key, &properties, message.body(), flags);
        step.enter(&message, &queues, now);
    }

    /// Whether it is the first one of the queue for this reason.
    fn count_undeliverable(&self, queue: &Queue, why: Undeliverable) -> bool {
        self.statistics.node().count_undeliverable(why);
        queue.count_undeliverable(why)
    }

    /// RabbitMQ says nothing of it; here the first one leaves a line.
    fn note_missing(&self, queue: &Queue, exchange: &str) {
        if self.count_undeliverable(queue, Undeliverable::MissingExchange) {
            tracing::warn!(
                queue = &**queue.name(),
                vhost = &*self.name,
                exchange,
                "dead letters are dropped: their exchange does not exist. This will not be logged again for the queue"
            );
        }
    }

    fn note_unroutable(&self, queue: &Queue, exchange: &str, routing_key: &str) {
        if self.count_undeliverable(queue, Undeliverable::Unroutable) {
            tracing::warn!(
                queue = &**queue.name(),
                vhost = &*self.name,
                exchange,
                routing_key,
                "a dead letter is dropped: its exchange leads to no queue. This will not be logged again for the queue"
            );
        }
    }

    /// Whether the message must not go to `target` for it would go round for ever.
    fn is_cycle(&self, source: &Queue, deaths: &Deaths, target: &Queue) -> bool {
        let cycle = deaths.is_cycle(target.name());
        if cycle && self.count_undeliverable(source, Undeliverable::Cycle) {
            let mut queues = deaths.queues();
            queues.insert(0, target.name());
            // RabbitMQ's words.
            tracing::warn!(
                queue = &**source.name(),
                vhost = &*self.name,
                "Message dropped because the following list of queues (ordered by death recency) contains a dead letter \
                 cycle without reason 'rejected'. This list will not be logged again: {queues:?}"
            );
        }
        cycle
    }
}

#[cfg(test)]
mod tests;
