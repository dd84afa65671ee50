//! The message store that forgets everything with the process: for tests, and for brokers that want no disk.
//!
//! It completes at once, or it is *held*: then tickets become durable only when the test says so, which makes the
//! moment between an append and its confirm as long as a test needs it.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;

use super::{Completion, MessageStore, Operation, Position, QueueId, Sequence, Ticket};
use crate::{error::Error, message::Message};

/// A [`MessageStore`] in memory.
#[derive(Default)]
pub struct MemoryStore {
    state: Mutex<State>,
    held: bool,
}

#[derive(Default)]
struct State {
    sequence: Sequence,
    queues: BTreeMap<QueueId, BTreeMap<Position, Message>>,
    closed: bool,
}

impl MemoryStore {
    /// An empty store in which every append is durable at once.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty store in which nothing becomes durable before [`release`](Self::release).
    pub fn held() -> Self {
        Self {
            held: true,
            ..Self::default()
        }
    }

    /// Makes everything up to `ticket` durable and calls those who wait for it, on this thread.
    pub fn release(&self, ticket: Ticket) {
        let target = ticket.min(self.state.lock().sequence.appended());
        loop {
            let due = self.state.lock().sequence.complete(target);
            let Some(due) = due else { return };
            for (ticket, completion) in due {
                completion.durable(ticket);
            }
        }
    }

    /// Makes everything appended so far durable.
    pub fn release_all(&self) {
        self.release(Ticket::NEVER);
    }
}

impl State {
    fn apply(&mut self, operation: Operation) {
        match operation {
            Operation::Enqueue {
                queue,
                position,
                message,
            } => {
                self.queues
                    .entry(queue)
                    .or_default()
                    .insert(position, message);
            }
            Operation::Settle { queue, position } => self.settle(queue, position, position),
            Operation::SettleRange { queue, from, to } => self.settle(queue, from, to),
            Operation::DeleteQueue { queue } => {
                self.queues.remove(&queue);
            }
        }
    }

    fn settle(&mut self, queue: QueueId, from: Position, to: Position) {
        let Some(messages) = self.queues.get_mut(&queue) else {
            return;
        };
        if from == to {
            messages.remove(&from);
        } else {
            messages.retain(|position, _| !(from..=to).contains(position));
        }
        if messages.is_empty() {
            self.queues.remove(&queue);
        }
    }
}

impl MessageStore for MemoryStore {
    fn append(&self, batch: &mut Vec<Operation>) -> Ticket {
        if batch.is_empty() {
            return Ticket::NONE;
        }
        let mut state = self.state.lock();
        if state.closed {
            batch.clear();
            return Ticket::NEVER;
        }
        for operation in batch.drain(..) {
            state.apply(operation);
        }
        let ticket = state.sequence.append();
        drop(state);
        if !self.held {
            self.release(ticket);
        }
        ticket
    }

    fn durable(&self) -> Ticket {
        self.state.lock().sequence.durable()
    }

    fn notify(&self, ticket: Ticket, completion: Arc<dyn Completion>) {
        let mut state = self.state.lock();
        if ticket <= state.sequence.durable() {
            drop(state);
            completion.durable(ticket);
        } else if ticket <= state.sequence.appended() {
            state.sequence.wait(ticket, completion);
        }
    }

    fn recover(
        &self,
        queue: QueueId,
        each: &mut dyn FnMut(Position, Message),
    ) -> Result<(), Error> {
        let messages = self
            .state
            .lock()
            .queues
            .get(&queue)
            .cloned()
            .unwrap_or_default();
        for (position, message) in messages {
            each(position, message);
        }
        Ok(())
    }

    fn queues(&self) -> Result<Vec<QueueId>, Error> {
        Ok(self.state.lock().queues.keys().copied().collect())
    }

    fn pending_bytes(&self) -> usize {
        0
    }

    fn close(&self) {
        self.state.lock().closed = true;
        self.release_all();
    }
}
