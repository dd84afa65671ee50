//! The message store that forgets everything with the process: for tests, and for brokers that want no disk.
//!
//! It completes at once, or it is *held*: then tickets become durable only when the test says so, which makes the
//! moment between an append and its confirm as long as a test needs it.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;

use super::{
    Backlog, Completion, MessageStore, Operation, Position, QueueId, Sequence, StoredMessage,
    Ticket,
};
use crate::error::Error;

/// A [`MessageStore`] in memory.
#[derive(Default)]
pub struct MemoryStore {
    state: Mutex<State>,
    held: bool,
    pageable: bool,
}

#[derive(Default)]
struct State {
    sequence: Sequence,
    queues: BTreeMap<QueueId, BTreeMap<Position, StoredMessage>>,
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

    /// An empty store like that of [`new`](Self::new) which lets queues forget everything that it holds.
    pub fn pageable() -> Self {
        Self {
            pageable: true,
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
                enqueued_at,
                message,
            } => {
                let stored = StoredMessage {
                    position,
                    message,
                    enqueued_at,
                    delivery_count: 0,
                    redelivered: false,
                };
                let messages = self.queues.entry(queue).or_default();
                messages.insert(position, stored);
            }
            Operation::Settle {
                queue, position, ..
            } => self.settle(queue, position, position),
            Operation::Requeue {
                queue,
                position,
                delivery_count,
            } => {
                let messages = self.queues.get_mut(&queue);
                if let Some(stored) = messages.and_then(|m| m.get_mut(&position)) {
                    stored.delivery_count = delivery_count;
                    stored.redelivered = true;
                }
            }
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
        } else if from < to {
            let mut settled = messages.split_off(&from);
            if let Some(next) = to.checked_add(1) {
                messages.append(&mut settled.split_off(&next));
            }
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

    fn backlog(&self, queue: QueueId) -> Result<Option<Backlog>, Error> {
        let state = self.state.lock();
        let messages = state.queues.get(&queue);
        Ok(messages.and_then(|messages| {
            Some(Backlog {
                first: *messages.first_key_value()?.0,
                last: *messages.last_key_value()?.0,
                count: messages.len(),
                bytes: messages.values().map(|s| s.message.body_length()).sum(),
                oldest: messages.values().map(|s| s.enqueued_at).min()?,
                may_expire: messages.values().any(|s| s.message.may_expire()),
            })
        }))
    }

    fn read(
        &self,
        queue: QueueId,
        from: Position,
        to: Position,
        max_bytes: usize,
        each: &mut dyn FnMut(StoredMessage),
    ) -> Result<(), Error> {
        if from > to {
            return Ok(());
        }
        let mut room = max_bytes;
        let mut found = Vec::new();
        let state = self.state.lock();
        let messages = state.queues.get(&queue);
        for (_, stored) in messages.into_iter().flat_map(|m| m.range(from..=to)) {
            found.push(stored.clone());
            room = room.saturating_sub(stored.message.size());
            if room == 0 {
                break;
            }
        }
        drop(state);
        found.into_iter().for_each(each);
        Ok(())
    }

    fn readable(&self, _queue: QueueId) -> Position {
        if self.pageable { Position::MAX } else { 0 }
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
