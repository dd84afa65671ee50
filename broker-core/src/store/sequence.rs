//! The order of durability: which ticket comes next, which are durable, and who waits for which.
//!
//! Pure state without a lock or a thread of its own, so that every store and the definitions share one idea of a
//! [`Ticket`] and differ only in what makes it durable.

use std::{collections::VecDeque, sync::Arc};

use super::{Completion, Ticket};

/// One who waits, and for what.
pub(crate) type Waiting = (Ticket, Arc<dyn Completion>);

/// Tickets given out, tickets durable, and the completions in between in the order of their tickets.
#[derive(Default)]
pub(crate) struct Sequence {
    appended: u64,
    durable: u64,
    waiting: VecDeque<Waiting>,
}

impl Sequence {
    /// Gives the next ticket out.
    pub(crate) fn append(&mut self) -> Ticket {
        self.appended += 1;
        Ticket(self.appended)
    }

    /// The last ticket given out.
    pub(crate) fn appended(&self) -> Ticket {
        Ticket(self.appended)
    }

    /// The last durable ticket whose completions were all called.
    pub(crate) fn durable(&self) -> Ticket {
        Ticket(self.durable)
    }

    /// Keeps `completion` for later. Whoever waits usually appended a moment ago, so the search from the back is short.
    pub(crate) fn wait(&mut self, ticket: Ticket, completion: Arc<dyn Completion>) {
        let earlier = self
            .waiting
            .iter()
            .rev()
            .take_while(|(other, _)| *other > ticket)
            .count();
        self.waiting
            .insert(self.waiting.len() - earlier, (ticket, completion));
    }

    /// Takes out those who wait for `target` or less; once there is nobody left, `target` is durable and this says so
    /// with `None`. Advancing only then keeps a late waiter from overtaking the ones that are being called.
    pub(crate) fn complete(&mut self, target: Ticket) -> Option<Vec<Waiting>> {
        let due = self
            .waiting
            .iter()
            .take_while(|(ticket, _)| *ticket <= target)
            .count();
        if due == 0 {
            self.durable = self.durable.max(target.0);
            return None;
        }
        Some(self.waiting.drain(..due).collect())
    }

    /// Gives up: nothing further becomes durable. The caller drops what it gets after it released its lock.
    pub(crate) fn abandon(&mut self) -> VecDeque<Waiting> {
        std::mem::take(&mut self.waiting)
    }
}
