//! Which queue has to look at its front message, and when.
//!
//! Queues put their next expiry in; one task of the program sleeps until the earliest and runs it. A queue that names an
//! earlier moment leaves the later alarm in the heap; when that one comes, the queue knows that it did not wait for it
//! and ignores it, so that stale alarms vanish with their time.

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

    /// Takes out the queues that are due, each with the moment it had named.
    pub fn take_due(&self, now: Millis) -> Vec<(Millis, Arc<Queue>)> {
        let mut due = Vec::new();
        let mut inner = self.inner.lock();
        while inner.alarms.peek().is_some_and(|alarm| alarm.at <= now) {
            let Some(Alarm { at, queue }) = inner.alarms.pop() else {
                break;
            };
            due.extend(queue.upgrade().map(|queue| (at, queue)));
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use amqp_codec::FieldTable;

    use super::*;
    use crate::{
        message::Message,
        paging::Pager,
        queue::{QueueArguments, QueueProperties, Work},
        store::{MemoryStore, QueueId},
    };

    const TTL: Millis = 1000;

    fn queue(expiries: &Arc<Expiries>) -> Arc<Queue> {
        let properties = QueueProperties {
            name: "q".into(),
            vhost: "/".into(),
            durable: false,
            auto_delete: false,
            exclusive_owner: None,
            priorities: None,
            table: FieldTable::default(),
            arguments: Arc::new(QueueArguments {
                message_ttl_ms: Some(TTL),
                ..QueueArguments::default()
            }),
        };
        let store = Arc::new(MemoryStore::new());
        let pager = Pager::unlimited();
        Queue::new(QueueId(1), properties, store, Arc::clone(expiries), pager)
    }

    fn publish(queue: &Arc<Queue>, now: Millis) {
        let message = Message::new("", "q", &[], b"", false);
        let (mut work, mut refused) = (Work::default(), Vec::new());
        queue.publish(std::iter::once(message), now, &mut work, &mut refused);
    }

    /// What the program's task does at `now`.
    fn run(expiries: &Expiries, now: Millis) {
        for (at, queue) in expiries.take_due(now) {
            queue.expire(at, now, &mut Work::default());
        }
    }

    fn alarms(expiries: &Expiries) -> Vec<Millis> {
        let inner = expiries.inner.lock();
        inner.alarms.iter().map(|alarm| alarm.at).collect()
    }

    #[test]
    fn front_that_alternates_leaves_one_alarm() {
        let expiries = Arc::new(Expiries::default());
        let queue = queue(&expiries);
        publish(&queue, 0);
        publish(&queue, 500);
        // Each time a message that expired earlier was at the front, and is gone when the alarm comes.
        for now in 1..500 {
            queue.schedule(now);
            run(&expiries, now);
        }
        let got = queue.get(true, TTL - 1, &mut Work::default());
        assert!(got.unwrap().is_some());
        run(&expiries, TTL);
        assert_eq!(alarms(&expiries), [TTL + 500]);
        run(&expiries, TTL + 499);
        assert_eq!(queue.counts().ready, 1);
        run(&expiries, TTL + 500);
        assert_eq!(queue.counts().ready, 0);
        assert!(alarms(&expiries).is_empty());
    }

    #[test]
    fn message_expires_on_time_after_an_earlier_alarm() {
        let expiries = Arc::new(Expiries::default());
        let queue = queue(&expiries);
        for now in [0, 10, 20] {
            publish(&queue, now);
        }
        for (now, left) in [
            (999, 3),
            (1000, 2),
            (1009, 2),
            (1015, 1),
            (1019, 1),
            (1020, 0),
        ] {
            run(&expiries, now);
            assert_eq!(queue.counts().ready, left, "at {now}");
        }
        assert!(alarms(&expiries).is_empty());
    }
}
