//! What operators see of a queue: a copy of one moment, made under its lock.

use std::sync::Arc;

use super::{Activity, DelayedCounts, Entry, Millis, Queue, QueueCounts};
use crate::{
    broker::ConsumerEntry,
    message::Message,
    statistics::{Column, Counts, OF_QUEUE_HISTORY},
};

/// A queue at one moment.
#[derive(Debug, Clone)]
pub struct Inspection {
    /// How much is in it.
    pub counts: QueueCounts,
    /// What has gone through it.
    pub statistics: Counts<OF_QUEUE_HISTORY>,
    /// The message at the front, if it is in memory.
    pub head: Option<Message>,
    /// When the message at the front entered the queue, or an earlier moment where it lies on disk.
    pub head_entered: Option<Millis>,
    /// What came back and waits for its next try.
    pub delayed: DelayedCounts,
    /// Whether a consumer waits for messages.
    pub consumer_waits: bool,
}

/// A consumer of a queue at one moment.
#[derive(Debug, Clone)]
pub struct InspectedConsumer {
    /// What it is.
    pub entry: Arc<ConsumerEntry>,
    /// Whether it gets messages.
    pub active: bool,
    /// RabbitMQ's word for that: `up`, `single_active` or `waiting`.
    pub activity_status: &'static str,
    /// Deliveries that it has not settled; those without acknowledgements have none.
    pub unacknowledged: u32,
}

/// The front of a queue at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Front {
    /// When the message there entered the queue, or an earlier moment where it lies on disk.
    pub entered: Option<Millis>,
    /// Messages of the queue that lie on disk only.
    pub paged: usize,
}

impl Queue {
    /// Looks at the front of the queue.
    pub fn front(&self) -> Front {
        let state = self.state.lock();
        Front {
            entered: state.lanes.front_lane().first_entered(),
            paged: state.counts().paged,
        }
    }

    /// Looks at the queue.
    pub fn inspect(&self) -> Inspection {
        self.look(true)
    }

    /// The same without the message at the front: nothing but the queue itself is touched.
    pub fn inspect_counts(&self) -> Inspection {
        self.look(false)
    }

    fn look(&self, with_head: bool) -> Inspection {
        let state = self.state.lock();
        let mut statistics = Counts::default();
        statistics.add_change(&state.counters, &Counts::default());
        let counts = state.counts();
        statistics.set(Column::Ready, counts.ready as u64);
        statistics.set(Column::Unacknowledged, counts.unacknowledged as u64);
        statistics.set(Column::Delayed, counts.delayed as u64);
        let head = state.head();
        Inspection {
            counts,
            statistics,
            head: head
                .filter(|_| with_head)
                .map(|entry| entry.message.clone()),
            head_entered: state.lanes.front_lane().first_entered(),
            consumer_waits: state.consumers.any_waits(),
            delayed: state.delayed_counts(),
        }
    }

    /// Looks at one of the queue's consumers.
    pub fn inspect_consumer(&self, entry: &Arc<ConsumerEntry>) -> InspectedConsumer {
        let mut all = self.inspect_consumers().into_iter();
        let found = all.find(|it| Arc::ptr_eq(&it.entry, entry));
        found.unwrap_or_else(|| InspectedConsumer {
            entry: Arc::clone(entry),
            active: false,
            activity_status: "cancelled",
            unacknowledged: 0,
        })
    }

    /// Looks at the queue's consumers.
    pub fn inspect_consumers(&self) -> Vec<InspectedConsumer> {
        let state = self.state.lock();
        let consumers = state.consumers.activities();
        let consumers = consumers.map(|(subscription, activity, outstanding)| InspectedConsumer {
            entry: Arc::clone(&subscription.entry),
            active: activity.is_active(),
            activity_status: match activity {
                // RabbitMQ has no word for a consumer without credit.
                Activity::Blocked => "up",
                other => other.as_str(),
            },
            unacknowledged: outstanding,
        });
        consumers.collect()
    }
}

impl super::QueueState {
    /// The message at the front, if it is in memory.
    fn head(&self) -> Option<&Entry> {
        self.lanes.front_lane().front()
    }
}
