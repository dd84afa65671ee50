//! Which queue has to look at its front message, and when.
//!
//! Queues put their next expiry in; one task of the program sleeps until the earliest and runs it. A queue is in the
//! heap at most once for each earlier moment that it has named, so the heap stays small.

use std::{
    cmp::Ordering,
    collections::BinaryHeap,
    sync::{Arc, Weak},
    task::Waker,
};

use parking_lot::Mutex;

use super::{Millis, Queue};

struct Alarm {
    at: Millis,
    queue: Weak<Queue>,
}

impl Ord for Alarm {
    fn cmp(&self, other: &Self) -> Ordering {
        other.at.cmp(&self.at)
    }
}

impl PartialOrd for Alarm {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Alarm {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Alarm {}

#[derive(Default)]
struct Inner {
    alarms: BinaryHeap<Alarm>,
    waker: Option<Waker>,
}

/// The broker's list of coming expiries.
#[derive(Default)]
pub struct Expiries {
    inner: Mutex<Inner>,
}

impl Expiries {
    /// Notes that `queue` has something that expires at `at`.
    pub fn schedule(&self, at: Millis, queue: Weak<Queue>) {
        let mut inner = self.inner.lock();
        let first = inner.alarms.peek().is_none_or(|alarm| at < alarm.at);
        inner.alarms.push(Alarm { at, queue });
        let waker = if first { inner.waker.take() } else { None };
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// When the next expiry is due; `waker` is called when an earlier one is added.
    pub fn poll_next(&self, waker: &Waker) -> Option<Millis> {
        let mut inner = self.inner.lock();
        inner.waker = Some(waker.clone());
        inner.alarms.peek().map(|alarm| alarm.at)
    }

    /// Takes out the queues that are due.
    pub fn take_due(&self, now: Millis) -> Vec<Arc<Queue>> {
        let mut due = Vec::new();
        let mut inner = self.inner.lock();
        while inner.alarms.peek().is_some_and(|alarm| alarm.at <= now) {
            if let Some(queue) = inner.alarms.pop().and_then(|a| a.queue.upgrade()) {
                due.push(queue);
            }
        }
        due
    }
}
