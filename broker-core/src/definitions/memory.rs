//! Definitions that are gone with the process: for tests.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::{Change, Conflict, Definition, Definitions, Kind, Revision, Watcher, live::Live};
use crate::store::{Completion, QueueId, Ticket};

/// [`Definitions`] in memory. Every change is durable at once.
#[derive(Default)]
pub struct MemoryDefinitions {
    live: Live,
    tickets: AtomicU64,
    queues: AtomicU64,
}

impl MemoryDefinitions {
    /// No definitions yet.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Definitions for MemoryDefinitions {
    fn get(&self, kind: Kind, key: &str) -> Option<Definition> {
        self.live.get(kind, key)
    }

    fn list(&self, kind: Kind) -> Vec<Definition> {
        self.live.list(kind)
    }

    fn apply(&self, changes: Vec<Change>) -> Result<Ticket, Conflict> {
        self.live.apply(changes, |_| {
            Ticket(self.tickets.fetch_add(1, Ordering::AcqRel) + 1)
        })
    }

    fn watch(&self, watcher: Arc<dyn Watcher>) {
        self.live.watch(watcher);
    }

    fn revision(&self) -> Revision {
        self.live.revision()
    }

    fn written(&self) -> Ticket {
        self.live.written()
    }

    fn next_queue_ids(&self, count: u64) -> QueueId {
        QueueId(self.queues.fetch_add(count, Ordering::Relaxed) + 1)
    }

    fn durable(&self) -> Ticket {
        Ticket(self.tickets.load(Ordering::Acquire))
    }

    fn notify(&self, ticket: Ticket, completion: Arc<dyn Completion>) {
        if ticket <= self.durable() {
            completion.durable(ticket);
        }
    }

    fn close(&self) {}
}
